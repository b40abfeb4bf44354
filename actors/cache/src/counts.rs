//! Hits and misses by endpoint, as metrics and for the console.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;
use papaya::HashMap;
use protocol::cache::EndpointCounts;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Given from memory.
    Hit,
    /// Nothing was there.
    Miss,
    /// What was there was made of other versions.
    Stale,
}

/// The counts of all endpoints. Endpoints are names in the code, so there are few of them.
#[derive(Default)]
pub(crate) struct Counts(HashMap<&'static str, Arc<Endpoint>>);

struct Endpoint {
    hits: Tally,
    misses: Tally,
    stale: Tally,
}

struct Tally {
    count: AtomicU64,
    metric: Counter,
}

impl Tally {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.metric.increment(1);
    }

    fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Endpoint {
    fn new(endpoint: &'static str) -> Self {
        let tally = |metric| Tally { count: AtomicU64::new(0), metric };
        Self {
            hits: tally(metrics::counter!("gotham_cache_hits_total", "endpoint" => endpoint)),
            misses: tally(metrics::counter!("gotham_cache_misses_total", "endpoint" => endpoint)),
            stale: tally(metrics::counter!("gotham_cache_stale_total", "endpoint" => endpoint)),
        }
    }
}

impl Counts {
    pub(crate) fn add(&self, endpoint: &'static str, outcome: Outcome) {
        let endpoints = self.0.pin();
        let counts = endpoints.get_or_insert_with(endpoint, || Arc::new(Endpoint::new(endpoint)));
        match outcome {
            Outcome::Hit => counts.hits.add(),
            Outcome::Miss => counts.misses.add(),
            Outcome::Stale => counts.stale.add(),
        }
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<EndpointCounts> {
        let count = |(endpoint, counts): (&&'static str, &Arc<Endpoint>)| EndpointCounts {
            endpoint,
            hits: counts.hits.get(),
            misses: counts.misses.get(),
            stale: counts.stale.get(),
        };
        let mut all: Vec<EndpointCounts> = self.0.pin().iter().map(count).collect();
        all.sort_by_key(|counts| counts.endpoint);
        all
    }
}
