//! Flash: what is available and what it costs, and what shoppers did and have in their carts; in memory, read in well under a
//! microsecond.
//!
//! **Job.** Keeps price and stock of every product at hand for the last stage of every ranked answer, which drops what is
//! unavailable; keeps the history, cart and searches of every session and every shopper. **Alone owns** both tables, and the
//! sessions on disk.
//!
//! **How.** At start the offers are filled from Watchtower's snapshot; from the journal offset that this snapshot stands for, Flash
//! follows the journal. The sessions go on from their last checkpoint and follow the event log. Readers look up lock-free maps on
//! their own thread; a session that has left memory is read back from the store.
//!
//! **Invariants.** An older revision never overwrites a newer one, and a deleted product stays deleted until a newer revision brings
//! it back. The stored sessions and the offset stored with them are one commit: killed at any point, Flash comes to the state that
//! the whole log makes. Events count in the order in which they happened, whenever they were told. Robots, and shoppers who do not
//! consent, leave nothing; an erasure takes everything of its shoppers out of memory and store. Nothing expires by itself.
//!
//! **May forget** all that is in memory: offers are filled again from the catalog, sessions from the checkpoint and the log;
//! meanwhile readers see the tables as they were.
//!
//! **Never** computes anything beyond one product's offer and one shopper's history, and knows nobody's taste.

mod actor;
pub mod config;
mod effects;
pub mod figures;
mod logic;
mod records;
mod table;
#[cfg(test)]
mod testing;
pub mod view;

#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;

pub use actor::{Args, Flash};
pub use config::Config;
pub use protocol::session::{EVENTS_CONSUMER, NAME};
pub use view::View;
