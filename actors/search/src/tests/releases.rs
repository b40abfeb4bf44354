//! Releases of the same models with other settings: an index of each shape, ranked by whose rules the question names.

use std::time::Duration;

use domain::Parts;
use kit::Scene;
use protocol::releases::{IndexSettings, Rules, Settings};
use protocol::search::{QueryVector, SearchMsg, SearchQuery, Searcher};
use protocol::vision::{ModelInfo, Space, VisionReader};

use super::house::{House, axis, between, context, product};

fn other() -> Settings {
    let index = IndexSettings { graph_degree: 32, graph_rows_min: 2_000, recall_target: 1.0 };
    Settings { index, ..Settings::default() }
}

fn model(house: &House) -> ModelInfo {
    house.vision.models().into_iter().find(|model| model.space == Space::Image).expect("a model")
}

/// Has Batman look, until a folder is there or gone.
async fn looked(house: &House, is_done: impl Fn() -> bool) {
    let mut version = house.view.version();
    house.address.cast(&context(), SearchMsg::Tick).expect("it runs");
    tokio::time::timeout(Duration::from_secs(30), version.wait_for(|_| is_done())).await.expect("done").expect("the view lives");
}

async fn house(scene: &mut Scene) -> House {
    let house = House::new();
    for id in ["a", "b", "c"] {
        house.put(product(id, "thing"), Parts::ALL).await;
    }
    house.vision.set(Space::Image, "a", vec![axis(0)]);
    house.vision.set(Space::Image, "b", vec![between(0, 1)]);
    house.start(scene).await;
    house
}

fn near(by: &Settings) -> SearchQuery {
    let vectors = vec![QueryVector::new(Space::Image, "m", axis(0))];
    SearchQuery { vectors, limit: 10, by: Some((by.index, by.rules)), ..SearchQuery::default() }
}

#[tokio::test]
async fn two_shapes_of_one_model_stand_side_by_side_and_are_both_fed() {
    let mut scene = Scene::new();
    let house = house(&mut scene).await;
    let (model, plain) = (model(&house), IndexSettings::default());
    let is_indexed = |settings: &IndexSettings| house.view.is_indexed(&model, settings);
    assert_eq!((is_indexed(&plain), is_indexed(&other().index)), (true, false));
    assert_eq!(house.ids(near(&other())).await, ["a", "b"], "the same vectors in another shape answer meanwhile");

    house.vision.vary(other());
    looked(&house, || is_indexed(&other().index)).await;
    let folder = |name: &str| house.dir.path().join("spaces").join(name);
    assert!(folder("image-m").exists() && folder("image-m-32-2000").exists());
    house.upsert(Space::Image, "m", &[("c", vec![axis(0)]), ("a", vec![])]).await.expect("set");
    let answer = house.search(near(&other())).await.expect("an answer");
    assert_eq!(answer.plans, ["image:exact"], "as thorough as that release is");
    for settings in [Settings::default(), other()] {
        assert_eq!(house.ids(near(&settings)).await, ["c", "b"], "{settings:?}");
    }

    // The other one takes office, and the first one retires: its index goes, and nobody notices.
    house.vision.swap();
    looked(&house, || folder("image-m").exists()).await;
    house.vision.set(Space::Image, "c", vec![axis(0)]);
    house.vision.retire();
    looked(&house, || !folder("image-m").exists()).await;
    assert!(folder("image-m-32-2000").exists() && !is_indexed(&plain));
    let unnamed = SearchQuery { by: None, ..near(&other()) };
    let answer = house.search(unnamed).await.expect("an answer");
    assert_eq!((answer.plans.as_slice(), answer.hits[0].product.as_str()), (["image:exact".to_owned()].as_slice(), "c"), "by the live one");
    scene.end().await;
}

#[tokio::test]
async fn an_index_of_another_shape_is_found_again_after_a_restart() {
    let mut scene = Scene::new();
    let house = house(&mut scene).await;
    house.vision.vary(other());
    looked(&house, || house.view.is_indexed(&model(&house), &other().index)).await;
    scene.end().await;
    let House { dir, catalog, vision, journal, view, address, .. } = house;
    drop((journal, view, address));
    let mut scene = Scene::new();
    let house = House::reopen(dir, catalog, vision);
    house.start(&mut scene).await;
    house.followed().await;
    assert!(house.view.is_indexed(&model(&house), &other().index));
    assert_eq!(house.ids(near(&other())).await, ["a", "b"]);
    scene.end().await;
}

#[tokio::test]
async fn parts_are_weighed_by_the_rules_of_the_release_that_answers() {
    let mut scene = Scene::new();
    let house = House::new();
    for (id, title) in [("words", "red shoe"), ("picture", "blue hat"), ("neither", "green coat")] {
        house.put(product(id, title), Parts::ALL).await;
    }
    house.vision.set(Space::Image, "picture", vec![axis(0)]);
    house.vision.set(Space::Image, "neither", vec![axis(1)]);
    house.start(&mut scene).await;
    house.followed().await;
    let ask = |rules: Option<Rules>| {
        let vectors = vec![QueryVector::new(Space::Image, "m", axis(0))];
        let by = rules.map(|rules| (IndexSettings::default(), rules));
        SearchQuery { words: Some("red shoe".into()), vectors, limit: 1, by, ..SearchQuery::default() }
    };
    let pictures = Rules { words_weight: 0.1, image_weight: 5.0, ..Rules::default() };
    assert_eq!(house.ids(ask(None)).await, ["words"]);
    assert_eq!(house.ids(ask(Some(Rules::default()))).await, ["words"]);
    assert_eq!(house.ids(ask(Some(pictures))).await, ["picture"]);
    house.vision.vary(Settings { rules: pictures, ..Settings::default() });
    house.vision.swap();
    looked(&house, || house.view.shared().live().rules == pictures).await;
    assert_eq!(house.ids(ask(None)).await, ["picture"], "whoever names no release is answered by the live one's rules");
    scene.end().await;
}
