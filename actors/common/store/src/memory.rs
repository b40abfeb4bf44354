//! The memory twin: the store's contract without a disk, for tests of everything above it.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::ack::Ack;
use crate::export::ExportWriter;
use crate::key;
use crate::poison::Poison;
use crate::store::{self, Durability, ExportSummary, Keyspace, Op, Page, Store, StoreError, StoreStats};

/// A store in memory. Clones share it, so that a test can "reopen" it as a restart does.
#[derive(Clone)]
pub struct MemoryStore {
    map: Arc<RwLock<Map>>,
    poison: Poison,
}

#[derive(Default)]
struct Map {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    last_commit: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { map: Arc::default(), poison: Poison::new("memory") }
    }

    /// Makes every later commit fail, as a failed disk does: for tests of what stands above.
    pub fn fail(&self, reason: &str) {
        self.poison.set(reason);
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, ops: Vec<Op>) -> Result<u64, StoreError> {
        self.poison.check()?;
        store::bytes_of(&ops)?;
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            let key = op.full_key();
            match op {
                Op::Put { value, .. } => map.entries.insert(key, value),
                Op::Delete { .. } => map.entries.remove(&key),
            };
        }
        map.last_commit += 1;
        Ok(map.last_commit)
    }
}

impl Store for MemoryStore {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map().entries.get(&key::full(space, key)).cloned())
    }

    fn range(&self, space: Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Result<Page, StoreError> {
        let map = self.map();
        let Some(bounds) = key::bounds(space, bounds) else { return Ok(Page::default()) };
        let mut found = map.entries.range(bounds);
        let entries = found.by_ref().take(limit).map(|(key, value)| (key[1..].to_vec(), value.clone())).collect();
        Ok(Page { entries, has_more: found.next().is_some() })
    }

    fn commit(&self, ops: Vec<Op>, _durability: Durability) -> Ack<u64> {
        Ack::ready(self.apply(ops))
    }

    fn export(&self, to: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        let entries = self.map().entries.clone();
        let mut export = ExportWriter::new(to)?;
        for (key, value) in &entries {
            export.entry(key, value)?;
        }
        export.finish()
    }

    fn stats(&self) -> StoreStats {
        let poisoned = self.poison.reason().map(ToString::to_string);
        StoreStats { disk_bytes: 0, last_commit: self.map().last_commit, queue_depth: 0, poisoned }
    }
}
