//! A house of fakes: the readers' traits over plain maps, probes that answer in the actors' places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use domain::{ContentHash, PartHashes, Parts, Product, ProductId};
use events::EventLog;
use kit::{Address, ManualClock, Scene};
use protocol::catalog::{CatalogMsg, CatalogReader, CatalogSnapshot, Change, Outcome, ProductRevision};
use protocol::experiments::Experiment;
use protocol::ingest::{
    FeedRequest, FeedRun, FeedRunReader, FeedSource, IngestError, IngestMsg, PutAnswer, Reject, RunCounts, RunId, RunStatus,
};
use protocol::queue::{DeadLetter, JobId, QueueDepth, QueueMsg, QueueName, QueueReader};
use protocol::registry::{ActorState, ActorStatus, RegistryMsg, RegistryReader, Setting};
use protocol::releases::{Definition, Ledger, ReleaseReader, Settings};
use protocol::search::SearchQuery;
use protocol::session::{OfferReader, OfferState};
use protocol::vision::{
    Build, Embedding, EngineStatus, ModelInfo, PictureQuery, Space, Thumbnail, VisionCounts, VisionError, VisionMsg, VisionReader,
};
use tokio::sync::watch;

use super::behaviour::{self, Learned};
use crate::house::House;

/// The state behind every fake.
pub(super) struct World {
    pub products: Mutex<BTreeMap<ProductId, Arc<ProductRevision>>>,
    pub out_of_stock: Mutex<HashSet<String>>,
    pub text_vectors: Mutex<HashMap<String, Vec<f32>>>,
    pub image_vectors: Mutex<HashMap<String, Vec<f32>>>,
    pub has_text_model: Mutex<bool>,
    pub runs: Mutex<Vec<Arc<FeedRun>>>,
    pub rejects: Mutex<Vec<Reject>>,
    pub run_changes: watch::Sender<u64>,
    pub waiting: Mutex<Vec<&'static str>>,
    pub dead: Mutex<u64>,
    pub thumbnails: Mutex<HashMap<String, Bytes>>,
    /// What Batman was asked, in order.
    pub queries: Mutex<Vec<SearchQuery>>,
    /// By whose models Superman and Two Face were asked, in order.
    pub models_asked: Mutex<Vec<Vec<ModelInfo>>>,
    /// How many pictures each message to Nightwing held.
    pub picture_batches: Mutex<Vec<usize>>,
    /// The house's log, once there is a house.
    pub log: Mutex<Option<EventLog>>,
    pub ledger: Mutex<Arc<Ledger>>,
    /// Whether all vectors of the models beside the live ones are there.
    pub is_built: Mutex<bool>,
    pub folder: tempfile::TempDir,
}

/// The models of the house, the live ones first; the last one sees pictures the other way round, and reads words besides.
pub(super) fn known() -> [ModelInfo; 3] {
    let model = |name: &str, space, dimensions, fingerprint: &str| ModelInfo {
        name: name.into(),
        space,
        dimensions,
        fingerprint: fingerprint.into(),
        reads_texts: space == Space::Text || name == TURNED,
    };
    [
        model("efficientnet-lite0", Space::Image, 2, "0123456789abcdef"),
        model("all-minilm-l6-v2", Space::Text, 3, "0123456789abcdef"),
        model(TURNED, Space::Image, 2, "fedcba9876543210"),
    ]
}

/// A model whose vectors have the other order, in the same width.
pub(super) const TURNED: &str = "efficientnet-turned";

