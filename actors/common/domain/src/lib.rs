//! The nouns: the common (MAD) product record that every feed becomes, and the values in it. Plain data, no I/O.

pub mod hash;
pub mod money;
pub mod product;

pub use hash::{ContentHash, PartHashes, Parts};
pub use money::{Currency, Money, MoneyError};
pub use product::{AttributeValue, Availability, CategoryPath, IdError, ImageRef, Offer, Product, ProductId, Provenance, Source, Variant};
