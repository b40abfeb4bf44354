//! Vectors: what is taken, what is refused, and where they come from after a start.

use domain::Parts;
use kit::Scene;
use protocol::search::{QueryVector, SearchError, SearchMsg, SearchQuery, Searcher};
use protocol::vision::Space;

use super::house::{House, axis, between, context, product};

async fn house_of(ids: &[&str], scene: &mut Scene) -> House {
    let house = House::new();
    for id in ids {
        house.put(product(id, "thing"), Parts::ALL).await;
    }
    house.start(scene).await;
    house
}

#[tokio::test]
async fn a_product_is_one_hit_with_the_cosine_of_its_best_vector() {
    let mut scene = Scene::new();
    let house = house_of(&["a", "b"], &mut scene).await;
    house.upsert(Space::Image, "m", &[("b", vec![axis(2), between(0, 1), axis(3)]), ("a", vec![axis(1)])]).await.expect("set");
    let query = SearchQuery { vectors: vec![QueryVector::new(Space::Image, "m", between(0, 0))], limit: 10, ..SearchQuery::default() };
    let hits = house.search(query).await.expect("an answer").hits;
    let found: Vec<_> = hits.iter().map(|hit| (hit.product.as_str(), (hit.score * 1e4).round(), hit.found_by.as_slice())).collect();
    assert_eq!(found, [("b", 7071.0, ["image"].as_slice()), ("a", 0.0, &["image"])]);
    scene.end().await;
}

#[tokio::test]
async fn bad_vectors_are_refused_as_a_whole_message() {
    let mut scene = Scene::new();
    let house = house_of(&["a", "b"], &mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![axis(0)])]).await.expect("set");
    let version = house.view.stats().version;
    let short = house.upsert(Space::Image, "m", &[("b", vec![axis(0)]), ("a", vec![[1.0].into()])]).await;
    assert!(matches!(short, Err(SearchError::Dimensions { expected: 4, got: 1, .. })));
    for bad in [[f32::NAN; 4], [f32::INFINITY; 4], [0.0; 4]] {
        assert!(matches!(house.upsert(Space::Image, "m", &[("b", vec![bad.into()])]).await, Err(SearchError::NotFinite)));
    }
    assert!(matches!(house.upsert(Space::Image, "m", &vec![("a", vec![axis(0)]); 257]).await, Err(SearchError::TooMany(257))));
    assert!(matches!(house.upsert(Space::Text, "m", &[("a", vec![[].into()])]).await, Err(SearchError::Dimensions { .. })));
    assert_eq!(house.view.stats().version, version, "nothing of a refused message is taken");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a"]);
    scene.end().await;
}

#[tokio::test]
async fn the_vectors_of_two_models_stand_side_by_side_and_never_meet() {
    let mut scene = Scene::new();
    let house = House::new();
    house.vision.load_model("m");
    house.vision.keep("new", 2);
    for id in ["a", "b", "c"] {
        house.put(product(id, "thing"), Parts::ALL).await;
    }
    house.start(&mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![axis(0)]), ("c", vec![axis(1)])]).await.expect("set");
    house.upsert(Space::Image, "new", &[("b", vec![[0.0, 1.0].into()]), ("c", vec![[1.0, 0.0].into()])]).await.expect("set");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a", "c"]);
    assert_eq!(house.near_by(Space::Image, "new", [0.0, 1.0].into()).await, ["b", "c"]);
    assert_eq!(house.view.stats().image_products, 2, "of the live model");
    let of = |fingerprint: &str, vector: &[f32]| QueryVector::new(Space::Image, fingerprint, vector);
    let ask = |vectors| SearchQuery { vectors, limit: 10, ..SearchQuery::default() };
    // The same width is not the same model, and one question is of one model.
    let wide = house.search(ask(vec![of("new", &[1.0; 4])])).await;
    assert!(matches!(wide, Err(SearchError::Dimensions { expected: 2, got: 4, .. })), "{wide:?}");
    let both = house.search(ask(vec![of("new", &[1.0; 2]), of("m", &[1.0; 4])])).await;
    assert!(matches!(both, Err(SearchError::TwoModels(Space::Image))), "{both:?}");
    let unknown = house.search(ask(vec![of("unknown", &[1.0; 4])])).await.expect("an answer");
    assert_eq!((unknown.hits.len(), unknown.degraded.as_slice()), (0, ["image"].as_slice()));

    house.delete("c").await;
    house.followed().await;
    let mut version = house.view.version();
    let gone = version.wait_for(|_| house.view.stats().image_products == 1);
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("gone").expect("the view lives");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a"]);
    assert_eq!(house.near_by(Space::Image, "new", [0.0, 1.0].into()).await, ["b"], "a deleted product is in neither");

    let folder = |fingerprint: &str| house.dir.path().join("spaces").join(format!("image-{fingerprint}"));
    assert!(folder("m").exists() && folder("new").exists());
    house.vision.retire();
    let freed = version.wait_for(|_| !folder("new").exists());
    house.address.cast(&context(), SearchMsg::Tick).expect("it runs");
    tokio::time::timeout(std::time::Duration::from_secs(30), freed).await.expect("freed").expect("the view lives");
    assert!(folder("m").exists());
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a"]);
    scene.end().await;
}

