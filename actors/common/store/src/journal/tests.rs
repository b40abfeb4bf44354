//! The journal over real files: order, atomic appends, torn tails, damage, trimming's readers, and the poison.

use std::fs;
use std::path::PathBuf;

use super::*;

fn records(bodies: &[&str]) -> Vec<NewRecord> {
    bodies.iter().map(|body| NewRecord { kind: 7, body: body.as_bytes().to_vec() }).collect()
}

fn small() -> JournalConfig {
    JournalConfig { segment_bytes_max: 4096, ..JournalConfig::default() }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, small()).expect("a journal that opens")
}

fn bodies(journal: &Journal, from: u64) -> Vec<String> {
    let entries = journal.read(from, usize::MAX, usize::MAX).expect("readable records");
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.body).into_owned()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
    files.sort();
    files
}

/// Appends `count` records of about 100 bytes, one append each.
fn fill(journal: &Journal, count: u64) {
    for index in 0..count {
        let body = format!("{index:0100}");
        journal.append(records(&[&body])).wait().expect("a durable append");
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the segment");
    change(&mut bytes);
    fs::write(path, bytes).expect("the segment written");
}

#[test]
fn records_come_back_in_order_and_after_reopening() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    assert_eq!(journal.append(records(&["a", "b"])).wait().ok(), Some(0..2));
    assert_eq!(journal.append(records(&[])).wait().ok(), Some(2..2));
    assert_eq!(journal.append(records(&["c"])).wait().ok(), Some(2..3));
    assert_eq!((journal.start(), journal.end()), (0, 3));
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.end(), 3);
    assert_eq!(bodies(&journal, 0), ["a", "b", "c"]);
    assert_eq!(bodies(&journal, 2), ["c"]);
    assert_eq!(bodies(&journal, 3), [""; 0]);
    assert!(matches!(journal.read(4, 1, 1), Err(StoreError::Damaged(_))));
    assert_eq!(journal.append(records(&["d"])).wait().ok(), Some(3..4));
    let entry = &journal.read(3, 1, 0).expect("the last record")[0];
    assert!(entry.kind == 7 && entry.written_at_ms > 1_600_000_000_000);
}

#[test]
fn reads_are_bounded_but_never_empty() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    fill(&journal, 100);
    assert!(files(dir.path()).len() > 2, "several segments");
    let length = |records_max, bytes_max| journal.read(10, records_max, bytes_max).expect("records").len();
    assert_eq!((length(5, usize::MAX), length(usize::MAX, 350), length(usize::MAX, 0), length(0, 100)), (5, 3, 1, 0));
    assert_eq!(bodies(&journal, 0).len(), 100);
    for from in 0..100 {
        assert_eq!(journal.read(from, 1, 0).expect("a record")[0].offset, from);
    }
}

#[test]
fn watchers_are_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    let mut watch = journal.watch();
    assert_eq!(*watch.borrow_and_update(), 0);
    fill(&journal, 1);
    assert!(watch.has_changed().is_ok_and(|changed| changed));
    assert_eq!(*watch.borrow_and_update(), 1);
}

#[test]
fn every_cut_of_the_tail_leaves_whole_appends() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    journal.append(records(&["one", "two"])).wait().expect("a durable append");
    let kept = journal.bytes();
    journal.append(records(&["three", "four"])).wait().expect("a durable append");
    drop(journal);
    let path = files(dir.path()).remove(0);
    let whole = fs::read(&path).expect("the segment");
    for length in kept as usize..whole.len() {
        fs::write(&path, &whole[..length]).expect("the cut segment");
        let journal = open(dir.path());
        assert_eq!(bodies(&journal, 0), ["one", "two"], "cut at {length}");
        assert_eq!(journal.append(records(&["five"])).wait().ok(), Some(2..3));
        drop(journal);
        assert_eq!(bodies(&open(dir.path()), 0), ["one", "two", "five"], "cut at {length}");
    }
}

#[test]
fn an_interrupted_group_that_lost_an_early_page_is_a_torn_tail() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    journal.append(records(&["kept"])).wait().expect("a durable append");
    let kept = journal.bytes() as usize;
    journal.append(records(&["lost", "page", "written"])).wait().expect("a durable append");
    drop(journal);
    edit(&files(dir.path())[0], |bytes| bytes[kept..kept + 20].fill(0));
    assert_eq!(bodies(&open(dir.path()), 0), ["kept"]);
}

#[test]
fn zeros_behind_the_last_record_are_cut_off() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    journal.append(records(&["kept"])).wait().expect("a durable append");
    let kept = journal.bytes();
    let path = files(dir.path()).remove(0);
    let length = || fs::metadata(&path).expect("the segment").len();
    assert!(length() > kept, "zeros stand ahead while it is written");
    drop(journal);
    assert_eq!(length(), kept);
    edit(&path, |bytes| bytes.resize(kept as usize + 100_000, 0));
    let journal = open(dir.path());
    assert_eq!(length(), kept);
    assert_eq!(journal.append(records(&["more"])).wait().ok(), Some(1..2));
    assert_eq!(bodies(&journal, 0), ["kept", "more"]);
}

#[test]
fn damage_before_a_later_group_is_an_error_with_file_and_position() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    journal.append(records(&["first"])).wait().expect("a durable append");
    let second = journal.bytes();
    journal.append(records(&["second"])).wait().expect("a durable append");
    journal.append(records(&["third"])).wait().expect("a durable append");
    drop(journal);
    let path = files(dir.path()).remove(0);
    for at in second as usize..second as usize + 40 {
        edit(&path, |bytes| bytes[at] ^= 0x10);
        let Err(StoreError::Damaged(what)) = Journal::open(dir.path(), small()) else { panic!("byte {at} went unseen") };
        assert!(what.contains(&format!("at byte {second}")) && what.contains(".journal"), "{what}");
        edit(&path, |bytes| bytes[at] ^= 0x10);
    }
    assert_eq!(bodies(&open(dir.path()), 0).len(), 3);
}

