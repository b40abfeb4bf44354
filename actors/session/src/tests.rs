//! Flash with a catalog in Watchtower's place and a journal of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Availability, Money, PartHashes, Parts, Product, ProductId};
use events::EventLog;
use kit::{Address, Scene};
use proptest::prelude::*;
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::session::{NAME, OfferReader, OfferState, SessionMsg};
use store::{Journal, JournalConfig, MemoryStore, NewRecord, Record};

use crate::{Args, Config, Flash, View};

fn view() -> View {
    View::new(Arc::new(MemoryStore::new()))
}

fn id(text: &str) -> ProductId {
    text.parse().expect("an id")
}

/// A product for `amount` euros; 0 means out of stock.
fn product(name: &str, amount: i64) -> Product {
    let mut product = Product::new(id(name), "Shoe");
    product.offer.price = Some(Money { amount_e4: amount * 10_000, currency: "EUR".parse().expect("a currency") });
    product.offer.availability = if amount == 0 { Availability::OutOfStock } else { Availability::InStock };
    product
}

fn change(name: &str, revision: u64, amount: Option<i64>) -> CatalogChange {
    let product = amount.map(|amount| product(name, amount));
    let (id, parts, hashes, source) = (id(name), Parts::ALL, PartHashes::default(), "shop".to_owned());
    CatalogChange { id, revision, parts, product, hashes, source, run: None, changed_at_ms: 0 }
}

fn record(change: &CatalogChange) -> NewRecord {
    NewRecord { kind: KIND_CATALOG_CHANGE, body: change.seal(&[]).expect("it fits") }
}

/// A catalog that stands at a journal offset.
#[derive(Clone, Default)]
struct Catalog {
    version: u64,
    products: BTreeMap<String, Arc<ProductRevision>>,
}

impl Catalog {
    /// What the changes make.
    fn after(changes: &[CatalogChange]) -> Self {
        let mut catalog = Self { version: changes.len() as u64, ..Self::default() };
        for change in changes.iter().cloned() {
            let name = change.id.as_str().to_owned();
            let Some(product) = change.product else {
                catalog.products.remove(&name);
                continue;
            };
            let CatalogChange { revision, hashes, changed_at_ms, .. } = change;
            let known = ProductRevision { product, revision, hashes, source: "shop".into(), last_run: None, changed_at_ms };
            catalog.products.insert(name, Arc::new(known));
        }
        catalog
    }
}

impl CatalogSnapshot for Catalog {
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
        let behind = |name: &&String| after.is_none_or(|after| name.as_str() > after);
        self.products.keys().filter(behind).take(limit).map(|name| Arc::clone(&self.products[name])).collect()
    }
    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

/// Watchtower's stand-in.
#[derive(Default)]
struct Reader(Mutex<Catalog>);

impl Reader {
    fn publish(&self, catalog: Catalog) {
        *self.0.lock().expect("no test panics holding it") = catalog;
    }
}

impl CatalogReader for Reader {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(self.0.lock().expect("no test panics holding it").clone())
    }
}

/// Flash and its neighbours.
struct Stage {
    scene: Scene,
    address: Address<SessionMsg>,
    reader: Arc<Reader>,
    args: Args,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path(), JournalConfig::default()).expect("a journal");
        let reader = Arc::new(Reader::default());
        let config = Config { batch_records_max: 3, ..Config::default() };
        let events = EventLog::open(&folder.path().join("events"), &events::Config::default(), Vec::new()).expect("a log");
        let args = Args { config, journal, events, catalog: reader.clone(), view: Arc::new(view()) };
        Self { scene: Scene::new(), address: Address::new(NAME, 16), reader, args, _folder: folder }
    }

    async fn start(&mut self) -> ractor::ActorRef<kit::Mail<SessionMsg>> {
        self.scene.spawn_at(&self.address, Flash, self.args.clone()).await
    }

    async fn append(&self, changes: &[CatalogChange]) {
        self.args.journal.append(changes.iter().map(record).collect()).await.expect("appended");
    }

    /// Waits until Flash has come to the journal's end.
    async fn caught_up(&self) {
        let follow = async {
            while self.args.view.journal_offset() < self.args.journal.end() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), follow).await.expect("Flash follows the journal");
    }

    fn price(&self, name: &str) -> Option<i64> {
        self.args.view.offer(name).and_then(|offer| offer.price).map(|price| price.amount_e4 / 10_000)
    }
}

#[tokio::test]
async fn starts_from_the_snapshot_and_follows_the_journal_from_there() {
    let mut stage = Stage::new();
    let changes =
        [change("a", 1, Some(1)), change("b", 1, Some(2)), change("c", 1, Some(3)), change("a", 2, Some(9)), change("b", 2, None)];
    // The last two are durable in the journal, but Watchtower has not published them yet.
    stage.append(&changes).await;
    stage.reader.publish(Catalog::after(&changes[..3]));
    stage.start().await;
    stage.caught_up().await;
    assert_eq!([stage.price("a"), stage.price("b"), stage.price("c")], [Some(9), None, Some(3)]);
    assert_eq!(stage.args.view.offer("never was"), None);

    stage.append(&[change("c", 2, Some(0)), change("d", 1, Some(4))]).await;
    stage.caught_up().await;
    assert_eq!(stage.args.view.offer("c").map(|offer| offer.is_available), Some(false));
    assert_eq!(stage.price("d"), Some(4));
    assert_eq!(stage.args.journal.consumers(), [(NAME, 7)]);
    stage.scene.end().await;
}

