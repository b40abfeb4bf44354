//! What can be set about search.

use serde::{Deserialize, Serialize};

/// Tantivy takes no less for one indexing thread.
const KEYWORD_MEMORY_BYTES_MIN: usize = 15_000_000;

/// Batman's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that answer searches; 0 takes one for each processor.
    pub search_threads: usize,
    /// Searches that may wait for a thread; more are refused.
    pub search_queue_max: usize,
    /// Memory for words that are not on disk yet, in bytes.
    pub keyword_memory_bytes_max: usize,
    /// A changed text is searchable after this many milliseconds at the latest, once the index has caught up.
    pub commit_interval_ms_max: u64,
    /// While the index catches up, this many changes are committed together.
    pub commit_changes_max: usize,
    /// The part of deleted vector rows above which the rows are compacted.
    pub dead_ratio_max: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            search_threads: 0,
            search_queue_max: 256,
            keyword_memory_bytes_max: 30_000_000,
            commit_interval_ms_max: 300,
            commit_changes_max: 20_000,
            dead_ratio_max: 0.25,
        }
    }
}

impl Config {
    /// Every field that does not make sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let within = |name, value: u64, least: u64, most: u64| {
            (value < least || value > most).then(|| (name, format!("{value} is not between {least} and {most}")))
        };
        let checks = [
            within("search_threads", self.search_threads as u64, 0, 1_024),
            within("search_queue_max", self.search_queue_max as u64, 1, 100_000),
            within("keyword_memory_bytes_max", self.keyword_memory_bytes_max as u64, KEYWORD_MEMORY_BYTES_MIN as u64, 4_000_000_000),
            within("commit_interval_ms_max", self.commit_interval_ms_max, 0, 60_000),
            within("commit_changes_max", self.commit_changes_max as u64, 1, 10_000_000),
            (!(0.01..=0.9).contains(&self.dead_ratio_max))
                .then(|| ("dead_ratio_max", format!("{} is not between 0.01 and 0.9", self.dead_ratio_max))),
        ];
        checks.into_iter().flatten().collect()
    }

    pub(crate) fn threads(&self) -> usize {
        match self.search_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_each_nonsense_is_named() {
        assert_eq!(Config::default().problems(), []);
        let bad = Config {
            search_threads: 9_999,
            search_queue_max: 0,
            keyword_memory_bytes_max: 1,
            commit_interval_ms_max: 1 << 40,
            commit_changes_max: 0,
            dead_ratio_max: f32::NAN,
        };
        let names: Vec<_> = bad.problems().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 6, "{names:?}");
    }
}
