//! The facts of products at hand: from the catalog as it is now and the embeddings that there are by now, kept until the product
//! changes or some time has passed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::{EventItem, ProductId};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use protocol::vision::{Space, VisionReader};

use crate::logic::facts::Known;

#[derive(Clone)]
struct Entry {
    known: Arc<Known>,
    /// `None` for a product that is not in the catalog.
    revision: Option<u64>,
    at: Instant,
}

/// Two generations: what is used while the newer one fills stays, the rest leaves when it is full.
#[derive(Default)]
struct Generations {
    newer: HashMap<ProductId, Entry>,
    older: HashMap<ProductId, Entry>,
}

/// The facts of products.
pub(crate) struct Shelf {
    catalog: Arc<dyn CatalogReader>,
    vision: Arc<dyn VisionReader>,
    generations: RwLock<Generations>,
    facts_max: usize,
    age_max: Duration,
}

impl Shelf {
    pub(crate) fn new(catalog: Arc<dyn CatalogReader>, vision: Arc<dyn VisionReader>, facts_max: usize, age_max: Duration) -> Self {
        Self { catalog, vision, generations: RwLock::default(), facts_max, age_max }
    }

    /// What is known of each of these products.
    pub(crate) fn of(&self, products: &[&ProductId]) -> Vec<Arc<Known>> {
        let (catalog, now) = (self.catalog.snapshot(), Instant::now());
        let revisions: Vec<Option<u64>> =
            products.iter().map(|product| catalog.get(product.as_str()).map(|known| known.revision)).collect();
        let mut found: Vec<Option<Arc<Known>>> = Vec::with_capacity(products.len());
        let mut moving: Vec<(ProductId, Entry)> = Vec::new();
        {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            for (product, revision) in products.iter().zip(&revisions) {
                let is_good = |entry: &&Entry| entry.revision == *revision && now.duration_since(entry.at) < self.age_max;
                let newer = generations.newer.get(*product).filter(is_good);
                let older =
                    || generations.older.get(*product).filter(is_good).inspect(|entry| moving.push(((*product).clone(), (*entry).clone())));
                found.push(newer.or_else(older).map(|entry| Arc::clone(&entry.known)));
            }
        }
        let mut all = Vec::with_capacity(products.len());
        for ((product, revision), found) in products.iter().zip(revisions).zip(found) {
            all.push(found.unwrap_or_else(|| {
                let known = Arc::new(self.load(&*catalog, product));
                moving.push(((*product).clone(), Entry { known: Arc::clone(&known), revision, at: now }));
                known
            }));
        }
        if !moving.is_empty() {
            self.keep(moving);
        }
        all
    }

    /// What is known of the product of an event, and of the variant and the price that the event names.
    pub(crate) fn of_item(&self, item: &EventItem) -> Arc<Known> {
        let known = self.of(&[&item.product]).pop().unwrap_or_default();
        if !known.lacks(item.variant.as_deref(), item.price) {
            return known;
        }
        let product = self.catalog.snapshot().get(item.product.as_str());
        let own = product.map_or_else(|| Known::clone(&known), |product| Known::of(&product.product, item.variant.as_deref()));
        Arc::new(own.or_price(item.price).with(known.image.clone(), known.text.clone()))
    }

    fn load(&self, catalog: &dyn CatalogSnapshot, product: &ProductId) -> Known {
        let Some(known) = catalog.get(product.as_str()) else { return Known::nothing(product.as_str()) };
        let first = |space| self.vision.vectors(product.as_str(), space).into_iter().next().map(|embedding| embedding.vector);
        Known::of(&known.product, None).with(first(Space::Image), first(Space::Text))
    }

    fn keep(&self, entries: Vec<(ProductId, Entry)>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        for (product, entry) in entries {
            if generations.newer.len() >= self.facts_max / 2 {
                generations.older = std::mem::take(&mut generations.newer);
            }
            generations.newer.insert(product, entry);
        }
    }

    /// Products at hand.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.newer.len() + generations.older.len()
    }
}
