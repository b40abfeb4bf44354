//! Rates and quantiles of the last while, for people who look at the house.

use std::collections::VecDeque;

/// The rate is that of so many seconds.
const SECONDS: usize = 60;
/// Quantiles are those of so many last times.
const TIMES_MAX: usize = 1024;

/// Counts of the last minute and the last times.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// `(second, count)`, ascending.
    counts: VecDeque<(u64, u64)>,
    times_us: VecDeque<u64>,
}

impl Meter {
    /// `count` more were done at `now_us`.
    pub fn count(&mut self, now_us: u64, count: u64) {
        let second = now_us / 1_000_000;
        match self.counts.back_mut() {
            Some((last, counted)) if *last >= second => *counted += count,
            _ => self.counts.push_back((second, count)),
        }
        while self.counts.len() > SECONDS {
            self.counts.pop_front();
        }
    }

    /// Something took this long.
    pub fn time(&mut self, time_us: u64) {
        if self.times_us.len() == TIMES_MAX {
            self.times_us.pop_front();
        }
        self.times_us.push_back(time_us);
    }

    /// The mean a second over the last minute.
    pub fn per_second(&self, now_us: u64) -> f64 {
        let second = now_us / 1_000_000;
        let recent = self.counts.iter().filter(|(at, _)| at + SECONDS as u64 > second);
        recent.map(|(_, count)| count).sum::<u64>() as f64 / SECONDS as f64
    }

    /// The time within which `part` (0 to 1) of the last ones were done, in microseconds.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let mut times: Vec<u64> = self.times_us.iter().copied().collect();
        times.sort_unstable();
        let at = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut meter = Meter::default();
        assert_eq!((meter.per_second(0), meter.quantile(0.5)), (0.0, None));
        for second in 0..100 {
            meter.count(second * 1_000_000 + 5, 3);
        }
        assert_eq!(meter.per_second(99_999_999), 3.0);
        assert_eq!(meter.per_second(129_000_000), 1.5);
        assert_eq!(meter.per_second(1_000_000_000), 0.0);
        meter.count(98_000_000, 60);
        assert_eq!(meter.per_second(99_999_999), 4.0, "a late report counts with the last second");
    }

    #[test]
    fn quantiles_are_those_of_the_last_times() {
        let mut meter = Meter::default();
        (1..=100).for_each(|time| meter.time(time));
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| meter.quantile(part)), [Some(1), Some(50), Some(99), Some(100)]);
        (0..TIMES_MAX).for_each(|_| meter.time(7));
        assert_eq!((meter.quantile(1.0), meter.times_us.len()), (Some(7), TIMES_MAX));
    }
}
