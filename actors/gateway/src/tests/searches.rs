//! Every part of a search over HTTP: filters, facets, sorting, groups, boxes, examples, overrides, explanations, pages.

use domain::{AttributeValue, Availability, CategoryPath, Money, Product, Provenance, Source};
use http::StatusCode;
use protocol::search::{QueryVector, SearchQuery};
use protocol::vision::Space;
use serde_json::{Value, json};

use super::answers::{ids, shop};
use super::fakes::{World, product};
use super::{Stage, bytes, form, request, text};
use crate::config::Config;

fn lamp(id: &str, brand: &str, colour: &str, price: &str) -> Product {
    let mut lamp = product(id, &format!("{colour} lamp {id}"));
    lamp.brand = Some(brand.into());
    lamp.categories = vec![CategoryPath(vec!["Home".into(), if brand == "A" { "Desk" } else { "Floor" }.into()])];
    lamp.offer.price = Some(Money::parse(price, "EUR".parse().expect("a currency")).expect("an amount"));
    let provenance = Provenance { source: Source::Feed, field: "color".into() };
    lamp.attributes.insert("color".into(), vec![AttributeValue { value: colour.into(), provenance }]);
    lamp
}

/// Five lamps: 1, 2 and 3 of brand A, 4 and 5 of brand B; 1 and 2 are one group.
fn lamps() -> std::sync::Arc<World> {
    let mut all = [
        lamp("1", "A", "red", "10"),
        lamp("2", "A", "blue", "20"),
        lamp("3", "A", "red", "30"),
        lamp("4", "B", "red", "40"),
        lamp("5", "B", "blue", "50"),
    ];
    all[0].group_id = Some("g".into());
    all[1].group_id = Some("g".into());
    let world = World::new(all);
    let near = |angle: f32| vec![angle.cos(), angle.sin()];
    let images = [("1", 0.0), ("2", 0.1), ("3", 0.4), ("4", 0.8), ("5", 1.2)];
    world.image_vectors.lock().expect("no panic").extend(images.map(|(id, angle)| (id.to_owned(), near(angle))));
    world
}

async fn stage() -> Stage {
    Stage::new(Config::default(), lamps()).await
}

impl Stage {
    async fn search(&self, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", "/v1/search", Some(&body.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{body} {answer}");
        answer
    }

    fn last_query(&self) -> SearchQuery {
        self.world.queries.lock().expect("no panic").last().cloned().expect("a query")
    }
}

#[tokio::test]
async fn filters_in_both_forms_facets_and_order_by_table() {
    let stage = stage().await;
    for (body, expected) in [
        (json!({}), vec!["1", "2", "3", "4", "5"]),
        (json!({"filter": "brand = a"}), vec!["1", "2", "3"]),
        (json!({"filter": {"must": [{"attribute": "brand", "in": ["A"]}], "must_not": ["color = red"]}}), vec!["2"]),
        (json!({"filter": "price 20 TO 40 AND category UNDER \"Home > Floor\""}), vec!["4"]),
        (json!({"text": "red", "filter": "price > 15"}), vec!["3", "4"]),
        (json!({"sort": "-price"}), vec!["5", "4", "3", "2", "1"]),
        (json!({"sort": ["price", "title"], "offset": 1, "limit": 2}), vec!["2", "3"]),
        (json!({"text": "lamp", "sort": "relevance"}), vec!["1", "2", "3", "4", "5"]),
        (json!({"exclude_ids": ["1", "5"]}), vec!["2", "3", "4"]),
        (json!({"group_by": "group_id"}), vec!["1", "3", "4", "5"]),
    ] {
        assert_eq!(ids(&stage.search(&body).await), expected, "{body}");
    }
    let facets = json!(["color", {"attribute": "brand", "limit": 1}, {"attribute": "price", "ranges": [[null, 20], [20, 50], [50, null]]}]);
    let answer = stage.search(&json!({"filter": "color = red", "facets": facets, "limit": 1})).await;
    assert_eq!((answer["total"].as_u64(), answer["next"].as_u64()), (Some(3), Some(1)));
    assert_eq!(answer["facets"][0]["values"], json!([{"value": "red", "count": 3}, {"value": "blue", "count": 2}]), "its own filter apart");
    assert_eq!(answer["facets"][1]["values"], json!([{"value": "A", "count": 2}]));
    assert_eq!(answer["facets"][1]["distinct"], 2);
    let counts: Vec<u64> =
        answer["facets"][2]["ranges"].as_array().expect("ranges").iter().filter_map(|one| one["count"].as_u64()).collect();
    assert_eq!(counts, [1, 2, 0], "the lower bound is within, the upper one is not");
    assert_eq!(answer["facets"][2]["stats"]["max"], 40.0);
    let grouped = stage.search(&json!({"group_by": "group_id", "limit": 1})).await;
    assert_eq!((grouped["items"][0]["group_size"].as_u64(), grouped["total"].as_u64()), (Some(2), Some(4)));
    stage.scene.end().await;
}

