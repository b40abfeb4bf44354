//! How fast jobs go through the queues on both stores, and products through the routing:
//! `cargo run --release -p queue --example throughput`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{PartHashes, Product, ProductId};
use kit::{Address, Context, Priority, Reply, SystemClock};
use protocol::catalog::{CatalogReader, CatalogSnapshot, ProductRevision};
use protocol::queue::{JobSpec, LEASE_JOBS_MAX, NAME, QueueError, QueueMsg, QueueName, ROUTE_PRODUCTS_MAX, Settlement};
use queue::{Args, Config, Gordon, View};
use ractor::Actor;
use store::{Journal, JournalConfig, MemoryStore, SledConfig, SledStore, Store};

const JOBS: usize = 50_000;
const PRODUCTS: usize = 50_000;
const QUEUE: QueueName = QueueName::EmbedText;

/// A catalog that does not change, in id order.
#[derive(Clone)]
struct Fixed(Arc<Vec<Arc<ProductRevision>>>);

impl CatalogReader for Fixed {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        Arc::new(self.clone())
    }
}

impl CatalogSnapshot for Fixed {
    fn version(&self) -> u64 {
        1
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, id: &str) -> Option<Arc<ProductRevision>> {
        self.0.binary_search_by(|product| product.product.id.as_str().cmp(id)).ok().map(|at| Arc::clone(&self.0[at]))
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<ProductRevision>> {
        let start = after.map_or(0, |after| self.0.partition_point(|product| product.product.id.as_str() <= after));
        self.0.iter().skip(start).take(limit).cloned().collect()
    }

    fn group(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }

    fn products_with_image(&self, _: &str) -> Vec<ProductId> {
        Vec::new()
    }
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    measure("memory", Arc::new(MemoryStore::new()), &dir.path().join("memory")).await?;
    let sled = SledStore::open(&dir.path().join("sled"), SledConfig::default())?;
    measure("sled", Arc::new(sled), &dir.path().join("beside-sled")).await
}

async fn measure(name: &str, store: Arc<dyn Store>, journal: &std::path::Path) -> Result<(), Failure> {
    let product = |n: usize| -> Result<_, Failure> {
        let mut product = Product::new(format!("product-{n:08}").parse()?, format!("A good pair of shoes, number {n}"));
        product.description = "A sentence of the length that sentences in shops have. ".repeat(10);
        Ok(product)
    };
    let mut known = Vec::with_capacity(PRODUCTS);
    for n in 0..PRODUCTS {
        let product = product(n)?;
        let hashes = PartHashes::of(&product);
        known.push(Arc::new(ProductRevision { product, revision: 1, hashes, source: "shop".into(), last_run: None, changed_at_ms: 0 }));
    }
    let catalog = Fixed(Arc::new(known));
    let args = Args {
        config: Config::default(),
        store,
        journal: Journal::open(journal, JournalConfig::default())?,
        watchtower: Address::new("watchtower", 1),
        catalog: Arc::new(catalog.clone()),
        clock: Arc::new(SystemClock),
        view: Arc::new(View::new()),
    };
    let address = Address::new(NAME, 16);
    let (gordon, handle) = Actor::spawn(None, Gordon, args).await?;
    address.connect(gordon.clone());
    enqueue(name, &address).await?;
    work_off(name, &address).await?;
    route(name, &address, &catalog).await?;
    gordon.stop(None);
    handle.await?;
    Ok(())
}

async fn ask<T>(address: &Address<QueueMsg>, message: impl FnOnce(Reply<Result<T, QueueError>>) -> QueueMsg) -> Result<T, Failure> {
    Ok(address.call(&Context::new(Priority::Bulk, Duration::from_secs(60)), message).await??)
}

async fn enqueue(name: &str, address: &Address<QueueMsg>) -> Result<(), Failure> {
    let mut jobs = Vec::with_capacity(JOBS);
    for n in 0..JOBS {
        jobs.push(JobSpec { queue: QUEUE, product: format!("product-{n:08}").parse()?, priority: 1, not_before_ms: 0 });
    }
    let started = Instant::now();
    for jobs in jobs.chunks(LEASE_JOBS_MAX) {
        ask(address, |reply| QueueMsg::Enqueue { jobs: jobs.to_vec(), reply }).await?;
    }
    report(name, "jobs enqueued", JOBS, started);
    Ok(())
}

async fn work_off(name: &str, address: &Address<QueueMsg>) -> Result<(), Failure> {
    let started = Instant::now();
    let mut worked = 0;
    loop {
        let lease = |reply| QueueMsg::Lease { queue: QUEUE, jobs_max: LEASE_JOBS_MAX, visibility_timeout_ms: 60_000, reply };
        let jobs = ask(address, lease).await?;
        if jobs.is_empty() {
            break;
        }
        worked += jobs.len();
        let jobs = jobs.into_iter().map(|job| (job.id, job.lease, Settlement::Done)).collect();
        ask(address, |reply| QueueMsg::Settle { jobs, reply }).await?;
    }
    report(name, "jobs leased and settled", worked, started);
    Ok(())
}

async fn route(name: &str, address: &Address<QueueMsg>, catalog: &Fixed) -> Result<(), Failure> {
    let products: Vec<_> = catalog.0.iter().map(|known| Arc::new(known.product.clone())).collect();
    let started = Instant::now();
    for products in products.chunks(ROUTE_PRODUCTS_MAX) {
        ask(address, |reply| QueueMsg::Route { run: None, source: "shop".into(), products: products.to_vec(), reply }).await?;
    }
    report(name, "unchanged products routed", products.len(), started);
    Ok(())
}

fn report(store: &str, what: &str, count: usize, started: Instant) {
    println!("{store}: {:.0} {what} per second", count as f64 / started.elapsed().as_secs_f64());
}