#[tokio::test]
async fn a_folder_of_the_time_of_one_index_a_space_is_its_models() {
    let house = House::new();
    house.put(product("a", "thing"), Parts::ALL).await;
    house.vision.set(Space::Image, "a", vec![axis(0)]);
    let spaces = house.dir.path().join("spaces");
    for (name, note) in [("image", "before"), ("image-retired", "gone")] {
        std::fs::create_dir_all(spaces.join(name)).expect("a folder");
        std::fs::write(spaces.join(name).join("note"), note).expect("written");
    }
    let mut scene = Scene::new();
    house.start(&mut scene).await;
    assert_eq!(std::fs::read_to_string(spaces.join("image-m/note")).expect("moved"), "before");
    assert!(!spaces.join("image").exists() && !spaces.join("image-retired").exists(), "what no release has is freed");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a"]);
    scene.end().await;
}

#[tokio::test]
async fn no_vectors_remove_a_product_and_unknown_products_are_dropped() {
    let mut scene = Scene::new();
    let house = house_of(&["a", "b"], &mut scene).await;
    house.upsert(Space::Image, "m", &[("a", vec![]), ("gone", vec![])]).await.expect("nothing to do");
    house.upsert(Space::Image, "m", &[("a", vec![axis(0)]), ("b", vec![axis(0)]), ("unknown", vec![axis(0)])]).await.expect("set");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a", "b"]);
    house.upsert(Space::Image, "m", &[("a", vec![])]).await.expect("removed");
    assert_eq!(house.near(Space::Image, axis(0)).await, ["b"]);
    house.catalog.remove("b");
    house.upsert(Space::Image, "m", &[("b", vec![axis(1)])]).await.expect("dropped");
    assert_eq!(house.near(Space::Image, axis(0)).await, Vec::<String>::new());
    scene.end().await;
}

#[tokio::test]
async fn after_a_start_the_vectors_come_from_nightwings_store() {
    let house = House::new();
    for id in ["a", "b"] {
        house.put(product(id, "thing"), Parts::ALL).await;
    }
    house.vision.set(Space::Image, "a", vec![axis(0)]);
    house.vision.set(Space::Image, "deleted", vec![axis(0)]);
    let mut scene = Scene::new();
    house.start(&mut scene).await;
    assert_eq!(house.near(Space::Image, axis(0)).await, ["a"]);
    let query = SearchQuery { vectors: vec![QueryVector::new(Space::Text, "m", axis(0))], limit: 1, ..SearchQuery::default() };
    assert!(house.search(query).await.expect("an answer").degraded.is_empty(), "a space with a model and no vectors is no failure");
    scene.end().await;
}

#[tokio::test]
async fn a_restart_keeps_what_is_right_and_mends_what_is_not() {
    let mut scene = Scene::new();
    let house = House::new();
    for id in ["a", "b", "c"] {
        house.put(product(id, "thing"), Parts::ALL).await;
    }
    house.vision.set(Space::Image, "a", vec![axis(0)]);
    house.vision.set(Space::Image, "b", vec![axis(1)]);
    let actor = house.start(&mut scene).await;
    house.followed().await;
    let version = house.view.stats().version;
    house.vision.set(Space::Image, "b", vec![axis(2)]);
    house.vision.set(Space::Image, "c", vec![axis(3)]);
    actor.kill();
    house.start(&mut scene).await;
    let stats = house.view.stats();
    assert_eq!((stats.image_products, stats.tombstones), (3, 1), "what was right was not touched");
    assert!(stats.version > version);
    assert_eq!(house.near(Space::Image, axis(2)).await[0], "b");
    scene.end().await;
}

#[tokio::test]
async fn a_model_that_comes_later_fills_its_space() {
    let mut scene = Scene::new();
    let house = house_of(&["a"], &mut scene).await;
    let query = || SearchQuery { vectors: vec![QueryVector::new(Space::Image, "m", axis(0))], limit: 1, ..SearchQuery::default() };
    assert_eq!(house.search(query()).await.expect("an answer").degraded, ["image"]);
    let mut version = house.view.version();
    house.vision.set(Space::Image, "a", vec![axis(0)]);
    let filled = version.wait_for(|_| house.view.stats().image_products == 1);
    tokio::time::timeout(std::time::Duration::from_secs(30), filled).await.expect("filled").expect("the view lives");
    let answer = house.search(query()).await.expect("an answer");
    assert_eq!((answer.hits.len(), answer.degraded.len()), (1, 0));
    scene.end().await;
}
