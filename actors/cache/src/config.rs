//! GCPD's settings.

use serde::{Deserialize, Serialize};

/// GCPD's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory for finished answers, in MiB; 0 keeps none.
    pub memory_mib_max: u64,
    /// The largest answer that is kept, in KiB.
    pub answer_kib_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory_mib_max: 64, answer_kib_max: 256 }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.memory_mib_max > 65_536 {
            problems.push(("memory_mib_max", format!("{} is not between 0 and 65536", self.memory_mib_max)));
        }
        if !(1..=16_384).contains(&self.answer_kib_max) {
            problems.push(("answer_kib_max", format!("{} is not between 1 and 16384", self.answer_kib_max)));
        }
        problems
    }
}
