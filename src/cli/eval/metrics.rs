//! How good a ranked answer is against graded judgments.

use std::collections::BTreeMap;

/// How many hits of an answer count.
pub(crate) const CUT: usize = 10;

/// What is known to be relevant to a query: grades above 0 by product id. A product without a grade is not relevant.
pub(crate) type Grades = BTreeMap<String, u32>;

/// The measures of one answer, or the means of many; each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measures {
    /// Normalised discounted cumulative gain of the first ten: gain `2^grade - 1`, discount `log2(rank + 1)`, divided by the best
    /// possible (Burges et al., ICML 2005; the form that TREC and WANDS use).
    pub(crate) ndcg: f64,
    /// One over the rank of the first relevant hit; 0 where none is among the first ten.
    pub(crate) mrr: f64,
    /// Relevant hits among the first ten over what could be there: the relevant products, at most ten.
    pub(crate) recall: f64,
    /// Whether the first hit is relevant.
    pub(crate) success: f64,
}

impl Measures {
    /// Measures an answer, best hit first. An id that comes a second time counts once.
    pub(crate) fn of(ids: &[String], grades: &Grades) -> Self {
        let mut gains = Vec::with_capacity(CUT);
        for (place, id) in ids.iter().take(CUT).enumerate() {
            let is_repeated = ids[..place].contains(id);
            gains.push(if is_repeated { 0.0 } else { gain(grades.get(id).copied().unwrap_or_default()) });
        }
        let mut best: Vec<f64> = grades.values().map(|grade| gain(*grade)).filter(|gain| *gain > 0.0).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let reachable = best.len().min(CUT);
        if reachable == 0 {
            return Self::default();
        }
        let found = gains.iter().filter(|gain| **gain > 0.0).count();
        let first = gains.iter().position(|gain| *gain > 0.0);
        Self {
            ndcg: discounted(&gains) / discounted(&best[..reachable]),
            mrr: first.map_or(0.0, |place| 1.0 / (place + 1) as f64),
            recall: found as f64 / reachable as f64,
            success: f64::from(u8::from(first == Some(0))),
        }
    }

    /// The means; all 0 of nothing.
    pub(crate) fn mean(each: &[Self]) -> Self {
        let count = each.len().max(1) as f64;
        let mean = |part: fn(&Self) -> f64| each.iter().map(part).sum::<f64>() / count;
        Self { ndcg: mean(|m| m.ndcg), mrr: mean(|m| m.mrr), recall: mean(|m| m.recall), success: mean(|m| m.success) }
    }
}

fn gain(grade: u32) -> f64 {
    f64::from(grade).exp2() - 1.0
}

fn discounted(gains: &[f64]) -> f64 {
    gains.iter().enumerate().map(|(place, gain)| gain / (place as f64 + 2.0).log2()).sum()
}

/// The value below which the share `q` (0 to 1) of the values lies, by nearest rank; `None` of nothing.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(values[(q * last as f64).round() as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grades(pairs: &[(&str, u32)]) -> Grades {
        pairs.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    }

    fn measured(ids: &[&str], judged: &[(&str, u32)]) -> [f64; 4] {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let Measures { ndcg, mrr, recall, success } = Measures::of(&ids, &grades(judged));
        [ndcg, mrr, recall, success]
    }

    /// Ids of the answer, judgments, and nDCG, MRR, recall and success that they come to.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, u32)], [f64; 4]);

    #[test]
    fn answers_by_table() {
        let third = 1.0 / 4f64.log2();
        // Gains 1, 0, 3 against 3, 1.
        let mixed = (1.0 + 3.0 * third) / (3.0 + 1.0 / 3f64.log2());
        let cases: [Case<'_>; 7] = [
            (&["a"], &[("a", 1)], [1.0; 4]),
            (&["x", "y", "a"], &[("a", 1)], [third, 1.0 / 3.0, 1.0, 0.0]),
            (&["b", "x", "a"], &[("a", 2), ("b", 1)], [mixed, 1.0, 1.0, 1.0]),
            (&["x"], &[("a", 2)], [0.0; 4]),
            (&[], &[("a", 2)], [0.0; 4]),
            (&["a"], &[], [0.0; 4]),
            (&["a", "a"], &[("a", 1), ("b", 1)], [1.0 / (1.0 + 1.0 / 3f64.log2()), 1.0, 0.5, 1.0]),
        ];
        for (ids, judged, wanted) in cases {
            let got = measured(ids, judged);
            assert!(got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-12), "{ids:?} {judged:?}: {got:?} {wanted:?}");
        }
    }

    #[test]
    fn only_the_first_ten_count_and_no_more_than_ten_can_be_found() {
        let ids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let all: Grades = ids.iter().map(|id| (id.clone(), 1)).collect();
        let measures = Measures::of(&ids, &all);
        assert!((measures.recall - 1.0).abs() < 1e-12 && (measures.ndcg - 1.0).abs() < 1e-12, "{measures:?}");
        assert_eq!(Measures::of(&ids, &grades(&[("10", 3)])), Measures::default());
    }

    #[test]
    fn quantiles_by_nearest_rank() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 1.0), Some(3.0));
    }

    proptest! {
        #[test]
        fn measures_stay_within_0_and_1_and_the_ideal_order_is_never_beaten(
            judged in proptest::collection::btree_map("[a-f]", 0u32..4, 0..6),
            ids in proptest::collection::vec("[a-h]", 0..14),
        ) {
            let Measures { ndcg, mrr, recall, success } = Measures::of(&ids, &judged);
            for value in [ndcg, mrr, recall, success] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            }
            let mut ideal: Vec<String> = judged.keys().cloned().collect();
            ideal.sort_by_key(|id| std::cmp::Reverse(judged[id]));
            let best = Measures::of(&ideal, &judged);
            prop_assert!(ndcg <= best.ndcg + 1e-12 && mrr <= best.mrr && recall <= best.recall);
        }
    }
}
