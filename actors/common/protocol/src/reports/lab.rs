//! The replay lab: what another ranking would have shown, and about how often that would have been clicked.

use domain::{ProductId, Served};
use serde::Serialize;

use super::experiment::Estimate;

/// Places of a list that can be compared.
pub const DEPTH_MAX: usize = 100;

/// What is replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayQuestion {
    /// Lists answered at or after this time (milliseconds since the Unix epoch), ...
    pub from_ms: i64,
    /// ... and before this one.
    pub to_ms: i64,
    /// Of these placements; empty: of all.
    pub placements: Vec<String>,
    /// Lists at most, the earliest first. Capped by the lab's own bound.
    pub lists_max: usize,
    /// Places of a list that are compared and counted, 1 to [`DEPTH_MAX`].
    pub depth: usize,
    /// Weights above this are cut to it (bias for variance).
    pub weight_max: f64,
    /// Lists whose differences are given one by one.
    pub pages_max: usize,
}

/// How one page would differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PageDifference {
    /// The answer's token.
    pub token: String,
    /// When it was answered, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Where it stood.
    pub placement: String,
    /// What was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Share of the first `depth` products that both lists hold.
    pub overlap: f64,
    /// Mean change of rank of those, in places.
    pub rank_change: f64,
    /// Products that would be new in the first `depth`, best first.
    pub entered: Vec<ProductId>,
    /// Products that would be gone, best first.
    pub left: Vec<ProductId>,
}

/// Clicks for one list, estimated from what was logged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PolicyEstimate {
    /// Clicks in the first `depth` places with 95 % confidence interval.
    pub clicks_per_list: Estimate,
    /// So many shown places, each counted fully, would say as much: (sum of weights)^2 by sum of squared weights.
    pub effective_sample_size: f64,
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Lists that were compared.
    pub lists: u64,
    /// Lists that the new ranking gave no answer for.
    pub lists_left_out: u64,
    /// Places compared.
    pub places: u64,
    /// Places at which both rankings have the same product.
    pub places_matched: u64,
    /// Places whose logged propensity is no probability: counted as never matched.
    pub propensities_invalid: u64,
    /// Matched places whose weight was cut.
    pub weights_cut: u64,
    /// Means over lists: share of products in both, and change of rank.
    pub overlap: f64,
    /// Mean change of rank of the products in both lists, in places.
    pub rank_change: f64,
    /// What the lists as they were shown brought; `None` without lists.
    pub logged: Option<Estimate>,
    /// Inverse propensity scores: unbiased where every product that the new ranking shows had a chance to stand there.
    pub ips: Option<PolicyEstimate>,
    /// Self-normalised, place by place: a little biased, much less variance.
    pub snips: Option<PolicyEstimate>,
    /// The first pages, in order of time.
    pub pages: Vec<PageDifference>,
}

/// Why there is no replay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// A bound of the question is 0, or its times are in the wrong order.
    #[error("{0}")]
    Question(&'static str),
    /// The event log could not be read.
    #[error("the event log could not be read: {0}")]
    Log(String),
}

/// Replays logged lists. Reads the event log: not for async threads.
pub trait ReplayLab: Send + Sync {
    /// Asks `rank` for the new list in place of each logged one (`None`: it has no answer) and compares.
    fn replay(&self, question: &ReplayQuestion, rank: &mut dyn FnMut(&Served) -> Option<Vec<ProductId>>) -> Result<ReplayReport, LabError>;
}
