//! Writes: feeds in every form, single products, price and stock.

use std::io::Write;

use domain::{Availability, Offer, Variant};
use http::header;
use protocol::ingest::{FeedMode, FeedSource, Reject, RunStatus};
use serde_json::{Value, json};

use super::fakes::{World, product, run};
use super::{Stage, bytes, form, request, text};
use crate::config::Config;

async fn stage() -> Stage {
    let mut shirt = product("shirt", "Shirt");
    let variant = |id: &str| Variant {
        id: id.into(),
        sku: None,
        gtin: None,
        title: None,
        options: Default::default(),
        images: vec![],
        offer: Offer::default(),
    };
    shirt.variants = vec![variant("s"), variant("m")];
    Stage::new(Config { upload_bytes_max: 10_000, ..Config::default() }, World::new([product("1", "Camera"), shirt])).await
}

#[tokio::test]
async fn a_feed_is_taken_in_every_form() {
    let stage = stage().await;
    std::fs::write(stage.world.folder.path().join("inbox").join("a.csv"), "id,title\n").expect("a file");
    let (form_media, form_body) =
        form("file", b"id,title\n1,Shoe\n", &[("source", "web"), ("mode", "full"), ("dry_run", "on"), ("default_currency", "")]);
    let cases = [
        ("/v1/feeds", form_media.as_str(), form_body, "feed.csv", "web", FeedMode::Full),
        ("/v1/feeds?source=raw&mode=full", "text/csv", b"id,title\n".to_vec(), "upload.csv", "raw", FeedMode::Full),
        (
            "/v1/feeds",
            "application/json",
            br#"{"url":"https://shop.example/f.xml"}"#.to_vec(),
            "https://shop.example/f.xml",
            "default",
            FeedMode::Delta,
        ),
        ("/v1/feeds", "application/json", br#"{"path":"a.csv","source":"box"}"#.to_vec(), "a.csv", "box", FeedMode::Delta),
        ("/v1/products:batch?name=n", "application/x-ndjson", b"{}\n".to_vec(), "n", "default", FeedMode::Delta),
    ];
    for (path, media, body, name, source, mode) in cases {
        let response = stage.send(request("POST", path, media, body)).await;
        assert_eq!(response.status(), 202, "{path} {media}");
        let location = response.headers()[header::LOCATION].to_str().expect("text").to_owned();
        let task: Value = serde_json::from_slice(&bytes(response).await).expect("json");
        assert_eq!((task["name"].as_str(), task["source"].as_str()), (Some(name), Some(source)));
        assert_eq!(stage.get(&location).await.1, task);
        let runs = stage.world.runs.lock().expect("no panic");
        let request = &runs.last().expect("a run").request;
        assert_eq!((request.mode, &request.image_root), (mode, &None));
        match &request.from {
            FeedSource::Spooled(file) => {
                assert!(file.starts_with(stage.world.folder.path().join("spool")) && file.exists(), "the file goes with the run")
            }
            FeedSource::File(file) => {
                assert!(file.starts_with(stage.world.folder.path().canonicalize().expect("the folder").join("inbox")))
            }
            FeedSource::Url(_) => {}
        }
    }
    assert_eq!(stage.ask("POST", "/v1/feeds?wait=true", Some(r#"{"path":"a.csv"}"#)).await.0, 200, "the task has ended");
    assert_eq!(stage.get("/v1/tasks?limit=2").await.1["items"].as_array().map(Vec::len), Some(2));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_refused_feed_leaves_no_file() {
    let stage = stage().await;
    let outside = stage.world.folder.path().join("outside.csv");
    std::fs::write(&outside, "x").expect("a file");
    std::os::unix::fs::symlink(&outside, stage.world.folder.path().join("inbox").join("link.csv")).expect("a link");
    let (form_media, form_body) = form("file", b"x", &[("sorce", "web")]);
    let (_, no_file) = form("source", b"x", &[]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&[b' '; 20_000]).expect("memory");
    let cases: [(&str, &str, Vec<u8>, u16, &str); 13] = [
        ("/v1/feeds?source=busy", "text/csv", b"id\n".to_vec(), 429, "too_many_runs"),
        ("/v1/feeds?colour=red", "text/csv", b"id\n".to_vec(), 400, "unknown_field"),
        ("/v1/feeds?url=http://x", "text/csv", b"id\n".to_vec(), 400, "unknown_field"),
        ("/v1/feeds", "text/csv", vec![b' '; 10_001], 413, "body_too_large"),
        ("/v1/feeds", "text/csv", gzip.finish().expect("memory"), 413, "body_too_large"),
        ("/v1/feeds", &form_media, form_body, 400, "unknown_field"),
        ("/v1/feeds", &form_media, no_file, 422, "missing"),
        ("/v1/feeds", "application/json", br#"{}"#.to_vec(), 422, "missing"),
        ("/v1/feeds", "application/json", br#"{"url":"file:///etc/passwd"}"#.to_vec(), 422, "invalid_value"),
        ("/v1/feeds", "application/json", br#"{"path":"../outside.csv"}"#.to_vec(), 422, "not_in_inbox"),
        ("/v1/feeds", "application/json", br#"{"path":"/etc/passwd"}"#.to_vec(), 422, "not_in_inbox"),
        ("/v1/feeds", "application/json", br#"{"path":"link.csv"}"#.to_vec(), 422, "not_in_inbox"),
        ("/v1/products:batch", "text/csv", b"id\n".to_vec(), 415, "unsupported_media_type"),
    ];
    for (path, media, body, status, code) in cases {
        let response = stage.send(request("POST", path, media, body)).await;
        let seen = response.status().as_u16();
        let problem: Value = serde_json::from_slice(&bytes(response).await).expect("json");
        assert_eq!((seen, problem["code"].as_str()), (status, Some(code)), "{path} {problem}");
        assert_eq!(stage.world.spool_files(), 0, "{path}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn rejects_are_listed_and_summed_up() {
    let stage = stage().await;
    stage.world.set_run(run(1, RunStatus::Succeeded));
    let reject = |row: u64| Reject {
        row,
        position: None,
        field: Some("price".into()),
        code: if row.is_multiple_of(3) { "missing_id" } else { "bad_price" }.into(),
        detail: "no".into(),
        raw: "12,x".into(),
        product_id: None,
        is_warning: false,
    };
    stage.world.rejects.lock().expect("no panic").extend((1..=7).map(reject));
    let (_, first) = stage.get("/v1/feeds/1/rejects?limit=4").await;
    let (_, second) = stage.get(&format!("/v1/feeds/1/rejects?limit=4&cursor={}", first["next"].as_str().expect("a cursor"))).await;
    let rows =
        |page: &Value| page["items"].as_array().expect("items").iter().map(|item| item["row"].as_u64().expect("a row")).collect::<Vec<_>>();
    assert_eq!((rows(&first), rows(&second), &second["next"]), (vec![1, 2, 3, 4], vec![5, 6, 7], &Value::Null));
    let (_, report) = stage.get("/v1/feeds/1/report").await;
    assert_eq!(
        (report["rejects"][0]["code"].as_str(), report["rejects"][0]["count"].as_u64(), report["rejects"][0]["example"]["row"].as_u64()),
        (Some("bad_price"), Some(5), Some(1))
    );
    assert_eq!(
        (report["seconds"].as_f64(), report["records_per_second"].as_f64(), report["rejects_are_complete"].as_bool()),
        (Some(2.0), Some(5.0), Some(true))
    );
    let page = text(stage.send(request("GET", "/console/feeds/1", "", "")).await).await;
    assert!(page.contains("bad_price") && page.contains("12,x"));
    stage.world.set_run(run(2, RunStatus::Processing));
    assert_eq!(stage.ask("POST", "/v1/tasks/2:cancel", None).await.1["status"], "canceled");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_product_is_written_under_its_conditions() {
    let stage = stage().await;
    let put = |id: &str, body: &str, condition: Option<(&'static str, &str)>| {
        let mut asked = request("PUT", &format!("/v1/products/{id}"), "application/json", body.to_owned());
        if let Some((name, value)) = condition {
            asked.headers_mut().insert(name, value.parse().expect("a value"));
        }
        asked
    };
    let cases = [
        ("2", r#"{"title":"Lens"}"#, None, 201, "\"1\""),
        ("2", r#"{"id":"2","title":"Lens 50"}"#, Some(("if-match", "\"1\"")), 200, "\"2\""),
        ("2", r#"{"title":"Lens"}"#, Some(("if-match", "\"1\"")), 412, ""),
        ("2", r#"{"title":"Lens"}"#, Some(("if-none-match", "*")), 412, ""),
        ("9", r#"{"title":"Lens"}"#, Some(("if-match", "*")), 412, ""),
        ("9", r#"{"id":"8","title":"Lens"}"#, None, 422, ""),
        ("9", r#"{"titel":"Lens"}"#, None, 422, ""),
        ("9", "[]", None, 422, ""),
    ];
    for (id, body, condition, status, tag) in cases {
        let response = stage.send(put(id, body, condition)).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(response.headers().get(header::ETAG).map_or("", |tag| tag.to_str().expect("text")), tag, "{body}");
    }
    let (status, written) = stage.ask("PATCH", "/v1/products/2", Some(r#"{"brand":"Zeiss","link":null}"#)).await;
    assert_eq!((status.as_u16(), &written), (200, &json!({"id": "2", "outcome": "updated", "parts": ["text"], "revision": 3})));
    assert_eq!(
        stage.get("/v1/products/2").await.1,
        json!({"id": "2", "title": "Lens 50", "brand": "Zeiss", "offer": {"availability": "in_stock"}})
    );
    assert_eq!(stage.ask("PATCH", "/v1/products/none", Some("{}")).await.0, 404);
    assert_eq!(stage.ask("DELETE", "/v1/products/2", None).await.1["outcome"], "deleted");
    assert_eq!(stage.ask("DELETE", "/v1/products/2", None).await.0, 404);
    let export = text(stage.send(request("GET", "/v1/products:export", "", "")).await).await;
    assert_eq!(
        export.lines().map(|line| serde_json::from_str::<domain::Product>(line).expect("a product").id.to_string()).collect::<Vec<_>>(),
        ["1", "shirt"]
    );
    stage.scene.end().await;
}

#[tokio::test]
async fn price_and_stock_change_alone() {
    let stage = stage().await;
    let price = r#"{"price":{"amount":"5.00","currency":"EUR"},"quantity":4}"#;
    assert_eq!(stage.ask("PUT", "/v1/availability/1", Some(price)).await.0, 200);
    let (_, written) = stage.ask("PUT", "/v1/availability/1", Some(r#"{"availability":"out_of_stock","quantity":null}"#)).await;
    assert_eq!(written["outcome"], "updated");
    assert_eq!(
        stage.get("/v1/products/1").await.1["offer"],
        json!({"availability": "out_of_stock", "price": {"amount": "5.00", "currency": "EUR"}}),
        "what is not named stays"
    );
    let availability = |id: &str| {
        let product = stage.world.products.lock().expect("no panic").get(id).expect("a product").product.clone();
        (product.offer.availability, product.variants.iter().map(|variant| variant.offer.availability).collect::<Vec<_>>())
    };
    let (gone, here) = (Availability::OutOfStock, Availability::InStock);
    stage.ask("PUT", "/v1/availability/shirt", Some(r#"{"variant":"s","availability":"out_of_stock"}"#)).await;
    assert_eq!(availability("shirt"), (here, vec![gone, here]));
    stage.ask("PUT", "/v1/availability/shirt", Some(r#"{"availability":"out_of_stock"}"#)).await;
    assert_eq!(availability("shirt"), (gone, vec![gone, gone]), "a product without a variant named is all of its forms");
    for (id, body, status, code) in [
        ("9", "{}", 404, "not_found"),
        ("shirt", r#"{"variant":"xl"}"#, 404, "not_found"),
        ("1", r#"{"stock":4}"#, 400, "unknown_field"),
        ("1", r#"{"quantity":-1}"#, 422, "invalid_value"),
        ("1", "[]", 422, "invalid_value"),
    ] {
        let (seen, problem) = stage.ask("PUT", &format!("/v1/availability/{id}"), Some(body)).await;
        assert_eq!((seen.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn a_batch_answers_line_by_line() {
    let stage = stage().await;
    let lines = [
        r#"{"id":"1","quantity":1}"#,
        "",
        r#"{"id":"1","availability":"preorder"}"#,
        r#"{"id":"#,
        r#"{"id":"none","quantity":1}"#,
        r#"{"id":"shirt","quantitty":1}"#,
    ]
    .join("\n");
    let compressed = zstd::encode_all(lines.as_bytes(), 0).expect("memory");
    let response = stage.send(request("POST", "/v1/availability:batch", "application/x-ndjson", compressed)).await;
    assert_eq!(response.status(), 200);
    let results: Vec<Value> = text(response).await.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let told: Vec<_> = results
        .iter()
        .map(|result| (result["line"].as_u64().expect("a line"), result["outcome"].as_str().expect("an outcome"), result["code"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "updated", None),
            (3, "updated", None),
            (4, "rejected", Some("invalid_syntax")),
            (5, "rejected", Some("not_found")),
            (6, "rejected", Some("unknown_field"))
        ]
    );
    assert_eq!(
        stage.get("/v1/products/1").await.1["offer"],
        json!({"availability": "preorder", "quantity": 1}),
        "a line builds on the lines before it"
    );
    stage.scene.end().await;
}
