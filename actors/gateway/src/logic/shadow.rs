//! What two releases answered to the same questions, compared: overlap, agreement in order, time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use serde::Serialize;
use utoipa::ToSchema;

/// Comparisons that the figures are of: the latest.
const RECENT_MAX: usize = 1_000;

/// One question, answered by both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub overlap_at_10: f64,
    pub overlap_at_50: f64,
    /// Spearman's, over what both found; `None` for fewer than three products.
    pub rank_correlation: Option<f64>,
    pub live_ms: f64,
    pub shadow_ms: f64,
}

impl Comparison {
    /// Of two rankings, best first.
    pub(crate) fn of<T: Eq + Hash>(live: &[T], shadow: &[T], live_ms: f64, shadow_ms: f64) -> Self {
        Self {
            overlap_at_10: overlap(live, shadow, 10),
            overlap_at_50: overlap(live, shadow, 50),
            rank_correlation: rank_correlation(live, shadow),
            live_ms,
            shadow_ms,
        }
    }
}

/// The share of the first `k` that both have; of the longer list, where both are shorter.
fn overlap<T: Eq + Hash>(live: &[T], shadow: &[T], k: usize) -> f64 {
    let (live, shadow) = (&live[..live.len().min(k)], &shadow[..shadow.len().min(k)]);
    let longest = live.len().max(shadow.len());
    if longest == 0 {
        return 1.0;
    }
    live.iter().filter(|one| shadow.contains(one)).count() as f64 / longest as f64
}

/// Spearman's rank correlation over what both lists have: `1 - 6 sum(d^2) / (n (n^2 - 1))` with each one's place among the common ones.
fn rank_correlation<T: Eq + Hash>(live: &[T], shadow: &[T]) -> Option<f64> {
    let places: HashMap<&T, usize> = shadow.iter().filter(|one| live.contains(one)).enumerate().map(|(at, one)| (one, at)).collect();
    let count = places.len() as f64;
    if places.len() < 3 {
        return None;
    }
    let common = live.iter().filter_map(|one| places.get(one)).enumerate();
    let squares: f64 = common.map(|(at, other)| (at as f64 - *other as f64).powi(2)).sum();
    Some(1.0 - 6.0 * squares / (count * (count * count - 1.0)))
}

/// Milliseconds, of the latest comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Latency {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied().unwrap_or_default();
        Self { p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// What the latest comparisons come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Figures {
    /// Questions that both answered, of which the latest are in the figures.
    pub compared: u64,
    /// Questions that the shadow did not answer.
    pub errors: u64,
    /// Questions that were not mirrored because another one was under way.
    pub dropped: u64,
    /// Mean share of the live release's first 10 that the shadow has among its first 10.
    pub overlap_at_10: Option<f64>,
    /// The same for the first 50.
    pub overlap_at_50: Option<f64>,
    /// Mean of Spearman's rank correlation over what both found.
    pub rank_correlation: Option<f64>,
    /// Embedding and search by the live release.
    pub live: Latency,
    /// Embedding and search by the shadow.
    pub shadow: Latency,
}

/// The latest comparisons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparisons {
    recent: VecDeque<Comparison>,
    compared: u64,
    errors: u64,
    dropped: u64,
}

impl Comparisons {
    pub(crate) fn add(&mut self, outcome: Option<Comparison>) {
        match outcome {
            Some(comparison) => {
                self.compared += 1;
                if self.recent.len() == RECENT_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back(comparison);
            }
            None => self.errors += 1,
        }
    }

    pub(crate) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    pub(crate) fn figures(&self) -> Figures {
        let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let all = |value: fn(&Comparison) -> f64| self.recent.iter().map(value).collect::<Vec<_>>();
        Figures {
            compared: self.compared,
            errors: self.errors,
            dropped: self.dropped,
            overlap_at_10: mean(all(|one| one.overlap_at_10)),
            overlap_at_50: mean(all(|one| one.overlap_at_50)),
            rank_correlation: mean(self.recent.iter().filter_map(|one| one.rank_correlation).collect()),
            live: Latency::of(all(|one| one.live_ms)),
            shadow: Latency::of(all(|one| one.shadow_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_by_table() {
        let cases: [(&str, &str, f64, Option<f64>); 7] = [
            ("", "", 1.0, None),
            ("abc", "", 0.0, None),
            ("abcd", "abcd", 1.0, Some(1.0)),
            ("abcd", "dcba", 1.0, Some(-1.0)),
            ("abcd", "ab", 0.5, None),
            ("abcdefghij", "abcdeVWXYZ", 0.5, Some(1.0)),
            ("abc", "acb", 1.0, Some(0.5)),
        ];
        for (live, shadow, overlap, correlation) in cases {
            let [live, shadow] = [live, shadow].map(|list| list.chars().collect::<Vec<_>>());
            let found = Comparison::of(&live, &shadow, 1.0, 2.0);
            assert_eq!((found.overlap_at_10, found.rank_correlation), (overlap, correlation), "{live:?} {shadow:?}");
        }
        let (live, shadow): (Vec<u32>, Vec<u32>) = ((0..60).collect(), (10..70).collect());
        let found = Comparison::of(&live, &shadow, 1.0, 1.0);
        assert_eq!((found.overlap_at_10, found.overlap_at_50), (0.0, 0.8), "what stands further down counts where it stands");
    }

    #[test]
    fn figures_are_of_the_latest_and_counts_of_all() {
        let mut comparisons = Comparisons::default();
        assert_eq!(comparisons.figures(), Figures::default());
        for number in 0..2_000 {
            let overlap = if number < 1_000 { 0.0 } else { 1.0 };
            let (live_ms, shadow_ms) = (f64::from(number), 5.0);
            comparisons.add(Some(Comparison { overlap_at_10: overlap, overlap_at_50: 0.5, rank_correlation: None, live_ms, shadow_ms }));
        }
        comparisons.add(None);
        comparisons.drop_one();
        let figures = comparisons.figures();
        assert_eq!((figures.compared, figures.errors, figures.dropped), (2_000, 1, 1));
        assert_eq!((figures.overlap_at_10, figures.overlap_at_50, figures.rank_correlation), (Some(1.0), Some(0.5), None));
        assert_eq!((figures.live, figures.shadow.p99_ms), (Latency { p50_ms: 1_499.0, p99_ms: 1_989.0 }, 5.0));
    }
}
