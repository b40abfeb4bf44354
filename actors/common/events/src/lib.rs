//! The event log: what shoppers did and what they were shown, in order, once each, for ever.
//!
//! - **An acknowledged event is durable**, and so is what it repeats: a second event with a known id is acknowledged and not kept.
//! - **Offsets are dense and never reused.** Followers ([`EventLog::read`]) see the log in offset order, at least once, wherever a
//!   record lies by now: decoded in memory, in the journal, or sealed in Parquet files ([`EventLog::seal`]).
//! - **Sealing changes nothing for who reads**: the log from offset 0 is the same before and after, and after an interruption anywhere.
//! - **A forgotten shopper leaves no name** in memory, journal or files ([`EventLog::forget`]); what was counted of them stays counted.
//! - Late and out-of-order events keep their own time and their place in the log.
//!
//! The columns of the files are described by [`columns`]. Analysts read `events-*.parquet` below the warehouse's folder with any tool.

pub mod bench;
mod config;
mod erasure;
mod forget;
mod ids;
mod log;
mod policy;
mod sealed;
mod summary;
mod tail;
mod warehouse;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use forget::{ForgetError, Forgotten};
pub use log::{Appended, Entry, EventLog};
pub use sealed::SealedLog;
pub use summary::{Amount, KindSummary, Summary};
pub use warehouse::{Column, SCHEMA, SealReport, SealedFile, Table, columns};
