//! Watchtower over a store and a journal of its own: answers, restarts, kills at every step, damage, and checkpoints.

mod checkpoints;
mod disk;
mod figures;

use std::time::Duration;

use domain::{Offer, Parts, Product};
use kit::{Context, Priority};
use protocol::catalog::{CHANGES_MAX, CatalogError, CatalogMsg, CatalogReader, Change, Outcome};
use protocol::ingest::RunId;
use protocol::journal::CatalogChange;
use store::{Durability, JournalConfig, Keyspace, Op, Record, Store};

use self::disk::{Gate, Stage, shown};
use crate::Config;
use crate::testing::{euros, id, product, upsert, upsert_by};
use Outcome::{Created, Deleted, NotFound, Unchanged, Updated};

fn titled(name: &str, title: &str) -> Product {
    Product { title: title.to_owned(), ..product(name) }
}

fn delete(name: &str) -> Change {
    Change::Delete { id: id(name), run: None }
}

fn offer(name: &str, amount: i64) -> Change {
    Change::Offer { id: id(name), variant: None, offer: Offer { price: euros(amount), ..Offer::default() } }
}

#[tokio::test]
async fn answers_in_order_and_shows_what_it_answered() {
    let mut stage = Stage::new();
    stage.start().await;
    let changes = vec![upsert(titled("a", "x")), offer("a", 5), upsert(product("b")), delete("b"), delete("c"), offer("a", 5)];
    let outcomes = stage.apply(changes).await.expect("applied");
    assert_eq!(outcomes, [Created, Updated(Parts::PRICE), Created, Deleted, NotFound, Unchanged]);
    let snapshot = stage.args.view.snapshot();
    let known = snapshot.get("a").expect("there");
    assert_eq!((known.revision, known.product.offer.price, known.changed_at_ms), (2, euros(5), 1000));
    assert_eq!((snapshot.len(), snapshot.get("b"), snapshot.version()), (1, None, 4));

    let entries = stage.args.journal.read(0, 100, 1 << 20).expect("the journal");
    let changes: Vec<CatalogChange> = entries.iter().map(|entry| CatalogChange::unseal(&[], &entry.body).expect("a change")).collect();
    let told: Vec<_> = changes.iter().map(|change| (change.id.as_str(), change.revision, change.parts, change.product.is_some())).collect();
    assert_eq!(told, [("a", 1, Parts::ALL, true), ("a", 2, Parts::PRICE, true), ("b", 1, Parts::ALL, true), ("b", 2, Parts::ALL, false)]);
    stage.scene.end().await;
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let mut stage = Stage::new();
    stage.start().await;
    stage.apply(vec![upsert(product("a"))]).await.expect("applied");
    let commits = stage.disk.stats().last_commit;
    assert_eq!(stage.apply(vec![upsert(product("a")), delete("b")]).await.expect("applied"), [Unchanged, NotFound]);
    assert_eq!(stage.apply(vec![]).await.expect("applied"), []);
    assert_eq!((stage.args.journal.end(), stage.disk.stats().last_commit), (1, commits));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_message_with_too_much_is_refused_whole() {
    let mut stage = Stage::new();
    stage.start().await;
    let refused = stage.apply(vec![delete("a"); CHANGES_MAX + 1]).await;
    assert!(matches!(refused, Err(CatalogError::TooMany(changes)) if changes == CHANGES_MAX + 1));
    assert_eq!(stage.apply(vec![delete("a"); CHANGES_MAX]).await.expect("applied").len(), CHANGES_MAX);
    stage.scene.end().await;
}

#[tokio::test]
async fn an_old_snapshot_does_not_change() {
    let mut stage = Stage::new();
    stage.start().await;
    stage.apply(vec![upsert(titled("a", "old")), upsert(product("b"))]).await.expect("applied");
    let old = stage.args.view.snapshot();
    let before = shown(&*old);
    stage.apply(vec![upsert(titled("a", "new")), delete("b"), upsert(product("c"))]).await.expect("applied");
    assert_eq!(shown(&*old), before);
    assert_ne!(shown(&*stage.args.view.snapshot()), before);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_restart_gives_the_same_snapshot() {
    let mut stage = Stage::new();
    let watchtower = stage.start().await;
    let run = Some(RunId(5));
    stage.apply(vec![upsert_by(titled("a", "x"), "shop", run), upsert(product("b")), upsert(product("c"))]).await.expect("applied");
    stage.apply(vec![upsert_by(titled("a", "y"), "shop", run), delete("b"), offer("c", 3)]).await.expect("applied");
    let before = shown(&*stage.args.view.snapshot());
    watchtower.stop_and_wait(None, None).await.expect("stopped");

    stage.forget_view();
    stage.start().await;
    let snapshot = stage.args.view.snapshot();
    assert_eq!(shown(&*snapshot), before);
    assert_eq!(snapshot.get("a").expect("there").last_run, Some((RunId(5), Updated(Parts::TEXT))));
    assert_eq!(stage.apply(vec![upsert(product("b"))]).await.expect("applied"), [Created]);
    assert_eq!(stage.args.view.snapshot().get("b").expect("back").revision, 3, "a revision goes on behind its tombstone");
    stage.scene.end().await;
}

/// Where a kill hits a message under way.
#[derive(Clone, Copy, Debug)]
enum Step {
    BetweenAppendAndCommit,
    BetweenCommitAndAnswer,
}

#[tokio::test]
async fn killed_at_any_step_a_change_is_there_once() {
    let steps = [
        ("between journal append and store commit", Step::BetweenAppendAndCommit),
        ("between commit and answer", Step::BetweenCommitAndAnswer),
    ];
    for (name, step) in steps {
        let mut stage = Stage::new();
        let watchtower = stage.start().await;
        stage.apply(vec![upsert(titled("a", "x")), upsert(product("b"))]).await.expect("applied");
        let before = shown(&*stage.args.view.snapshot());

        stage.disk.set(match step {
            Step::BetweenAppendAndCommit => Gate::Swallow,
            Step::BetweenCommitAndAnswer => Gate::Hold,
        });
        let changes = vec![upsert(titled("a", "y")), delete("b"), upsert(product("c"))];
        let mut asked = Box::pin(stage.apply(changes.clone()));
        tokio::select! {
            answer = &mut asked => panic!("{name}: answered {answer:?}"),
            () = stage.disk.reached() => {}
        }
        assert_eq!(shown(&*stage.args.view.snapshot()), before, "{name}: not shown before it is committed");
        watchtower.kill_and_wait(None).await.expect("killed");
        assert!(matches!(asked.await, Err(CatalogError::Storage(text)) if text.contains("not available")), "{name}: never acknowledged");

        stage.disk.set(Gate::Open);
        stage.forget_view();
        stage.start().await;
        let snapshot = stage.args.view.snapshot();
        assert_eq!(stage.revisions(&["a", "b", "c"]), [Some((2, "y".to_owned())), None, Some((1, "Shoe".to_owned()))], "{name}");
        assert_eq!((snapshot.version(), stage.args.journal.end()), (5, 5), "{name}");
        // Asked again, nothing is done twice; and the store has it by itself.
        assert_eq!(stage.apply(changes).await.expect("applied"), [Unchanged, NotFound, Unchanged], "{name}");
        assert_eq!(store::consumer::load_offset(&*stage.args.store, "watchtower").expect("the offset"), 5, "{name}");
        stage.scene.end().await;
    }
}

/// The kill comes after any number of turns, also while the journal is still writing.
#[tokio::test]
async fn killed_after_any_number_of_turns_a_change_is_there_at_most_once() {
    for turns in 0..40 {
        let mut stage = Stage::new();
        let watchtower = stage.start().await;
        {
            let mut asked = Box::pin(stage.apply(vec![upsert(product("a")), upsert(product("b"))]));
            for _ in 0..turns {
                tokio::select! { biased; _ = &mut asked => break, () = tokio::task::yield_now() => {} }
            }
            watchtower.kill_and_wait(None).await.expect("killed");
        }
        stage.forget_view();
        stage.start().await;
        let snapshot = stage.args.view.snapshot();
        assert!(snapshot.is_empty() || snapshot.len() == 2, "{turns} turns: all or nothing");
        assert_eq!(snapshot.version(), stage.args.journal.end(), "{turns} turns: nothing durable is left behind");
        stage.apply(vec![upsert(product("a")), upsert(product("b"))]).await.expect("applied");
        assert_eq!((stage.args.journal.end(), stage.revisions(&["a"])), (2, vec![Some((1, "Shoe".to_owned()))]), "{turns} turns");
        stage.scene.end().await;
    }
}

#[tokio::test]
async fn when_the_store_fails_nothing_is_shown_and_the_restart_finds_it() {
    let mut stage = Stage::new();
    let watchtower = stage.start().await;
    stage.disk.set(Gate::Fail);
    assert!(matches!(stage.apply(vec![upsert(product("a"))]).await, Err(CatalogError::Storage(_))));
    stage.ended(&watchtower).await;
    assert!(stage.args.view.snapshot().is_empty());
    stage.disk.set(Gate::Open);
    stage.start().await;
    assert_eq!(stage.args.view.snapshot().len(), 1);
    stage.scene.end().await;
}

#[tokio::test]
async fn when_the_journal_fails_nothing_is_done() {
    // Every append begins a new segment.
    let mut stage = Stage::with(Config::default(), JournalConfig { segment_bytes_max: 1, ..JournalConfig::default() });
    let watchtower = stage.start().await;
    stage.apply(vec![upsert(product("a"))]).await.expect("applied");
    stage.break_journal();
    assert!(matches!(stage.apply(vec![upsert(product("b"))]).await, Err(CatalogError::Storage(_))));
    stage.ended(&watchtower).await;
    assert_eq!((stage.args.view.snapshot().len(), stage.args.journal.end()), (1, 1));
    assert_eq!(stage.stored("b"), None);
    stage.scene.end().await;
}

#[tokio::test]
async fn damaged_records_are_healed_from_the_journal_or_left_out() {
    let mut stage = Stage::new();
    let watchtower = stage.start().await;
    stage.apply(vec![upsert(titled("a", "x")), upsert(product("b")), upsert(titled("a", "y"))]).await.expect("applied");
    watchtower.stop_and_wait(None, None).await.expect("stopped");
    let mut bytes = stage.stored("a").expect("stored");
    *bytes.last_mut().expect("bytes") ^= 1;
    let put = |key: &[u8], value: Vec<u8>| Op::Put { space: Keyspace::Catalog, key: key.to_vec(), value };
    let ops = vec![put(b"a", bytes), put(b"from a newer version", b"rubbish".to_vec()), put(b"\xff", b"rubbish".to_vec())];
    stage.args.store.commit(ops, Durability::Flushed).await.expect("committed");

    stage.forget_view();
    stage.start().await;
    assert_eq!(stage.revisions(&["a", "b", "from a newer version"]), [Some((2, "y".to_owned())), Some((1, "Shoe".to_owned())), None]);
    assert!(crate::records::CatalogRecord::unseal(b"a", &stage.stored("a").expect("stored")).is_ok(), "healed in the store too");
    stage.apply(vec![upsert(product("from a newer version"))]).await.expect("applied");
    assert_eq!(stage.revisions(&["from a newer version"]), [Some((4, "Shoe".to_owned()))], "behind every revision it can have had");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_damaged_offset_is_replaced_by_a_replay() {
    let mut stage = Stage::new();
    let watchtower = stage.start().await;
    stage.apply(vec![upsert(product("a")), upsert(product("b")), delete("a")]).await.expect("applied");
    let before = shown(&*stage.args.view.snapshot());
    watchtower.stop_and_wait(None, None).await.expect("stopped");
    let Op::Put { key, .. } = store::consumer::offset_op("watchtower", 0).expect("an offset") else { panic!("a put") };
    let rubbish = Op::Put { space: Keyspace::Meta, key, value: b"rubbish".to_vec() };
    stage.args.store.commit(vec![rubbish], Durability::Flushed).await.expect("committed");
    stage.forget_view();
    stage.start().await;
    assert_eq!(shown(&*stage.args.view.snapshot()), before);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_store_that_is_ahead_of_the_journal_is_refused() {
    let stage = Stage::new();
    let ahead = store::consumer::offset_op("watchtower", 3).expect("an offset");
    stage.args.store.commit(vec![ahead], Durability::Flushed).await.expect("committed");
    let started = ractor::Actor::spawn(None, crate::Watchtower, stage.args.clone()).await;
    let error = started.expect_err("refused").to_string();
    assert!(error.contains("restore the last export"), "{error}");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_message_whose_deadline_has_passed_is_dropped() {
    let mut stage = Stage::new();
    stage.start().await;
    let expired = Context::new(Priority::Bulk, Duration::ZERO);
    let asked = stage.address.call(&expired, |reply| CatalogMsg::Apply { changes: vec![upsert(product("a"))], reply }).await;
    assert!(asked.is_err());
    assert_eq!(stage.apply(vec![delete("a")]).await.expect("applied"), [NotFound]);
    stage.scene.end().await;
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    let config = Config { journal_bytes_max: 1, checkpoint_interval_ms: 0, exports_max: 0 };
    let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["journal_bytes_max", "checkpoint_interval_ms", "exports_max"]);
}
