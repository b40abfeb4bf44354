//! Superman with a log of his own and stand-ins for his neighbours.

use std::sync::Arc;
use std::time::Duration;

use domain::{Erasure, Event, EventItem, EventKind, ProductId, Shopper};
use events::EventLog;
use kit::{Address, Context, Scene};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::recommend::{Logic, NAME, RecommendMsg, RecommendQuery, Recommender};
use protocol::releases::{Command, Definition, Ledger, Order, Rank, ReleaseReader, Settings};
use protocol::search::{AttributeInfo, Hit, IndexStats, SearchAnswer, SearchQuery, Searcher, Searching, Suggestion};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};

use crate::{Args, Config, Superman, View};

fn id(name: &str) -> ProductId {
    name.parse().expect("an id")
}

fn event(number: usize, user: &str, kind: EventKind, product: &str, at_ms: i64) -> Event {
    Event {
        user: Some(user.into()),
        session: Some(format!("{user}-visit")),
        items: vec![EventItem::of(id(product))],
        ..Event::new(format!("e{number}"), kind, at_ms)
    }
}

/// Visits of several shoppers over few products, with purchases.
fn history(events: usize) -> Vec<Event> {
    let of = |number: usize| {
        let kind = if number.is_multiple_of(5) { EventKind::Purchase } else { EventKind::View };
        event(number, &format!("u{}", number * 7 % 11), kind, &format!("p{}", (number * number + number / 3) % 9), 1_000 * number as i64)
    };
    (0..events).map(of).collect()
}

/// A catalog, its vectors and an index in one: `new` is like `p1`.
struct Neighbourhood;

impl CatalogReader for Neighbourhood {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(Self)
    }
}

impl CatalogSnapshot for Neighbourhood {
    fn version(&self) -> u64 {
        1
    }
    fn len(&self) -> usize {
        1
    }
    fn get(&self, name: &str) -> Option<Arc<ProductRevision>> {
        (name == "new").then(|| {
            Arc::new(ProductRevision {
                product: domain::Product::new(id("new"), "New"),
                revision: 1,
                hashes: domain::PartHashes::default(),
                source: "shop".into(),
                last_run: None,
                changed_at_ms: 0,
            })
        })
    }
    fn page(&self, after: Option<&str>, _: usize) -> Vec<Arc<ProductRevision>> {
        if after.is_none() { self.get("new").into_iter().collect() } else { Vec::new() }
    }
    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

/// The live model of texts, and the one of an assistant commissioner.
fn model(fingerprint: &str) -> ModelInfo {
    ModelInfo { name: fingerprint.into(), space: Space::Text, dimensions: 1, fingerprint: fingerprint.into(), reads_texts: true }
}

impl ReleaseReader for Neighbourhood {
    fn ledger(&self) -> Arc<Ledger> {
        let definition = |name: &str| Definition::of_first(&[model(name)], Settings::default());
        let promote = Order::Promote { to: Some(Rank::AssistantCommissioner), share: Some(0.5), is_complete: true, force: false };
        let mut ledger = Ledger::first(definition("m"), 0);
        for order in [Order::Create(definition("other")), promote] {
            ledger =
                ledger.after(&Command { name: "second".into(), order, by: String::new(), reason: String::new() }, 0).expect("followed");
        }
        Arc::new(ledger)
    }
}

impl VisionReader for Neighbourhood {
    fn models(&self) -> Vec<ModelInfo> {
        vec![model("m")]
    }
    fn kept(&self) -> Vec<ModelInfo> {
        vec![model("m"), model("other")]
    }
    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let vectors = self.vectors(product, model.space).into_iter();
        vectors.map(|embedding| Embedding { fingerprint: model.fingerprint.as_str().into(), ..embedding }).collect()
    }
    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        let embedding = Embedding { vector: vec![1.0].into(), content: domain::ContentHash::of(b"text"), fingerprint: "m".into() };
        if product == "new" && space == Space::Text { vec![embedding] } else { Vec::new() }
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}

