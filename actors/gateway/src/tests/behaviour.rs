//! Stand-ins for those who learn from events, and what Robin makes of their answers.

use std::pin::Pin;
use std::sync::Arc;

use domain::{ProductId, Served, Shopper};
use events::EventLog;
use kit::Progress;
use protocol::cache::{Answer, AnswerCache, CacheKey, CacheSize, EndpointCounts, Flight, Lookup, Versions};
use protocol::experiments::Experiment;
use protocol::personalize::{DueProduct, Personalizer, ProfileSummary, RankQuery, RankedProduct};
use protocol::recommend::{BehaviourStats, Candidate, Logic, Reason, RecommendQuery, Recommender};
use protocol::reports::{
    AttributionRow, DailyReport, Date, DaySummary, ExperimentResult, LabError, ReplayLab, ReplayQuestion, ReplayReport, ReportReader,
};
use protocol::session::{SessionReader, SessionState};
use serde_json::{Value, json};
use store::StoreError;

use super::Stage;
use super::fakes::{World, lock, product};
use crate::config::Config;

/// Proposes `a`, `b`, `c` in this order, orders backwards, and has forgotten everything else. It has always come to the log's end.
pub(super) struct Learned {
    progress: Progress,
    world: Arc<World>,
}

impl Learned {
    pub(super) fn new(world: Arc<World>) -> Self {
        let progress = Progress::default();
        progress.set(u64::MAX);
        Self { progress, world }
    }
}

