//! Reads: errors in their one form, ranked answers, progress, pages.

use std::time::Duration;

use domain::{Availability, CategoryPath, ImageRef};
use http::{StatusCode, header};
use protocol::ingest::{FeedRun, RunId, RunStatus};
use serde_json::{Value, json};

use super::fakes::{World, product, run};
use super::{Stage, bytes, form, request, text};
use crate::config::Config;

pub(super) fn shop() -> std::sync::Arc<World> {
    let mut camera = product("camera", "Instant Camera");
    camera.categories = vec![CategoryPath(vec!["Electronics".into(), "Photo".into()])];
    camera.brand = Some("Polaroid".into());
    camera.images = vec![ImageRef("https://shop.example/c.jpg".into())];
    let mut lens = product("lens", "Camera Lens");
    lens.categories = vec![CategoryPath(vec!["Electronics".into()])];
    let mut red = product("shirt-red", "Shirt");
    red.group_id = Some("shirt".into());
    let mut blue = product("shirt-blue", "Shirt <b>blue</b>");
    blue.group_id = Some("shirt".into());
    let world = World::new([camera, lens, red, blue, product("tripod", "Tripod"), product("vase", "Vase")]);
    let text = [
        ("camera", vec![1.0, 0.0, 0.0]),
        ("lens", vec![0.9, 0.1, 0.0]),
        ("tripod", vec![0.6, 0.8, 0.0]),
        ("vase", vec![0.1, 0.99, 0.0]),
        ("picture taking", vec![1.0, 0.0, 0.0]),
    ];
    world.text_vectors.lock().expect("no panic").extend(text.map(|(id, vector)| (id.to_owned(), vector)));
    let images = [("camera", vec![1.0, 0.0]), ("lens", vec![0.8, 0.6]), ("shirt-red", vec![0.0, 1.0]), ("shirt-blue", vec![0.1, 0.99])];
    world.image_vectors.lock().expect("no panic").extend(images.map(|(id, vector)| (id.to_owned(), vector)));
    world
}

