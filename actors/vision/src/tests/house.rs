//! What the actor's tests stand in: a catalog, a Gordon, a Batman and models, all made up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use domain::{ImageRef, PartHashes, Product, ProductId};
use kit::{Address, Mail, Scene, SystemClock};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::queue::{JobId, JobSpec, LeasedJob, QueueDepth, QueueMsg, QueueName, QueueReader, Settlement};
use protocol::releases::{Command, Definition, Ledger, Order, ReleaseReader, Settings};
use protocol::search::SearchMsg;
use protocol::vision::{Build, ModelInfo, Space, VisionMsg, VisionReader as _};
use ractor::{ActorRef, ActorStatus};
use store::MemoryStore;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::models::Sight;
use crate::{Args, Config, EmbedError, Embedder, Input, ModelSource, Nightwing, Threads, View};

/// Generations of models that are known.
const GENERATIONS: usize = 4;

/// A model: each generation has another width and other vectors.
pub(super) fn model(space: Space, generation: usize) -> ModelInfo {
    let name = format!("fake{generation}");
    ModelInfo { fingerprint: name.clone(), name, space, dimensions: 3 + generation, reads_texts: space == Space::Text }
}

/// Wayne's view: the first generation is live until somebody else is.
pub(super) struct Releases(Mutex<Arc<Ledger>>);

impl Releases {
    fn new() -> Self {
        let first = Definition {
            image_model: Some(model(Space::Image, 1)),
            text_model: Some(model(Space::Text, 1)),
            settings: Settings::default(),
        };
        Self(Mutex::new(Arc::new(Ledger::first(first, 0))))
    }

    pub(super) fn give(&self, name: &str, order: Order) {
        let command = Command { name: name.into(), order, by: String::new(), reason: String::new() };
        let mut ledger = lock(&self.0);
        let after = ledger.after(&command, 1).expect("it is followed");
        *ledger = Arc::new(after);
    }
}

impl ReleaseReader for Releases {
    fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&lock(&self.0))
    }
}

pub(super) fn product(id: &str, images: &[String]) -> Product {
    let mut product = Product::new(id.parse().expect("an id"), format!("imported {id}"));
    product.images = images.iter().cloned().map(ImageRef).collect();
    product
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds a lock")
}

/// The products.
#[derive(Clone, Default)]
struct Catalog(Arc<Mutex<BTreeMap<String, Arc<ProductRevision>>>>);

impl CatalogReader for Catalog {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(Snapshot(lock(&self.0).clone()))
    }
}

struct Snapshot(BTreeMap<String, Arc<ProductRevision>>);

