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
    /// Records of the event log applied before other messages get their turn. One takes a few microseconds.
    pub batch_events_max: usize,
    /// Memory for sessions and carts, in MiB, about; what was not used for longest is read back from the store when it is asked for.
    pub memory_mib_max: u64,
    /// How long changed sessions wait at most for a checkpoint, in milliseconds: what a restart has to apply again.
    pub checkpoint_interval_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_records_max: 64,
            poll_interval_ms_max: 500,
            batch_events_max: 256,
            memory_mib_max: 256,
            checkpoint_interval_ms_max: 10_000,
        }
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
        if !(1..=4096).contains(&self.batch_events_max) {
            problems.push(("batch_events_max", format!("{} is not between 1 and 4096", self.batch_events_max)));
        }
        if !(16..=65_536).contains(&self.memory_mib_max) {
            problems.push(("memory_mib_max", format!("{} is not between 16 and 65536", self.memory_mib_max)));
        }
        if !(100..=600_000).contains(&self.checkpoint_interval_ms_max) {
            problems.push(("checkpoint_interval_ms_max", format!("{} is not between 100 and 600000", self.checkpoint_interval_ms_max)));
        }
        problems
    }
}