impl Recommender for Learned {
    fn candidates(&self, query: &RecommendQuery, allowed: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
        lock(&self.world.models_asked).push(query.models.clone());
        let source: Option<ProductId> = query.products.last().cloned();
        let candidate = |(at, name): (usize, &&str)| {
            let score = 3.0 - at as f32;
            let reason = Reason { strategy: "together", source: source.clone(), score: score - 0.5, together: 9, of: 40 };
            Candidate { product: name.parse().expect("an id"), score, reasons: vec![reason], rest: 0.5 }
        };
        // What rises is something else.
        let all: &[&str] = if query.logic == Logic::Trending { &["d", "e"] } else { &["a", "b", "c"] };
        all.iter().enumerate().filter(|(_, name)| allowed(name)).take(query.limit).map(candidate).collect()
    }
    fn popularity(&self, products: &[ProductId]) -> Vec<f32> {
        vec![0.0; products.len()]
    }
    fn stats(&self) -> BehaviourStats {
        BehaviourStats::default()
    }
    fn latest_ms(&self) -> i64 {
        0
    }
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
    fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Personalizer for Learned {
    fn rank(&self, query: &RankQuery) -> Vec<RankedProduct> {
        lock(&self.world.models_asked).push(query.models.clone());
        let ranked = |at: usize| RankedProduct { at, score: at as f32, shares: vec![("popularity", at as f32 - 1.0), ("bought", 1.0)] };
        (0..query.candidates.len()).rev().map(ranked).collect()
    }
    fn choose(&self, _: &str, _: &[&str], _: Option<&Shopper>, _: i64) -> usize {
        0
    }
    fn places_to_try(&self, _: usize, _: f32, _: Option<&Shopper>, _: i64) -> Vec<usize> {
        vec![4]
    }
    fn buy_again(&self, _: &Shopper, _: i64, _: usize) -> Vec<DueProduct> {
        vec![DueProduct { product: "b".parse().expect("an id"), score: 2.0, purchases: 2.0, due: 0.0, days: 3.0 }]
    }
    fn profile(&self, _: &Shopper) -> Option<ProfileSummary> {
        None
    }
    fn digest(&self) -> Result<[u8; 32], StoreError> {
        Ok([0; 32])
    }
    fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl SessionReader for Learned {
    fn session(&self, _: &str) -> Option<Arc<SessionState>> {
        None
    }
    fn shopper(&self, _: &Shopper) -> Option<Arc<SessionState>> {
        None
    }
    fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Keeps nothing.
struct Dropped;

impl Flight for Dropped {
    fn land(self: Box<Self>, _: Answer) {}
}

impl AnswerCache for Learned {
    fn get(&self, _: &CacheKey, _: &Versions) -> Option<Answer> {
        None
    }
    fn lookup<'a>(&'a self, _: &'a CacheKey, _: &'a Versions) -> Pin<Box<dyn Future<Output = Lookup<'a>> + Send + 'a>> {
        Box::pin(async { Lookup::Miss(Box::new(Dropped)) })
    }
    fn erase(&self, _: &[Shopper]) {}
    fn counts(&self) -> Vec<EndpointCounts> {
        Vec::new()
    }
    fn size(&self) -> CacheSize {
        CacheSize::default()
    }
}

impl ReportReader for Learned {
    fn daily(&self, _: Date) -> Option<Arc<DailyReport>> {
        None
    }
    fn days(&self, _: Date, _: Date) -> Vec<DaySummary> {
        Vec::new()
    }
    fn attribution(&self, _: Date, _: Date) -> Vec<AttributionRow> {
        Vec::new()
    }
    fn experiments(&self) -> Vec<String> {
        Vec::new()
    }
    fn experiment(&self, _: &Experiment) -> Option<ExperimentResult> {
        None
    }
    fn reach(&self) -> Option<(Date, Date)> {
        None
    }
    fn date_of(&self, at_ms: i64) -> Date {
        Date::of_ms(at_ms, 0)
    }
    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl ReplayLab for Learned {
    fn replay(&self, _: &ReplayQuestion, _: &mut dyn FnMut(&Served) -> Option<Vec<ProductId>>) -> Result<ReplayReport, LabError> {
        Err(LabError::Question("nothing is logged here"))
    }
}

/// A log of its own below the world's folder.
pub(super) fn log(world: &World) -> EventLog {
    EventLog::open(&world.folder.path().join("events"), &events::Config::default(), Vec::new()).expect("a log")
}

async fn stage() -> Stage {
    let mut variant = product("c", "Cap");
    variant.group_id = Some("caps".into());
    let mut other = product("d", "Cap, blue");
    other.group_id = Some("caps".into());
    Stage::new(Config::default(), World::new([product("a", "Apple"), product("b", "Bag"), variant, other, product("e", "Eraser")])).await
}

async fn post(stage: &Stage, path: &str, body: Value) -> (u16, Value) {
    let (status, answer) = stage.ask("POST", path, Some(&body.to_string())).await;
    (status.as_u16(), answer)
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().map(|items| items.iter().filter_map(|item| item["id"].as_str()).collect()).unwrap_or_default()
}

#[tokio::test]
async fn events_are_accepted_repeated_and_refused() {
    let stage = stage().await;
    let view = json!({"event_id": "1", "type": "view", "user_id": "u", "product_id": "a"});
    let (status, answer) = post(&stage, "/v1/events", view.clone()).await;
    assert_eq!((status, &answer["accepted"], &answer["duplicates"], &answer["is_seen"]), (202, &json!(1), &json!(0), &json!(true)));
    let (status, answer) = post(&stage, "/v1/events", json!({"events": [view, {"type": "view", "user_id": "u"}]})).await;
    assert_eq!((status, &answer["accepted"], &answer["duplicates"]), (202, &json!(0), &json!(1)));
    assert_eq!((&answer["rejected"][0]["index"], &answer["rejected"][0]["pointer"]), (&json!(1), &json!("/product_id")));
    let (status, answer) = post(&stage, "/v1/events", json!([{"type": "nothing", "user_id": "u"}])).await;
    assert_eq!((status, &answer["errors"][0]["pointer"], &answer["errors"][0]["code"]), (422, &json!("/0/type"), &json!("unknown_type")));
    let (status, answer) = post(&stage, "/v1/events", json!("nothing")).await;
    assert_eq!((status, &answer["code"]), (422, &json!("invalid_value")));
    stage.scene.end().await;
}

#[tokio::test]
async fn recommendations_leave_out_what_may_not_be_shown_and_say_why_the_rest_is() {
    let stage = stage().await;
    let ask = json!({"logic": "bought_together", "product_ids": ["d"], "explain": true, "fallback": false});
    let (status, answer) = post(&stage, "/v1/recommendations", ask).await;
    assert_eq!((status, ids(&answer)), (200, vec!["a", "b", "c"]), "{answer}");
    assert_eq!(answer["items"][0]["reasons"], json!(["bought together with “Cap, blue” in 9 of 40 orders"]));
    let shares: f64 = answer["items"][0]["explain"].as_array().expect("parts").iter().filter_map(|part| part["share"].as_f64()).sum();
    assert!((shares - answer["items"][0]["score"].as_f64().expect("a score")).abs() < 1e-5, "{answer}");

    let ask = json!({"cart": ["a"], "exclude_ids": ["b"], "fallback": false});
    let (_, answer) = post(&stage, "/v1/recommendations", ask).await;
    assert_eq!(ids(&answer), ["c"]);
    super::fakes::lock(&stage.world.out_of_stock).insert("c".into());
    let (_, answer) = post(&stage, "/v1/recommendations", json!({"fallback": false})).await;
    assert_eq!(ids(&answer), ["a", "b"]);
    stage.scene.end().await;
}

#[tokio::test]
async fn lists_of_candidates_come_back_in_the_shoppers_order() {
    let stage = stage().await;
    let ask = json!({"user_id": "u", "candidates": ["a", "b", "d", "c", "nowhere"], "limit": 4, "explain": true});
    let (status, answer) = post(&stage, "/v1/recommendations", ask).await;
    // `c` and `d` are variants of one another.
    assert_eq!((status, ids(&answer), &answer["logic"]), (200, vec!["c", "b", "a"], &json!("rank")), "{answer}");
    assert_eq!(answer["items"][0]["explain"][0]["name"], "popularity");
    let (_, answers) = post(&stage, "/v1/recommendations", json!([{"logic": "buy_again", "user_id": "u"}, {"limit": 1}])).await;
    assert_eq!((ids(&answers[0]), ids(&answers[1])), (vec!["b"], vec!["a"]));
    stage.scene.end().await;
}

#[tokio::test]
async fn what_is_tried_is_no_variant_of_what_is_shown() {
    let stage = stage().await;
    let (_, answer) = post(&stage, "/v1/recommendations", json!({"user_id": "u", "limit": 6, "fallback": false})).await;
    // `d` rises, too, but it is a variant of `c`.
    assert_eq!((ids(&answer), &answer["items"][3]["strategy"]), (vec!["a", "b", "c", "e"], &json!("trending")), "{answer}");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_shop_without_a_catalog_is_answered_with_what_its_events_name() {
    let stage = Stage::new(Config::default(), World::new([])).await;
    let (status, answer) = post(&stage, "/v1/recommendations", json!({"user_id": "u"})).await;
    assert_eq!((status, ids(&answer), &answer["degraded"]), (200, vec!["a", "b", "c"], &json!(["no_catalog"])));
    stage.scene.end().await;
}

#[tokio::test]
async fn mistakes_in_questions_are_named() {
    let stage = stage().await;
    for (ask, pointer) in [
        (json!({"limit": 0}), "/limit"),
        (json!({"strength": 2}), "/strength"),
        (json!({"logic": "also_viewed"}), "/product_ids"),
        (json!({"logic": "rank"}), "/candidates"),
        (json!({"logic": "guess"}), "/logic"),
        (json!({"user_id": ""}), "/user_id"),
        (json!([{"limit": 5}, {"product_ids": [""]}]), "/1/product_ids/0"),
        (json!({"colour": "red"}), "/colour"),
    ] {
        let (_, answer) = post(&stage, "/v1/recommendations", ask.clone()).await;
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{ask}: {answer}");
    }
    stage.scene.end().await;
}
