//! Products and changes for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Availability, ImageRef, Money, Offer, PartHashes, Product, ProductId, Variant};
use proptest::prelude::*;
use protocol::catalog::Change;
use protocol::ingest::RunId;
use protocol::journal::KIND_CATALOG_CHANGE;
use store::JournalEntry;

use crate::logic::batch::Write;

pub(crate) fn id(text: &str) -> ProductId {
    text.parse().expect("an id")
}

pub(crate) fn euros(amount: i64) -> Option<Money> {
    Some(Money { amount_e4: amount * 10_000, currency: "EUR".parse().expect("a currency") })
}

/// A product with a picture of its own.
pub(crate) fn product(name: &str) -> Product {
    let mut product = Product::new(id(name), "Shoe");
    product.images = vec![ImageRef(format!("https://shop.example/{name}.jpg"))];
    product
}

pub(crate) fn variant(name: &str, offer: Offer) -> Variant {
    Variant { id: name.to_owned(), sku: None, gtin: None, title: None, options: BTreeMap::new(), images: Vec::new(), offer }
}

pub(crate) fn upsert(product: Product) -> Change {
    upsert_by(product, "shop", None)
}

pub(crate) fn upsert_by(product: Product, source: &str, run: Option<RunId>) -> Change {
    let hashes = PartHashes::of(&product);
    Change::Upsert { product: Arc::new(product), hashes, source: source.into(), run }
}

/// The journal that writes leave.
pub(crate) fn entries(writes: &[Write]) -> Vec<JournalEntry> {
    let entry = |(offset, write): (usize, &Write)| JournalEntry {
        offset: offset as u64,
        kind: KIND_CATALOG_CHANGE,
        written_at_ms: 0,
        body: write.journal.clone().into(),
    };
    writes.iter().enumerate().map(entry).collect()
}

prop_compose! {
    fn any_offer()(amount in 0..3_i64, is_out in any::<bool>(), quantity in prop::option::of(0..3_u32)) -> Offer {
        let availability = if is_out { Availability::OutOfStock } else { Availability::InStock };
        Offer { price: euros(amount).filter(|_| amount > 0), sale_price: None, availability, quantity }
    }
}

prop_compose! {
    fn any_product(name: &'static str)(
        title in 0..2_usize,
        group in prop::option::of(0..2_usize),
        images in prop::collection::vec(0..4_usize, 0..3),
        offer in any_offer(),
        variants in prop::collection::vec((any_offer(), prop::option::of(0..4_usize)), 0..3),
    ) -> Product {
        let image = |image| ImageRef(format!("https://shop.example/{image}.jpg"));
        let mut product = Product::new(id(name), ["Shoe", "Boot"][title]);
        product.group_id = group.map(|group| ["pair", "set"][group].to_owned());
        product.images = images.into_iter().map(image).collect();
        product.offer = offer;
        for (index, (offer, own)) in variants.into_iter().enumerate() {
            product.variants.push(Variant { images: own.map(image).into_iter().collect(), ..variant(&index.to_string(), offer) });
        }
        product
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let run = prop::option::of((1..3_u128).prop_map(RunId));
    (name, run).prop_flat_map(|(name, run)| {
        let source = prop::sample::select(vec!["shop", "outlet"]);
        let variant = prop::option::of(prop::sample::select(vec!["0", "1", "9"]));
        prop_oneof![
            4 => (any_product(name), source).prop_map(move |(product, source)| upsert_by(product, source, run)),
            2 => (variant, any_offer()).prop_map(move |(variant, offer)| Change::Offer { id: id(name), variant: variant.map(str::to_owned), offer }),
            1 => Just(Change::Delete { id: id(name), run }),
        ]
    })
}

/// Changes of a few products over and over.
pub(crate) fn any_changes(changes_max: usize) -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(any_change(), 0..changes_max)
}
