//! Profiles in memory before those in the store. What has changed stays in memory until a checkpoint has written it; of the rest the
//! longest unused leave first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bincode::config::{Configuration, Fixint, LittleEndian};
use domain::Shopper;
use domain::event::NAME_CHARS_MAX;
use store::record::HEADER_BYTES;
use store::{Keyspace, Op, Record, Store, StoreError};
use taste::{PROFILE_BYTES_MAX, Profile};

use super::lock;
use crate::config::BATCH_RECORDS_MAX;
use crate::records::ProfileRecord;

/// Parts that are locked apart.
const SHARDS: usize = 16;
/// Profiles read from the store at once.
const PAGE_PROFILES_MAX: usize = 256;
/// Bytes of changed profiles above which no further record is applied before a checkpoint has written them: one commit takes them all.
const DIRTY_BYTES_MAX: usize = 40 << 20;
/// A record changes two profiles at most: a login's visitor and its user. An erasure changes more, and leaves keys alone.
const BATCH_BYTES_MAX: usize = BATCH_RECORDS_MAX * 2 * (PROFILE_BYTES_MAX + HEADER_BYTES + KEY_BYTES_MAX);
/// A prefix and a name.
const KEY_BYTES_MAX: usize = 2 + 4 * NAME_CHARS_MAX;
const _: () = assert!(DIRTY_BYTES_MAX + BATCH_BYTES_MAX < store::store::COMMIT_BYTES_MAX, "what has changed fits one commit");

/// How records are encoded; here to count bytes.
type Encoding = Configuration<LittleEndian, Fixint>;
const ENCODING: Encoding = bincode::config::legacy();

struct Slot {
    /// `None` for a shopper of whom nothing may be left in the store either.
    profile: Option<Arc<Profile>>,
    /// The number of the change that the store does not have yet; 0 for none.
    change: u64,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Shopper, Slot>,
    dirty: usize,
    ticks: u64,
    /// Counts whatever makes older reads of the store stale.
    version: u64,
}

/// A profile that the store does not have yet.
pub(crate) struct Changed {
    pub(crate) shopper: Shopper,
    profile: Option<Arc<Profile>>,
    change: u64,
}

impl Changed {
    /// The change that writes it.
    pub(crate) fn op(&self) -> Result<Op, StoreError> {
        let (space, key) = (Keyspace::Profiles, self.shopper.as_str().as_bytes().to_vec());
        let Some(profile) = &self.profile else { return Ok(Op::Delete { space, key }) };
        let value = ProfileRecord { profile: Profile::clone(profile) }.seal(&key)?;
        Ok(Op::Put { space, key, value })
    }

    fn show(&self, visit: &mut impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        if let Op::Put { key, value, .. } = self.op()? {
            visit(&key, &value);
        }
        Ok(())
    }
}

/// All profiles.
pub(crate) struct Profiles {
    store: Arc<dyn Store>,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    clean_of_shard_max: usize,
    changes: AtomicU64,
    dirty: AtomicUsize,
    dirty_bytes: AtomicUsize,
}

impl Profiles {
    pub(crate) fn new(store: Arc<dyn Store>, profiles_max: usize) -> Self {
        let (shards, clean_of_shard_max) = (std::array::from_fn(|_| Mutex::default()), (profiles_max / SHARDS).max(1));
        let (changes, dirty, dirty_bytes) = Default::default();
        Self { store, shards, hasher: RandomState::new(), clean_of_shard_max, changes, dirty, dirty_bytes }
    }

