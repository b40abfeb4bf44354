//! How long a run takes, by how much is in it: learned from the runs themselves.

use super::Micros;

/// One bucket for each power of two of units.
const BUCKETS: usize = 24;
/// How fast a bucket follows runs that were faster, and slower, than it expected. A run that was held up says less than one that was not.
const FALL: f64 = 0.3;
const RISE: f64 = 0.1;
/// A run may count as this many times what was expected at most.
const OUTLIER: f64 = 4.0;
/// A late run takes this many typical deviations longer than the mean one.
const LATE_DEVIATIONS: f64 = 2.0;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    units: f64,
    time_us: f64,
    runs: u64,
}

/// Run times of one model at one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunTimes {
    buckets: [Bucket; BUCKETS],
    /// Mean deviation, as a part of what was expected.
    deviation: f64,
}

impl RunTimes {
    /// A run of `units` took `time_us`.
    pub(crate) fn record(&mut self, units: usize, time_us: Micros) {
        let (units, time_us) = (units.max(1), time_us as f64);
        let expected = self.mean(units);
        let bucket = &mut self.buckets[(units.ilog2() as usize).min(BUCKETS - 1)];
        bucket.runs += 1;
        // The first run of a size pays for memory and pipelines: the second one replaces it.
        if bucket.runs <= 2 {
            (bucket.units, bucket.time_us) = (units as f64, time_us);
            return;
        }
        let time_us = time_us.min(bucket.time_us * OUTLIER);
        let part = if time_us < bucket.time_us { FALL } else { RISE };
        bucket.units += part * (units as f64 - bucket.units);
        bucket.time_us += part * (time_us - bucket.time_us);
        if let Some(expected) = expected.filter(|expected| *expected > 0.0) {
            self.deviation += RISE * (((time_us - expected) / expected).abs().min(OUTLIER) - self.deviation);
        }
    }

    /// What a run of `units` takes on average, in microseconds; `None` before the first run. A larger run than any so far counts as
    /// slower in proportion, which is the most it should be; so does a size whose own runs say more than that.
    pub(crate) fn mean(&self, units: usize) -> Option<f64> {
        let units = units.max(1) as f64;
        let known = || self.buckets.iter().filter(|bucket| bucket.runs > 0);
        let below = known().filter(|bucket| bucket.units <= units);
        let in_proportion = below.clone().map(|bucket| bucket.time_us * units / bucket.units).min_by(f64::total_cmp);
        let between = match (below.max_by(|a, b| a.units.total_cmp(&b.units)), known().find(|bucket| bucket.units > units)) {
            (Some(low), Some(high)) => {
                let part = (units - low.units) / (high.units - low.units);
                Some(low.time_us + part * (high.time_us - low.time_us))
            }
            // Smaller than anything that was run: at most as long.
            (None, Some(high)) => Some(high.time_us),
            (_, None) => None,
        };
        match (in_proportion, between) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// What a slow one of such runs takes.
    pub(crate) fn late(&self, units: usize) -> Option<f64> {
        self.mean(units).map(|mean| mean * (1.0 + LATE_DEVIATIONS * self.deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(runs: &[(usize, u64)]) -> RunTimes {
        let mut times = RunTimes::default();
        runs.iter().for_each(|(units, time)| times.record(*units, *time));
        times
    }

    #[test]
    fn means_by_table() {
        let times = measured(&[(1, 90_000), (1, 2_000), (16, 9_000), (16, 8_000)]);
        for (units, expected) in [(1, 2_000.0), (4, 3_200.0), (16, 8_000.0), (64, 32_000.0)] {
            assert_eq!(times.mean(units), Some(expected), "{units}");
        }
        assert_eq!(RunTimes::default().mean(1), None);
        assert_eq!(measured(&[(8, 500), (8, 400)]).mean(2), Some(400.0), "smaller than anything measured");
    }

    #[test]
    fn a_size_that_was_once_held_up_is_tried_again() {
        let mut times = measured(&[(1, 1_000), (1, 1_000), (8, 400_000), (8, 400_000)]);
        assert_eq!(times.mean(8), Some(8_000.0), "no worse than eight runs of one");
        for _ in 0..40 {
            times.record(8, 2_000);
        }
        assert!(times.mean(8).is_some_and(|mean| mean < 2_500.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_estimate_is_never_more_than_in_proportion(runs in prop::collection::vec((1_usize..600, 1_u64..1_000_000), 1..60), units in 1_usize..4_000) {
            let times = measured(&runs);
            let mean = times.mean(units).expect("measured");
            let late = times.late(units).expect("measured");
            prop_assert!(mean > 0.0 && mean.is_finite() && late >= mean && late <= mean * (1.0 + LATE_DEVIATIONS * OUTLIER));
            for bucket in times.buckets.iter().filter(|bucket| bucket.runs > 0 && bucket.units <= units as f64) {
                prop_assert!(mean <= bucket.time_us * units as f64 / bucket.units + 1e-6);
            }
        }
    }
}
