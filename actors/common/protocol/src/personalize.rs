//! Two Face: another order for each shopper.

use domain::{ProductId, Shopper};
use kit::Progress;
use serde::Serialize;
use store::StoreError;

use crate::vision::ModelInfo;

/// The runtime name.
pub const NAME: &str = "two_face";

/// The most products of one list.
pub const RANKED_MAX: usize = 400;

/// A list to be put in order.
#[derive(Clone, Debug)]
pub struct RankQuery {
    /// For whom; without anybody the order is everybody's.
    pub shopper: Option<Shopper>,
    /// Where the list is shown: surfaces have weights of their own.
    pub surface: String,
    /// The branch or web shop.
    pub store: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How much the shopper counts, 0 (not at all) to 1.
    pub strength: f32,
    /// What to order, and what its proposer thinks of each, on any scale; at most [`RANKED_MAX`].
    pub candidates: Vec<(ProductId, Option<f32>)>,
    /// By whose vectors they are compared with the shopper's interests: the models of the release that answers. Where none are named, of
    /// the one that serves the shopper.
    pub models: Vec<ModelInfo>,
}

/// A product in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedProduct {
    /// Its place in the query, from 0.
    pub at: usize,
    /// The sum of all shares.
    pub score: f32,
    /// What each feature added, the largest first; zeros are left out.
    pub shares: Vec<(&'static str, f32)>,
}

/// A product that a shopper buys regularly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DueProduct {
    /// Which product.
    pub product: ProductId,
    /// Decayed purchases, the more the more it is due.
    pub score: f32,
    /// Decayed purchases.
    pub purchases: f32,
    /// How due it is, 0 to 1.
    pub due: f32,
    /// Days since it was last bought.
    pub days: f32,
}

/// What is known of a shopper, for people: what a right of access is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProfileSummary {
    /// When the newest event was, in milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
    /// Decayed purchases.
    pub purchases: f32,
    /// Different products bought, as far as they are remembered.
    pub products_bought: usize,
    /// Different products looked at, likewise.
    pub products_seen: usize,
    /// Different products refused.
    pub products_refused: usize,
    /// Bytes kept.
    pub bytes: usize,
}

/// What Two Face is asked. It follows the event log by itself.
#[derive(Debug)]
pub enum PersonalizeMsg {
    /// For the actor's own tail of the event log.
    Tick,
    /// For the actor itself: its checkpoint has been written, or not.
    Checkpointed(Result<(), StoreError>),
}

/// Answers on the caller's own thread, with everything that was acknowledged before.
pub trait Personalizer: Send + Sync {
    /// The list in order, best first; every candidate once.
    fn rank(&self, query: &RankQuery) -> Vec<RankedProduct>;
    /// Which of `arms` fills a place today for this shopper: Thompson sampling, the same all day. The probability with which it was
    /// chosen is estimated by the same draws.
    fn choose(&self, place: &str, arms: &[&str], shopper: Option<&Shopper>, at_ms: i64) -> usize;
    /// The places of a list of `places`, from 0, that are left to trying things out, `budget` of them on average (0 to 1); stable for
    /// a shopper within a day.
    fn places_to_try(&self, places: usize, budget: f32, shopper: Option<&Shopper>, at_ms: i64) -> Vec<usize>;
    /// What this shopper buys regularly, the likeliest first.
    fn buy_again(&self, shopper: &Shopper, at_ms: i64, limit: usize) -> Vec<DueProduct>;
    /// What is known of a shopper.
    fn profile(&self, shopper: &Shopper) -> Option<ProfileSummary>;
    /// BLAKE3 of everything learned, profiles included: equal for equal histories, of events as of the products and of the models of the
    /// releases that served the shoppers. Walks over all profiles.
    fn digest(&self) -> Result<[u8; 32], StoreError>;
    /// Up to which offset of the event log it has learned.
    fn progress(&self) -> &Progress;
}