impl CatalogSnapshot for Snapshot {
    fn version(&self) -> u64 {
        0
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

/// Gordon: hands out jobs and notes how they end.
#[derive(Default)]
struct Jobs {
    waiting: HashMap<QueueName, VecDeque<LeasedJob>>,
    leased: Vec<LeasedJob>,
    settled: Vec<(String, Settlement)>,
    next_id: u64,
}

#[derive(Clone)]
struct Gordon {
    jobs: Arc<Mutex<Jobs>>,
    ready: watch::Sender<u64>,
    settled: watch::Sender<usize>,
}

impl Gordon {
    fn put(&self, specs: Vec<JobSpec>) {
        let mut jobs = lock(&self.jobs);
        for spec in specs {
            jobs.next_id += 1;
            let job = LeasedJob { id: JobId(jobs.next_id), lease: 1, spec, attempt: 1 };
            jobs.waiting.entry(job.spec.queue).or_default().push_back(job);
        }
        self.ready.send_modify(|value| *value += 1);
    }

    fn answer(&self, message: QueueMsg) {
        match message {
            QueueMsg::Lease { queue, jobs_max, reply, .. } => {
                let mut jobs = lock(&self.jobs);
                let waiting = jobs.waiting.entry(queue).or_default();
                let given: Vec<_> = waiting.drain(..waiting.len().min(jobs_max)).collect();
                jobs.leased.extend(given.iter().cloned());
                reply.send(Ok(given));
            }
            QueueMsg::Settle { jobs: ended, reply } => {
                let mut jobs = lock(&self.jobs);
                for (id, _, settlement) in ended {
                    let at = jobs.leased.iter().position(|job| job.id == id).expect("a leased job");
                    let job = jobs.leased.remove(at);
                    jobs.settled.push((job.spec.product.to_string(), settlement));
                }
                self.settled.send_replace(jobs.settled.len());
                reply.send(Ok(()));
            }
            QueueMsg::Enqueue { jobs, reply } => {
                self.put(jobs);
                reply.send(Ok(()));
            }
            other => panic!("Nightwing asks Gordon {other:?}"),
        }
    }
}

impl QueueReader for Gordon {
    fn depth(&self, _: QueueName) -> QueueDepth {
        QueueDepth::default()
    }
    fn journal_offset(&self) -> u64 {
        0
    }
    fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }
}

type Vectors = Vec<Arc<[f32]>>;
/// By space, model and product.
type Indexed = HashMap<(Space, String, String), Vectors>;

/// Batman: keeps vectors, or leaves his callers without an answer.
#[derive(Clone)]
struct Batman {
    vectors: Arc<Mutex<Indexed>>,
    answers: Arc<AtomicBool>,
    upserts: watch::Sender<usize>,
}

impl Batman {
    fn answer(&self, message: SearchMsg) {
        let SearchMsg::Upsert { space, fingerprint, entries, reply } = message else { panic!("Nightwing asks Batman {message:?}") };
        let answers = self.answers.load(Ordering::SeqCst);
        self.upserts.send_modify(|count| *count += 1);
        if answers {
            let mut vectors = lock(&self.vectors);
            for entry in entries {
                vectors.insert((space, fingerprint.clone(), entry.product.to_string()), entry.vectors);
            }
            reply.send(Ok(()));
        }
    }
}

/// Holds up the inputs that begin with a word.
#[derive(Clone)]
pub(super) struct Gate(Arc<GateState>);

struct GateState {
    word: &'static str,
    is_open: Mutex<bool>,
    opened: Condvar,
    reached: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn open(&self) {
        *lock(&self.0.is_open) = true;
        self.0.opened.notify_all();
    }

    pub(super) async fn reached(&self) {
        self.0.reached.subscribe().wait_for(|reached| *reached).await.expect("the gate stands");
    }

    fn pass(&self, text: &str) {
        if text.starts_with(self.0.word) {
            self.0.reached.send_replace(true);
            let is_open = lock(&self.0.is_open);
            drop(self.0.opened.wait_while(is_open, |is_open| !*is_open).expect("no test panics at a gate"));
        }
    }
}

/// Models that make a few numbers of anything.
#[derive(Clone)]
pub(super) struct Models {
    pub(super) text_is_installed: Arc<AtomicBool>,
    embedded: Arc<AtomicUsize>,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl Models {
    pub(super) fn close_gate(&self, word: &'static str) -> Gate {
        let state = GateState { word, is_open: Mutex::new(false), opened: Condvar::new(), reached: watch::Sender::new(false) };
        let gate = Gate(Arc::new(state));
        *lock(&self.gate) = Some(gate.clone());
        gate
    }
}

impl ModelSource for Models {
    fn known(&self) -> Vec<ModelInfo> {
        (1..=GENERATIONS).flat_map(|generation| Space::ALL.map(|space| model(space, generation))).collect()
    }

    fn is_installed(&self, model: &ModelInfo) -> bool {
        self.known().contains(model) && (model.space == Space::Image || self.text_is_installed.load(Ordering::SeqCst))
    }

