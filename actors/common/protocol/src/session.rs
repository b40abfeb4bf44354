//! Flash: what is available and what it costs, in memory, read without waiting.

use domain::{Availability, Money};
use serde::Serialize;

/// The runtime name.
pub const NAME: &str = "flash";

/// Price and stock of a product at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OfferState {
    /// Whether a shopper can have it in at least one form.
    pub is_available: bool,
    /// Of the most available form.
    pub availability: Availability,
    /// The lowest regular price over its available forms (all forms when none is available).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The reduced price that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_price: Option<Money>,
    /// Pieces over all forms, where the shop counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
}

/// What Flash is asked. It follows the journal by itself.
#[derive(Debug)]
pub enum SessionMsg {
    /// For the actor's own tail of the journal.
    Tick,
}

/// Reads on the caller's own thread.
pub trait OfferReader: Send + Sync {
    /// `None` for a product that does not exist.
    fn offer(&self, id: &str) -> Option<OfferState>;
    /// The journal offset up to which changes are visible here.
    fn journal_offset(&self) -> u64;
}
