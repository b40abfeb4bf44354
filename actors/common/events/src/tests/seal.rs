//! Sealing changes nothing for who reads, whatever interrupts it.

use std::fs;
use std::sync::Arc;

use object_store::memory::InMemory;
use proptest::prelude::*;
use store::{Journal, JournalConfig, NewRecord, Record, StoreError};

use super::arbitrary::bodies;
use super::*;
use crate::SealedLog;
use crate::warehouse::Warehouse;

/// Writes records as they are, below the log, in appends of `at_once`.
fn write(dir: &Path, bodies: &[LogBody], at_once: usize) {
    let journal = Journal::open(dir, JournalConfig::default()).expect("a journal");
    for chunk in bodies.chunks(at_once) {
        let records = chunk.iter().map(|body| NewRecord { kind: LogBody::KIND, body: body.seal(&[]).expect("sealed") }).collect();
        journal.append(records).wait().expect("durable");
    }
}

/// All Parquet files below a folder.
fn parquet_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && name != "staging" {
            found.extend(parquet_files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else if name.ends_with(".parquet") {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn named_files(log: &EventLog) -> Vec<String> {
    let mut names: Vec<String> = log.sealed_files().into_iter().map(|file| file.path).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_log_from_the_beginning_is_the_same_after_sealing(bodies in bodies(60), cuts in proptest::collection::vec(0_u64..60, 0..4), at_once in 1_usize..20) {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &bodies, 7);
        let log = open(folder.path());
        let before = all(&log, 1000);
        prop_assert_eq!(before.iter().filter_map(|entry| entry.body.clone()).collect::<Vec<_>>(), bodies);
        for cut in cuts {
            log.seal(cut).expect("sealed");
        }
        seal_all(&log);
        prop_assert!(all(&log, at_once) == before);
        drop(log);
        let log = open(folder.path());
        prop_assert!(all(&log, at_once) == before);
        for (from, entry) in before.iter().enumerate() {
            prop_assert!(log.read(from as u64, 1).expect("readable") == [entry.clone()]);
        }
        let sealed = SealedLog::open(&folder.path().join("warehouse")).expect("opened beside it");
        let mut summary = crate::Summary::default();
        before.iter().for_each(|entry| summary.add(entry));
        prop_assert_eq!(sealed.summary().expect("readable"), summary);
        prop_assert_eq!(named_files(&log), parquet_files(&folder.path().join("warehouse")));
    }
}

#[test]
fn an_interruption_before_any_step_loses_nothing_and_doubles_nothing() {
    let mut interruptions = 0;
    for steps in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let on_two_days = |index: i64| Event { at_ms: 86_400_000 * (index % 2), ..event(&format!("{index}")) };
        let bodies: Vec<LogBody> = (0..50).map(|index| LogBody::Event(on_two_days(index).into())).collect();
        write(folder.path(), &bodies, 5);
        let log = open(folder.path());
        let before = all(&log, 1000);
        log.seal(20).expect("sealed");
        log.parts().journal.close_segment().expect("closed");
        *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = Some(steps);
        let sealed = log.seal(50);
        assert!(all(&log, 9) == before, "interrupted before step {steps}");
        drop(log);
        // The process dies here.
        let log = open(folder.path());
        assert_eq!(named_files(&log), parquet_files(&folder.path().join("warehouse")), "before step {steps}");
        assert!(all(&log, 9) == before, "interrupted before step {steps}");
        seal_all(&log);
        assert!(all(&log, 9) == before, "sealed again after step {steps}");
        let rows: u64 = log.sealed_files().iter().map(|file| file.rows).sum();
        assert_eq!((rows, log.read(0, 1).expect("readable")[0].offset), (50, 0));
        if sealed.is_ok() {
            break;
        }
        interruptions += 1;
    }
    assert_eq!(interruptions, 7, "two files with two steps each, the catalog with two, the journal");
}

#[test]
fn a_failed_sealing_is_done_again_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let bodies: Vec<LogBody> = (0..30).map(|index| LogBody::Event(event(&format!("{index}")).into())).collect();
    write(folder.path(), &bodies, 5);
    let log = open(folder.path());
    let before = all(&log, 1000);
    *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = Some(2);
    assert!(log.seal(10).is_err());
    *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = None;
    let report = log.seal(25).expect("sealed");
    assert_eq!((report.first, report.end, report.events, report.files), (0, 25, 25, 1));
    assert_eq!(named_files(&log), parquet_files(&folder.path().join("warehouse")));
    assert!(all(&log, 7) == before);
}

