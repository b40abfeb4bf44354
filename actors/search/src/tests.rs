//! The actor with its neighbours faked: a real journal and a real keyword index in a temporary folder.

mod facts;
mod gpu;
mod house;
mod keywords;
mod queries;
mod releases;
mod vectors;

use std::time::Duration;

use domain::Parts;
use kit::{Context, Priority, Scene};
use protocol::search::{QueryVector, SearchError, SearchQuery, Searcher};
use protocol::vision::Space;

use house::{House, product};

#[tokio::test]
async fn before_the_start_every_part_is_named_as_missing() {
    let house = House::new();
    let query = SearchQuery {
        words: Some("shoe".into()),
        vectors: vec![QueryVector::new(Space::Image, "m", house::axis(0)), QueryVector::new(Space::Text, "m", house::axis(0))],
        limit: 5,
        ..SearchQuery::default()
    };
    let answer = house.search(query).await.expect("an answer");
    assert_eq!((answer.hits.len(), answer.degraded), (0, vec!["keyword", "image", "text"]));
}

#[tokio::test]
async fn words_and_vectors_are_fused_and_say_what_found_them() {
    let house = House::new();
    let mut scene = Scene::new();
    for (id, title) in [("a", "red shoe"), ("b", "red hat"), ("c", "blue hat")] {
        house.put(product(id, title), Parts::ALL).await;
    }
    house.start(&mut scene).await;
    house.followed().await;
    house.upsert(Space::Image, "m", &[("b", vec![house::axis(0)]), ("c", vec![house::between(0, 1)])]).await.expect("set");
    let query = |limit| SearchQuery {
        words: Some("red".into()),
        vectors: vec![QueryVector::new(Space::Image, "m", house::axis(0))],
        limit,
        ..SearchQuery::default()
    };
    let answer = house.search(query(10)).await.expect("an answer");
    let found: Vec<_> = answer.hits.iter().map(|hit| (hit.product.as_str(), hit.found_by.as_slice())).collect();
    assert_eq!(found, [("b", ["keyword", "image"].as_slice()), ("a", &["keyword"]), ("c", &["image"])]);
    assert!(answer.degraded.is_empty());
    assert_eq!(house.search(query(1)).await.expect("an answer").hits.len(), 1);
    assert_eq!(house.search(query(0)).await.expect("an answer").hits.len(), 0);
    let without = SearchQuery { exclude: vec!["b".parse().expect("an id")], ..query(10) };
    assert_eq!(house.ids(without).await, ["a", "c"]);
    scene.end().await;
}

#[tokio::test]
async fn a_query_out_of_bounds_or_time_is_refused() {
    let house = House::new();
    let mut scene = Scene::new();
    house.put(product("a", "shoe"), Parts::ALL).await;
    house.start(&mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![house::axis(0)])]).await.expect("set");
    let vector =
        |values: &[f32]| SearchQuery { vectors: vec![QueryVector::new(Space::Image, "m", values)], limit: 5, ..SearchQuery::default() };
    assert!(matches!(house.search(vector(&[1.0])).await, Err(SearchError::Dimensions { expected: 4, got: 1, .. })));
    for bad in [[f32::NAN; 4], [f32::INFINITY; 4], [0.0; 4]] {
        assert!(matches!(house.search(vector(&bad)).await, Err(SearchError::NotFinite)));
    }
    let exclude =
        SearchQuery { exclude: vec!["x".parse().expect("an id"); 1_001], words: Some("shoe".into()), limit: 5, ..SearchQuery::default() };
    assert!(matches!(house.search(exclude).await, Err(SearchError::TooMany(1_001))));
    let late = Context::new(Priority::Serving, Duration::ZERO);
    assert!(matches!(house.view.search(&late, vector(&[1.0; 4])).await, Err(SearchError::Busy(_))));
    scene.end().await;
}

#[tokio::test]
async fn a_changed_price_touches_no_index() {
    let house = House::new();
    let mut scene = Scene::new();
    house.put(product("a", "red shoe"), Parts::ALL).await;
    house.start(&mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![house::axis(0)])]).await.expect("set");
    house.followed().await;
    let before = house.view.stats();
    for _ in 0..10 {
        house
            .put(product("a", "not read, since the change says that only price and stock differ"), Parts(Parts::PRICE.0 | Parts::STOCK.0))
            .await;
    }
    house.followed().await;
    let after = house.view.stats();
    assert_eq!(after.journal_offset, before.journal_offset + 10, "the changes have been seen");
    assert_eq!(after.version, before.version, "and have changed nothing");
    assert_eq!(house.words("differ").await, Vec::<String>::new());
    scene.end().await;
}

#[tokio::test]
async fn a_deleted_product_leaves_both_indexes() {
    let house = House::new();
    let mut scene = Scene::new();
    for id in ["a", "b"] {
        house.put(product(id, "red shoe"), Parts::ALL).await;
    }
    house.start(&mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![house::axis(0)]), ("b", vec![house::axis(0)])]).await.expect("set");
    house.delete("a").await;
    house.followed().await;
    assert_eq!(house.words("shoe").await, ["b"]);
    assert_eq!(house.near(Space::Image, house::axis(0)).await, ["b"]);
    let stats = house.view.stats();
    assert_eq!((stats.image_products, stats.keyword_products, stats.tombstones), (1, 1, 1));
    scene.end().await;
}

#[tokio::test]
async fn a_deletion_that_the_catalog_does_not_show_yet_waits_for_it() {
    let house = House::new();
    let mut scene = Scene::new();
    for id in ["late", "back"] {
        house.put(product(id, "red shoe"), Parts::ALL).await;
    }
    house.start(&mut scene).await;
    house.upsert(Space::Image, "m", &[("late", vec![house::axis(0)]), ("back", vec![house::axis(0)])]).await.expect("set");
    house.append(None, "late", Parts::ALL).await;
    house.append(None, "back", Parts::ALL).await;
    house.followed().await;
    assert_eq!(house.near(Space::Image, house::axis(0)).await, ["back", "late"]);
    house.append(Some(product("back", "red boot")), "back", Parts::ALL).await;
    house.catalog.remove("late");
    house.append(None, "other", Parts::ALL).await;
    house.followed().await;
    assert_eq!(house.near(Space::Image, house::axis(0)).await, ["back"], "what has come back keeps its vectors");
    assert_eq!(house.words("boot").await, ["back"]);
    scene.end().await;
}

#[tokio::test]
async fn killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice() {
    let house = House::new();
    let mut scene = Scene::new();
    let mut actor = house.start(&mut scene).await;
    for round in 0..12 {
        for number in 0..40 {
            let id = format!("p{:03}", (round * 23 + number) % 90);
            let title = format!("shoe number{round}x{number}");
            if number % 9 == 8 { house.delete(&id).await } else { house.put(product(&id, &title), Parts::ALL).await }
        }
        let id = format!("p{:03}", round * 23 % 90);
        if house.upsert(Space::Text, "m", &[(&id, vec![house::axis(round % 4)])]).await.is_ok() {
            house.vision.set(Space::Text, &id, vec![house::axis(round % 4)]);
        }
        if round % 3 == 0 {
            house.followed().await;
        }
        actor.kill();
        actor = house.start(&mut scene).await;
    }
    house.followed().await;
    let (words, vectors) = (house.words("shoe").await, house.catalog.ids_of(&house.vision.ids(Space::Text)));
    assert_eq!(words, house.catalog.ids());
    assert_eq!(house.view.stats().keyword_products, words.len());
    let mut found = house.near(Space::Text, house::axis(0)).await;
    found.sort();
    assert_eq!(found, vectors);
    scene.end().await;
}
