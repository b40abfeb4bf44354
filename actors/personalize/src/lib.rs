//! Two Face: another order for each shopper, from the next click on.
//!
//! **Job.** Puts lists in order for the shopper who asks, chooses which strategy fills a place, and tells what a shopper buys again.
//! **Alone owns** shoppers' profiles, the shop's counts and the weights that choices have taught.
//!
//! **How.** Follows the event log. Readers rank on their own thread with what is in memory; a profile that is not is one read of the
//! store. From time to time a checkpoint writes the shop, the weights and the lists under way to a file, and the profiles that
//! changed to the store, in one commit with the offset of the log that all of it stands for.
//!
//! **Invariants.** What an acknowledged event says is in every order that is asked for once [`View`]'s progress has reached it. A
//! killed actor goes on from a consistent pair of file and store: what it knows is what a follower from offset 0 would know, as far
//! as the catalog has not changed meanwhile. What robots and shoppers who do not consent do teaches nothing; a shopper who is erased leaves
//! nothing in memory at once, and nothing on disk after the next checkpoint, which follows at once.
//!
//! **May forget** everything but the event log: without its file it begins again at offset 0.
//!
//! **Never** proposes a product that was not in the question.

mod actor;
pub mod config;
mod effects;
mod logic;
mod records;
pub mod view;

#[cfg(test)]
mod tests;

pub use actor::{Args, TwoFace};
pub use config::Config;
pub use protocol::personalize::NAME;
pub use view::View;
