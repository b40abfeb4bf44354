//! Watchtower: the one source of truth for products.

use std::sync::Arc;

use domain::{Offer, PartHashes, Parts, Product, ProductId};
use kit::Reply;
use serde::Serialize;

use crate::ingest::RunId;

/// The runtime name.
pub const NAME: &str = "watchtower";

/// The most changes in one message.
pub const CHANGES_MAX: usize = 1024;

/// A wish to change a product; Watchtower decides what it amounts to.
#[derive(Clone, Debug)]
pub enum Change {
    /// This is the product now.
    Upsert {
        /// The whole product.
        product: Arc<Product>,
        /// Its parts' hashes, as computed by the sender.
        hashes: PartHashes,
        /// The catalog source that it belongs to; one source's full feed never deletes another's products.
        source: Arc<str>,
        /// The feed run that says so.
        run: Option<RunId>,
    },
    /// Price and stock are these now.
    Offer {
        /// Which product.
        id: ProductId,
        /// Which variant; `None` for the product as a whole.
        variant: Option<String>,
        /// Price and stock; replaces what was there.
        offer: Offer,
    },
    /// The product is gone.
    Delete {
        /// Which product.
        id: ProductId,
        /// The feed run that says so.
        run: Option<RunId>,
    },
}

/// What a change amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The product is new.
    Created,
    /// These parts differ from before.
    Updated(Parts),
    /// Nothing differs; nothing was written.
    Unchanged,
    /// The product was deleted.
    Deleted,
    /// There is no such product (or variant).
    NotFound,
}

/// Why Watchtower did nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CatalogError {
    /// More than [`CHANGES_MAX`] changes.
    #[error("{0} changes in one message, at most {CHANGES_MAX} are taken")]
    TooMany(usize),
    /// A product whose record would be larger than storage takes.
    #[error("product {id}: {bytes} bytes are over the limit of {bytes_max}")]
    TooLarge {
        /// Which product.
        id: ProductId,
        /// Its encoded size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Storage or the journal failed; nothing was acknowledged.
    #[error("storage: {0}")]
    Storage(String),
}

/// What Watchtower is asked.
#[derive(Debug)]
pub enum CatalogMsg {
    /// Apply changes in order. Answered when they are durable in the journal and visible in the view: one outcome a change,
    /// an over-large product being an error of its own.
    Apply {
        /// At most [`CHANGES_MAX`].
        changes: Vec<Change>,
        /// One outcome for each change, in order.
        reply: Reply<Result<Vec<Result<Outcome, CatalogError>>, CatalogError>>,
    },
    /// The journal has grown: take an export, verify it and trim what all consumers have passed.
    Checkpoint {
        /// Bytes that the journal was shortened by.
        reply: Reply<Result<u64, CatalogError>>,
    },
}

/// A product as Watchtower keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductRevision {
    /// The product.
    pub product: Product,
    /// Counts its changes from 1.
    pub revision: u64,
    /// Hashes of its parts.
    pub hashes: PartHashes,
    /// The catalog source that it belongs to.
    pub source: Arc<str>,
    /// The run that caused this revision, and what it was: a feed read again from the start counts its own work once.
    pub last_run: Option<(RunId, Outcome)>,
    /// When this revision was made, in milliseconds since the Unix epoch.
    pub changed_at_ms: i64,
}

/// What readers see: an immutable snapshot taken at one moment, read on the caller's own thread.
pub trait CatalogSnapshot: Send + Sync {
    /// The journal offset that the snapshot stands for: every change before it is in here, no change behind it is. Whoever follows
    /// the journal from this offset misses nothing.
    fn version(&self) -> u64;
    /// Products in the catalog.
    fn len(&self) -> usize;
    /// Whether there are no products.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// One product.
    fn get(&self, id: &str) -> Option<Arc<ProductRevision>>;
    /// Up to `limit` products in id order, behind `after`.
    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>>;
    /// Other products with the same `group_id`, in id order.
    fn group(&self, group_id: &str) -> Vec<ProductId>;
    /// Products that show this picture, in id order: one picture is often shared.
    fn products_with_image(&self, image: &str) -> Vec<ProductId>;
}

/// Hands out the latest snapshot.
pub trait CatalogReader: Send + Sync {
    /// The catalog as it is now.
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot>;
}
