//! What stands in the journal and in the event log. Consumers follow them at their own offset, at least once, so every effect is idempotent.

use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Erasure, Event, PartHashes, Parts, Product, ProductId, Served};

use crate::ingest::RunId;

/// The kind of [`CatalogChange`] among journal records.
pub const KIND_CATALOG_CHANGE: u16 = 1;
/// The kind of [`LogBody`] in the event log.
pub const KIND_LOG_BODY: u16 = 16;

/// What stands in the event log: the second journal, of what shoppers did and saw.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum LogBody {
    /// Something happened.
    Event(Arc<Event>),
    /// A ranked list was answered.
    Served(Arc<Served>),
    /// A shopper is to be forgotten.
    Erasure(Arc<Erasure>),
}

impl store::Record for LogBody {
    const KIND: u16 = KIND_LOG_BODY;
    const SCHEMA: u16 = 1;
}

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
