//! A catalog, vectors and thumbnails, all made up: pictures of two kinds that their vectors tell apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use domain::{AttributeValue, ContentHash, PartHashes, Product, ProductId, Provenance, Source};
use kit::{Address, ManualClock};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::releases::{Command, Definition, Ledger, Order, Rank, ReleaseReader, Settings};
use protocol::tags::{FactIndex, FactReader as _, ProductTags, TagError, Tagger, Verdict};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionMsg, VisionReader};
use store::{Keyspace, MemoryStore, Store as _};
use tempfile::TempDir;

use super::super::follower::Follower;
use super::super::shared::Shared;
use super::super::{TagConfig, TagSources, Tagging, Vocabularies, words};
use crate::logic::picture::tests::jpeg;
use crate::{Config, Embedder, Finder, ModelSource};

pub(super) const DIMENSIONS: usize = 8;
/// The detector that is configured.
const DETECTOR: &str = "finds";
const START_MS: i64 = 1_700_000_000_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds a lock")
}

#[derive(Default)]
struct World {
    products: Mutex<BTreeMap<String, Arc<ProductRevision>>>,
    version: AtomicU64,
    is_hidden: AtomicBool,
    pictures: Mutex<HashMap<String, (Embedding, Option<bytes::Bytes>)>>,
    model: Mutex<String>,
    reads_texts: AtomicBool,
    reads: AtomicUsize,
    /// Thumbnails that may be read before the thread is told to end.
    reads_max: AtomicUsize,
    shared: Mutex<Option<Arc<Shared>>>,
    /// The model without vectors.
    hidden: Mutex<Option<String>>,
    /// Without a release what is configured counts.
    ledger: Mutex<Arc<Ledger>>,
    /// Products that the index was told of, in order.
    told: Mutex<Vec<String>>,
}

struct Index(Arc<World>);

impl FactIndex for Index {
    fn refresh(&self, catalog: &dyn CatalogReader, products: &[ProductId]) {
        let catalog = catalog.snapshot();
        let known = products.iter().filter(|id| catalog.get(id.as_str()).is_some());
        lock(&self.0.told).extend(known.map(ToString::to_string));
    }
}

struct Reader(Arc<World>);

impl CatalogReader for Reader {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        if self.0.is_hidden.load(Ordering::SeqCst) {
            return Arc::new(Snapshot(BTreeMap::new(), 0));
        }
        Arc::new(Snapshot(lock(&self.0.products).clone(), self.0.version.load(Ordering::SeqCst)))
    }
}

struct Snapshot(BTreeMap<String, Arc<ProductRevision>>, u64);

impl CatalogSnapshot for Snapshot {
    fn version(&self) -> u64 {
        self.1
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.0.get(id).cloned()
    }
    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        let behind = self.0.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        behind.take(limit).map(|(_, revision)| Arc::clone(revision)).collect()
    }
    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

impl VisionReader for Reader {
    fn models(&self) -> Vec<ModelInfo> {
        let fingerprint = lock(&self.0.model).clone();
        let reads_texts = self.0.reads_texts.load(Ordering::SeqCst);
        let model = ModelInfo { name: "fake".into(), space: Space::Image, dimensions: DIMENSIONS, fingerprint, reads_texts };
        if model.fingerprint.is_empty() { Vec::new() } else { vec![model] }
    }
    fn kept(&self) -> Vec<ModelInfo> {
        let mut kept = self.models();
        kept.extend(self.ledger().models().into_iter().cloned());
        kept
    }
    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail> {
        let reads = self.0.reads.fetch_add(1, Ordering::SeqCst) + 1;
        if reads >= self.0.reads_max.load(Ordering::SeqCst) {
            lock(&self.0.shared).iter().for_each(|shared| shared.is_stopping.store(true, Ordering::SeqCst));
        }
        let (embedding, jpeg) = lock(&self.0.pictures).get(product).filter(|_| index == 0)?.clone();
        Some(Thumbnail { jpeg: jpeg?, content: embedding.content })
    }
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        self.models().iter().filter(|model| model.space == space).flat_map(|model| self.vectors_by(model, product)).collect()
    }
    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        if lock(&self.0.hidden).as_deref() == Some(&model.fingerprint) {
            return Vec::new();
        }
        let pictures = lock(&self.0.pictures);
        let by = |(embedding, _): &(Embedding, _)| {
            let mut vector = embedding.vector.to_vec();
            if model.fingerprint == "turned" {
                vector.reverse();
            }
            Embedding { fingerprint: model.fingerprint.as_str().into(), vector: vector.into(), ..embedding.clone() }
        };
        pictures.get(product).map(by).into_iter().collect()
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts { images_embedded: lock(&self.0.pictures).len() as u64, ..VisionCounts::default() }
    }
}

impl ReleaseReader for Reader {
    fn ledger(&self) -> Arc<Ledger> {
        lock(&self.0.ledger).clone()
    }
}

