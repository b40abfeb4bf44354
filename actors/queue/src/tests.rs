//! Gordon with a probe in Watchtower's place.

mod failures;
mod following;
mod jobs;
mod recorder;
mod routing;

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, CallError, Clock, Context, Mail, ManualClock, Priority, Probe, Reply, Scene};
use protocol::catalog::CatalogMsg;
use protocol::queue::{JobId, JobSpec, LeasedJob, NAME, QueueDepth, QueueError, QueueMsg, QueueName, QueueReader, Settlement};
use ractor::ActorRef;
use store::{Journal, JournalConfig, MemoryStore, Store};
use tempfile::TempDir;

use crate::shop::Shop;
use crate::{Args, Config, Gordon, QueueConfig, View};

const LEASE_MS: u64 = 10_000;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Gordon and everything around him.
struct House {
    scene: Scene,
    address: Address<QueueMsg>,
    gordon: ActorRef<Mail<QueueMsg>>,
    args: Args,
    clock: Arc<ManualClock>,
    shop: Shop,
    watchtower: Option<Probe<CatalogMsg>>,
    _dir: TempDir,
}

/// Small bounds and short waits.
fn config() -> Config {
    let queue = QueueConfig {
        jobs_max: 8,
        attempts_max: 3,
        backoff_ms_min: 100,
        backoff_ms_max: 1000,
        release_delay_ms: 100,
        ..QueueConfig::default()
    };
    Config { embed_image: queue.clone(), embed_text: queue, ..Config::default() }
}

fn job(product: &str) -> JobSpec {
    JobSpec { queue: QueueName::EmbedText, product: product.parse().expect("an id"), priority: 1, not_before_ms: 0 }
}

fn context() -> Context {
    Context::new(Priority::Bulk, TIMEOUT)
}

impl House {
    async fn new() -> Self {
        Self::with(config(), Arc::new(MemoryStore::new())).await
    }

    async fn with(config: Config, store: Arc<dyn Store>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(dir.path(), JournalConfig::default()).expect("a journal");
        let mut scene = Scene::new();
        let (watchtower, probe) = scene.probe("watchtower").await;
        let (clock, shop) = (Arc::new(ManualClock::new(1_000_000)), Shop::default());
        let (catalog, view) = (Arc::new(shop.clone()), Arc::new(View::new()));
        let clock_for_gordon = Arc::clone(&clock) as Arc<dyn Clock>;
        let args = Args { config, store, journal, watchtower, catalog, clock: clock_for_gordon, view };
        let address = Address::new(NAME, 100);
        let gordon = scene.spawn_at(&address, Gordon, args.clone()).await;
        Self { scene, address, gordon, args, clock, shop, watchtower: Some(probe), _dir: dir }
    }

    /// Watchtower answers by itself from here on.
    fn watchtower_works(&mut self) {
        let shop = self.shop.clone();
        self.watchtower.take().expect("not at work yet").answer_all(move |message| {
            if let CatalogMsg::Apply { changes, reply } = message {
                reply.send(Ok(shop.apply(changes)));
            }
        });
    }

    async fn try_ask<T>(&self, message: impl FnOnce(Reply<T>) -> QueueMsg) -> Result<T, CallError> {
        self.address.call(&context(), message).await
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> QueueMsg) -> T {
        self.try_ask(message).await.expect("gordon answers")
    }

    async fn enqueue(&self, products: &[&str]) -> Result<(), QueueError> {
        let jobs = products.iter().map(|product| job(product)).collect();
        self.ask(|reply| QueueMsg::Enqueue { jobs, reply }).await
    }

    async fn lease_of(&self, queue: QueueName, jobs_max: usize) -> Vec<LeasedJob> {
        self.ask(|reply| QueueMsg::Lease { queue, jobs_max, visibility_timeout_ms: LEASE_MS, reply }).await.expect("leased")
    }

    async fn lease(&self, jobs_max: usize) -> Vec<LeasedJob> {
        self.lease_of(QueueName::EmbedText, jobs_max).await
    }

    async fn settle(&self, jobs: &[LeasedJob], settlement: Settlement) {
        let jobs: Vec<(JobId, u64, Settlement)> = jobs.iter().map(|job| (job.id, job.lease, settlement.clone())).collect();
        self.ask(|reply| QueueMsg::Settle { jobs, reply }).await.expect("settled");
    }

    fn depth(&self, queue: QueueName) -> QueueDepth {
        self.args.view.depth(queue)
    }

    /// Lets time pass on both clocks.
    async fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms as i64);
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    /// Kills Gordon where he stands.
    async fn kill(&mut self) {
        self.address.disconnect();
        self.gordon.kill_and_wait(None).await.expect("killed");
    }

    async fn start(&mut self) {
        self.gordon = self.scene.spawn_at(&self.address, Gordon, self.args.clone()).await;
    }

    async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    async fn end(self) {
        self.scene.end().await;
    }
}

fn products(jobs: &[LeasedJob]) -> Vec<&str> {
    jobs.iter().map(|job| job.spec.product.as_str()).collect()
}

/// Waits for something that other threads bring about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, wait).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}
