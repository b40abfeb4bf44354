//! Figures: `cargo test -p personalize --release figures -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use domain::{EventKind, ProductId, Shopper};
use events::EventLog;
use protocol::personalize::{NAME, Personalizer};
use protocol::vision::VisionReader as _;
use store::MemoryStore;

use super::stage::{Catalog, Releases, Told, Vision, event, product, query, served};
use crate::effects::{checkpoint, follow};
use crate::{Config, View};

const PRODUCTS: usize = 5_000;
const SHOPPERS: usize = 2_000;
const EVENTS: usize = 20_000;
const CANDIDATES: usize = 200;

fn names() -> Vec<ProductId> {
    let colours = ["red", "blue", "green", "black", "white", "grey"];
    (0..PRODUCTS).map(|n| format!("{} {n}", colours[n % colours.len()]).parse().expect("an id")).collect()
}

#[tokio::test]
#[ignore = "measures, asserts nothing"]
async fn figures() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EventLog::open(&folder.path().join("log"), &events::Config::default(), vec![NAME]).expect("a log");
    let names = names();
    for first in (0..EVENTS).step_by(500) {
        let events = (first..first + 500).map(|n| {
            let kind = [EventKind::View, EventKind::Click, EventKind::AddToCart, EventKind::Purchase][n % 4];
            event(&format!("v{}", n * 7 % SHOPPERS), kind, names[n * n % PRODUCTS].as_str())
        });
        log.append(events.collect()).await.expect("appended");
        for n in 0..20 {
            let from = (first + n * 50) % (PRODUCTS - 40);
            let Told::Served(served) = served(&format!("t{first}-{n}"), &format!("v{n}"), &names[from..from + 40]) else { continue };
            log.record(served);
        }
    }
    tokio::task::spawn_blocking(move || measure(&log, &folder.path().join("state"), &names)).await.expect("no panic");
}

fn measure(log: &EventLog, dir: &std::path::Path, names: &[ProductId]) {
    let config = Config::default();
    let catalog = Catalog::new(names.iter().map(|name| product(name.as_str())));
    let vision = Vision { image_length: 1_280, text_length: 384 };
    let releases = Releases::first(&vision.models());
    let view = View::new(&config, Arc::new(MemoryStore::new()), Arc::new(catalog), Arc::new(vision), releases);
    let incarnation = checkpoint::begin(&view, log, dir, config.names_max).expect("begun");
    let started = busy_us();
    while follow::follow(&view, log, incarnation, config.batch_records_max).expect("applied").has_more {}
    let records = view.progress().get();
    println!("apply: {:.1} us of processor time a record, {records} records", (busy_us() - started) / records as f64);

    // The first pass meets products whose facts are not at hand. The system counts processor time in ticks: only sums of it tell.
    for (pass, asks) in [("first", 100), ("later", 4_000)] {
        let started = busy_us();
        let mut times_us: Vec<f64> = (0..asks).map(|n| rank(&view, names, n)).collect();
        let busy_us = (busy_us() - started) / asks as f64;
        times_us.sort_by(f64::total_cmp);
        println!("rank {CANDIDATES}, {pass}: {busy_us:.0} us of processor time each, p50 {:.0} us on the clock", times_us[asks / 2]);
    }

    let (started, mut bytes) = (busy_us(), Vec::new());
    for _ in 0..50 {
        bytes.clear();
        view.learned.read().expect("whole").save(&mut bytes).expect("memory takes it");
    }
    println!("checkpoint: batches wait {:.2} ms of processor time for {} KiB", (busy_us() - started) / 50e3, bytes.len() >> 10);
    let (started, dirty) = (Instant::now(), view.profiles.dirty());
    checkpoint::write(&view, log, dir, incarnation).expect("written");
    println!("checkpoint: {:.1} ms in all, {dirty} profiles", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    view.digest().expect("readable");
    println!("digest: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

/// Microseconds on the clock for one question.
fn rank(view: &View, names: &[ProductId], n: usize) -> f64 {
    let from = n * 37 % (PRODUCTS - CANDIDATES);
    let ask = query(Some(Shopper::visitor(&format!("v{}", n % SHOPPERS))), &names[from..from + CANDIDATES]);
    let started = Instant::now();
    assert_eq!(view.rank(&ask).len(), CANDIDATES);
    started.elapsed().as_secs_f64() * 1e6
}

/// Microseconds of processor time that this thread has taken; 0 where the system does not say.
fn busy_us() -> f64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    status.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
