//! Batman's neighbours: a catalog and a vision store that a test sets, and a real journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{PartHashes, Parts, Product, ProductId};
use kit::{Address, Context, Mail, Priority, Scene};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::releases::{Command, Definition, Ledger, Order, ReleaseReader, Settings};
use protocol::search::{QueryVector, SearchAnswer, SearchError, SearchMsg, SearchQuery, Searcher, VectorEntry};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};
use ractor::ActorRef;
use store::{Journal, JournalConfig, NewRecord, Record};
use tempfile::TempDir;

use crate::{Args, Batman, Config, GpuUse, View};

/// Numbers in the vectors of these tests.
pub(super) const DIMENSIONS: usize = 4;

pub(super) fn product(id: &str, title: &str) -> Product {
    Product::new(id.parse().expect("an id"), title)
}

/// The unit vector along one axis.
pub(super) fn axis(axis: usize) -> Arc<[f32]> {
    (0..DIMENSIONS).map(|at| if at == axis { 1.0 } else { 0.0 }).collect()
}

/// Half-way between two axes, not of length 1.
pub(super) fn between(one: usize, other: usize) -> Arc<[f32]> {
    (0..DIMENSIONS).map(|at| if at == one || at == other { 3.0 } else { 0.0 }).collect()
}

pub(super) struct House {
    pub(super) dir: TempDir,
    pub(super) config: Config,
    pub(super) journal: Journal,
    pub(super) catalog: Arc<Catalog>,
    pub(super) vision: Arc<Vision>,
    pub(super) view: Arc<View>,
    pub(super) address: Address<SearchMsg>,
}

impl House {
    pub(super) fn new() -> Self {
        Self::reopen(tempfile::tempdir().expect("a folder"), Arc::default(), Arc::default())
    }

    /// The process starts again on the same folder.
    pub(super) fn reopen(dir: TempDir, catalog: Arc<Catalog>, vision: Arc<Vision>) -> Self {
        Self::with_gpu(dir, catalog, vision, GpuUse::Off)
    }

    pub(super) fn with_gpu(dir: TempDir, catalog: Arc<Catalog>, vision: Arc<Vision>, gpu: GpuUse) -> Self {
        let config = Config { search_threads: 1, commit_interval_ms_max: 0, gpu, ..Config::default() };
        let journal = Journal::open(&dir.path().join("journal"), JournalConfig::default()).expect("the journal opens");
        let view = View::open(&config).expect("search threads");
        Self { dir, config, journal, catalog, vision, view, address: Address::new(crate::NAME, 64) }
    }

    pub(super) async fn start(&self, scene: &mut Scene) -> ActorRef<Mail<SearchMsg>> {
        let args = Args {
            config: self.config.clone(),
            keywords_dir: self.dir.path().join("keywords"),
            spaces_dir: self.dir.path().join("spaces"),
            journal: self.journal.clone(),
            catalog: self.catalog.clone(),
            vision: self.vision.clone(),
            releases: self.vision.clone(),
            view: self.view.clone(),
        };
        scene.spawn_at(&self.address, Batman, args).await
    }

    /// A change as Watchtower makes it: journal first, then the snapshot.
    pub(super) async fn put(&self, product: Product, parts: Parts) {
        let id = product.id.clone();
        self.append(Some(product.clone()), id.as_str(), parts).await;
        self.catalog.put(product);
    }

    pub(super) async fn delete(&self, id: &str) {
        self.append(None, id, Parts::ALL).await;
        self.catalog.remove(id);
    }

    pub(super) async fn append(&self, product: Option<Product>, id: &str, parts: Parts) {
        let change = CatalogChange {
            id: id.parse().expect("an id"),
            revision: 1,
            parts,
            product,
            hashes: PartHashes::default(),
            source: "test".into(),
            run: None,
            changed_at_ms: 0,
        };
        let record = NewRecord { kind: KIND_CATALOG_CHANGE, body: change.seal(&[]).expect("it seals") };
        self.journal.append(vec![record]).await.expect("it is durable");
    }

