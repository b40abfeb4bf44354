//! What stands in Watchtower's place in tests: a small catalog that decides as Watchtower's contract says.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{ImageRef, Offer, PartHashes, Parts, Product, ProductId};
use protocol::catalog::{CatalogError, CatalogReader, CatalogSnapshot, Change, Outcome, ProductRevision};
use protocol::ingest::RunId;

/// A catalog; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shop(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    version: u64,
    products: BTreeMap<ProductId, Arc<ProductRevision>>,
}

/// Product `number`, whose text depends on `version`.
pub(crate) fn product(number: u8, version: u8) -> Product {
    let images = vec![ImageRef(format!("https://shop.example/{number}.jpg"))];
    Product { images, ..Product::new(format!("p{number}").parse().expect("an id"), format!("Shoe, version {version}")) }
}

/// Product `number` with a count of pieces in stock.
pub(crate) fn stocked(number: u8, quantity: u32) -> Product {
    Product { offer: Offer { quantity: Some(quantity), ..Offer::default() }, ..product(number, 0) }
}

impl Shop {
    pub(crate) fn upsert(product: Product, source: &str, run: Option<RunId>) -> Change {
        Change::Upsert { hashes: PartHashes::of(&product), product: Arc::new(product), source: source.into(), run }
    }

    pub(crate) fn apply(&self, changes: Vec<Change>) -> Vec<Result<Outcome, CatalogError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().map(|change| Ok(state.apply(change))).collect()
    }
}

impl State {
    fn apply(&mut self, change: Change) -> Outcome {
        let outcome = match change {
            Change::Upsert { product, hashes, source, run } => {
                let before = self.products.get(&product.id);
                let parts = before.map_or(Parts::ALL, |before| before.hashes.difference(&hashes));
                if parts.is_empty() && before.is_some_and(|before| before.source == source) {
                    return Outcome::Unchanged;
                }
                let outcome = if before.is_some() { Outcome::Updated(parts) } else { Outcome::Created };
                let revision = before.map_or(0, |before| before.revision) + 1;
                let (id, product) = (product.id.clone(), Arc::unwrap_or_clone(product));
                let last_run = run.map(|run| (run, outcome));
                self.products.insert(id, Arc::new(ProductRevision { product, revision, hashes, source, last_run, changed_at_ms: 0 }));
                outcome
            }
            Change::Delete { id, .. } if self.products.remove(&id).is_some() => Outcome::Deleted,
            Change::Delete { .. } | Change::Offer { .. } => return Outcome::NotFound,
        };
        self.version += 1;
        outcome
    }
}

impl CatalogReader for Shop {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl CatalogSnapshot for State {
    fn version(&self) -> u64 {
        self.version
    }

    fn len(&self) -> usize {
        self.products.len()
    }

    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.products.get(id).cloned()
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.products.range::<str, _>((after, Bound::Unbounded)).take(limit).map(|(_, product)| Arc::clone(product)).collect()
    }

    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }

    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}
