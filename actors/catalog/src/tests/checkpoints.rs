//! Checkpoints: what they trim, what they keep, and that an export brings everything back.

use std::time::Duration;

use protocol::catalog::{CatalogError, CatalogReader};
use store::JournalConfig;

use super::disk::{Stage, shown};
use super::{delete, titled};
use crate::Config;
use crate::testing::upsert;

/// A journal of many small segments.
fn small_segments() -> JournalConfig {
    JournalConfig { segment_bytes_max: 1024, ..JournalConfig::default() }
}

#[tokio::test]
async fn a_checkpoint_trims_the_journal_and_its_export_brings_everything_back() {
    let mut stage = Stage::with(Config::default(), small_segments());
    let watchtower = stage.start().await;
    for round in 0..20 {
        let name = ["a", "b", "c"][round % 3];
        stage.apply(vec![upsert(titled(name, &format!("round {round}")))]).await.expect("applied");
    }
    let bytes = stage.args.journal.bytes();
    let trimmed = stage.checkpoint().await.expect("made");
    assert!(trimmed > 0 && stage.args.journal.start() > 0);
    assert_eq!(stage.args.journal.bytes(), bytes - trimmed);
    stage.apply(vec![upsert(titled("a", "behind the export")), delete("b")]).await.expect("applied");
    let before = shown(&*stage.args.view.snapshot());
    watchtower.stop_and_wait(None, None).await.expect("stopped");

    let export = store::VerifiedExport::open(&stage.exports().pop().expect("an export")).expect("it checks out");
    stage.replace_store();
    let disk = stage.disk.clone();
    tokio::task::spawn_blocking(move || export.restore(&disk)).await.expect("no panic").expect("restored");
    stage.forget_view();
    stage.start().await;
    assert_eq!(shown(&*stage.args.view.snapshot()), before);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_lost_store_without_its_export_is_refused() {
    let mut stage = Stage::with(Config::default(), small_segments());
    let watchtower = stage.start().await;
    for round in 0..20 {
        stage.apply(vec![upsert(titled("a", &format!("round {round}")))]).await.expect("applied");
    }
    stage.checkpoint().await.expect("made");
    watchtower.stop_and_wait(None, None).await.expect("stopped");
    stage.replace_store();
    assert!(ractor::Actor::spawn(None, crate::Watchtower, stage.args.clone()).await.is_err());
    stage.scene.end().await;
}

#[tokio::test]
async fn the_slowest_consumer_holds_the_journal() {
    let mut stage = Stage::with(Config::default(), JournalConfig { consumers: vec!["slow"], ..small_segments() });
    stage.start().await;
    for round in 0..20 {
        stage.apply(vec![upsert(titled("a", &format!("round {round}")))]).await.expect("applied");
    }
    assert_eq!(stage.checkpoint().await.expect("made"), 0);
    stage.args.journal.consumer_at("slow", 20);
    assert!(stage.checkpoint().await.expect("made") > 0);
    stage.scene.end().await;
}

#[tokio::test]
async fn only_the_latest_exports_are_kept_and_one_is_made_at_a_time() {
    let mut stage = Stage::new();
    stage.start().await;
    for round in 0..4 {
        stage.apply(vec![upsert(titled("a", &format!("round {round}")))]).await.expect("applied");
        std::fs::create_dir_all(&stage.args.exports).expect("a folder");
        std::fs::write(stage.args.exports.join("store-1.export.tmp"), "left by a crash").expect("written");
        stage.checkpoint().await.expect("made");
    }
    let names: Vec<_> = stage.exports().iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["store-00000000000000000003.export", "store-00000000000000000004.export"]);

    let lock = std::fs::File::open(stage.args.exports.join("LOCK")).expect("the lock");
    lock.lock().expect("locked");
    assert!(matches!(stage.checkpoint().await, Err(CatalogError::Storage(text)) if text.contains("in use")));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_journal_that_has_grown_too_large_is_trimmed_unasked() {
    let config = Config { journal_bytes_max: 4096, checkpoint_interval_ms: 1, ..Config::default() };
    let mut stage = Stage::with(config, small_segments());
    stage.start().await;
    let trimmed = async {
        for round in 0.. {
            stage.apply(vec![upsert(titled("a", &format!("round {round}")))]).await.expect("applied");
            if stage.args.journal.start() > 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), trimmed).await.expect("trimmed");
    assert!(!stage.exports().is_empty());
    stage.scene.end().await;
}
