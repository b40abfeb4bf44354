//! Fills a log in a new folder, seals it and prints what it sums up to, as JSON, computed before anything was sealed:
//! `cargo run --release -p events --example warehouse -- DIR [EVENTS] | tests/bench/warehouse_readers.py DIR/warehouse`.
//! The files lie in an S3-compatible store where `s3://bucket/prefix` and an endpoint follow; then they are read back and a shopper
//! is forgotten there.

use std::error::Error;
use std::path::PathBuf;

use domain::{Erasure, Served, ServedItem, Shopper};
use events::bench::Synthetic;
use events::{Config, EventLog, SealedLog, Summary};

const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("a folder is missing")?);
    let count: usize = words.next().map_or(Ok(300_000), |word| word.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (warehouse_url, warehouse_endpoint) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_elsewhere = !warehouse_url.is_empty();
    let config = Config { warehouse_url, warehouse_endpoint, ..Config::default() };
    let log = EventLog::open_with_warehouse(&folder.join("events"), &folder.join("warehouse"), &config, Vec::new())?;
    for (index, batch) in Synthetic::new(7).batches(count, BATCH).into_iter().enumerate() {
        let at_ms = batch.first().map_or(0, |event| event.at_ms);
        runtime.block_on(log.append(batch))?;
        let items = (0..10).map(|item| served_item(index + item)).collect::<Result<_, _>>()?;
        log.record(Served {
            token: format!("token-{index}"),
            at_ms,
            placement: "home".into(),
            shopper: Some(Shopper::visitor("visitor-1")),
            session: None,
            context: Vec::new(),
            items,
            experiments: vec![("order".into(), "b".into())],
            rules: Vec::new(),
            query: None,
            found: 40,
            request: "{}".into(),
        });
    }
    // The lists of the last batches are durable once this is.
    runtime.block_on(log.append(Vec::new()))?;
    let mut summary = Summary::default();
    while summary.end < log.end() {
        log.read(summary.end, 4096)?.iter().for_each(|entry| summary.add(entry));
    }
    let report = log.seal(log.end())?;
    eprintln!("{}", serde_json::to_string(&report)?);
    println!("{}", serde_json::to_string(&summary)?);
    if is_elsewhere {
        let erasure = Erasure { shoppers: log.known_as("customer-5")?, at_ms: 0, receipt: "receipt".into() };
        runtime.block_on(log.erase(erasure.clone()))?;
        eprintln!("{}", serde_json::to_string(&log.forget(&erasure)?)?);
        let again = SealedLog::open(&folder.join("warehouse"))?.summary()?;
        eprintln!("read back: events {}", if again.events == summary.events { "the same" } else { "DIFFER" });
    }
    Ok(())
}

fn served_item(number: usize) -> Result<ServedItem, Box<dyn Error>> {
    Ok(ServedItem { product: format!("sku-{number}").parse()?, strategy: "bought_together".into(), score: 0.5, propensity: 1.0 })
}
