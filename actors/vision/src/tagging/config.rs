//! How tags are made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pace::LessonTimes;

/// How tags are made and how soon is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagConfig {
    /// A file of the shop's own attributes (TOML, as `data/attributes.toml`), laid over the built-in ones; empty for none.
    pub vocabulary_file: PathBuf,
    /// A tag is told as a fact where it is right at least this often, 0 to 1.
    pub fact_precision: f64,
    /// Labelled products that are learned from; of more a fixed part, and everything that people corrected.
    pub teach_rows_max: usize,
    /// Threads that learn; 0 takes half of the processors.
    pub teach_threads: usize,
    /// Nothing is learned sooner than this after the last time.
    pub teach_interval_ms_min: u64,
    /// Corrections are learned from once none has come for so long.
    pub correction_settle_ms: u64,
    /// Labelled products are learned from once none has changed for so long, or once there are a quarter more.
    pub rows_settle_ms: u64,
    /// How often changes are looked for.
    pub tick_interval_ms: u64,
    /// Threads that measure the pictures that callers send.
    pub picture_threads: usize,
    /// Pictures of callers that wait to be measured; more are told to come back.
    pub picture_queue_max: usize,
}

impl Default for TagConfig {
    fn default() -> Self {
        Self {
            vocabulary_file: PathBuf::new(),
            fact_precision: 0.95,
            teach_rows_max: 20_000,
            teach_threads: 0,
            teach_interval_ms_min: 10_000,
            correction_settle_ms: 3_000,
            rows_settle_ms: 30_000,
            tick_interval_ms: 1_000,
            picture_threads: 1,
            picture_queue_max: 32,
        }
    }
}

impl TagConfig {
    /// Fields that make no sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        const DAY_MS: u64 = 24 * 3_600_000;
        let ranges: [(&'static str, u64, u64, u64); 8] = [
            ("teach_rows_max", self.teach_rows_max as u64, 100, 1_000_000),
            ("teach_threads", self.teach_threads as u64, 0, 1024),
            ("teach_interval_ms_min", self.teach_interval_ms_min, 0, DAY_MS),
            ("correction_settle_ms", self.correction_settle_ms, 0, DAY_MS),
            ("rows_settle_ms", self.rows_settle_ms, 0, DAY_MS),
            ("tick_interval_ms", self.tick_interval_ms, 10, DAY_MS),
            ("picture_threads", self.picture_threads as u64, 1, 1024),
            ("picture_queue_max", self.picture_queue_max as u64, 1, 100_000),
        ];
        let outside = ranges.into_iter().filter(|(_, value, low, high)| !(low..=high).contains(&value));
        let mut problems: Vec<_> =
            outside.map(|(field, value, low, high)| (field, format!("{value} is not between {low} and {high}"))).collect();
        if !(0.5..1.0).contains(&self.fact_precision) {
            problems.push(("fact_precision", format!("{} is not between 0.5 and 1", self.fact_precision)));
        }
        problems
    }

    pub(crate) fn times(&self) -> LessonTimes {
        // Every one of them is at most a day.
        let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        LessonTimes {
            interval_ms_min: ms(self.teach_interval_ms_min),
            correction_settle_ms: ms(self.correction_settle_ms),
            rows_settle_ms: ms(self.rows_settle_ms),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if self.teach_threads == 0 { (cores / 2).max(1) } else { self.teach_threads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_nonsense_is_named() {
        assert_eq!(TagConfig::default().problems(), []);
        let config = TagConfig { fact_precision: 1.0, picture_threads: 0, tick_interval_ms: 1, ..TagConfig::default() };
        let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["tick_interval_ms", "picture_threads", "fact_precision"]);
    }
}