#[test]
fn records_that_do_not_check_out_keep_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let journal = Journal::open(folder.path(), JournalConfig::default()).expect("a journal");
        let good = LogBody::Event(event("a").into()).seal(&[]).expect("sealed");
        let mut changed = LogBody::Event(event("b").into()).seal(&[]).expect("sealed");
        *changed.last_mut().expect("a body") ^= 1;
        let bodies = [good, b"rubbish".to_vec(), changed];
        journal.append(bodies.into_iter().map(|body| NewRecord { kind: 16, body }).collect()).wait().expect("durable");
    }
    let log = open(folder.path());
    let before = all(&log, 10);
    assert_eq!(before.iter().map(|entry| entry.body.is_some()).collect::<Vec<_>>(), [true, false, false]);
    seal_all(&log);
    assert!(all(&log, 10) == before);
}

#[test]
fn a_damaged_file_is_named_and_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into())], 1);
    let log = open(folder.path());
    seal_all(&log);
    let name = log.sealed_files().remove(0).path;
    let path = folder.path().join("warehouse").join(&name);
    let mut bytes = fs::read(&path).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    assert!(matches!(log.read(0, 1), Err(StoreError::Damaged(what)) if what.contains(&name)));
}

#[test]
fn a_journal_that_does_not_meet_the_files_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into())], 1);
    let log = open(folder.path());
    seal_all(&log);
    drop(log);
    fs::rename(folder.path().join("warehouse"), folder.path().join("elsewhere")).expect("moved away");
    assert!(matches!(EventLog::open(folder.path(), &Config::default(), Vec::new()), Err(StoreError::Damaged(_))), "a hole");
}

#[test]
fn files_that_lie_elsewhere_than_the_settings_say_are_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into())], 1);
    let log = open(folder.path());
    assert_eq!(SealedLog::open(&folder.path().join("warehouse")).expect("empty").end(), 0);
    log.seal(1).expect("sealed");
    drop(log);
    let config = Config { warehouse_url: "s3://bucket/prefix".into(), ..Config::default() };
    assert!(matches!(EventLog::open(folder.path(), &config, Vec::new()), Err(StoreError::Io(what)) if what.contains("warehouse_url")));
    assert_eq!(open(folder.path()).sealed(), 1);
}

#[test]
fn consumers_hold_trimming_back_but_not_sealing() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into()), LogBody::Event(event("b").into())], 1);
    let log = EventLog::open(folder.path(), &Config::default(), vec!["slow"]).expect("opened");
    log.parts().journal.close_segment().expect("closed");
    assert_eq!(log.seal(2).expect("sealed").trimmed_bytes, 0);
    assert_eq!((log.sealed(), log.parts().journal.start()), (2, 0));
    log.consumer_at("slow", 2);
    assert!(log.seal(2).expect("sealed").trimmed_bytes > 0);
    assert_eq!(log.parts().journal.start(), 2);
}

#[test]
fn sealing_is_due_by_number_and_by_age() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into()), LogBody::Event(event("b").into())], 1);
    let config = Config { seal_records: 2, ..Config::default() };
    let log = EventLog::open(folder.path(), &config, Vec::new()).expect("opened");
    let written_at_ms = log.read(0, 1).expect("readable")[0].written_at_ms;
    assert_eq!(log.seal_due(written_at_ms).ok(), Some(Some(2)));
    log.seal(1).expect("sealed");
    assert_eq!(log.seal_due(written_at_ms).ok(), Some(None));
    assert_eq!(log.seal_due(written_at_ms + 2 * 3_600_000).ok(), Some(Some(2)));
    log.seal(2).expect("sealed");
    assert_eq!(log.seal_due(i64::MAX).ok(), Some(None));
}