fn turned(fingerprint: &str, mut vector: Vec<f32>) -> Vec<f32> {
    if fingerprint == known()[2].fingerprint {
        vector.reverse();
    }
    vector
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn product(id: &str, title: &str) -> Product {
    Product::new(id.parse().expect("an id"), title)
}

pub(super) fn run(id: u128, status: RunStatus) -> FeedRun {
    let request = FeedRequest {
        from: FeedSource::Url("https://shop.example/feed.xml".into()),
        name: "feed.xml".into(),
        source: "default".into(),
        mode: Default::default(),
        dry_run: false,
        format: None,
        image_root: None,
        force: false,
        default_currency: None,
    };
    FeedRun {
        id: RunId(id),
        request,
        status,
        format: Some("google_xml".into()),
        counts: RunCounts { records: 10, created: 8, rejected: 2, ..RunCounts::default() },
        bytes_read: 50,
        bytes_total: Some(100),
        error: None,
        enqueued_at_ms: 1_700_000_000_000,
        started_at_ms: Some(1_700_000_001_000),
        finished_at_ms: status.is_final().then_some(1_700_000_003_000),
    }
}

impl World {
    pub(super) fn new(products: impl IntoIterator<Item = Product>) -> Arc<Self> {
        let world = Self {
            products: Mutex::default(),
            out_of_stock: Mutex::default(),
            text_vectors: Mutex::default(),
            image_vectors: Mutex::default(),
            has_text_model: Mutex::new(true),
            runs: Mutex::default(),
            rejects: Mutex::default(),
            run_changes: watch::Sender::new(0),
            waiting: Mutex::default(),
            dead: Mutex::new(2),
            thumbnails: Mutex::default(),
            queries: Mutex::default(),
            models_asked: Mutex::default(),
            picture_batches: Mutex::default(),
            log: Mutex::default(),
            ledger: Mutex::new(Arc::new(Ledger::first(Definition::of_first(&known(), Settings::default()), 0))),
            is_built: Mutex::new(false),
            folder: tempfile::tempdir().expect("a folder"),
        };
        products.into_iter().for_each(|product| {
            world.put(product);
        });
        for folder in ["spool", "inbox"] {
            std::fs::create_dir(world.folder.path().join(folder)).expect("a folder");
        }
        Arc::new(world)
    }

    pub(super) fn put(&self, product: Product) -> Outcome {
        let mut products = lock(&self.products);
        let revision = products.get(&product.id).map_or(0, |present| present.revision);
        let (id, hashes) = (product.id.clone(), PartHashes::of(&product));
        products.insert(
            id,
            Arc::new(ProductRevision {
                product,
                revision: revision + 1,
                hashes,
                source: "default".into(),
                last_run: None,
                changed_at_ms: 0,
            }),
        );
        if revision == 0 { Outcome::Created } else { Outcome::Updated(Parts::TEXT) }
    }

    pub(super) fn set_run(&self, run: FeedRun) {
        let mut runs = lock(&self.runs);
        runs.retain(|known| known.id != run.id);
        runs.push(Arc::new(run));
        self.run_changes.send_modify(|version| *version += 1);
    }

    pub(super) fn spool_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("spool")).expect("the folder").count()
    }

    fn apply(&self, change: Change) -> Outcome {
        match change {
            Change::Upsert { product, .. } => self.put(Product::clone(&product)),
            Change::Delete { id, .. } => lock(&self.products).remove(&id).map_or(Outcome::NotFound, |_| Outcome::Deleted),
            Change::Offer { id, variant, offer } => {
                let Some(mut product) = lock(&self.products).get(&id).map(|revision| revision.product.clone()) else {
                    return Outcome::NotFound;
                };
                match variant {
                    None => product.offer = offer,
                    Some(name) => match product.variants.iter_mut().find(|variant| variant.id == name) {
                        Some(variant) => variant.offer = offer,
                        None => return Outcome::NotFound,
                    },
                }
                self.put(product);
                Outcome::Updated(Parts::STOCK)
            }
        }
    }

    fn ingest(&self, message: IngestMsg) {
        match message {
            IngestMsg::Start { request, reply } => {
                if request.source == "busy" {
                    return reply.send(Err(IngestError::TooManyRuns(9)));
                }
                let id = lock(&self.runs).len() as u128 + 1;
                self.set_run(FeedRun { request, ..run(id, RunStatus::Succeeded) });
                reply.send(Ok(RunId(id)));
            }
            IngestMsg::Cancel { id, reply } => {
                let known = lock(&self.runs).iter().find(|run| run.id == id).cloned();
                match known {
                    Some(known) => {
                        self.set_run(FeedRun { status: RunStatus::Canceled, ..FeedRun::clone(&known) });
                        reply.send(Ok(()));
                    }
                    None => reply.send(Err(IngestError::UnknownRun(id))),
                }
            }
            IngestMsg::Put { json, reply, .. } => {
                let answer = serde_json::from_slice::<Product>(&json).map_err(|error| {
                    IngestError::Rejected(vec![Reject {
                        row: 1,
                        position: None,
                        field: Some("title".into()),
                        code: "missing_title".into(),
                        detail: error.to_string(),
                        raw: String::new(),
                        product_id: None,
                        is_warning: false,
                    }])
                });
                reply.send(answer.map(|product| PutAnswer { id: product.id.clone(), outcome: self.put(product), warnings: Vec::new() }));
            }
            IngestMsg::Progress(_) => {}
        }
    }

    /// Pictures are told apart by their first byte, texts by a word.
    fn embed(&self, message: VisionMsg) {
        let fingerprint = |model: Option<Arc<str>>| model.unwrap_or_else(|| known()[0].fingerprint.as_str().into());
        let embedding = |vector: Vec<f32>, by: &Arc<str>| Embedding {
            vector: turned(by, vector).into(),
            content: ContentHash::default(),
            fingerprint: Arc::clone(by),
        };
        match message {
            VisionMsg::EmbedTexts { texts, space, model, reply } => {
                let by = fingerprint(model);
                let unknown = || if space == Space::Image { vec![0.0, 1.0] } else { vec![0.0, 0.0, 1.0] };
                let known = |text: &String| lock(&self.text_vectors).get(text).filter(|_| space == Space::Text).cloned();
                let of = |text: &String| Ok(embedding(known(text).unwrap_or_else(unknown), &by));
                reply.send(texts.iter().map(of).collect());
            }
            VisionMsg::EmbedImages { images, model, reply } => {
                let by = fingerprint(model);
                lock(&self.picture_batches).push(images.len());
                let refused = |code, detail: &str| Err(VisionError::BadPicture { code, detail: detail.into() });
                let of = |query: &PictureQuery| match (query.bytes.first(), query.crop) {
                    (Some(0xff), None) => Ok(embedding(vec![1.0, 0.0], &by)),
                    (Some(0xff), Some(crop)) if crop.width < 0.01 => refused("crop_too_small", "the box is too small"),
                    // What stands on the left looks like a camera, on the right like a shirt.
                    (Some(0xff), Some(crop)) if crop.x < 0.5 => Ok(embedding(vec![1.0, 0.0], &by)),
                    (Some(0xff), Some(_)) => Ok(embedding(vec![0.0, 1.0], &by)),
                    _ => refused("not_a_picture", "these bytes are no picture"),
                };
                reply.send(images.iter().map(of).collect());
            }
            VisionMsg::LookAt { .. } | VisionMsg::Tick | VisionMsg::BatchDone(_) => {}
        }
    }

    /// The whole house on this world; the probes live as long as the scene.
    pub(super) async fn house(self: &Arc<Self>, scene: &mut Scene) -> House {
        let (catalog_address, catalog) = scene.probe::<CatalogMsg>("watchtower").await;
        let (joker, ingest) = scene.probe::<IngestMsg>("joker").await;
        let (gordon, queue) = scene.probe::<QueueMsg>("gordon").await;
        let (nightwing, vision) = scene.probe::<VisionMsg>("nightwing").await;
        let world = Arc::clone(self);
        catalog.answer_all(move |message| match message {
            CatalogMsg::Apply { changes, reply } => reply.send(Ok(changes.into_iter().map(|change| Ok(world.apply(change))).collect())),
            CatalogMsg::Checkpoint { reply } => reply.send(Ok(0)),
        });
        let world = Arc::clone(self);
        ingest.answer_all(move |message| world.ingest(message));
        let world = Arc::clone(self);
        queue.answer_all(move |message| match message {
            QueueMsg::DeadLetters { queue, reply, .. } => reply.send(Ok(vec![DeadLetter {
                id: JobId(7),
                queue,
                product: "p".parse().expect("an id"),
                attempts: 5,
                error: "no route".into(),
                died_at_ms: 0,
            }])),
            QueueMsg::Redrive { reply, .. } => reply.send(Ok(std::mem::take(&mut lock(&world.dead)))),
            _ => {}
        });
        let world = Arc::clone(self);
        vision.answer_all(move |message| world.embed(message));
        let (wayne, registry) = scene.probe::<RegistryMsg>("wayne").await;
        let world = Arc::clone(self);
        registry.answer_all(move |message| {
            let RegistryMsg::Command { command, reply } = message else { return };
            let mut ledger = lock(&world.ledger);
            let after = ledger.after(&command, 1_700_000_000_000);
            reply.send(Ok(after.map(|after| {
                *ledger = Arc::new(after);
                Arc::clone(&ledger)
            })));
        });
        self.wire(catalog_address, joker, gordon, nightwing, wayne)
    }

    fn wire(
        self: &Arc<Self>,
        catalog_address: Address<CatalogMsg>,
        joker: Address<IngestMsg>,
        gordon: Address<QueueMsg>,
        nightwing: Address<VisionMsg>,
        wayne: Address<RegistryMsg>,
    ) -> House {
        let world = Arc::clone(self);
        let readers = Arc::new(Readers(Arc::clone(self)));
        let learned = Arc::new(Learned::new(Arc::clone(self)));
        let log = behaviour::log(self);
        *lock(&self.log) = Some(log.clone());
        House {
            catalog: readers.clone(),
            catalog_address,
            joker,
            runs: readers.clone(),
            queues: readers.clone(),
            gordon,
            offers: readers.clone(),
            nightwing,
            vision: readers.clone(),
            tagger: Arc::new(super::tags::Shop::default()),
            searcher: readers.clone(),
            log,
            recommender: learned.clone(),
            personalizer: learned.clone(),
            sessions: learned.clone(),
            cache: learned.clone(),
            reports: learned.clone(),
            lab: learned,
            wayne,
            releases: readers.clone(),
            registry: readers,
            clock: Arc::new(ManualClock::new(1_700_000_100_000)),
            spool: self.folder.path().join("spool"),
            inbox: self.folder.path().join("inbox"),
            readiness: Arc::new(move || lock(&world.waiting).clone()),
            metrics_text: Arc::new(|| "gotham_up 1\n".to_owned()),
            version: "0.0.0-test",
        }
    }
}

