//! Batman: vector and keyword search in memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use domain::{FacetCounts, FacetRequest, Filter, ProductId, SortKey};
use kit::{Context, Reply};
use serde::Serialize;

use crate::releases::{IndexSettings, Rules};
use crate::vision::{ModelInfo, Space};

/// The runtime name.
pub const NAME: &str = "batman";

/// The most vectors in one message.
pub const UPSERT_VECTORS_MAX: usize = 256;
/// The most hits of one search.
pub const HITS_MAX: usize = 1_000;
/// The most attributes counted in one search.
pub const FACETS_MAX: usize = 32;
/// The most keys to sort by.
pub const SORT_KEYS_MAX: usize = 8;

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
    /// Two vectors of one query are by two models of one space.
    #[error("one query asks the {} space with vectors of two models", .0.as_str())]
    TwoModels(Space),
    /// A vector holds something that is no finite number.
    #[error("a vector must hold finite numbers")]
    NotFinite,
    /// Too many searches under way, or out of time.
    #[error("{0}")]
    Busy(String),
    /// More than a message may hold.
    #[error("{0} in one message is too many")]
    TooMany(usize),
    /// A filter, facet, sort key or grouping that cannot be answered: an unknown attribute (with the names nearest to it), or a
    /// comparison that does not go with the attribute's kind.
    #[error("{detail}")]
    Unanswerable {
        /// Which part of the query, as a JSON pointer: `/filter`, `/facets/0`, `/sort/1`, `/boost`, `/group_by`, `/diversity/quotas/0`.
        pointer: String,
        /// Stable, snake_case: `unknown_attribute`, `wrong_kind`, `invalid_formula`.
        code: &'static str,
        /// For people.
        detail: String,
    },
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
        /// The model that made the vectors: each has an index of its own.
        fingerprint: String,
        /// At most [`UPSERT_VECTORS_MAX`].
        entries: Vec<VectorEntry>,
        /// Answered when searchable.
        reply: Reply<Result<(), SearchError>>,
    },
    /// For the actor's own tail of the journal.
    Tick,
}

/// A vector to look near, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryVector {
    /// Which space.
    pub space: Space,
    /// Of the model that made it: it is compared with that model's vectors alone.
    pub fingerprint: Arc<str>,
    /// `[dimensions]`, of any length.
    pub vector: Arc<[f32]>,
}

impl QueryVector {
    /// A vector by a model.
    pub fn new(space: Space, fingerprint: impl Into<Arc<str>>, vector: impl Into<Arc<[f32]>>) -> Self {
        Self { space, fingerprint: fingerprint.into(), vector: vector.into() }
    }
}

/// What to look for. All given parts count; their ranked lists are fused. Without any part every product counts (browsing).
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Words, matched against codes, title, brand, category, attributes and description.
    pub words: Option<String>,
    /// The language of the words (BCP 47), where the caller knows it.
    pub language: Option<String>,
    /// Vectors, each in its space. Those of one space are by one model.
    pub vectors: Vec<QueryVector>,
    /// A colour (sRGB): products whose colour words are near it.
    pub colour: Option<[u8; 3]>,
    /// Only these products.
    pub filter: Option<Filter>,
    /// Only what a shopper can have now.
    pub only_available: bool,
    /// Never in the answer.
    pub exclude: Vec<ProductId>,
    /// Leave out the first so many.
    pub offset: usize,
    /// At most this many hits; `offset + limit` is at most [`HITS_MAX`].
    pub limit: usize,
    /// What to count over everything found; at most [`FACETS_MAX`].
    pub facets: Vec<FacetRequest>,
    /// Sort by these instead of by relevance; at most [`SORT_KEYS_MAX`].
    pub sort: Vec<SortKey>,
    /// A formula over number attributes and `score` that gives the final score.
    pub boost: Option<String>,
    /// Show one product (the best) for each value of this attribute: `group_id`.
    pub group_by: Option<String>,
    /// Keep the hits from being all alike.
    pub diversity: Option<Diversity>,
    /// Compare vectors with every row in full precision.
    pub is_exact: bool,
    /// Say how each hit's score came about.
    pub explain: bool,
    /// Say why this product is not among the hits.
    pub explain_missing: Option<ProductId>,
    /// Drop what only its meaning brought in when it is no nearer to the query than unrelated products are.
    pub cut_off: bool,
    /// How the release that answers searches and ranks; where nobody says so, as the live one does.
    pub by: Option<(IndexSettings, Rules)>,
}