#[test]
fn files_may_lie_in_another_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let bodies: Vec<LogBody> = (0..30).map(|index| LogBody::Event(event(&format!("{index}")).into())).collect();
    write(folder.path(), &bodies, 5);
    let elsewhere = Arc::new(InMemory::new());
    let open = || {
        let journal = Journal::open(folder.path(), JournalConfig::default()).expect("a journal");
        let warehouse = Warehouse::elsewhere(&folder.path().join("warehouse"), elsewhere.clone()).expect("a warehouse");
        EventLog::of(journal, warehouse, &Config::default()).expect("opened")
    };
    let log = open();
    let before = all(&log, 1000);
    *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = Some(2);
    assert!(log.seal(10).is_err(), "a file lies there, and no catalog names it");
    drop(log);
    let log = open();
    seal_all(&log);
    drop(log);
    let log = open();
    assert!(all(&log, 7) == before);
    assert_eq!((parquet_files(&folder.path().join("warehouse")), log.sealed_files().len()), (Vec::new(), 1));
    let erasure = domain::Erasure { shoppers: vec![domain::Shopper::visitor("v")], at_ms: 1, receipt: "r".into() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(log.erase(erasure.clone())).expect("erased");
    assert_eq!(log.forget(&erasure).expect("forgotten").records, 31);
    assert!(all(&log, 7).iter().all(|entry| !format!("{entry:?}").contains("\"v\"")));
    // Of all that was written there, the files in force and a copy of the catalog are left.
    use object_store::ObjectStore;
    let top = runtime.block_on(elsewhere.list_with_delimiter(Some(&"shop/1".into()))).expect("listed");
    let mut files = 0;
    for day in &top.common_prefixes {
        files += runtime.block_on(elsewhere.list_with_delimiter(Some(day))).expect("listed").objects.len();
    }
    assert_eq!((top.objects.len(), files), (1, log.sealed_files().len()));
}

#[test]
fn a_catalog_that_is_perhaps_not_durable_lets_nothing_be_sealed_or_removed_before_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let bodies: Vec<LogBody> = (0..30).map(|index| LogBody::Event(event(&format!("{index}")).into())).collect();
    write(folder.path(), &bodies, 5);
    let log = open(folder.path());
    let before = all(&log, 1000);
    // One file with two steps, and the catalog's rename; flushing it fails.
    *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = Some(3);
    assert!(log.seal(10).is_err());
    *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = None;
    let warehouse = folder.path().join("warehouse");
    let files = parquet_files(&warehouse);
    let refused =
        |result: Result<(), StoreError>| assert!(matches!(&result, Err(StoreError::Io(what)) if what.contains("restart")), "{result:?}");
    refused(log.seal(25).map(drop));
    refused(log.finish_forgetting());
    assert_eq!((files.len(), parquet_files(&warehouse)), (1, files.clone()));
    assert!(all(&log, 7) == before);
    drop(log);
    let log = open(folder.path());
    assert_eq!((log.sealed(), named_files(&log)), (10, files));
    assert_eq!(log.seal(25).expect("sealed").first, 10);
    assert!(all(&log, 7) == before);
}

#[test]
fn who_only_reads_the_files_leaves_nothing_there() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[LogBody::Event(event("a").into())], 1);
    let warehouse = folder.path().join("warehouse");
    open(folder.path()).seal(1).expect("sealed");
    fs::remove_dir(warehouse.join("staging")).expect("an empty folder");
    let sealed = SealedLog::open(&warehouse).expect("opened");
    assert_eq!(sealed.read(0, 9).expect("readable").len(), 1);
    assert!(!warehouse.join("staging").exists());
}
