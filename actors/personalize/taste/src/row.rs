//! Rows: a bounded map of keys to weights, sorted by key, that forgets its lightest entry when full (space-saving).

use bincode::{Decode, Encode};

use crate::keys::Id;

/// A weight is at most this, so that sums and scales of weights stay finite.
pub(crate) const WEIGHT_MAX: f32 = 1e30;

/// Keys and weights in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct Row {
    entries: Vec<(Id, f32)>,
}

impl Row {
    pub(crate) fn get(&self, key: Id) -> f32 {
        self.entries.binary_search_by_key(&key, |entry| entry.0).map_or(0.0, |at| self.entries[at].1)
    }

    /// Adds to a key's weight; what falls to nothing is forgotten. In a full row the lightest entry gives way, and what replaces it
    /// starts with half of what that weighed: it may have been here before (Metwally, Agrawal, El Abbadi 2005, halved).
    pub(crate) fn add(&mut self, key: Id, weight: f32, entries_max: usize) {
        match self.entries.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => {
                self.entries[at].1 = (self.entries[at].1 + weight).min(WEIGHT_MAX);
                if self.entries[at].1 <= 0.0 {
                    self.entries.remove(at);
                }
            }
            Err(_) if weight <= 0.0 => {}
            Err(at) if self.entries.len() < entries_max => self.entries.insert(at, (key, weight.min(WEIGHT_MAX))),
            Err(at) => {
                let Some(lightest) = self.lightest() else { return };
                let (_, lost) = self.entries.remove(lightest);
                let at = if lightest < at { at - 1 } else { at };
                self.entries.insert(at, (key, (weight + lost / 2.0).min(WEIGHT_MAX)));
            }
        }
    }

    fn lightest(&self) -> Option<usize> {
        (0..self.entries.len()).min_by(|a, b| self.entries[*a].1.total_cmp(&self.entries[*b].1))
    }

    pub(crate) fn scale(&mut self, factor: f32) {
        self.entries.iter_mut().for_each(|entry| entry.1 *= factor);
        self.entries.retain(|entry| entry.1 > 0.0);
    }

    /// Sums another row into this one and keeps the heaviest.
    pub(crate) fn merge(&mut self, other: &Self, factor: f32, entries_max: usize) {
        let mut all = Vec::with_capacity(self.entries.len() + other.entries.len());
        let (mut left, mut right) = (self.entries.iter().copied().peekable(), other.entries.iter().map(|e| (e.0, e.1 * factor)).peekable());
        while let Some(entry) = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                let sum = (a.0, a.1 + b.1);
                left.next();
                right.next();
                Some(sum)
            }
            (Some(a), Some(b)) if a.0 > b.0 => right.next(),
            (None, _) => right.next(),
            _ => left.next(),
        } {
            all.push(entry);
        }
        all.iter_mut().for_each(|entry| entry.1 = entry.1.min(WEIGHT_MAX));
        all.retain(|entry| entry.1 > 0.0);
        self.entries = all;
        self.bound(entries_max);
    }

    fn bound(&mut self, entries_max: usize) {
        if self.entries.len() > entries_max {
            self.entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            self.entries.truncate(entries_max);
            self.entries.sort_by_key(|entry| entry.0);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, f32)> + '_ {
        self.entries.iter().copied()
    }

    /// Whether it is such a row as this module makes.
    pub(crate) fn is_sound(&self, entries_max: usize) -> bool {
        self.entries.len() <= entries_max
            && self.entries.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && self.entries.iter().all(|entry| entry.1 > 0.0 && entry.1 <= WEIGHT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_row_forgets_its_lightest() {
        let mut row = Row::default();
        for (key, weight) in [(5, 3.0), (1, 1.0), (9, 2.0)] {
            row.add(key, weight, 3);
        }
        row.add(7, 1.0, 3);
        assert_eq!(row.iter().collect::<Vec<_>>(), [(5, 3.0), (7, 1.5), (9, 2.0)]);
    }

    #[test]
    fn what_falls_to_nothing_is_forgotten() {
        let mut row = Row::default();
        row.add(1, 2.0, 3);
        row.add(1, -5.0, 3);
        row.add(2, -5.0, 3);
        assert_eq!(row, Row::default());
    }

    proptest! {
        #[test]
        fn rows_are_bounded_sorted_and_merge_by_sums(
            left in proptest::collection::vec((0_u64..20, 0.1_f32..5.0), 0..60),
            right in proptest::collection::vec((0_u64..20, 0.1_f32..5.0), 0..60),
        ) {
            let make = |adds: &[(u64, f32)]| {
                let mut row = Row::default();
                adds.iter().for_each(|(key, weight)| row.add(*key, *weight, 32));
                row
            };
            let (mut a, b) = (make(&left), make(&right));
            let sums: Vec<f32> = (0..20).map(|key| a.get(key) + b.get(key)).collect();
            a.merge(&b, 1.0, 32);
            prop_assert!(a.is_sound(32));
            for (key, sum) in (0..20).zip(sums) {
                prop_assert_eq!(a.get(key), sum);
            }
            a.merge(&b, 1.0, 4);
            prop_assert!(a.is_sound(4));
        }
    }
}
