//! Durable state: the `Store` trait (sled, and its memory twin), versioned checksummed records, and the journal.
//! An acknowledged write has been flushed; acknowledgements are grouped, so durability costs one flush a group.

pub mod ack;
pub mod consumer;
pub mod data_dir;
mod export;
mod files;
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
pub mod store;
pub mod verified_export;

pub use ack::Ack;
pub use data_dir::DataDir;
pub use journal::{Journal, JournalConfig, JournalEntry, NewRecord};
pub use memory::MemoryStore;
pub use record::{Record, RecordError};
pub use sled_store::{SledConfig, SledStore};
pub use store::{Durability, ExportSummary, Keyspace, Op, Page, Store, StoreError, StoreStats, VerifyReport};
pub use verified_export::VerifiedExport;
