//! Checkpoints: an export of the whole store, verified, and behind it the journal cut off where every consumer has passed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Reply, TaskGuard};
use protocol::catalog::CatalogError;
use store::{StoreError, VerifiedExport};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::effects::Effects;

/// Exports are named by the journal's end, so that their names sort by age.
const EXPORT_PREFIX: &str = "store-";
const EXPORT_SUFFIX: &str = ".export";
/// Held while an export is made: a thread that outlives its actor, and its actor's successor, take turns.
const LOCK: &str = "LOCK";

/// Makes checkpoints, one at a time, beside the actor: changes go on meanwhile.
#[derive(Clone)]
pub(crate) struct Checkpoints(Arc<Inner>);

struct Inner {
    effects: Effects,
    folder: PathBuf,
    config: Config,
}

impl Checkpoints {
    pub(crate) fn new(effects: Effects, folder: PathBuf, config: Config) -> Self {
        Self(Arc::new(Inner { effects, folder, config }))
    }

    /// Makes one and answers with the bytes that the journal was shortened by.
    pub(crate) fn start(&self, reply: Reply<Result<u64, CatalogError>>) {
        let checkpoints = self.clone();
        tokio::spawn(async move { reply.send(checkpoints.make().await) });
    }

    /// Makes one whenever the journal has grown too large, until the guard is dropped.
    pub(crate) fn keep(&self, interval: Duration) -> TaskGuard {
        let checkpoints = self.clone();
        TaskGuard::new(tokio::spawn(async move {
            let bytes_max = checkpoints.0.config.journal_bytes_max;
            let mut threshold = bytes_max;
            loop {
                tokio::time::sleep(interval).await;
                let journal = &checkpoints.0.effects.journal;
                if journal.bytes() > threshold {
                    let _ = checkpoints.make().await;
                    // A slow consumer, or damage, may have held the journal back: only more growth is worth another export.
                    threshold = bytes_max.max(journal.bytes() + bytes_max / 4);
                }
            }
        }))
    }

    async fn make(&self) -> Result<u64, CatalogError> {
        let started = Instant::now();
        let (done, result) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        // A thread of its own: it may take minutes, and neither a restart nor the end of the process waits for it.
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let _ = done.send(inner.make());
        });
        let made = match thread {
            Ok(_) => result.await.unwrap_or(Err(StoreError::Stopped)),
            Err(error) => Err(failed("a thread for the checkpoint", &error)),
        };
        metrics::histogram!("gotham_catalog_checkpoint_seconds").record(started.elapsed());
        match &made {
            Ok(bytes) => tracing::info!(trimmed_bytes = bytes, seconds = started.elapsed().as_secs_f64(), "made a checkpoint"),
            Err(error) => {
                tracing::error!(%error, "no checkpoint could be made");
                metrics::counter!("gotham_catalog_checkpoint_failures_total").increment(1);
            }
        }
        made.map_err(|error| CatalogError::Storage(error.to_string()))
    }
}

impl Inner {
    fn make(&self) -> Result<u64, StoreError> {
        let Effects { store, journal } = &self.effects;
        fs::create_dir_all(&self.folder).map_err(|error| failed(self.folder.display(), &error))?;
        let _lock = lock(&self.folder.join(LOCK))?;
        let path = self.folder.join(format!("{EXPORT_PREFIX}{:020}{EXPORT_SUFFIX}", journal.end()));
        let export = VerifiedExport::write(&**store, journal, &path)?;
        let trimmed_bytes = journal.trim(&export)?;
        remove_old(&self.folder, self.config.exports_max).map_err(|error| failed(self.folder.display(), &error))?;
        Ok(trimmed_bytes)
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::create(path).map_err(|error| failed(path.display(), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked("the exports folder".into())),
        Err(TryLockError::Error(error)) => Err(failed(path.display(), &error)),
    }
}

/// Removes all but the latest exports, and what an interrupted export has left.
fn remove_old(folder: &Path, exports_max: usize) -> io::Result<()> {
    let (mut exports, mut rubbish) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        match name.to_str() {
            Some(name) if name.starts_with(EXPORT_PREFIX) && name.ends_with(EXPORT_SUFFIX) => exports.push(name.to_owned()),
            Some(name) if name.starts_with(EXPORT_PREFIX) => rubbish.push(name.to_owned()),
            _ => {}
        }
    }
    exports.sort_unstable();
    exports.truncate(exports.len().saturating_sub(exports_max));
    rubbish.iter().chain(&exports).try_for_each(|name| fs::remove_file(folder.join(name)))
}

fn failed(what: impl std::fmt::Display, error: &io::Error) -> StoreError {
    StoreError::Io(format!("{what}: {error}").into())
}
