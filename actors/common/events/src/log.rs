//! Appending, reading and following.

use std::path::Path;
use std::sync::{Arc, Mutex};

use domain::{Erasure, Event, Served};
use protocol::journal::{KIND_LOG_BODY, LogBody};
use store::{Ack, Journal, JournalConfig, JournalEntry, NewRecord, Record, StoreError};
use tokio::sync::watch;

use crate::Config;
use crate::erasure::Waiting;
use crate::ids::IdHasher;
use crate::policy::{Unsealed, is_due};
use crate::tail::{RingBounds, Tail};
use crate::warehouse::{Content, Row, SealReport, Sealed, SealedFile, Table, Warehouse};

/// Records read at once while the log is opened.
const OPEN_RECORDS_MAX: usize = 4096;
/// Bytes of records in one read.
const READ_BYTES_MAX: usize = 8 << 20;
/// The folder of the Parquet files, where no other is named.
const WAREHOUSE: &str = "warehouse";

/// What an append amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Events that are new.
    pub accepted: usize,
    /// Events whose id is known: they were acknowledged before.
    pub duplicates: usize,
    /// The offset behind everything this append made durable: whoever has applied the log up to here has seen it.
    pub end: u64,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place: dense, from 0.
    pub offset: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_at_ms: i64,
    /// What it says; `None` for a record that does not check out (logged and counted).
    pub body: Option<LogBody>,
}

/// The log; clones share it.
#[derive(Clone)]
pub struct EventLog(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) journal: Journal,
    pub(crate) warehouse: Warehouse,
    /// What the journal's thread shares.
    pub(crate) tail: Arc<Tail>,
    pub(crate) waiting: Mutex<Waiting>,
    hasher: IdHasher,
    config: Config,
}

/// An event on its way into the log.
struct Prepared {
    hash: u128,
    body: LogBody,
    record: NewRecord,
}

impl EventLog {
    /// Opens (or creates) the log in `dir`, with its Parquet files in a folder below. `consumers` hold its trimming and forgetting
    /// back from the start. Reads the newest records to know their ids: blocks.
    pub fn open(dir: &Path, config: &Config, consumers: Vec<&'static str>) -> Result<Self, StoreError> {
        Self::open_with_warehouse(dir, &dir.join(WAREHOUSE), config, consumers)
    }

    /// Like [`EventLog::open`], with the catalog and the Parquet files in a folder of their own.
    pub fn open_with_warehouse(dir: &Path, warehouse: &Path, config: &Config, consumers: Vec<&'static str>) -> Result<Self, StoreError> {
        let journal_config = JournalConfig { segment_bytes_max: config.segment_mib << 20, consumers, ..JournalConfig::default() };
        let journal = Journal::open(dir, journal_config)?;
        let warehouse = Warehouse::open(warehouse, config)?;
        Self::of(journal, warehouse, config)
    }

    pub(crate) fn of(journal: Journal, warehouse: Warehouse, config: &Config) -> Result<Self, StoreError> {
        let (start, end, sealed) = (journal.start(), journal.end(), warehouse.end());
        if start > sealed || end < sealed {
            let what = format!("the journal holds offsets {start}..{end} of the event log and the files those before {sealed}");
            return Err(StoreError::Damaged(what.into()));
        }
        if start < warehouse.purge_before() {
            // A forgetting was interrupted before its last step.
            journal.purge(&Sealed(warehouse.purge_before()))?;
        }
        let bounds = RingBounds { records_max: config.ring_records_max, bytes_max: config.ring_mib_max << 20 };
        let tail = Arc::new(Tail::new(config.ids_max, bounds, end));
        let (waiting, hasher) = (Mutex::default(), IdHasher::default());
        let log = Self(Arc::new(Parts { journal, warehouse, tail, waiting, hasher, config: config.clone() }));
        log.remember_ids()?;
        Ok(log)
    }

