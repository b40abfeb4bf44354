//! Superman: recommendations from what shoppers do, up to date with the last event that was acknowledged.
//!
//! **Job.** Follows the event log and answers what to show next: for a shopper or a visit, beside a product, for a cart, what rises.
//! **Alone owns** what was learned from behaviour ([`behaviour::Behaviour`]) and its state files.
//!
//! **How.** Each event changes the state by itself, in microseconds; there is no training. Readers ask on their own thread. Products
//! that nobody knows yet are compared by their embeddings with known ones, in the background, and inherit from those. At night a
//! regression of the busiest products on one another ([`ease`]) is fitted beside that, and has a say in the lists for carts and for
//! shoppers without a visit under way, as far as it foretells better what was held back.
//!
//! **Invariants.** The state is a function of the log alone: a restart goes on from a state file, and ends at the same digest as a
//! rebuild from the first event. Robots and shoppers who do not consent teach nothing.
//!
//! **May forget** everything: the log holds it.
//!
//! **Never** knows what can be had, or one shopper's taste in attributes: those are Flash's and Two Face's.

mod actor;
pub mod config;
mod effects;
mod logic;
mod newcomers;
pub mod view;

#[cfg(test)]
mod tests;

pub use actor::{Args, Superman};
pub use config::Config;
pub use protocol::recommend::NAME;
pub use view::View;
