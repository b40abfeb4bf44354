//! The store on sled 0.34, with the guards that sled needs: real flushes (see `fsync`), no blob files, read-only after the
//! first error, and one writer thread that flushes once for all commits that wait.

mod rebuild;
mod snapshot;
mod writer;

use std::any::Any;
use std::fs::File;
use std::io::Write;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ack::Ack;
use crate::export::ExportWriter;
use crate::poison::Poison;
use crate::queue::{GroupQueue, QueueBounds};
use crate::record::Record;
use crate::records::CommitMark;
use crate::sled_store::snapshot::{Overlay, Snapshot};
use crate::sled_store::writer::{Commit, Writer};
use crate::store::{self, COMMIT_BYTES_MAX, Durability, ExportSummary, Keyspace, Op, Page, Store, StoreError, StoreStats};
use crate::{files, fsync, key};

/// Values over a quarter of a segment go to `blobs/`, which sled never flushes. Written at creation, never changed.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const _: () = assert!(store::VALUE_BYTES_MAX + store::KEY_BYTES_MAX < SEGMENT_BYTES / 4);

/// Bytes of commits that wait for the writer.
const QUEUE_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

const RELEASE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bounds of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledConfig {
    /// Memory for sled's page cache.
    pub cache_bytes_max: u64,
    /// Commits that wait for the writer.
    pub queue_max: usize,
}

impl Default for SledConfig {
    fn default() -> Self {
        Self { cache_bytes_max: 128 * 1024 * 1024, queue_max: 1024 }
    }
}

/// A store on sled. Dropping it writes what waits and closes the files.
pub struct SledStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer share.
struct Shared {
    dir: PathBuf,
    /// Taken when it is dropped.
    db: Option<sled::Db>,
    queue: GroupQueue<Commit>,
    poison: Poison,
    last_commit: AtomicU64,
    opening: u64,
    /// Held while a commit is applied and while an export reads a page.
    overlay: Mutex<Option<Overlay>>,
}

impl SledStore {
    /// Opens (or creates) the store in `dir`. Fails if sled cannot read what is there, or if its flushes do not reach the
    /// disk in this build.
    pub fn open(dir: &Path, config: SledConfig) -> Result<Self, StoreError> {
        files::create_dir(dir)?;
        let db = guarded(|| {
            let config = sled::Config::new().path(dir).segment_size(SEGMENT_BYTES).cache_capacity(config.cache_bytes_max);
            config.flush_every_ms(None).mode(sled::Mode::HighThroughput).open()
        })
        .map_err(|error| in_use(dir, error))?;
        settle_files(dir)?;
        let bounds = QueueBounds { items_max: config.queue_max, bytes_max: QUEUE_BYTES_MAX, group_bytes_max: GROUP_BYTES_MAX };
        let mark =
            guarded(|| db.get(CommitMark::KEY))?.map(|bytes| CommitMark::unseal(CommitMark::KEY, &bytes)).transpose()?.unwrap_or_default();
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            db: Some(db),
            queue: GroupQueue::new(bounds),
            poison: Poison::new("store"),
            last_commit: AtomicU64::new(mark.number),
            opening: mark.opening + 1,
            overlay: Mutex::new(None),
        });
        shared.prove_flush()?;
        let writer = Writer::new(shared.clone());
        let thread = std::thread::Builder::new().name("store".into()).spawn(|| writer.run());
        let thread = thread.map_err(|error| StoreError::io("the store's thread", error))?;
        Ok(Self { shared, writer: Some(thread) })
    }
}

impl Shared {
    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("it is taken only when this is dropped")
    }

    /// Writes and flushes the commit mark and refuses to go on if the flush did not arrive in `fsync`. It also makes durable
    /// what a killed process had written but not flushed, before anyone reads it.
    fn prove_flush(&self) -> Result<(), StoreError> {
        let calls = fsync::calls();
        let mark = self.mark(self.last_commit.load(Ordering::Acquire))?;
        guarded(|| self.db().insert(CommitMark::KEY, mark))?;
        self.flush()?;
        if fsync::calls() == calls {
            return Err(StoreError::Io("this build's sled does not flush to the disk".into()));
        }
        Ok(())
    }

    /// The sealed mark of a commit.
    fn mark(&self, number: u64) -> Result<Vec<u8>, StoreError> {
        Ok(CommitMark { number, opening: self.opening }.seal(CommitMark::KEY)?)
    }

    /// Everything applied so far survives a power cut once this has returned.
    fn flush(&self) -> Result<(), StoreError> {
        let failures = fsync::failures();
        guarded(|| self.db().flush())?;
        if fsync::failures() == failures { Ok(()) } else { Err(StoreError::Io("a flush to the disk failed".into())) }
    }
}

