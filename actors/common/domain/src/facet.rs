//! How a set of products is counted and sorted.

use serde::Serialize;

use crate::filter::{Bound, Scalar};

/// Facets of one request.
pub const FACETS_MAX: usize = 64;
/// Ranges of one facet.
pub const FACET_RANGES_MAX: usize = 1_000;
/// Keys of one order.
pub const SORT_KEYS_MAX: usize = 8;

/// An attribute to count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FacetRequest {
    /// Which attribute.
    pub attribute: String,
    /// At most this many values, the most frequent first, equal counts by value.
    pub limit: usize,
    /// Counted instead of values, where given: lower and upper bound of each.
    pub ranges: Vec<(Option<Bound>, Option<Bound>)>,
    /// Without `ranges`: at most this many ranges are made of the attribute's numbers in the set, so that each holds about as
    /// many products, with round bounds; 0 for none.
    pub auto_ranges: usize,
    /// Products with the same value of this attribute (`group_id`) count once; those without one count each.
    pub group_by: Option<String>,
}

/// One value and how many products have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FacetValue {
    /// As shown to people; of a path its steps joined by ` > `.
    pub value: String,
    /// Products, not variants.
    pub count: u64,
}

/// One range and how many products lie in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FacetRange {
    /// The lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// Products, not variants.
    pub count: u64,
}

/// The numbers of an attribute at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The sum.
    pub sum: f64,
    /// Products that have a number.
    pub count: u64,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FacetCounts {
    /// Which attribute.
    pub attribute: String,
    /// The most frequent values.
    pub values: Vec<FacetValue>,
    /// The asked ranges, in order.
    pub ranges: Vec<FacetRange>,
    /// Of the attribute's numbers, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// Different values in the set.
    pub distinct: u64,
    /// Products of the set without the attribute.
    pub missing: u64,
}

/// What to sort by, ahead of relevance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Which attribute; products without it come last either way.
    pub attribute: String,
    /// From the greatest to the least.
    pub is_descending: bool,
}

impl Scalar {
    /// For comparing: the number, or the milliseconds.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Time(milliseconds) => milliseconds as f64,
        }
    }
}
