//! Flash with an event log and a store of its own: followed, killed, rebuilt, evicted, erased.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use domain::{Erasure, Event, EventKind, ProductId, Shopper};
use events::EventLog;
use kit::{Address, Mail, Scene};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::session::{EVENTS_CONSUMER, NAME, SessionMsg, SessionReader};
use ractor::ActorRef;
use store::{Journal, JournalConfig, Keyspace, MemoryStore, Store, consumer};

use crate::testing::{event, items};
use crate::{Args, Config, Flash, View};

const PATIENCE: Duration = Duration::from_secs(60);

/// A catalog without products.
struct Nothing;

impl CatalogReader for Nothing {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(Self)
    }
}

impl CatalogSnapshot for Nothing {
    fn version(&self) -> u64 {
        0
    }
    fn len(&self) -> usize {
        0
    }
    fn get(&self, _: &str) -> Option<Arc<ProductRevision>> {
        None
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

/// Flash and what it stands on.
struct Stage {
    scene: Scene,
    log: EventLog,
    store: MemoryStore,
    args: Args,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Every tick is a checkpoint; after it all but `memory_mib_max` is evicted.
    fn new(memory_mib_max: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EventLog::open(&folder.path().join("events"), &events::Config::default(), Vec::new()).expect("a log");
        let journal = Journal::open(&folder.path().join("journal"), JournalConfig::default()).expect("a journal");
        let config =
            Config { batch_events_max: 7, checkpoint_interval_ms_max: 0, poll_interval_ms_max: 10, memory_mib_max, ..Config::default() };
        let store = MemoryStore::new();
        let view = Arc::new(View::new(Arc::new(store.clone())));
        let args = Args { config, journal, events: log.clone(), catalog: Arc::new(Nothing), view };
        Self { scene: Scene::new(), log, store, args, _folder: folder }
    }

    async fn start(&mut self) -> ActorRef<Mail<SessionMsg>> {
        let address: Address<SessionMsg> = Address::new(NAME, 16);
        self.scene.spawn_at(&address, Flash, self.args.clone()).await
    }

    fn view(&self) -> &View {
        &self.args.view
    }

    async fn caught_up(&self) {
        assert!(self.view().progress().reached(self.log.end(), PATIENCE).await, "Flash follows the log");
    }

    /// Waits until a checkpoint stands for the whole log.
    async fn written(&self) {
        let follow = async {
            while consumer::load_offset(&self.store, EVENTS_CONSUMER).expect("readable") < self.log.end() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, follow).await.expect("a checkpoint is written");
    }

    fn stored(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let page = self.store.range(Keyspace::Sessions, (Bound::Unbounded, Bound::Unbounded), usize::MAX).expect("readable");
        page.entries.into_iter().collect()
    }

    /// What a new Flash makes of the whole log in a new store.
    async fn rebuilt(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut other = Self::new(64);
        other.log = self.log.clone();
        other.args.events = self.log.clone();
        other.start().await;
        other.written().await;
        let stored = other.stored();
        other.scene.end().await;
        stored
    }
}

/// A reproducible stream of numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        // From a small seed the first numbers would be small too.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const KINDS: [EventKind; 10] = [
    EventKind::View,
    EventKind::Click,
    EventKind::AddToCart,
    EventKind::AddToCart,
    EventKind::RemoveFromCart,
    EventKind::CartView,
    EventKind::Purchase,
    EventKind::Search,
    EventKind::Home,
    EventKind::Impression,
];

/// An event of a small shop: few shoppers, so that they meet, log in and come back late.
fn any_event(numbers: &mut Numbers, index: u64) -> Event {
    let mut event =
        event(&format!("event-{index}"), KINDS[numbers.below(10) as usize], (1000 * index).saturating_sub(numbers.below(9) * 700) as i64);
    let (visitor, user, session) = (numbers.below(5), numbers.below(6), numbers.below(50));
    event.visitor = (visitor > 0).then(|| format!("visitor-{visitor}"));
    event.user = (user > 3).then(|| format!("user-{user}"));
    event.session = (session > 5).then(|| format!("session-{session}"));
    event.items = items(&[(&format!("product-{}", numbers.below(12)), None, 1 + numbers.below(3) as u32)]);
    event.query = Some(format!("query {}", numbers.below(15)));
    event.store = (numbers.below(3) == 0).then(|| format!("store-{}", numbers.below(3)));
    event.is_bot = numbers.below(20) == 0;
    event.consent = [None, Some(true), Some(false)][numbers.below(3) as usize];
    event
}

async fn append_some(stage: &Stage, numbers: &mut Numbers, index: &mut u64) {
    let count = 1 + numbers.below(30);
    let events = (*index..*index + count).map(|index| any_event(numbers, index)).collect();
    *index += count;
    stage.log.append(events).await.expect("appended");
    if numbers.below(4) == 0 {
        let shoppers =
            vec![Shopper::user(&format!("user-{}", 4 + numbers.below(2))), Shopper::visitor(&format!("visitor-{}", 1 + numbers.below(4)))];
        stage.log.erase(Erasure { shoppers, at_ms: 0, receipt: "r".into() }).await.expect("appended");
    }
}

#[tokio::test]
async fn killed_at_any_point_it_comes_to_what_the_whole_log_makes() {
    for seed in 1..=6 {
        // With no memory at all everything is evicted whenever it is written: each event reads its entries back.
        let mut stage = Stage::new(if seed % 2 == 0 { 0 } else { 64 });
        let (mut numbers, mut index) = (Numbers::new(seed), 0);
        for _ in 0..12 {
            let flash = stage.start().await;
            for _ in 0..numbers.below(4) {
                append_some(&stage, &mut numbers, &mut index).await;
            }
            for _ in 0..numbers.below(40) {
                tokio::task::yield_now().await;
            }
            flash.kill_and_wait(None).await.expect("killed");
        }
        append_some(&stage, &mut numbers, &mut index).await;
        stage.start().await;
        stage.written().await;
        assert!(stage.stored().len() > 5, "seed {seed}: {} entries", stage.stored().len());
        assert_eq!(stage.stored(), stage.rebuilt().await, "seed {seed}");
        stage.scene.end().await;
    }
}

#[tokio::test]
async fn readers_see_the_same_whether_an_entry_is_in_memory_or_not() {
    let (mut small, mut numbers, mut index) = (Stage::new(0), Numbers::new(7), 0);
    for _ in 0..10 {
        append_some(&small, &mut numbers, &mut index).await;
    }
    let mut large = Stage::new(64);
    large.args.events = small.log.clone();
    large.log = small.log.clone();
    small.start().await;
    large.start().await;
    small.written().await;
    large.caught_up().await;
    let mut known = 0;
    for index in 0..50 {
        let session = format!("session-{index}");
        assert_eq!(small.view().session(&session), large.view().session(&session), "{session}");
        for shopper in [Shopper::visitor(&format!("visitor-{index}")), Shopper::user(&format!("user-{index}")), Shopper::session(&session)]
        {
            assert_eq!(small.view().shopper(&shopper), large.view().shopper(&shopper), "{shopper}");
            known += usize::from(large.view().shopper(&shopper).is_some());
        }
    }
    assert!(known > 5);
    small.scene.end().await;
    large.scene.end().await;
}

#[tokio::test]
async fn an_erased_shopper_is_gone_from_memory_and_from_the_store() {
    let mut stage = Stage::new(64);
    stage.args.config.checkpoint_interval_ms_max = 3_600_000;
    stage.start().await;
    let mut visit = event("1", EventKind::View, 1);
    (visit.visitor, visit.session, visit.items) = (Some("v".into()), Some("s".into()), items(&[("shoe", None, 1)]));
    let mut login = event("2", EventKind::Identify, 2);
    (login.visitor, login.user, login.session) = (Some("v".into()), Some("u".into()), Some("t".into()));
    let mut other = event("3", EventKind::View, 3);
    (other.visitor, other.session, other.items) = (Some("w".into()), Some("x".into()), items(&[("shoe", None, 1)]));
    stage.log.append(vec![visit.clone(), login, other]).await.expect("appended");
    stage.caught_up().await;
    let user = Shopper::user("u");
    assert_eq!(stage.view().shopper(&user).map(|state| state.items.len()), Some(1), "the visitor's is the user's");
    assert_eq!(stage.view().shopper(&Shopper::visitor("v")), None);
    assert_eq!(stage.view().session("s").map(|state| state.items.len()), Some(1));

    let erasure = Erasure { shoppers: vec![user.clone(), Shopper::visitor("v")], at_ms: 4, receipt: "r".into() };
    let end = stage.log.erase(erasure).await.expect("appended");
    assert!(stage.view().progress().reached(end, PATIENCE).await);
    for gone in [stage.view().shopper(&user), stage.view().session("s"), stage.view().session("t")] {
        assert_eq!(gone, None);
    }
    // An erasure does not wait for the next checkpoint.
    stage.written().await;
    assert_eq!(stage.stored().into_keys().collect::<Vec<_>>(), [b"s:x".to_vec(), b"v:w".to_vec()]);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_store_that_fails_does_not_keep_events_from_being_seen() {
    let mut stage = Stage::new(64);
    stage.start().await;
    stage.store.fail("no space");
    let (mut numbers, mut index) = (Numbers::new(3), 0);
    for _ in 0..3 {
        append_some(&stage, &mut numbers, &mut index).await;
    }
    stage.caught_up().await;
    assert!((1..5).any(|index| stage.view().shopper(&Shopper::visitor(&format!("visitor-{index}"))).is_some()));
    assert_eq!(consumer::load_offset(&stage.store, EVENTS_CONSUMER).expect("readable"), 0);
    stage.scene.end().await;
}

/// Processor time of this process, in seconds.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Prints figures: `cargo test -p session --release -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, asserts nothing"]
async fn figures_of_following() {
    let mut stage = Stage::new(256);
    stage.args.config = Config::default();
    let store = store::SledStore::open(&stage._folder.path().join("store"), store::SledConfig::default()).expect("a store");
    stage.args.view = Arc::new(View::new(Arc::new(store)));
    let mut numbers = Numbers::new(1);
    let (events, shoppers) = (100_000_u64, 10_000);
    for first in (0..events).step_by(10_000) {
        let batch = (first..first + 10_000).map(|index| {
            let mut event = event(&format!("event-{index}"), KINDS[numbers.below(10) as usize], index as i64);
            let shopper = numbers.below(shoppers);
            (event.visitor, event.session) = (Some(format!("visitor-{shopper}")), Some(format!("session-{shopper}-{}", index / 20_000)));
            event.items = items(&[(&format!("product-{}", numbers.below(20_000)), None, 1)]);
            event
        });
        stage.log.append(batch.collect()).await.expect("appended");
    }
    let (started, before) = (std::time::Instant::now(), processor_seconds());
    stage.start().await;
    while stage.view().progress().get() < events {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (seconds, busy) = (started.elapsed().as_secs_f64(), processor_seconds() - before);
    println!(
        "followed {events} events of {shoppers} shoppers in {seconds:.1} s, {busy:.1} s of processor time: {:.0}/s, {:.0}/s of it",
        events as f64 / seconds,
        events as f64 / busy
    );
    stage.scene.end().await;
}