/// How hits are kept from being all alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diversity {
    /// How much likeness to hits further up costs, 0 to 1: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with
    /// lambda = 1 - strength.
    pub strength: f32,
    /// At most so many hits with the same value of an attribute; the rest follows behind.
    pub quotas: Vec<(String, usize)>,
}

/// What one part of a query said about a hit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// `keyword`, `image`, `text`, `colour`.
    pub name: &'static str,
    /// From 1.
    pub rank: usize,
    /// BM25 or cosine.
    pub score: f32,
    /// What it added to the fused score.
    pub share: f32,
}

/// One product found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// Which product.
    pub product: ProductId,
    /// Descends through the list unless it is sorted or diversified: cosine for one vector alone, BM25 for words alone, fused score
    /// otherwise; after a boost what the formula gave.
    pub score: f32,
    /// Which parts of the query found it: `keyword`, `image`, `text`, `colour`.
    pub found_by: Vec<&'static str>,
    /// How the score came about; empty unless asked for.
    pub parts: Vec<Part>,
    /// Products of its group among everything found, itself included, where the query groups.
    pub group_size: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchAnswer {
    /// Best first, from `offset` on.
    pub hits: Vec<Hit>,
    /// Products (or groups) found.
    pub total: usize,
    /// Whether `total` and the counts are of everything that fits, not only of the nearest [`HITS_MAX`].
    pub total_is_exact: bool,
    /// As asked, in order.
    pub facets: Vec<FacetCounts>,
    /// The words as they were read, where that differs from what was asked: a spelling corrected, words dropped.
    pub corrected: Option<String>,
    /// Other words that would find more.
    pub did_you_mean: Option<String>,
    /// Why the product asked for is not among the hits.
    pub missing: Option<Missing>,
    /// How the vectors were searched: `image:graph`.
    pub plans: Vec<String>,
    /// Parts of the query that could not be answered.
    pub degraded: Vec<&'static str>,
}

/// Why a product is not among the hits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// Stable, snake_case: `not_missing`, `unknown_product`, `excluded`, `out_of_stock`, `filtered`, `not_embedded`, `below_cut`,
    /// `not_matched`, `further_down`, `grouped`.
    pub code: &'static str,
    /// For people: the condition that failed, the rank reached.
    pub detail: String,
}

/// A completion of what is being typed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The whole query.
    pub text: String,
    /// Where it comes from: `query`, `title`, `brand`, `category`.
    pub kind: &'static str,
    /// Products that have it, or times it was asked.
    pub count: u64,
}

/// An attribute that products can be filtered, counted and sorted by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeInfo {
    /// Its name.
    pub name: String,
    /// What its values are, mostly first: `text`, `number`, `time`, `place`, `path`, `boolean`, `identifier`.
    pub kinds: Vec<&'static str>,
    /// Products that have it.
    pub products: u64,
    /// Different values.
    pub values: u64,
    /// The most frequent values.
    pub examples: Vec<String>,
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
    /// Bytes of vectors in memory, what is only mapped from disk left out.
    pub vector_bytes: usize,
    /// Bytes of filter columns in memory.
    pub column_bytes: usize,
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
    /// Completions of what is being typed, best first.
    fn suggest(&self, prefix: &str, limit: usize) -> Vec<Suggestion>;
    /// What products can be filtered, counted and sorted by, in name order.
    fn attributes(&self) -> Vec<AttributeInfo>;
    /// How big the index is.
    fn stats(&self) -> IndexStats;
    /// Whether a model's vectors, as far as they were there at the last look, are in an index built by these settings.
    fn is_indexed(&self, _model: &ModelInfo, _settings: &IndexSettings) -> bool {
        true
    }
}
