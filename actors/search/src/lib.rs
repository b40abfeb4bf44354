//! Batman: very fast search in memory, by vectors, by words and by attributes.
//!
//! **Job.** Finds products: nearest neighbours over the vectors of pictures and texts, words over code, title, brand, category,
//! attributes and description, colours, all fused into one ranking; filters, counts, sorts, groups and diversifies what was found.
//!
//! **Alone owns** the index. Three engines, each a crate of its own below this folder that knows nothing of the others:
//!
//! | crate | holds | from | on disk |
//! | --- | --- | --- | --- |
//! | `vectors` | codes, graphs and lists over embeddings, one index a space, model and shape | Nightwing's store | `spaces/` |
//! | `words` | the keyword index, spelling, synonyms, completions | the journal | `keywords/` |
//! | `columns` | every attribute, and price and stock as atomics | the catalog, then the journal | nothing |
//!
//! All of it is derived and is rebuilt when it is lost. What holds the three together is the product's **slot**: a dense number
//! that columns give out, so that a set of products is a set of bits.
//!
//! Two halves that share nothing but immutable snapshots:
//! - the **indexer**: the actor's own thread sets vectors, a follower reads the journal (its offset stands in the keyword index's
//!   commit, so that every change takes effect exactly once), a keeper folds and merges vector segments in the background;
//! - the **searcher** ([`View`]) reads the latest snapshots on its own threads and never waits for the indexer.
//!
//! **Invariants.** A product is one hit, however many vectors it has, scored by its best. Equal scores are ordered by id, so the
//! same index gives the same answer. Vectors of two models never mix: each has an index of its own,
//! and a query names whose vectors it asks with, and by which release's settings it is searched and ranked. A changed price or stock touches no index and is seen by the
//! next search. A deleted product has no vectors. No query is an error because of its words. A filter never costs recall.
//!
//! **May forget** everything in memory. On disk only what is made anew when it is damaged, of another format, or so old that the
//! journal no longer reaches back to it.
//!
//! Absent here: who may see what (Robin), the last word on availability (Flash), product data (the gateway hydrates), embedding
//! (Nightwing). Batman never reads the disk while searching but for exact rows and postings that are mapped.

mod actor;
mod config;
mod facts;
mod indexer;
pub mod logic;
mod searcher;
#[cfg(test)]
mod tests;
mod view;

pub use actor::{Args, Batman};
pub use config::{Config, GpuUse};
pub use protocol::search::NAME;
pub use view::View;
