//! What a storage engine must do. One conformance suite runs on every implementation.

use std::io::Write;
use std::ops::Bound;
use std::sync::Arc;

use crate::ack::Ack;
use crate::key;
use crate::record::{self, BODY_BYTES_MAX, RecordError};

/// The largest value, in bytes: above it sled writes files that it never flushes.
pub const VALUE_BYTES_MAX: usize = 32 * 1024;
/// The largest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Who owns a range of keys. One sorted key space holds them all, so that a commit may span several; the discriminant is
/// the first byte on disk and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Keyspace {
    /// Format version, applied sequence numbers, consumer offsets.
    Meta = 1,
    /// Watchtower: products.
    Catalog = 2,
    /// Joker: feed runs.
    FeedRuns = 3,
    /// Joker: rejected rows.
    Rejects = 4,
    /// Gordon: jobs.
    Jobs = 5,
    /// Gordon: jobs by due time, by lease and by deduplication key.
    JobIndex = 6,
    /// Nightwing: which content a picture's location held when it was last fetched.
    Pictures = 7,
    /// Nightwing: which vectors a product has.
    Embeddings = 8,
    /// Wayne: the history of configurations.
    Config = 9,
    /// Flash: sessions and carts.
    Sessions = 10,
    /// Two Face: shoppers' profiles.
    Profiles = 11,
    /// Mocha: daily read models.
    Reports = 12,
    /// Robin: experiments.
    Experiments = 13,
}

impl Keyspace {
    /// All of them, in the order of their bytes.
    pub const ALL: [Self; 13] = [
        Self::Meta,
        Self::Catalog,
        Self::FeedRuns,
        Self::Rejects,
        Self::Jobs,
        Self::JobIndex,
        Self::Pictures,
        Self::Embeddings,
        Self::Config,
        Self::Sessions,
        Self::Profiles,
        Self::Reports,
        Self::Experiments,
    ];

    /// The keyspace with this byte on disk.
    pub fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|space| *space as u8 == byte)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// Whose key.
        space: Keyspace,
        /// At most [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// At most [`VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Removes a key; one that is not there is no error.
    Delete {
        /// Whose key.
        space: Keyspace,
        /// The key.
        key: Vec<u8>,
    },
}

impl Op {
    /// The key as the engine holds it.
    pub(crate) fn full_key(&self) -> Vec<u8> {
        let (Self::Put { space, key, .. } | Self::Delete { space, key }) = self;
        key::full(*space, key)
    }
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The write survives a power cut.
    Flushed,
    /// The write is visible to readers and becomes durable with the next flush: for state that the journal can rebuild.
    Applied,
}

/// Why storage did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine or the disk failed. After the first such error the store is read-only until the process restarts.
    #[error("storage failed: {0}")]
    Io(Arc<str>),
    /// An earlier error made the store read-only.
    #[error("storage is read-only after an earlier failure: {0}")]
    Poisoned(Arc<str>),
    /// A key or value is larger than its bound.
    #[error("a {what} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// `key`, `value`, `commit`, `record` or `append`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Stored bytes do not check out.
    #[error("damaged: {0}")]
    Damaged(Arc<str>),
    /// Too many writes wait for the writer.
    #[error("storage is overloaded: {waiting} writes wait")]
    Overloaded {
        /// Writes that wait.
        waiting: usize,
    },
    /// The journal no longer keeps that record.
    #[error("journal offset {offset} has been trimmed; the journal starts at {start}")]
    Trimmed {
        /// Asked for.
        offset: u64,
        /// The first offset still kept.
        start: u64,
    },
    /// Another process, or another handle in this one, has it open.
    #[error("{0} is in use by another process")]
    Locked(Arc<str>),
    /// A newer program wrote it.
    #[error("{path} has data format version {found}, this program knows versions up to {known}: start the newer program")]
    Newer {
        /// Of the data folder.
        path: Arc<str>,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The writer thread has ended.
    #[error("storage has stopped")]
    Stopped,
}

