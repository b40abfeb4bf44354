//! Words: keyword search for a shop, on tantivy.
//!
//! A [`Writer`] keeps products in an index on disk and gives out [`Snapshot`]s, which any number of readers search. Tantivy holds
//! the postings, merges segments and makes commits durable; how a text becomes words (`text`, `language`, `document`), what a query
//! looks for (`plan`, `spelling`, `synonyms`) and how products are scored (`evaluate`) is decided here.
//!
//! - No query is an error because of its words, and its work is bounded whatever they are.
//! - Hits are in a fixed order: by score, then by product id.
//! - The offset of a commit is inside the commit: a change takes effect exactly once.
//! - An index that is damaged or of another format is made anew; the catalog holds everything that is in it.

mod czech;
mod detect;
mod document;
mod evaluate;
mod language;
mod names;
mod plan;
mod query_log;
mod segment;
mod snapshot;
mod spelling;
mod suggest;
mod synonyms;
mod text;
mod vocabulary;
mod writer;

pub use language::Language;
pub use query_log::{HALF_LIFE_SECONDS, LOGGED_CHARS_MAX, QUERIES_MAX, QueryLog};
pub use snapshot::{Correction, Found, Interpretation, Request, Snapshot};
pub use suggest::{Suggestion, SuggestionKind};
pub use synonyms::{SynonymError, Synonyms};
pub use writer::{FORMAT, Writer};

/// What can go wrong with the index.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// Tantivy's own errors.
    #[error("keyword index: {0}")]
    Index(#[from] tantivy::TantivyError),
    /// The folder cannot be made, read or written.
    #[error("keyword index: {0}")]
    Io(#[from] std::io::Error),
}