impl Searcher for Neighbourhood {
    fn search<'a>(&'a self, _: &'a Context, query: SearchQuery) -> Searching<'a> {
        assert_eq!((&query.exclude, query.vectors.len()), (&vec![id("new")], 1));
        let hit = |name: &str, score| Hit { product: id(name), score, found_by: vec!["text"], parts: Vec::new(), group_size: None };
        // By the other model it is like something else.
        let near = if &*query.vectors[0].fingerprint == "m" { "p1" } else { "p2" };
        assert!(query.by.is_some(), "as the release searches");
        let hits = vec![hit("nobody knows me", 0.99), hit(near, 0.9)];
        Box::pin(async { Ok(SearchAnswer { hits, ..SearchAnswer::default() }) })
    }
    fn suggest(&self, _: &str, _: usize) -> Vec<Suggestion> {
        Vec::new()
    }
    fn attributes(&self) -> Vec<AttributeInfo> {
        Vec::new()
    }
    fn stats(&self) -> IndexStats {
        IndexStats::default()
    }
}

struct Stage {
    scene: Scene,
    address: Address<RecommendMsg>,
    args: Args,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EventLog::open(&folder.path().join("log"), &events::Config::default(), Vec::new()).expect("a log");
        let view = Arc::new(View::new(&config));
        let neighbourhood = Arc::new(Neighbourhood);
        let args = Args {
            config,
            log,
            dir: folder.path().join("state"),
            catalog: neighbourhood.clone(),
            vision: neighbourhood.clone(),
            searcher: neighbourhood.clone(),
            releases: neighbourhood,
            view,
        };
        Self { scene: Scene::new(), address: Address::new(NAME, 16), args, _folder: folder }
    }

    async fn start(&mut self) -> ractor::ActorRef<kit::Mail<RecommendMsg>> {
        self.scene.spawn_at(&self.address, Superman, self.args.clone()).await
    }

    async fn append(&self, events: Vec<Event>) {
        self.args.log.append(events).await.expect("appended");
    }

    async fn caught_up(&self) {
        assert!(self.args.view.progress().reached(self.args.log.end(), Duration::from_secs(30)).await, "Superman follows the log");
    }

    /// The digest of a rebuild from the first event.
    fn rebuilt(&self) -> [u8; 32] {
        let view = View::new(&self.args.config);
        let entries = self.args.log.read(0, usize::MAX).expect("readable");
        view.state.write(|state| entries.iter().for_each(|entry| crate::actor::apply(state, entry)));
        view.digest()
    }

    fn asked(&self, logic: Logic, user: &str, products: &[&str]) -> Vec<String> {
        let products = products.iter().map(|name| id(name)).collect();
        let query = RecommendQuery { logic, shopper: Some(Shopper::user(user)), products, limit: 10, models: Vec::new() };
        self.args.view.candidates(&query, &|_| true).iter().map(|candidate| candidate.product.to_string()).collect()
    }
}

#[tokio::test]
async fn an_acknowledged_event_is_in_the_next_answer() {
    let mut stage = Stage::new(Config::default());
    stage.start().await;
    stage.append(history(200)).await;
    stage.caught_up().await;
    assert!(!stage.asked(Logic::ForYou, "somebody else", &[]).is_empty(), "popular products for strangers");
    assert_eq!(stage.asked(Logic::RecentlyViewed, "somebody else", &[]), Vec::<String>::new());
    stage.append(vec![event(1_000, "somebody else", EventKind::View, "p4", 300_000)]).await;
    stage.caught_up().await;
    assert_eq!(stage.asked(Logic::RecentlyViewed, "somebody else", &[]), ["p4"]);
    let query = RecommendQuery {
        logic: Logic::ForYou,
        shopper: Some(Shopper::user("somebody else")),
        products: Vec::new(),
        limit: 3,
        models: Vec::new(),
    };
    let only_p2 = stage.args.view.candidates(&query, &|name| name == "p2");
    assert_eq!(only_p2.len(), 1, "a strict condition is asked before the list is cut");
    let best = &only_p2[0];
    let sum: f32 = best.reasons.iter().map(|reason| reason.score).sum::<f32>() + best.rest;
    assert!((sum - best.score).abs() <= 1e-4 * best.score.abs(), "{best:?}");
    stage.scene.end().await;
}