#[test]
fn damage_in_a_closed_segment_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    fill(&journal, 100);
    assert_eq!(journal.verify().ok(), Some(100));
    drop(journal);
    let first = files(dir.path()).remove(0);
    edit(&first, |bytes| bytes[300] ^= 1);
    let journal = open(dir.path());
    assert!(matches!(journal.read(0, 1, 1), Err(StoreError::Damaged(_))));
    assert!(matches!(journal.verify(), Err(StoreError::Damaged(_))));
    assert_eq!(journal.read(99, 1, 1).expect("the last record").len(), 1);
    drop(journal);
    edit(&first, |bytes| bytes[300] ^= 1);
    edit(&first, |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(open(dir.path()).verify(), Err(StoreError::Damaged(_))));
    edit(&first, |bytes| bytes[0] = 0);
    assert!(matches!(Journal::open(dir.path(), small()), Err(StoreError::Damaged(_))));
}

#[test]
fn a_missing_segment_shows() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    fill(&journal, 100);
    drop(journal);
    let paths = files(dir.path());
    fs::remove_file(&paths[1]).expect("a segment removed");
    assert!(matches!(open(dir.path()).read(0, usize::MAX, usize::MAX), Err(StoreError::Damaged(_))));
}

#[test]
fn one_handle_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    assert!(matches!(Journal::open(dir.path(), small()), Err(StoreError::Locked(_))));
    drop(journal);
    assert!(Journal::open(dir.path(), small()).is_ok());
}

#[test]
fn oversized_records_are_refused_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    let big = NewRecord { kind: 1, body: vec![0; RECORD_BYTES_MAX] };
    let over = NewRecord { kind: 1, body: vec![0; RECORD_BYTES_MAX + 1] };
    assert!(matches!(journal.append(vec![over]).wait(), Err(StoreError::TooLarge { what: "record", .. })));
    assert!(matches!(journal.append(vec![big.clone(); 65]).wait(), Err(StoreError::TooLarge { what: "append", .. })));
    assert_eq!(journal.append(vec![big]).wait().ok(), Some(0..1));
    assert_eq!(journal.read(0, 1, 0).expect("the record")[0].body.len(), RECORD_BYTES_MAX);
}

#[test]
fn the_first_failed_write_ends_writing_but_not_reading() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    fill(&journal, 60);
    // The next segment cannot be created where its temporary name is a folder.
    let end = loop {
        let end = journal.end();
        fs::create_dir(dir.path().join(format!("{end:020}.journal.tmp"))).expect("a folder in the way");
        if let Err(error) = journal.append(records(&[&"x".repeat(100)])).wait() {
            assert!(matches!(error, StoreError::Io(_)), "{error}");
            break end;
        }
    };
    assert!(matches!(journal.append(records(&["y"])).wait(), Err(StoreError::Poisoned(_))));
    assert!(journal.poisoned().is_some());
    assert_eq!((journal.end(), bodies(&journal, 0).len() as u64), (end, end));
}

struct Vouched(u64);

impl TrimProof for Vouched {
    fn journal_offset(&self) -> u64 {
        self.0
    }
}

#[test]
fn appends_are_answered_in_order_and_after_they_are_visible() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    let (answers, answered) = std::sync::mpsc::channel();
    let mut end = journal.watch();
    for index in 0..50_u64 {
        let (answers, mut end) = (answers.clone(), end.clone());
        let answer = move |written: Result<Written, StoreError>| {
            let written = written.expect("durable");
            assert!(*end.borrow_and_update() >= written.offsets.end);
            answers.send((index, written)).expect("somebody listens");
        };
        journal.submit(records(&["a", "b"]), answer).expect("taken");
    }
    for index in 0..50 {
        let (answered, written) = answered.recv().expect("an answer");
        assert_eq!((answered, written.offsets), (index, index * 2..index * 2 + 2));
        assert_eq!(journal.read(index * 2, 1, 0).expect("a record")[0].written_at_ms, written.written_at_ms);
    }
    assert_eq!(*end.borrow_and_update(), 100);
}

#[test]
fn a_closed_segment_can_be_trimmed_and_what_comes_next_stays() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let journal = open(dir.path());
    assert_eq!(journal.close_segment().ok(), Some(0), "an empty segment stays");
    journal.append(records(&["a", "b"])).wait().expect("durable");
    assert_eq!(journal.close_segment().ok(), Some(2));
    journal.append(records(&["c"])).wait().expect("durable");
    journal.consumer_at("slow", 1);
    journal.trim(&Vouched(2)).expect("trimmed");
    assert_eq!(journal.start(), 0, "the slow consumer holds it back");
    journal.purge(&Vouched(1)).expect("purged");
    assert_eq!(journal.start(), 0, "half of a segment stays");
    assert!(journal.purge(&Vouched(2)).expect("purged") > 0);
    assert_eq!((journal.start(), files(dir.path()).len()), (2, 1));
    assert!(matches!(journal.read(1, 1, 0), Err(StoreError::Trimmed { offset: 1, start: 2 })));
    drop(journal);
    let journal = open(dir.path());
    assert_eq!((bodies(&journal, 2), journal.end()), (vec!["c".to_owned()], 3));
}
