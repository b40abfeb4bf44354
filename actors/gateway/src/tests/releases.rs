//! Releases over HTTP: orders, who answers whom, and what the inspector finds.

use std::time::Duration;

use http::StatusCode;
use protocol::journal::LogBody;
use protocol::vision::Space;
use serde_json::{Value, json};

use super::Stage;
use super::answers::{ids, shop};
use super::fakes::{TURNED, known};
use crate::config::Config;

impl Stage {
    async fn order(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask("POST", path, Some(&body.to_string())).await
    }

    /// A release whose model sees pictures the other way round, at this rank.
    async fn turned(&self, rank: &str, share: f32) {
        *self.world.is_built.lock().expect("no panic") = true;
        let (status, made) = self.order("/v1/releases", &json!({"name": "turned", "image_model": TURNED})).await;
        assert_eq!((status, made["rank"].as_str()), (StatusCode::OK, Some("constable")), "{made}");
        if rank == "constable" {
            return;
        }
        let share = (rank == "assistant_commissioner").then_some(share);
        let (status, raised) = self.order("/v1/models/turned:promote", &json!({"to": rank, "share": share, "by": "ann"})).await;
        assert_eq!((status, raised["rank"].as_str()), (StatusCode::OK, Some(rank)), "{raised}");
    }

    /// Asks for what looks like the camera, as this visitor: the release that answered and the first hit.
    async fn like_the_camera(&self, visitor: &str) -> (String, String) {
        let body = json!({"product_id": "camera", "visitor_id": visitor});
        let (_, answer) = self.ask("POST", "/v1/search", Some(&body.to_string())).await;
        assert!(!ids(&answer).is_empty(), "{answer}");
        let name = answer["release"].as_str().expect("a release").to_owned();
        let model = answer["model_version"].as_str().expect("a model");
        let expected = if name == "turned" { format!("{TURNED}@fedcba98") } else { "efficientnet-lite0@01234567".to_owned() };
        assert_eq!(model, expected, "{answer}");
        // The product's own vector and those that it is compared with are turned alike: anything mixed would find the shirts first.
        assert_eq!(ids(&answer)[0], "lens", "{answer}");
        (name, ids(&answer).join(","))
    }
}

#[tokio::test]
async fn orders_by_table() {
    let stage = Stage::new(Config::default(), shop()).await;
    let (_, first) = stage.get("/v1/models").await;
    assert_eq!((first["releases"][0]["rank"].as_str(), first["known"][3]["is_installed"].as_bool()), (Some("commissioner"), Some(false)));
    let cases = [
        ("/v1/releases", json!({"name": "x", "image_model": "nothing"}), 422, "unknown_model"),
        ("/v1/releases", json!({"name": "x", "image_model": "missing"}), 422, "not_installed"),
        ("/v1/releases", json!({"name": "x", "text_model": TURNED}), 422, "unknown_model"),
        ("/v1/releases", json!({"name": "x y", "image_model": TURNED}), 422, "invalid_name"),
        ("/v1/releases", json!({"name": "same"}), 409, "same_definition"),
        ("/v1/releases", json!({"nam": "x"}), 400, "unknown_field"),
        ("/v1/releases", json!({"name": "x", "index": {"graph_degree": 7}}), 422, "out_of_range"),
        ("/v1/releases", json!({"name": "x", "index": {"degree": 48}}), 400, "unknown_field"),
        ("/v1/releases", json!({"name": "x", "rules": {"words_weight": 0.0}}), 422, "out_of_range"),
        ("/v1/releases", json!({"name": "x", "rules": {"fact_precision": 1.0}}), 422, "out_of_range"),
        ("/v1/releases", json!({"name": "x", "vocabulary": "nonsense"}), 422, "invalid_vocabulary"),
        ("/v1/releases", json!({"name": "turned", "image_model": TURNED}), 200, ""),
        ("/v1/releases", json!({"name": "turned", "image_model": TURNED}), 200, ""),
        ("/v1/releases", json!({"name": "turned", "image_model": "efficientnet-lite0"}), 409, "other_definition"),
        ("/v1/models/nothing:promote", json!({}), 404, "unknown_release"),
        ("/v1/models/turned:dance", json!({}), 404, "not_found"),
        ("/v1/models/turned", json!({}), 404, "not_found"),
        ("/v1/models/turned:promote", json!({"to": "mayor"}), 422, "invalid_value"),
        ("/v1/models/turned:activate", json!({}), 409, "not_built"),
        ("/v1/models/turned:promote", json!({"to": "assistant_commissioner"}), 409, "not_built"),
        ("/v1/models/turned:promote", json!({}), 200, ""),
        ("/v1/models/first:hold", json!({}), 409, "must_serve"),
        ("/v1/models/turned:hold", json!({}), 200, ""),
        ("/v1/models/turned:activate", json!({"force": true, "by": "ann", "reason": "it is better"}), 200, ""),
        ("/v1/models/first:retire", json!({}), 200, ""),
        ("/v1/models/turned:rollback", json!({}), 409, "nothing_before"),
    ];
    for (path, body, status, code) in cases {
        let (got, answer) = stage.order(path, &body).await;
        assert_eq!((got.as_u16(), answer["code"].as_str().unwrap_or_default()), (status, code), "{path} {body}: {answer}");
    }
    let (_, models) = stage.get("/v1/models").await;
    assert_eq!((models["models"][0]["name"].as_str(), models["releases"].as_array().map(Vec::len)), (Some(TURNED), Some(1)));
    let live = &models["history"][1];
    assert_eq!(
        (live["to"].as_str(), live["by"].as_str(), live["reason"].as_str()),
        (Some("commissioner"), Some("ann"), Some("it is better"))
    );
    stage.scene.end().await;
}