impl Store for SledStore {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = guarded(|| self.shared.db().get(key::full(space, key)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, space: Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Result<Page, StoreError> {
        let Some(bounds) = key::bounds(space, bounds) else { return Ok(Page::default()) };
        guarded(|| {
            let mut found = self.shared.db().range(bounds);
            let mut page = Page::default();
            for entry in found.by_ref().take(limit) {
                let (key, value) = entry?;
                page.entries.push((key[1..].to_vec(), value.to_vec()));
            }
            page.has_more = found.next().transpose()?.is_some();
            Ok(page)
        })
    }

    fn commit(&self, ops: Vec<Op>, durability: Durability) -> Ack<u64> {
        let bytes = match self.shared.poison.check().and_then(|()| store::bytes_of(&ops)) {
            Ok(bytes) => bytes,
            Err(error) => return Ack::ready(Err(error)),
        };
        let (done, ack) = Ack::channel();
        if let Err((commit, error)) = self.shared.queue.push(Commit { ops, durability, done }, bytes) {
            let _ = commit.done.send(Err(error));
        }
        ack
    }

    fn export(&self, to: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        let snapshot = Snapshot::begin(&self.shared)?;
        let mut export = ExportWriter::new(to)?;
        while let Some(page) = snapshot.next_page()? {
            for (key, value) in page {
                export.entry(&key, &value)?;
            }
        }
        export.finish()
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            disk_bytes: guarded(|| self.shared.db().size_on_disk()).unwrap_or(0),
            last_commit: self.shared.last_commit.load(Ordering::Acquire),
            queue_depth: self.shared.queue.len(),
            poisoned: self.shared.poison.reason().map(ToString::to_string),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.shared.queue.close();
        if self.writer.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Shared {
    /// sled flushes when it is dropped and panics where that fails; after a failure it is left to the end of the process.
    fn drop(&mut self) {
        let db = self.db.take();
        if self.poison.reason().is_some() {
            std::mem::forget(db);
        } else if catch_unwind(AssertUnwindSafe(|| drop(db))).is_ok() {
            await_release(&self.dir);
        } else {
            tracing::error!("sled panicked while closing");
        }
    }
}

/// Calls sled: its errors and its panics (it has some for damaged files) become ours.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error @ sled::Error::Corruption { .. })) => Err(StoreError::Damaged(error.to_string().into())),
        Ok(Err(error)) => Err(StoreError::io("sled", error)),
        Err(panic) => Err(StoreError::Damaged(format!("sled panicked: {}", panic_text(&*panic)).into())),
    }
}

/// Waits until sled has let go of its file: its threads, and memory that waits to be reclaimed, hold on to it for a moment
/// after the last handle is gone, and whoever reopens the store would find it locked.
fn await_release(dir: &Path) {
    let Ok(file) = File::open(dir.join("db")) else { return };
    let deadline = Instant::now() + RELEASE_WAIT_MAX;
    while file.try_lock().is_err() {
        if Instant::now() >= deadline {
            tracing::warn!("sled still holds its file");
            return;
        }
        crossbeam::epoch::pin().flush();
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// sled tells a held lock only by its text.
fn in_use(dir: &Path, error: StoreError) -> StoreError {
    if error.to_string().contains("could not acquire lock") { StoreError::Locked(dir.display().to_string().into()) } else { error }
}

/// sled never flushes its configuration file or its folders.
fn settle_files(dir: &Path) -> Result<(), StoreError> {
    let settled = File::open(dir.join("conf")).and_then(|conf| conf.sync_all()).and_then(|()| files::sync_dir(dir));
    settled.map_err(|error| StoreError::io(dir.display(), error))
}