pub(super) struct House {
    pub(super) store: MemoryStore,
    nightwing: Address<VisionMsg>,
    models: Models,
    world: Arc<World>,
    clock: Arc<ManualClock>,
    folder: TempDir,
    tagging: Tagging,
    follower: Follower,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with_nightwing(Address::new("nightwing", 1))
    }

    /// With somebody who embeds what callers send.
    pub(super) fn with_nightwing(nightwing: Address<VisionMsg>) -> Self {
        Self::with_models(nightwing, Models::default())
    }

    /// The same with a detector.
    pub(super) fn with_detector(nightwing: Address<VisionMsg>, detector: Arc<dyn Finder>) -> Self {
        Self::with_models(nightwing, Models(Some(detector)))
    }

    fn with_models(nightwing: Address<VisionMsg>, models: Models) -> Self {
        let world = Arc::new(World::default());
        world.reads_max.store(usize::MAX, Ordering::SeqCst);
        *lock(&world.model) = "first".to_owned();
        let (store, clock) = (MemoryStore::new(), Arc::new(ManualClock::new(START_MS)));
        let folder = tempfile::tempdir().expect("a folder");
        let tagging = open(&world, &store, &clock, &folder, &nightwing, &models);
        let follower = Follower::new(Arc::clone(&tagging.shared), Arc::new(Index(Arc::clone(&world))));
        Self { nightwing, models, store, world, clock, folder, tagging, follower }
    }

    /// As after kill -9: nothing is left but what is on disk.
    pub(super) fn restart(&mut self) {
        self.world.reads_max.store(usize::MAX, Ordering::SeqCst);
        self.tagging = open(&self.world, &self.store, &self.clock, &self.folder, &self.nightwing, &self.models);
        self.follower = Follower::new(Arc::clone(&self.tagging.shared), Arc::new(Index(Arc::clone(&self.world))));
    }

    /// The thread is told to end when so many thumbnails have been read.
    pub(super) fn stop_after(&self, reads: usize) {
        *lock(&self.world.shared) = Some(Arc::clone(&self.tagging.shared));
        self.world.reads_max.store(reads, Ordering::SeqCst);
    }

    pub(super) fn step(&mut self) {
        self.follower.step().expect("a step");
    }

    pub(super) fn later(&self, ms: i64) {
        self.clock.advance_ms(ms);
    }

    pub(super) fn tagger(&self) -> &dyn Tagger {
        &self.tagging
    }

    /// `count` products, by turns red and blue, each with a picture and a label.
    pub(super) fn shop(&self, count: usize) {
        for at in 0..count {
            self.put(&format!("p{at:02}"), at, Some(if at % 2 == 0 { "red" } else { "blue" }));
        }
    }

    pub(super) fn put(&self, id: &str, kind: usize, colour: Option<&str>) {
        let mut product = Product::new(id.parse().expect("an id"), id);
        if let Some(colour) = colour {
            let provenance = Provenance { source: Source::Feed, field: "color".into() };
            product.attributes.insert("color".into(), vec![AttributeValue { value: colour.into(), provenance }]);
        }
        let hashes = PartHashes::of(&product);
        let revision = ProductRevision { product, revision: 1, hashes, source: "shop".into(), last_run: None, changed_at_ms: 0 };
        lock(&self.world.products).insert(id.to_owned(), Arc::new(revision));
        self.world.version.fetch_add(1, Ordering::SeqCst);
        let content = ContentHash::of(id.as_bytes());
        let noise = |at: usize| f32::from(content.0[at]) / 2_000.0;
        let vector = (0..DIMENSIONS).map(|at| noise(at) + if at == kind % 2 { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let picture = jpeg(40, 40, u32::from(content.0[0]) as _);
        lock(&self.world.pictures).insert(
            id.to_owned(),
            (Embedding { vector: vector.into(), content, fingerprint: lock(&self.world.model).as_str().into() }, Some(picture.into())),
        );
    }

    /// The vector of a product's picture.
    pub(super) fn embedding(&self, id: &str) -> Embedding {
        lock(&self.world.pictures)[id].0.clone()
    }

    /// A verdict of Ann's. The follower blocks on the store, so that the tests run on no runtime.
    pub(super) fn correct(&self, id: &str, verdicts: Vec<(String, Verdict)>) -> Result<ProductTags, TagError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let id = id.parse().expect("an id");
        runtime.block_on(self.tagging.correct(&id, verdicts, "ann".into()))
    }

    pub(super) fn facts(&self, id: &str) -> Vec<(String, String)> {
        self.tagging.shared.facts(id)
    }

    /// Products that the index was told of since the last call.
    pub(super) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.world.told))
    }

    pub(super) fn delete(&self, id: &str) {
        lock(&self.world.products).remove(id);
        self.world.version.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn hide_catalog(&self, is_hidden: bool) {
        self.world.is_hidden.store(is_hidden, Ordering::SeqCst);
    }

    pub(super) fn thumbnail(&self, id: &str, jpeg: Vec<u8>) {
        lock(&self.world.pictures).get_mut(id).expect("a picture").1 = Some(jpeg.into());
    }

    pub(super) fn no_thumbnail(&self, id: &str) {
        lock(&self.world.pictures).get_mut(id).expect("a picture").1 = None;
    }

    pub(super) fn shop_picture(&self, id: &str) {
        self.thumbnail(id, jpeg(40, 40, 5));
    }

    pub(super) fn model(&self, fingerprint: &str) {
        *lock(&self.world.model) = fingerprint.to_owned();
    }

    /// The model gives texts a place among pictures.
    pub(super) fn read_texts(&self) {
        self.world.reads_texts.store(true, Ordering::SeqCst);
    }

    /// Asks for words as the task that runs in the house does.
    pub(super) async fn ask_words(&self) -> Result<(), String> {
        words::ask(&self.tagging.shared, &self.nightwing).await
    }

    /// A house of releases: the first one is live with the image model, what is configured and this precision.
    pub(super) fn first_release(&self, fact_precision: f64) -> Settings {
        let mut settings = Settings { vocabulary: self.tagging.shared.vocabularies.configured().to_owned(), ..Settings::default() };
        settings.rules.fact_precision = fact_precision;
        let models = Reader(Arc::clone(&self.world)).models();
        *lock(&self.world.ledger) = Arc::new(Ledger::first(Definition::of_first(&models, settings.clone()), 0));
        settings
    }

    pub(super) fn order(&self, name: &str, order: Order) {
        let mut ledger = lock(&self.world.ledger);
        let command = Command { name: name.into(), order, by: String::new(), reason: String::new() };
        *ledger = Arc::new(ledger.after(&command, 0).expect("it is followed"));
    }

    /// A release of a model of pictures and these settings.
    pub(super) fn definition(&self, fingerprint: &str, settings: Settings) -> Definition {
        let live = Reader(Arc::clone(&self.world)).models().remove(0);
        Definition::of_first(&[ModelInfo { fingerprint: fingerprint.into(), ..live }], settings)
    }

    /// There are no vectors by this model, or there are again.
    pub(super) fn hide_vectors(&self, fingerprint: &str, is_hidden: bool) {
        *lock(&self.world.hidden) = is_hidden.then(|| fingerprint.to_owned());
    }

    /// A release of the live models and these settings, live.
    pub(super) fn release(&self, name: &str, settings: Settings) {
        let live = lock(&self.world.ledger).commissioner().expect("one is live").definition.clone();
        self.order(name, Order::Create(Definition { settings, ..live }));
        self.order(name, Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: true, force: false });
    }

    /// Keeps a shop's own vocabulary.
    pub(super) fn keep_vocabulary(&self, own: &str) -> Result<String, TagError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.tagging.keep_vocabulary(own.to_owned()))
    }

    pub(super) fn thumbnail_reads(&self) -> usize {
        self.world.reads.load(Ordering::SeqCst)
    }

    /// Pictures of which something is kept.
    pub(super) fn measured(&self) -> usize {
        self.records().into_iter().filter(|(key, _)| key[0] == 16).count()
    }

    pub(super) fn records(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        self.store.range(Keyspace::Embeddings, all, 10_000).expect("the store").entries
    }
}

