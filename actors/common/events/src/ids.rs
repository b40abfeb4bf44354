//! The ids of the newest events: what tells a repetition.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// A bounded window of event ids, as 128-bit hashes (two keyed hashes of 64 bits each, so that nobody can choose ids that collide).
#[derive(Debug)]
pub(crate) struct IdWindow {
    hashers: [RandomState; 2],
    known: HashSet<u128>,
    order: VecDeque<u128>,
    ids_max: usize,
}

impl IdWindow {
    pub(crate) fn new(ids_max: usize) -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], known: HashSet::new(), order: VecDeque::new(), ids_max }
    }

    /// Takes an id in; `false` when it is known already.
    pub(crate) fn insert(&mut self, id: &str) -> bool {
        let hash = self.hash(id);
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

    /// Takes back ids that were just inserted and whose events were not stored.
    pub(crate) fn remove<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        for id in ids {
            let hash = self.hash(id);
            if self.known.remove(&hash)
                && let Some(at) = self.order.iter().rposition(|known| *known == hash)
            {
                self.order.remove(at);
            }
        }
    }

    fn hash(&self, id: &str) -> u128 {
        u128::from(self.hashers[0].hash_one(id)) << 64 | u128::from(self.hashers[1].hash_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_newest_ids_and_forgets_the_oldest() {
        let mut window = IdWindow::new(2);
        assert!(window.insert("a") && window.insert("b") && !window.insert("a"));
        assert!(window.insert("c"), "`a` leaves");
        assert!(window.insert("a") && !window.insert("c"));
        window.remove(["c", "never was"].into_iter());
        assert!(window.insert("c"));
    }
}