pub(super) struct Readers(pub(super) Arc<World>);

struct Snapshot(BTreeMap<ProductId, Arc<ProductRevision>>);

impl CatalogReader for Readers {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(Snapshot(lock(&self.0.products).clone()))
    }
}

impl CatalogSnapshot for Snapshot {
    fn version(&self) -> u64 {
        self.0.values().map(|revision| revision.revision).sum()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.0.get(id).cloned()
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        self.0.values().filter(|revision| after.is_none_or(|after| revision.product.id.as_str() > after)).take(limit).cloned().collect()
    }

    fn group(&self, group_id: &str) -> Vec<ProductId> {
        self.0
            .values()
            .filter(|revision| revision.product.group_id.as_deref() == Some(group_id))
            .map(|revision| revision.product.id.clone())
            .collect()
    }

    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

impl OfferReader for Readers {
    fn offer(&self, id: &str) -> Option<OfferState> {
        let product = lock(&self.0.products).get(id)?.product.clone();
        let is_available = product.is_available() && !lock(&self.0.out_of_stock).contains(id);
        let availability = if is_available { product.offer.availability } else { domain::Availability::OutOfStock };
        let offer = product.variants.first().map_or(product.offer, |variant| variant.offer.clone());
        Some(OfferState {
            is_available,
            availability,
            price: offer.price,
            sale_price: offer.sale_price,
            quantity: offer.quantity.map(u64::from),
        })
    }

