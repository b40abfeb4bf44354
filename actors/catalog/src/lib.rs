//! Watchtower: the one source of truth for all product metadata, and the graph of variants, images and groups.
//!
//! **Job.** Decides what a wish to change a product amounts to (created, updated in these parts, unchanged, deleted), counts the
//! product's revisions, and makes the change durable. **Alone owns** products, their revisions and tombstones, and the edges from
//! groups and pictures to products; variants live inside their product's record.
//!
//! **Order of events** for each message, and why a kill at any point loses and duplicates nothing:
//! 1. *decide* on a working copy of the catalog (persistent maps: a copy costs nothing and is dropped on failure);
//! 2. *append* to the journal and wait until it is durable: from here on the change has happened;
//! 3. *commit* records and applied offset to the store in one step; not flushed, as the journal can rebuild it;
//! 4. *publish* the snapshot; 5. *answer*.
//!
//! **Invariants.** A snapshot never changes once taken; its version is the journal offset that it stands for. A product's
//! revision only grows, through deletion and return. What is applied twice is applied once: an older or equal revision is skipped.
//! Edges are exactly those of the products in the same snapshot. The store never claims an offset whose changes it lacks.
//!
//! **May forget** everything in memory: `pre_start` loads the store and replays the journal behind the applied offset. A stored
//! record that does not check out is left out, counted and reported; what the journal still holds of it is put back.
//!
//! **Never** computes embeddings, and never makes a reader wait.

mod actor;
pub mod config;
mod effects;
mod logic;
mod records;
pub mod view;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use actor::{Args, Watchtower};
pub use config::Config;
pub use protocol::catalog::NAME;
pub use view::View;
