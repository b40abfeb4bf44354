//! The best `k` of a stream of scores: a list with room for as many again, sorted and cut when full, as the shader keeps it.

use super::Hit;

/// The best results of one query.
#[derive(Debug)]
pub(super) struct TopK {
    k: usize,
    hits: Vec<Hit>,
    /// What a hit must come before to matter.
    bound: Hit,
}

impl TopK {
    pub(super) fn new(k: usize) -> TopK {
        TopK { k, hits: Vec::with_capacity(k + k.max(64)), bound: Hit::NONE }
    }

    #[inline]
    pub(super) fn offer(&mut self, hit: Hit) {
        if hit.before(self.bound) {
            if self.hits.len() == self.hits.capacity() {
                self.compact();
            }
            self.hits.push(hit);
        }
    }

    fn compact(&mut self) {
        self.hits.sort_unstable_by(Hit::order);
        self.hits.truncate(self.k);
        if let Some(worst) = self.hits.get(self.k - 1) {
            self.bound = *worst;
        }
    }

    /// In order, at most `k`.
    pub(super) fn into_hits(mut self) -> Vec<Hit> {
        self.compact();
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_full_sort_keeps(scores in prop::collection::vec(-4i8..4, 0..600), k in 1usize..140) {
            let mut hits: Vec<Hit> =
                scores.iter().enumerate().map(|(row, score)| Hit { score: f32::from(*score), row: row as u32 }).collect();
            let mut top = TopK::new(k);
            // Backwards, so that equal scores come in the wrong order of rows.
            hits.iter().rev().for_each(|hit| top.offer(*hit));
            hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            hits.truncate(k);
            prop_assert_eq!(top.into_hits(), hits);
        }
    }
}
