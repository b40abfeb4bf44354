//! The actor, with a probe in Gordon's place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{PartHashes, Parts};
use kit::{Address, Context, Mail, ManualClock, Priority, Probe, Reply, Scene};
use protocol::catalog::Outcome;
use protocol::ingest::{FeedMode, FeedRequest, FeedRun, FeedRunReader, FeedSource, IngestError, IngestMsg, NAME, RunId, RunStatus};
use protocol::queue::{QueueError, QueueMsg};
use ractor::ActorRef;
use store::MemoryStore;

use crate::{Args, Config, Joker, View};

const FEED: &str = "id,title,price\n1,a,5 EUR\n2,b,free\n,no id,1 EUR\n3,c,7 EUR\n4,d,8 EUR\n";

struct House {
    scene: Scene,
    joker: Address<IngestMsg>,
    actor: Option<ActorRef<Mail<IngestMsg>>>,
    args: Args,
    folder: tempfile::TempDir,
    files: AtomicUsize,
}

impl House {
    async fn build(config: Config) -> (Self, Probe<QueueMsg>) {
        let mut scene = Scene::new();
        let (gordon, probe) = scene.probe("gordon").await;
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(MemoryStore::new());
        let view = Arc::new(View::new(store.clone()));
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let args = Args { config, store, gordon, view, clock, spool: folder.path().join("spool"), inbox: folder.path().join("inbox") };
        let joker = Address::new(NAME, 64);
        let mut house = Self { scene, joker, actor: None, args, folder, files: AtomicUsize::new(0) };
        house.start_joker().await;
        (house, probe)
    }

    async fn start_joker(&mut self) {
        self.actor = Some(self.scene.spawn_at(&self.joker, Joker, self.args.clone()).await);
    }

    /// Ends the actor as a crash would and starts another in its place.
    async fn kill_joker(&mut self) {
        self.joker.disconnect();
        self.actor.take().expect("it runs").kill_and_wait(None).await.expect("it ends");
        self.start_joker().await;
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    }

    fn request(&self, text: &str) -> FeedRequest {
        let path = self.file(&format!("feed-{}.csv", self.files.fetch_add(1, Ordering::Relaxed)), text);
        FeedRequest {
            from: FeedSource::File(path),
            name: "feed.csv".into(),
            source: "main".into(),
            mode: FeedMode::Full,
            dry_run: false,
            format: None,
            image_root: None,
            force: false,
            default_currency: None,
        }
    }

    async fn start(&self, request: FeedRequest) -> Result<RunId, IngestError> {
        self.joker.call(&context(), |reply| IngestMsg::Start { request, reply }).await.expect("answered")
    }

    async fn run(&self, text: &str) -> RunId {
        self.start(self.request(text)).await.expect("taken")
    }

    async fn cancel(&self, id: RunId) -> Result<(), IngestError> {
        self.joker.call(&context(), |reply| IngestMsg::Cancel { id, reply }).await.expect("answered")
    }

    async fn ended(&self, id: RunId) -> Arc<FeedRun> {
        let mut changes = self.args.view.changes();
        loop {
            let run = self.args.view.get(id).expect("the run is known");
            if run.status.is_final() {
                return run;
            }
            changes.changed().await.expect("the view lives");
        }
    }

    fn rejects(&self, id: RunId) -> Vec<(u64, String)> {
        let rejects = self.args.view.rejects(id, 0, 100).expect("read");
        rejects.into_iter().map(|reject| (reject.row, reject.code)).collect()
    }
}

/// Gordon and Watchtower in one: a catalog in memory that remembers which run changed what.
#[derive(Default)]
struct Shop {
    products: HashMap<String, (PartHashes, RunId, Outcome)>,
    seen: HashMap<RunId, Vec<String>>,
    /// Routes still to be answered by an error.
    faults: Vec<QueueError>,
    finished: Vec<RunId>,
    abandoned: Vec<RunId>,
}

impl Shop {
    fn answer(&mut self, message: QueueMsg) {
        match message {
            QueueMsg::BeginRun { run, reply, .. } => {
                self.seen.insert(run, Vec::new());
                reply.send(Ok(()));
            }
            QueueMsg::Route { run, products, reply, .. } => reply.send(self.route(run, products)),
            QueueMsg::FinishRun { run, reply, .. } => {
                self.finished.push(run);
                reply.send(self.seen.remove(&run).map(|_| 2).ok_or(QueueError::UnknownRun(run)));
            }
            QueueMsg::AbandonRun { run } => self.abandoned.push(run),
            other => panic!("not Joker's business: {other:?}"),
        }
    }

