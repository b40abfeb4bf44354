//! What can be wrong with a filter.

use crate::facet::{FACET_RANGES_MAX, FACETS_MAX, SORT_KEYS_MAX};

use super::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_TEXT_BYTES_MAX, FILTER_VALUE_BYTES_MAX, FILTER_VALUES_MAX};

/// Why a filter cannot be read or cannot be applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// The text does not follow the grammar.
    #[error("character {character} (byte {byte}) of the filter: found {found}, expected {expected}")]
    Syntax {
        /// Offset in bytes from the beginning of the text.
        byte: usize,
        /// Position in characters, the first is 1.
        character: usize,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// The JSON form is not one.
    #[error("filter at `{pointer}`: {detail}")]
    Json {
        /// Where (RFC 6901), empty for the whole.
        pointer: String,
        /// What is wrong there.
        detail: String,
    },
    /// Larger than a filter, or what else is asked of a set of products, may be.
    #[error("the query has {0}")]
    Bound(FilterBound),
    /// No product has such an attribute.
    #[error("there is no attribute `{attribute}`{}", did_you_mean(nearest))]
    UnknownAttribute {
        /// As asked.
        attribute: String,
        /// Names like it that do exist, the nearest first.
        nearest: Vec<String>,
    },
    /// The attribute's values cannot be compared this way.
    #[error("`{attribute}` is {kind} and has no {asked}")]
    WrongKind {
        /// Which attribute.
        attribute: String,
        /// What it is, such as `text`.
        kind: &'static str,
        /// What the filter needs of it, such as `numbers to compare`.
        asked: &'static str,
    },
    /// The value cannot be one of this attribute's.
    #[error("`{value}` is no value of `{attribute}`, expected {expected}")]
    BadValue {
        /// Which attribute.
        attribute: String,
        /// As asked.
        value: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// The attribute is known, yet some of its values are not held, so that an answer would be incomplete.
    #[error("`{attribute}` cannot be filtered: {reason}")]
    NotFilterable {
        /// Which attribute.
        attribute: String,
        /// Which bound it is over.
        reason: String,
    },
}

/// Which bound a filter is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterBound {
    /// Nested too deeply.
    #[error("a filter of more than {FILTER_DEPTH_MAX} levels")]
    Depth,
    /// Too many conditions.
    #[error("a filter of more than {FILTER_NODES_MAX} conditions")]
    Nodes,
    /// Too many values in all its lists together.
    #[error("a filter of more than {FILTER_VALUES_MAX} values")]
    Values,
    /// One value or name is too long.
    #[error("a value or name of more than {FILTER_VALUE_BYTES_MAX} bytes")]
    ValueBytes,
    /// The text is too long.
    #[error("a filter of more than {FILTER_TEXT_BYTES_MAX} bytes")]
    TextBytes,
    /// Too many facets.
    #[error("more than {FACETS_MAX} facets")]
    Facets,
    /// Too many ranges in a facet.
    #[error("a facet of more than {FACET_RANGES_MAX} ranges")]
    Ranges,
    /// Too many keys to sort by.
    #[error("more than {SORT_KEYS_MAX} keys to sort by")]
    SortKeys,
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; near to it: {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}
