//! Exports: one moment's state whatever is written meanwhile, read back before they count, and the proof for trimming.

use std::fs;
use std::io::{self, Write};
use std::ops::Bound::Unbounded;
use std::path::Path;

use bincode::{Decode, Encode};
use store::{
    Durability, Journal, JournalConfig, Keyspace, MemoryStore, NewRecord, Op, Page, Record, SledConfig, SledStore, Store, StoreError,
    VerifiedExport,
};

#[derive(Debug, PartialEq, Encode, Decode)]
struct Row(u64);

impl Record for Row {
    const KIND: u16 = 0x7E57;
    const SCHEMA: u16 = 1;
}

const SPACES: [Keyspace; 3] = [Keyspace::Meta, Keyspace::Catalog, Keyspace::Config];

fn put(space: Keyspace, key: u64, row: u64) -> Op {
    let key = key.to_be_bytes().to_vec();
    let value = Row(row).seal(&key).expect("a sealed row");
    Op::Put { space, key, value }
}

fn commit(store: &dyn Store, ops: Vec<Op>) {
    store.commit(ops, Durability::Flushed).wait().expect("a commit");
}

fn filled(store: &dyn Store) {
    for space in SPACES {
        commit(store, (0..500).map(|key| put(space, 2 * key, 1)).collect());
    }
}

fn contents(store: &dyn Store) -> Vec<Page> {
    Keyspace::ALL.map(|space| store.range(space, (Unbounded, Unbounded), usize::MAX).expect("a range")).to_vec()
}

fn sled(dir: &Path) -> SledStore {
    SledStore::open(dir, SledConfig::default()).expect("a store that opens")
}

fn journal(dir: &Path, consumers: &[&'static str]) -> Journal {
    let config = JournalConfig { segment_bytes_max: 1000, consumers: consumers.to_vec(), ..JournalConfig::default() };
    Journal::open(dir, config).expect("a journal that opens")
}

/// Changes the store while the export writes: overwrites, deletes and adds keys all over.
struct Meddler<'a> {
    store: &'a dyn Store,
    bytes: Vec<u8>,
    step: u64,
}

impl Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() / 2000 > self.step as usize {
            self.step += 1;
            let key = self.step * 37 % 1000;
            let space = SPACES[self.step as usize % 3];
            let delete = Op::Delete { space, key: (key & !1).to_be_bytes().to_vec() };
            let ops = SPACES.iter().flat_map(|space| [put(*space, key, 2), put(*space, key + 100, 3), put(*space, key | 1, 4)]);
            let result = self.store.commit(ops.chain([delete]).collect(), Durability::Applied).wait();
            result.map_err(io::Error::other)?;
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_is_one_moment_whatever_is_written_meanwhile() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sled = sled(dir.path());
    let memory = MemoryStore::new();
    let mut exports = Vec::new();
    for store in [&sled as &dyn Store, &memory] {
        filled(store);
        let mut quiet = Vec::new();
        let summary = store.export(&mut quiet).expect("an export");
        assert_eq!((summary.entries, summary.bytes), (1500, quiet.len() as u64));
        let before = contents(store);
        let mut meddler = Meddler { store, bytes: Vec::new(), step: 0 };
        store.export(&mut meddler).expect("an export");
        assert!(meddler.step > 20, "it was meddled with");
        assert!(meddler.bytes == quiet, "the export saw later writes");
        assert_ne!(contents(store), before);
        exports.push(quiet);
    }
    assert!(exports[0] == exports[1], "the twin's export differs");
}

#[test]
fn an_export_fills_an_empty_store_and_no_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = sled(&dir.path().join("store"));
    filled(&store);
    let journal = journal(&dir.path().join("journal"), &[]);
    let export = VerifiedExport::write(&store, &journal, &dir.path().join("export")).expect("an export");
    assert_eq!((export.summary().entries, export.journal_offset()), (1500, 0));
    for target in [&sled(&dir.path().join("other")) as &dyn Store, &MemoryStore::new()] {
        export.restore(target).expect("a restored store");
        assert_eq!(contents(target), contents(&store));
        assert_eq!(target.verify().map(|report| (report.entries, report.damaged.len())).ok(), Some((1500, 0)));
        assert!(export.restore(target).is_err(), "it is not empty any more");
    }
}

