//! The facts of products at hand: from the catalog as it is now and the embeddings that there are by now, kept until the product
//! changes or some time has passed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::{EventItem, ProductId, Shopper};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use protocol::releases::ReleaseReader;
use protocol::vision::{ModelInfo, Space, VisionReader};
use taste::Id;

use crate::logic::facts::{Embedded, Known};
use crate::logic::ids::id;

/// The models by whose embeddings facts are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Models {
    models: Vec<ModelInfo>,
    /// Tells them from others.
    key: Id,
}

impl Models {
    pub(crate) fn of(models: Vec<ModelInfo>) -> Self {
        let names: Vec<&str> = models.iter().map(|model| model.fingerprint.as_str()).collect();
        Self { key: id(&names.join("/")), models }
    }
}

#[derive(Clone)]
struct Entry {
    known: Arc<Known>,
    /// `None` for a product that is not in the catalog.
    revision: Option<u64>,
    at: Instant,
}

/// Facts by the models of their embeddings.
type ByModels = HashMap<Id, HashMap<ProductId, Entry>>;

/// Two generations: what is used while the newer one fills stays, the rest leaves when it is full.
#[derive(Default)]
struct Generations {
    newer: ByModels,
    /// Entries of the newer one.
    newer_len: usize,
    older: ByModels,
}

/// The facts of products.
pub(crate) struct Shelf {
    catalog: Arc<dyn CatalogReader>,
    vision: Arc<dyn VisionReader>,
    releases: Arc<dyn ReleaseReader>,
    generations: RwLock<Generations>,
    facts_max: usize,
    age_max: Duration,
}

impl Shelf {
    pub(crate) fn new(
        catalog: Arc<dyn CatalogReader>,
        vision: Arc<dyn VisionReader>,
        releases: Arc<dyn ReleaseReader>,
        facts_max: usize,
        age_max: Duration,
    ) -> Self {
        Self { catalog, vision, releases, generations: RwLock::default(), facts_max, age_max }
    }

    /// The models of the release that serves a shopper; of the live one where there is none.
    pub(crate) fn models(&self, shopper: Option<&Shopper>) -> Models {
        let (ledger, kept) = (self.releases.ledger(), self.vision.kept());
        let release = shopper.map_or_else(|| ledger.commissioner(), |shopper| ledger.serving(shopper.as_str(), &kept));
        Models::of(
            release.into_iter().flat_map(|release| release.definition.models()).filter(|model| kept.contains(model)).cloned().collect(),
        )
    }

    /// What is known of each of these products, with embeddings by these models.
    pub(crate) fn of(&self, models: &Models, products: &[&ProductId]) -> Vec<Arc<Known>> {
        let (catalog, now) = (self.catalog.snapshot(), Instant::now());
        let revisions: Vec<Option<u64>> =
            products.iter().map(|product| catalog.get(product.as_str()).map(|known| known.revision)).collect();
        let mut found: Vec<Option<Arc<Known>>> = Vec::with_capacity(products.len());
        let mut moving: Vec<(ProductId, Entry)> = Vec::new();
        {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            let [newer, older] = [&generations.newer, &generations.older].map(|generation| generation.get(&models.key));
            for (product, revision) in products.iter().zip(&revisions) {
                let is_good = |entry: &&Entry| entry.revision == *revision && now.duration_since(entry.at) < self.age_max;
                let from = |generation: Option<&HashMap<ProductId, Entry>>| generation?.get(*product).filter(is_good).cloned();
                let again = |entry: &Entry| moving.push(((*product).clone(), entry.clone()));
                found.push(from(newer).or_else(|| from(older).inspect(again)).map(|entry| Arc::clone(&entry.known)));
            }
        }
        let mut all = Vec::with_capacity(products.len());
        for ((product, revision), found) in products.iter().zip(revisions).zip(found) {
            all.push(found.unwrap_or_else(|| {
                let known = Arc::new(self.load(&*catalog, models, product));
                moving.push(((*product).clone(), Entry { known: Arc::clone(&known), revision, at: now }));
                known
            }));
        }
        if !moving.is_empty() {
            self.keep(models.key, moving);
        }
        all
    }

    /// What is known of the product of an event, and of the variant and the price that the event names.
    pub(crate) fn of_item(&self, models: &Models, item: &EventItem) -> Arc<Known> {
        let known = self.of(models, &[&item.product]).pop().unwrap_or_default();
        if !known.lacks(item.variant.as_deref(), item.price) {
            return known;
        }
        let product = self.catalog.snapshot().get(item.product.as_str());
        let own = product.map_or_else(|| Known::clone(&known), |product| Known::of(&product.product, item.variant.as_deref()));
        Arc::new(own.or_price(item.price).with(known.image.clone(), known.text.clone()))
    }

    fn load(&self, catalog: &dyn CatalogSnapshot, models: &Models, product: &ProductId) -> Known {
        let Some(known) = catalog.get(product.as_str()) else { return Known::nothing(product.as_str()) };
        let first = |space: Space| {
            let model = models.models.iter().find(|model| model.space == space)?;
            let embedding = self.vision.vectors_by(model, product.as_str()).into_iter().next()?;
            Some(Embedded { model: id(&model.fingerprint), vector: embedding.vector })
        };
        Known::of(&known.product, None).with(first(Space::Image), first(Space::Text))
    }

    fn keep(&self, models: Id, entries: Vec<(ProductId, Entry)>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        for (product, entry) in entries {
            if generations.newer_len >= self.facts_max / 2 {
                generations.older = std::mem::take(&mut generations.newer);
                generations.newer_len = 0;
            }
            let before = generations.newer.entry(models).or_default().insert(product, entry);
            generations.newer_len += usize::from(before.is_none());
        }
    }

    /// Products at hand.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.newer.values().chain(generations.older.values()).map(HashMap::len).sum()
    }
}
