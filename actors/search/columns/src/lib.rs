//! Columns: what products are filtered, counted, sorted and boosted by, in memory.
//!
//! One writer ([`Columns`]) makes columns out of products as they are: every attribute, every option of a variant and the fields
//! of the common record, none of which need be declared. Readers hold an immutable [`Snapshot`]; making one costs a pointer a
//! column, and a change after it copies only the chunks that it touches. Price and stock ([`Offers`]) stand apart in atomics: a
//! change is seen by the very next query and touches nothing else.
//!
//! Sets of products travel as dense bits over slots ([`Bitset`]).

mod bits;
mod cells;
mod chunked;
mod column;
mod dictionary;
mod evaluate;
mod fold;
mod index;
mod measure;
mod offers;
mod posting;
mod product;
mod slots;
mod snapshot;
#[cfg(test)]
mod tests;
mod values;
mod writer;

pub use bits::{Bitset, contains, count, slots};
pub use fold::fold;
pub use offers::{OfferValues, Offers};
pub use slots::Slots;
pub use snapshot::Snapshot;
pub use writer::{Change, Columns, ColumnsError, Limits};
