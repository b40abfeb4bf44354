//! The catalog as a value: persistent maps, so that a copy is free, a draft can be thrown away and a snapshot never changes.
//!
//! A product stays sealed in memory, byte for byte as it stands in the store: that takes less than half the room of its
//! strings and maps, and opening it costs a reader a few microseconds.

use std::ops::Bound;
use std::sync::Arc;

use domain::{PartHashes, Product, ProductId};
use imbl::{OrdMap, OrdSet};
use protocol::catalog::{CatalogSnapshot, Outcome, ProductRevision};
use protocol::journal::CatalogChange;
use store::Record;

use crate::logic::edges::Edges;
use crate::records::{CatalogRecord, Tombstone};

/// A product in memory: its sealed record, and in the open what is compared on every write.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) revision: u64,
    pub(crate) hashes: PartHashes,
    pub(crate) source: Arc<str>,
    value: Box<[u8]>,
}

impl Kept {
    fn open(&self, id: &ProductId) -> Option<Arc<ProductRevision>> {
        // It was sealed here, or checked when it was read: it always opens.
        match CatalogRecord::unseal(id.as_str().as_bytes(), &self.value) {
            Ok(CatalogRecord::Live(product)) => Some(product),
            Ok(CatalogRecord::Deleted(_)) | Err(_) => None,
        }
    }
}

/// All products, what is left of the deleted ones, and the edges between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    version: u64,
    products: OrdMap<ProductId, Arc<Kept>>,
    tombstones: OrdMap<ProductId, Tombstone>,
    groups: Edges,
    images: Edges,
    /// One allocation for each source's name, shared by its products.
    sources: OrdSet<Arc<str>>,
}

impl Catalog {
    /// The journal offset up to which changes are in here.
    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// A product's latest revision, deleted or not; 0 for one that never was.
    pub(crate) fn revision(&self, id: &str) -> u64 {
        let live = self.products.get(id).map(|product| product.revision);
        live.or_else(|| self.tombstones.get(id).map(|tombstone| tombstone.revision)).unwrap_or(0)
    }

    pub(crate) fn kept(&self, id: &str) -> Option<&Kept> {
        self.products.get(id).map(|kept| &**kept)
    }

    /// Whether the same products, tombstones and edges are in here; how they came here may differ.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let parts = |catalog: &Self| (catalog.products.clone(), catalog.tombstones.clone(), catalog.groups.clone(), catalog.images.clone());
        parts(self) == parts(other)
    }

    pub(crate) fn tombstone(&self, id: &str) -> Option<&Tombstone> {
        self.tombstones.get(id)
    }

    /// What a change from the journal makes of its product; `None` when that revision, or a newer one, is here already.
    pub(crate) fn resolve(&self, change: CatalogChange) -> Option<CatalogRecord> {
        let CatalogChange { id, revision, parts, product, hashes, source, run, changed_at_ms } = change;
        if revision <= self.revision(id.as_str()) {
            return None;
        }
        let Some(product) = product else {
            return Some(CatalogRecord::Deleted(Tombstone { revision, run }));
        };
        let outcome = if self.products.contains_key(&id) { Outcome::Updated(parts) } else { Outcome::Created };
        let last_run = run.map(|run| (run, outcome));
        Some(CatalogRecord::Live(Arc::new(ProductRevision { product, revision, hashes, source: source.into(), last_run, changed_at_ms })))
    }

    /// Puts a record in its product's place and sets the edges right. `value` is the record as it is sealed for the store.
    pub(crate) fn insert(&mut self, id: &ProductId, record: &CatalogRecord, value: &[u8]) {
        // One allocation of the id for the map and its edges.
        let id = self.products.get_key_value(id).map_or(id, |(known, _)| known).clone();
        let before = self.get(id.as_str());
        let product_before = before.as_deref().map(|before| &before.product);
        match record {
            CatalogRecord::Live(after) => {
                self.set_edges(&id, product_before, Some(&after.product));
                self.tombstones.remove(&id);
                let source = self.intern(&after.source);
                let kept = Kept { revision: after.revision, hashes: after.hashes, source, value: value.into() };
                self.products.insert(id, Arc::new(kept));
            }
            CatalogRecord::Deleted(tombstone) => {
                self.set_edges(&id, product_before, None);
                self.products.remove(&id);
                self.tombstones.insert(id, tombstone.clone());
            }
        }
    }

    fn set_edges(&mut self, id: &ProductId, before: Option<&Product>, after: Option<&Product>) {
        let group = |product: Option<&Product>| product.and_then(|product| product.group_id.clone());
        if group(before) != group(after) {
            group(before).inspect(|group| self.groups.remove(group, id));
            group(after).inspect(|group| self.groups.insert(group, id));
        }
        // Most changes are of price or stock, and leave the pictures as they are.
        if !before.into_iter().flat_map(images).eq(after.into_iter().flat_map(images)) {
            before.into_iter().flat_map(images).for_each(|image| self.images.remove(image, id));
            after.into_iter().flat_map(images).for_each(|image| self.images.insert(image, id));
        }
    }

    fn intern(&mut self, source: &str) -> Arc<str> {
        if let Some(known) = self.sources.get(source) {
            return Arc::clone(known);
        }
        let source: Arc<str> = source.into();
        self.sources.insert(Arc::clone(&source));
        source
    }
}

