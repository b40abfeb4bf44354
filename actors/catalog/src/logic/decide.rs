//! What a wish to change a product amounts to.

use std::sync::Arc;

use domain::{Offer, PartHashes, Parts, Product, ProductId};
use protocol::catalog::{CatalogSnapshot, Change, Outcome};
use protocol::ingest::RunId;
use protocol::journal::CatalogChange;

use crate::logic::catalog::Catalog;

/// What is to be done about a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Nothing to write.
    Nothing(Outcome),
    /// This goes into the journal.
    Write(Outcome, Box<CatalogChange>),
}

/// Decides one change against the catalog as it is, changes before it in the same message included.
pub(crate) fn decide(catalog: &Catalog, change: Change, now_ms: i64) -> Decision {
    match change {
        Change::Upsert { product, hashes, source, run } => upsert(catalog, product, hashes, &source, run, now_ms),
        Change::Offer { id, variant, offer } => set_offer(catalog, &id, variant.as_deref(), offer, now_ms),
        Change::Delete { id, run } => delete(catalog, id, run, now_ms),
    }
}

fn upsert(catalog: &Catalog, product: Arc<Product>, hashes: PartHashes, source: &str, run: Option<RunId>, now_ms: i64) -> Decision {
    let before = catalog.kept(product.id.as_str());
    let parts = before.map_or(Parts::ALL, |before| before.hashes.difference(&hashes));
    // A product that comes from another source than before belongs to that one from now on, even when nothing else differs.
    if parts.is_empty() && before.is_some_and(|before| &*before.source == source) {
        return Decision::Nothing(Outcome::Unchanged);
    }
    let outcome = if before.is_some() { Outcome::Updated(parts) } else { Outcome::Created };
    let product = Arc::unwrap_or_clone(product);
    let (id, revision) = (product.id.clone(), catalog.revision(product.id.as_str()) + 1);
    let source = source.to_owned();
    Decision::Write(
        outcome,
        Box::new(CatalogChange { id, revision, parts, product: Some(product), hashes, source, run, changed_at_ms: now_ms }),
    )
}

fn set_offer(catalog: &Catalog, id: &ProductId, variant: Option<&str>, offer: Offer, now_ms: i64) -> Decision {
    let Some(before) = catalog.get(id.as_str()).map(Arc::unwrap_or_clone) else { return Decision::Nothing(Outcome::NotFound) };
    let mut product = before.product;
    match variant {
        None => set_whole_offer(&mut product, offer),
        Some(variant) => match product.variants.iter_mut().find(|known| known.id == variant) {
            Some(known) => known.offer = offer,
            None => return Decision::Nothing(Outcome::NotFound),
        },
    }
    // Texts and pictures are as they were, whatever a newer program would hash them to.
    let PartHashes { price, stock, .. } = PartHashes::of(&product);
    let hashes = PartHashes { price, stock, ..before.hashes };
    let parts = before.hashes.difference(&hashes);
    if parts.is_empty() {
        return Decision::Nothing(Outcome::Unchanged);
    }
    let (id, revision, source) = (id.clone(), before.revision + 1, before.source.to_string());
    let change = CatalogChange { id, revision, parts, product: Some(product), hashes, source, run: None, changed_at_ms: now_ms };
    Decision::Write(Outcome::Updated(parts), Box::new(change))
}

/// An offer for the product as a whole speaks for all its forms, so that the product reads back exactly as it was told: every
/// variant takes the availability, and the price where the offer has one; the variants' own counts go, since only the whole
/// is counted now. The next offer for a variant, or the next feed, refines it again.
fn set_whole_offer(product: &mut Product, offer: Offer) {
    for variant in &mut product.variants {
        variant.offer.availability = offer.availability;
        variant.offer.quantity = None;
        if offer.price.is_some() {
            (variant.offer.price, variant.offer.sale_price) = (offer.price, offer.sale_price);
        }
    }
    product.offer = offer;
}

fn delete(catalog: &Catalog, id: ProductId, run: Option<RunId>, now_ms: i64) -> Decision {
    let Some(before) = catalog.kept(id.as_str()) else {
        // The same run asking again, because the first answer was lost, gets the same answer.
        let is_repeated = run.is_some() && catalog.tombstone(id.as_str()).is_some_and(|tombstone| tombstone.run == run);
        return Decision::Nothing(if is_repeated { Outcome::Deleted } else { Outcome::NotFound });
    };
    let (revision, source) = (before.revision + 1, before.source.to_string());
    let hashes = PartHashes::default();
    let change = CatalogChange { id, revision, parts: Parts::ALL, product: None, hashes, source, run, changed_at_ms: now_ms };
    Decision::Write(Outcome::Deleted, Box::new(change))
}

#[cfg(test)]
mod tests {
    use Outcome::{Created, Deleted, NotFound, Unchanged, Updated};
    use domain::Availability;

    use super::*;
    use crate::logic::batch::Batch;
    use crate::testing::{euros, id, product, upsert, upsert_by, variant};

    const RUN: RunId = RunId(7);

    fn titled(title: &str) -> Product {
        Product { title: title.to_owned(), ..product("a") }
    }

    fn delete_by(run: Option<RunId>) -> Change {
        Change::Delete { id: id("a"), run }
    }

    fn offer(variant: Option<&str>, offer: Offer) -> Change {
        Change::Offer { id: id("a"), variant: variant.map(str::to_owned), offer }
    }

    fn priced(amount: i64) -> Offer {
        Offer { price: euros(amount), ..Offer::default() }
    }

    fn with_variants() -> Product {
        let counted = |amount| Offer { quantity: Some(4), ..priced(amount) };
        Product { variants: vec![variant("m", counted(5)), variant("l", counted(6))], ..product("a") }
    }

