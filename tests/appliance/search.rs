//! Search as a shop's pages use it: words and filters, counts, order, completions, and answers that are the same after a restart.

use serde_json::{Value, json};

use crate::support::Rig;

/// Shoes of two brands in three colours, and one hat.
fn feed() -> String {
    let article = |number: usize, title: &str, brand: &str, color: &str| {
        let offer = json!({"price": {"amount": format!("{}.00", 10 * (number + 1)), "currency": "EUR"}, "availability": "in_stock"});
        let article = json!({"id": format!("a{number}"), "title": title, "brand": brand, "color": color, "offer": offer});
        format!("{article}\n")
    };
    let mut lines = String::new();
    for (number, color) in ["red", "blue", "black", "red", "blue", "black"].into_iter().enumerate() {
        lines += &article(number, &format!("Running shoe model {number}"), ["Acme", "Bolt"][number % 2], color);
    }
    lines + &article(6, "Woollen hat", "Crown", "red")
}

async fn ask(rig: &Rig, body: Value) -> Value {
    let answer = rig.client.post(rig.url("/v1/search")).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200, "{body}");
    answer.json().await.expect("JSON")
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_page_narrows_counts_sorts_and_completes() {
    let rig = Rig::new(None).await;
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::text(feed()).file_name("articles.ndjson"));
    let answer = rig.client.post(rig.url("/v1/feeds?wait=true")).multipart(form).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    rig.until_followed().await;

    let page =
        json!({"text": "runing shoe", "filter": "brand = Acme AND price <= 40", "facets": ["brand", "color", "price"], "sort": "-price"});
    let found = ask(&rig, page.clone()).await;
    assert_eq!((ids(&found), found["total"].as_u64()), (vec!["a2", "a0"], Some(2)), "{found}");
    assert_eq!(found["corrected"].as_str(), Some("running shoe"));
    let counts: Vec<(&str, u64)> = found["facets"][0]["values"]
        .as_array()
        .expect("values")
        .iter()
        .filter_map(|value| Some((value["value"].as_str()?, value["count"].as_u64()?)))
        .collect();
    assert_eq!(counts, [("Acme", 2), ("Bolt", 2)], "one could choose the other brand too");

    let offer = json!({"price": {"amount": "99.00", "currency": "EUR"}, "availability": "in_stock"});
    let answer = rig.client.put(rig.url("/v1/availability/a2")).json(&offer).send().await.expect("an answer");
    assert!(answer.status().is_success());
    rig.until_followed().await;
    assert_eq!(ids(&ask(&rig, page).await), ["a0"], "the new price is out of the range");

    let (status, suggested) = rig.get("/v1/suggest?q=runn").await;
    assert!(status == 200 && suggested["items"].as_array().is_some_and(|items| !items.is_empty()), "{suggested}");
    let wrong = rig.client.post(rig.url("/v1/search")).json(&json!({"text": "shoe", "filter": "colr = red"})).send().await;
    let wrong: Value = wrong.expect("an answer").json().await.expect("JSON");
    assert_eq!((wrong["status"].as_u64(), wrong["errors"][0]["pointer"].as_str()), (Some(422), Some("/filter")), "{wrong}");
    assert!(wrong["detail"].as_str().is_some_and(|detail| detail.contains("color")), "{wrong}");

    let browsing = json!({"filter": {"must": [{"attribute": "color", "in": ["red"]}]}, "sort": "price", "explain_missing": "a1"});
    let before = ask(&rig, browsing.clone()).await;
    assert_eq!((ids(&before), before["missing"]["code"].as_str()), (vec!["a0", "a3", "a6"], Some("filtered")), "{before}");
    let rig = Rig::open(rig.close().await, None).await;
    rig.until_followed().await;
    assert_eq!(ids(&ask(&rig, browsing).await), ids(&before), "the same after a restart");
    rig.close().await;
}