    fn shard(&self, shopper: &Shopper) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(shopper) as usize % SHARDS]
    }

    /// A shopper's profile as it is now. Reads the store where it is not in memory.
    pub(crate) fn get(&self, shopper: &Shopper) -> Result<Option<Arc<Profile>>, StoreError> {
        let shard = self.shard(shopper);
        let version = {
            let mut shard = lock(shard);
            shard.ticks += 1;
            let (tick, version) = (shard.ticks, shard.version);
            if let Some(slot) = shard.slots.get_mut(shopper) {
                slot.used = tick;
                return Ok(slot.profile.clone());
            }
            version
        };
        let key = shopper.as_str().as_bytes();
        let Some(bytes) = self.store.get(Keyspace::Profiles, key)? else { return Ok(None) };
        let Some(profile) = unseal(key, &bytes) else { return Ok(None) };
        let mut shard = lock(shard);
        // Unless something has changed since the store was read: then what was read may be older than what has been evicted meanwhile.
        if shard.version == version && !shard.slots.contains_key(shopper) {
            let (profile, used) = (Some(Arc::clone(&profile)), shard.ticks);
            shard.slots.insert(shopper.clone(), Slot { profile, change: 0, bytes: 0, used });
            shard.evict(self.clean_of_shard_max);
        }
        Ok(Some(profile))
    }

    /// Sets a profile; `None` forgets the shopper, in the store with the next checkpoint.
    pub(crate) fn set(&self, shopper: &Shopper, profile: Option<Arc<Profile>>) {
        let change = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = HEADER_BYTES + KEY_BYTES_MAX + profile.as_deref().map_or(0, bytes_of);
        let mut shard = lock(self.shard(shopper));
        shard.version += 1;
        shard.ticks += 1;
        let used = shard.ticks;
        let before = shard.slots.insert(shopper.clone(), Slot { profile, change, bytes, used });
        self.dirty_bytes.fetch_add(bytes, Ordering::Relaxed);
        match before.filter(|before| before.change != 0) {
            Some(before) => {
                self.dirty_bytes.fetch_sub(before.bytes, Ordering::Relaxed);
            }
            None => {
                shard.dirty += 1;
                self.dirty.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Shoppers whose profiles the store does not have yet.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Whether a checkpoint must come first.
    pub(crate) fn is_full(&self) -> bool {
        self.dirty_bytes.load(Ordering::Relaxed) >= DIRTY_BYTES_MAX
    }

    /// Everything that the store does not have yet. The caller sees to it that nothing changes meanwhile.
    pub(crate) fn changed(&self) -> Vec<Changed> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let changed = shard.slots.iter().filter(|(_, slot)| slot.change != 0);
            all.extend(changed.map(|(shopper, slot)| Changed {
                shopper: shopper.clone(),
                profile: slot.profile.clone(),
                change: slot.change,
            }));
        }
        all
    }

    /// The store has these now.
    pub(crate) fn stored(&self, all: &[Changed]) {
        for changed in all {
            let mut shard = lock(self.shard(&changed.shopper));
            shard.version += 1;
            let Some(slot) = shard.slots.get_mut(&changed.shopper).filter(|slot| slot.change == changed.change) else { continue };
            slot.change = 0;
            self.dirty_bytes.fetch_sub(std::mem::take(&mut slot.bytes), Ordering::Relaxed);
            self.dirty.fetch_sub(1, Ordering::Relaxed);
            if slot.profile.is_none() {
                shard.slots.remove(&changed.shopper);
            }
            shard.dirty -= 1;
            shard.evict(self.clean_of_shard_max);
        }
    }

    /// Forgets what is in memory, changed or not.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.version += 1;
            shard.dirty = 0;
            shard.slots.clear();
        }
        self.dirty.store(0, Ordering::Relaxed);
        self.dirty_bytes.store(0, Ordering::Relaxed);
    }

    /// Visits every profile as encoded, in the order of the shoppers' keys. The caller sees to it that nothing changes meanwhile.
    pub(crate) fn each(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut changed: BTreeMap<Vec<u8>, Changed> =
            self.changed().into_iter().map(|changed| (changed.shopper.as_str().as_bytes().to_vec(), changed)).collect();
        let mut from = Bound::Unbounded;
        loop {
            let page = self.store.range(Keyspace::Profiles, (from.as_ref().map(Vec::as_slice), Bound::Unbounded), PAGE_PROFILES_MAX)?;
            for (key, value) in &page.entries {
                while changed.first_key_value().is_some_and(|(first, _)| first < key) {
                    if let Some((_, changed)) = changed.pop_first() {
                        changed.show(&mut visit)?;
                    }
                }
                match changed.remove(key) {
                    Some(changed) => changed.show(&mut visit)?,
                    None => visit(key, value),
                }
            }
            let Some((last, _)) = page.entries.into_iter().next_back().filter(|_| page.has_more) else { break };
            from = Bound::Excluded(last);
        }
        changed.into_values().try_for_each(|changed| changed.show(&mut visit))
    }

    /// Profiles in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }

    /// Whether memory knows anything under this key, be it that nothing may be left.
    #[cfg(test)]
    pub(crate) fn is_in_memory(&self, shopper: &Shopper) -> bool {
        lock(self.shard(shopper)).slots.contains_key(shopper)
    }
}

impl Shard {
    /// Lets go of the longest unused of what the store has, an eighth more than must be.
    fn evict(&mut self, clean_max: usize) {
        let clean = self.slots.len().saturating_sub(self.dirty);
        if clean <= clean_max {
            return;
        }
        let mut used: Vec<u64> = self.slots.values().filter(|slot| slot.change == 0).map(|slot| slot.used).collect();
        let surplus = (clean - clean_max + clean_max / 8).min(used.len()) - 1;
        let newest = *used.select_nth_unstable(surplus).1;
        self.slots.retain(|_, slot| slot.change != 0 || slot.used > newest);
        self.version += 1;
    }
}

fn bytes_of(profile: &Profile) -> usize {
    let mut counter = bincode::enc::write::SizeWriter::default();
    match bincode::encode_into_writer(profile, &mut counter, ENCODING) {
        Ok(()) => counter.bytes_written,
        Err(_) => PROFILE_BYTES_MAX,
    }
}

/// The size of a profile as it is stored.
pub(crate) fn stored_bytes(profile: &Profile) -> usize {
    HEADER_BYTES + bytes_of(profile)
}

