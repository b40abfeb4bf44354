//! Batman: very fast search in memory, by vectors and by words.
//!
//! **Job.** Finds products: exact nearest neighbours over the vectors of pictures and texts, words over title, brand, category
//! and attributes, and both fused into one ranking.
//!
//! **Alone owns** the index: vector rows in memory ([`logic::vectors`]) and the keyword index on disk (`keywords/`). Both are
//! derived: the vectors come from Nightwing's store, the words from the journal, and either is rebuilt when it is lost.
//!
//! Two halves that share nothing but immutable snapshots:
//! - the **indexer** has one writer for vectors (the actor's own thread) and one for words (a thread that follows the journal and
//!   keeps its offset in the commit itself, so that every change takes effect exactly once);
//! - the **searcher** ([`View`]) reads the latest snapshots on its own threads and never waits for the indexer.
//!
//! **Invariants.** A product is one hit, however many vectors it has, scored by its best. Equal scores are ordered by id, so the
//! same index gives the same answer. Vectors of two models never mix. A changed price or stock touches neither index. A deleted
//! product has no vectors. No query is an error because of its words.
//!
//! **May forget** everything in memory; on disk only the keyword index, which is made anew when it is damaged, of another format,
//! or so old that the journal no longer reaches back to it.
//!
//! Absent here: prices and stock (Flash drops what is not to be had), product data (the gateway hydrates), embedding (Nightwing).

mod actor;
mod config;
mod indexer;
pub mod logic;
mod searcher;
#[cfg(test)]
mod tests;
mod view;

pub use actor::{Args, Batman};
pub use config::Config;
pub use protocol::search::NAME;
pub use view::View;
