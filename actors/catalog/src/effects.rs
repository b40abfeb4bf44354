//! Where Watchtower touches the disk: the journal first, the store behind it, and how both are read back after a start.

pub(crate) mod checkpoint;

use std::ops::Bound;
use std::sync::Arc;

use domain::ProductId;
use protocol::catalog::NAME;
use protocol::journal::KIND_CATALOG_CHANGE;
use store::consumer::{load_offset, offset_op};
use store::{Durability, Journal, Keyspace, NewRecord, Op, Record, Store, StoreError};

use crate::logic::batch::Write;
use crate::logic::catalog::Catalog;
use crate::logic::replay::{Replayed, leave_tombstones, replay};
use crate::records::CatalogRecord;

/// Records read from the store in one piece.
const LOAD_PAGE_MAX: usize = 1024;
/// Journal records replayed, and committed, in one piece.
const REPLAY_RECORDS_MAX: usize = 1024;
const REPLAY_BYTES_MAX: usize = 8 << 20;

/// The journal and the store.
#[derive(Clone)]
pub(crate) struct Effects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Journal,
}

impl Effects {
    /// Makes changes durable and gives the journal offset behind them.
    pub(crate) async fn append(&self, writes: &mut [Write]) -> Result<u64, StoreError> {
        let record = |write: &mut Write| NewRecord { kind: KIND_CATALOG_CHANGE, body: std::mem::take(&mut write.journal) };
        Ok(self.journal.append(writes.iter_mut().map(record).collect()).await?.end)
    }

    /// Puts records into the store together with the journal offset that they bring it to. What is only applied becomes durable
    /// before the journal is trimmed: an export flushes the store first.
    pub(crate) async fn commit(&self, writes: Vec<Write>, offset: u64, durability: Durability) -> Result<(), StoreError> {
        let put = |Write { key, value, .. }| Op::Put { space: Keyspace::Catalog, key, value };
        let mut ops: Vec<Op> = writes.into_iter().map(put).collect();
        ops.push(offset_op(NAME, offset)?);
        self.store.commit(ops, durability).await?;
        self.journal.consumer_at(NAME, offset);
        Ok(())
    }

    /// Brings the catalog back: the store's records, then the journal behind the offset that they stand for.
    pub(crate) async fn load(&self) -> Result<Catalog, StoreError> {
        // An append that a killed predecessor had under way is in the journal behind this point, or never will be.
        self.journal.append(Vec::new()).await?;
        let (start, end) = (self.journal.start(), self.journal.end());
        let store = Arc::clone(&self.store);
        let Loaded { mut catalog, applied, damaged } = blocking(move || load_store(&*store)).await?;
        let applied = applied.unwrap_or(start);
        if !(start..=end).contains(&applied) {
            let text =
                format!("the catalog stands at journal offset {applied}, but the journal holds {start} to {end}: restore the last export");
            return Err(StoreError::Damaged(text.into()));
        }
        // What the journal still holds of a damaged record is put back, so the replay starts as early as it can.
        let mut offset = if damaged.is_empty() { applied } else { start };
        while offset < end {
            let journal = self.journal.clone();
            let writes;
            (catalog, writes, offset) = blocking(move || replay_next(&journal, catalog, offset)).await?;
            self.commit(writes, offset.max(applied), Durability::Applied).await?;
        }
        leave_tombstones(&mut catalog, &damaged, end);
        catalog.set_version(end);
        self.commit(Vec::new(), end, Durability::Flushed).await?;
        Ok(catalog)
    }
}

/// Runs disk work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped))
}

/// What the store holds.
struct Loaded {
    catalog: Catalog,
    /// The offset that the records are known to stand for, though they may be newer; `None` when that is unknown.
    applied: Option<u64>,
    /// Keys whose record does not check out.
    damaged: Vec<Vec<u8>>,
}

/// Reads all records, the offset first.
fn load_store(store: &dyn Store) -> Result<Loaded, StoreError> {
    let applied = match load_offset(store, NAME) {
        Err(StoreError::Damaged(error)) => {
            quarantine(&error);
            None
        }
        read => Some(read?),
    };
    let mut catalog = Catalog::default();
    let (mut after, mut damaged) = (Vec::new(), Vec::new());
    loop {
        let behind = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(&after[..]) };
        let page = store.range(Keyspace::Catalog, (behind, Bound::Unbounded), LOAD_PAGE_MAX)?;
        for (key, value) in &page.entries {
            match unseal(key, value) {
                Ok((id, record)) => catalog.insert(&id, &record, value),
                Err(error) => {
                    quarantine(&error);
                    damaged.push(key.clone());
                }
            }
        }
        match page.entries.into_iter().next_back() {
            Some((last, _)) if page.has_more => after = last,
            _ => return Ok(Loaded { catalog, applied, damaged }),
        }
    }
}

fn unseal(key: &[u8], value: &[u8]) -> Result<(ProductId, CatalogRecord), String> {
    let id = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    let id: ProductId = id.parse().map_err(|error: domain::IdError| error.to_string())?;
    let record = CatalogRecord::unseal(key, value).map_err(|error| format!("product {id}: {error}"))?;
    Ok((id, record))
}

/// Applies the next journal records; gives what they change in the store and the offset behind them.
fn replay_next(journal: &Journal, mut catalog: Catalog, from: u64) -> Result<(Catalog, Vec<Write>, u64), StoreError> {
    let entries = journal.read(from, REPLAY_RECORDS_MAX, REPLAY_BYTES_MAX)?;
    let offset = entries.last().map_or(from, |entry| entry.offset + 1);
    let Replayed { writes, damaged } = replay(&mut catalog, &entries);
    damaged.iter().for_each(|error| quarantine(error));
    Ok((catalog, writes, offset))
}

fn quarantine(error: &str) {
    tracing::error!(error, "a record of the catalog does not check out and is left out");
    metrics::counter!("gotham_catalog_quarantined_total").increment(1);
}