    /// Waits until everything in the journal has had its effect.
    pub(super) async fn followed(&self) {
        let end = self.journal.end();
        let mut followed = self.view.followed();
        let wait = followed.wait_for(|offset| *offset >= end);
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the index follows").expect("the view lives");
    }

    pub(super) async fn upsert(&self, space: Space, fingerprint: &str, entries: &[(&str, Vec<Arc<[f32]>>)]) -> Result<(), SearchError> {
        let entry = |(id, vectors): &(&str, Vec<Arc<[f32]>>)| VectorEntry { product: id.parse().expect("an id"), vectors: vectors.clone() };
        let (entries, fingerprint) = (entries.iter().map(entry).collect(), fingerprint.to_owned());
        let message = |reply| SearchMsg::Upsert { space, fingerprint, entries, reply };
        self.address.call(&context(), message).await.expect("an answer")
    }

    pub(super) async fn search(&self, query: SearchQuery) -> Result<SearchAnswer, SearchError> {
        self.view.search(&context(), query).await
    }

    pub(super) async fn ids(&self, query: SearchQuery) -> Vec<String> {
        let hits = self.search(query).await.expect("an answer").hits;
        hits.into_iter().map(|hit| hit.product.to_string()).collect()
    }

    pub(super) async fn words(&self, words: &str) -> Vec<String> {
        self.ids(SearchQuery { words: Some(words.into()), limit: 200, ..SearchQuery::default() }).await
    }

    pub(super) async fn near(&self, space: Space, vector: Arc<[f32]>) -> Vec<String> {
        self.near_by(space, "m", vector).await
    }

    /// Near a vector of a model.
    pub(super) async fn near_by(&self, space: Space, fingerprint: &str, vector: Arc<[f32]>) -> Vec<String> {
        self.ids(SearchQuery { vectors: vec![QueryVector::new(space, fingerprint, vector)], limit: 200, ..SearchQuery::default() }).await
    }
}

pub(super) fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(30))
}

type Products = BTreeMap<String, Arc<ProductRevision>>;

/// Watchtower's view; counts the pages that are read of it.
#[derive(Default)]
pub(super) struct Catalog {
    products: Mutex<Products>,
    pages: Arc<AtomicUsize>,
}

struct Snapshot {
    products: Products,
    pages: Arc<AtomicUsize>,
}

impl Catalog {
    pub(super) fn put(&self, product: Product) {
        let revision = ProductRevision {
            product,
            revision: 1,
            hashes: PartHashes::default(),
            source: "test".into(),
            last_run: None,
            changed_at_ms: 0,
        };
        let id = revision.product.id.to_string();
        self.products.lock().expect("no panic").insert(id, Arc::new(revision));
    }

    pub(super) fn remove(&self, id: &str) {
        self.products.lock().expect("no panic").remove(id);
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.products.lock().expect("no panic").keys().cloned().collect()
    }

    pub(super) fn ids_of(&self, among: &BTreeSet<String>) -> Vec<String> {
        self.ids().into_iter().filter(|id| among.contains(id)).collect()
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
    }
}

impl CatalogReader for Catalog {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(Snapshot { products: self.products.lock().expect("no panic").clone(), pages: Arc::clone(&self.pages) })
    }
}

impl CatalogSnapshot for Snapshot {
    fn version(&self) -> u64 {
        0
    }

    fn len(&self) -> usize {
        self.products.len()
    }

    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.products.get(id).cloned()
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        let behind = self.products.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        behind.take(limit).map(|(_, known)| Arc::clone(known)).collect()
    }

    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }

    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

type Vectors = BTreeMap<String, Vec<Arc<[f32]>>>;

