//! Alfred's settings.

use serde::{Deserialize, Serialize};

/// Alfred's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often the log is looked at, in milliseconds.
    pub interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval_ms: 10_000 }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        if (10..=3_600_000).contains(&self.interval_ms) {
            return Vec::new();
        }
        vec![("interval_ms", format!("{} is not between 10 and 3600000", self.interval_ms))]
    }
}