/// The pictures of a product and of its variants.
fn images(product: &Product) -> impl Iterator<Item = &str> {
    product.images.iter().chain(product.variants.iter().flat_map(|variant| &variant.images)).map(|image| image.0.as_str())
}

impl CatalogSnapshot for Catalog {
    fn version(&self) -> u64 {
        self.version
    }

    fn len(&self) -> usize {
        self.products.len()
    }

    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.products.get_key_value(id).and_then(|(id, kept)| kept.open(id))
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.products.range::<_, str>((behind, Bound::Unbounded)).take(limit).filter_map(|(id, kept)| kept.open(id)).collect()
    }

    fn group(&self, group_id: &str) -> Vec<ProductId> {
        self.groups.to(group_id)
    }

    fn products_with_image(&self, image: &str) -> Vec<ProductId> {
        self.images.to(image)
    }
}

#[cfg(test)]
mod tests {
    use domain::{ImageRef, Offer};
    use proptest::prelude::*;

    use super::*;
    use crate::logic::batch::Batch;
    use crate::testing::{any_changes, id, product, upsert, variant};

    fn after(changes: Vec<protocol::catalog::Change>) -> Catalog {
        let mut batch = Batch::new(Catalog::default());
        changes.into_iter().for_each(|change| batch.push(change, 0));
        batch.catalog
    }

    fn ids(products: &[Arc<ProductRevision>]) -> Vec<&str> {
        products.iter().map(|known| known.product.id.as_str()).collect()
    }

    #[test]
    fn pages_follow_one_another_in_id_order() {
        let catalog = after(["b", "a", "\u{fc}", "c"].map(|name| upsert(product(name))).into());
        assert_eq!(ids(&catalog.page(None, 2)), ["a", "b"]);
        assert_eq!(ids(&catalog.page(Some("b"), 2)), ["c", "\u{fc}"]);
        assert_eq!(ids(&catalog.page(Some("bb"), 1)), ["c"], "the id behind which a page starts need not exist");
        assert!(catalog.page(Some("\u{fc}"), 2).is_empty() && catalog.page(None, 0).is_empty());
        assert_eq!(catalog.len(), 4);
    }

    #[test]
    fn edges_follow_updates_and_deletes() {
        let shaped = |name: &str, group: Option<&str>, image: &str| {
            let mut shaped = product(name);
            shaped.group_id = group.map(str::to_owned);
            shaped.variants = vec![variant("m", Offer::default())];
            shaped.variants[0].images = vec![ImageRef(image.to_owned())];
            shaped
        };
        let first = [upsert(shaped("a", Some("pair"), "shared")), upsert(shaped("b", Some("pair"), "shared"))];
        let mut catalog = after(first.to_vec());
        assert_eq!(catalog.group("pair"), [id("a"), id("b")]);
        assert_eq!(catalog.products_with_image("shared"), [id("a"), id("b")]);
        assert_eq!(catalog.products_with_image("https://shop.example/a.jpg"), [id("a")]);

        let mut batch = Batch::new(catalog);
        batch.push(upsert(shaped("a", None, "other")), 0);
        batch.push(protocol::catalog::Change::Delete { id: id("b"), run: None }, 0);
        catalog = batch.catalog;
        assert_eq!(catalog.group("pair"), []);
        assert_eq!(catalog.products_with_image("shared"), []);
        assert_eq!(catalog.products_with_image("other"), [id("a")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Edges are those of the products, whatever happened before; and a snapshot taken on the way does not change.
        #[test]
        fn edges_are_exactly_those_of_the_products(changes in any_changes(30), taken_at in 0..30_usize) {
            let mut batch = Batch::new(Catalog::default());
            let mut taken = None;
            for (index, change) in changes.iter().enumerate() {
                if index == taken_at {
                    taken = Some((batch.catalog.clone(), format!("{:?}", batch.catalog)));
                }
                batch.push(change.clone(), 0);
            }
            let mut rebuilt = Catalog::default();
            for (id, kept) in &batch.catalog.products {
                rebuilt.insert(id, &CatalogRecord::Live(kept.open(id).expect("it opens")), &kept.value);
            }
            for (id, tombstone) in &batch.catalog.tombstones {
                rebuilt.insert(id, &CatalogRecord::Deleted(tombstone.clone()), &[]);
            }
            prop_assert!(rebuilt.is_same(&batch.catalog));
            if let Some((snapshot, shown)) = taken {
                prop_assert_eq!(format!("{:?}", snapshot), shown);
            }
        }
    }
}