#[tokio::test]
async fn the_simple_search_takes_the_same_in_its_address() {
    let stage = stage().await;
    let (_, answer) =
        stage.get("/v1/search?filter=brand%20%3D%20A&facets=color,brand&sort=-price&limit=2&offset=1&mode=keyword&q=lamp").await;
    assert_eq!((ids(&answer), answer["facets"].as_array().map(Vec::len), answer["total"].as_u64()), (vec!["2", "1"], Some(2), Some(3)));
    assert!(stage.last_query().vectors.is_empty() && !stage.last_query().cut_off, "keywords alone");
    let (_, by_json) = stage.get("/v1/search?filter=%7B%22must%22%3A%5B%22brand%20%3D%20B%22%5D%7D").await;
    assert_eq!(ids(&by_json), ["4", "5"]);
    let (_, similar) = stage.get("/v1/products/1/similar?filter=color%20%3D%20red&limit=1&offset=1").await;
    assert_eq!(ids(&similar), ["4"]);
    let mut seen = Vec::new();
    let mut path = "/v1/products?limit=2&filter=color%20%3D%20red".to_owned();
    loop {
        let (_, page) = stage.get(&path).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/products?limit=2&filter=color%20%3D%20red&cursor={next}");
    }
    assert_eq!(seen, ["1", "3", "4"]);
    for (path, pointer, code) in [
        ("/v1/search?filter=colr%20%3D%20red", "?filter", "unknown_attribute"),
        ("/v1/search?filter=brand%20%3D", "?filter", "invalid_filter"),
        ("/v1/search?q=%20", "?q", "empty"),
        ("/v1/search?facets=colr", "?facets/0", "unknown_attribute"),
        ("/v1/search?mode=fuzzy", "?mode", "invalid_value"),
        ("/v1/search?limt=3", "?limt", "unknown_field"),
        ("/v1/products/1/similar?filter=%7B%22must%22%3A3%7D", "?filter/must", "invalid_filter"),
        ("/v1/products?filter=colr%20%3D%20red", "?filter", "unknown_attribute"),
        ("/v1/suggest?q=l&limit=0", "?limit", "out_of_range"),
        ("/v1/suggest?q=l&limit=51", "?limit", "out_of_range"),
    ] {
        let (status, problem) = stage.get(path).await;
        assert!(status.is_client_error(), "{path}");
        assert_eq!((problem["errors"][0]["pointer"].as_str(), problem["code"].as_str()), (Some(pointer), Some(code)), "{path} {problem}");
    }
    let (_, problem) = stage.get("/v1/search?filter=colr%20%3D%20red").await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("color")), "the nearest name: {problem}");
    stage.scene.end().await;
}

