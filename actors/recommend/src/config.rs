//! Superman's settings.

use behaviour::Settings;
use serde::{Deserialize, Serialize};

use crate::logic::regression::Plan;

/// Popular products that are kept at hand: more than any list is made of, with room for what a shopper has seen.
const POPULAR_MAX: usize = 320;
const _: () = assert!(POPULAR_MAX > ease::POOL_MAX + 100);

/// Superman's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often new products are looked for that nobody did anything with yet, in milliseconds.
    pub acquaint_interval_ms: u64,
    /// Events applied before other messages get their turn. One takes a few microseconds.
    pub batch_records_max: usize,
    /// The state is written to disk after so many events; a restart applies at most that many again.
    pub checkpoint_events_max: u64,
    /// Newest events of the log that the nightly regression is fitted on; it holds a few hundred bytes of each meanwhile.
    pub ease_events_max: usize,
    /// How often blends are tuned on the latest visits and a regression of every product on all others is fitted, in hours; 0 for never.
    /// Both are also done after a start and when the log has doubled; they are taken where they help.
    pub ease_interval_hours: u64,
    /// The busiest products that it is fitted for: it takes 4 bytes of each pair and time that grows with the cube.
    pub ease_items_max: usize,
    /// New products that inherit from others they are like; 0 for none.
    pub newcomers_max: usize,
    /// How long Superman waits at most before he looks for new events by himself, in milliseconds; normally he is woken.
    pub poll_interval_ms_max: u64,
    /// Shoppers whose history is remembered; beyond them the one not seen for longest is forgotten.
    pub shoppers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            acquaint_interval_ms: 30_000,
            batch_records_max: 512,
            checkpoint_events_max: 200_000,
            ease_events_max: 1_000_000,
            ease_interval_hours: 24,
            ease_items_max: 5_000,
            newcomers_max: 2_000,
            poll_interval_ms_max: 500,
            shoppers_max: 1_000_000,
        }
    }
}

impl Config {
    /// The engine's settings.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.bounds.shoppers_max = self.shoppers_max;
        // Lists are filled up with what is popular; within this many that is read off, beyond it the whole shop is counted out.
        settings.bounds.popular_max = POPULAR_MAX;
        settings
    }

    /// How the nightly regression is fitted: on half of the processors, for others ask meanwhile.
    pub(crate) fn plan(&self) -> Plan {
        let threads_max = std::thread::available_parallelism().map_or(1, |threads| (threads.get() / 2).max(1));
        Plan { items_max: self.ease_items_max, threads_max, settings: self.settings() }
    }

    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut within = |name: &'static str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.push((name, format!("{value} is not between {least} and {most}")));
            }
        };
        within("acquaint_interval_ms", self.acquaint_interval_ms, 100, 86_400_000);
        within("batch_records_max", self.batch_records_max as u64, 1, 4096);
        within("checkpoint_events_max", self.checkpoint_events_max, 1, 100_000_000);
        within("ease_events_max", self.ease_events_max as u64, 1_000, 20_000_000);
        within("ease_interval_hours", self.ease_interval_hours, 0, 8_760);
        within("ease_items_max", self.ease_items_max as u64, 0, 20_000);
        within("newcomers_max", self.newcomers_max as u64, 0, 20_000);
        within("poll_interval_ms_max", self.poll_interval_ms_max, 10, 1000);
        within("shoppers_max", self.shoppers_max as u64, 1000, 100_000_000);
        problems
    }
}