#[tokio::test]
async fn a_release_inherits_what_is_not_given_and_answers_by_what_is() {
    let stage = Stage::new(Config::default(), shop()).await;
    let body = json!({"name": "own", "index": {"recall_target": 1.0}, "rules": {"image_weight": 3.0}, "vocabulary": "own"});
    let (status, made) = stage.order("/v1/releases", &body).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!((made["index"]["recall_target"].as_f64(), made["index"]["graph_degree"].as_u64()), (Some(1.0), Some(48)));
    assert_eq!((made["rules"]["image_weight"].as_f64(), made["rules"]["words_weight"].as_f64()), (Some(3.0), Some(2.0)));
    assert_eq!((made["vocabulary"].as_str(), made["image_model"]["name"].as_str()), (Some("of3"), Some("efficientnet-lite0")));
    let by = async |stage: &Stage| {
        stage.like_the_camera("v").await;
        let query = stage.world.queries.lock().expect("no panic").last().expect("a query").clone();
        query.by.map(|(index, rules)| (index.recall_target, rules.image_weight))
    };
    assert_eq!(by(&stage).await, Some((0.99, 1.0)));
    let (status, live) = stage.order("/v1/models/own:activate", &json!({})).await;
    assert_eq!((status, live["is_complete"].as_bool()), (StatusCode::OK, Some(true)), "it has the live models: {live}");
    assert_eq!(by(&stage).await, Some((1.0, 3.0)));
    let (_, next) = stage.order("/v1/releases", &json!({"name": "next", "rules": {"text_weight": 2.0}})).await;
    assert_eq!((next["rules"]["image_weight"].as_f64(), next["vocabulary"].as_str()), (Some(3.0), Some("of3")), "from the live one");
    stage.scene.end().await;
}

#[tokio::test]
async fn recommendations_are_by_the_release_that_serves_the_shopper() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.turned("assistant_commissioner", 0.5).await;
    let (world, mut by_turned) = (&stage.world, 0);
    for number in 0..20 {
        let visitor = format!("visitor-{number}");
        let (release, _) = stage.like_the_camera(&visitor).await;
        let model = if release == "turned" { TURNED } else { "efficientnet-lite0" };
        by_turned += usize::from(release == "turned");
        for logic in ["similar", "complete_the_look", "for_you", "rank"] {
            world.queries.lock().expect("no panic").clear();
            world.models_asked.lock().expect("no panic").clear();
            let field = if logic == "rank" { "candidates" } else { "product_ids" };
            let body = json!({"logic": logic, field: ["camera"], "visitor_id": visitor}).to_string();
            let (status, answer) = stage.ask("POST", "/v1/recommendations", Some(&body)).await;
            assert_eq!((status, answer["release"].as_str()), (StatusCode::OK, Some(release.as_str())), "{logic}: {answer}");
            let asked = world.models_asked.lock().expect("no panic").clone();
            assert!(asked.iter().all(|models| models.iter().any(|known| known.name == model)), "{logic}: {asked:?}");
            let queries = world.queries.lock().expect("no panic").clone();
            let expected = known().into_iter().find(|known| known.name == model).expect("a model").fingerprint;
            for vector in queries.iter().flat_map(|query| &query.vectors).filter(|vector| vector.space == Space::Image) {
                assert_eq!(*vector.fingerprint, *expected, "{logic}");
            }
            assert!(logic != "similar" || queries.iter().any(|query| !query.vectors.is_empty()));
        }
    }
    assert!((3..=17).contains(&by_turned), "{by_turned} of 20");
    let log = world.log.lock().expect("no panic").clone().expect("a log");
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while log.end() < 100 {
        assert!(tokio::time::Instant::now() < until, "{}", log.end());
        tokio::task::yield_now().await;
    }
    let mut logged = [0, 0];
    for entry in log.read(0, 1_000).expect("the log") {
        let Some(LogBody::Served(served)) = entry.body else { continue };
        let by: Vec<&str> = served.experiments.iter().filter(|(name, _)| name == "release").map(|(_, arm)| arm.as_str()).collect();
        assert_eq!(by.len(), 1, "{served:?}");
        logged[usize::from(by[0] == "turned")] += 1;
    }
    assert_eq!(logged, [5 * (20 - by_turned), 5 * by_turned], "a search and four recommendations each");
    stage.scene.end().await;
}