/// Nightwing's store: a model once it has been given one.
#[derive(Default)]
pub(super) struct Vision {
    fingerprint: Mutex<Option<String>>,
    vectors: Mutex<BTreeMap<Space, Vectors>>,
    /// Models of releases that are not live; no vectors of theirs are stored.
    others: Mutex<Vec<ModelInfo>>,
    /// Releases of the live models with other settings.
    variants: Mutex<Vec<Settings>>,
    /// The live release's settings.
    settings: Mutex<Settings>,
}

impl Vision {
    pub(super) fn load_model(&self, fingerprint: &str) {
        *self.fingerprint.lock().expect("no panic") = Some(fingerprint.into());
    }

    /// A release that is not live has this model of pictures.
    pub(super) fn keep(&self, fingerprint: &str, dimensions: usize) {
        let model = ModelInfo { name: "m".into(), space: Space::Image, dimensions, fingerprint: fingerprint.into(), reads_texts: false };
        self.others.lock().expect("no panic").push(model);
    }

    /// A release that is not live has the live models and these settings.
    pub(super) fn vary(&self, settings: Settings) {
        self.variants.lock().expect("no panic").push(settings);
    }

    /// The only one of these is live now, the live one is not.
    pub(super) fn swap(&self) {
        let (mut variants, mut live) = (self.variants.lock().expect("no panic"), self.settings.lock().expect("no panic"));
        std::mem::swap(&mut variants[0], &mut live);
    }

    /// All that are not live retire.
    pub(super) fn retire(&self) {
        self.variants.lock().expect("no panic").clear();
        self.others.lock().expect("no panic").clear();
    }

    pub(super) fn set(&self, space: Space, id: &str, vectors: Vec<Arc<[f32]>>) {
        self.load_model("m");
        self.vectors.lock().expect("no panic").entry(space).or_default().insert(id.into(), vectors);
    }

    pub(super) fn ids(&self, space: Space) -> BTreeSet<String> {
        self.vectors.lock().expect("no panic").get(&space).into_iter().flat_map(|vectors| vectors.keys().cloned()).collect()
    }
}

impl ReleaseReader for Vision {
    fn ledger(&self) -> Arc<Ledger> {
        let live = Definition::of_first(&self.models(), self.settings.lock().expect("no panic").clone());
        let others = self.others.lock().expect("no panic").clone().into_iter();
        let others = others.map(|model| Definition { image_model: Some(model), ..Definition::default() });
        let variants = self.variants.lock().expect("no panic").clone().into_iter();
        let variants = variants.map(|settings| Definition { settings, ..live.clone() });
        let mut ledger = Ledger::first(live.clone(), 0);
        for (at, definition) in others.chain(variants).enumerate() {
            let (name, order) = (format!("other-{at}"), Order::Create(definition));
            ledger = ledger.after(&Command { name, order, by: String::new(), reason: String::new() }, 0).expect("a release");
        }
        Arc::new(ledger)
    }
}

impl VisionReader for Vision {
    fn models(&self) -> Vec<ModelInfo> {
        let fingerprint = self.fingerprint.lock().expect("no panic").clone();
        let model = |fingerprint: String| {
            Space::ALL.map(|space| ModelInfo {
                name: "m".into(),
                space,
                dimensions: DIMENSIONS,
                fingerprint: fingerprint.clone(),
                reads_texts: space == Space::Text,
            })
        };
        fingerprint.into_iter().flat_map(model).collect()
    }

    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }

    fn vectors(&self, _: &str, _: Space) -> Vec<Embedding> {
        Vec::new()
    }

    fn kept(&self) -> Vec<ModelInfo> {
        let others = self.others.lock().expect("no panic");
        self.models().into_iter().chain(others.iter().cloned()).collect()
    }

    fn embedded(&self, model: &ModelInfo, after: Option<&str>, limit: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        let vectors = self.vectors.lock().expect("no panic");
        let Some(vectors) = vectors.get(&model.space).filter(|_| self.models().contains(model)) else { return Vec::new() };
        let behind = vectors.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        behind.take(limit).map(|(id, vectors)| (id.parse().expect("an id"), vectors.clone())).collect()
    }

    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}