    /// Takes the ids of the newest records in.
    fn remember_ids(&self) -> Result<(), StoreError> {
        let Parts { journal, warehouse, tail, hasher, config, .. } = &*self.0;
        let from = self.end().saturating_sub(config.ids_max as u64);
        for file in warehouse.sealed_files().iter().filter(|file| file.table == Table::Events && file.last >= from) {
            let mut ids = tail.ids();
            warehouse.ids(file, |offset, id| {
                if offset >= from {
                    ids.insert(hasher.hash(id));
                }
            })?;
        }
        let mut next = journal.start().max(warehouse.end()).max(from);
        while next < self.end() {
            let entries = self.read(next, OPEN_RECORDS_MAX)?;
            let mut ids = tail.ids();
            for entry in &entries {
                if let Some(LogBody::Event(event)) = &entry.body {
                    ids.insert(hasher.hash(&event.id));
                }
                next = entry.offset + 1;
            }
        }
        Ok(())
    }

    /// Appends what is new of the events, all or nothing. Resolves when that, and whatever it repeats, is durable.
    pub async fn append(&self, events: Vec<Event>) -> Result<Appended, StoreError> {
        let total = events.len();
        let prepared: Result<Vec<Prepared>, StoreError> = events.into_iter().map(|event| self.prepare(event)).collect();
        let (accepted, ack) = self.submit(prepared?)?;
        Ok(Appended { accepted, duplicates: total - accepted, end: ack.await? })
    }

    fn prepare(&self, event: Event) -> Result<Prepared, StoreError> {
        let hash = self.0.hasher.hash(&event.id);
        let body = LogBody::Event(Arc::new(event));
        Ok(Prepared { hash, record: record(&body)?, body })
    }

    /// Hands what is new to the journal: gives its number, and what resolves to the offset behind it.
    fn submit(&self, prepared: Vec<Prepared>) -> Result<(usize, Ack<u64>), StoreError> {
        // Held until the records are in the journal's queue: an event that repeats one of this append waits behind it there.
        let mut ids = self.0.tail.ids();
        let fresh: Vec<Prepared> = prepared.into_iter().filter(|prepared| ids.insert(prepared.hash)).collect();
        let hashes: Arc<[u128]> = fresh.iter().map(|prepared| prepared.hash).collect();
        let (bodies, records) = split(fresh.into_iter().map(|prepared| (prepared.body, prepared.record)));
        let (done, ack) = Ack::channel();
        let (tail, taken) = (self.0.tail.clone(), hashes.clone());
        let answer = move |written| drop(done.send(tail.answer(written, bodies, &taken)));
        match self.0.journal.submit(records, answer) {
            Ok(()) => Ok((hashes.len(), ack)),
            Err(error) => {
                ids.remove(&hashes);
                Err(error)
            }
        }
    }

    /// Logs a ranked answer. Nobody waits for it: under overload it is dropped and counted.
    pub fn record(&self, served: Served) {
        let counter = metrics::counter!("gotham_events_served_dropped_total");
        let body = LogBody::Served(Arc::new(served));
        let submitted = record(&body).and_then(|record| {
            let (tail, counter) = (self.0.tail.clone(), counter.clone());
            let bodies = vec![(body, record.body.len())];
            self.0.journal.submit(vec![record], move |written| {
                if tail.answer(written, bodies, &[]).is_err() {
                    counter.increment(1);
                }
            })
        });
        if submitted.is_err() {
            counter.increment(1);
        }
    }

    /// Appends an erasure. Resolves to the offset behind it when it is durable.
    pub async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError> {
        let body = LogBody::Erasure(Arc::new(erasure));
        let record = record(&body)?;
        let (bodies, tail) = (vec![(body, record.body.len())], self.0.tail.clone());
        let (done, ack) = Ack::channel();
        self.0.journal.submit(vec![record], move |written| drop(done.send(tail.answer(written, bodies, &[]))))?;
        ack.await
    }