#[test]
fn a_damaged_store_is_rebuilt_and_set_aside() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("store");
    let store = sled(&path);
    filled(&store);
    let journal = journal(&dir.path().join("journal"), &[]);
    let export = VerifiedExport::write(&store, &journal, &dir.path().join("export")).expect("an export");
    let before = contents(&store);
    drop(store);
    fs::write(path.join("db"), b"rubbish").expect("a damaged file");
    let (store, old) = SledStore::rebuild(&path, SledConfig::default(), Some(&export)).expect("a new store");
    assert_eq!(contents(&store), before);
    assert_eq!(fs::read(old.join("db")).ok().as_deref(), Some(&b"rubbish"[..]));
    drop(store);
    assert_eq!(contents(&sled(&path)), before);
    assert_eq!(fs::read_dir(dir.path()).map(Iterator::count).ok(), Some(4), "nothing else is left");
}

#[test]
fn a_damaged_export_is_no_proof() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("export");
    let store = MemoryStore::new();
    commit(&store, vec![put(Keyspace::Meta, 1, 1), put(Keyspace::Jobs, 2, 2)]);
    let journal = journal(&dir.path().join("journal"), &[]);
    VerifiedExport::write(&store, &journal, &path).expect("an export");
    let mut bytes = fs::read(&path).expect("the export");
    for at in 0..bytes.len() {
        bytes[at] ^= 4;
        fs::write(&path, &bytes).expect("a damaged export");
        assert!(VerifiedExport::open(&path).is_err(), "byte {at}");
        bytes[at] ^= 4;
    }
    fs::write(&path, &bytes).expect("the export");
    assert!(VerifiedExport::open(&path).is_ok());
    commit(&store, vec![Op::Put { space: Keyspace::Jobs, key: b"k".to_vec(), value: b"no record".to_vec() }]);
    let refused = VerifiedExport::write(&store, &journal, &path);
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    assert_eq!(store.verify().expect("a report").damaged, ["056b"]);
}

#[test]
fn the_journal_is_trimmed_behind_the_export_and_the_slowest_consumer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = MemoryStore::new();
    let open = || journal(&dir.path().join("journal"), &["slow"]);
    let export = |journal: &Journal| VerifiedExport::write(&store, journal, &dir.path().join("export")).expect("an export");
    let journal = open();
    for _ in 0..100 {
        journal.append(vec![NewRecord { kind: 1, body: vec![0; 60] }]).wait().expect("an append");
    }
    journal.consumer_at("fast", 100);
    assert_eq!(journal.trim(&export(&journal)).ok(), Some(0), "a consumer that has not spoken yet holds it back");
    assert_eq!(journal.start(), 0);
    journal.consumer_at("slow", 50);
    let proof = export(&journal);
    assert_eq!(proof.journal_offset(), 50);
    let before = journal.bytes();
    assert_eq!(journal.trim(&proof).ok(), Some(before - journal.bytes()));
    let start = journal.start();
    assert!((1..=50).contains(&start), "whole segments behind 50 are gone, from {start}");
    assert!(matches!(journal.read(start - 1, 1, 1), Err(StoreError::Trimmed { .. })));
    assert_eq!(journal.read(start, 100, usize::MAX).expect("the rest").len() as u64, 100 - start);
    journal.consumer_at("slow", 100);
    assert_eq!(journal.trim(&proof).ok(), Some(0), "the export holds it back");
    let proof = export(&journal);
    journal.trim(&proof).expect("trimmed");
    drop(journal);
    let journal = open();
    assert!(journal.start() > 50 && journal.start() < 100, "the last segment stays");
    assert_eq!((journal.end(), journal.consumers()), (100, vec![("slow", journal.start())]));
    assert_eq!(journal.verify().ok(), Some(100 - journal.start()));
}
