//! The records of runs and their rejects.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use protocol::ingest::{FeedRun, Reject, RunId};
use store::{Durability, Keyspace, Op, Record, Store, StoreError};

use crate::actor::Args;
use crate::logic::normal::text::cut;
use crate::records::{RejectRecord, RunRecord, reject_key, run_key};

/// Entries read or removed at a time.
const PAGE_MAX: usize = 512;
/// Bytes of a reject's field name and detail; a feed's own names may be of any length.
const TEXT_BYTES_MAX: usize = 512;

/// Every run on disk. One that does not read is named in the log and left where it is.
pub(crate) fn load(store: &dyn Store) -> Result<BTreeMap<RunId, Arc<FeedRun>>, StoreError> {
    let mut runs = BTreeMap::new();
    let mut after = Bound::Unbounded;
    loop {
        let page = store.range(Keyspace::FeedRuns, (after.as_ref().map(Vec::as_slice), Bound::Unbounded), PAGE_MAX)?;
        for (key, value) in &page.entries {
            match RunRecord::unseal(key, value) {
                Ok(RunRecord(run)) => drop(runs.insert(run.id, Arc::new(run))),
                Err(error) => tracing::error!(%error, "a feed run's record does not read; it is left out"),
            }
        }
        match page.entries.last() {
            Some((key, _)) if page.has_more => after = Bound::Excluded(key.clone()),
            _ => return Ok(runs),
        }
    }
}

/// Writes a run as it is now.
pub(crate) async fn save(store: &dyn Store, run: &FeedRun, durability: Durability) -> Result<(), StoreError> {
    let key = run_key(run.id);
    let value = RunRecord(run.clone()).seal(&key).map_err(|error| StoreError::Damaged(error.to_string().into()))?;
    store.commit(vec![Op::Put { space: Keyspace::FeedRuns, key, value }], durability).await.map(drop)
}

/// Removes a run and its rejects.
pub(crate) async fn remove(store: &dyn Store, id: RunId) -> Result<(), StoreError> {
    remove_rejects(store, id).await?;
    store.commit(vec![Op::Delete { space: Keyspace::FeedRuns, key: run_key(id) }], Durability::Applied).await.map(drop)
}

async fn remove_rejects(store: &dyn Store, id: RunId) -> Result<(), StoreError> {
    let (first, last) = (reject_key(id, 0, 0), reject_key(id, u64::MAX, u32::MAX));
    loop {
        let page = store.range(Keyspace::Rejects, (Bound::Included(&first), Bound::Included(&last)), PAGE_MAX)?;
        if page.entries.is_empty() {
            return Ok(());
        }
        let ops = page.entries.into_iter().map(|(key, _)| Op::Delete { space: Keyspace::Rejects, key }).collect();
        store.commit(ops, Durability::Applied).await?;
    }
}

/// Where one attempt at a run writes its rejects. The run's own record is flushed behind them, and so are they.
pub(crate) struct RejectBook {
    store: Arc<dyn Store>,
    id: RunId,
    number: u32,
    rejects_left: usize,
    warnings_left: usize,
}

impl RejectBook {
    /// An empty book: what an earlier attempt wrote is removed.
    pub(crate) async fn open(args: &Args, id: RunId) -> Result<Self, StoreError> {
        remove_rejects(&*args.store, id).await?;
        let left = args.config.rejects_max;
        Ok(Self { store: Arc::clone(&args.store), id, number: 0, rejects_left: left, warnings_left: left })
    }

    /// Keeps rejects up to the bound, and warnings up to the same, so that neither crowds out the other.
    pub(crate) async fn write(&mut self, findings: Vec<Reject>) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for finding in findings {
            let left = if finding.is_warning { &mut self.warnings_left } else { &mut self.rejects_left };
            if *left == 0 {
                continue;
            }
            *left -= 1;
            let key = reject_key(self.id, finding.row, self.number);
            self.number += 1;
            let value = RejectRecord(bounded(finding)).seal(&key).map_err(|error| StoreError::Damaged(error.to_string().into()))?;
            ops.push(Op::Put { space: Keyspace::Rejects, key, value });
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.store.commit(ops, Durability::Applied).await.map(drop)
    }
}

fn bounded(finding: Reject) -> Reject {
    let cut = |text: String| cut(&text, TEXT_BYTES_MAX).to_owned();
    Reject { field: finding.field.map(cut), detail: cut(finding.detail), ..finding }
}
