//! The best rows so far by an approximate score.

/// Keeps the `keep` best of any number of rows; equal scores may fall either way. The buffer stays for the next search.
#[derive(Debug, Default)]
pub(crate) struct TopRows {
    rows: Vec<(f32, u32)>,
    keep: usize,
    floor: f32,
}

impl TopRows {
    /// Begins anew.
    pub(crate) fn reset(&mut self, keep: usize) {
        self.rows.clear();
        self.keep = keep.max(1);
        self.floor = f32::NEG_INFINITY;
    }

    /// Whether a row of this score would be kept.
    #[inline(always)]
    pub(crate) fn wants(&self, score: f32) -> bool {
        score > self.floor
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, score: f32, row: u32) {
        self.rows.push((score, row));
        if self.rows.len() >= 2 * self.keep + 32 {
            self.cut();
        }
    }

    /// The best rows, in no order.
    pub(crate) fn finish(&mut self) -> &[(f32, u32)] {
        self.cut();
        &self.rows
    }

    fn cut(&mut self) {
        if self.rows.len() > self.keep {
            self.rows.select_nth_unstable_by(self.keep - 1, |a, b| b.0.total_cmp(&a.0));
            self.rows.truncate(self.keep);
            self.floor = self.rows[self.keep - 1].0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_top_like_a_sort(scores in prop::collection::vec(-1000i32..1000, 0..500), keep in 1usize..50) {
            let mut top = TopRows::default();
            top.reset(keep);
            for (row, score) in scores.iter().enumerate() {
                if top.wants(*score as f32) {
                    top.push(*score as f32, row as u32);
                }
            }
            let mut found: Vec<i32> = top.finish().iter().map(|(score, row)| {
                assert_eq!(scores[*row as usize] as f32, *score);
                *score as i32
            }).collect();
            found.sort_unstable_by(|a, b| b.cmp(a));
            let mut expected = scores.clone();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            expected.truncate(keep);
            prop_assert_eq!(found, expected);
        }
    }
}
