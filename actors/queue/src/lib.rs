//! Gordon. Job: routes each product by what changed (new, which parts, unchanged, gone) and keeps the durable queue behind every piece of
//! work.
//!
//! Alone owns the jobs, their leases and the dead letters (`Keyspace::Jobs`, `Keyspace::JobIndex`), and how far the journal has become jobs.
//!
//! Invariants:
//! - A job that was acknowledged is done, or dead with its last error, or still here; a restart changes nothing about that.
//! - A job is in one worker's hands at a time, until it is settled or its lease runs out; a lease that is no longer current settles nothing.
//! - A product has at most one open job in a queue. A change that comes while it waits is merged into it; one that comes while it is in a
//!   worker's hands makes it run again.
//! - An attempt is counted, durably, before the job is handed out, so a job that brings the process down ends among the dead letters.
//! - A queue never holds more than its bound: callers are told `Full`, and changes from the journal wait in the journal. Each queue
//!   follows the journal at its own offset, so a full one does not hold up the other.
//! - Routing writes nothing itself: unchanged products stop here, the others are Watchtower's to decide. What a run has seen is noted only
//!   when its answer goes out, so a batch or a whole feed may be sent again without being counted twice.
//!
//! May forget: the feed runs under way. Their owner is told `UnknownRun` and begins again.
//!
//! Gordon never looks inside a picture or a text, and never reads the disk to hand out a job.

mod actor;
mod config;
mod effects;
mod follower;
mod logic;
mod records;
mod routing;
mod view;

#[cfg(test)]
mod shop;
#[cfg(test)]
mod tests;

pub use actor::{Args, Gordon};
pub use config::{Config, QueueConfig};
pub use follower::CONSUMERS;
pub use view::View;