#[tokio::test]
async fn suggestions_and_attributes_are_listed() {
    let stage = stage().await;
    let (_, answer) = stage.get("/v1/suggest?q=Red&limit=2").await;
    assert_eq!(answer["items"][0], json!({"text": "red lamp 1", "kind": "title", "count": 1}));
    assert_eq!(answer["items"].as_array().map(Vec::len), Some(2));
    let (_, answer) = stage.get("/v1/attributes").await;
    let colour = answer["items"].as_array().expect("items").iter().find(|info| info["name"] == "color").expect("color");
    assert_eq!(colour, &json!({"name": "color", "kinds": ["text"], "products": 5, "values": 2, "examples": ["blue", "red"]}));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_box_is_what_is_looked_for_and_several_boxes_are_one_batch() {
    let stage = Stage::new(Config::default(), shop()).await;
    let whole = stage.search(&json!({"image": "/9g=", "box": [0.0, 0.0, 0.4, 1.0], "limit": 1})).await;
    let part = stage.search(&json!({"image": "/9g=", "box": [0.6, 0.0, 0.4, 1.0], "limit": 1})).await;
    assert_eq!((ids(&whole), ids(&part)), (vec!["camera"], vec!["shirt-red"]));
    let (media, body) = form("image", &[0xff], &[("box", "0.6,0,0.4,1"), ("limit", "1"), ("filter", "title = Shirt")]);
    let response = stage.send(request("POST", "/v1/search", &media, body)).await;
    let answer: Value = serde_json::from_slice(&bytes(response).await).expect("json");
    assert_eq!(ids(&answer), ["shirt-red"]);

    let look = json!({"image": "/9g=", "boxes": [[0, 0, 0.4, 1], [0.6, 0, 0.4, 1]], "limit": 1, "explain": true});
    let (status, answer) = stage.ask("POST", "/v1/search:look", Some(&look.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((ids(&answer["boxes"][0]), ids(&answer["boxes"][1])), (vec!["camera"], vec!["shirt-red"]));
    assert_eq!(answer["boxes"][1]["explain"]["plans"], json!(["image:scan"]));
    assert_eq!(answer["model_version"], "efficientnet-lite0@01234567");
    assert_eq!(stage.world.picture_batches.lock().expect("no panic").last(), Some(&2), "both boxes in one message");
    let (media, body) = form("image", &[0xff], &[("boxes", "[[0,0,0.4,1]]"), ("filter", "title = \"Camera Lens\"")]);
    let response = stage.send(request("POST", "/v1/search:look", &media, body)).await;
    let answer: Value = serde_json::from_slice(&bytes(response).await).expect("json");
    assert_eq!(ids(&answer["boxes"][0]), ["lens"]);

    for (path, body, pointer, code) in [
        ("/v1/search", json!({"image": "/9g=", "box": [0, 0, 0.001, 1]}), "/box", "crop_too_small"),
        ("/v1/search", json!({"image": "/9g=", "box": [0.5, 0, 0.6, 1]}), "/box", "invalid_box"),
        ("/v1/search", json!({"image": "AAAA", "box": [0, 0, 1, 1]}), "/image", "not_a_picture"),
        ("/v1/search:look", json!({"image": "/9g=", "boxes": []}), "/boxes", "out_of_range"),
        ("/v1/search:look", json!({"image": "/9g=", "boxes": vec![[0, 0, 1, 1]; 9]}), "/boxes", "out_of_range"),
        ("/v1/search:look", json!({"image": "/9g=", "boxes": [[0, 0, 1, 1], [0.9, 0, 0.2, 1]]}), "/boxes/1", "invalid_box"),
        ("/v1/search:look", json!({"image": "/9g=", "boxes": [[0, 0, 1, 1], [0, 0, 0.001, 1]]}), "/boxes/1", "crop_too_small"),
        ("/v1/search:look", json!({"boxes": [[0, 0, 1, 1]]}), "/image", "missing"),
        ("/v1/search:look", json!({"image": "/9g=", "boxes": [[0, 0, 1, 1]], "limit": 0}), "/limit", "out_of_range"),
        ("/v1/search:look", json!({"image": "/9g=", "bxes": []}), "/bxes", "unknown_field"),
    ] {
        let (_, problem) = stage.ask("POST", path, Some(&body.to_string())).await;
        assert_eq!((problem["errors"][0]["pointer"].as_str(), problem["code"].as_str()), (Some(pointer), Some(code)), "{body} {problem}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn examples_move_the_query_and_are_left_out() {
    let stage = stage().await;
    let answer = stage.search(&json!({"examples": {"positive": ["5"]}})).await;
    assert_eq!(ids(&answer), ["4", "3", "2", "1"], "the nearest to it first");
    let answer = stage.search(&json!({"examples": {"positive": ["3"], "negative": ["1", "2"]}})).await;
    assert_eq!(ids(&answer), ["4", "5"]);
    let query = stage.last_query();
    let expected = {
        let (liked, disliked) = ([0.4_f32.cos(), 0.4_f32.sin()], [0.05_f32.cos(), 0.05_f32.sin()]);
        let _ = disliked;
        let mean = [(0.0_f32.cos() + 0.1_f32.cos()) / 2.0, (0.0_f32.sin() + 0.1_f32.sin()) / 2.0];
        let moved = [0.75 * liked[0] - 0.15 * mean[0], 0.75 * liked[1] - 0.15 * mean[1]];
        let norm = moved[0].hypot(moved[1]);
        [moved[0] / norm, moved[1] / norm]
    };
    let QueryVector { space, vector, .. } = &query.vectors[0];
    assert_eq!((*space, query.vectors.len()), (Space::Image, 1), "no example has a text vector");
    assert!(vector.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{vector:?} {expected:?}");
    let nothing = stage.search(&json!({"examples": {"positive": ["none"]}})).await;
    assert_eq!((ids(&nothing).len(), &nothing["degraded"]), (0, &json!(["not_embedded"])), "that is not browsing");
    stage.scene.end().await;
}

#[tokio::test]
async fn like_this_but_in_another_colour() {
    let stage = stage().await;
    let plain = stage.search(&json!({"product_id": "1"})).await;
    assert_eq!(ids(&plain), ["3", "4", "5"], "neither itself nor the blue form of it");
    let blue = stage.search(&json!({"product_id": "1", "override": {"color": "Blue"}, "explain": true})).await;
    assert_eq!(ids(&blue), ["2", "5"], "its own blue form first");
    assert_eq!(blue["explain"]["filter"], r#"color = "Blue""#);
    let cheap = stage.search(&json!({"product_id": "1", "override": {"color": ["blue", "red"]}, "filter": "price < 45"})).await;
    assert_eq!(ids(&cheap), ["2", "3", "4"]);
    stage.scene.end().await;
}

#[tokio::test]
async fn everything_else_reaches_batman_as_it_was_asked() {
    let stage = stage().await;
    stage.world.text_vectors.lock().expect("no panic").insert("red".into(), vec![0.0, 1.0, 0.0]);
    let body = json!({
        "text": "red", "language": "cs", "color": "#ff0000", "boost": "score * 2", "exact": true, "mode": "meaning",
        "diversity": {"strength": 0.25, "quotas": {"brand": 1}}, "include_unavailable": true,
    });
    let answer = stage.search(&body).await;
    let query = stage.last_query();
    assert_eq!((query.words, query.language.as_deref(), query.colour), (None, Some("cs"), Some([255, 0, 0])), "meaning alone");
    assert_eq!(
        query.vectors.iter().map(|asked| (asked.space, asked.vector.to_vec())).collect::<Vec<_>>(),
        [(Space::Text, vec![0.0, 1.0, 0.0])]
    );
    assert!(query.is_exact && query.cut_off && !query.only_available && query.boost.as_deref() == Some("score * 2"));
    let diversity = query.diversity.expect("diversity");
    assert_eq!((diversity.strength, diversity.quotas), (0.25, vec![("brand".to_owned(), 1)]));
    assert_eq!(ids(&answer), ["1", "3", "4"], "by their colour");
    assert_eq!(answer["items"][0]["reasons"], json!(["has a colour near it"]));

    *stage.world.has_text_model.lock().expect("no panic") = false;
    let answer = stage.search(&json!({"text": "red", "mode": "meaning"})).await;
    assert_eq!(
        (ids(&answer), &answer["degraded"]),
        (vec!["1", "3", "4"], &json!(["text_embedding"])),
        "better by keywords than not at all"
    );
    assert!(!stage.last_query().cut_off && stage.last_query().only_available);
    stage.scene.end().await;
}

#[tokio::test]
async fn scores_and_absences_are_explained() {
    let stage = stage().await;
    let mut gone = lamp("5", "B", "blue", "50");
    gone.offer.availability = Availability::OutOfStock;
    stage.world.put(gone);
    let answer =
        stage.search(&json!({"text": "red", "mode": "keyword", "vector": [1, 0], "explain": true, "boost": "score", "limit": 1})).await;
    let item = &answer["items"][0];
    assert_eq!((item["strategy"].as_str(), item["explain"]["parts"][0]["name"].as_str()), (Some("keyword+image"), Some("keyword")));
    assert_eq!((item["explain"]["parts"][1]["rank"].as_u64(), item["explain"]["fused"].as_f64()), (Some(1), Some(2.0)));
    assert_eq!((&item["explain"]["boosted"], &answer["explain"]["plans"]), (&json!(2.0), &json!(["image:scan"])));
    assert_eq!(stage.search(&json!({"text": "red"})).await["explain"], Value::Null);
    for (missing, body, code) in [
        ("1", json!({"text": "red"}), "not_missing"),
        ("2", json!({"text": "red", "mode": "keyword"}), "not_matched"),
        ("3", json!({"text": "red", "limit": 1}), "further_down"),
        ("4", json!({"filter": "brand = A"}), "filtered"),
        ("5", json!({}), "out_of_stock"),
        ("6", json!({}), "unknown_product"),
        ("1", json!({"exclude_ids": ["1"]}), "excluded"),
    ] {
        let mut body = body;
        body["explain_missing"] = missing.into();
        let answer = stage.search(&body).await;
        assert_eq!((answer["missing"]["id"].as_str(), answer["missing"]["code"].as_str()), (Some(missing), Some(code)), "{body} {answer}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn what_batman_refuses_is_located_in_the_request() {
    let stage = stage().await;
    for (body, pointer) in [
        (json!({"filter": {"must": ["colr = red"]}}), "/filter"),
        (json!({"facets": ["brand", "colr"]}), "/facets/1"),
        (json!({"sort": ["price", "-prise"]}), "/sort/1"),
        (json!({"group_by": "grup_id"}), "/group_by"),
        (json!({"diversity": {"quotas": {"brand": 1, "co/r": 1}}}), "/diversity/quotas/co~1r"),
        (json!({"product_id": "1", "override": {"colr": "red"}}), "/override"),
    ] {
        let (status, problem) = stage.ask("POST", "/v1/search", Some(&body.to_string())).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (422, Some("unknown_attribute")), "{body} {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn the_store_narrows_down_sorts_and_pages_without_a_script() {
    let stage = stage().await;
    let page = async |path: &str| text(stage.send(request("GET", path, "", "")).await).await;
    let all = page("/store").await;
    for part in [
        r#"name="f.color" value="red""#,
        r#"name="f.brand" value="A""#,
        r#"name="min""#,
        r#"placeholder="50""#,
        r#"role="combobox""#,
        r#"name="sort""#,
        r#"type="color""#,
        "4 products",
    ] {
        assert!(all.contains(part), "{part}");
    }
    assert!(all.contains("2 forms") && !all.contains("lamp 2"), "one card for a group");
    let narrowed = page("/store?q=lamp&f.color=red&f.brand=A&max=20&sort=-price").await;
    assert!(narrowed.contains("red lamp 1") && !narrowed.contains("lamp 3") && !narrowed.contains("lamp 4"), "{narrowed}");
    assert!(narrowed.contains(r#"value="A" checked"#) && narrowed.contains(r#"value="-price" selected"#));
    assert!(narrowed.contains("/store?q=lamp&amp;f.brand=A&amp;max=20&amp;sort=-price"), "a link that takes the colour off");
    assert!(narrowed.contains("blue"), "other values of a chosen attribute can still be chosen");
    let wrong = page("/store?f.colr=red").await;
    assert!(wrong.contains("there is no attribute `colr`"));
    assert!(page("/store?q=camra").await.contains("Showing results for"));
    assert!(page("/store?color=%23ff0000").await.contains("red lamp 4"));
    assert!(page("/store?color=red").await.contains("must be #rrggbb"));
    let like = page("/store?like=1&but.color=blue").await;
    assert!(like.contains("Like “red lamp 1”, but blue") && like.contains("blue lamp 5"), "{like}");
    let detail = page("/store/p/1").await;
    assert!(detail.contains("Like this, but in") && detail.contains("but.color=blue") && detail.contains("See all"));
    assert!(detail.contains("/store?f.category=Home%20%3E%20Desk"));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_photo_with_boxes_is_shopped_on_the_page() {
    let stage = Stage::new(Config::default(), shop()).await;
    let send = async |fields: &[(&str, &str)]| {
        let (media, body) = form("image", &[0xff], fields);
        text(stage.send(request("POST", "/store", &media, body)).await).await
    };
    let whole = send(&[]).await;
    assert!(whole.contains("Looks like your photo") && whole.contains("Instant Camera"));
    let one = send(&[("boxes", "[[0.6,0,0.4,1]]"), ("f.title", "Shirt")]).await;
    assert!(one.contains("/store/p/shirt-red") && !one.contains("/store/p/camera"), "{one}");
    let two = send(&[("boxes", "[[0,0,0.4,1],[0.6,0,0.4,1]]")]).await;
    assert!(two.contains("Shop the look") && two.contains("Looks like box 2"));
    assert!(send(&[("boxes", "[[0.9,0,0.4,1]]")]).await.contains("must be [left, top, width, height]"));
    let (media, body) = form("file", b"", &[]);
    assert!(text(stage.send(request("POST", "/store", &media, body)).await).await.contains("choose a photo first"));
    stage.scene.end().await;
}

#[tokio::test]
async fn the_merchandisers_panel_says_why() {
    let stage = stage().await;
    let page = async |path: &str| text(stage.send(request("GET", path, "", "")).await).await;
    let empty = page("/console/search").await;
    assert!(empty.contains("Attributes") && empty.contains("<code>color</code>") && !empty.contains("Why it is here"));
    let answer = page("/console/search?q=red&filter=brand+%3D+A&explain_missing=4&product_id=&sort=").await;
    for part in ["Why it is here", "<meter", "keyword", "filtered", "brand = &quot;A&quot;", "red lamp 3"] {
        assert!(answer.contains(part), "{part} {answer}");
    }
    let wrong = page("/console/search?filter=brand+%3D").await;
    assert!(wrong.contains("/filter") && wrong.contains("invalid_filter"));
    assert!(page("/console").await.contains("/console/search"));
    stage.scene.end().await;
}
