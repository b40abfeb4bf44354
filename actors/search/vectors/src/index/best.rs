//! The best owners so far: each by its best row, equal ones in the order of their ids.
//!
//! Exact rows are 16-bit numbers relative to a mean that not all segments share, so the same vector scores a few millionths more in
//! one segment than in another. Scores within [`EQUAL`] of the best of them are therefore one score: what a row's history is does
//! not show.

/// Scores this close, in parts of one (or of the score, where it is larger), are equal.
const EQUAL: f32 = 1e-5;

/// The least score that equals `score`.
pub(crate) fn equal_floor(score: f32) -> f32 {
    score - EQUAL * score.abs().max(1.0)
}

/// A row that was compared by its exact vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) owner: u32,
    /// Place of the segment or tail in the snapshot.
    pub(crate) unit: u32,
    pub(crate) row: u32,
}

/// Collects the `limit` best owners out of any number of rows. The buffer is the caller's, so that a search allocates nothing.
pub(crate) struct Best<'a, Id> {
    buffer: &'a mut Vec<Scored>,
    limit: usize,
    /// Rows below this score change nothing any more.
    floor: f32,
    id: Id,
}

impl<'a, 'id, Id: Fn(&Scored) -> &'id str> Best<'a, Id> {
    /// `id` gives the id of a row's owner.
    pub(crate) fn new(buffer: &'a mut Vec<Scored>, limit: usize, id: Id) -> Self {
        buffer.clear();
        Self { buffer, limit, floor: f32::NEG_INFINITY, id }
    }

    #[inline]
    pub(crate) fn offer(&mut self, scored: Scored) {
        if scored.score < self.floor {
            return;
        }
        self.buffer.push(scored);
        if self.buffer.len() >= 2 * self.limit + 64 {
            self.compact();
        }
    }

    /// The best owners, best first.
    pub(crate) fn finish(mut self) -> &'a [Scored] {
        self.compact();
        self.buffer
    }

    fn compact(&mut self) {
        let id = &self.id;
        self.buffer.sort_unstable_by(|a, b| a.owner.cmp(&b.owner).then_with(|| b.score.total_cmp(&a.score)));
        self.buffer.dedup_by_key(|scored| scored.owner);
        let by_id = |a: &Scored, b: &Scored| id(a).cmp(id(b)).then_with(|| a.owner.cmp(&b.owner));
        self.buffer.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| by_id(a, b)));
        let mut from = 0;
        while from < self.buffer.len().min(self.limit) {
            let score = self.buffer[from].score;
            let equal = &mut self.buffer[from..];
            let count = equal.partition_point(|other| other.score >= equal_floor(score)).max(1);
            equal[..count].iter_mut().for_each(|other| other.score = score);
            equal[..count].sort_unstable_by(by_id);
            from += count;
        }
        self.buffer.truncate(self.limit);
        if self.buffer.len() == self.limit {
            self.floor = self.buffer.last().map_or(f32::INFINITY, |worst| equal_floor(worst.score));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_like_a_sort(rows in prop::collection::vec((0u8..30, 0u32..200), 0..2000), limit in 0usize..40) {
            // Ids in another order than the owners' numbers.
            let ids: Vec<String> = (0..200u32).map(|owner| format!("p{:03}", owner * 77 % 200)).collect();
            let mut model: BTreeMap<u32, f32> = BTreeMap::new();
            let mut buffer = Vec::new();
            let mut best = Best::new(&mut buffer, limit, |scored: &Scored| ids[scored.owner as usize].as_str());
            for (row, (score, owner)) in rows.into_iter().enumerate() {
                let score = f32::from(score) / 7.0;
                best.offer(Scored { score, owner, unit: 0, row: row as u32 });
                model.entry(owner).and_modify(|old| *old = old.max(score)).or_insert(score);
            }
            let mut expected: Vec<(u32, f32)> = model.into_iter().collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| ids[a.0 as usize].cmp(&ids[b.0 as usize])));
            expected.truncate(limit);
            let found: Vec<(u32, f32)> = best.finish().iter().map(|scored| (scored.owner, scored.score)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
