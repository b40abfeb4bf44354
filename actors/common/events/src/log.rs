//! Appending, reading and following.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Erasure, Event, Served};
use protocol::journal::{KIND_LOG_BODY, LogBody};
use serde::{Deserialize, Serialize};
use store::{Journal, JournalConfig, JournalEntry, NewRecord, Record, StoreError};
use tokio::sync::watch;

use crate::ids::IdWindow;

/// Records read at once while the log is opened.
const OPEN_RECORDS_MAX: usize = 4096;
/// Bytes of records in one read.
const READ_BYTES_MAX: usize = 8 << 20;

/// The event log's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many of the newest event ids are remembered to tell repetitions; one takes about 50 bytes.
    pub ids_max: usize,
    /// A segment is closed when it is larger than this, in MiB.
    pub segment_mib: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { ids_max: 1_000_000, segment_mib: 64 }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(1_000..=100_000_000).contains(&self.ids_max) {
            problems.push(("ids_max", format!("{} is not between 1000 and 100000000", self.ids_max)));
        }
        if !(1..=1024).contains(&self.segment_mib) {
            problems.push(("segment_mib", format!("{} is not between 1 and 1024", self.segment_mib)));
        }
        problems
    }
}

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
pub struct EventLog {
    journal: Journal,
    ids: Arc<Mutex<IdWindow>>,
}

impl EventLog {
    /// Opens (or creates) the log in `dir`. `consumers` hold its trimming back from the start. Reads the newest records to know
    /// their ids: blocks.
    pub fn open(dir: &Path, config: &Config, consumers: Vec<&'static str>) -> Result<Self, StoreError> {
        let journal_config = JournalConfig { segment_bytes_max: config.segment_mib << 20, consumers, ..JournalConfig::default() };
        let journal = Journal::open(dir, journal_config)?;
        let log = Self { journal, ids: Arc::new(Mutex::new(IdWindow::new(config.ids_max))) };
        let mut next = log.journal.start().max(log.end().saturating_sub(config.ids_max as u64));
        while next < log.end() {
            let entries = log.read(next, OPEN_RECORDS_MAX)?;
            let mut ids = log.ids();
            for entry in &entries {
                if let Some(LogBody::Event(event)) = &entry.body {
                    ids.insert(&event.id);
                }
                next = entry.offset + 1;
            }
        }
        Ok(log)
    }

    /// Appends what is new of the events, all or nothing. Resolves when that, and whatever it repeats, is durable.
    pub async fn append(&self, events: Vec<Event>) -> Result<Appended, StoreError> {
        let total = events.len();
        // Held until the records are in the journal's queue: an event that repeats one of this append waits behind it there.
        let (ack, accepted) = {
            let mut ids = self.ids();
            let fresh: Vec<Event> = events.into_iter().filter(|event| ids.insert(&event.id)).collect();
            let kept: Vec<String> = fresh.iter().map(|event| event.id.clone()).collect();
            let records: Result<Vec<NewRecord>, StoreError> =
                fresh.into_iter().map(|event| record(LogBody::Event(Arc::new(event)))).collect();
            match records {
                Ok(records) => (self.journal.append(records), kept),
                Err(error) => {
                    ids.remove(kept.iter().map(String::as_str));
                    return Err(error);
                }
            }
        };
        match ack.await {
            Ok(range) => Ok(Appended { accepted: accepted.len(), duplicates: total - accepted.len(), end: range.end }),
            Err(error) => {
                self.ids().remove(accepted.iter().map(String::as_str));
                Err(error)
            }
        }
    }

    /// Logs a ranked answer. Nobody waits for it: under overload it is dropped and counted.
    pub fn record(&self, served: Served) {
        let appended = record(LogBody::Served(Arc::new(served))).map(|record| self.journal.append(vec![record]));
        let counter = metrics::counter!("gotham_events_served_dropped_total");
        match appended {
            Err(_) => counter.increment(1),
            Ok(ack) => {
                tokio::spawn(async move {
                    if ack.await.is_err() {
                        counter.increment(1);
                    }
                });
            }
        }
    }

    /// Appends an erasure. Resolves to the offset behind it when it is durable.
    pub async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError> {
        let range = self.journal.append(vec![record(LogBody::Erasure(Arc::new(erasure)))?]).await?;
        Ok(range.end)
    }

    /// Durable records from offset `from` on, at most `records_max`; at least one if there is one. May read a disk.
    pub fn read(&self, from: u64, records_max: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(self.journal.read(from, records_max, READ_BYTES_MAX)?.into_iter().map(entry).collect())
    }

    /// The offset behind the last durable record.
    pub fn end(&self) -> u64 {
        self.journal.end()
    }

    /// Follows [`EventLog::end`].
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.journal.watch()
    }

    /// A consumer tells how far it has come durably: nothing behind the slowest is trimmed.
    pub fn consumer_at(&self, name: &'static str, offset: u64) {
        self.journal.consumer_at(name, offset);
    }

    fn ids(&self) -> MutexGuard<'_, IdWindow> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(body: LogBody) -> Result<NewRecord, StoreError> {
    Ok(NewRecord { kind: KIND_LOG_BODY, body: body.seal(&[])? })
}

fn entry(entry: JournalEntry) -> Entry {
    let body = match LogBody::unseal(&[], &entry.body) {
        Ok(body) => Some(body),
        Err(error) => {
            tracing::error!(offset = entry.offset, %error, "a record of the event log does not check out and is left out");
            metrics::counter!("gotham_events_quarantined_total").increment(1);
            None
        }
    };
    Entry { offset: entry.offset, written_at_ms: entry.written_at_ms, body }
}
