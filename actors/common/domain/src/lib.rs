//! The nouns: the common (MAD) product record that every feed becomes, and the values in it. Plain data, no I/O.

pub mod event;
pub mod facet;
pub mod filter;
pub mod hash;
pub mod money;
pub mod product;

pub use event::{Dialect, Erasure, Event, EventItem, EventKind, Served, ServedItem, Shopper};
pub use facet::{FacetCounts, FacetRange, FacetRequest, FacetValue, SortKey, Stats};
pub use filter::{Bound, Filter, FilterBound, FilterError, Scalar};
pub use hash::{ContentHash, PartHashes, Parts};
pub use money::{Currency, Money, MoneyError};
pub use product::{AttributeValue, Availability, CategoryPath, IdError, ImageRef, Offer, Product, ProductId, Provenance, Source, Variant};
