//! The ids of the newest events: what tells a repetition.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Hashes ids to 128 bits: two keyed hashes of 64 bits each, so that nobody can choose ids that collide.
#[derive(Debug, Default)]
pub(crate) struct IdHasher([RandomState; 2]);

impl IdHasher {
    pub(crate) fn hash(&self, id: &str) -> u128 {
        u128::from(self.0[0].hash_one(id)) << 64 | u128::from(self.0[1].hash_one(id))
    }
}

/// A bounded window of event ids, as hashes.
#[derive(Debug)]
pub(crate) struct IdWindow {
    known: HashSet<u128, BuildHasherDefault<AsIs>>,
    order: VecDeque<u128>,
    ids_max: usize,
}

/// The lower half of what is a hash already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

impl IdWindow {
    pub(crate) fn new(ids_max: usize) -> Self {
        Self { known: HashSet::default(), order: VecDeque::new(), ids_max }
    }

    /// Takes an id's hash in; `false` when it is known already.
    pub(crate) fn insert(&mut self, hash: u128) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > self.ids_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Takes back ids that were inserted and whose events were not stored.
    pub(crate) fn remove(&mut self, hashes: &[u128]) {
        for hash in hashes {
            if self.known.remove(hash)
                && let Some(at) = self.order.iter().rposition(|known| known == hash)
            {
                self.order.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_newest_ids_and_forgets_the_oldest() {
        let (hasher, mut window) = (IdHasher::default(), IdWindow::new(2));
        let [a, b, c, never] = ["a", "b", "c", "never was"].map(|id| hasher.hash(id));
        assert!(window.insert(a) && window.insert(b) && !window.insert(a));
        assert!(window.insert(c), "`a` leaves");
        assert!(window.insert(a) && !window.insert(c));
        window.remove(&[c, never]);
        assert!(window.insert(c));
    }
}
