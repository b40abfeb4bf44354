//! The entries in memory: the actor writes, readers look up without locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use papaya::HashMap;
use protocol::session::SessionState;

use crate::logic::entry::Entry;
use crate::logic::ledger::{Key, Name};

/// One place in the table.
struct Slot {
    /// `None`: it is known that nothing is known, whatever the store may still say.
    entry: Option<Entry>,
    /// The table's generation when it was last read or written.
    used: AtomicU32,
    bytes: u32,
}

/// A place's own memory: key, slot and the map's overhead.
const SLOT_BYTES: usize = 160;

/// Entries by key.
#[derive(Default)]
pub(crate) struct Table {
    slots: HashMap<Key, Slot>,
    generation: AtomicU32,
    /// Whether there may be entries in the store that are not here.
    has_more: AtomicBool,
}

impl Table {
    /// An empty table; `has_more`: the store is not empty.
    pub(crate) fn new(has_more: bool) -> Self {
        Self { has_more: AtomicBool::new(has_more), ..Self::default() }
    }

    /// For readers: counts as use. `None`: not here (and nowhere, unless [`Table::has_more`]).
    pub(crate) fn read(&self, name: Name<'_>) -> Option<Option<Arc<SessionState>>> {
        let slots = self.slots.pin();
        let slot = slots.get(&name)?;
        let generation = self.generation.load(Ordering::Relaxed);
        // Most reads find it set: a write would take the cache line from the other readers.
        if slot.used.load(Ordering::Relaxed) != generation {
            slot.used.store(generation, Ordering::Relaxed);
        }
        Some(slot.entry.as_ref().map(|entry| Arc::clone(&entry.state)))
    }

    /// For the writer.
    pub(crate) fn entry(&self, key: &Key) -> Option<Option<Entry>> {
        self.slots.pin().get(key).map(|slot| slot.entry.clone())
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.slots.pin().contains_key(key)
    }

    pub(crate) fn has_more(&self) -> bool {
        self.has_more.load(Ordering::Acquire)
    }

    /// Sets an entry. Gives its memory in bytes, and what the one before took, if there was one.
    pub(crate) fn set(&self, key: &Key, entry: Option<Entry>) -> (usize, Option<usize>) {
        let bytes = SLOT_BYTES + key.len() + entry.as_ref().map_or(0, Entry::memory_bytes);
        let used = AtomicU32::new(self.generation());
        let slot = Slot { entry, used, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        let slots = self.slots.pin();
        let before = slots.insert(key.clone(), slot);
        (bytes, before.map(|slot| slot.bytes as usize))
    }

    /// The generation in which an entry was last used.
    pub(crate) fn used(&self, key: &Key) -> Option<u32> {
        self.slots.pin().get(key).map(|slot| slot.used.load(Ordering::Relaxed))
    }

    /// Takes an entry out of memory; the store has it. Gives the memory that becomes free.
    pub(crate) fn evict(&self, key: &Key) -> usize {
        // Before it is gone: who no longer finds it here must know to look there.
        self.has_more.store(true, Ordering::Release);
        self.slots.pin().remove(key).map_or(0, |slot| slot.bytes as usize)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What is used from now on is used later than all before.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
