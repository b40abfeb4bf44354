//! Durable state: the `Store` trait (sled, and its memory twin), versioned checksummed records, and the journal.
//!
//! - **An acknowledged write has been flushed** ([`Durability::Flushed`], every [`Journal::append`]). One thread writes for all and
//!   flushes once for all that waits, so durability costs one flush a group.
//! - **The first I/O error is the last**: the store and the journal become read-only until the process restarts.
//! - **Every value is a sealed record** ([`Record`]): kind, schema, length and a checksum that covers its key.
//! - **The journal is the spine**: a consumer stores its offset in the commit of its effect ([`consumer`]); a record may come
//!   twice and never not at all. It is trimmed only on a [`TrimProof`], such as a [`VerifiedExport`].
//! - **One process** uses a [`DataDir`] at a time.
//!
//! Readers block for a disk read at most; [`Store::export`], [`Store::verify`] and [`VerifiedExport`] take as long as the data is
//! large and belong on a thread of their own. Dropping the last handle writes what waits and closes the files.

pub mod ack;
pub mod consumer;
pub mod data_dir;
mod disk;
mod export;
pub mod files;
mod fsync;
pub mod golden;
pub mod journal;
mod key;
pub mod memory;
mod poison;
mod queue;
pub mod record;
mod records;
pub mod sled_store;
pub mod state_file;
pub mod store;
pub mod verified_export;

pub use ack::Ack;
pub use data_dir::DataDir;
pub use disk::free_bytes;
pub use journal::{Journal, JournalConfig, JournalEntry, NewRecord, TrimProof, Written};
pub use memory::MemoryStore;
pub use record::{Record, RecordError};
pub use sled_store::{SledConfig, SledStore};
pub use state_file::StateFiles;
pub use store::{Durability, ExportSummary, Keyspace, Op, Page, Store, StoreError, StoreStats, VerifyReport};
pub use verified_export::VerifiedExport;
