//! Superman: recommendations from what shoppers do.

use domain::{ProductId, Shopper};
use kit::Progress;
use serde::Serialize;

use crate::vision::ModelInfo;

/// The runtime name.
pub const NAME: &str = "superman";

/// The most candidates of one question.
pub const CANDIDATES_MAX: usize = 1_000;
/// Reasons told of one candidate.
pub const REASONS_MAX: usize = 3;

/// What kind of list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Logic {
    /// For this shopper or visit, now: visits like it, pairs and taste blended; filled up with what is popular.
    ForYou,
    /// What others see who see these products.
    AlsoViewed,
    /// What is bought after these products were viewed.
    ViewedThenBought,
    /// What is bought in one order with these products: only pairs that chance does not explain.
    BoughtTogether,
    /// What to add to a cart of these products: every pair counts, and popularity beside.
    ForCart,
    /// What this shopper saw last.
    RecentlyViewed,
    /// What is rising: half forgotten after 6 hours.
    Trending,
    /// What is popular: half forgotten after 28 days.
    Popular,
}

impl Logic {
    /// The name in JSON, metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForYou => "for_you",
            Self::AlsoViewed => "also_viewed",
            Self::ViewedThenBought => "viewed_then_bought",
            Self::BoughtTogether => "bought_together",
            Self::ForCart => "for_cart",
            Self::RecentlyViewed => "recently_viewed",
            Self::Trending => "trending",
            Self::Popular => "popular",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct RecommendQuery {
    /// What kind of list.
    pub logic: Logic,
    /// For whom.
    pub shopper: Option<Shopper>,
    /// Products that stand for the history, oldest first; of `AlsoViewed` and `BoughtTogether` the products asked about.
    pub products: Vec<ProductId>,
    /// At most [`CANDIDATES_MAX`].
    pub limit: usize,
    /// By whose vectors new products are like known ones: the models of the release that answers. Where none are named, of the live one.
    pub models: Vec<ModelInfo>,
}

/// Why a product is proposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// Where it comes from: `visits`, `pairs`, `taste`, `together`, `viewed_then_bought`, `popular`, `content`, `ease`, `recent`.
    pub strategy: &'static str,
    /// The product that speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ProductId>,
    /// What it adds to the score.
    pub score: f32,
    /// Visits or orders with both, purchases of it, or its decayed count.
    pub together: u32,
    /// Orders with the source, where orders are counted.
    pub of: u32,
}

/// A product that is proposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Which product.
    pub product: ProductId,
    /// Greater is better; comparable within one answer. The sum of the reasons' scores and `rest`.
    pub score: f32,
    /// The weightiest first, at most [`REASONS_MAX`].
    pub reasons: Vec<Reason>,
    /// What all other reasons add.
    pub rest: f32,
}

/// How much is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BehaviourStats {
    /// Events learned from.
    pub events: u64,
    /// Grows with everything that an answer for everybody may change by: events learned from, a regression fitted, blends tuned, new
    /// products looked at.
    pub version: u64,
    /// Products that something was done with.
    pub products: usize,
    /// Shoppers remembered.
    pub shoppers: usize,
    /// Orders.
    pub orders: u32,
    /// Products that stand in for others by their likeness, being too new to be judged by what was done with them.
    pub new_products: usize,
}

/// What Superman is asked. He follows the event log by himself.
#[derive(Debug)]
pub enum RecommendMsg {
    /// For the actor's own tail of the event log.
    Tick,
    /// For the actor's own round over products that nobody knows yet.
    Acquaint,
}

/// Answers on the caller's own thread, with everything that was acknowledged before.
pub trait Recommender: Send + Sync {
    /// Best first. `allowed` is asked for each product before the list is cut, so that a strict condition still fills it; it should
    /// answer in a fraction of a microsecond.
    fn candidates(&self, query: &RecommendQuery, allowed: &dyn Fn(&str) -> bool) -> Vec<Candidate>;
    /// How popular each of these is (half forgotten after 28 days), in their order; 0 for what nobody did anything with.
    fn popularity(&self, products: &[ProductId]) -> Vec<f32>;
    /// How much is known.
    fn stats(&self) -> BehaviourStats;
    /// The time of the newest event, in milliseconds since the Unix epoch; 0 before the first. A quiet night, or a history that is
    /// played back, does not age what is known.
    fn latest_ms(&self) -> i64;
    /// BLAKE3 of everything learned: equal for equal histories.
    fn digest(&self) -> [u8; 32];
    /// Up to which offset of the event log it has learned.
    fn progress(&self) -> &Progress;
}
