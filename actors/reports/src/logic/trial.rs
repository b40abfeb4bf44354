//! What experiments gather: for each arm sums over its shoppers, so that means, variances and ratios are read off without them.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};
use domain::{Currency, Money};

use crate::config::Config;

/// Arms of one experiment that are told apart; shoppers in further ones are left out.
const ARMS_MAX: usize = 32;
/// What one shopper's revenue counts for at most, either way, in 1/10000 of the currency's unit: sums of squares stay in their range.
const REVENUE_E4_MAX: i64 = 1_000_000_000_000_000;

/// Sums over shoppers of products shown (x) together with clicks (y).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Shown {
    pub(crate) x: u64,
    pub(crate) xx: u128,
    pub(crate) xy: u128,
}

impl Shown {
    fn add(&mut self, before: u32, more: u32, clicks: u32) {
        let (before, more) = (u128::from(before), u128::from(more));
        self.x += more as u64;
        self.xx += (2 * before + more) * more;
        self.xy += more * u128::from(clicks);
    }
}

/// One arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ArmSums {
    pub(crate) shoppers: u64,
    pub(crate) buyers: u64,
    pub(crate) purchases: u64,
    pub(crate) revenue: i128,
    pub(crate) revenue_squared: u128,
    /// Products in lists.
    pub(crate) served: Shown,
    /// Products that impression events told of.
    pub(crate) seen: Shown,
    pub(crate) clicks: u64,
    pub(crate) clicks_squared: u128,
}

/// One experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Trial {
    /// Distinguishes its exposures from those of an experiment of the same name that was dropped.
    pub(crate) number: u32,
    pub(crate) first_exposed_at_ms: i64,
    pub(crate) currency: Option<Currency>,
    pub(crate) foreign_purchases: u64,
    /// Lists in another arm than the shopper's first.
    pub(crate) crossovers: u64,
    /// Lists of shoppers over a bound.
    pub(crate) left_out: u64,
    /// Names with their sums, in order of the first exposure.
    pub(crate) arms: Vec<(String, ArmSums)>,
}

/// One shopper in one experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Exposure {
    pub(crate) arm: u32,
    pub(crate) at_ms: i64,
    pub(crate) purchases: u32,
    pub(crate) revenue_e4: i64,
    pub(crate) served: u32,
    pub(crate) seen: u32,
    pub(crate) clicks: u32,
}

/// Experiment's number and shopper.
pub(crate) type ExposureKey = (u32, u64);

/// All experiments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trials {
    pub(crate) by_name: BTreeMap<String, Trial>,
    pub(crate) next_number: u32,
    pub(crate) exposures: HashMap<ExposureKey, Exposure>,
    /// Shoppers by experiment's number.
    sizes: HashMap<u32, usize>,
    /// Changed since they were last made durable.
    pub(crate) changed: std::collections::BTreeSet<ExposureKey>,
}

/// What was counted of a list or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Served,
    Seen,
    Clicked,
}

impl Trials {
    /// Puts what was stored together.
    pub(crate) fn restore(by_name: BTreeMap<String, Trial>, next_number: u32, exposures: HashMap<ExposureKey, Exposure>) -> Self {
        let mut sizes: HashMap<u32, usize> = HashMap::new();
        exposures.keys().for_each(|(number, _)| *sizes.entry(*number).or_default() += 1);
        Self { by_name, next_number, exposures, sizes, changed: Default::default() }
    }

    /// A shopper is shown a list in an arm: the first counts.
    pub(crate) fn expose(&mut self, arms: &[(String, String)], shopper: u64, at_ms: i64, config: &Config) {
        for (name, arm) in arms {
            if !self.by_name.contains_key(name) {
                self.begin(name, at_ms, config);
            }
            let Some(trial) = self.by_name.get_mut(name) else { continue };
            let key = (trial.number, shopper);
            let at = trial.arms.iter().position(|(known, _)| known == arm);
            if let Some(exposure) = self.exposures.get(&key) {
                // Counted once for each list, whoever the shopper is: a sign that something is wrong, not a measure.
                trial.crossovers += u64::from(at != Some(exposure.arm as usize));
                continue;
            }
            let size = self.sizes.entry(trial.number).or_default();
            if *size >= config.experiment_shoppers_max || (at.is_none() && trial.arms.len() >= ARMS_MAX) {
                trial.left_out += 1;
                continue;
            }
            *size += 1;
            let at = at.unwrap_or_else(|| {
                trial.arms.push((arm.clone(), ArmSums::default()));
                trial.arms.len() - 1
            });
            trial.arms[at].1.shoppers += 1;
            self.exposures.insert(key, Exposure { arm: at as u32, at_ms, ..Exposure::default() });
            self.changed.insert(key);
        }
    }