/// Has one detector, by the name of `finds`.
#[derive(Clone, Default)]
pub(super) struct Models(Option<Arc<dyn Finder>>);

impl ModelSource for Models {
    fn known(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
    fn is_installed(&self, _: &ModelInfo) -> bool {
        false
    }
    fn load(&self, _: &ModelInfo) -> Result<Arc<dyn Embedder>, String> {
        Err("only detectors are here".to_owned())
    }
    fn finder(&self, name: &str) -> Result<Arc<dyn Finder>, String> {
        self.0.clone().filter(|_| name == DETECTOR).ok_or_else(|| format!("there is no detector {name:?}"))
    }
}

fn open(
    world: &Arc<World>,
    store: &MemoryStore,
    clock: &Arc<ManualClock>,
    folder: &TempDir,
    nightwing: &Address<VisionMsg>,
    models: &Models,
) -> Tagging {
    let reader = Arc::new(Reader(Arc::clone(world)));
    let tags = TagConfig { teach_threads: 1, ..TagConfig::default() };
    let sources = TagSources {
        config: Arc::new(Config { tags, detector: DETECTOR.to_owned(), ..Config::default() }),
        store: Arc::new(store.clone()),
        catalog: reader.clone(),
        vision: reader.clone(),
        index: Arc::new(Index(Arc::clone(world))),
        nightwing: nightwing.clone(),
        clock: Arc::clone(clock) as _,
        dir: folder.path().join("tags"),
        releases: reader,
        vocabularies: Arc::new(Vocabularies::of(&folder.path().join("vocabularies"), super::VOCABULARY, "").expect("a vocabulary")),
        models: Arc::new(models.clone()),
    };
    Tagging::unfollowed(sources).expect("threads")
}
