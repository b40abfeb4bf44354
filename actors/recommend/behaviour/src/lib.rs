//! Behaviour: what shoppers did, kept so that it answers what to show next.
//!
//! [`Behaviour`] takes one [`Event`] after the other and is at once up to date: what was taken is in the very next answer. There is no
//! training: pairs of items (in a visit, in a history, viewed then bought, in one order), visits like the running one, decayed
//! popularity and purchases are all brought forward by the event itself, in microseconds and bounded memory.
//!
//! It decides and does not act: no clock, no disk but [`Behaviour::save`] and [`Behaviour::load`], no thread. The same events in the
//! same order are the same state, bit for bit. [`Shared`] lets many readers ask while one writer applies.
//!
//! Shoppers, visits and orders are kept under a hash of their names; what is counted of items alone stays when a shopper is erased.

mod baskets;
mod bridge;
mod carts;
mod chunked;
mod cooccurrence;
mod decay;
pub mod evaluate;
mod event;
mod glance;
mod history;
mod keys;
mod knn;
mod popularity;
mod query;
mod recency;
mod recommend;
mod row;
mod save;
mod scratch;
mod sessions;
mod settings;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod tune;

pub use baskets::Together;
pub use event::{Event, Kind, Refused};
pub use keys::KEY_BYTES_MAX;
pub use popularity::Window;
pub use query::{COUNT_MAX, Candidate, History, REASONS_MAX, Reason, Request, Strategy};
pub use recommend::{Like, Likeness};
pub use save::LoadError;
pub use scratch::{Scratch, with_scratch};
pub use settings::{Again, Basket, Blend, Bounds, Bridge, Channel, CrossChannel, KindWeights, Reading, Sessions, Settings, ShopperChannel};
pub use shared::Shared;
pub use state::{Behaviour, Counts};
pub use tune::{Placement, Tuned, TuningSet};