    /// Products of a list in these arms were served, seen or clicked.
    pub(crate) fn shown(&mut self, arms: &[(String, String)], shopper: u64, what: Happened, count: u32) {
        for (name, arm) in arms.iter().filter(|_| count > 0) {
            let Some(trial) = self.by_name.get_mut(name) else { continue };
            let key = (trial.number, shopper);
            let Some(exposure) = self.exposures.get_mut(&key) else { continue };
            let Some((_, sums)) = trial.arms.get_mut(exposure.arm as usize).filter(|(known, _)| known == arm) else { continue };
            match what {
                Happened::Served => {
                    sums.served.add(exposure.served, count, exposure.clicks);
                    exposure.served += count;
                }
                Happened::Seen => {
                    sums.seen.add(exposure.seen, count, exposure.clicks);
                    exposure.seen += count;
                }
                Happened::Clicked => {
                    let (before, more) = (u128::from(exposure.clicks), u128::from(count));
                    sums.clicks += u64::from(count);
                    sums.clicks_squared += (2 * before + more) * more;
                    sums.served.xy += more * u128::from(exposure.served);
                    sums.seen.xy += more * u128::from(exposure.seen);
                    exposure.clicks += count;
                }
            }
            self.changed.insert(key);
        }
    }

    /// A purchase by somebody known under these names: it counts in every experiment that they were exposed in before.
    pub(crate) fn bought(&mut self, shoppers: &[u64], at_ms: i64, paid: &[Money]) {
        for trial in self.by_name.values_mut() {
            let exposed = shoppers.iter().map(|shopper| (trial.number, *shopper)).find(|key| self.exposures.contains_key(key));
            let Some((key, exposure)) = exposed.and_then(|key| Some((key, self.exposures.get_mut(&key)?))) else { continue };
            let Some((_, sums)) = trial.arms.get_mut(exposure.arm as usize).filter(|_| at_ms >= exposure.at_ms) else { continue };
            sums.purchases += 1;
            sums.buyers += u64::from(exposure.purchases == 0);
            exposure.purchases = exposure.purchases.saturating_add(1);
            self.changed.insert(key);
            trial.currency = trial.currency.or(paid.first().map(|money| money.currency));
            let Some(currency) = trial.currency else { continue };
            trial.foreign_purchases += u64::from(paid.iter().any(|money| money.currency != currency));
            let more: i64 =
                paid.iter().filter(|money| money.currency == currency).fold(0, |sum, money| sum.saturating_add(money.amount_e4));
            let (before, after) = (exposure.revenue_e4, exposure.revenue_e4.saturating_add(more).clamp(-REVENUE_E4_MAX, REVENUE_E4_MAX));
            sums.revenue += i128::from(after) - i128::from(before);
            sums.revenue_squared = sums.revenue_squared + square(after) - square(before);
            exposure.revenue_e4 = after;
        }
    }

    /// Forgets a shopper. What was counted of them names nobody and stays.
    pub(crate) fn erase(&mut self, shopper: u64) {
        for trial in self.by_name.values() {
            let key = (trial.number, shopper);
            if self.exposures.remove(&key).is_some() {
                self.changed.insert(key);
                if let Some(size) = self.sizes.get_mut(&trial.number) {
                    *size -= 1;
                }
            }
        }
    }

    /// Begins an experiment; those that began first make room.
    fn begin(&mut self, name: &str, at_ms: i64, config: &Config) {
        while self.by_name.len() >= config.experiments_max
            && let Some((oldest, number)) =
                self.by_name.iter().map(|(name, trial)| (name.clone(), trial.number)).min_by_key(|(_, number)| *number)
        {
            self.by_name.remove(&oldest);
            self.sizes.remove(&number);
            let gone: Vec<ExposureKey> = self.exposures.keys().filter(|(of, _)| *of == number).copied().collect();
            gone.iter().for_each(|key| {
                self.exposures.remove(key);
            });
            self.changed.extend(gone);
        }
        let trial = Trial { number: self.next_number, first_exposed_at_ms: at_ms, ..Trial::default() };
        self.next_number += 1;
        self.by_name.insert(name.to_owned(), trial);
    }
}

fn square(value: i64) -> u128 {
    u128::from(value.unsigned_abs()) * u128::from(value.unsigned_abs())
}