/// A record that does not check out is nobody's: the shopper begins again.
fn unseal(key: &[u8], bytes: &[u8]) -> Option<Arc<Profile>> {
    match ProfileRecord::unseal(key, bytes) {
        Ok(record) => Some(Arc::new(record.profile)),
        Err(error) => {
            tracing::error!(%error, "a profile does not check out and is left out");
            metrics::counter!("gotham_personalize_quarantined_total").increment(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use store::{Durability, MemoryStore};
    use taste::{Action, Event, Facts, Shop};

    use super::*;

    fn profile(item: u64) -> Arc<Profile> {
        let mut profile = Profile::default();
        let event = Event { action: Action::Purchase, item, at_ms: 1_700_000_000_000, store: None, facts: Facts::default() };
        profile.apply(&event, &Shop::default());
        Arc::new(profile)
    }

    fn shopper(n: u64) -> Shopper {
        Shopper::user(&n.to_string())
    }

    fn write(profiles: &Profiles, store: &MemoryStore) {
        let changed = profiles.changed();
        let ops = changed.iter().map(|changed| changed.op().expect("it fits")).collect();
        store.commit(ops, Durability::Flushed).wait().expect("a commit");
        profiles.stored(&changed);
    }

    #[test]
    fn what_the_store_does_not_have_stays_and_the_rest_is_bounded() {
        let store = MemoryStore::new();
        let profiles = Profiles::new(Arc::new(store.clone()), 64);
        (0..500).for_each(|n| profiles.set(&shopper(n), Some(profile(n))));
        assert_eq!((profiles.dirty(), profiles.in_memory()), (500, 500));
        write(&profiles, &store);
        assert!(profiles.dirty() == 0 && profiles.in_memory() <= 64 && profiles.dirty_bytes.load(Ordering::Relaxed) == 0);
        for n in 0..500 {
            assert_eq!(profiles.get(&shopper(n)).expect("readable"), Some(profile(n)), "{n}");
        }
        assert!((1..=64).contains(&profiles.in_memory()));
        assert_eq!(profiles.get(&shopper(500)).expect("readable"), None);
    }

    #[test]
    fn a_change_during_a_write_is_still_to_be_written() {
        let store = MemoryStore::new();
        let profiles = Profiles::new(Arc::new(store.clone()), 64);
        profiles.set(&shopper(1), Some(profile(1)));
        profiles.set(&shopper(2), Some(profile(2)));
        let under_way = profiles.changed();
        profiles.set(&shopper(1), Some(profile(9)));
        profiles.stored(&under_way);
        assert_eq!(profiles.changed().iter().map(|changed| changed.shopper.clone()).collect::<Vec<_>>(), [shopper(1)]);
        write(&profiles, &store);
        profiles.clear();
        assert_eq!(profiles.get(&shopper(1)).expect("readable"), Some(profile(9)));
    }

    #[test]
    fn a_forgotten_shopper_is_gone_at_once_and_from_the_store_with_the_next_write() {
        let store = MemoryStore::new();
        let profiles = Profiles::new(Arc::new(store.clone()), 64);
        profiles.set(&shopper(1), Some(profile(1)));
        write(&profiles, &store);
        profiles.set(&shopper(1), None);
        assert_eq!(profiles.get(&shopper(1)).expect("readable"), None);
        let mut left = 0;
        profiles.each(|_, _| left += 1).expect("readable");
        assert_eq!(left, 0);
        write(&profiles, &store);
        assert!(!profiles.is_in_memory(&shopper(1)) && profiles.dirty() == 0);
        assert_eq!(store.get(Keyspace::Profiles, b"u:1").ok(), Some(None));
    }

    #[test]
    fn all_are_visited_in_order_wherever_they_are() {
        let store = MemoryStore::new();
        let profiles = Profiles::new(Arc::new(store.clone()), 64);
        (0..600).step_by(2).for_each(|n| profiles.set(&shopper(n), Some(profile(n))));
        write(&profiles, &store);
        (0..600).step_by(3).for_each(|n| profiles.set(&shopper(n), Some(profile(n + 1000))));
        let mut seen = Vec::new();
        profiles.each(|key, value| seen.push((key.to_vec(), unseal(key, value).expect("a record")))).expect("readable");
        let mut expected: Vec<(Vec<u8>, Arc<Profile>)> = (0..600)
            .filter(|n| n % 2 == 0 || n % 3 == 0)
            .map(|n| (shopper(n).as_str().as_bytes().to_vec(), profile(if n % 3 == 0 { n + 1000 } else { n })))
            .collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(seen == expected);
    }

    #[test]
    fn a_damaged_record_is_nobodys() {
        let store = MemoryStore::new();
        let put = Op::Put { space: Keyspace::Profiles, key: b"u:1".to_vec(), value: b"rubbish".to_vec() };
        store.commit(vec![put], Durability::Flushed).wait().expect("a commit");
        assert_eq!(Profiles::new(Arc::new(store), 64).get(&shopper(1)).expect("readable"), None);
    }
}
