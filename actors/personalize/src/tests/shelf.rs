//! The facts of products at hand, as the catalog and the embeddings change.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{EventItem, Money, ProductId};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};

use super::stage::{Catalog, Releases, Vision, model, product};
use crate::effects::shelf::{Models, Shelf};

const LONG: Duration = Duration::from_secs(3600);

/// A catalog that changes.
#[derive(Default)]
struct Changing(Mutex<Catalog>);

impl CatalogReader for Changing {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(self.0.lock().expect("whole").clone())
    }
}

/// Embeddings that come when they are ready, and how often they were looked up.
#[derive(Default)]
struct Late {
    length: AtomicUsize,
    lookups: AtomicUsize,
}

impl VisionReader for Late {
    fn models(&self) -> Vec<ModelInfo> {
        vec![model("m", 8), model("other", 8)]
    }
    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let vectors = self.vectors(product, model.space).into_iter();
        let turned = |mut vector: Vec<f32>| {
            if model.fingerprint == "other" {
                vector.reverse();
            }
            vector
        };
        vectors.map(|embedding| Embedding { vector: turned(embedding.vector.to_vec()).into(), ..embedding }).collect()
    }
    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        Vision { image_length: self.length.load(Ordering::Relaxed), text_length: 0 }.vectors(product, space)
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}

fn names(count: usize) -> Vec<ProductId> {
    (0..count).map(|n| format!("red {n}").parse().expect("an id")).collect()
}

fn shelf(age_max: Duration) -> (Shelf, Arc<Changing>, Arc<Late>) {
    let (catalog, vision) = (Arc::new(Changing::default()), Arc::new(Late::default()));
    *catalog.0.lock().expect("whole") = Catalog::new(names(100).iter().map(|name| product(name.as_str())));
    (Shelf::new(catalog.clone(), vision.clone(), Releases::first(&[model("m", 8)]), 40, age_max), catalog, vision)
}

/// The live model.
fn own() -> Models {
    Models::of(vec![model("m", 8)])
}

#[test]
fn facts_are_told_by_the_models_that_are_asked_and_kept_apart() {
    let (shelf, _, vision) = shelf(LONG);
    vision.length.store(8, Ordering::Relaxed);
    let names = names(1);
    let other = Models::of(vec![model("other", 8)]);
    for _ in 0..3 {
        let [one, two] = [&own(), &other].map(|models| shelf.of(models, &[&names[0]]).remove(0));
        let reversed: Vec<f32> = two.facts().image.iter().rev().copied().collect();
        assert_eq!(one.facts().image, reversed);
        assert!(one.facts().image_model != two.facts().image_model && one.facts().image_model != 0);
    }
    assert_eq!((vision.lookups.load(Ordering::Relaxed), shelf.len()), (2, 2), "once by each");
    assert!(shelf.of(&Models::default(), &[&names[0]])[0].facts().image.is_empty());
}

#[test]
fn facts_are_looked_up_once_until_the_product_changes() {
    let (shelf, catalog, vision) = shelf(LONG);
    let names = names(3);
    let products: Vec<&ProductId> = names.iter().collect();
    let first = shelf.of(&own(), &products);
    assert_eq!((shelf.of(&own(), &products) == first, vision.lookups.load(Ordering::Relaxed)), (true, 3));
    let mut changed = product("red 1");
    changed.brand = Some("Acme".into());
    *catalog.0.lock().expect("whole") = Catalog::at_revision(2, [changed]);
    let second = shelf.of(&own(), &products);
    assert!(second[1].facts().brand.is_some() && first[1].facts().brand.is_none());
    assert!(second[0].facts().kind.is_none(), "it is gone from the catalog");
    assert_eq!(second[0].item, first[0].item);
}

#[test]
fn an_embedding_is_taken_up_when_it_has_come() {
    for (age_max, expected) in [(LONG, 0), (Duration::ZERO, 8)] {
        let (shelf, _, vision) = shelf(age_max);
        let names = names(1);
        assert_eq!(shelf.of(&own(), &[&names[0]])[0].facts().image.len(), 0);
        vision.length.store(8, Ordering::Relaxed);
        assert_eq!(shelf.of(&own(), &[&names[0]])[0].facts().image.len(), expected, "{age_max:?}");
    }
}

#[test]
fn the_shelf_is_bounded_and_keeps_what_is_used() {
    let (shelf, _, vision) = shelf(LONG);
    let names = names(100);
    for name in &names[1..] {
        shelf.of(&own(), &[&names[0], name]);
        assert!(shelf.len() <= 40, "{}", shelf.len());
    }
    assert_eq!(vision.lookups.load(Ordering::Relaxed), names.len(), "the first was never looked up again");
}

#[test]
fn an_event_says_more_of_a_product_than_the_catalog() {
    let (shelf, _, vision) = shelf(LONG);
    vision.length.store(4, Ordering::Relaxed);
    let price = Some(Money { amount_e4: 30_000, currency: "EUR".parse().expect("a currency") });
    let item = |name: &str| EventItem { product: name.parse().expect("an id"), variant: None, quantity: 1, price, position: None };
    let known = shelf.of_item(&own(), &item("red 1"));
    assert_eq!((known.facts().price, known.facts().image.len()), (Some(3.0), 4));
    assert_eq!(shelf.of_item(&own(), &item("nowhere")).facts().price, Some(3.0));
}
