//! From hits to what a shopper is shown: what is unavailable or unrelated goes, the rest is hydrated, in order.

use std::collections::HashSet;
use std::sync::Arc;

use domain::ProductId;
use protocol::catalog::{CatalogSnapshot, ProductRevision};
use protocol::search::{HITS_MAX, Hit};
use protocol::session::OfferState;

/// Hits that the text embedding alone found are dropped below this cosine when keywords found something: related texts of
/// the default text model lie above 0.3, unrelated ones mostly below 0.2.
pub(crate) const TEXT_COSINE_MIN: f32 = 0.3;
/// The same when keywords found nothing: a query in other words is still answered, a meaningless one is not.
pub(crate) const TEXT_COSINE_MIN_ALONE: f32 = 0.2;
/// Fetched beyond what is shown, to make up for what is dropped.
const SPARE_HITS: usize = 50;

const _: () = assert!(TEXT_COSINE_MIN_ALONE < TEXT_COSINE_MIN);

/// A product that is shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub hit: Hit,
    pub revision: Arc<ProductRevision>,
    pub offer: OfferState,
}

/// How many hits to fetch so that `wanted` are left in all likelihood.
pub(crate) fn fetch_limit(wanted: usize) -> usize {
    wanted.saturating_mul(2).saturating_add(SPARE_HITS).min(HITS_MAX)
}

/// The hits that the text embedding alone found: only their cosines decide whether they stay.
pub(crate) fn found_by_text_alone(hits: &[Hit]) -> Vec<ProductId> {
    hits.iter().filter(|hit| hit.found_by == ["text"]).map(|hit| hit.product.clone()).collect()
}

/// Drops hits that the text embedding alone found and that are semantically too far away.
pub(crate) fn drop_unrelated(hits: Vec<Hit>, cosine: impl Fn(&ProductId) -> Option<f32>) -> Vec<Hit> {
    let by_keyword = hits.iter().any(|hit| hit.found_by.contains(&"keyword"));
    let floor = if by_keyword { TEXT_COSINE_MIN } else { TEXT_COSINE_MIN_ALONE };
    hits.into_iter().filter(|hit| hit.found_by != ["text"] || cosine(&hit.product).is_some_and(|cosine| cosine >= floor)).collect()
}

/// Hydrates hits and drops what is gone, excluded or, unless it is asked for, unavailable.
pub(crate) fn showable(
    hits: Vec<Hit>,
    catalog: &dyn CatalogSnapshot,
    offer: impl Fn(&str) -> Option<OfferState>,
    excluded: &HashSet<ProductId>,
    include_unavailable: bool,
) -> Vec<Shown> {
    let shown = |hit: Hit| {
        let revision = catalog.get(hit.product.as_str())?;
        let offer = offer(hit.product.as_str())?;
        // Both must say so: Flash may be a moment ahead of the snapshot or behind it.
        let is_available = offer.is_available && revision.product.is_available();
        (include_unavailable || is_available).then_some(Shown { hit, revision, offer })
    };
    hits.into_iter().filter(|hit| !excluded.contains(&hit.product)).filter_map(shown).collect()
}

/// The dot product of two vectors of norm 1.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: &str, found_by: &[&'static str]) -> Hit {
        Hit { product: id.parse().expect("an id"), score: 1.0, found_by: found_by.to_vec() }
    }

    fn ids(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|hit| hit.product.as_str()).collect()
    }

    #[test]
    fn the_unrelated_tail_goes() {
        let cosine = |id: &ProductId| match id.as_str() {
            "near" => Some(0.45),
            "fair" => Some(0.25),
            "far" => Some(0.1),
            _ => None,
        };
        let tail = [hit("near", &["text"]), hit("fair", &["text"]), hit("far", &["text"]), hit("gone", &["text"])];
        assert_eq!(ids(&drop_unrelated(tail.to_vec(), cosine)), ["near", "fair"], "without keyword hits the floor is lower");
        let mut mixed = vec![hit("far", &["keyword"]), hit("x", &["image"])];
        mixed.extend(tail);
        assert_eq!(ids(&drop_unrelated(mixed, cosine)), ["far", "x", "near"], "what other parts found is never judged by its text");
    }

    #[test]
    fn fetches_more_than_is_shown_within_the_bound() {
        assert_eq!(fetch_limit(20), 90);
        assert_eq!(fetch_limit(usize::MAX), HITS_MAX);
    }
}
