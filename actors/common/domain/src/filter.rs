//! Which products count: the filter that search, recommendations and rules share.
//!
//! Two forms of equal power: text (`brand IN ["A", "B"] AND price 10 TO 50`, see [`Filter::parse`]) and JSON (`{"must": [..]}`,
//! see [`Filter::from_json`]). Both are bounded in size and depth, so that neither reading nor evaluating one can overflow a stack.

mod error;
mod json;
mod lex;
mod nearest;
mod parse;
mod scalar;
mod show;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

pub use error::{FilterBound, FilterError};
pub use nearest::nearest_names;
pub use scalar::{next_day, parse_number, parse_time};

/// Levels of lists, `NOT` and parentheses within one another.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Conditions, lists and negations.
pub const FILTER_NODES_MAX: usize = 1_024;
/// Values in all lists together.
pub const FILTER_VALUES_MAX: usize = 10_000;
/// Of one value, path step or attribute name.
pub const FILTER_VALUE_BYTES_MAX: usize = 1_024;
/// Of the string form.
pub const FILTER_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Half the way round the globe and a little.
pub(crate) const RADIUS_M_MAX: f64 = 20_100_000.0;

/// A condition on a product. A product with several values (or variants) meets a condition when one of them does.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every one of these; none means every product.
    All(Vec<Filter>),
    /// At least one of these; none means no product.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has one of these values; letter case, accents and blanks around do not count.
    In {
        /// Which attribute.
        attribute: String,
        /// At least one.
        values: Vec<String>,
    },
    /// The attribute is a number or a time between these, where given.
    Range {
        /// Which attribute.
        attribute: String,
        /// The lower bound.
        from: Option<Bound>,
        /// The upper bound.
        to: Option<Bound>,
    },
    /// The attribute is a path (a category) that begins like this.
    Under {
        /// Which attribute.
        attribute: String,
        /// From the widest to the narrowest.
        path: Vec<String>,
    },
    /// The attribute has any value.
    Exists {
        /// Which attribute.
        attribute: String,
    },
    /// The attribute is a place within this distance on the globe.
    Near {
        /// Which attribute.
        attribute: String,
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// Metres.
        radius_m: f64,
    },
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The value.
    pub value: Scalar,
    /// Whether the value itself is within.
    pub is_inclusive: bool,
}

/// What ranges compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A number; money in units of its currency.
    Number(f64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
}

impl Default for Filter {
    /// Every product.
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Filter {
    /// Reads the string form; a blank text means every product. Keywords in any letter case; values bare or in quotes with
    /// `\"`, `\n`, `\u{..}` and the like; names bare or in backticks; a date means the whole day, UTC.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_TEXT_BYTES_MAX {
            return Err(FilterError::Bound(FilterBound::TextBytes));
        }
        let filter = parse::parse(text)?;
        filter.check_bounds()?;
        Ok(filter)
    }

    /// Reads the JSON form, or the string form in a JSON string.
    pub fn from_json(json: &Value) -> Result<Self, FilterError> {
        let filter = json::from_json(json)?;
        filter.check_bounds()?;
        Ok(filter)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        json::to_json(self)
    }

    /// Whether a filter that was put together in code is within the bounds that reading enforces.
    pub fn check_bounds(&self) -> Result<(), FilterError> {
        let mut counted = Counted::default();
        counted.add(self, 1).map_err(FilterError::Bound)
    }

    /// The conditions that all must hold: the members of a list of `All`, of those within it too, or the filter itself.
    pub fn conjuncts(&self) -> Vec<&Self> {
        match self {
            Self::All(items) => items.iter().flat_map(Self::conjuncts).collect(),
            other => vec![other],
        }
    }

    /// The attribute, when all conditions within are on the same one.
    pub fn sole_attribute(&self) -> Option<&str> {
        match self {
            Self::All(items) | Self::Any(items) => {
                let (first, rest) = items.split_first()?;
                let attribute = first.sole_attribute()?;
                rest.iter().all(|item| item.sole_attribute() == Some(attribute)).then_some(attribute)
            }
            Self::Not(inner) => inner.sole_attribute(),
            Self::In { attribute, .. }
            | Self::Range { attribute, .. }
            | Self::Under { attribute, .. }
            | Self::Exists { attribute }
            | Self::Near { attribute, .. } => Some(attribute),
        }
    }
}

#[derive(Default)]
struct Counted {
    nodes: usize,
    values: usize,
}

impl Counted {
    fn add(&mut self, filter: &Filter, depth: usize) -> Result<(), FilterBound> {
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterBound::Depth);
        }
        self.nodes += 1;
        if self.nodes > FILTER_NODES_MAX {
            return Err(FilterBound::Nodes);
        }
        match filter {
            Filter::All(items) | Filter::Any(items) => items.iter().try_for_each(|item| self.add(item, depth + 1)),
            Filter::Not(inner) => self.add(inner, depth + 1),
            Filter::In { attribute, values } => self.texts(attribute, values),
            Filter::Under { attribute, path } => self.texts(attribute, path),
            Filter::Range { attribute, .. } | Filter::Exists { attribute } | Filter::Near { attribute, .. } => self.texts(attribute, &[]),
        }
    }

    fn texts(&mut self, attribute: &str, values: &[String]) -> Result<(), FilterBound> {
        self.values += values.len();
        if self.values > FILTER_VALUES_MAX {
            return Err(FilterBound::Values);
        }
        let is_long = |text: &str| text.len() > FILTER_VALUE_BYTES_MAX;
        if is_long(attribute) || values.iter().any(|value| is_long(value)) { Err(FilterBound::ValueBytes) } else { Ok(()) }
    }
}

impl Serialize for Filter {
    /// The canonical string form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Filter {
    /// Either form.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}
