//! Mocha's settings.

use protocol::registry::EXPERIMENTS_MAX;
use serde::{Deserialize, Serialize};

use crate::logic::day::QUERY_SHOPPERS_MAX;

/// Mocha's settings. A change of a bound or a window counts from then on; days that were counted stay as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where a day begins: minutes east of Greenwich, the same all year.
    pub utc_offset_minutes: i32,
    /// A purchase belongs to the last click on the product within so many hours before it. 24 is what shops' own reports of
    /// recommendations use most; longer windows credit lists with what would have been bought anyway.
    pub click_window_hours: u32,
    /// A purchase without a click belongs, apart, to the last list that showed the product within so many hours before it.
    pub view_window_hours: u32,
    /// An event that says it happened longer ago than this counts at the time of its receipt.
    pub late_days_max: u32,
    /// Days kept; the oldest go first. One takes at most about 1 MB on disk.
    pub days_max: usize,
    /// Products of a day that are counted one by one: up to twice as many while they are being told apart.
    pub products_max: usize,
    /// Queries of a day that are counted one by one, likewise.
    pub queries_max: usize,
    /// Combinations of placement, strategy, rules and arms in one day; further ones are counted together.
    pub attribution_rows_max: usize,
    /// Products in the newest lists that clicks and purchases can still be joined with; one takes about 25 bytes of memory.
    pub join_items_max: usize,
    /// Experiments kept; the one that began first goes first. At least as many as are defined at a time.
    pub experiments_max: usize,
    /// Shoppers of one experiment; further ones are left out, and their lists counted. One takes about 100 bytes of memory and disk.
    pub experiment_shoppers_max: usize,
    /// Words are shown when at least so many different shoppers searched for them. All whom nothing may be known of (no ids, or no
    /// consent) count as one.
    pub query_shoppers_min: usize,
    /// Placements whose question is a photo.
    pub photo_placements: Vec<String>,
    /// Records of the event log applied in one piece.
    pub batch_records_max: usize,
    /// What was applied is made durable at least every so many records ...
    pub commit_records_max: u64,
    /// ... and every so many milliseconds. After a crash as much is read again.
    pub commit_interval_ms: u64,
    /// Readers see something new at most every so many milliseconds.
    pub publish_interval_ms: u64,
    /// Lists that the replay lab holds at once.
    pub lab_lists_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            utc_offset_minutes: 0,
            click_window_hours: 24,
            view_window_hours: 24,
            late_days_max: 30,
            days_max: 1_100,
            products_max: 2_000,
            queries_max: 2_000,
            attribution_rows_max: 1_000,
            join_items_max: 1_000_000,
            experiments_max: 32,
            experiment_shoppers_max: 200_000,
            query_shoppers_min: 3,
            photo_placements: vec!["photo_search".into()],
            batch_records_max: 1_024,
            commit_records_max: 50_000,
            commit_interval_ms: 15_000,
            publish_interval_ms: 250,
            lab_lists_max: 20_000,
        }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let ranges: [(&'static str, i128, std::ops::RangeInclusive<i128>); 17] = [
            ("utc_offset_minutes", self.utc_offset_minutes.into(), -840..=840),
            ("click_window_hours", self.click_window_hours.into(), 1..=24 * 90),
            ("view_window_hours", self.view_window_hours.into(), 1..=24 * 90),
            ("late_days_max", self.late_days_max.into(), 0..=366),
            ("days_max", self.days_max as i128, 8..=10_000),
            ("products_max", self.products_max as i128, 10..=20_000),
            ("queries_max", self.queries_max as i128, 10..=20_000),
            ("attribution_rows_max", self.attribution_rows_max as i128, 10..=10_000),
            ("join_items_max", self.join_items_max as i128, 1_000..=50_000_000),
            ("experiments_max", self.experiments_max as i128, EXPERIMENTS_MAX as i128..=64),
            ("experiment_shoppers_max", self.experiment_shoppers_max as i128, 100..=5_000_000),
            ("query_shoppers_min", self.query_shoppers_min as i128, 1..=QUERY_SHOPPERS_MAX as i128),
            ("batch_records_max", self.batch_records_max as i128, 1..=16_384),
            ("commit_records_max", self.commit_records_max.into(), 1..=200_000),
            ("commit_interval_ms", self.commit_interval_ms.into(), 0..=600_000),
            ("publish_interval_ms", self.publish_interval_ms.into(), 0..=60_000),
            ("lab_lists_max", self.lab_lists_max as i128, 100..=200_000),
        ];
        let wrong = ranges.into_iter().filter(|(_, value, range)| !range.contains(value));
        wrong.map(|(field, value, range)| (field, format!("{value} is not between {} and {}", range.start(), range.end()))).collect()
    }
}
