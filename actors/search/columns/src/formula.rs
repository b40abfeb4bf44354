//! Boosts by formula: a small language over the numbers of a product and its score.
//!
//! ```text
//! score * (1 + 0.2 * ln(1 + popularity ?? 0)) * if("availability = in_stock", 1, 0.2) * decay(age_days(released) ?? 90, 0, 30)
//! ```
//!
//! Numbers, `+ - * /`, parentheses, attributes by name (in backticks where the name is no plain word), `score`, and
//! `a ?? b`, which is `b` where `a` is missing. Functions: `ln`, `log10`, `sqrt`, `abs`, `exp`, `pow(x, y)`, `min(..)`,
//! `max(..)`, `clamp(x, low, high)`, `if("FILTER", then, else)`, `age_days(attribute)` (of a time, until now),
//! `decay(x, origin, scale)` (a bell: 1 at the origin, 0.5 at `scale` from it), `distance_m(attribute, latitude, longitude)`.
//! Times are milliseconds since the epoch, booleans 1 and 0; of several values of a product the least counts.

mod bound;
mod parse;

use domain::FilterError;

pub use bound::BoundFormula;

use crate::snapshot::Snapshot;
use parse::Node;

/// Of the text.
pub const FORMULA_BYTES_MAX: usize = 4_096;
/// Operations and operands.
pub const FORMULA_NODES_MAX: usize = 256;
/// Levels within one another.
pub const FORMULA_DEPTH_MAX: usize = 32;

/// Why a formula cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormulaError {
    /// The text does not follow the grammar.
    #[error("character {character} of the formula: found {found}, expected {expected}")]
    Syntax {
        /// Position in characters, the first is 1.
        character: usize,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// The text is too long.
    #[error("the formula has more than {FORMULA_BYTES_MAX} bytes")]
    Long,
    /// Too much of it.
    #[error("the formula has more than {FORMULA_NODES_MAX} operations and operands")]
    Large,
    /// Nested too deeply.
    #[error("the formula has more than {FORMULA_DEPTH_MAX} levels")]
    Deep,
    /// A filter within it is wrong.
    #[error("in the filter at character {character} of the formula: {error}")]
    Filter {
        /// Position of the filter in characters.
        character: usize,
        /// What is wrong with it.
        error: FilterError,
    },
}

/// A formula that has been read. It knows no catalog yet: see [`Formula::bind`].
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    root: Node,
}

impl Formula {
    /// Reads a text; see the module for the language.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// Finds the formula's attributes and evaluates its filters on a snapshot. `now_ms` is the time that `age_days` counts to,
    /// in milliseconds since the epoch.
    pub fn bind<'a>(&self, snapshot: &'a Snapshot, now_ms: i64) -> Result<BoundFormula<'a>, FilterError> {
        BoundFormula::new(&self.root, snapshot, now_ms)
    }
}

#[cfg(test)]
mod tests;
