//! EASE: which items go with which, by one ridge regression of every item on all others (Steck 2019, "Embarrassingly Shallow
//! Autoencoders for Sparse Data").
//!
//! Where orders are large and the catalog wide, pairs that are merely counted together drown the ones that belong together; the
//! regression keeps what an item says beyond what all other items say already. Unlike everything else that is learned from behaviour it
//! is not brought forward event by event: it is fitted on all rows (orders, or shoppers' histories) at once, in memory that grows with
//! the square of the items and time that grows with their cube. So it stands beside what is counted, for the busiest items of a shop,
//! and is blended with it as far as that foretells better what was held back.
//!
//! - [`Gram`] counts the rows; [`Gram::fit`] solves them into a [`Model`]: of each item the greatest weights.
//! - [`Model::score`] sums the weights of a history; [`blend`] puts them beside another ranking.
//! - [`tune`] finds the ridge, the decay of older items and the weight of the blend on questions that were held back.
//!
//! It decides and does not act: no clock, no disk. Equal rows in any order give equal models, bit for bit, on any number of threads.

mod blend;
mod gram;
mod model;
mod sweep;
#[cfg(test)]
mod tests;
mod tune;

pub use blend::{Blended, POOL_MAX, blend};
pub use gram::{FitSettings, Gram, ROW_ITEMS_MAX, ROWS_MAX};
pub use model::{Model, Sums};
pub use tune::{Choice, Query, Trials, tune};

use thiserror::Error;

/// Why there is no model.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EaseError {
    /// The square of the items does not fit in the memory that may be used.
    #[error("{items} items, but {items_max} at most")]
    TooManyItems {
        /// That many.
        items: usize,
        /// That many may be.
        items_max: usize,
    },
    /// The ridge is so small beside the counts that it is lost in rounding.
    #[error("the ridge is lost in rounding: a greater one is needed")]
    Rounding,
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}
