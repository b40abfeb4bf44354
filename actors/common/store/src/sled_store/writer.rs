//! The one thread that writes: applies every commit that waits, flushes once, and acknowledges all of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Shared, guarded};
use crate::queue::Taken;
use crate::records::CommitMark;
use crate::store::{Durability, Op, StoreError};

/// Commits that were only applied are flushed when the writer has had nothing to do for this long, or has not flushed for
/// this long.
const UNFLUSHED_MAX: Duration = Duration::from_millis(200);

/// Changes that wait for the writer and whom to tell.
pub(super) struct Commit {
    pub(super) ops: Vec<Op>,
    pub(super) durability: Durability,
    pub(super) done: oneshot::Sender<Result<u64, StoreError>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// When the oldest commit was applied that is not flushed yet.
    unflushed_since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, unflushed_since: None }
    }

    /// Serves until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let patience = self.unflushed_since.map_or(Duration::MAX, |since| UNFLUSHED_MAX.saturating_sub(since.elapsed()));
            let waiting = match self.shared.queue.next_group(patience) {
                Taken::Group(group) => self.apply_group(group),
                Taken::Nothing => Vec::new(),
                Taken::Closed => break,
            };
            let overdue = self.unflushed_since.is_some_and(|since| since.elapsed() >= UNFLUSHED_MAX);
            if overdue || !waiting.is_empty() {
                let flushed = self.flush();
                for (done, number) in waiting {
                    let _ = done.send(flushed.clone().map(|()| number));
                }
            }
        }
        let _ = self.flush();
    }

    /// Applies all commits and gives those that wait for the flush.
    fn apply_group(&mut self, group: Vec<Commit>) -> Vec<(oneshot::Sender<Result<u64, StoreError>>, u64)> {
        let mut waiting = Vec::new();
        for commit in group {
            let applied = self.poisoning(|shared| apply(shared, commit.ops));
            if applied.is_ok() {
                self.unflushed_since.get_or_insert_with(Instant::now);
            }
            match (applied, commit.durability) {
                (Ok(number), Durability::Flushed) => waiting.push((commit.done, number)),
                (applied, _) => {
                    let _ = commit.done.send(applied);
                }
            }
        }
        waiting
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.unflushed_since.take().is_none() {
            return Ok(());
        }
        let started = Instant::now();
        let flushed = self.poisoning(Shared::flush);
        metrics::histogram!("gotham_store_flush_seconds").record(started.elapsed());
        flushed
    }

    /// Does nothing after a failure, and makes this one the last.
    fn poisoning<T>(&self, write: impl FnOnce(&Shared) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.poison.check()?;
        write(&self.shared).inspect_err(|error| self.shared.poison.set(&error.to_string()))
    }
}

/// Applies one commit and its number in one batch, which sled recovers whole or not at all.
fn apply(shared: &Shared, ops: Vec<Op>) -> Result<u64, StoreError> {
    let number = shared.last_commit.load(Ordering::Acquire) + 1;
    let keys: Vec<Vec<u8>> = ops.iter().map(Op::full_key).collect();
    let mut batch = sled::Batch::default();
    for (key, op) in keys.iter().zip(ops) {
        match op {
            Op::Put { value, .. } => batch.insert(key.as_slice(), value),
            Op::Delete { .. } => batch.remove(key.as_slice()),
        }
    }
    batch.insert(CommitMark::KEY, shared.mark(number)?);
    let mut overlay = shared.overlay.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(overlay) = overlay.as_mut() {
        overlay.keep(shared.db(), &keys)?;
    }
    guarded(|| shared.db().apply_batch(batch))?;
    drop(overlay);
    shared.last_commit.store(number, Ordering::Release);
    metrics::counter!("gotham_store_commits_total").increment(1);
    Ok(number)
}
