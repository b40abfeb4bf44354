//! What readers see of the runs: the runs from memory, their rejects from the store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::ingest::{FeedRun, FeedRunReader, IngestError, Reject, RunId};
use store::{Keyspace, Record, Store};
use tokio::sync::watch;

use crate::records::{RejectRecord, reject_key};

/// Rejects read from the store at a time.
const PAGE_MAX: usize = 512;

/// The runs as readers see them. Made once; the actor refills it when it starts.
pub struct View {
    store: Arc<dyn Store>,
    runs: RwLock<BTreeMap<RunId, Arc<FeedRun>>>,
    changes: watch::Sender<u64>,
}

impl View {
    /// An empty view on the rejects in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, runs: RwLock::default(), changes: watch::Sender::new(0) }
    }

    pub(crate) fn refill(&self, runs: BTreeMap<RunId, Arc<FeedRun>>) {
        *self.runs.write().unwrap_or_else(PoisonError::into_inner) = runs;
        self.changes.send_modify(|version| *version += 1);
    }

    pub(crate) fn publish(&self, run: FeedRun) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).insert(run.id, Arc::new(run));
        self.changes.send_modify(|version| *version += 1);
    }

    pub(crate) fn forget(&self, id: RunId) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Ended runs, the oldest first.
    pub(crate) fn ended(&self) -> Vec<RunId> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.values().filter(|run| run.status.is_final()).map(|run| run.id).collect()
    }
}

impl FeedRunReader for View {
    fn get(&self, id: RunId) -> Option<Arc<FeedRun>> {
        self.runs.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn latest(&self, limit: usize) -> Vec<Arc<FeedRun>> {
        self.runs.read().unwrap_or_else(PoisonError::into_inner).values().rev().take(limit).cloned().collect()
    }

    fn rejects(&self, id: RunId, offset: usize, limit: usize) -> Result<Vec<Reject>, IngestError> {
        if self.get(id).is_none() {
            return Err(IngestError::UnknownRun(id));
        }
        let storage = |error: &dyn std::fmt::Display| IngestError::Storage(error.to_string());
        let last = reject_key(id, u64::MAX, u32::MAX);
        let (mut after, mut skip, mut rejects) = (Bound::Included(reject_key(id, 0, 0)), offset, Vec::new());
        while rejects.len() < limit {
            let page = self
                .store
                .range(Keyspace::Rejects, (after.as_ref().map(Vec::as_slice), Bound::Included(&last)), PAGE_MAX)
                .map_err(|error| storage(&error))?;
            for (key, value) in page.entries.iter().skip(skip).take(limit - rejects.len()) {
                rejects.push(RejectRecord::unseal(key, value).map_err(|error| storage(&error))?.0);
            }
            skip = skip.saturating_sub(page.entries.len());
            match page.entries.last() {
                Some((key, _)) if page.has_more => after = Bound::Excluded(key.clone()),
                _ => break,
            }
        }
        Ok(rejects)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