#[tokio::test]
async fn killed_and_restarted_it_shows_what_happened_meanwhile() {
    let mut stage = Stage::new();
    let mut changes = vec![change("a", 1, Some(1)), change("b", 1, Some(2))];
    stage.append(&changes).await;
    stage.reader.publish(Catalog::after(&changes));
    let flash = stage.start().await;
    stage.caught_up().await;
    flash.kill_and_wait(None).await.expect("killed");
    assert_eq!(stage.price("b"), Some(2), "readers see the table as it was");

    changes.extend([change("a", 2, Some(7)), change("b", 2, None), change("c", 1, Some(3))]);
    stage.append(&changes[2..]).await;
    stage.reader.publish(Catalog::after(&changes));
    stage.start().await;
    assert_eq!(["a", "b", "c"].map(|name| stage.price(name)), [Some(7), None, Some(3)]);
    assert_eq!(stage.args.view.journal_offset(), 5);
    stage.scene.end().await;
}

#[tokio::test]
async fn leaves_out_what_it_cannot_read() {
    let mut stage = Stage::new();
    let mut damaged = record(&change("a", 2, Some(5)));
    *damaged.body.last_mut().expect("a body") ^= 1;
    let foreign = NewRecord { kind: KIND_CATALOG_CHANGE + 1, body: record(&change("a", 3, Some(6))).body };
    let records = vec![record(&change("a", 1, Some(1))), damaged, foreign, record(&change("b", 1, Some(2)))];
    stage.args.journal.append(records).await.expect("appended");
    stage.start().await;
    stage.caught_up().await;
    assert_eq!([stage.price("a"), stage.price("b")], [Some(1), Some(2)]);
    stage.scene.end().await;
}

#[test]
fn an_older_revision_never_overwrites_a_newer_one() {
    let view = view();
    let offer = |amount| Some(crate::logic::offer::offer_state(&product("a", amount)));
    assert!(view.set(&id("a"), 2, offer(2)));
    assert!(!view.set(&id("a"), 1, offer(1)) && !view.set(&id("a"), 2, offer(1)) && !view.set(&id("a"), 1, None));
    assert_eq!(view.offer("a"), offer(2));
    assert!(view.set(&id("a"), 3, None));
    assert!(!view.set(&id("a"), 2, offer(2)));
    assert_eq!(view.offer("a"), None, "deleted stays deleted");
    assert!(view.set(&id("a"), 4, offer(4)));
    assert_eq!(view.offer("a"), offer(4));
}

proptest! {
    /// However often, and from wherever, parts of the journal are read again: once all of it was read, the table is the same.
    #[test]
    fn reading_again_changes_nothing(writes in prop::collection::vec((0..4_usize, prop::option::of(0..5_i64)), 1..30), rereads in prop::collection::vec((0..30_usize, 0..30_usize), 0..8)) {
        let mut revisions = [0; 4];
        let changes: Vec<CatalogChange> = writes.iter().map(|(name, amount)| {
            revisions[*name] += 1;
            change(["a", "b", "c", "d"][*name], revisions[*name], *amount)
        }).collect();
        let expected = Catalog::after(&changes);
        let view = view();
        let apply = |changes: &[CatalogChange]| for change in changes {
            view.set(&change.id, change.revision, change.product.as_ref().map(crate::logic::offer::offer_state));
        };
        for (from, length) in rereads {
            let from = from.min(changes.len());
            apply(&changes[from..(from + length).min(changes.len())]);
        }
        apply(&changes);
        for name in ["a", "b", "c", "d"] {
            let shown: Option<OfferState> = expected.get(name).map(|known| crate::logic::offer::offer_state(&known.product));
            prop_assert_eq!(view.offer(name), shown);
        }
    }
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    let config =
        Config { batch_records_max: 0, poll_interval_ms_max: 5000, batch_events_max: 0, memory_mib_max: 1, checkpoint_interval_ms_max: 0 };
    let fields: Vec<&str> = config.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["batch_records_max", "poll_interval_ms_max", "batch_events_max", "memory_mib_max", "checkpoint_interval_ms_max"]);
}

#[test]
fn the_version_grows_with_every_change_of_an_offer_and_with_nothing_else() {
    let view = view();
    let offer = |amount| Some(crate::logic::offer::offer_state(&product("a", amount)));
    let mut version = view.version();
    for (revision, amount, is_change) in [(1, 2, true), (2, 2, false), (3, 5, true), (3, 9, false), (4, 0, true)] {
        view.set(&id("a"), revision, offer(amount));
        assert_eq!(view.version() > version, is_change, "revision {revision}");
        assert!(view.version() >= version);
        version = view.version();
    }
    view.set(&id("a"), 5, None);
    assert!(view.version() > version);
}

/// Prints figures: `cargo test -p session --release -- --ignored --nocapture`.
#[test]
#[ignore = "measures, asserts nothing"]
fn figures() {
    for (products, sessions, items) in [(1_000, 1_000, 20), (100_000, 50_000, 20)] {
        println!("{products} products, {sessions} sessions of {items} items");
        let options = crate::figures::Options { products, sessions, items, threads: 2, duration: Duration::from_secs(1) };
        for figure in crate::figures::measure(&options).expect("ids") {
            println!("{:<40} {} threads {:>12.0}/s {:>8.0} ns", figure.what, figure.threads, figure.per_second, figure.nanoseconds);
        }
    }
}