    fn route(&mut self, run: Option<RunId>, products: Vec<Arc<domain::Product>>) -> Result<Vec<Result<Outcome, String>>, QueueError> {
        if let Some(fault) = self.faults.pop() {
            if matches!(fault, QueueError::UnknownRun(_)) {
                self.seen.clear();
            }
            return Err(fault);
        }
        let id = run.unwrap_or(RunId(0));
        if run.is_some() && !self.seen.contains_key(&id) {
            return Err(QueueError::UnknownRun(id));
        }
        Ok(products.iter().map(|product| Ok(self.route_one(id, product))).collect())
    }

    fn route_one(&mut self, run: RunId, product: &domain::Product) -> Outcome {
        let (name, hashes) = (product.id.to_string(), PartHashes::of(product));
        let seen = self.seen.entry(run).or_default();
        let is_first = !seen.contains(&name);
        seen.push(name.clone());
        let outcome = match self.products.get(&name) {
            None => Outcome::Created,
            Some((known, last, outcome)) if *known == hashes => {
                return if *last == run && is_first { *outcome } else { Outcome::Unchanged };
            }
            Some(_) => Outcome::Updated(Parts::TEXT),
        };
        self.products.insert(name, (hashes, run, outcome));
        outcome
    }
}

fn serve(gordon: Probe<QueueMsg>) -> Arc<Mutex<Shop>> {
    let shop = Arc::new(Mutex::new(Shop::default()));
    let served = Arc::clone(&shop);
    gordon.answer_all(move |message| served.lock().expect("no panic").answer(message));
    shop
}

/// The runs that were finished, and those that were abandoned.
fn closed(shop: &Mutex<Shop>) -> (Vec<RunId>, Vec<RunId>) {
    let shop = shop.lock().expect("no panic");
    (shop.finished.clone(), shop.abandoned.clone())
}

fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(20))
}

