//! The event log: what shoppers did and what they were shown, in order, once each, for ever.
//!
//! - **An acknowledged event is durable**, and so is what it repeats: a second event with a known id is acknowledged and not kept.
//! - **Offsets are dense and never reused.** Followers ([`EventLog::read`]) see the log in offset order, at least once, wherever a
//!   record lies by now.
//! - Late and out-of-order events keep their own time and their place in the log.

mod ids;
mod log;

#[cfg(test)]
mod tests;

pub use log::{Appended, Config, Entry, EventLog};
