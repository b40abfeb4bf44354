//! Columns: what products are filtered, counted, sorted and boosted by, in memory.
//!
//! One writer ([`Columns`]) makes columns out of products as they are: every attribute, every option of a variant and the fields
//! of the common record, none of which need be declared. Readers hold an immutable [`Snapshot`]; making one costs a pointer a
//! column, and a change after it copies only the chunks that it touches. Price and stock ([`Offers`]) stand apart in atomics: a
//! change is seen by the very next query and touches nothing else.
//!
//! Sets of products travel as dense bits over slots ([`Bitset`]).

mod attributes;
mod bits;
mod cells;
mod chunked;
mod colours;
mod column;
mod dictionary;
mod evaluate;
mod facets;
mod fold;
mod formula;
mod index;
mod measure;
mod numbers;
mod offers;
mod posting;
mod product;
mod slots;
mod snapshot;
mod sort;
#[cfg(test)]
mod tests;
mod values;
mod writer;

pub use attributes::AttributeInfo;
pub use bits::{Bitset, contains, count, slots};
pub use colours::{ColourMatch, Oklab, colour_distance, colour_of, nearest_colours, oklab, parse_hex};
pub use fold::fold;
pub use formula::{BoundFormula, FORMULA_BYTES_MAX, FORMULA_DEPTH_MAX, FORMULA_NODES_MAX, Formula, FormulaError};
pub use offers::{OfferValues, Offers};
pub use slots::Slots;
pub use snapshot::Snapshot;
pub use values::Values;
pub use writer::{Change, Columns, ColumnsError, Limits};