/// However it is interrupted, what was learned is what a rebuild learns.
#[tokio::test]
async fn killed_at_any_point_it_ends_at_the_digest_of_a_rebuild() {
    for checkpoint_events_max in [1, 37, 1_000_000] {
        let mut stage = Stage::new(Config { checkpoint_events_max, batch_records_max: 10, ..Config::default() });
        let all = history(240);
        for part in all.chunks(60) {
            let superman = stage.start().await;
            stage.append(part.to_vec()).await;
            if part[0].id == "e120" {
                // Without a word: whatever is under way is lost.
                superman.kill_and_wait(None).await.expect("killed");
            } else {
                stage.caught_up().await;
                superman.stop_and_wait(None, None).await.expect("stopped");
            }
        }
        let erasure = Erasure { shoppers: vec![Shopper::user("u3")], at_ms: 1, receipt: "r".into() };
        stage.args.log.erase(erasure).await.expect("appended");
        // Everything in memory is gone, too.
        stage.args.view = Arc::new(View::new(&stage.args.config));
        stage.start().await;
        stage.caught_up().await;
        assert_eq!(stage.args.view.digest(), stage.rebuilt(), "a state file after {checkpoint_events_max} events");
        assert_eq!(stage.asked(Logic::RecentlyViewed, "u3", &[]), Vec::<String>::new(), "erased");
        assert!(!stage.asked(Logic::RecentlyViewed, "u4", &[]).is_empty());
        stage.scene.end().await;
    }
}

#[tokio::test]
async fn a_state_file_that_is_not_sound_is_passed_over() {
    let mut stage = Stage::new(Config::default());
    let superman = stage.start().await;
    stage.append(history(50)).await;
    stage.caught_up().await;
    superman.stop_and_wait(None, None).await.expect("stopped");
    let file = std::fs::read_dir(&stage.args.dir).expect("a folder").next().expect("a file").expect("a file").path();
    let mut bytes = std::fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    stage.args.view = Arc::new(View::new(&stage.args.config));
    stage.start().await;
    stage.caught_up().await;
    assert_eq!(stage.args.view.digest(), stage.rebuilt());
    stage.scene.end().await;
}

