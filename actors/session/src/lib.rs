//! Flash: what is available and what it costs, in memory, read in well under a microsecond.
//!
//! **Job.** Keeps price and stock of every product at hand for the last stage of every ranked answer, which drops what is
//! unavailable. **Alone owns** that table (and nothing on disk).
//!
//! **How.** At start the table is filled from Watchtower's snapshot; from the journal offset that this snapshot stands for, Flash
//! follows the journal. Readers look up a lock-free map on their own thread.
//!
//! **Invariants.** An older revision never overwrites a newer one, and a deleted product stays deleted until a newer revision brings
//! it back. Entries never expire by themselves.
//!
//! **May forget** everything: a restart fills the table again, and meanwhile readers see the table as it was.
//!
//! **Never** computes anything beyond one product's offer.

mod actor;
pub mod config;
mod logic;
pub mod view;

#[cfg(test)]
mod tests;

pub use actor::{Args, Flash};
pub use config::Config;
pub use protocol::session::NAME;
pub use view::View;
