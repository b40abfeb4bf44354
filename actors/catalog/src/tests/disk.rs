//! A stage for Watchtower: a journal in a folder of its own, and a store whose commits a test can hold back.

use std::io::Write;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::{Address, Context, Mail, ManualClock, Priority, Scene};
use protocol::catalog::{CatalogError, CatalogMsg, CatalogReader, CatalogSnapshot, Change, NAME, Outcome};
use ractor::{ActorRef, ActorStatus};
use store::{
    Ack, Durability, ExportSummary, Journal, JournalConfig, Keyspace, MemoryStore, Op, Page, Store, StoreError, StoreStats, VerifyReport,
};
use tokio::sync::{Notify, oneshot};

use crate::{Args, Config, View, Watchtower};

/// What happens to commits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    /// They go through.
    Open,
    /// They are never done and never answered, as if the process had ended before them.
    Swallow,
    /// They are done and never answered, as if the process had ended behind them.
    Hold,
    /// They fail.
    Fail,
}

/// A memory store behind a gate.
#[derive(Clone)]
pub(super) struct Disk(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    gate: Mutex<Gate>,
    unanswered: Mutex<Vec<oneshot::Sender<Result<u64, StoreError>>>>,
    reached: Notify,
}

impl Disk {
    fn new() -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(),
            gate: Mutex::new(Gate::Open),
            unanswered: Mutex::default(),
            reached: Notify::new(),
        }))
    }

    pub(super) fn set(&self, gate: Gate) {
        *self.0.gate.lock().expect("no test panics holding it") = gate;
    }

    /// Waits until a commit stands before a gate that is not open.
    pub(super) async fn reached(&self) {
        self.0.reached.notified().await;
    }
}

impl Store for Disk {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.store.get(space, key)
    }

    fn range(&self, space: Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Result<Page, StoreError> {
        self.0.store.range(space, bounds, limit)
    }

    fn commit(&self, ops: Vec<Op>, durability: Durability) -> Ack<u64> {
        let gate = *self.0.gate.lock().expect("no test panics holding it");
        if gate == Gate::Open {
            return self.0.store.commit(ops, durability);
        }
        self.0.reached.notify_one();
        if gate == Gate::Fail {
            return Ack::ready(Err(StoreError::Io("the disk is gone".into())));
        }
        if gate == Gate::Hold {
            let done = self.0.store.commit(ops, durability);
            std::thread::spawn(|| done.wait()).join().expect("no panic").expect("a memory store");
        }
        let (sender, ack) = Ack::channel();
        self.0.unanswered.lock().expect("no test panics holding it").push(sender);
        ack
    }

    fn export(&self, to: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        self.0.store.export(to)
    }

    fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.0.store.verify()
    }

    fn stats(&self) -> StoreStats {
        self.0.store.stats()
    }
}

/// Watchtower and what it stands on.
pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) address: Address<CatalogMsg>,
    pub(super) args: Args,
    pub(super) disk: Disk,
    pub(super) folder: tempfile::TempDir,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), JournalConfig::default())
    }

    pub(super) fn with(config: Config, journal: JournalConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&folder.path().join("journal"), journal).expect("a journal");
        let disk = Disk::new();
        let (exports, clock, view) = (folder.path().join("exports"), Arc::new(ManualClock::new(1000)), Arc::new(View::new()));
        let args = Args { config, store: Arc::new(disk.clone()), journal, exports, clock, view };
        Self { scene: Scene::new(), address: Address::new(NAME, 16), args, disk, folder }
    }

    pub(super) async fn start(&mut self) -> ActorRef<Mail<CatalogMsg>> {
        self.scene.spawn_at(&self.address, Watchtower, self.args.clone()).await
    }

    /// Applies changes. Each is expected to be taken; no answer at all shows as a storage error.
    pub(super) async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, CatalogError> {
        let context = Context::new(Priority::Bulk, Duration::from_secs(30));
        let answer = self.address.call(&context, |reply| CatalogMsg::Apply { changes, reply }).await;
        let outcomes = answer.map_err(|error| CatalogError::Storage(error.to_string()))??;
        Ok(outcomes.into_iter().map(|outcome| outcome.expect("the change is taken")).collect())
    }

    pub(super) async fn checkpoint(&self) -> Result<u64, CatalogError> {
        let context = Context::new(Priority::Bulk, Duration::from_secs(30));
        self.address.call(&context, |reply| CatalogMsg::Checkpoint { reply }).await.expect("an answer")
    }

    /// The exports, oldest first. Nothing but them and their lock stands in the folder.
    pub(super) fn exports(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.args.exports).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).filter(|path| !path.ends_with("LOCK")).collect();
        paths.sort_unstable();
        paths
    }

    /// The next start finds an empty store.
    pub(super) fn replace_store(&mut self) {
        self.disk = Disk::new();
        self.args.store = Arc::new(self.disk.clone());
    }

    /// The next start begins with an empty view, as in a new process.
    pub(super) fn forget_view(&mut self) {
        self.args.view = Arc::new(View::new());
    }

    /// Waits until the actor has ended by itself.
    pub(super) async fn ended(&self, actor: &ActorRef<Mail<CatalogMsg>>) {
        let ended = async {
            while actor.get_status() != ActorStatus::Stopped {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the actor asks to be restarted");
    }

    /// Makes every later append fail: the journal cannot begin its next segment.
    pub(super) fn break_journal(&self) {
        std::fs::remove_dir_all(self.folder.path().join("journal")).expect("removed");
    }

    /// A product's bytes in the store.
    pub(super) fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.disk.get(Keyspace::Catalog, name.as_bytes()).expect("a memory store")
    }

    /// Revisions and titles as shown.
    pub(super) fn revisions(&self, names: &[&str]) -> Vec<Option<(u64, String)>> {
        let snapshot = self.args.view.snapshot();
        names.iter().map(|name| snapshot.get(name).map(|known| (known.revision, known.product.title.clone()))).collect()
    }
}

/// All that a snapshot shows.
pub(super) fn shown(snapshot: &dyn CatalogSnapshot) -> String {
    format!("{} {:?}", snapshot.version(), snapshot.page(None, usize::MAX))
}
