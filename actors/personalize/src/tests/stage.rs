//! What stands around Two Face in tests: a catalog whose products are named by their colour, a log, a store, a folder.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{
    AttributeValue, CategoryPath, ContentHash, Erasure, Event, EventItem, EventKind, PartHashes, Product, ProductId, Provenance, Served,
    ServedItem, Shopper, Source,
};
use events::EventLog;
use kit::{Address, Mail, Scene};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::personalize::{NAME, PersonalizeMsg, Personalizer, RankQuery, RankedProduct};
use protocol::releases::{Command, Definition, Ledger, Order, ReleaseReader, Settings};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};
use ractor::ActorRef;
use store::{Keyspace, MemoryStore, StateFiles, Store};

use crate::effects::{checkpoint, lock};
use crate::{Args, Config, TwoFace, View};

/// When tests take place, in milliseconds since the Unix epoch.
pub(super) const NOW: i64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A catalog that does not change.
#[derive(Clone, Default)]
pub(super) struct Catalog(Arc<BTreeMap<String, Arc<ProductRevision>>>);

impl Catalog {
    pub(super) fn new(products: impl IntoIterator<Item = Product>) -> Self {
        Self::at_revision(1, products)
    }

    pub(super) fn at_revision(revision: u64, products: impl IntoIterator<Item = Product>) -> Self {
        let revision = |product: Product| ProductRevision {
            product,
            revision,
            hashes: PartHashes::default(),
            source: "shop".into(),
            last_run: None,
            changed_at_ms: 0,
        };
        Self(Arc::new(products.into_iter().map(|product| (product.id.as_str().to_owned(), Arc::new(revision(product)))).collect()))
    }
}

impl CatalogSnapshot for Catalog {
    fn version(&self) -> u64 {
        0
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.0.get(id).cloned()
    }
    fn page(&self, _: Option<&str>, _: usize) -> Vec<Arc<ProductRevision>> {
        Vec::new()
    }
    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

impl CatalogReader for Catalog {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(self.clone())
    }
}

/// Embeddings of pictures and texts, of these lengths, by the product's name; none for length 0.
#[derive(Default)]
pub(super) struct Vision {
    pub(super) image_length: usize,
    pub(super) text_length: usize,
}

/// A model of pictures.
pub(super) fn model(fingerprint: &str, dimensions: usize) -> ModelInfo {
    ModelInfo { name: fingerprint.into(), space: Space::Image, dimensions, fingerprint: fingerprint.into(), reads_texts: false }
}

/// Releases that a test sets.
#[derive(Default)]
pub(super) struct Releases(pub(super) Mutex<Arc<Ledger>>);

impl Releases {
    /// One that is live.
    pub(super) fn first(models: &[ModelInfo]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(Ledger::first(Definition::of_first(models, Settings::default()), 0)))))
    }

    pub(super) fn order(&self, name: &str, order: Order) {
        let mut ledger = self.0.lock().expect("no panic");
        let command = Command { name: name.into(), order, by: String::new(), reason: String::new() };
        *ledger = Arc::new(ledger.after(&command, 0).expect("it is followed"));
    }
}

impl ReleaseReader for Releases {
    fn ledger(&self) -> Arc<Ledger> {
        self.0.lock().expect("no panic").clone()
    }
}

impl VisionReader for Vision {
    fn models(&self) -> Vec<ModelInfo> {
        let text = ModelInfo { space: Space::Text, ..model("m", self.text_length) };
        [model("m", self.image_length), text].into_iter().filter(|model| model.dimensions > 0).collect()
    }
    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        let length = if space == Space::Image { self.image_length } else { self.text_length };
        let mut state = crate::logic::ids::id(product) | 1;
        let mut element = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let vector: Arc<[f32]> = (0..length).map(|_| element()).collect();
        (length > 0).then(|| Embedding { vector, content: ContentHash::default(), fingerprint: "m".into() }).into_iter().collect()
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}

/// A product named `red 7` is a red thing.
pub(super) fn product(name: &str) -> Product {
    let mut product = Product::new(name.parse().expect("an id"), "Thing");
    product.categories = vec![CategoryPath(vec!["Things".into()])];
    let value = name.split(' ').next().unwrap_or_default().to_owned();
    let provenance = Provenance { source: Source::Feed, field: "color".into() };
    product.attributes.insert("color".into(), vec![AttributeValue { value, provenance }]);
    product
}

/// What the log is told.
#[derive(Clone)]
pub(super) enum Told {
    Event(Event),
    Served(Served),
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// A visitor did something, with a product or (`""`) without.
pub(super) fn event(visitor: &str, kind: EventKind, product: &str) -> Event {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let items = product.parse().map(|product| EventItem { product, variant: None, quantity: 1, price: None, position: None });
    Event {
        visitor: Some(visitor.into()),
        items: items.into_iter().collect(),
        ..Event::new(format!("event-{}", NEXT.fetch_add(1, Ordering::Relaxed)), kind, NOW)
    }
}

/// A visitor clicked a product.
pub(super) fn click(visitor: &str, product: &str) -> Event {
    event(visitor, EventKind::Click, product)
}

/// These products were shown to a visitor; those at even places by one strategy, the others by another.
pub(super) fn served(token: &str, visitor: &str, products: &[ProductId]) -> Told {
    let strategy = |at: usize| if at.is_multiple_of(2) { "even" } else { "odd" };
    let item = |(at, product): (usize, &ProductId)| ServedItem {
        product: product.clone(),
        strategy: strategy(at).into(),
        score: 0.5,
        propensity: 1.0,
    };
    Told::Served(Served {
        token: token.into(),
        at_ms: NOW,
        placement: "home".into(),
        shopper: Some(Shopper::visitor(visitor)),
        session: None,
        context: Vec::new(),
        items: products.iter().enumerate().map(item).collect(),
        experiments: Vec::new(),
        rules: Vec::new(),
        query: None,
        found: products.len() as u32,
        request: "{}".into(),
    })
}

/// A question for the order of these products.
pub(super) fn query(shopper: Option<Shopper>, products: &[ProductId]) -> RankQuery {
    let candidates = products.iter().map(|product| (product.clone(), None)).collect();
    RankQuery { shopper, surface: "home".into(), store: None, at_ms: NOW, strength: 1.0, candidates, models: Vec::new() }
}

/// The places in the question, in the order of the answer.
pub(super) fn order(ranked: &[RankedProduct]) -> Vec<usize> {
    ranked.iter().map(|ranked| ranked.at).collect()
}

/// Two Face and what stands around.
pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) args: Args,
    pub(super) store: MemoryStore,
    pub(super) products: Vec<ProductId>,
    address: Address<PersonalizeMsg>,
    catalog: Catalog,
    told: u64,
    folder: tempfile::TempDir,
    homes: usize,
}

