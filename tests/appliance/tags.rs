//! Tags of a whole catalog: made in the background from its photos, corrected over HTTP, kept over a restart.

use std::time::Duration;

use protocol::ingest::FeedMode;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Rig, file_feed, models, shared};

/// Waits until so many products are tagged by what makes tags now; the vocabulary then.
async fn until_tagged(rig: &Rig, count: u64) -> Value {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let (_, vocabulary) = rig.get("/v1/vocabulary").await;
            let progress = &vocabulary["progress"];
            if (progress["products"].as_u64(), progress["tagged"].as_u64()) == (Some(count), Some(count)) {
                return vocabulary;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("the catalog is tagged")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shop_is_tagged_corrected_and_keeps_what_people_said() {
    let (Some(models), Some(shop)) = (models(), shared("data/vendure-demo-store")) else { return };
    let rig = Rig::new(Some(&models)).await;
    let mut request = file_feed(&shop.join("products.csv"), FeedMode::Full);
    request.image_root = Some(shop.join("images"));
    assert_eq!(rig.feed(request.clone()).await.counts.products, 54);
    rig.until_embedded().await;
    let vocabulary = until_tagged(&rig, 54).await;
    assert_eq!((vocabulary["progress"]["failed"].as_u64(), vocabulary["progress"]["measured"].as_u64()), (Some(0), Some(54)));

    // Before a plain background nobody need ask where the model looks.
    let is_plain = |product: &domain::Product| product.images.first().is_some_and(|image| image.0.contains("stoica-ionela-530966"));
    let all = rig.house.catalog.snapshot().page(None, 54);
    let product = all.iter().find(|revision| is_plain(&revision.product)).expect("the demo shop has that photo").product.clone();
    let path = format!("/v1/products/{}/tags", product.id);
    let (status, tags) = rig.get(&path).await;
    assert_eq!(status, 200, "{tags}");
    let colours = tags["colours"].as_array().expect("colours");
    assert!(!colours.is_empty() && colours[0]["hex"].as_str().is_some_and(|hex| hex.starts_with('#')), "{tags}");

    let correct = json!({"pattern": "striped", "heel": null});
    let answer = rig.client.put(rig.url(&format!("{path}?by=ann"))).json(&correct).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let wrong = rig.client.put(rig.url(&path)).json(&json!({"patern": "striped"})).send().await.expect("an answer");
    assert_eq!(wrong.status().as_u16(), 422);
    let problem: Value = wrong.json().await.expect("JSON");
    assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("pattern")), "{problem}");

    let file = product.images[0].0.strip_prefix("file://").expect("a local picture").replace("%20", " ");
    let form = reqwest::multipart::Form::new()
        .part("image", reqwest::multipart::Part::bytes(std::fs::read(file).expect("readable")).file_name("photo.jpg"))
        .text("objects", "true");
    let answer = rig.client.post(rig.url("/v1/tags")).multipart(form).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let shown: Value = answer.json().await.expect("JSON");
    assert_eq!(shown["main"]["colours"], tags["colours"], "a caller's picture is measured as the catalog's is");
    assert!(shown["objects"].is_array() && shown["main"]["box"].as_array().is_some_and(|edges| edges.len() == 4), "{shown}");
    let folder = rig.close().await;

    let rig = Rig::open(folder, Some(&models)).await;
    assert_eq!(rig.feed(request).await.counts.unchanged, 54, "the catalog is read again");
    let vocabulary = until_tagged(&rig, 54).await;
    assert_eq!(vocabulary["progress"]["measured"].as_u64(), Some(0), "nothing is measured again");
    let (_, tags) = rig.get(&path).await;
    let said = tags["corrections"].as_array().expect("corrections");
    assert_eq!((said.len(), said[0]["value"].clone(), said[1]["value"].clone()), (2, Value::Null, json!("striped")), "{tags}");
    let fact = tags["facts"].as_array().expect("facts").iter().find(|tag| tag["attribute"] == "pattern").expect("a pattern");
    assert_eq!((fact["value"].as_str(), fact["source"].as_str()), (Some("striped"), Some("human")));
    rig.close().await;
}
