//! Mocha: read models fed from the event log, so that reports answer in milliseconds and never touch the serving path.
//!
//! **Job.** Counts every day by the time of its events: shoppers, orders, revenue, products, searches and what they did not find, and what
//! lists brought; gathers experiments; replays logged lists against another ranking. **Alone owns** the daily read models.
//!
//! **How.** Mocha follows the event log at her own offset. Each entry changes one day, the *join* (the newest lists, so that clicks and
//! purchases find the list they came from) and the experiments, in memory; every few seconds what changed is committed together with the
//! offset. The join itself is not stored: it is a function of the log from the oldest list that it still holds, and is read again at start.
//!
//! **Attribution.** A purchase (or cart) belongs to the list that its own event names by token, else to the last list in which the shopper
//! clicked the product within the click window; else, apart, to the last list that showed it within the view window. Clicks count once
//! a product and list. Days are those of the events: revenue counts on the day of the purchase.
//!
//! **Stock-outs** are inferred: the log does not say what was available, but what is unavailable is never listed. A product that is viewed
//! again and again while no list shows it, though it was listed often on the days before, is reported as suspected, with its p-value.
//!
//! **Invariants.** The read models are a function of the log up to the offset: whatever the batches, wherever a life ended, the digest is
//! the same. Nothing names a shopper: sets hold hashes keyed with the installation's secret, words are shown when several shoppers
//! used them, an erasure removes a shopper's lists, exposures and words. Every table has a bound, and says what it may lack.
//!
//! **May forget** everything: what is stored can be made anew from the log. A log in which shoppers were forgotten gives the same numbers,
//! under other names, but for the words that they searched for.

mod actor;
pub mod config;
mod effects;
mod lab;
mod logic;
mod records;
pub mod view;

#[cfg(test)]
mod tests;

pub use actor::{Args, Mocha};
pub use config::Config;
pub use effects::digest;
pub use lab::Lab;
pub use protocol::reports::NAME;
pub use view::View;
