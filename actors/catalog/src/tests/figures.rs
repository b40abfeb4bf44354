//! Figures on this machine: `cargo test -p catalog --release figures -- --ignored --nocapture --test-threads 1`.

use std::sync::Arc;
use std::time::Instant;

use domain::{AttributeValue, CategoryPath, ImageRef, Offer, Product, Provenance, Source};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use store::{Record, SledConfig, SledStore};

use super::disk::Stage;
use crate::logic::batch::Batch;
use crate::logic::catalog::Catalog;
use crate::records::CatalogRecord;
use crate::testing::{euros, id, upsert, variant};

const PRODUCTS: usize = 100_000;
/// As many as one routing message holds.
const BATCH: usize = 256;

/// A product as a fashion feed has it: eight attributes, two pictures, three variants for every third product.
fn fashion(index: usize) -> Product {
    let provenance = |field: &str| Provenance { source: Source::Feed, field: format!("g:{field}") };
    let mut product = Product::new(id(&format!("sku-{index:07}")), format!("Men Regular Fit Checked Casual Shirt {index}"));
    product.description = format!("Shirt number {index}. {}", "A comfortable shirt of soft cotton for every day. ".repeat(6));
    product.brand = Some(format!("Brand {}", index % 300));
    product.link = Some(format!("https://shop.example/products/men-regular-fit-shirt-{index}"));
    product.group_id = (index.is_multiple_of(2)).then(|| format!("group-{}", index / 8));
    product.categories = vec![CategoryPath(["Apparel", "Topwear", "Shirts"].map(str::to_owned).into())];
    for (name, value) in [
        ("color", "Navy Blue"),
        ("gender", "Men"),
        ("season", "Fall"),
        ("usage", "Casual"),
        ("year", "2012"),
        ("fit", "Regular"),
        ("material", "Cotton"),
        ("pattern", "Checked"),
    ] {
        product.attributes.insert(name.to_owned(), vec![AttributeValue { value: value.to_owned(), provenance: provenance(name) }]);
    }
    product.images = (0..2).map(|picture| ImageRef(format!("https://images.shop.example/assets/{index}/{picture}.jpg"))).collect();
    product.offer = Offer { price: euros((index % 90) as i64 + 5), ..Offer::default() };
    if index.is_multiple_of(3) {
        product.variants = ["S", "M", "L"].map(|size| variant(size, product.offer.clone())).into();
    }
    product
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}

#[test]
#[ignore = "measures, asserts nothing"]
fn figures_of_memory() {
    let before = resident_bytes();
    let mut catalog = Catalog::default();
    let mut stored_bytes = 0;
    for index in 0..PRODUCTS {
        let mut batch = Batch::new(Catalog::default());
        batch.push(upsert(fashion(index)), 0);
        let write = &batch.writes[0];
        stored_bytes += write.value.len();
        let record = CatalogRecord::unseal(&write.key, &write.value).expect("a record");
        catalog.insert(&fashion(index).id, &record, &write.value);
    }
    let bytes = resident_bytes() - before;
    let started = Instant::now();
    let found = (0..PRODUCTS).filter(|index| catalog.get(&format!("sku-{:07}", index * 7919 % PRODUCTS)).is_some()).count();
    println!("get: {} ns, {found} found", started.elapsed().as_nanos() as usize / PRODUCTS);
    println!(
        "memory: {} MiB for {} products, {} bytes each; {} bytes each stored",
        bytes >> 20,
        catalog.len(),
        bytes / PRODUCTS,
        stored_bytes / PRODUCTS
    );
}

#[tokio::test]
#[ignore = "measures, asserts nothing"]
async fn figures_of_apply_and_load() {
    let mut stage = Stage::new();
    stage.args.store = Arc::new(SledStore::open(&stage.folder.path().join("store"), SledConfig::default()).expect("a store"));
    let watchtower = stage.start().await;
    for round in ["created", "unchanged"] {
        let mut seconds = 0.0;
        for first in (0..PRODUCTS).step_by(BATCH) {
            let changes = (first..PRODUCTS.min(first + BATCH)).map(|index| upsert(fashion(index))).collect();
            let started = Instant::now();
            stage.apply(changes).await.expect("applied");
            seconds += started.elapsed().as_secs_f64();
        }
        println!("apply, {round}: {:.0} products/s in batches of {BATCH}", PRODUCTS as f64 / seconds);
    }
    watchtower.stop_and_wait(None, None).await.expect("stopped");
    stage.forget_view();
    let started = Instant::now();
    stage.start().await;
    println!("load: {} products in {:.2} s", stage.args.view.snapshot().len(), started.elapsed().as_secs_f64());
    let started = Instant::now();
    let trimmed = stage.checkpoint().await.expect("made");
    println!("checkpoint: {:.2} s, {} MiB trimmed", started.elapsed().as_secs_f64(), trimmed >> 20);
    stage.scene.end().await;
}
