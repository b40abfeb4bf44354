//! Batman: vector and keyword search in memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use domain::ProductId;
use kit::{Context, Reply};
use serde::Serialize;

use crate::vision::Space;

/// The runtime name.
pub const NAME: &str = "batman";

/// The most vectors in one message.
pub const UPSERT_VECTORS_MAX: usize = 256;
/// The most hits of one search.
pub const HITS_MAX: usize = 1_000;

/// A product's vectors in one space; replaces those it had.
#[derive(Clone, Debug)]
pub struct VectorEntry {
    /// Which product.
    pub product: ProductId,
    /// One for each picture (or one text), `[dimensions]` each, L2 norm 1; empty removes the product from the space.
    pub vectors: Vec<Arc<[f32]>>,
}

/// Why Batman did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SearchError {
    /// A vector has another length, or comes from another model, than the space's.
    #[error("a vector of {got} numbers does not fit the {} space of {expected}", .space.as_str())]
    Dimensions {
        /// Which space.
        space: Space,
        /// Numbers in the vectors of the space.
        expected: usize,
        /// Numbers in this vector.
        got: usize,
    },
    /// A vector holds something that is no finite number.
    #[error("a vector must hold finite numbers")]
    NotFinite,
    /// Too many searches under way, or out of time.
    #[error("{0}")]
    Busy(String),
    /// More than a message may hold.
    #[error("{0} in one message is too many")]
    TooMany(usize),
    /// The index failed.
    #[error("index: {0}")]
    Index(String),
}

/// What Batman's indexer is asked. Texts, deletions and changes of text it takes from the journal by itself.
#[derive(Debug)]
pub enum SearchMsg {
    /// Set the vectors of products; searchable when answered.
    Upsert {
        /// Which space.
        space: Space,
        /// The model that made the vectors; another than before empties the space first.
        fingerprint: String,
        /// At most [`UPSERT_VECTORS_MAX`].
        entries: Vec<VectorEntry>,
        /// Answered when searchable.
        reply: Reply<Result<(), SearchError>>,
    },
    /// For the actor's own tail of the journal.
    Tick,
}

/// What to look for. All given parts count; their ranked lists are fused by reciprocal rank.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Words, matched against title, brand, category and attributes.
    pub words: Option<String>,
    /// Vectors and the space that each belongs to.
    pub vectors: Vec<(Space, Arc<[f32]>)>,
    /// Never in the answer.
    pub exclude: Vec<ProductId>,
    /// At most this many hits, and at most [`HITS_MAX`].
    pub limit: usize,
}

/// One product found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// Which product.
    pub product: ProductId,
    /// Descends through the list: cosine for one vector alone, BM25 for words alone, fused rank score otherwise.
    pub score: f32,
    /// Which parts of the query found it: `keyword`, `image`, `text`.
    pub found_by: Vec<&'static str>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchAnswer {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Parts of the query that could not be answered.
    pub degraded: Vec<&'static str>,
}

/// How big the index is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexStats {
    /// Products with at least one picture vector.
    pub image_products: usize,
    /// Products with a text vector.
    pub text_products: usize,
    /// Products in the keyword index.
    pub keyword_products: usize,
    /// Deleted rows that still take memory.
    pub tombstones: usize,
    /// Bytes of vectors in memory.
    pub vector_bytes: usize,
    /// Grows with every change that searches can see.
    pub version: u64,
    /// The journal offset up to which the keyword index has followed.
    pub journal_offset: u64,
}

/// A search under way.
pub type Searching<'a> = Pin<Box<dyn Future<Output = Result<SearchAnswer, SearchError>> + Send + 'a>>;

/// Searches the latest snapshot; never waits behind the indexer.
pub trait Searcher: Send + Sync {
    /// Finds products.
    fn search<'a>(&'a self, context: &'a Context, query: SearchQuery) -> Searching<'a>;
    /// How big the index is.
    fn stats(&self) -> IndexStats;
}
