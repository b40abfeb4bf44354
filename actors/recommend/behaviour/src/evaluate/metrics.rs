//! Measures of ranked lists with binary relevance.

use serde::Serialize;

/// Means over all queries at one length of list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Length of the lists.
    pub at: usize,
    /// Queries.
    pub queries: usize,
    /// Share of queries with a hit.
    pub hit_rate: f64,
    /// Hits by targets.
    pub recall: f64,
    /// Reciprocal rank of the first hit.
    pub mrr: f64,
    /// Normalised discounted cumulative gain; the ideal has `min(at, targets)` hits.
    pub ndcg: f64,
    /// Items that stood in any list.
    pub distinct_items: usize,
}

/// Sums up lists.
#[derive(Debug)]
pub(crate) struct Judge {
    measures: Vec<Measures>,
    seen: Vec<Vec<bool>>,
}

impl Judge {
    pub(crate) fn new(cuts: &[usize], items: usize) -> Self {
        let measures = cuts.iter().map(|at| Measures { at: *at, ..Measures::default() }).collect();
        Self { measures, seen: vec![vec![false; items]; cuts.len()] }
    }

    /// Takes one list, best first, without doubles and without what was excluded.
    pub(crate) fn add(&mut self, list: &[u32], targets: &[u32]) {
        for (measures, seen) in self.measures.iter_mut().zip(&mut self.seen) {
            let list = &list[..list.len().min(measures.at)];
            let hits = list.iter().enumerate().filter(|(_, item)| targets.contains(item)).map(|(place, _)| place);
            let (mut count, mut gain, mut first) = (0, 0.0, None);
            for place in hits {
                count += 1;
                gain += discount(place);
                first = first.or(Some(place));
            }
            let ideal: f64 = (0..measures.at.min(targets.len())).map(discount).sum();
            measures.queries += 1;
            measures.hit_rate += f64::from(u8::from(count > 0));
            measures.recall += f64::from(count) / targets.len().max(1) as f64;
            measures.mrr += first.map_or(0.0, |place| 1.0 / (place + 1) as f64);
            measures.ndcg += if count > 0 { gain / ideal } else { 0.0 };
            for item in list {
                if let Some(seen) = seen.get_mut(*item as usize) {
                    *seen = true;
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Measures> {
        let mean = |sum: f64, queries: usize| sum / queries.max(1) as f64;
        let finished = self.measures.into_iter().zip(self.seen).map(|(sums, seen)| Measures {
            hit_rate: mean(sums.hit_rate, sums.queries),
            recall: mean(sums.recall, sums.queries),
            mrr: mean(sums.mrr, sums.queries),
            ndcg: mean(sums.ndcg, sums.queries),
            distinct_items: seen.into_iter().filter(|seen| *seen).count(),
            ..sums
        });
        finished.collect()
    }
}

fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_by_hand() {
        let mut judge = Judge::new(&[2, 3], 10);
        judge.add(&[5, 6, 7], &[6, 7, 9]);
        judge.add(&[], &[1]);
        let [two, three] = judge.finish().try_into().expect("two cuts");
        let ndcg_two = (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2()) / 2.0;
        assert_eq!((two.hit_rate, two.mrr, two.distinct_items), (0.5, 0.25, 2));
        assert!((two.recall - 1.0 / 6.0).abs() < 1e-12 && (two.ndcg - ndcg_two).abs() < 1e-12);
        assert!((three.recall - 1.0 / 3.0).abs() < 1e-12 && three.distinct_items == 3);
    }
}
