//! How good the recommendations are: public protocols on files, ours beside popularity and item-kNN in the same run.
//!
//! Every list ranks all items of the catalog. A figure is a mean over all queries; an item that is not in the list is a miss.

mod baselines;
mod data;
mod metrics;
mod ours;
mod protocols;

pub use data::{DataError, Dataset, Query, Row};
pub use metrics::Measures;
pub use ours::Ours;
pub use protocols::{Protocol, Report, evaluate};