pub(super) fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn errors_by_table() {
    let config = Config { body_bytes_max: 600, image_bytes_max: 300, limit_max: 100, ..Config::default() };
    let stage = Stage::new(config, shop()).await;
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000));
    let cases: [(&str, &str, Option<&str>, u16, &str); 30] = [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("POST", "/livez", None, 405, "method_not_allowed"),
        ("GET", "/v1/products/none", None, 404, "not_found"),
        ("GET", "/v1/products/%FF", None, 400, "bad_request"),
        ("GET", "/v1/products?limt=3", None, 400, "unknown_field"),
        ("GET", "/v1/products?cursor=xyz", None, 400, "invalid_cursor"),
        ("GET", "/v1/products/camera/image", None, 404, "not_found"),
        ("GET", "/v1/products/none/similar", None, 404, "not_found"),
        ("GET", "/v1/search?mode=fuzzy", None, 422, "invalid_value"),
        ("GET", "/v1/search?q=%20", None, 422, "empty"),
        ("GET", "/v1/search?q=a&limit=101", None, 422, "out_of_range"),
        ("GET", "/v1/search?q=a&offset=999", None, 422, "out_of_range"),
        ("POST", "/v1/search", None, 415, "unsupported_media_type"),
        ("POST", "/v1/search", Some("{"), 400, "invalid_syntax"),
        ("POST", "/v1/search:look", Some("{}"), 422, "missing"),
        ("POST", "/v1/search", Some(r#"{"txt":"a"}"#), 400, "unknown_field"),
        ("POST", "/v1/search", Some(r#"{"text":5}"#), 422, "invalid_value"),
        ("POST", "/v1/search", Some(r#"{"image":"%%"}"#), 422, "invalid_base64"),
        ("POST", "/v1/search", Some(r#"{"image":"AAAA"}"#), 422, "not_a_picture"),
        ("POST", "/v1/search", Some(r#"{"vector":[1,2,3,4,5]}"#), 422, "invalid_vector"),
        ("POST", "/v1/search", Some(r#"{"vector":[0,0]}"#), 422, "invalid_vector"),
        ("POST", "/v1/search", Some(&long), 413, "body_too_large"),
        ("GET", "/v1/tasks/none", None, 404, "not_found"),
        ("GET", "/v1/tasks/none/events", None, 404, "not_found"),
        ("POST", "/v1/tasks/1", None, 404, "not_found"),
        ("POST", "/v1/tasks/9:cancel", None, 404, "not_found"),
        ("GET", "/v1/feeds/9/rejects", None, 404, "not_found"),
        ("GET", "/v1/queues/embed_sound/dead-letters", None, 404, "not_found"),
        ("POST", "/v1/queues/embed_image", None, 404, "not_found"),
        ("GET", "/assets/../../etc/passwd", None, 404, "not_found"),
    ];
    for (method, path, body, status, code) in cases {
        let media = body.map_or("text/plain", |_| "application/json");
        let mut asked = request(method, path, media, body.unwrap_or_default().to_owned());
        asked.headers_mut().insert("x-request-id", "test-1".parse().expect("a value"));
        let response = stage.send(asked).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
        assert_eq!(response.headers()["x-request-id"], "test-1");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let seen = response.status();
        let problem: Value = serde_json::from_slice(&bytes(response).await).expect("json");
        assert_eq!((seen.as_u16(), problem["code"].as_str()), (status, Some(code)), "{method} {path} {problem}");
        assert_eq!(
            (problem["status"].as_u64(), problem["request_id"].as_str(), problem["instance"].as_str()),
            (Some(u64::from(status)), Some("test-1"), path.split('?').next())
        );
    }
    let (_, problem) = stage.ask("POST", "/v1/search", Some(r#"{"txt":"a"}"#)).await;
    assert_eq!(problem["errors"], json!([{"pointer": "/txt", "code": "unknown_field", "detail": "did you mean `text`?"}]));
    let response = stage.send(request("POST", "/livez", "", "")).await;
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    stage.scene.end().await;
}

#[tokio::test]
async fn request_ids_are_taken_or_made_and_foreign_pages_kept_out() {
    let stage = Stage::new(Config { host_names: vec!["shop.internal".into()], ..Config::default() }, shop()).await;
    let with = |name: &'static str, value: &str, method: &str| {
        let mut asked = request(method, "/v1/search?q=camera", "application/json", "{}");
        asked.headers_mut().insert(name, value.parse().expect("a value"));
        asked
    };
    assert_eq!(stage.send(with("x-request-id", "abc", "GET")).await.headers()["x-request-id"], "abc");
    let made = stage.send(with("x-request-id", "not an id", "GET")).await;
    assert_eq!(made.headers()["x-request-id"].len(), 36);
    for (name, value, method, status) in [
        ("host", "evil.example", "GET", 403),
        ("host", "shop.internal:80", "GET", 200),
        ("origin", "https://evil.example", "POST", 403),
        ("origin", "https://evil.example", "GET", 200),
        ("origin", "http://127.0.0.1:8742", "POST", 200),
        ("sec-fetch-site", "cross-site", "POST", 403),
    ] {
        assert_eq!(stage.send(with(name, value, method)).await.status(), status, "{name}: {value} {method}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn words_are_found_by_keyword_and_meaning_without_the_unrelated_tail() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.world.text_vectors.lock().expect("no panic").insert("camera".into(), vec![1.0, 0.0, 0.0]);
    let (status, answer) = stage.get("/v1/search?q=camera").await;
    assert_eq!((status, ids(&answer)), (StatusCode::OK, vec!["camera", "lens", "tripod"]), "the vase means something else");
    assert_eq!((answer["total"].as_u64(), answer["total_is_exact"].as_bool(), &answer["next"]), (Some(3), Some(true), &Value::Null));
    let first = &answer["items"][0];
    assert_eq!(
        (first["rank"].as_u64(), first["strategy"].as_str(), first["product"]["brand"].as_str()),
        (Some(1), Some("keyword+text"), Some("Polaroid"))
    );
    assert_eq!(first["product"]["image"], "/v1/products/camera/image?index=0");
    assert_eq!(answer["model_version"], "all-minilm-l6-v2@01234567");
    let (_, page) = stage.get("/v1/search?q=camera&limit=1&offset=1").await;
    assert_eq!((ids(&page), page["next"].as_u64(), page["items"][0]["rank"].as_u64()), (vec!["lens"], Some(2), Some(2)));
    let (_, other) = stage.get("/v1/search?q=picture%20taking").await;
    assert_eq!(ids(&other), ["camera", "lens", "tripod"], "meaning alone finds them too");

    *stage.world.has_text_model.lock().expect("no panic") = false;
    let (_, degraded) = stage.get("/v1/search?q=camera").await;
    assert_eq!((ids(&degraded), &degraded["degraded"]), (vec!["camera", "lens"], &json!(["text_embedding"])));
    stage.scene.end().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_not_shown() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.world.out_of_stock.lock().expect("no panic").insert("camera".into());
    let (_, answer) = stage.get("/v1/search?q=camera").await;
    assert_eq!(ids(&answer)[0], "lens");
    let mut gone = product("lens", "Camera Lens");
    gone.offer.availability = Availability::OutOfStock;
    stage.world.put(gone);
    let (_, answer) = stage.get("/v1/search?q=camera").await;
    assert!(!ids(&answer).contains(&"lens"), "{answer}");
    let (_, all) = stage.ask("POST", "/v1/search", Some(r#"{"text":"camera","include_unavailable":true,"exclude_ids":["tripod"]}"#)).await;
    assert_eq!(ids(&all)[..2], ["camera", "lens"]);
    assert_eq!(all["items"][0]["product"]["is_available"], false);
    assert!(!ids(&all).contains(&"tripod"));
    stage.scene.end().await;
}

#[tokio::test]
async fn when_much_is_dropped_the_page_is_filled_from_further_down() {
    let many = (0..400).map(|n| product(&format!("{n:03}"), "Lamp"));
    let stage = Stage::new(Config::default(), World::new(many)).await;
    stage.world.out_of_stock.lock().expect("no panic").extend((0..300).map(|n| format!("{n:03}")));
    let (_, answer) = stage.get("/v1/search?q=lamp&limit=50").await;
    assert_eq!((ids(&answer).len(), ids(&answer)[0], answer["total"].as_u64()), (50, "300", Some(100)));
    let next = answer["next"].as_u64().expect("a next page");
    let (_, rest) = stage.get(&format!("/v1/search?q=lamp&limit=50&offset={next}")).await;
    assert_eq!((ids(&rest).len(), ids(&rest)[0], &rest["next"]), (50, "350", &Value::Null), "no product twice, none left out");
    stage.scene.end().await;
}

#[tokio::test]
async fn pictures_products_and_vectors_find_what_is_like_them() {
    let stage = Stage::new(Config::default(), shop()).await;
    let (media, body) = form("image", &[0xff, 0xd8], &[("limit", "2")]);
    let response = stage.send(request("POST", "/v1/search", &media, body)).await;
    let answer: Value = serde_json::from_slice(&bytes(response).await).expect("json");
    assert_eq!((ids(&answer), answer["items"][0]["strategy"].as_str()), (vec!["camera", "lens"], Some("image")));
    let (_, same) = stage.ask("POST", "/v1/search", Some(r#"{"image":"data:image/jpeg;base64,/9g=","limit":2}"#)).await;
    assert_eq!(ids(&same), ids(&answer));
    let (_, similar) = stage.get("/v1/products/shirt-red/similar").await;
    assert_eq!(ids(&similar), ["lens", "camera"], "neither itself nor its group");
    let (_, by_text) = stage.get("/v1/products/tripod/similar?limit=1").await;
    assert_eq!((ids(&by_text), by_text["items"][0]["strategy"].as_str()), (vec!["vase"], Some("text")), "it has no picture");
    let (_, by_vector) = stage.ask("POST", "/v1/search", Some(r#"{"vector":[0,7],"limit":1}"#)).await;
    assert_eq!(ids(&by_vector), ["shirt-red"]);
    stage.world.put(product("new", "New"));
    let (_, nothing) = stage.get("/v1/products/new/similar").await;
    assert_eq!((ids(&nothing).len(), &nothing["degraded"]), (0, &json!(["not_embedded"])));
    stage.scene.end().await;
}

#[tokio::test]
async fn lists_go_on_at_their_cursor() {
    let stage = Stage::new(Config::default(), shop()).await;
    let mut seen = Vec::new();
    let mut path = "/v1/products?limit=4".to_owned();
    loop {
        let (_, page) = stage.get(&path).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/products?limit=4&cursor={next}");
    }
    assert_eq!(seen, ["camera", "lens", "shirt-blue", "shirt-red", "tripod", "vase"]);
    let (_, page) = stage.get("/v1/products?limit=6").await;
    assert_eq!(page["next"], Value::Null, "a page that ends at the end says so");
    let (_, page) = stage.get("/v1/products?category=photo&brand=polaroid").await;
    assert_eq!(ids(&page), ["camera"]);
    stage.scene.end().await;
}

#[tokio::test]
async fn pictures_and_products_are_answered_once() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.world.thumbnails.lock().expect("no panic").insert("camera".into(), bytes::Bytes::from_static(b"jpeg"));
    for (path, media) in [
        ("/v1/products/camera/image", "image/jpeg"),
        ("/v1/products/camera", "application/json"),
        ("/assets/store.js", "text/javascript; charset=utf-8"),
    ] {
        let first = stage.send(request("GET", path, "", "")).await;
        assert_eq!((first.status().as_u16(), first.headers()[header::CONTENT_TYPE].to_str().expect("text")), (200, media));
        let tag = first.headers()[header::ETAG].clone();
        let mut again = request("GET", path, "", "");
        again.headers_mut().insert(header::IF_NONE_MATCH, tag);
        let again = stage.send(again).await;
        assert_eq!(again.status(), 304);
        assert!(bytes(again).await.is_empty());
    }
    let content = domain::ContentHash::of(b"jpeg").to_hex();
    let kept = stage.send(request("GET", &format!("/v1/products/camera/image?v={content}"), "", "")).await;
    assert!(kept.headers()[header::CACHE_CONTROL].to_str().expect("text").contains("immutable"));
    stage.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn progress_streams_until_the_task_has_ended() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.world.set_run(run(1, RunStatus::Processing));
    let id = RunId(1);
    let response = stage.send(request("GET", &format!("/v1/tasks/{id}/events"), "", "")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let world = stage.world.clone();
    tokio::spawn(async move {
        for step in 1..=3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.set_run(FeedRun { bytes_read: 50 + step, ..run(1, RunStatus::Processing) });
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        world.set_run(run(1, RunStatus::Succeeded));
    });
    let events = text(response).await;
    let names: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["progress", "progress", "progress", "progress", "end"], "{events}");
    assert!(events.lines().any(|line| line.starts_with(':')), "silence is filled, so that proxies keep the stream");
    let last: Value =
        serde_json::from_str(events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("data")).expect("json");
    assert_eq!(
        (last["status"].as_str(), last["progress"].as_f64(), last["finished_at"].as_str()),
        (Some("succeeded"), Some(1.0), Some("2023-11-14T22:13:23Z"))
    );
    stage.scene.end().await;
}

#[tokio::test]
async fn operators_see_the_house() {
    let stage = Stage::new(Config::default(), shop()).await;
    assert_eq!(stage.get("/readyz").await.0, 200);
    stage.world.waiting.lock().expect("no panic").push("batman");
    let (status, problem) = stage.get("/readyz").await;
    assert_eq!((status.as_u16(), problem["errors"][0]["pointer"].as_str()), (503, Some("batman")));
    let (_, registry) = stage.get("/v1/registry").await;
    assert_eq!(
        (registry["actors"][0]["name"].as_str(), registry["queues"][0]["dead"].as_u64(), registry["catalog"]["products"].as_u64()),
        (Some("robin"), Some(2), Some(6))
    );
    let (_, letters) = stage.get("/v1/queues/embed_image/dead-letters").await;
    assert_eq!(
        (letters["items"][0]["product_id"].as_str(), letters["items"][0]["died_at"].as_str()),
        (Some("p"), Some("1970-01-01T00:00:00Z"))
    );
    let (_, redriven) = stage.ask("POST", "/v1/queues/embed_image:redrive", None).await;
    assert_eq!(redriven["redriven"], 2);
    assert_eq!(stage.get("/v1/config").await.1["settings"][0]["key"], "gateway.listen");
    assert_eq!(stage.get("/version").await.1["version"], "0.0.0-test");
    assert_eq!(text(stage.send(request("GET", "/metrics", "", "")).await).await, "gotham_up 1\n");
    stage.scene.end().await;
}

#[tokio::test]
async fn pages_show_what_there_is_and_nothing_slips_into_them() {
    let stage = Stage::new(Config::default(), shop()).await;
    stage.world.set_run(run(1, RunStatus::Processing));
    stage.world.out_of_stock.lock().expect("no panic").insert("vase".into());
    let page = async |path: &str| {
        let response = stage.send(request("GET", path, "", "")).await;
        let csp = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(!csp.contains("unsafe") && csp.contains("frame-ancestors 'none'"));
        assert!(response.headers()[header::CONTENT_TYPE].to_str().expect("text").starts_with("text/html"), "{path}");
        let html = text(response).await;
        assert!(!html.contains(" style=") && !html.contains(" onclick=") && !html.contains("<b>"), "{path}");
        html
    };
    let store = page("/store").await;
    assert!(store.contains("Instant Camera") && store.contains("Electronics") && !store.contains("Vase"));
    assert!(store.contains("Shirt &lt;b&gt;blue&lt;/b&gt;"), "titles are text");
    assert!(page("/store?q=camera").await.contains("Results for “camera”"));
    assert!(page("/store?q=%3Cb%3Exyz").await.contains("Nothing found"));
    let narrowed = page("/store?f.category=Electronics%20%3E%20Photo").await;
    assert!(narrowed.contains("Instant Camera") && !narrowed.contains("Camera Lens") && narrowed.contains("Clear all"));
    let detail = page("/store/p/camera").await;
    assert!(detail.contains("Polaroid") && detail.contains("Similar items") && detail.contains("Camera Lens"));
    assert!(page("/store/p/none").await.contains("gone"));
    let console = page("/console").await;
    assert!(console.contains("batman") && console.contains("<progress max=\"1\" value=\"0.5\"") && console.contains(":redrive"));
    assert!(
        console.contains("CPU, AVX-512, 1 thread (no GPU: the device was lost) · 41.5/s") && console.contains("99 of 100 within 20 ms")
    );
    assert!(page(&format!("/console/feeds/{}", RunId(1))).await.contains("Nothing was refused."));
    assert!(page("/docs").await.contains("/v1/search"));
    let (media, body) = form("image", b"no picture", &[]);
    let refused = text(stage.send(request("POST", "/store", &media, body)).await).await;
    assert!(refused.contains("these bytes are no picture"));
    let root = stage.send(request("GET", "/", "", "")).await;
    assert_eq!(root.headers()[header::LOCATION], "/store");
    stage.scene.end().await;
}
