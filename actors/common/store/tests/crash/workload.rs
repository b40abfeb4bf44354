//! What the process that is going to die writes, and what must be found afterwards. Rounds follow one another, each a function
//! of its number alone, so that the whole state after round n is known.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound::Unbounded;
use std::path::Path;

use bincode::{Decode, Encode};
use store::consumer::{load_offset, offset_op};
use store::{Ack, Durability, Journal, JournalConfig, Keyspace, NewRecord, Op, Record, SledConfig, SledStore, Store, StoreError};

const CONSUMER: &str = "crash";
/// Keys are reused after so many rounds.
const SLOTS: u64 = 64;
const KEYS: u64 = 10;
const RECORDS: u64 = 3;

/// How the faults of each part begin.
pub(crate) const JOURNAL: &str = "journal: ";
pub(crate) const STORE: &str = "store: ";

/// The exit code of a writer that met an I/O error and found itself read-only.
pub(crate) const POISONED: i32 = 3;

#[derive(Debug, PartialEq, Encode, Decode)]
struct Row {
    round: u64,
    index: u64,
    filling: Vec<u8>,
}

impl Record for Row {
    const KIND: u16 = 0x7E57;
    const SCHEMA: u16 = 1;
}

impl Row {
    fn new(round: u64, index: u64) -> Self {
        let length = (round * 7919 + index * 104_729) % 1500;
        Self { round, index, filling: (0..length).map(|at| (round ^ index ^ at) as u8).collect() }
    }

    fn sealed(&self, key: &[u8]) -> Vec<u8> {
        self.seal(key).expect("a sealed row")
    }
}

/// How far the writer has come: rounds that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Progress {
    /// Appends to the journal.
    pub(crate) journal: u64,
    /// Commits to the store.
    pub(crate) store: u64,
}

impl Progress {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (journal, store) = line.strip_prefix("acked ")?.split_once(' ')?;
        Some(Self { journal: journal.parse().ok()?, store: store.parse().ok()? })
    }
}

/// Writes rounds until it dies, telling on standard output what has been acknowledged.
pub(crate) fn write_for_ever(dir: &Path) -> ! {
    let store = open_store(dir).expect("a store that opens");
    let journal = open_journal(dir).expect("a journal that opens");
    let mut progress = Progress { journal: journal.end() / RECORDS, store: hot(&store).expect("a readable key") };
    let say = |line: String| std::io::stdout().write_all(line.as_bytes()).expect("a parent that listens");
    say("ready\n".into());
    loop {
        // The two do not wait for each other, so that either may be ahead when the end comes.
        let append = journal.append(append_of(progress.journal));
        let commit = store.commit(commit_of(progress.store), Durability::Flushed);
        if let Err(error) = append.wait() {
            die_of(error, journal.poisoned(), journal.append(append_of(0)));
        }
        progress.journal += 1;
        if let Err(error) = commit.wait() {
            die_of(error, store.stats().poisoned, store.commit(commit_of(0), Durability::Flushed));
        }
        progress.store += 1;
        say(format!("acked {} {}\n", progress.journal, progress.store));
    }
}

/// After an I/O error nothing is written any more.
fn die_of<T>(error: StoreError, poisoned: Option<String>, next: Ack<T>) -> ! {
    let is_read_only = poisoned.is_some() && matches!(next.wait(), Err(StoreError::Poisoned(_)));
    std::process::exit(if matches!(error, StoreError::Io(_)) && is_read_only { POISONED } else { 1 })
}

fn open_store(dir: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(&dir.join("store"), SledConfig::default())
}

fn open_journal(dir: &Path) -> Result<Journal, StoreError> {
    let config = JournalConfig { segment_bytes_max: 256 * 1024, ..JournalConfig::default() };
    Journal::open(&dir.join("journal"), config)
}

fn append_of(round: u64) -> Vec<NewRecord> {
    (0..RECORDS).map(|index| NewRecord { kind: Row::KIND, body: Row::new(round, index).sealed(b"") }).collect()
}