    /// Durable records from offset `from` on, at most `records_max`; at least one if there is one. The newest come from memory, older
    /// ones from the journal, and sealed ones from their files: then it reads a disk, or fetches a file.
    pub fn read(&self, from: u64, records_max: usize) -> Result<Vec<Entry>, StoreError> {
        let Parts { journal, warehouse, tail, .. } = &*self.0;
        if let Some(entries) = tail.read(from, records_max, READ_BYTES_MAX) {
            return Ok(entries);
        }
        let end = self.end();
        if from > end {
            return Err(StoreError::Damaged(format!("the event log ends at offset {end}, but offset {from} is asked for").into()));
        }
        let records_max = records_max.min((end - from) as usize);
        if records_max == 0 {
            return Ok(Vec::new());
        }
        if from >= journal.start() {
            match journal.read(from, records_max, READ_BYTES_MAX) {
                // Sealed and trimmed meanwhile.
                Err(StoreError::Trimmed { .. }) => {}
                read => return Ok(read?.into_iter().map(entry_of_journal).collect()),
            }
        }
        Ok(warehouse.read(from, records_max, READ_BYTES_MAX)?.into_iter().map(entry_of_row).collect())
    }

    /// The offset behind the last durable record.
    pub fn end(&self) -> u64 {
        self.0.tail.end()
    }

    /// Follows [`EventLog::end`]: told when the records are readable.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.tail.watch()
    }

    /// A consumer tells how far it has come durably: nothing behind the slowest leaves the journal, and no shopper is forgotten before
    /// all consumers have passed the erasure.
    pub fn consumer_at(&self, name: &'static str, offset: u64) {
        self.0.journal.consumer_at(name, offset);
    }

    /// The offset behind the last sealed record.
    pub fn sealed(&self) -> u64 {
        self.0.warehouse.end()
    }

    /// The Parquet files, in the order of their ranges.
    pub fn sealed_files(&self) -> Vec<SealedFile> {
        self.0.warehouse.sealed_files()
    }

    /// How far to seal now, if it is time to: there are enough records, a segment of them, or an old one. Reads one record at most.
    pub fn seal_due(&self, now_ms: i64) -> Result<Option<u64>, StoreError> {
        let (journal, sealed, end) = (&self.0.journal, self.sealed(), self.end());
        let Some(oldest) = self.read(sealed, 1)?.first().map(|entry| entry.written_at_ms) else { return Ok(None) };
        let records = end - sealed;
        let kept = (journal.end() - journal.start()).max(1);
        let bytes = u64::try_from(u128::from(journal.bytes()) * u128::from(records) / u128::from(kept)).unwrap_or(u64::MAX);
        Ok(is_due(Unsealed { records, bytes, oldest_ms: oldest }, &self.0.config, now_ms).then_some(end))
    }

    /// Seals everything before `up_to` into Parquet files, and trims the journal behind them as far as the consumers have come. Blocks
    /// for as long as that takes; memory is bounded. What an interruption leaves is put right by the next call, or the next start.
    pub fn seal(&self, up_to: u64) -> Result<SealReport, StoreError> {
        self.0.warehouse.seal(&self.0.journal, up_to.min(self.end()))
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

/// Bodies with their bytes as stored, and records.
fn split(both: impl Iterator<Item = (LogBody, NewRecord)>) -> (Vec<(LogBody, usize)>, Vec<NewRecord>) {
    both.map(|(body, record)| ((body, record.body.len()), record)).unzip()
}

fn record(body: &LogBody) -> Result<NewRecord, StoreError> {
    Ok(NewRecord { kind: KIND_LOG_BODY, body: body.seal(&[])? })
}

/// A record's body; `None`, logged and counted, for one that does not check out.
pub(crate) fn decode(offset: u64, bytes: &[u8]) -> Option<LogBody> {
    match LogBody::unseal(&[], bytes) {
        Ok(body) => Some(body),
        Err(error) => {
            tracing::error!(offset, %error, "a record of the event log does not check out and is left out");
            metrics::counter!("gotham_events_quarantined_total").increment(1);
            None
        }
    }
}

fn entry_of_journal(entry: JournalEntry) -> Entry {
    Entry { offset: entry.offset, written_at_ms: entry.written_at_ms, body: decode(entry.offset, &entry.body) }
}

pub(crate) fn entry_of_row(row: Row) -> Entry {
    let body = match row.content {
        Content::Event(event) => Some(LogBody::Event(event)),
        Content::Served(served) => Some(LogBody::Served(served)),
        Content::Erasure { erasure, .. } => Some(LogBody::Erasure(erasure)),
        Content::Record(_, bytes) => decode(row.offset, &bytes),
    };
    Entry { offset: row.offset, written_at_ms: row.written_at_ms, body }
}
