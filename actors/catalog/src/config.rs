//! Watchtower's settings.

use serde::{Deserialize, Serialize};

/// Watchtower's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A journal with more bytes than this on disk is shortened: an export is written and verified, and what every consumer has
    /// passed is trimmed.
    pub journal_bytes_max: u64,
    /// How often the journal's size is looked at, in milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Verified exports that are kept; the oldest go first.
    pub exports_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { journal_bytes_max: 512 << 20, checkpoint_interval_ms: 30_000, exports_max: 2 }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.journal_bytes_max < 1 << 20 {
            problems.push((
                "journal_bytes_max",
                format!("{} is less than a mebibyte: every few changes would write an export", self.journal_bytes_max),
            ));
        }
        if self.checkpoint_interval_ms < 100 {
            problems.push(("checkpoint_interval_ms", format!("{} ms is too often", self.checkpoint_interval_ms)));
        }
        if self.exports_max == 0 {
            problems.push(("exports_max", "the export behind which the journal was trimmed must be kept: at least 1".to_owned()));
        }
        problems
    }
}