fn small_batches() -> Config {
    Config { batch_products_max: 1, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn a_feed_is_read_counted_and_finished() {
    let (house, gordon) = House::build(Config::default()).await;
    let shop = serve(gordon);
    let mut request = house.request(FEED);
    let upload = house.file("upload", FEED);
    request.from = FeedSource::Spooled(upload.clone());
    let id = house.start(request).await.expect("taken");
    let run = house.ended(id).await;
    assert_eq!((run.status, run.format.as_deref(), &run.error), (RunStatus::Succeeded, Some("google_csv"), &None));
    let counts = run.counts;
    assert_eq!((counts.records, counts.products, counts.variants, counts.created, counts.deleted), (5, 4, 4, 4, 2));
    assert_eq!((counts.rejected, counts.warnings, run.bytes_read, run.bytes_total), (1, 1, FEED.len() as u64, Some(FEED.len() as u64)));
    assert_eq!(house.rejects(id), [(2, "bad_price".into()), (3, "missing_id".into())]);
    assert_eq!(house.args.view.rejects(id, 1, 1).expect("read").len(), 1);
    assert!(!upload.exists(), "the upload is removed");
    let again = house.run(FEED).await;
    assert_eq!(house.ended(again).await.counts.unchanged, 4);
    assert!(house.folder.path().join("feed-1.csv").exists(), "the caller's own file is left");
    assert_eq!(shop.lock().expect("no panic").finished, [id, again]);
    assert_eq!(house.args.view.latest(9).iter().map(|run| run.id).collect::<Vec<_>>(), [again, id]);
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gordon_that_is_away_full_or_forgetful_changes_no_count() {
    let (house, gordon) = House::build(small_batches()).await;
    let shop = serve(gordon);
    let forgot = || QueueError::UnknownRun(RunId(0));
    let full = || QueueError::Full { queue: "embed_text", jobs: 1 };
    shop.lock().expect("no panic").faults = vec![full(), forgot(), QueueError::Unavailable("watchtower".into()), full(), full()];
    let id = house.run(FEED).await;
    let run = house.ended(id).await;
    assert_eq!((run.status, run.counts.created, run.counts.records, run.counts.rejected), (RunStatus::Succeeded, 4, 5, 1));
    assert_eq!(house.rejects(id).len(), 2, "rejects of the first attempt are gone");
    assert!(shop.lock().expect("no panic").faults.is_empty());
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn gordon_forgets_the_run_between_two_batches() {
    let (house, mut gordon) = House::build(small_batches()).await;
    let id = house.run(FEED).await;
    let mut shop = Shop::default();
    for _ in 0..3 {
        shop.answer(gordon.next().await.1);
    }
    shop.seen.clear();
    let served = Arc::new(Mutex::new(shop));
    let answering = Arc::clone(&served);
    gordon.answer_all(move |message| answering.lock().expect("no panic").answer(message));
    let run = house.ended(id).await;
    assert_eq!((run.status, run.counts.created, run.counts.unchanged, run.counts.records), (RunStatus::Succeeded, 4, 0, 5));
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gordon_that_never_comes_fails_the_run() {
    let (house, _gordon) = House::build(Config { unavailable_ms_max: 60_000, ..Config::default() }).await;
    house.args.gordon.disconnect();
    let id = house.run(FEED).await;
    let run = house.ended(id).await;
    assert_eq!((run.status, run.error.as_ref().map(|error| error.code.as_str())), (RunStatus::Failed, Some("unavailable")));
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn killing_joker_in_the_middle_of_a_run_loses_and_doubles_nothing() {
    for messages in 1..=4 {
        let (mut house, mut gordon) = House::build(small_batches()).await;
        let first = house.run(FEED).await;
        let second = house.run(FEED).await;
        let mut shop = Shop::default();
        for _ in 0..messages {
            shop.answer(gordon.next().await.1);
        }
        let served = Arc::new(Mutex::new(shop));
        house.kill_joker().await;
        let answering = Arc::clone(&served);
        gordon.answer_all(move |message| answering.lock().expect("no panic").answer(message));
        let run = house.ended(first).await;
        assert_eq!((run.status, run.counts.created, run.counts.records), (RunStatus::Succeeded, 4, 5), "after {messages}");
        assert_eq!(house.rejects(first).len(), 2);
        assert_eq!(house.ended(second).await.counts.unchanged, 4);
        assert_eq!(served.lock().expect("no panic").finished, [first, second]);
        house.scene.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn runs_are_canceled_under_way_and_in_the_line() {
    let (house, mut gordon) = House::build(small_batches()).await;
    let (running, waiting, last) = (house.run(FEED).await, house.run(FEED).await, house.run(FEED).await);
    let (_, QueueMsg::BeginRun { run, .. }) = gordon.next().await else { panic!("the run begins") };
    assert_eq!(run, running);
    house.cancel(waiting).await.expect("canceled");
    house.cancel(running).await.expect("canceled");
    let shop = serve(gordon);
    assert_eq!(house.ended(last).await.status, RunStatus::Succeeded);
    for id in [running, waiting] {
        assert_eq!(house.ended(id).await.status, RunStatus::Canceled);
        assert!(matches!(house.cancel(id).await, Err(IngestError::BadRequest { field: "id", .. })));
    }
    assert!(matches!(house.cancel(RunId(1)).await, Err(IngestError::UnknownRun(_))));
    assert_eq!(closed(&shop), (vec![last], vec![running]));
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded_and_old_runs_are_forgotten() {
    let (house, gordon) = House::build(Config { runs_waiting_max: 2, runs_kept_max: 2, ..Config::default() }).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(house.run(FEED).await);
    }
    assert!(matches!(house.start(house.request(FEED)).await, Err(IngestError::TooManyRuns(2))));
    let _shop = serve(gordon);
    house.ended(runs[2]).await;
    // The oldest is forgotten with its rejects once the third has been closed.
    let mut changes = house.args.view.changes();
    while house.args.view.get(runs[0]).is_some() {
        changes.changed().await.expect("the view lives");
    }
    assert!(matches!(house.args.view.rejects(runs[0], 0, 9), Err(IngestError::UnknownRun(_))));
    assert_eq!(house.rejects(runs[1]).len(), 2);
    assert!(runs.is_sorted());
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn feeds_that_break_off_by_mode() {
    let (house, gordon) = House::build(Config::default()).await;
    let shop = serve(gordon);
    let cut = "id,title\n1,a\n2,\"b";
    let full = house.run(cut).await;
    let run = house.ended(full).await;
    assert_eq!(
        (run.status, run.error.as_ref().map(|error| error.code.as_str()), run.counts.created),
        (RunStatus::Failed, Some("truncated"), 1)
    );
    let mut request = house.request(cut);
    request.mode = FeedMode::Delta;
    let delta = house.start(request).await.expect("taken");
    let run = house.ended(delta).await;
    assert_eq!((run.status, run.counts.unchanged, run.counts.rejected), (RunStatus::Succeeded, 1, 1));
    assert_eq!(house.rejects(delta), [(2, "truncated".into())]);
    assert_eq!(closed(&shop), (vec![delta], vec![full]));
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn runs_fail_with_a_code_that_says_why() {
    let (house, mut gordon) = House::build(Config::default()).await;
    let page = house.run("<!DOCTYPE html><html>502</html>").await;
    assert_eq!(house.ended(page).await.error.as_ref().map(|error| error.code.clone()), Some("not_a_feed".into()));
    assert!(matches!(gordon.next().await.1, QueueMsg::AbandonRun { run } if run == page));
    let mut request = house.request(FEED);
    request.from = FeedSource::File(house.folder.path().join("absent"));
    let absent = house.start(request).await.expect("taken");
    assert_eq!(house.ended(absent).await.error.as_ref().map(|error| error.code.clone()), Some("unreadable".into()));
    gordon.next().await;
    let shrunken = house.run("id,title\n").await;
    gordon.next().await.1.begin().send(Ok(()));
    let QueueMsg::FinishRun { reply, .. } = gordon.next().await.1 else { panic!("the run ends") };
    reply.send(Err(QueueError::ShrunkenFeed { known: 10, seen: 0 }));
    let run = house.ended(shrunken).await;
    assert_eq!((run.status, run.error.as_ref().map(|error| error.code.as_str())), (RunStatus::Failed, Some("empty_feed")));
    house.scene.end().await;
}

/// The reply of a `BeginRun`.
trait Begin {
    fn begin(self) -> Reply<Result<(), QueueError>>;
}

impl Begin for QueueMsg {
    fn begin(self) -> Reply<Result<(), QueueError>> {
        let QueueMsg::BeginRun { reply, .. } = self else { panic!("the run begins") };
        reply
    }
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_answered_by_field() {
    let (house, _gordon) = House::build(Config::default()).await;
    type Spoil = fn(&mut FeedRequest);
    let cases: [(Spoil, &str); 5] = [
        (|request| request.source.clear(), "source"),
        (|request| request.format = Some("papyrus".into()), "format"),
        (|request| request.default_currency = Some("euro".into()), "default_currency"),
        (|request| request.from = FeedSource::Url("ftp://shop.example/feed".into()), "url"),
        (|request| request.name = "x".repeat(4096), "name"),
    ];
    for (spoil, expected) in cases {
        let mut request = house.request(FEED);
        spoil(&mut request);
        assert!(matches!(house.start(request).await, Err(IngestError::BadRequest { field, .. }) if field == expected), "{expected}");
    }
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn single_products_pass_the_same_checks() {
    let (house, gordon) = House::build(Config::default()).await;
    let _shop = serve(gordon);
    let put = async |json: &str| {
        let (json, source) = (json.as_bytes().to_vec(), "main".to_owned());
        house.joker.call(&context(), |reply| IngestMsg::Put { json, source, reply }).await.expect("answered")
    };
    let answer = put(r#"{"id":"p","title":" A  shoe ","images":["https://x.example/a.jpg"],"colour":"red","offer":{"price":"5 EUR"}}"#)
        .await
        .expect("taken");
    assert_eq!((answer.id.as_str(), answer.outcome, answer.warnings[0].code.as_str()), ("p", Outcome::Created, "unknown_field"));
    let again = put(r#"{"id":"p","title":"A shoe","images":["https://x.example/a.jpg"],"colour":"red","offer":{"price":"5 EUR"}}"#)
        .await
        .expect("taken");
    assert_eq!(again.outcome, Outcome::Unchanged);
    for (json, code) in [
        ("{", "bad_json"),
        (r#"{"title":"x"}"#, "missing_id"),
        (r#"{"id":"p"}"#, "missing_title"),
        (r#"{"id":"p","title":"x","offer":{"price":"free"}}"#, "bad_field"),
    ] {
        assert!(matches!(put(json).await, Err(IngestError::Rejected(rejects)) if rejects[0].code == code), "{json}");
    }
    let outside = put(r#"{"id":"q","title":"x","images":["file:///etc/passwd"]}"#).await.expect("taken without the picture");
    assert_eq!(outside.warnings[0].code, "image_outside_root");
    house.args.gordon.disconnect();
    assert!(matches!(put(r#"{"id":"p","title":"x"}"#).await, Err(IngestError::Unavailable(_))));
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn rejects_are_kept_up_to_the_bound_and_counted_beyond() {
    let (house, gordon) = House::build(Config { rejects_max: 3, ..Config::default() }).await;
    let _shop = serve(gordon);
    let rows: String = (0..2000).map(|row| format!(",row {row},1 EUR\n")).collect();
    let id = house.run(&format!("id,title,price\n1,a,free\n{rows}")).await;
    let run = house.ended(id).await;
    assert_eq!((run.counts.rejected, run.counts.warnings), (2000, 1));
    assert_eq!(house.rejects(id).len(), 4);
    house.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_private_address_is_not_downloaded_from() {
    let (house, _gordon) = House::build(Config::default()).await;
    let mut request = house.request(FEED);
    request.from = FeedSource::Url("http://127.0.0.1:9/feed.csv".into());
    let id = house.start(request).await.expect("taken");
    assert_eq!(house.ended(id).await.error.as_ref().map(|error| error.code.clone()), Some("private_address".into()));
    house.scene.end().await;
}
