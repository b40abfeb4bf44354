//! The journal: an append-only, checksummed log in segment files; the spine that every derived state follows.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::watch;

use crate::ack::Ack;
use crate::store::StoreError;

/// Bounds of the journal.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// A segment file is closed when it is larger than this.
    pub segment_bytes_max: u64,
    /// Appends that wait for the writer.
    pub queue_max: usize,
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What it is: the body's `Record::KIND`.
    pub kind: u16,
    /// A sealed record (with an empty key).
    pub body: Vec<u8>,
}

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its place: dense, from 0.
    pub offset: u64,
    /// What it is.
    pub kind: u16,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_at_ms: i64,
    /// A sealed record (with an empty key).
    pub body: Bytes,
}

/// The journal; clones share it.
#[derive(Clone)]
pub struct Journal {}

// SKELETON: bodies to be written; the signatures are what the other crates are written against.
#[allow(unused_variables, clippy::unimplemented, missing_docs)]
impl Journal {
    /// Opens (or creates) the journal in `dir`; a torn tail is cut off.
    pub fn open(dir: &Path, config: JournalConfig) -> Result<Self, StoreError> {
        unimplemented!()
    }
    /// Appends all records or none. Resolves to their offsets when they are durable.
    pub fn append(&self, records: Vec<NewRecord>) -> Ack<Range<u64>> {
        unimplemented!()
    }
    /// Durable records from offset `from` on: at most `records_max` and about `bytes_max` bytes, at least one if there is one.
    /// Offsets before [`Journal::start`] are an error.
    pub fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<JournalEntry>, StoreError> {
        unimplemented!()
    }
    /// The first offset still kept.
    pub fn start(&self) -> u64 {
        unimplemented!()
    }
    /// The offset behind the last durable record.
    pub fn end(&self) -> u64 {
        unimplemented!()
    }
    /// Follows [`Journal::end`].
    pub fn watch(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }
    /// A consumer tells how far it has come (durably, by itself): nothing behind the slowest consumer is trimmed.
    pub fn consumer_at(&self, name: &'static str, offset: u64) {
        unimplemented!()
    }
    /// Consumers and their offsets.
    pub fn consumers(&self) -> Vec<(&'static str, u64)> {
        unimplemented!()
    }
    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }
    // fn trim(&self, proof: &VerifiedExport) -> Result<u64, StoreError>
}
