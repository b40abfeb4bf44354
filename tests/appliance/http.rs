//! The whole path over HTTP: a feed in at one end, answers out at the other.

use std::time::Duration;

use protocol::ingest::FeedMode;
use protocol::vision::Space;
use serde_json::{Value, json};

use crate::support::{Rig, file_feed, models, ndjson, product_json, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_goes_in_and_its_products_come_out() {
    let rig = Rig::new(None).await;
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::text(ndjson(20)).file_name("lamps.ndjson"));
    let answer = rig.client.post(rig.url("/v1/feeds?wait=true")).multipart(form).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    let task: Value = answer.json().await.expect("JSON");
    assert_eq!((task["status"].as_str(), task["counts"]["created"].as_u64()), (Some("succeeded"), Some(20)), "{task}");
    rig.until_followed().await;
    let (status, found) = rig.get("/v1/search?q=lamp+number+7").await;
    assert_eq!((status, found["items"][0]["id"].as_str()), (200, Some("p-00007")), "{found}");
    let (status, product) = rig.get("/v1/products/p-00007").await;
    assert_eq!((status, product["title"].as_str()), (200, Some("Lamp number 7")), "{product}");
    let (status, problem) = rig.get("/v1/products/nobody").await;
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
    assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{problem}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sold_out_leaves_the_answers_with_the_next_query() {
    let rig = Rig::new(None).await;
    let put = rig
        .client
        .put(rig.url("/v1/products/p-00001"))
        .header("content-type", "application/json")
        .body(product_json(1, "10.00", "in_stock"));
    assert_eq!(put.send().await.expect("an answer").status().as_u16(), 201);
    rig.until_followed().await;
    assert_eq!(rig.get("/v1/search?q=lamp").await.1["items"].as_array().map(Vec::len), Some(1));
    let offer = json!({"price": {"amount": "8.00", "currency": "EUR"}, "availability": "out_of_stock"});
    let answer = rig.client.put(rig.url("/v1/availability/p-00001")).json(&offer).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
    rig.until_followed().await;
    assert_eq!(rig.get("/v1/search?q=lamp").await.1["items"].as_array().map(Vec::len), Some(0));
    let (_, product) = rig.get("/v1/products/p-00001").await;
    assert_eq!(product["offer"]["price"]["amount"].as_str().or(product["price"]["amount"].as_str()), Some("8.00"), "{product}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_contract_and_pages_answer() {
    let rig = Rig::new(None).await;
    for path in ["/livez", "/readyz", "/version", "/openapi.json", "/v1/registry"] {
        assert_eq!(rig.get(path).await.0, 200, "{path}");
    }
    let registry = rig.get("/v1/registry").await.1;
    let names: Vec<&str> = registry["actors"].as_array().expect("actors").iter().filter_map(|actor| actor["name"].as_str()).collect();
    for name in ["robin", "joker", "nightwing", "batman", "gordon", "flash", "watchtower", "wayne"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for page in ["/store", "/console", "/metrics"] {
        let answer = rig.client.get(rig.url(page)).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{page}");
        assert!(!answer.text().await.expect("text").is_empty(), "{page}");
    }
    rig.close().await;
}

/// The demo shop: words, a dropped photo, similar products; then a second start that computes nothing again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shop_is_searchable_by_words_and_photos_and_a_restart_recomputes_nothing() {
    let (Some(models), Some(shop)) = (models(), shared("data/vendure-demo-store")) else { return };
    let rig = Rig::new(Some(&models)).await;
    let mut request = file_feed(&shop.join("products.csv"), FeedMode::Full);
    request.image_root = Some(shop.join("images"));
    let run = rig.feed(request.clone()).await;
    assert_eq!((run.counts.products, run.counts.variants, run.counts.created, run.counts.rejected), (54, 88, 54, 0));
    rig.until_embedded().await;
    let stats = rig.house.searcher.stats();
    assert_eq!((stats.image_products, stats.text_products, stats.keyword_products), (54, 54, 54));
    let found = rig.get("/v1/search?q=camera").await.1;
    let title = found["items"][0]["product"]["title"].as_str().unwrap_or_default().to_lowercase();
    assert!(title.contains("camera"), "{title}");
    let chairs = search_by_photo(&rig, &rig.house.catalog.snapshot(), "chair").await;
    assert!(chairs >= 3, "{chairs} of the first five are chairs or stools");
    let folder = rig.close().await;

    let started = std::time::Instant::now();
    let rig = Rig::open(folder, Some(&models)).await;
    eprintln!("ready after {:?}", started.elapsed());
    rig.until_followed().await;
    rig.until("vectors in memory", |house| house.searcher.stats().image_products == 54).await;
    assert_eq!(rig.feed(request).await.counts.unchanged, 54);
    tokio::time::timeout(Duration::from_secs(30), rig.until_embedded()).await.expect("no work is left");
    let counts = rig.house.vision.counts();
    assert_eq!((counts.images_embedded, counts.texts_embedded), (0, 0), "nothing is computed again");
    assert_eq!(rig.house.vision.models().iter().filter(|model| model.space == Space::Image).count(), 1);
    rig.close().await;
}

/// Searches with the photo of a product whose title has `word`; how many of the first five are seats.
async fn search_by_photo(rig: &Rig, snapshot: &std::sync::Arc<dyn protocol::catalog::CatalogSnapshot>, word: &str) -> usize {
    let products = snapshot.page(None, 100);
    let product = products.iter().find(|product| product.product.title.to_lowercase().contains(word)).expect("a chair");
    let file = product.product.images[0].0.strip_prefix("file://").expect("a local picture").to_owned();
    let photo = std::fs::read(file.replace("%20", " ")).expect("readable");
    let form = reqwest::multipart::Form::new().part("image", reqwest::multipart::Part::bytes(photo).file_name("photo.jpg"));
    let answer: Value = rig.client.post(rig.url("/v1/search")).multipart(form).send().await.expect("an answer").json().await.expect("JSON");
    let titles: Vec<String> = answer["items"]
        .as_array()
        .expect("items")
        .iter()
        .take(5)
        .map(|item| item["product"]["title"].as_str().unwrap_or_default().to_lowercase())
        .collect();
    assert_eq!(titles[0], product.product.title.to_lowercase(), "the picture's own product comes first");
    titles.iter().filter(|title| ["chair", "stool", "sofa", "seat", "bench"].iter().any(|seat| title.contains(seat))).count()
}
