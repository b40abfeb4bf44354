//! What is learned from a shop's own labelled products: for each attribute a regularised linear probe and nearest neighbours on
//! embeddings (colours and patterns on what was measured, too), mixed and calibrated on rows that each had not seen, with the confidence
//! above which it is right as often as was asked for.

mod features;
mod linear;
mod mix;
mod neighbours;
mod parallel;
mod probe;
mod projection;
mod taught;
#[cfg(test)]
mod tests;
mod train;

pub(crate) use features::Block;
pub(crate) use linear::{dot, normalise};
pub(crate) use mix::{Mix, greatest};
pub(crate) use probe::{Probe, softmax};
pub use projection::Projection;
pub(crate) use taught::unpacked;
pub use taught::{Guess, Taught, TaughtAttribute};
pub use train::{teach, teach_with};

use thiserror::Error;

use crate::pixels::Measurements;
use crate::report::Quality;

/// Rows needed to learn anything.
pub const ROWS_MIN: usize = 20;
/// Numbers of an embedding, at most.
pub const DIMENSIONS_MAX: usize = 8192;
/// Classes of an attribute, at most: the most frequent ones.
pub const CLASSES_MAX: usize = 512;

/// One label of a row, in the vocabulary's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The attribute's name.
    pub attribute: String,
    /// The value's name.
    pub value: String,
    /// Said by a person who looked: counts [`TeachSettings::human_weight`] times and keeps the row from being left out.
    pub human: bool,
}

/// One labelled picture.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The product it shows: named as evidence.
    pub product: &'a str,
    /// Rows of one group (equal pictures, variants of one product) are never on both sides of a check.
    pub group: u64,
    /// As the search index has it, of any length: `[dimensions]`.
    pub embedding: &'a [f32],
    /// What was measured, where it was.
    pub measurements: Option<&'a Measurements>,
    /// What is known.
    pub labels: &'a [Label],
}

/// How it is taught.
#[derive(Clone, Debug, PartialEq)]
pub struct TeachSettings {
    /// A tag is told as a fact where it is right at least this often.
    pub precision: f64,
    /// Rows learned from, at most: of more the ones with rare labels, the others by chance. Time and memory grow with it.
    pub rows_max: usize,
    /// Components of the embeddings that are learned from, at most.
    pub components: usize,
    /// Neighbours that vote.
    pub neighbours: usize,
    /// What a person's label counts against one of the catalog.
    pub human_weight: f32,
    /// Ridges that are tried.
    pub ridges: Vec<f32>,
    /// Parts that the rows are split into for checks; each is answered by what the others taught.
    pub folds: usize,
    /// Threads that work. The result does not depend on them.
    pub threads: usize,
}

impl Default for TeachSettings {
    fn default() -> Self {
        Self {
            precision: 0.95,
            rows_max: 8192,
            components: 256,
            neighbours: 10,
            human_weight: 5.0,
            ridges: vec![0.005],
            folds: 8,
            threads: 1,
        }
    }
}

/// Why nothing was learned.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TeachError {
    /// Too few labelled rows.
    #[error("{0} labelled pictures, at least {ROWS_MIN} are needed")]
    TooFew(usize),
    /// An embedding that is none.
    #[error("the embedding of {product}: {detail}")]
    Embedding {
        /// Whose.
        product: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(&'static str),
}

/// What was learned of one attribute, checked on rows that had not been seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// The attribute's name.
    pub attribute: String,
    /// Labelled rows.
    pub rows: usize,
    /// Values among them.
    pub classes: usize,
    /// At this confidence and above a tag is a fact.
    pub threshold: f32,
    /// How good it was in the checks.
    pub quality: Quality,
}
