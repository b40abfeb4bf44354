//! Flash's settings.

use serde::{Deserialize, Serialize};

/// Flash's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Journal records applied before other messages get their turn. One record takes a few microseconds.
    pub batch_records_max: usize,
    /// How long Flash waits at most before it looks for new journal records by itself, in milliseconds; normally it is woken.
    pub poll_interval_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_records_max: 64, poll_interval_ms_max: 500 }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(1..=1024).contains(&self.batch_records_max) {
            problems.push(("batch_records_max", format!("{} is not between 1 and 1024", self.batch_records_max)));
        }
        if !(10..=1000).contains(&self.poll_interval_ms_max) {
            problems.push((
                "poll_interval_ms_max",
                format!("{} is not between 10 and 1000: a price is to be seen within a second", self.poll_interval_ms_max),
            ));
        }
        problems
    }
}
