//! Forward decay: counts that fade by half-lives without being touched.
//!
//! A count of time t is kept as `w * 2^((t - epoch) / H)` and read as the sum times `2^-((now - epoch) / H)` (Cormode, Shkapenyuk,
//! Srivastava, Xu 2009): a late event weighs what it would have weighed on time, and nothing is rewritten but once in many half-lives.

use bincode::{Decode, Encode};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Times are taken to lie between 1970 and 2106, as far as 32 bits of seconds reach.
pub(crate) const TIME_MS_MAX: i64 = u32::MAX as i64 * 1_000;
/// Half-lives after which all counts are rewritten to a new epoch: f32 has room for 127.
const HALF_LIVES_MAX: f64 = 24.0;

/// A time within what counts can carry.
pub(crate) fn bounded_ms(at_ms: i64) -> i64 {
    at_ms.clamp(0, TIME_MS_MAX)
}

/// Whole seconds of a bounded time.
pub(crate) fn seconds(at_ms: i64) -> u32 {
    (bounded_ms(at_ms) / 1_000) as u32
}

/// What remains of 1 after a time, by half-life; 1 where the time is not positive.
pub(crate) fn remains(elapsed_ms: i64, half_life_ms: i64) -> f32 {
    (-(elapsed_ms.max(0) as f64) / half_life_ms as f64).exp2() as f32
}

/// The epoch and the half-life of counts that fade together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Clock {
    epoch_ms: i64,
    half_life_ms: i64,
}

impl Clock {
    pub(crate) const fn new(half_life_days: i64) -> Self {
        Self { epoch_ms: 0, half_life_ms: half_life_days * DAY_MS }
    }

    fn half_lives(&self, at_ms: i64) -> f64 {
        (bounded_ms(at_ms) - self.epoch_ms) as f64 / self.half_life_ms as f64
    }

    /// Makes room for a time: the factor by which every count must be multiplied first, where there is one.
    #[must_use]
    pub(crate) fn advance(&mut self, at_ms: i64) -> Option<f32> {
        let half_lives = self.half_lives(at_ms);
        (half_lives > HALF_LIVES_MAX).then(|| {
            self.epoch_ms = bounded_ms(at_ms);
            (-half_lives).exp2() as f32
        })
    }

    /// The factor of a count that is made at a time.
    pub(crate) fn up(&self, at_ms: i64) -> f32 {
        self.half_lives(at_ms).min(HALF_LIVES_MAX).exp2() as f32
    }

    /// The factor that reads counts at a time.
    pub(crate) fn down(&self, at_ms: i64) -> f32 {
        (-self.half_lives(at_ms)).clamp(-126.0, HALF_LIVES_MAX).exp2() as f32
    }

    /// The factor that turns another clock's counts into this one's.
    pub(crate) fn factor_of(&self, other: &Self) -> f32 {
        ((other.epoch_ms - self.epoch_ms) as f64 / self.half_life_ms as f64).clamp(-126.0, HALF_LIVES_MAX).exp2() as f32
    }

    pub(crate) fn epoch_ms(&self) -> i64 {
        self.epoch_ms
    }

    /// Whether the epoch and the half-life are such as this module makes.
    pub(crate) fn is_sound(&self, expected: &Self) -> bool {
        self.half_life_ms == expected.half_life_ms && (0..=TIME_MS_MAX).contains(&self.epoch_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_700_000_000_000;

    #[test]
    fn a_count_halves_with_each_half_life() {
        let mut clock = Clock::new(10);
        assert!(clock.advance(T0).is_some(), "the first event sets the epoch");
        let count = clock.up(T0);
        for (days, left) in [(0, 1.0), (10, 0.5), (20, 0.25), (30, 0.125)] {
            let read = count * clock.down(T0 + days * DAY_MS);
            assert!((read - left).abs() < 1e-5, "{days} days: {read}");
        }
    }

    #[test]
    fn a_new_epoch_changes_no_count() {
        let mut clock = Clock::new(10);
        let _ = clock.advance(T0);
        let late = T0 + 241 * DAY_MS;
        let (mut count, before) = (clock.up(T0), clock.up(T0) * clock.down(late));
        count *= clock.advance(late).expect("more than 24 half-lives");
        assert!((count * clock.down(late) / before - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_ends_of_time_stay_finite() {
        let mut clock = Clock::new(1);
        for at_ms in [i64::MIN, -1, 0, T0, i64::MAX, T0, i64::MIN] {
            let _ = clock.advance(at_ms);
            assert!(clock.up(at_ms).is_finite() && clock.down(at_ms).is_finite(), "{at_ms}");
        }
    }
}