#[tokio::test]
async fn an_empty_order_from_a_button_is_taken_and_the_console_shows_ranks() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.turned("inspector", 0.0).await;
    let (status, held) = stage.ask("POST", "/v1/models/turned:hold", None).await;
    assert_eq!((status, held["is_held"].as_bool()), (StatusCode::OK, Some(true)));
    let page = super::text(stage.send(super::request("GET", "/console", "text/plain", "")).await).await;
    for text in ["Inspector", "Commissioner", "/v1/models/turned:promote", "Back on duty"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("/v1/models/first:rollback"), "nobody was live before");
    let (status, _) = stage.order("/v1/models/turned:promote", &json!({"to": "commissioner"})).await;
    assert_eq!(status, StatusCode::OK);
    let page = super::text(stage.send(super::request("GET", "/console", "text/plain", "")).await).await;
    assert!(page.contains("/v1/models/turned:rollback"), "{page}");
    stage.scene.end().await;
}

#[tokio::test]
async fn each_shopper_is_answered_by_one_release_as_the_log_says() {
    let stage = Stage::new(Config::default(), shop()).await;
    assert_eq!(stage.like_the_camera("v").await.0, "first");
    stage.turned("assistant_commissioner", 0.5).await;
    let mut by_turned = 0;
    for number in 0..40 {
        let visitor = format!("visitor-{number}");
        let (name, answer) = stage.like_the_camera(&visitor).await;
        assert_eq!(stage.like_the_camera(&visitor).await, (name.clone(), answer));
        by_turned += usize::from(name == "turned");
    }
    assert!((8..=32).contains(&by_turned), "{by_turned} of 40");
    // A vector that the caller brings is by the live model.
    for number in 0..10 {
        let body = json!({"vector": [1.0, 0.0], "visitor_id": format!("visitor-{number}")});
        assert_eq!(stage.ask("POST", "/v1/search", Some(&body.to_string())).await.1["release"], "first");
    }
    let mut logged = [0, 0];
    let log = stage.world.log.lock().expect("no panic").clone().expect("a log");
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    // One before the assistant came, twice forty, and ten.
    while log.end() < 91 {
        assert!(tokio::time::Instant::now() < until, "{}", log.end());
        tokio::task::yield_now().await;
    }
    for entry in log.read(0, 1_000).expect("the log") {
        let Some(LogBody::Served(served)) = entry.body else { continue };
        for (experiment, arm) in &served.experiments {
            assert_eq!(experiment, "release");
            logged[usize::from(arm == "turned")] += 1;
        }
    }
    // The reports' stand-in has no result, but the comparison is one that is known.
    let (status, answer) = stage.get("/v1/experiments/release/results").await;
    assert_eq!((status, answer["detail"].as_str()), (StatusCode::NOT_FOUND, Some("there is no result yet: nobody was exposed to it")));
    assert_eq!(logged, [2 * (40 - by_turned), 2 * by_turned], "questions that could go to one release alone are in no comparison");
    stage.scene.end().await;
}

