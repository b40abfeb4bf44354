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
    let (store, journal) = open(dir).expect("storage that opens");
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

fn open(dir: &Path) -> Result<(SledStore, Journal), StoreError> {
    let config = JournalConfig { segment_bytes_max: 256 * 1024, ..JournalConfig::default() };
    Ok((SledStore::open(&dir.join("store"), SledConfig::default())?, Journal::open(&dir.join("journal"), config)?))
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

/// Opens what was left and says what is wrong with it, and how far it goes.
pub(crate) fn verify(dir: &Path, acked: Progress) -> Result<Progress, String> {
    let (store, journal) = open(dir).map_err(|error| format!("does not open: {error}"))?;
    let found = Progress { journal: verify_journal(&journal)?, store: verify_store(&store)? };
    if found.journal < acked.journal || found.store < acked.store {
        return Err(format!("lost: acknowledged {acked:?}, found {found:?}"));
    }
    Ok(found)
}

fn verify_journal(journal: &Journal) -> Result<u64, String> {
    let entries = journal.read(0, usize::MAX, usize::MAX).map_err(|error| format!("journal: {error}"))?;
    for (offset, entry) in entries.iter().enumerate() {
        let expected = Row::new(offset as u64 / RECORDS, offset as u64 % RECORDS);
        if entry.offset != offset as u64 || Row::unseal(b"", &entry.body).as_ref() != Ok(&expected) {
            return Err(format!("journal: another record stands at offset {offset}"));
        }
    }
    if entries.len() as u64 != journal.end() || !journal.end().is_multiple_of(RECORDS) {
        return Err(format!("journal: a torn append, {} of {} records", entries.len(), journal.end()));
    }
    Ok(journal.end() / RECORDS)
}

fn verify_store(store: &dyn Store) -> Result<u64, String> {
    let failed = |error: StoreError| format!("store: {error}");
    let damaged = store.verify().map_err(failed)?.damaged;
    if !damaged.is_empty() {
        return Err(format!("store: {} damaged values", damaged.len()));
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
        Err(format!("store: {} entries and commit {} are not the state after round {rounds}", page.entries.len(), stats.last_commit))
    }
}