/// Ten rows; every fourth round deletes half of the round before; the round's number as a consumer's offset.
fn commit_of(round: u64) -> Vec<Op> {
    let key = |round: u64, index: u64| [(round % SLOTS).to_be_bytes(), index.to_be_bytes()].concat();
    let mut ops: Vec<Op> = (0..KEYS)
        .map(|index| Op::Put { space: Keyspace::Catalog, key: key(round, index), value: Row::new(round, index).sealed(&key(round, index)) })
        .collect();
    if round % 4 == 3 {
        ops.extend((0..KEYS / 2).map(|index| Op::Delete { space: Keyspace::Catalog, key: key(round - 1, index) }));
    }
    ops.push(offset_op(CONSUMER, round + 1).expect("a sealed offset"));
    ops
}

/// Rounds that the store holds.
fn hot(store: &dyn Store) -> Result<u64, StoreError> {
    load_offset(store, CONSUMER)
}

/// Opens what was left and says how far it goes, or what is wrong with the one, the other, or both.
pub(crate) fn verify(dir: &Path, acked: Progress) -> Result<Progress, String> {
    let journal = open_journal(dir).map_err(|error| error.to_string()).and_then(|journal| verify_journal(&journal));
    let store = open_store(dir).map_err(|error| error.to_string()).and_then(|store| verify_store(&store));
    let journal = journal.and_then(|found| not_less(found, acked.journal)).map_err(|wrong| format!("{JOURNAL}{wrong}"));
    let store = store.and_then(|found| not_less(found, acked.store)).map_err(|wrong| format!("{STORE}{wrong}"));
    match (journal, store) {
        (Ok(journal), Ok(store)) => Ok(Progress { journal, store }),
        (journal, store) => Err([journal.err(), store.err()].into_iter().flatten().collect::<Vec<_>>().join("; ")),
    }
}

fn not_less(found: u64, acked: u64) -> Result<u64, String> {
    if found >= acked { Ok(found) } else { Err(format!("{acked} rounds were acknowledged, {found} are there")) }
}

fn verify_journal(journal: &Journal) -> Result<u64, String> {
    let entries = journal.read(0, usize::MAX, usize::MAX).map_err(|error| error.to_string())?;
    for (offset, entry) in entries.iter().enumerate() {
        let expected = Row::new(offset as u64 / RECORDS, offset as u64 % RECORDS);
        if entry.offset != offset as u64 || Row::unseal(b"", &entry.body).as_ref() != Ok(&expected) {
            return Err(format!("another record stands at offset {offset}"));
        }
    }
    if entries.len() as u64 != journal.end() || !journal.end().is_multiple_of(RECORDS) {
        return Err(format!("a torn append, {} of {} records", entries.len(), journal.end()));
    }
    Ok(journal.end() / RECORDS)
}

fn verify_store(store: &dyn Store) -> Result<u64, String> {
    let failed = |error: StoreError| error.to_string();
    let damaged = store.verify().map_err(failed)?.damaged;
    if !damaged.is_empty() {
        return Err(format!("{} damaged values", damaged.len()));
    }
    let rounds = hot(store).map_err(failed)?;
    let mut expected = BTreeMap::new();
    for round in rounds.saturating_sub(2 * SLOTS)..rounds {
        for op in commit_of(round) {
            match op {
                Op::Put { space: Keyspace::Catalog, key, value } => expected.insert(key, value),
                Op::Delete { key, .. } => expected.remove(&key),
                Op::Put { .. } => None,
            };
        }
    }
    let page = store.range(Keyspace::Catalog, (Unbounded, Unbounded), usize::MAX).map_err(failed)?;
    let stats = store.stats();
    if page.entries == expected.into_iter().collect::<Vec<_>>() && stats.last_commit == rounds {
        Ok(rounds)
    } else {
        Err(format!("{} entries and commit {} are not the state after round {rounds}", page.entries.len(), stats.last_commit))
    }
}
