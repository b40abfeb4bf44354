//! A hash table from keys to numbers whose copies share what did not change: open addressing over a chunked vector of
//! `number + 1`. The keys stand elsewhere; whoever looks something up says how to compare and how to hash.

use crate::chunked::Chunked;

const ENTRIES_MIN: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    table: Chunked<u32>,
    used: usize,
}

impl Index {
    /// The numbers under a hash (and, now and then, under another one): candidates to compare.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> {
        let length = self.table.len();
        let start = if length == 0 { 0 } else { hash as usize & (length - 1) };
        (0..length).map_while(move |step| {
            let entry = *self.table.get((start + step) & (length - 1))?;
            (entry != 0).then(|| entry - 1)
        })
    }

    /// Adds a number under a hash; `hash_of` gives the hash of every number that is there.
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        // At most two thirds full.
        if (self.used + 1) * 3 > self.table.len() * 2 {
            let old = std::mem::take(&mut self.table);
            self.table = Chunked::filled(0, (old.len() * 2).max(ENTRIES_MIN));
            for number in old.iter().filter(|entry| **entry != 0).map(|entry| entry - 1) {
                self.place(hash_of(number), number);
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while self.table.get(at).is_some_and(|entry| *entry != 0) {
            at = (at + 1) & mask;
        }
        if let Some(entry) = self.table.get_mut(at) {
            *entry = number + 1;
        }
    }

    /// Takes a number out. Later entries of the same run move up, so that no gap ends a search early (Knuth 6.4, algorithm R).
    pub(crate) fn remove(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        let length = self.table.len();
        if length == 0 {
            return;
        }
        let mask = length - 1;
        let mut gap = hash as usize & mask;
        loop {
            match self.table.get(gap) {
                Some(0) | None => return,
                Some(entry) if *entry == number + 1 => break,
                Some(_) => gap = (gap + 1) & mask,
            }
        }
        self.used -= 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let Some(entry) = self.table.get(at).copied().filter(|entry| *entry != 0) else { break };
            let home = hash_of(entry - 1) as usize & mask;
            // The entry may move when its home does not lie cyclically after the gap and up to where it stands.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                if let Some(moved) = self.table.get_mut(gap) {
                    *moved = entry;
                }
                gap = at;
            }
        }
        if let Some(entry) = self.table.get_mut(gap) {
            *entry = 0;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in(changes in proptest::collection::vec((any::<bool>(), 0_u32..60), 0..300), spread in 1_u64..9) {
            // Few different hashes: runs are long and wrap round.
            let hash_of = |number: u32| u64::from(number) % spread * 13;
            let (mut index, mut expected) = (Index::default(), BTreeSet::new());
            for (is_insert, number) in changes {
                if is_insert && expected.insert(number) {
                    index.insert(hash_of(number), number, hash_of);
                } else if !is_insert && expected.remove(&number) {
                    index.remove(hash_of(number), number, hash_of);
                }
                for number in 0..60 {
                    prop_assert_eq!(index.candidates(hash_of(number)).any(|found| found == number), expected.contains(&number));
                }
            }
        }
    }
}
