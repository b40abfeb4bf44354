//! From hits to what a shopper is shown: what cannot be had goes, the rest is hydrated, in order.

use std::sync::Arc;

use protocol::catalog::{CatalogSnapshot, ProductRevision};
use protocol::search::Hit;
use protocol::session::OfferState;

/// A product that is shown.
#[derive(Clone)]
pub(crate) struct Shown {
    /// From 1, over all pages; a rank that is missing belongs to what was left out.
    pub rank: usize,
    pub hit: Hit,
    pub revision: Arc<ProductRevision>,
    pub offer: OfferState,
}

/// Hydrates the hits behind the first `offset` and leaves out what is gone or, unless it is asked for, cannot be had.
pub(crate) fn showable(
    hits: Vec<Hit>,
    offset: usize,
    catalog: &dyn CatalogSnapshot,
    offer: impl Fn(&str) -> Option<OfferState>,
    include_unavailable: bool,
) -> Vec<Shown> {
    let shown = |(index, hit): (usize, Hit)| {
        let revision = catalog.get(hit.product.as_str())?;
        let offer = offer(hit.product.as_str())?;
        // Both must say so: Flash may be a moment ahead of the snapshot or behind it.
        let is_available = offer.is_available && revision.product.is_available();
        (include_unavailable || is_available).then_some(Shown { rank: offset + index + 1, hit, revision, offer })
    };
    hits.into_iter().enumerate().filter_map(shown).collect()
}
