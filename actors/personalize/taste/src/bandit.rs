//! Exploration: which strategy fills a place, by Thompson sampling, and which places may be tried out at all.
//!
//! A strategy's rate of clicks has the prior Beta(1, 40); for each list every strategy draws from its posterior and the highest
//! draw wins (Thompson 1933). The draws are seeded by shopper, day and place: a list is the same all day, and a test is exact.

use bincode::{Decode, Encode};

use crate::clock::{DAY_MS, bounded_ms};
use crate::keys::{Id, mix};

/// Strategies of one place.
pub const ARMS_MAX: usize = 32;
/// Places that are told apart.
pub const PLACES_MAX: usize = 1_024;
const PRIOR_CLICKS: f64 = 1.0;
const PRIOR_MISSES: f64 = 40.0;

/// Whose list of which day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The same for one shopper all day (UTC).
    pub fn new(shopper: Id, now_ms: i64) -> Self {
        Self(mix(shopper, (bounded_ms(now_ms) / DAY_MS) as u64))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
struct Arm {
    arm: Id,
    shows: u64,
    clicks: u64,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
struct Place {
    place: Id,
    arms: Vec<Arm>,
}

/// Shows and clicks of every strategy of every place.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Bandit {
    places: Vec<Place>,
}

impl Bandit {
    /// The position in `arms` of the strategy that fills a place today; 0 where there is nothing to choose from. Only the first
    /// [`ARMS_MAX`] are looked at.
    pub fn choose(&self, place: Id, arms: &[Id], seed: Seed) -> usize {
        let mut random = Random(mix(seed.0, place));
        let known = self.places.iter().find(|known| known.place == place);
        let draws = arms.iter().take(ARMS_MAX).map(|arm| {
            let (shows, clicks) = known
                .and_then(|place| place.arms.iter().find(|known| known.arm == *arm))
                .map_or((0.0, 0.0), |arm| (arm.shows as f64, arm.clicks as f64));
            random.beta(PRIOR_CLICKS + clicks, PRIOR_MISSES + (shows - clicks).max(0.0))
        });
        draws.enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map_or(0, |best| best.0)
    }

    /// A strategy filled a place and somebody saw it.
    pub fn shown(&mut self, place: Id, arm: Id) {
        if let Some(arm) = self.arm(place, arm) {
            arm.shows = arm.shows.saturating_add(1);
        }
    }

    /// What it showed was clicked.
    pub fn clicked(&mut self, place: Id, arm: Id) {
        if let Some(arm) = self.arm(place, arm) {
            arm.clicks = arm.clicks.saturating_add(1);
        }
    }

    /// Shows and clicks of a strategy in a place.
    pub fn counts(&self, place: Id, arm: Id) -> (u64, u64) {
        let place = self.places.iter().find(|known| known.place == place);
        place.and_then(|place| place.arms.iter().find(|known| known.arm == arm)).map_or((0, 0), |arm| (arm.shows, arm.clicks))
    }

    fn arm(&mut self, place: Id, arm: Id) -> Option<&mut Arm> {
        let at = match self.places.iter().position(|known| known.place == place) {
            Some(at) => at,
            None if self.places.len() < PLACES_MAX => {
                self.places.push(Place { place, arms: Vec::new() });
                self.places.len() - 1
            }
            None => return None,
        };
        let arms = &mut self.places[at].arms;
        match arms.iter().position(|known| known.arm == arm) {
            Some(at) => arms.get_mut(at),
            None if arms.len() < ARMS_MAX => {
                arms.push(Arm { arm, shows: 0, clicks: 0 });
                arms.last_mut()
            }
            None => None,
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.places.len() <= PLACES_MAX && self.places.iter().all(|place| place.arms.len() <= ARMS_MAX)
    }
}

/// The places of a list that may be given to something new: `budget` of them (a share between 0 and 1) on average over seeds, at most
/// one more, never the first, spread over the list and drawn by the seed. In rising order.
pub fn places_to_try(places: usize, budget: f32, seed: Seed) -> Vec<usize> {
    let budget = if budget.is_finite() { budget.clamp(0.0, 1.0) } else { 0.0 };
    let mut random = Random(mix(seed.0, 0x7077));
    // Rounded down, a short list would never have a place.
    let count = ((places as f64 * f64::from(budget) + random.uniform()).floor() as usize).min(places.saturating_sub(1));
    // One place out of each of `count` equal stretches behind the first.
    (0..count)
        .map(|n| {
            let (from, to) = (1 + n * (places - 1) / count, 1 + (n + 1) * (places - 1) / count);
            from + (random.next() % (to - from).max(1) as u64) as usize
        })
        .collect()
}

/// SplitMix64, and what is drawn from it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0, 0)
    }

    /// Within (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box and Muller 1958.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Marsaglia and Tsang 2000, for shapes of at least 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape.max(1.0) - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // 19 of 20 draws are taken at once; the bound only makes the loop's end plain.
        for _ in 0..64 {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
        d
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        x / (x + y)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn regret_of_five_strategies_over_fifty_thousand_shows() {
        let rates = [0.020, 0.024, 0.028, 0.032, 0.036];
        let arms: Vec<Id> = (0..5).collect();
        let regrets: Vec<f64> = (0..8)
            .map(|run: u64| {
                let (mut bandit, mut shoppers) = (Bandit::default(), Random(run));
                let mut regret = 0.0;
                for shopper in 0..50_000 {
                    let at = bandit.choose(1, &arms, Seed::new(mix(run, shopper), NOW));
                    bandit.shown(1, arms[at]);
                    if shoppers.uniform() < rates[at] {
                        bandit.clicked(1, arms[at]);
                    }
                    regret += 0.036 - rates[at];
                }
                regret
            })
            .collect();
        let mean = regrets.iter().sum::<f64>() / regrets.len() as f64;
        eprintln!("regret in clicks: {regrets:.0?}, mean {mean:.1}");
        // Choosing blindly costs 400. To tell the best two apart at two standard errors takes some 65; the rest is luck.
        assert!(regrets.iter().all(|regret| *regret <= 200.0) && mean <= 90.0, "{regrets:?}, mean {mean}");
    }

    #[test]
    fn a_list_is_the_same_all_day_and_another_the_next() {
        let bandit = Bandit::default();
        let arms: Vec<Id> = (0..8).collect();
        let list = |shopper, at_ms| -> Vec<usize> { (0..8).map(|place| bandit.choose(place, &arms, Seed::new(shopper, at_ms))).collect() };
        let morning = NOW / DAY_MS * DAY_MS;
        assert_eq!(list(1, morning), list(1, morning + DAY_MS - 1));
        assert_ne!(list(1, morning), list(1, morning + DAY_MS));
        assert_ne!(list(1, morning), list(2, morning));
    }

    #[test]
    fn draws_have_the_mean_and_variance_of_beta() {
        let mut random = Random(7);
        for (a, b) in [(1.0, 40.0), (5.0, 100.0), (30.0, 30.0)] {
            let draws: Vec<f64> = (0..20_000).map(|_| random.beta(a, b)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = a * b / ((a + b) * (a + b) * (a + b + 1.0));
            assert!((mean / (a / (a + b)) - 1.0).abs() < 0.03, "{a} {b}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{a} {b}: {variance} {expected}");
        }
    }

    #[test]
    fn places_and_strategies_are_bounded() {
        let mut bandit = Bandit::default();
        (0..2 * PLACES_MAX as u64).for_each(|place| bandit.shown(place, 1));
        (0..2 * ARMS_MAX as u64).for_each(|arm| bandit.shown(0, arm));
        assert!(bandit.is_sound());
        assert_eq!(bandit.choose(0, &[], Seed(1)), 0);
    }

    proptest! {
        #[test]
        fn places_to_try_keep_to_the_budget_and_spare_the_first(places in 0_usize..300, budget in -1.0_f32..2.0, shopper: u64) {
            let tried = places_to_try(places, budget, Seed::new(shopper, NOW));
            prop_assert!((tried.len() as f32) < places as f32 * budget.clamp(0.0, 1.0) + 1.0);
            prop_assert!(tried.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(tried.iter().all(|place| (1..places).contains(place)));
        }

        #[test]
        fn places_to_try_are_the_budget_on_average(places in 2_usize..60, budget in 0.0_f32..0.5) {
            let tried: usize = (0..4_000).map(|shopper| places_to_try(places, budget, Seed::new(shopper, NOW)).len()).sum();
            let (mean, expected) = (tried as f32 / 4_000.0, places as f32 * budget);
            // Six standard errors of a rounding up or down.
            prop_assert!((mean - expected).abs() < 0.05, "{mean} {expected}");
        }
    }
}