    fn journal_offset(&self) -> u64 {
        0
    }
}

impl FeedRunReader for Readers {
    fn get(&self, id: RunId) -> Option<Arc<FeedRun>> {
        lock(&self.0.runs).iter().find(|run| run.id == id).cloned()
    }

    fn latest(&self, limit: usize) -> Vec<Arc<FeedRun>> {
        lock(&self.0.runs).iter().rev().take(limit).cloned().collect()
    }

    fn rejects(&self, _: RunId, offset: usize, limit: usize) -> Result<Vec<Reject>, IngestError> {
        Ok(lock(&self.0.rejects).iter().skip(offset).take(limit).cloned().collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.run_changes.subscribe()
    }
}

impl QueueReader for Readers {
    fn depth(&self, _: QueueName) -> QueueDepth {
        QueueDepth { ready: 3, delayed: 1, leased: 2, dead: *lock(&self.0.dead) }
    }

    fn journal_offset(&self) -> u64 {
        0
    }

    fn ready(&self) -> watch::Receiver<u64> {
        self.0.run_changes.subscribe()
    }
}

impl ReleaseReader for Readers {
    fn ledger(&self) -> Arc<Ledger> {
        lock(&self.0.ledger).clone()
    }
}

impl RegistryReader for Readers {
    fn actors(&self) -> Vec<ActorStatus> {
        let actor = |name, job, state, restarts| ActorStatus {
            name,
            job,
            state,
            restarts,
            mailbox_depth: 0,
            last_error: (restarts > 0).then(|| "panic: index out of bounds".to_owned()),
            since_ms: 1_700_000_000_000,
        };
        vec![
            actor("robin", "HTTP, pages", ActorState::Running, 0),
            actor("joker", "reads feeds", ActorState::Running, 0),
            actor("nightwing", "pictures and words to embeddings", ActorState::Running, 1),
            actor("batman", "search in memory", ActorState::Restarting, 2),
        ]
    }