    fn decided(changes: Vec<Change>) -> (Vec<Outcome>, Catalog) {
        let mut batch = Batch::new(Catalog::default());
        changes.into_iter().for_each(|change| batch.push(change, 1234));
        (batch.outcomes.into_iter().map(|outcome| outcome.expect("taken")).collect(), batch.catalog)
    }

    #[test]
    fn changes_by_table() {
        let cases: [(&str, Vec<Change>, Vec<Outcome>, u64); 14] = [
            (
                "new, again, other",
                vec![upsert(titled("x")), upsert(titled("x")), upsert(titled("y"))],
                vec![Created, Unchanged, Updated(Parts::TEXT)],
                2,
            ),
            ("deleted twice", vec![upsert(titled("x")), delete_by(None), delete_by(None)], vec![Created, Deleted, NotFound], 2),
            (
                "the same run deletes twice",
                vec![upsert(titled("x")), delete_by(Some(RUN)), delete_by(Some(RUN))],
                vec![Created, Deleted, Deleted],
                2,
            ),
            (
                "another run finds nothing to delete",
                vec![upsert(titled("x")), delete_by(Some(RUN)), delete_by(Some(RunId(8)))],
                vec![Created, Deleted, NotFound],
                2,
            ),
            (
                "back again, and the revision goes on",
                vec![upsert(titled("x")), delete_by(None), upsert(titled("x"))],
                vec![Created, Deleted, Created],
                3,
            ),
            ("delete what never was", vec![delete_by(Some(RUN))], vec![NotFound], 0),
            ("an offer for what never was", vec![offer(None, priced(1))], vec![NotFound], 0),
            (
                "an offer for what is gone",
                vec![upsert(titled("x")), delete_by(None), offer(None, priced(1))],
                vec![Created, Deleted, NotFound],
                2,
            ),
            (
                "an offer for a variant that is not there",
                vec![upsert(with_variants()), offer(Some("xl"), priced(1))],
                vec![Created, NotFound],
                1,
            ),
            (
                "a price",
                vec![upsert(titled("x")), offer(None, priced(1)), offer(None, priced(1))],
                vec![Created, Updated(Parts::PRICE), Unchanged],
                2,
            ),
            (
                "a stock",
                vec![upsert(titled("x")), offer(None, Offer { quantity: Some(0), ..Offer::default() })],
                vec![Created, Updated(Parts::STOCK)],
                2,
            ),
            (
                "a variant's price",
                vec![upsert(with_variants()), offer(Some("m"), Offer { quantity: Some(4), ..priced(1) })],
                vec![Created, Updated(Parts::PRICE)],
                2,
            ),
            (
                "an upsert after an offer",
                vec![upsert(titled("x")), offer(None, priced(1)), upsert(titled("x"))],
                vec![Created, Updated(Parts::PRICE), Updated(Parts::PRICE)],
                3,
            ),
            (
                "another source takes over",
                vec![upsert(titled("x")), upsert_by(titled("x"), "outlet", None)],
                vec![Created, Updated(Parts::NONE)],
                2,
            ),
        ];
        for (name, changes, expected, revision) in cases {
            let (outcomes, catalog) = decided(changes);
            assert_eq!((outcomes, catalog.revision("a")), (expected, revision), "{name}");
        }
    }

    #[test]
    fn a_revision_knows_its_run_its_source_and_its_time() {
        let (_, catalog) = decided(vec![upsert_by(titled("x"), "outlet", Some(RUN))]);
        let known = catalog.get("a").expect("there");
        assert_eq!((known.last_run, &*known.source, known.changed_at_ms), (Some((RUN, Created)), "outlet", 1234));
        let (_, catalog) = decided(vec![upsert(titled("x")), upsert_by(titled("y"), "shop", Some(RUN)), upsert(titled("y"))]);
        assert_eq!(catalog.get("a").expect("there").last_run, Some((RUN, Updated(Parts::TEXT))), "what changes nothing leaves it");
    }

    #[test]
    fn an_offer_keeps_the_hashes_that_it_does_not_touch() {
        let foreign = PartHashes { text: domain::ContentHash([7; 16]), ..PartHashes::of(&titled("x")) };
        let as_hashed = Change::Upsert { product: Arc::new(titled("x")), hashes: foreign, source: "shop".into(), run: None };
        let (outcomes, catalog) = decided(vec![as_hashed, offer(None, priced(3))]);
        assert_eq!(outcomes, [Created, Updated(Parts::PRICE)]);
        assert_eq!(catalog.get("a").expect("there").hashes.text, foreign.text);
    }

    #[test]
    fn an_offer_for_the_whole_speaks_for_every_variant() {
        let none_left = Offer { availability: Availability::OutOfStock, ..Offer::default() };
        let (_, catalog) = decided(vec![upsert(with_variants()), offer(None, none_left.clone())]);
        let known = catalog.get("a").expect("there");
        assert!(!known.product.is_available());
        let variants: Vec<_> = known.product.variants.iter().map(|variant| variant.offer.clone()).collect();
        let gone = |amount| Offer { availability: Availability::OutOfStock, ..priced(amount) };
        assert_eq!((&known.product.offer, variants), (&none_left, vec![gone(5), gone(6)]), "an offer without a price leaves the prices");

        let back = Offer { quantity: Some(9), ..priced(3) };
        let (_, catalog) = decided(vec![upsert(with_variants()), offer(None, none_left), offer(None, back.clone())]);
        let known = catalog.get("a").expect("there");
        assert_eq!(known.product.offer, back);
        assert!(known.product.variants.iter().all(|variant| variant.offer == priced(3)));
    }
}
