//! Nightwing (`nightwing`): pictures and words to embeddings.
//!
//! **Job.** Serves every release of models that Wayne knows: the live one first, the others behind it. Takes jobs from Gordon's two embedding queues, reads the product from the catalog's view, fetches and decodes its pictures
//! (or takes its text), embeds them, hands the vectors to Batman and settles the job. Embeds the pictures and texts of queries, ahead
//! of any import. Keeps a scaled-down JPEG of every picture for pages. Beside that, [`Tagging`] says what pictures show.
//!
//! **Alone owns.** The models, the vectors as computed (`vectors/`), the thumbnails (`pictures/`), which product has which vectors, and
//! what each picture's location held when it was last read; tags, what was measured and learned for them, and what people said of them.
//!
//! **Invariants.**
//! - The same bytes are never embedded twice by one model: vectors are kept by content.
//! - A vector is on disk before a record names it, and a record is on disk before Batman is told or a job settled.
//! - Vectors of two models never mix: every file of vectors belongs to one fingerprint, every embedding names it.
//! - Live work comes first: vectors of releases that are not live are made behind it, and follow what changes.
//! - A promotion is in force with the next read: who is live is looked up, never kept.
//! - A bad picture fails alone: it stops neither its product's other pictures nor any other product, nor what runs beside it.
//! - Between a shopper's query and its run stands at most one run of an import, of a bounded time.
//! - A missing model is a state, not a failure: its queue waits.
//!
//! **May forget.** Everything in memory: a restart opens the models again and takes up the jobs whose leases have run out.

mod actor;
mod config;
mod devices;
mod effects;
mod embedder;
mod finder;
pub mod logic;
pub mod models;
mod oneshot;
pub mod packages;
mod records;
mod residents;
mod scheduler;
mod tagging;
mod threads;
mod vectors;
mod view;

pub use actor::{Args, Nightwing};
pub use config::Config;
pub use devices::{DeviceSetting, DeviceState, Devices};
pub use embedder::{EmbedError, Embedder, Input, InstalledModels, ModelSource};
pub use finder::Finder;
pub use oneshot::{OneShot, OneShotEmbedding};
pub use tagging::{TagConfig, TagSources, Tagging, Vocabularies};
pub use threads::Threads;
pub use vectors::VectorFile;
pub use view::View;

#[cfg(test)]
mod tests;