#[tokio::test]
async fn a_visitor_who_logs_in_keeps_what_was_seen() {
    let mut stage = Stage::new(Config::default());
    stage.start().await;
    let visitor = Event { user: None, visitor: Some("cookie".into()), ..event(1, "", EventKind::View, "p1", 1_000) };
    let login = Event { visitor: Some("cookie".into()), items: Vec::new(), ..event(2, "anna", EventKind::Identify, "p1", 2_000) };
    stage.append(vec![visitor, login]).await;
    stage.caught_up().await;
    assert_eq!(stage.asked(Logic::RecentlyViewed, "anna", &[]), ["p1"]);
    let seen = Event { user: None, visitor: Some("other cookie".into()), ..event(3, "", EventKind::View, "p2", 3_000) };
    let unwilling = Event { visitor: Some("other cookie".into()), consent: Some(false), ..event(4, "anna", EventKind::View, "p3", 4_000) };
    stage.append(vec![seen, unwilling]).await;
    stage.caught_up().await;
    assert_eq!(stage.asked(Logic::RecentlyViewed, "anna", &[]), ["p1"], "without consent nothing is put together");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_product_that_nobody_knows_inherits_from_what_it_is_like() {
    let mut stage = Stage::new(Config { acquaint_interval_ms: 100, ..Config::default() });
    stage.start().await;
    stage.append(history(200)).await;
    stage.caught_up().await;
    let acquainted = async {
        while stage.args.view.stats().new_products == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), acquainted).await.expect("acquainted");
    let digest = stage.args.view.digest();
    let query = RecommendQuery { logic: Logic::AlsoViewed, shopper: None, products: vec![id("p1")], limit: 10, models: Vec::new() };
    let answer = stage.args.view.candidates(&query, &|_| true);
    let new = answer.iter().find(|candidate| candidate.product.as_str() == "new").expect("the new product is proposed");
    assert_eq!((new.reasons[0].strategy, new.reasons[0].source.as_ref().map(ToString::to_string)), ("content", Some("p1".into())));
    let sources = |models: Vec<ModelInfo>| {
        let products = vec![id("p1"), id("p2")];
        let query = RecommendQuery { logic: Logic::AlsoViewed, shopper: None, products, limit: 100, models };
        let found = stage.args.view.candidates(&query, &|name| name == "new");
        found.iter().flat_map(|new| &new.reasons).filter_map(|reason| reason.source.clone()).map(|id| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!([sources(Vec::new()), sources(vec![model("m")])], [["p1"], ["p1"]]);
    assert_eq!(sources(vec![model("other")]), ["p2"], "an assistant commissioner's shoppers get its likeness");
    assert_eq!(sources(vec![model("unknown")]), Vec::<String>::new(), "and nothing of another model's");
    assert_eq!(stage.args.view.digest(), digest, "likeness is not learned state");
    assert!(stage.args.view.stats().version > stage.args.view.stats().events, "answers change by it all the same");
    assert_eq!(stage.args.view.popularity(&[id("new"), id("p1")]).iter().map(|count| *count > 0.0).collect::<Vec<_>>(), [false, true]);
    stage.scene.end().await;
}

/// Shoppers who buy some of 30 pairs of products, both of each, in one order.
fn pairs_bought() -> Vec<Event> {
    let mut events = Vec::new();
    for shopper in 0..300usize {
        let mut places: Vec<(usize, String)> = Vec::new();
        for step in 0..3 + shopper % 6 {
            let pair = (shopper * 17 + step * (7 + shopper % 5) * 11 + shopper * shopper / 3) % 30;
            places.push(((shopper * 31 + step * 77) % 101, format!("a{pair}")));
            places.push(((shopper * 53 + step * 39) % 103, format!("b{pair}")));
        }
        places.sort();
        for (place, (_, product)) in places.into_iter().enumerate() {
            let at_ms = (shopper * 7_200_000 + place * 1_000) as i64;
            let bought = event(events.len(), &format!("u{shopper}"), EventKind::Purchase, &product, at_ms);
            events.push(Event { order: Some(format!("o{shopper}")), ..bought });
        }
    }
    events
}

#[tokio::test]
async fn a_regression_has_its_say_in_lists_for_carts_and_shoppers() {
    let mut stage = Stage::new(Config::default());
    let mut all = pairs_bought();
    let now_ms = 300 * 7_200_000;
    all.push(event(100_000, "guest", EventKind::View, "a3", now_ms));
    all.push(event(100_001, "guest", EventKind::View, "a5", now_ms + 1_000));
    all.push(event(100_002, "later", EventKind::View, "a9", now_ms + 7_200_000));
    stage.append(all).await;
    stage.start().await;
    stage.caught_up().await;
    let fitted = async {
        while stage.args.view.regressions.load().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), fitted).await.expect("fitted");
    assert_eq!(stage.args.view.digest(), stage.rebuilt(), "it is not learned state");
    let query = |logic, products: &[&str]| RecommendQuery {
        logic,
        shopper: Some(Shopper::user("guest")),
        products: products.iter().map(|name| id(name)).collect(),
        limit: 6,
        models: Vec::new(),
    };
    for (logic, cart) in [(Logic::ForYou, &[][..]), (Logic::ForCart, &["a3", "a5"])] {
        let answer = stage.args.view.candidates(&query(logic, cart), &|_| true);
        for (source, partner) in [("a3", "b3"), ("a5", "b5")] {
            let found = answer.iter().find(|candidate| candidate.product.as_str() == partner).expect("the partner is proposed");
            let reason = found.reasons.iter().find(|reason| reason.strategy == "ease").expect("the regression says so");
            assert_eq!(reason.source, Some(id(source)), "{logic:?} {found:?}");
        }
        for candidate in &answer {
            let sum: f32 = candidate.reasons.iter().map(|reason| reason.score).sum::<f32>() + candidate.rest;
            assert!((sum - candidate.score).abs() <= 1e-4, "{candidate:?}");
        }
        assert!(answer.is_sorted_by(|a, b| a.score >= b.score) && answer.len() == 6, "{answer:?}");
        let strict = stage.args.view.candidates(&query(logic, cart), &|name| name == "b5");
        assert_eq!(strict.iter().map(|candidate| candidate.product.as_str()).collect::<Vec<_>>(), ["b5"]);
    }
    let pairs_alone = stage.args.view.candidates(&query(Logic::BoughtTogether, &["a3", "a5"]), &|_| true);
    let has_say = |strategy: &str| pairs_alone.iter().flat_map(|candidate| &candidate.reasons).any(|reason| reason.strategy == strategy);
    assert!(has_say("together") && !has_say("ease"), "beside products pairs alone are shown, those that chance does not explain");
    stage.append(vec![event(100_003, "guest", EventKind::Dismiss, "b5", now_ms + 7_200_001)]).await;
    stage.caught_up().await;
    let answer = stage.args.view.candidates(&query(Logic::ForYou, &[]), &|_| true);
    let names: Vec<&str> = answer.iter().map(|candidate| candidate.product.as_str()).collect();
    assert!(names.contains(&"b3") && !names.contains(&"b5"), "{names:?}");
    for logic in [Logic::Popular, Logic::Trending] {
        let query = RecommendQuery { limit: 60, ..query(logic, &[]) };
        let names: Vec<String> = stage.args.view.candidates(&query, &|_| true).iter().map(|found| found.product.to_string()).collect();
        assert!(names.contains(&"b3".to_owned()) && !names.contains(&"b5".to_owned()), "{logic:?} {names:?}");
    }
    stage.scene.end().await;
}

/// Visits that each go round a ring of their own: what comes next is told by what was seen just before, and by little else.
#[test]
fn blends_are_tuned_on_what_was_foretold_best_and_too_few_visits_change_nothing() {
    let view = View::new(&Config::default());
    assert_eq!(crate::effects::tune(&view, &|| true), [None, None]);
    let mut number = 0;
    view.state.write(|state| {
        for visit in 0..3_000usize {
            for step in 0..6usize {
                number += 1;
                let product = format!("p{}-{}", visit % 40, (visit * 7 + step) % 25);
                let seen = event(number, &format!("u{visit}"), EventKind::View, &product, (visit * 7_200_000 + step * 1_000) as i64);
                crate::logic::lessons::lessons(&seen, |done| {
                    state.apply(done).expect("taken");
                });
            }
        }
        state.end_visits();
    });
    let tuned = crate::effects::tune(&view, &|| true);
    for (tuned, taken) in tuned.iter().zip([&view.blends.load().visit, &view.blends.load().beside]) {
        let tuned = tuned.as_ref().expect("there are visits enough");
        assert!(tuned.ndcg >= tuned.ndcg_before && tuned.queries >= 200 && tuned.tried > 1, "{tuned:?}");
        assert_eq!(taken.is_some(), tuned.ndcg > tuned.ndcg_before * 1.01, "{tuned:?}");
    }
    let first = view.blends.load_full();
    assert_eq!(crate::effects::tune(&view, &|| false).iter().flatten().map(|tuned| tuned.tried).collect::<Vec<_>>(), [1, 1]);
    assert!(view.blends.load().visit.is_none() || first.visit.is_some());
}

#[test]
fn a_regression_is_due_after_a_start_unless_it_is_off() {
    let fitting = crate::actor::Fitting::default();
    let day = Duration::from_secs(86_400);
    assert!(fitting.is_due(day, 1) && !fitting.is_due(day, 0) && !fitting.is_due(Duration::ZERO, 1));
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    let config = Config { batch_records_max: 0, poll_interval_ms_max: 5000, ..Config::default() };
    assert_eq!(config.problems().into_iter().map(|(field, _)| field).collect::<Vec<_>>(), ["batch_records_max", "poll_interval_ms_max"]);
}
