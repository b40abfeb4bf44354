//! Two Face's settings.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Two Face's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Records of the event log applied before other messages get their turn. One record takes some ten microseconds.
    pub batch_records_max: usize,
    /// How long Two Face waits at most before it looks for new records by itself, in milliseconds; normally it is woken.
    pub poll_interval_ms_max: u64,
    /// Profiles in memory; one takes a few kilobytes. The others are read from the store when they are asked for.
    pub profiles_max: usize,
    /// Products whose facts are at hand; one takes about 7 KiB with the embeddings of its picture and text.
    pub facts_max: usize,
    /// The longest time for which the facts of an unchanged product are used before its embeddings are looked up again, in
    /// milliseconds: they come later than the product.
    pub facts_age_ms_max: u64,
    /// Products whose ids are remembered because somebody bought them.
    pub names_max: usize,
    /// A checkpoint is written this often, in milliseconds: a restart repeats no more than what happened since.
    pub checkpoint_interval_ms: u64,
    /// ... or when so many profiles have changed since the last one.
    pub dirty_profiles_max: usize,
    /// How much the shopper counts where a question says 1: between 0 (everybody sees the same order) and 1.
    pub strength: f32,
}

/// The bound of [`Config::batch_records_max`].
pub(crate) const BATCH_RECORDS_MAX: usize = 256;

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_records_max: 64,
            poll_interval_ms_max: 500,
            profiles_max: 100_000,
            facts_max: 20_000,
            facts_age_ms_max: 30_000,
            names_max: 500_000,
            checkpoint_interval_ms: 300_000,
            dirty_profiles_max: 10_000,
            strength: 1.0,
        }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let ranges: [(&'static str, u64, RangeInclusive<u64>); 8] = [
            ("batch_records_max", self.batch_records_max as u64, 1..=BATCH_RECORDS_MAX as u64),
            ("poll_interval_ms_max", self.poll_interval_ms_max, 10..=10_000),
            ("profiles_max", self.profiles_max as u64, 64..=10_000_000),
            ("facts_max", self.facts_max as u64, 1_000..=10_000_000),
            ("facts_age_ms_max", self.facts_age_ms_max, 100..=3_600_000),
            ("names_max", self.names_max as u64, 1_000..=10_000_000),
            ("checkpoint_interval_ms", self.checkpoint_interval_ms, 100..=3_600_000),
            ("dirty_profiles_max", self.dirty_profiles_max as u64, 1..=100_000),
        ];
        let mut problems: Vec<(&'static str, String)> = ranges
            .into_iter()
            .filter(|(_, value, range)| !range.contains(value))
            .map(|(field, value, range)| (field, format!("{value} is not between {} and {}", range.start(), range.end())))
            .collect();
        if !(0.0..=1.0).contains(&self.strength) {
            problems.push(("strength", format!("{} is not between 0 and 1", self.strength)));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        assert_eq!(Config::default().problems(), []);
        let config = Config { batch_records_max: 0, dirty_profiles_max: 0, strength: f32::NAN, ..Config::default() };
        let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["batch_records_max", "dirty_profiles_max", "strength"]);
    }
}
