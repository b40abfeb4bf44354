//! How often each of many numbers occurs: open addressing with a multiplicative hash (Knuth 6.4), several times as fast here as
//! the standard map with its protection against chosen keys; the keys are values that a shop holds, and a run is bounded by the
//! table's being at most half full.

/// Fibonacci hashing: 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module.
pub(super) struct Counter {
    /// Key and count; no count means a free place.
    table: Vec<(u64, u64)>,
    used: usize,
}

impl Counter {
    /// With room for some different numbers; more make it grow.
    pub(super) fn new(expected: usize) -> Self {
        Self { table: vec![(0, 0); (expected * 2).next_power_of_two().max(64)], used: 0 }
    }

    #[inline]
    pub(super) fn add(&mut self, key: u64) {
        self.add_many(key, 1);
    }

    #[inline]
    fn add_many(&mut self, key: u64, count: u64) {
        let mask = self.table.len() - 1;
        let mut at = (key ^ key >> 32).wrapping_mul(GOLDEN) as usize >> (64 - self.table.len().trailing_zeros());
        loop {
            let entry = &mut self.table[at & mask];
            if entry.1 == 0 {
                *entry = (key, count);
                break;
            }
            if entry.0 == key {
                entry.1 += count;
                return;
            }
            at += 1;
        }
        self.used += 1;
        if self.used * 2 > self.table.len() {
            let larger = vec![(0, 0); self.table.len() * 2];
            let old = std::mem::replace(&mut self.table, larger);
            self.used = 0;
            old.into_iter().filter(|(_, count)| *count > 0).for_each(|(key, count)| self.add_many(key, count));
        }
    }

    /// Each number with its count, in no order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.table.iter().copied().filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_counts(keys in proptest::collection::vec(prop_oneof![0_u64..40, any::<u64>(), (0_u32..99).prop_map(|n| f64::from(n).to_bits())], 0..500)) {
            let (mut counter, mut expected) = (Counter::new(8), BTreeMap::new());
            for key in keys {
                counter.add(key);
                *expected.entry(key).or_insert(0_u64) += 1;
            }
            prop_assert_eq!(counter.counts().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