impl Stage {
    pub(super) fn new(products: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EventLog::open(&folder.path().join("log"), &events::Config::default(), vec![NAME]).expect("a log");
        let config = Config { batch_records_max: 4, profiles_max: 64, checkpoint_interval_ms: 3_600_000, ..Config::default() };
        let (store, catalog) = (MemoryStore::new(), Catalog::new(products.iter().map(|name| product(name))));
        let view = view(&config, &store, &catalog);
        let args = Args { config, log, dir: folder.path().join("0"), view };
        let products = products.iter().map(|name| name.parse().expect("an id")).collect();
        let (scene, address) = (Scene::new(), Address::new(NAME, 16));
        Self { scene, args, store, products, address, catalog, told: 0, folder, homes: 0 }
    }

    pub(super) async fn start(&mut self) -> ActorRef<Mail<PersonalizeMsg>> {
        self.scene.spawn_at(&self.address, TwoFace, self.args.clone()).await
    }

    /// The process ends; whatever it was writing either is written or never will be.
    pub(super) fn forget_memory(&mut self) {
        let _no_checkpoint = lock(&self.args.view.checkpointing);
        lock(&self.args.view.writer).incarnation += 1;
        drop(_no_checkpoint);
        self.args.view = view(&self.args.config, &self.store, &self.catalog);
    }

    /// Nothing but the log is left.
    pub(super) fn lose_everything(&mut self) {
        self.homes += 1;
        self.args.dir = self.folder.path().join(self.homes.to_string());
        self.store = MemoryStore::new();
        self.forget_memory();
    }

    /// Tells the log, until all of it is durable.
    pub(super) async fn tell(&mut self, told: Vec<impl Into<Told>>) {
        for told in told {
            match told.into() {
                Told::Event(event) => {
                    self.args.log.append(vec![event]).await.expect("appended");
                }
                Told::Served(served) => self.args.log.record(served),
            }
            self.told += 1;
            let told = self.told;
            self.until(|stage| stage.args.log.end() >= told).await;
        }
    }

    /// Tells the log, and waits until readers see it.
    pub(super) async fn happen(&mut self, told: Vec<impl Into<Told>>) {
        self.tell(told).await;
        self.caught_up().await;
    }

    /// Erases a visitor.
    pub(super) async fn erase(&mut self, visitor: &str) {
        let erasure = Erasure { shoppers: vec![Shopper::visitor(visitor)], at_ms: NOW, receipt: "r".into() };
        self.told = self.args.log.erase(erasure).await.expect("appended");
        self.caught_up().await;
    }

    pub(super) async fn caught_up(&self) {
        assert!(self.args.view.progress().reached(self.args.log.end(), PATIENCE).await, "Two Face follows the log");
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it comes to be");
    }

    /// A checkpoint as the actor writes it.
    pub(super) async fn checkpoint(&self) {
        let args = self.args.clone();
        let write = move || {
            let incarnation = lock(&args.view.writer).incarnation;
            checkpoint::write(&args.view, &args.log, &args.dir, incarnation)
        };
        tokio::task::spawn_blocking(write).await.expect("no panic").expect("written");
    }

    /// The offset of the last checkpoint.
    pub(super) fn stored(&self) -> u64 {
        lock(&self.args.view.writer).stored
    }

    /// Keys of the profiles in the store.
    pub(super) fn stored_shoppers(&self) -> Vec<String> {
        let page = self.store.range(Keyspace::Profiles, (Bound::Unbounded, Bound::Unbounded), 10_000).expect("readable");
        page.entries.into_iter().map(|(key, _)| String::from_utf8(key).expect("text")).collect()
    }

    pub(super) fn files(&self) -> StateFiles {
        let dir: PathBuf = self.args.dir.clone();
        StateFiles::new(&dir, NAME).expect("a folder")
    }

    /// Choices that were learned from.
    pub(super) fn choices(&self) -> u64 {
        self.args.view.learned.read().expect("whole").learner.choices()
    }

    /// Lists under way.
    pub(super) fn lists(&self) -> usize {
        self.args.view.learned.read().expect("whole").lists.len()
    }
}

fn view(config: &Config, store: &MemoryStore, catalog: &Catalog) -> Arc<View> {
    Arc::new(View::new(
        config,
        Arc::new(store.clone()),
        Arc::new(catalog.clone()),
        Arc::new(Vision::default()),
        Arc::new(Releases::default()),
    ))
}
