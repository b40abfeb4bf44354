//! Flash: what is available and what it costs, and what shoppers did and have in their carts; in memory, read without waiting.

use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Availability, EventKind, Money, ProductId, Shopper};
use kit::Progress;
use serde::Serialize;
use store::StoreError;

/// The runtime name.
pub const NAME: &str = "flash";
/// The name under which Flash follows the event log: a second consumer beside the catalog journal's.
pub const EVENTS_CONSUMER: &str = "flash-events";

/// The items of one history: the newest are kept.
pub const HISTORY_ITEMS_MAX: usize = 200;
/// The lines of one cart: the oldest leave first.
pub const CART_LINES_MAX: usize = 100;
/// The searches of one shopper: the newest are kept.
pub const SEARCHES_MAX: usize = 10;
/// The sessions of one shopper: the oldest are dropped with all that is known of them (the shopper's own history stays).
pub const SHOPPER_SESSIONS_MAX: usize = 32;

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

/// One product that a shopper had to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct HistoryItem {
    /// What happened. Impressions are no history: nobody did anything.
    pub kind: EventKind,
    /// Which product.
    pub product: ProductId,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Pieces.
    pub quantity: u32,
}

/// One line of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct CartLine {
    /// Which product.
    pub product: ProductId,
    /// Which variant of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Arc<str>>,
    /// Pieces, at least 1.
    pub quantity: u32,
    /// When pieces were last put in, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct PastSearch {
    /// What was searched for, as it was typed.
    pub query: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What is known of one session, or of one shopper over all sessions. Ordered by when things happened, whenever they were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct SessionState {
    /// Oldest first, at most [`HISTORY_ITEMS_MAX`].
    pub items: Vec<HistoryItem>,
    /// What is in the cart: the line that was touched longest ago first, at most [`CART_LINES_MAX`].
    pub cart: Vec<CartLine>,
    /// Oldest first, at most [`SEARCHES_MAX`]; a search that is repeated moves to the end.
    pub searches: Vec<PastSearch>,
    /// When the first of its events happened, in milliseconds since the Unix epoch.
    pub first_seen_ms: i64,
    /// When the latest of its events happened, in milliseconds since the Unix epoch.
    pub last_seen_ms: i64,
    /// The branch or web shop that was named last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Arc<str>>,
    /// Of a session: whose it was last. Of a shopper: `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shopper: Option<Shopper>,
    /// The offset in the event log behind the last event that changed it: a new version with every event of this shopper.
    pub version: u64,
}

impl SessionState {
    /// The products of these kinds of events, newest first; repeated ones are repeated.
    pub fn newest_of<'a>(&'a self, kinds: &'a [EventKind]) -> impl Iterator<Item = &'a HistoryItem> {
        self.items.iter().rev().filter(|item| kinds.contains(&item.kind))
    }
}

/// What Flash is asked. It follows the journal and the event log by itself.
#[derive(Debug)]
pub enum SessionMsg {
    /// For the actor's own tail of the journal.
    Tick,
    /// For the actor's own tail of the event log.
    EventsTick,
    /// For the actor itself: there is more in the event log.
    EventsMore,
    /// For the actor itself: its checkpoint has been written, or not.
    Checkpointed(Result<(), StoreError>),
}

/// Reads on the caller's own thread.
pub trait OfferReader: Send + Sync {
    /// `None` for a product that does not exist.
    fn offer(&self, id: &str) -> Option<OfferState>;
    /// The journal offset up to which changes are visible here.
    fn journal_offset(&self) -> u64;
    /// Grows whenever an offer has become another one, after that is visible, and never shrinks while the process lives. Read it
    /// before the offers that an answer is made of.
    fn version(&self) -> u64 {
        self.journal_offset()
    }
}

/// Reads on the caller's own thread: without locks where the entry is in memory, else by one read of the store (some
/// microseconds from its cache, a disk read at most).
pub trait SessionReader: Send + Sync {
    /// What is known of a session.
    fn session(&self, id: &str) -> Option<Arc<SessionState>>;
    /// What is known of a shopper. What was gathered for a visitor is the user's after the login.
    fn shopper(&self, shopper: &Shopper) -> Option<Arc<SessionState>>;
    /// Up to which offset of the event log both are.
    fn progress(&self) -> &Progress;
}
