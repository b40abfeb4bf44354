//! What stands in the journal. Consumers follow it at their own offset, at least once, so every effect is idempotent.

use bincode::{Decode, Encode};
use domain::{PartHashes, Parts, Product, ProductId};

use crate::ingest::RunId;

/// The kind of [`CatalogChange`] among journal records.
pub const KIND_CATALOG_CHANGE: u16 = 1;

impl store::Record for CatalogChange {
    const KIND: u16 = KIND_CATALOG_CHANGE;
    const SCHEMA: u16 = 1;
}

/// One product changed. Carries the whole product as it is now: the journal can rebuild everything behind it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CatalogChange {
    /// Which product.
    pub id: ProductId,
    /// Its new revision; the first is 1. A product that is deleted and comes back goes on counting.
    pub revision: u64,
    /// What differs from the revision before: all parts when created or deleted.
    pub parts: Parts,
    /// The product as it is now; `None` when it was deleted.
    pub product: Option<Product>,
    /// Hashes of the product's parts; zero when it was deleted.
    pub hashes: PartHashes,
    /// The name of the catalog source it belongs to.
    pub source: String,
    /// The feed run that caused the change, if one did.
    pub run: Option<RunId>,
    /// When, in milliseconds since the Unix epoch.
    pub changed_at_ms: i64,
}