#[tokio::test]
async fn promotion_and_rollback_under_questions_mix_nothing_and_leave_nobody_without_an_answer() {
    let stage = std::sync::Arc::new(Stage::new(Config::default(), shop()).await);
    stage.turned("inspector", 0.0).await;
    let ask = |number: usize| {
        let stage = std::sync::Arc::clone(&stage);
        async move {
            for round in 0..40 {
                stage.like_the_camera(&format!("{number}-{round}")).await;
                tokio::task::yield_now().await;
            }
        }
    };
    let orders = async {
        for _ in 0..20 {
            for path in ["/v1/models/turned:activate", "/v1/models/turned:rollback"] {
                let (status, answer) = stage.order(path, &json!({})).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(ask(1), ask(2), orders);
    assert_eq!(stage.like_the_camera("v").await.0, "first");
    stage.order("/v1/models/turned:activate", &json!({})).await;
    assert_eq!(stage.like_the_camera("v").await.0, "turned", "with the next question");
    std::sync::Arc::into_inner(stage).expect("all have ended").scene.end().await;
}

#[tokio::test]
async fn the_inspector_answers_behind_the_callers_back() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.turned("constable", 0.0).await;
    let report = "/v1/models/turned/shadow-report";
    assert_eq!(stage.get(report).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stage.get("/v1/models/nothing/shadow-report").await.0, StatusCode::NOT_FOUND);
    assert_eq!(stage.order("/v1/models/turned:promote", &json!({})).await.0, StatusCode::OK);
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    let found = loop {
        assert_eq!(stage.like_the_camera("v").await.0, "first", "nobody sees the inspector's answers");
        tokio::task::yield_now().await;
        let (status, found) = stage.get(report).await;
        if status == StatusCode::OK && found["compared"].as_u64() >= Some(2) && found["dropped"].as_u64() >= Some(1) {
            break found;
        }
        assert!(tokio::time::Instant::now() < until, "{found}");
    };
    assert_eq!((found["release"].as_str(), found["compared_with"].as_str()), (Some("turned"), Some("first")));
    assert_eq!(
        (found["errors"].as_u64(), found["overlap_at_10"].as_f64(), found["rank_correlation"].as_f64()),
        (Some(0), Some(1.0), Some(1.0))
    );
    assert!(found["live"]["p99_ms"].as_f64() > Some(0.0) && found["shadow"]["p50_ms"].as_f64() > Some(0.0), "{found}");
    stage.scene.end().await;
}

#[tokio::test]
async fn how_far_tags_agree_is_told_before_anything_is_mirrored() {
    let stage = Stage::new(Config::default(), shop()).await;
    let body = json!({"name": "tagged", "vocabulary": "own"});
    assert_eq!(stage.order("/v1/releases", &body).await.0, StatusCode::OK);
    assert_eq!(stage.order("/v1/models/tagged:promote", &json!({})).await.0, StatusCode::OK);
    let (status, report) = stage.get("/v1/models/tagged/shadow-report").await;
    assert_eq!((status, report["compared"].as_u64(), report["tags"]["products"].as_u64()), (StatusCode::OK, Some(0), Some(50)), "{report}");
    let [colour, heel] = [0, 1].map(|at| report["tags"]["attributes"][at].clone());
    let figures = ["facts_agree", "guesses_agree", "live_coverage", "shadow_coverage"].map(|name| colour[name].as_f64());
    assert_eq!(figures, [Some(0.75), Some(0.5), Some(0.6), Some(0.8)]);
    assert_eq!((heel["facts_agree"].as_f64(), heel["live_coverage"].as_f64()), (None, Some(0.0)), "nothing was said");
    let page = super::text(stage.send(super::request("GET", "/console", "text/plain", "")).await).await;
    assert!(page.contains("colour: the same fact 75 %, the same first guess 50 %; facts on 80 %, live 60 %"), "{page}");
    stage.scene.end().await;
}

#[tokio::test]
async fn words_are_looked_for_among_pictures_where_the_model_has_a_tower_for_them() {
    let stage = Stage::new(Config::default(), shop()).await;
    let spaces = async |stage: &Stage| {
        let (_, answer) = stage.ask("POST", "/v1/search", Some(&json!({"text": "shirt"}).to_string())).await;
        assert!(!ids(&answer).is_empty(), "{answer}");
        let query = stage.world.queries.lock().expect("no panic").last().expect("a query").clone();
        let mut spaces: Vec<_> = query.vectors.iter().map(|vector| (vector.space.as_str(), vector.vector.to_vec())).collect();
        spaces.sort_by_key(|(space, _)| *space);
        spaces
    };
    let texts = ("text", vec![0.0, 0.0, 1.0]);
    assert_eq!(spaces(&stage).await, std::slice::from_ref(&texts));
    stage.turned("commissioner", 0.0).await;
    assert_eq!(spaces(&stage).await, [("image", vec![1.0, 0.0]), texts]);
    stage.scene.end().await;
}
