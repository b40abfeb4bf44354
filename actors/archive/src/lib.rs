//! Alfred: keeps the event log in order. Seals what has grown old into Parquet files, and takes forgotten shoppers' names out of it.
//!
//! **Job.** Looks now and then whether a range of the log is due to be sealed ([`events::EventLog::seal_due`]) and seals it; carries out
//! erasures as soon as every follower has passed them. **Alone owns** nothing: the log's files are the log's.
//!
//! **How.** One piece of work at a time, on a blocking thread; the serving path never waits for it.
//!
//! **Invariants.** An interruption at any point is put right by the next round. What cannot be done now is tried again.
//!
//! **May forget** everything.

mod actor;
pub mod config;

#[cfg(test)]
mod tests;

pub use actor::{Alfred, Args};
pub use config::Config;
pub use protocol::archive::NAME;