impl From<RecordError> for StoreError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TooLarge(bytes) => Self::TooLarge { what: "record", bytes, bytes_max: BODY_BYTES_MAX },
            error => Self::Damaged(error.to_string().into()),
        }
    }
}

impl StoreError {
    /// An I/O error with what was being done.
    pub fn io(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::Io(format!("{what}: {error}").into())
    }

    /// Refuses what is larger than its bound.
    pub(crate) fn bounded(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Self> {
        if bytes > bytes_max { Err(Self::TooLarge { what, bytes, bytes_max }) } else { Ok(()) }
    }
}

/// The largest commit, in bytes of all its keys and values.
pub const COMMIT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks the bounds of a commit and gives its size.
pub(crate) fn bytes_of(ops: &[Op]) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for op in ops {
        let (key, value) = match op {
            Op::Put { key, value, .. } => (key.len(), value.len()),
            Op::Delete { key, .. } => (key.len(), 0),
        };
        StoreError::bounded("key", key, KEY_BYTES_MAX)?;
        StoreError::bounded("value", value, VALUE_BYTES_MAX)?;
        bytes += key + value;
    }
    StoreError::bounded("commit", bytes, COMMIT_BYTES_MAX)?;
    Ok(bytes)
}

/// Keys and values in key order, and whether there are more behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Key (without its keyspace byte) and value.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the range goes on behind the last entry.
    pub has_more: bool,
}

/// What an export wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// Key-value pairs.
    pub entries: u64,
    /// Bytes, header and trailer included.
    pub bytes: u64,
}

/// The damaged keys that a verification names.
pub const DAMAGED_KEYS_MAX: usize = 100;
/// Entries that a verification reads at once.
const VERIFY_PAGE: usize = 256;

/// What a verification read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Key-value pairs read.
    pub entries: u64,
    /// Keys whose value does not check out, as hexadecimal after the keyspace's byte; at most the first [`DAMAGED_KEYS_MAX`].
    pub damaged: Vec<String>,
}

impl VerifyReport {
    fn check(&mut self, space: Keyspace, page: &Page) {
        self.entries += page.entries.len() as u64;
        let damaged = page.entries.iter().filter(|(key, value)| record::check(key, value).is_err());
        let room = DAMAGED_KEYS_MAX - self.damaged.len();
        self.damaged.extend(damaged.take(room).map(|(key, _)| record::hex(&key::full(space, key))));
    }
}

/// How big the store is and how it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes on disk; 0 for the memory twin.
    pub disk_bytes: u64,
    /// The sequence number of the last commit.
    pub last_commit: u64,
    /// Commits waiting for the writer.
    pub queue_depth: usize,
    /// Why the store is read-only, if it is.
    pub poisoned: Option<String>,
}

/// A sorted, durable map of byte strings. Reads may run on any thread; writes go through one writer.
pub trait Store: Send + Sync {
    /// One value.
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` entries of one keyspace in ascending key order. No snapshot: a later page sees later writes.
    fn range(&self, space: Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Result<Page, StoreError>;

    /// Applies all operations or none. Resolves to the commit's sequence number, which grows by one a commit.
    fn commit(&self, ops: Vec<Op>, durability: Durability) -> Ack<u64>;

    /// Writes everything, as it was at one moment, in an engine-independent, checksummed form. Writes go on meanwhile.
    fn export(&self, to: &mut dyn Write) -> Result<ExportSummary, StoreError>;

    /// Reads everything and checks every value's envelope under its key (without the keyspace's byte).
    fn verify(&self) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        for space in Keyspace::ALL {
            let mut from = Bound::Unbounded;
            loop {
                let page = self.range(space, (from.as_ref().map(Vec::as_slice), Bound::Unbounded), VERIFY_PAGE)?;
                report.check(space, &page);
                let Some((last, _)) = page.entries.into_iter().next_back().filter(|_| page.has_more) else { break };
                from = Bound::Excluded(last);
            }
        }
        Ok(report)
    }

    /// Size and health.
    fn stats(&self) -> StoreStats;
}