    fn settings(&self) -> Arc<[Setting]> {
        Arc::new([Setting {
            key: "gateway.listen".into(),
            value: "\"127.0.0.1:8742\"".into(),
            source: protocol::registry::ConfigSource::Default,
        }])
    }

    fn experiments(&self) -> Arc<[Experiment]> {
        Arc::new([])
    }
}

impl VisionReader for Readers {
    fn models(&self) -> Vec<ModelInfo> {
        let ledger = self.ledger();
        let live = ledger.commissioner().expect("one is live").definition.clone();
        self.kept().into_iter().filter(|model| live.model(model.space) == Some(model)).collect()
    }

    fn kept(&self) -> Vec<ModelInfo> {
        let has_text = *lock(&self.0.has_text_model);
        self.ledger().models().into_iter().filter(|model| has_text || model.space == Space::Image).cloned().collect()
    }

    fn known(&self) -> Vec<(ModelInfo, bool)> {
        let missing = ModelInfo { name: "missing".into(), ..known()[2].clone() };
        known().into_iter().map(|model| (model, true)).chain([(missing, false)]).collect()
    }

    fn builds(&self) -> Vec<Build> {
        let is_built = *lock(&self.0.is_built);
        let build = |model: ModelInfo| Build { model, is_loaded: true, done: 3, total: 6, behind: 1, failed: 0, is_complete: is_built };
        self.kept().into_iter().map(build).collect()
    }

    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail> {
        let jpeg = lock(&self.0.thumbnails).get(product).filter(|_| index == 0)?.clone();
        Some(Thumbnail { content: ContentHash::of(&jpeg), jpeg })
    }

    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        let live = self.models().into_iter().find(|model| model.space == space);
        live.map(|model| self.vectors_by(&model, product)).unwrap_or_default()
    }

    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let vectors = if model.space == Space::Image { &self.0.image_vectors } else { &self.0.text_vectors };
        let embedding = |vector: &Vec<f32>| Embedding {
            vector: turned(&model.fingerprint, vector.clone()).into(),
            content: ContentHash::default(),
            fingerprint: model.fingerprint.as_str().into(),
        };
        lock(vectors).get(product).map(embedding).into_iter().collect()
    }

    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }

    fn counts(&self) -> VisionCounts {
        VisionCounts { images_embedded: 54, texts_embedded: 54, reused: 3, rejected: 1 }
    }

    fn engines(&self) -> Vec<EngineStatus> {
        vec![EngineStatus {
            model: "efficientnet-lite0".into(),
            space: Space::Image,
            fingerprint: "0123456789abcdef".into(),
            device: "CPU, AVX-512, 1 thread".into(),
            fallback: Some("the device was lost".into()),
            memory_bytes: 18_000_000,
            batch_max: 16,
            out_of_memory: 2,
            per_second: 41.5,
            query_p50_ms: Some(12.4),
            query_p99_ms: Some(19.8),
        }]
    }
}
