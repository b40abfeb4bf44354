//! A consistent view for an export while writes go on: before the writer changes a key that the export has not reached yet,
//! it puts the old value aside. sled's own iterators see every write that happens meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::PoisonError;

use super::{Shared, guarded};
use crate::records::CommitMark;
use crate::store::StoreError;

/// Entries that are read at once, while the writer waits.
const PAGE: usize = 128;
/// Old values that are put aside; an export that is too slow for the writes fails rather than fill the memory.
const OVERLAY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Values as they were when the export began, where they have changed since and the export has not passed yet.
pub(super) struct Overlay {
    /// The export has passed all keys up to here.
    passed: Vec<u8>,
    /// The export has passed all keys.
    is_done: bool,
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    /// Puts the values of these keys aside before they change.
    pub(super) fn keep(&mut self, db: &sled::Db, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        for key in keys {
            let is_kept = self.is_done || *key <= self.passed || self.before.contains_key(key);
            if is_kept || self.bytes > OVERLAY_BYTES_MAX {
                continue;
            }
            let value = guarded(|| db.get(key))?.map(|value| value.to_vec());
            self.bytes += size(key, value.as_ref());
            self.before.insert(key.clone(), value);
        }
        Ok(())
    }
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The store as it was at one moment. One at a time.
pub(super) struct Snapshot<'a>(&'a Shared);

impl<'a> Snapshot<'a> {
    pub(super) fn begin(shared: &'a Shared) -> Result<Self, StoreError> {
        let mut overlay = shared.overlay.lock().unwrap_or_else(PoisonError::into_inner);
        if overlay.is_some() {
            return Err(StoreError::Overloaded { waiting: 1 });
        }
        // The store's own keys stand before those of every keyspace.
        *overlay = Some(Overlay { passed: CommitMark::KEY.to_vec(), is_done: false, before: BTreeMap::new(), bytes: 0 });
        Ok(Self(shared))
    }

    /// The next entries in key order (none, if all that were read are younger than the snapshot); `None` at the end.
    pub(super) fn next_page(&self) -> Result<Option<Entries>, StoreError> {
        let mut overlay = self.0.overlay.lock().unwrap_or_else(PoisonError::into_inner);
        let overlay = overlay.as_mut().ok_or(StoreError::Stopped)?;
        if overlay.bytes > OVERLAY_BYTES_MAX {
            return Err(StoreError::io("export", "too much was written while it ran"));
        }
        if overlay.is_done {
            return Ok(None);
        }
        let mut page: Entries = guarded(|| {
            let range = (Excluded(overlay.passed.as_slice()), Unbounded);
            let entries = self.0.db().range::<&[u8], _>(range).take(PAGE);
            entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })?;
        // A short page reaches to the end of all keys.
        let last = page.keys().next_back().filter(|_| page.len() == PAGE).cloned();
        let ahead = last.as_ref().map(|last| overlay.before.split_off(&[last.as_slice(), &[0]].concat())).unwrap_or_default();
        for (key, value) in std::mem::replace(&mut overlay.before, ahead) {
            overlay.bytes -= size(&key, value.as_ref());
            match value {
                Some(value) => page.insert(key, value),
                None => page.remove(&key),
            };
        }
        match last {
            Some(last) => overlay.passed = last,
            None => overlay.is_done = true,
        }
        Ok(Some(page))
    }
}

fn size(key: &[u8], value: Option<&Vec<u8>>) -> usize {
    key.len() + value.map_or(0, Vec::len)
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        *self.0.overlay.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
