//! Figures of this machine, for reports: `cargo test --release -p search figures -- --ignored --nocapture`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use domain::{AttributeValue, CategoryPath, Parts, Product, ProductId, Provenance, Source};
use kit::Scene;
use protocol::search::{SearchQuery, Searcher};

use super::house::{House, context, product};
use crate::logic::scan::nearest;
use crate::logic::vectors::{SpaceWriter, unit};

const QUERIES: usize = 200;

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join("..").join("..").join("shared");
    let folder = std::env::var_os("GOTHAM_SHARED").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The least, p50 and p99. On a busy machine the least is the one to trust.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration, Duration) {
    times.sort();
    (times[0], times[times.len() / 2], times[times.len() * 99 / 100])
}

#[test]
#[ignore = "a measurement"]
fn figures_of_the_exact_scan() {
    for (rows, dimensions) in [(3_000_usize, 1_280), (59_000, 384)] {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let vectors: Vec<Vec<f32>> =
            (0..rows).map(|_| unit(&(0..dimensions).map(|_| random()).collect::<Vec<_>>()).expect("not zero")).collect();
        let ids: Vec<ProductId> = (0..rows).map(|row| format!("product-{row:06}").parse().expect("an id")).collect();
        let mut writer = SpaceWriter::new("m", dimensions);
        let fed = Instant::now();
        for batch in 0..rows.div_ceil(64) {
            for row in batch * 64..rows.min(batch * 64 + 64) {
                writer.set(&ids[row], std::slice::from_ref(&vectors[row]));
            }
            std::hint::black_box(writer.snapshot());
        }
        let (fed, snapshot) = (fed.elapsed(), writer.snapshot());
        let times = (0..QUERIES).map(|query| {
            let row = query * 7 % rows;
            let started = Instant::now();
            let found = nearest(&snapshot, &vectors[row], 10, &HashSet::new(), &|| false).expect("in time");
            let took = started.elapsed();
            assert_eq!(found[0].0, ids[row], "each vector is nearest to itself");
            took
        });
        let (least, p50, p99) = percentiles(times.collect());
        let bytes = snapshot.bytes() as f64 / rows as f64 * 100_000.0 / 1e6;
        let rate = rows as f64 / fed.as_secs_f64();
        eprintln!(
            "{rows} x {dimensions}: least {least:?}, p50 {p50:?}, p99 {p99:?}; {bytes:.0} MB for 100,000 rows; {rate:.0} rows/s set, a snapshot every 64"
        );
    }
}

fn catalog(folder: PathBuf) -> Vec<Product> {
    let text = std::fs::read_to_string(folder.join("data/catalog/catalog_text_only.csv")).expect("the catalog");
    let row = |line: &str| {
        let cells: Vec<&str> = line.splitn(10, ',').collect();
        let mut product = product(cells[0], cells[9].trim_matches('"'));
        product.categories = vec![CategoryPath(cells[2..5].iter().map(|cell| (*cell).to_owned()).collect())];
        for (name, cell) in [("gender", cells[1]), ("color", cells[5]), ("season", cells[6]), ("usage", cells[8])] {
            let value = AttributeValue { value: cell.into(), provenance: Provenance { source: Source::Feed, field: name.into() } };
            product.attributes.insert(name.into(), vec![value]);
        }
        product
    };
    text.lines().skip(1).map(row).collect()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn figures_of_the_keyword_index() {
    let Some(folder) = shared() else {
        eprintln!("SKIPPED: no shared data");
        return;
    };
    let products = catalog(folder);
    let house = House::new();
    products.iter().for_each(|product| house.catalog.put(product.clone()));
    let mut scene = Scene::new();
    let started = Instant::now();
    house.start(&mut scene).await;
    let mut version = house.view.version();
    version.wait_for(|_| house.view.stats().keyword_products == products.len()).await.expect("the view lives");
    let rebuilt = started.elapsed();
    eprintln!("made anew: {} rows in {rebuilt:?}, {:.0} rows/s", products.len(), products.len() as f64 / rebuilt.as_secs_f64());
    let started = Instant::now();
    for product in &products[..5_000] {
        house.put(product.clone(), Parts::TEXT).await;
    }
    house.followed().await;
    eprintln!("5,000 changes one by one through the journal: {:?}", started.elapsed());
    let started = Instant::now();
    house.put(product("changed", "zzyzx"), Parts::ALL).await;
    house.followed().await;
    assert_eq!(house.words("zzyzx").await, ["changed"]);
    eprintln!("one changed title searchable after {:?}", started.elapsed());
    let (mut times, mut found) = (Vec::new(), 0);
    for product in products.iter().step_by(products.len() / QUERIES) {
        let query = SearchQuery { words: Some(product.title.clone()), limit: 100, ..SearchQuery::default() };
        let started = Instant::now();
        let answer = house.view.search(&context(), query).await.expect("an answer");
        times.push(started.elapsed());
        found += usize::from(answer.hits.iter().any(|hit| hit.product == product.id));
    }
    let (queries, (least, p50, p99)) = (times.len(), percentiles(times));
    eprintln!("a whole title: least {least:?}, p50 {p50:?}, p99 {p99:?}; {found} of {queries} find their product");
    assert!(found * 10 >= queries * 9);
    for words in ["shirt", "red dress", "nike running shoes men", "s", "zz", "watches for women black"] {
        let started = Instant::now();
        let hits = house.words(words).await.len();
        eprintln!("{words:?}: {hits} hits in {:?}", started.elapsed());
    }
    scene.end().await;
}
