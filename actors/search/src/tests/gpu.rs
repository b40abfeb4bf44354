//! Exact searches on a GPU, by a driver that runs on the CPU: the answers are those of the CPU.

use std::sync::Arc;
use std::time::Duration;

use domain::Filter;
use kit::Scene;
use protocol::search::{QueryVector, SearchAnswer, SearchQuery};
use protocol::vision::Space;
use shaders::scan::{AdapterChoice, GpuError, GpuOptions, GpuScan, ScanError};

use super::house::{House, product};
use crate::GpuUse;

const PRODUCTS: u64 = 400;

fn has_driver() -> bool {
    let options = GpuOptions { adapter: AdapterChoice::Software, ..GpuOptions::default() };
    match GpuScan::open(4, &options) {
        Err(ScanError::Gpu(GpuError::NoAdapter)) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("SKIPPED: no software graphics driver; GOTHAM_REQUIRE_GPU_TESTS=1 makes this a failure");
            false
        }
        opened => opened.map(drop).map_or_else(|error| panic!("{error}"), |()| true),
    }
}

/// Numbers that look random, the same every time.
fn vector(seed: u64) -> Arc<[f32]> {
    let number = |at: u64| {
        let mixed = (seed * 4 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..4).map(number).collect()
}

/// The same products, some with two vectors, with and without a GPU.
async fn houses(scene: &mut Scene) -> [House; 2] {
    let mut houses = Vec::new();
    for gpu in [GpuUse::Software, GpuUse::Off] {
        let house = House::with_gpu(tempfile::tempdir().expect("a folder"), Arc::default(), Arc::default(), gpu);
        for number in 0..PRODUCTS {
            let mut product = product(&format!("p{number:03}"), "thing");
            product.brand = Some(if number % 3 == 0 { "acme" } else { "other" }.into());
            house.catalog.put(product);
            let vectors = (0..1 + number % 2).map(|at| vector(number + PRODUCTS * at)).collect();
            house.vision.set(Space::Image, &format!("p{number:03}"), vectors);
        }
        house.start(scene).await;
        houses.push(house);
    }
    let [with, without] = <[House; 2]>::try_from(houses).ok().expect("two");
    copied(&with).await;
    [with, without]
}

/// Waits until the device has the rows as they are.
async fn copied(house: &House) {
    let shared = house.view.shared();
    let mut copied = shared.gpu.copied();
    let is_current = |versions: &[Option<u64>; 2]| {
        versions[0].is_some() && versions[0] == shared.space(Space::Image).map(|index| index.reader.version())
    };
    tokio::time::timeout(Duration::from_secs(60), copied.wait_for(is_current)).await.expect("copied").expect("the view lives");
}

fn exact(seed: u64, limit: usize) -> SearchQuery {
    SearchQuery { vectors: vec![QueryVector::new(Space::Image, "m", vector(seed))], limit, is_exact: true, ..SearchQuery::default() }
}

fn hits(answer: &SearchAnswer) -> Vec<(&str, f32)> {
    answer.hits.iter().map(|hit| (hit.product.as_str(), hit.score)).collect()
}

#[tokio::test]
async fn exact_answers_are_those_of_the_cpu() {
    if !has_driver() {
        return;
    }
    let mut scene = Scene::new();
    let [with, without] = houses(&mut scene).await;
    let filter = || Some(Filter::parse("brand = acme").expect("a filter"));
    let mut by_gpu = 0;
    for seed in 10_000..10_030 {
        for query in [
            exact(seed, 1),
            exact(seed, 20),
            exact(seed, 60),
            exact(seed, 200),
            SearchQuery { filter: filter(), ..exact(seed, 10) },
            SearchQuery {
                exclude: with.ids(exact(seed, 3)).await.iter().map(|id| id.parse().expect("an id")).collect(),
                ..exact(seed, 10)
            },
        ] {
            let (answer, expected) =
                (with.search(query.clone()).await.expect("an answer"), without.search(query).await.expect("an answer"));
            assert_eq!(hits(&answer), hits(&expected));
            by_gpu += usize::from(answer.plans == ["image:gpu"]);
            assert_ne!(expected.plans, ["image:gpu"]);
        }
    }
    assert!(by_gpu > 100, "{by_gpu} of 180");
    scene.end().await;
}

#[tokio::test]
async fn the_search_after_a_change_sees_it_and_the_device_follows() {
    if !has_driver() {
        return;
    }
    let mut scene = Scene::new();
    let [house, _] = houses(&mut scene).await;
    let query = || exact(20_000, 1);
    assert_eq!(house.search(query()).await.expect("an answer").plans, ["image:gpu"]);
    house.upsert(Space::Image, "m", &[("p007", vec![vector(20_000)])]).await.expect("set");
    assert_eq!(house.ids(query()).await, ["p007"]);
    copied(&house).await;
    let answer = house.search(query()).await.expect("an answer");
    assert_eq!((hits(&answer)[0].0, answer.plans.as_slice()), ("p007", ["image:gpu".to_owned()].as_slice()));
    house.upsert(Space::Image, "m", &[("p007", vec![])]).await.expect("removed");
    assert_ne!(house.ids(query()).await, ["p007"]);
    scene.end().await;
}

#[tokio::test]
async fn when_the_device_fails_the_cpu_answers() {
    if !has_driver() {
        return;
    }
    let mut scene = Scene::new();
    let [with, without] = houses(&mut scene).await;
    with.view.shared().gpu.sabotage(Space::Image);
    for seed in 30_000..30_003 {
        let (answer, expected) =
            (with.search(exact(seed, 9)).await.expect("an answer"), without.search(exact(seed, 9)).await.expect("an answer"));
        assert_eq!(hits(&answer), hits(&expected));
        assert_eq!(answer.plans, expected.plans);
    }
    scene.end().await;
}
