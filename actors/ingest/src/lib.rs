//! Joker reads any feed and turns every row into the common product format.
//!
//! - **Job**: find out a feed's format, read it record by record in bounded memory, normalise every value with its
//!   provenance, and hand the products to Gordon in batches. What cannot be used is a reject or a warning with row, field,
//!   code and the offending text; it never fails the rest.
//! - **Alone owns**: feed runs and their rejects.
//! - **Never**: decides whether a product is new or changed.
//!
//! Invariants:
//! - A run is durable before it is answered. One run is read at a time, the others wait in a bounded line, and each of them ends
//!   as succeeded, failed or canceled, also after restarts.
//! - A run that is interrupted, by this actor's end or by Gordon's, begins again at its first record; Gordon counts what the
//!   run itself had changed as he did the first time, so the counts come out as if nothing had happened.
//! - Memory holds one record, two batches and the hashes of a bounded number of ids, whatever the feed's size.
//! - A feed that breaks off keeps what was whole: a full one ends as failed (`truncated`) and deletes nothing, a delta one
//!   succeeds with the broken record among its rejects.
//! - Local pictures lie under the image folder (or the inbox), or they are refused.
//!
//! May forget at a restart: how far a run was.

pub mod logic;

mod actor;
mod config;
mod effects;
mod records;
mod view;

#[cfg(test)]
mod tests;

pub use actor::{Args, Joker, State};
pub use config::Config;
pub use logic::format::{FORMATS, FeedFormat};
pub use protocol::ingest::NAME;
pub use view::View;