    fn load(&self, model: &ModelInfo) -> Result<Arc<dyn Embedder>, String> {
        Ok(Arc::new(Fake { info: model.clone(), models: self.clone() }))
    }
}

/// Where the made-up model looks, whatever it sees.
pub(super) const MAP: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

struct Fake {
    info: ModelInfo,
    models: Models,
}

impl Embedder for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn sight(&self) -> Option<Sight> {
        Some(Sight { height: 2, width: 3, channels: 1 })
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let one = |input: &Input| {
            let bytes = match input {
                Input::Picture(pixels) | Input::Scene(pixels) => pixels.0.as_slice(),
                Input::Text(text) if text.starts_with("fails") => return Err("it fails".to_owned().into()),
                Input::Text(text) if text.starts_with("panics") => panic!("it panics"),
                Input::Text(text) => {
                    let gate = lock(&self.models.gate).clone();
                    gate.iter().for_each(|gate| gate.pass(text));
                    text.as_bytes()
                }
            };
            self.models.embedded.fetch_add(1, Ordering::SeqCst);
            let hash = domain::ContentHash::of(&[self.info.fingerprint.as_bytes(), bytes].concat());
            let map = if matches!(input, Input::Scene(_)) { &MAP[..] } else { &[] };
            Ok(hash.0[..self.info.dimensions].iter().map(|byte| f32::from(*byte) + 1.0).chain(map.iter().copied()).collect())
        };
        inputs.iter().map(one).collect()
    }
}

/// Everything around one Nightwing.
pub(super) struct House {
    pub(super) config: Config,
    pub(super) models: Models,
    pub(super) releases: Arc<Releases>,
    pub(super) view: Arc<View>,
    pub(super) store: MemoryStore,
    pub(super) nightwing: Address<VisionMsg>,
    scene: Scene,
    running: Option<ActorRef<Mail<VisionMsg>>>,
    folder: TempDir,
    catalog: Catalog,
    gordon: Gordon,
    batman: Batman,
    queue: Address<QueueMsg>,
    search: Address<SearchMsg>,
    threads: Option<Arc<Threads>>,
}

impl House {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, mut scene) = (MemoryStore::new(), Scene::new());
        let models = Models { text_is_installed: Arc::new(AtomicBool::new(true)), embedded: Arc::default(), gate: Arc::default() };
        let releases = Arc::new(Releases::new());
        let [vectors, pictures] = ["vectors", "pictures"].map(|name| folder.path().join(name));
        let view = View::open(&vectors, &pictures, Arc::new(store.clone()), releases.clone(), Arc::new(models.clone())).expect("a view");
        let gordon = Gordon { jobs: Arc::default(), ready: watch::Sender::new(0), settled: watch::Sender::new(0) };
        let batman = Batman { vectors: Arc::default(), answers: Arc::new(AtomicBool::new(true)), upserts: watch::Sender::new(0) };
        let (queue, probe) = scene.probe("gordon").await;
        let answers = gordon.clone();
        probe.answer_all(move |message| answers.answer(message));
        let (search, probe) = scene.probe("batman").await;
        let answers = batman.clone();
        probe.answer_all(move |message| answers.answer(message));
        let config = Config { threads: 4, tick_interval_ms: 100, image_pixels_max: 2_000_000, ..Config::default() };
        let (view, nightwing) = (Arc::new(view), Address::new("nightwing", 1024));
        Self {
            config,
            models,
            releases,
            view,
            store,
            nightwing,
            scene,
            running: None,
            folder,
            catalog: Catalog::default(),
            gordon,
            batman,
            queue,
            search,
            threads: None,
        }
    }

    pub(super) async fn start(&mut self) {
        let threads = self.threads.get_or_insert_with(|| Arc::new(Threads::spawn(&self.config).expect("threads")));
        let args = Args {
            config: Arc::new(self.config.clone()),
            store: Arc::new(self.store.clone()),
            queue: self.queue.clone(),
            queue_reader: Arc::new(self.gordon.clone()),
            search: self.search.clone(),
            catalog: Arc::new(self.catalog.clone()),
            clock: Arc::new(SystemClock),
            models: Arc::new(self.models.clone()),
            view: Arc::clone(&self.view),
            threads: Arc::clone(threads),
        };
        self.running = Some(self.scene.spawn_at(&self.nightwing, Nightwing, args).await);
    }

    /// Kills the actor as a crash does.
    pub(super) async fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        self.nightwing.disconnect();
        running.kill();
        wait_until_stopped(&running).await;
    }

    /// Kills the actor and starts it on what is on disk.
    pub(super) async fn restart(&mut self) {
        self.kill().await;
        self.restart_killed().await;
    }

    /// Starts on what is on disk.
    pub(super) async fn restart_killed(&mut self) {
        let [vectors, pictures] = ["vectors", "pictures"].map(|name| self.folder.path().join(name));
        let (store, models) = (Arc::new(self.store.clone()), Arc::new(self.models.clone()));
        self.view = Arc::new(View::open(&vectors, &pictures, store, self.releases.clone(), models).expect("a view"));
        self.start().await;
    }

    pub(super) async fn stopped(&self) {
        wait_until_stopped(self.running.as_ref().expect("it was started")).await;
    }

    pub(super) async fn end(self) {
        self.scene.end().await;
    }

    pub(super) fn put(&self, product: Product) {
        let hashes = PartHashes::of(&product);
        let id = product.id.to_string();
        let revision = ProductRevision { product, revision: 1, hashes, source: "shop".into(), last_run: None, changed_at_ms: 0 };
        lock(&self.catalog.0).insert(id, Arc::new(revision));
    }

    pub(super) fn delete(&self, id: &str) {
        lock(&self.catalog.0).remove(id);
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    pub(super) fn image(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn enqueue(&self, queue: QueueName, products: &[&str]) {
        let spec = |id: &&str| JobSpec { queue, product: id.parse().expect("an id"), priority: 0, not_before_ms: 0 };
        self.gordon.put(products.iter().map(spec).collect());
    }

    /// Leases have run out: the jobs can be had again.
    pub(super) fn give_back_leases(&self) {
        let mut jobs = lock(&self.gordon.jobs);
        for job in std::mem::take(&mut jobs.leased) {
            jobs.waiting.entry(job.spec.queue).or_default().push_back(job);
        }
    }

    pub(super) fn waiting(&self, queue: QueueName) -> usize {
        lock(&self.gordon.jobs).waiting.get(&queue).map_or(0, VecDeque::len)
    }

    pub(super) async fn settled(&self, count: usize) {
        reaches(&self.gordon.settled, count).await;
    }

    pub(super) async fn upserts_seen(&self, count: usize) {
        reaches(&self.batman.upserts, count).await;
    }

    pub(super) fn settlements(&self) -> Vec<(String, Settlement)> {
        lock(&self.gordon.jobs).settled.clone()
    }

    pub(super) fn settlement(&self, id: &str) -> Settlement {
        self.settlements().into_iter().rfind(|(product, _)| product == id).expect("settled").1
    }

    pub(super) fn search_answers(&self, answers: bool) {
        self.batman.answers.store(answers, Ordering::SeqCst);
    }

    /// What Batman has of a product by the first model.
    pub(super) fn indexed(&self, space: Space, id: &str) -> Vectors {
        self.indexed_by(1, space, id)
    }

    pub(super) fn indexed_by(&self, generation: usize, space: Space, id: &str) -> Vectors {
        let key = (space, model(space, generation).fingerprint, id.to_owned());
        lock(&self.batman.vectors).get(&key).cloned().unwrap_or_default()
    }

    /// An order to Wayne, and Nightwing looks.
    pub(super) fn order(&self, name: &str, order: Order) {
        self.releases.give(name, order);
        self.gordon.ready.send_modify(|value| *value += 1);
    }

    /// A release of the models of a generation.
    pub(super) fn release(&self, generation: usize) {
        let definition = Definition {
            image_model: Some(model(Space::Image, generation)),
            text_model: Some(model(Space::Text, generation)),
            settings: Settings::default(),
        };
        self.order(&format!("g{generation}"), Order::Create(definition));
    }

    pub(super) fn build(&self, space: Space, generation: usize) -> Option<Build> {
        self.view.builds().into_iter().find(|build| build.model == model(space, generation))
    }

    /// Waits until a generation's models have all vectors.
    pub(super) async fn built(&self, generation: usize) {
        let is_built = |space| self.build(space, generation).is_some_and(|build| build.is_complete && build.behind == 0);
        self.until(|| Space::ALL.into_iter().all(is_built)).await;
    }

    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("it never holds");
    }

    pub(super) fn vector_file(&self, space: Space, generation: usize) -> PathBuf {
        self.path("vectors").join(format!("{}-fake{generation}.vec", space.as_str()))
    }

    pub(super) fn embedded(&self) -> usize {
        self.models.embedded.load(Ordering::SeqCst)
    }
}

async fn reaches(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    let reached = counter.wait_for(|reached| *reached >= count);
    tokio::time::timeout(std::time::Duration::from_secs(30), reached).await.expect("not reached").expect("it is counted");
}

async fn wait_until_stopped(actor: &ActorRef<Mail<VisionMsg>>) {
    while actor.get_status() != ActorStatus::Stopped {
        tokio::task::yield_now().await;
    }
}
