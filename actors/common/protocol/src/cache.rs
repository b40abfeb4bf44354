//! GCPD: finished answers by canonical request. An answer is given again only while every input that it was made of is still
//! what it was.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use domain::Shopper;
use serde::Serialize;

/// The name in metrics and on the console.
pub const NAME: &str = "gcpd";

/// The versions of what an answer is made of, read **before** the first input is. Versions grow: a fingerprint is none. An input
/// that takes no part stays 0. A version may be coarse (an interval's number) where the answer may be as old as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Versions {
    /// `CatalogSnapshot::version`.
    pub catalog: u64,
    /// `OfferReader::version`.
    pub availability: u64,
    /// Of the rules in force.
    pub rules: u64,
    /// Of the model that ranks or embeds.
    pub model: u64,
    /// Of what is learned from all shoppers' behaviour.
    pub behaviour: u64,
    /// Of what is known of this shopper: `SessionState::version`.
    pub shopper: u64,
}

/// What an answer is found by. The request is canonical: equal questions have equal text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    endpoint: &'static str,
    shopper: Option<Shopper>,
    request: Arc<str>,
}

impl CacheKey {
    /// For an answer that is the same for everybody.
    pub fn shared(endpoint: &'static str, request: impl Into<Arc<str>>) -> Self {
        Self { endpoint, shopper: None, request: request.into() }
    }

    /// For an answer that only this shopper may get. It is dropped when the shopper is forgotten.
    pub fn personal(endpoint: &'static str, shopper: Shopper, request: impl Into<Arc<str>>) -> Self {
        Self { endpoint, shopper: Some(shopper), request: request.into() }
    }

    /// The kind of request, for counts; a name in the code, never a caller's text.
    pub fn endpoint(&self) -> &'static str {
        self.endpoint
    }

    /// Whose answer it is, where it is not everybody's.
    pub fn shopper(&self) -> Option<&Shopper> {
        self.shopper.as_ref()
    }

    /// The canonical request.
    pub fn request(&self) -> &str {
        &self.request
    }
}

// The request may be what a shopper typed: logs show who asks what kind of thing, not what.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey").field("endpoint", &self.endpoint).field("is_personal", &self.shopper.is_some()).finish_non_exhaustive()
    }
}

/// How much memory an answer takes, in bytes, everything it points to included; an estimate will do.
pub trait AnswerBytes: Send + Sync + 'static {
    /// The bytes.
    fn answer_bytes(&self) -> usize;
}

impl AnswerBytes for bytes::Bytes {
    fn answer_bytes(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

/// A finished answer of any type.
#[derive(Clone)]
pub struct Answer {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
}

impl Answer {
    /// An answer to keep.
    pub fn new<T: AnswerBytes>(value: Arc<T>) -> Self {
        Self { bytes: value.answer_bytes(), value }
    }

    /// The answer as what it is; `None` when it is of another type.
    pub fn value<T: AnswerBytes>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.value).downcast().ok()
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The right and duty to compute an answer that others wait for. Dropped without an answer (an error, a caller that went away),
/// it keeps nothing and lets the next one who waits compute.
pub trait Flight: Send {
    /// Keeps the answer, if it still may be kept, and hands it to those who wait.
    fn land(self: Box<Self>, answer: Answer);
}

/// What a question to the cache amounts to.
pub enum Lookup<'a> {
    /// The answer, made of inputs of exactly the asked versions.
    Hit(Answer),
    /// Nobody has it: the asker computes.
    Miss(Box<dyn Flight + 'a>),
}

/// How often an endpoint's answers were there, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndpointCounts {
    /// The kind of request.
    pub endpoint: &'static str,
    /// Given from memory; those who waited for another's computation included.
    pub hits: u64,
    /// Computed because nothing was there.
    pub misses: u64,
    /// Computed because what was there was made of other versions.
    pub stale: u64,
}

impl EndpointCounts {
    /// Hits among all questions, 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        let asked = self.hits + self.misses + self.stale;
        if asked == 0 { 0.0 } else { self.hits as f64 / asked as f64 }
    }
}

/// How full the cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Answers.
    pub entries: u64,
    /// Bytes of answers and keys.
    pub bytes: u64,
    /// The bound.
    pub bytes_max: u64,
}

/// Finished answers.
pub trait AnswerCache: Send + Sync {
    /// The answer, if it is there and made of exactly these versions. Never waits.
    fn get(&self, key: &CacheKey, versions: &Versions) -> Option<Answer>;

    /// The answer, or the duty to compute it. Waits while another computes the same. [`get_or_compute`] is how it is used.
    fn lookup<'a>(&'a self, key: &'a CacheKey, versions: &'a Versions) -> Pin<Box<dyn Future<Output = Lookup<'a>> + Send + 'a>>;

    /// Forgets everything kept for these shoppers; answers that are being computed for them now are not kept either.
    fn erase(&self, shoppers: &[Shopper]);

    /// One for each endpoint that was asked for, by name.
    fn counts(&self) -> Vec<EndpointCounts>;

    /// How full it is.
    fn size(&self) -> CacheSize;
}

/// The answer from the cache, or computed now by one caller for all who ask meanwhile. An error reaches its own caller alone
/// and is not kept: the next one who waits computes.
pub async fn get_or_compute<T: AnswerBytes, E>(
    cache: &dyn AnswerCache,
    key: &CacheKey,
    versions: &Versions,
    compute: impl Future<Output = Result<Arc<T>, E>>,
) -> Result<Arc<T>, E> {
    match cache.lookup(key, versions).await {
        Lookup::Hit(answer) => match answer.value() {
            Some(value) => Ok(value),
            // Two endpoints of one name keep answers of two types: neither is wrong, only useless to the other.
            None => compute.await,
        },
        Lookup::Miss(flight) => {
            let value = compute.await?;
            flight.land(Answer::new(Arc::clone(&value)));
            Ok(value)
        }
    }
}
