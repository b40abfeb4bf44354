//! Events and what follows from them, as a shop's pages use it: a purchase changes what is bought together, a click changes the next
//! row, what is sold out vanishes, a shopper is forgotten, and killed followers end where they would have ended.

use std::collections::BTreeSet;

use gotham::house::House;
use serde_json::{Value, json};

use crate::support::{Rig, product_json};

const PRODUCTS: usize = 12;

async fn rig() -> Rig {
    let rig = Rig::new(None).await;
    let feed: String = (0..PRODUCTS).map(|number| product_json(number, "10.00", "in_stock") + "\n").collect();
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::text(feed).file_name("lamps.ndjson"));
    let answer = rig.client.post(rig.url("/v1/feeds?wait=true")).multipart(form).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    rig.until_followed().await;
    rig
}

async fn post(rig: &Rig, path: &str, body: Value) -> (u16, Value) {
    let answer = rig.client.post(rig.url(path)).json(&body).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Sends events and expects them to be taken, and seen by everybody who answers shoppers.
async fn tell(rig: &Rig, events: Value) {
    let (status, answer) = post(rig, "/v1/events", events).await;
    assert_eq!((status, &answer["rejected"], &answer["is_seen"]), (202, &json!([]), &json!(true)), "{answer}");
}

async fn recommend(rig: &Rig, body: Value) -> Value {
    let (status, answer) = post(rig, "/v1/recommendations", body.clone()).await;
    assert_eq!(status, 200, "{body}: {answer}");
    answer
}

fn ids(answer: &Value) -> Vec<String> {
    answer["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_str()).map(str::to_owned).collect()
}

fn lamp(number: usize) -> String {
    format!("p-{number:05}")
}

fn view(user: &str, number: usize) -> Value {
    json!({"type": "view", "user_id": user, "session_id": format!("{user} visit"), "product_id": lamp(number)})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_is_in_the_next_answer_about_what_is_bought_together() {
    let rig = rig().await;
    let path = format!("/v1/products/{}/bought-together", lamp(0));
    // Other orders, so that a pair can be told from chance.
    for order in 0..12 {
        let items = json!([lamp(2 + order % 5), lamp(7 + order % 4)]);
        tell(&rig, json!({"type": "purchase", "user_id": format!("o{order}"), "order_id": format!("other {order}"), "items": items})).await;
    }
    assert_eq!(ids(&rig.get(&path).await.1), Vec::<String>::new());
    for order in 0..5 {
        let items = json!([lamp(0), lamp(1)]);
        tell(&rig, json!({"type": "purchase", "user_id": format!("u{order}"), "order_id": format!("order {order}"), "items": items})).await;
    }
    let (_, answer) = rig.get(&path).await;
    assert_eq!(ids(&answer), [lamp(1)], "asked at once: {answer}");
    assert_eq!(answer["items"][0]["reasons"][0], "bought together with “Lamp number 0” in 5 of 5 orders");
    let asked = json!({"logic": "bought_together", "product_ids": [lamp(0)]});
    assert!(ids(&recommend(&rig, asked.clone()).await).len() > 1, "the same question, but to be filled up, is another one");
    assert_eq!(ids(&rig.get(&path).await.1), [lamp(1)], "and does not change what is kept of the first");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_changes_the_row_at_the_next_request_and_a_cart_is_not_proposed() {
    let rig = rig().await;
    for shopper in 0..8 {
        for number in [3, 4, 5] {
            tell(&rig, view(&format!("u{shopper}"), number)).await;
        }
        tell(&rig, view(&format!("w{shopper}"), 7)).await;
        tell(&rig, view(&format!("w{shopper}"), 8)).await;
    }
    let ask = json!({"visitor_id": "new", "session_id": "new visit", "limit": 4});
    let before = ids(&recommend(&rig, ask.clone()).await);
    assert!(!before.is_empty(), "useful before anything is known");
    tell(&rig, json!({"type": "click", "visitor_id": "new", "session_id": "new visit", "product_id": lamp(7)})).await;
    let after = recommend(&rig, ask.clone()).await;
    assert_eq!(ids(&after)[0], lamp(8), "{after}");
    tell(&rig, json!({"type": "add_to_cart", "visitor_id": "new", "session_id": "new visit", "product_id": lamp(8)})).await;
    let with_cart = ids(&recommend(&rig, ask).await);
    assert!(!with_cart.contains(&lamp(8)), "{with_cart:?}");
    let (status, session) = rig.get("/v1/sessions/new%20visit").await;
    assert_eq!((status, session["cart"][0]["product"].as_str()), (200, Some(lamp(8).as_str())), "{session}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sold_out_vanishes_everywhere_within_a_second() {
    let rig = rig().await;
    for shopper in 0..6 {
        for number in [3, 4] {
            let user = format!("u{shopper}");
            tell(&rig, view(&user, number)).await;
        }
        tell(&rig, json!({"type": "purchase", "user_id": format!("u{shopper}"), "order_id": shopper, "items": [lamp(3), lamp(4)]})).await;
    }
    let questions = [
        json!({"user_id": "u0"}),
        json!({"logic": "also_viewed", "product_ids": [lamp(3)]}),
        json!({"logic": "bought_together", "product_ids": [lamp(3)]}),
        json!({"logic": "popular"}),
        json!({"logic": "trending"}),
        json!({"logic": "buy_again", "user_id": "u0"}),
        json!({"logic": "recently_viewed", "user_id": "u0"}),
        json!({"candidates": [lamp(3), lamp(4)], "user_id": "u0"}),
    ];
    for question in &questions {
        assert!(ids(&recommend(&rig, question.clone()).await).contains(&lamp(4)), "{question}");
    }
    let answer =
        rig.client.put(rig.url(&format!("/v1/availability/{}", lamp(4)))).json(&json!({"availability": "out_of_stock"})).send().await;
    assert!(answer.expect("an answer").status().is_success());
    rig.until("the sold-out lamp", |house| house.offers.offer(&lamp(4)).is_some_and(|offer| !offer.is_available)).await;
    for question in &questions {
        let found = ids(&recommend(&rig, question.clone()).await);
        assert!(!found.contains(&lamp(4)), "{question}: {found:?}");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_anonymous_visitor_becomes_the_user_and_the_user_is_forgotten() {
    let rig = rig().await;
    tell(&rig, json!({"type": "view", "visitor_id": "cookie-of-anna", "product_id": lamp(5)})).await;
    let (status, _) = post(&rig, "/v1/users:merge", json!({"visitor_id": "cookie-of-anna", "user_id": "anna"})).await;
    assert_eq!(status, 200);
    let ask = json!({"logic": "recently_viewed", "user_id": "anna"});
    assert_eq!(ids(&recommend(&rig, ask.clone()).await), [lamp(5)]);
    let (status, held) = rig.get("/v1/users/anna").await;
    assert_eq!((status, held["history"]["items"][0]["product"].as_str()), (200, Some(lamp(5).as_str())), "{held}");

    let answer = rig.client.delete(rig.url("/v1/users/anna")).send().await.expect("an answer");
    let erased: Value = answer.json().await.expect("JSON");
    let shoppers: BTreeSet<&str> = erased["shoppers"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert_eq!((shoppers, erased["is_seen"].as_bool()), (BTreeSet::from(["u:anna", "v:cookie-of-anna"]), Some(true)), "{erased}");
    assert_eq!(rig.get("/v1/users/anna").await.0, 404);
    assert_eq!(ids(&recommend(&rig, ask).await), Vec::<String>::new());
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_clicks_and_purchases_are_in_the_days_report() {
    let rig = rig().await;
    tell(&rig, json!([view("u1", 1), view("u2", 1), view("u2", 2)])).await;
    let list = recommend(&rig, json!({"logic": "popular", "placement": "home", "user_id": "u9", "limit": 3})).await;
    let (token, first) = (list["attribution_token"].clone(), ids(&list)[0].clone());
    tell(&rig, json!({"type": "click", "user_id": "u9", "product_id": first, "attribution_token": token, "position": 1})).await;
    tell(&rig, json!({"type": "purchase", "user_id": "u9", "order_id": "o9", "product_id": first, "currency": "EUR", "price": "12.50"}))
        .await;
    let end = rig.house.events.end();
    rig.until("Mocha's reports", |house| house.reports.progress().get() >= end).await;
    let (status, report) = rig.get("/v1/reports/daily").await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(report["totals"]["recommendation_revenue"][0]["amount"], "12.50", "{}", report["totals"]);
    let row = &report["attribution"].as_array().expect("rows").iter().find(|row| row["placement"] == "home").expect("a row").clone();
    assert_eq!((&row["clicks"], &row["purchases"]), (&json!(1), &json!(1)), "{row}");
    let csv = rig.client.get(rig.url("/v1/reports/daily?format=csv")).send().await.expect("an answer").text().await.expect("text");
    assert!(csv.lines().count() >= 3 && csv.contains(&first), "{csv}");
    let page = rig.client.get(rig.url("/console/reports")).send().await.expect("an answer").text().await.expect("text");
    assert!(page.contains("12.50 EUR") && page.contains("Lamp number"), "{page}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn experiments_split_expose_and_are_replayed() {
    let rig = rig().await;
    tell(&rig, json!([view("u1", 1), view("u2", 1), view("u2", 2), view("u3", 3)])).await;
    let definition =
        json!({"arms": [{"name": "popular", "weight": 1}, {"name": "trending", "weight": 1, "treatment": {"logic": "trending"}}]});
    let answer = rig.client.put(rig.url("/v1/experiments/first")).json(&definition).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let mut arms = BTreeSet::new();
    for shopper in 0..24 {
        let ask = json!({"logic": "popular", "placement": "home", "user_id": format!("s{shopper}"), "limit": 3});
        let answer = recommend(&rig, ask.clone()).await;
        let arm = answer["experiments"][0]["arm"].as_str().expect("an arm").to_owned();
        assert_eq!(answer["logic"], if arm == "trending" { "trending" } else { "popular" });
        assert_eq!(recommend(&rig, ask).await["experiments"][0]["arm"], arm.as_str(), "the same arm again");
        arms.insert(arm);
    }
    assert_eq!(arms.len(), 2);
    let is_logged = |house: &House| house.reports.progress().get() >= 4 + 48;
    rig.until("Mocha's results", is_logged).await;
    let (status, results) = rig.get("/v1/experiments/first/results").await;
    assert_eq!((status, results["arms"].as_array().map(Vec::len)), (200, Some(2)), "{results}");
    let (status, replayed) = post(&rig, "/v1/lab:replay", json!({"logic": "popular", "depth": 3})).await;
    assert_eq!((status, replayed["lists"].as_u64()), (200, Some(48)), "{replayed}");
    rig.close().await;
}

/// Every follower is killed again and again while events come in; in the end each knows what a rebuild knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_followers_end_where_a_house_that_reads_everything_anew_ends() {
    let rig = rig().await;
    for round in 0..8 {
        let events: Vec<Value> = (0..40).map(|number| view(&format!("u{}", number % 7), (number * 5 + round) % PRODUCTS)).collect();
        let (status, _) = post(&rig, "/v1/events", json!({"events": events})).await;
        assert_eq!(status, 202);
        let addresses = &rig.house.addresses;
        // One after the other: a group whose members fail all the time is given up as a whole, which is another story.
        match round {
            1 => addresses.superman.kill(),
            3 => addresses.two_face.kill(),
            5 => addresses.mocha.kill(),
            7 => addresses.flash.kill(),
            _ => {}
        }
        rig.until("the restart", |house| house.not_ready().is_empty()).await;
    }
    let (before, end) = digests(&rig).await;
    let folder = rig.close().await;
    // What was learned is thrown away; the log alone is left.
    std::fs::remove_dir_all(folder.path().join("data/recommend")).expect("removed");
    let rig = Rig::open(folder, None).await;
    assert_eq!(digests(&rig).await, (before, end));
    rig.close().await;
}

/// Digests of Superman and Two Face at the log's end.
async fn digests(rig: &Rig) -> (Vec<[u8; 32]>, u64) {
    let end = rig.house.events.end();
    let has_come = |house: &House| house.recommender.progress().get() >= end && house.personalizer.progress().get() >= end;
    rig.until("the log's end", has_come).await;
    let digests = vec![rig.house.recommender.digest(), rig.house.personalizer.digest().expect("readable")];
    (digests, end)
}
