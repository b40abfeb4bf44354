//! What Joker may take and how long it waits.

use domain::Currency;
use fetch::FetchConfig;
use serde::{Deserialize, Serialize};

use crate::logic::record::Limits;

/// The most products in one routing message; Gordon takes no more.
const BATCH_PRODUCTS_MAX: usize = protocol::queue::ROUTE_PRODUCTS_MAX;

/// Joker's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Feed runs that wait for the one under way; more are refused.
    pub runs_waiting_max: usize,
    /// Ended runs that are remembered, with their rejects.
    pub runs_kept_max: usize,
    /// Rejects kept of one run, and as many warnings; the rest is only counted.
    pub rejects_max: usize,
    /// Products routed at a time.
    pub batch_products_max: usize,
    /// Single products being written at a time; more are told to try again.
    pub puts_in_flight_max: usize,
    /// Bytes of one row, line or element of a feed; a larger one is refused alone.
    pub record_bytes_max: usize,
    /// Cells of one row; a wider one is refused alone.
    pub columns_max: usize,
    /// Bytes of a feed behind decompression.
    pub feed_bytes_max: u64,
    /// Bytes of the offending text kept with a reject.
    pub reject_raw_bytes_max: usize,
    /// Bytes of a description; longer ones are cut.
    pub description_bytes_max: usize,
    /// Bytes downloaded for a feed that is named by its URL.
    pub download_bytes_max: u64,
    /// Bounds of such a download: time, redirects, addresses of the own network.
    pub download: FetchConfig,
    /// How often a broken download is tried.
    pub download_attempts_max: u32,
    /// For amounts without a currency, where the request names none: an ISO 4217 code.
    pub default_currency: Option<String>,
    /// How long Gordon may take for one batch.
    pub route_timeout_ms: u64,
    /// First wait after a neighbour was not there; doubles up to `retry_delay_ms_max`.
    pub retry_delay_ms: u64,
    /// Longest wait between two tries.
    pub retry_delay_ms_max: u64,
    /// A run fails when its neighbour has not been there for this long.
    pub unavailable_ms_max: u64,
    /// How often a run is begun again at its first record, because Gordon forgot it.
    pub attempts_max: u32,
    /// Progress is published at most this often.
    pub progress_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            runs_waiting_max: 64,
            runs_kept_max: 100,
            rejects_max: 10_000,
            batch_products_max: BATCH_PRODUCTS_MAX,
            puts_in_flight_max: 64,
            record_bytes_max: limits.record_bytes_max,
            columns_max: limits.columns_max,
            feed_bytes_max: limits.feed_bytes_max,
            reject_raw_bytes_max: limits.raw_bytes_max,
            description_bytes_max: limits.description_bytes_max,
            download_bytes_max: 4 << 30,
            download: FetchConfig { total_timeout_ms: 3_600_000, ..FetchConfig::default() },
            download_attempts_max: 3,
            default_currency: None,
            route_timeout_ms: 60_000,
            retry_delay_ms: 50,
            retry_delay_ms_max: 5_000,
            unavailable_ms_max: 600_000,
            attempts_max: 50,
            progress_interval_ms: 100,
        }
    }
}

impl Config {
    /// Fields that make no sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let positive = [
            ("runs_waiting_max", self.runs_waiting_max as u64),
            ("runs_kept_max", self.runs_kept_max as u64),
            ("batch_products_max", self.batch_products_max as u64),
            ("puts_in_flight_max", self.puts_in_flight_max as u64),
            ("columns_max", self.columns_max as u64),
            ("feed_bytes_max", self.feed_bytes_max),
            ("download_bytes_max", self.download_bytes_max),
            ("download_attempts_max", u64::from(self.download_attempts_max)),
            ("route_timeout_ms", self.route_timeout_ms),
            ("retry_delay_ms", self.retry_delay_ms),
            ("attempts_max", u64::from(self.attempts_max)),
        ];
        problems.extend(positive.into_iter().filter(|(_, value)| *value == 0).map(|(field, _)| (field, "must be at least 1".to_owned())));
        let bounded = [
            ("batch_products_max", self.batch_products_max, BATCH_PRODUCTS_MAX),
            ("runs_waiting_max", self.runs_waiting_max, 10_000),
            ("runs_kept_max", self.runs_kept_max, 10_000),
            ("record_bytes_max", self.record_bytes_max, 64 << 20),
            ("columns_max", self.columns_max, 1 << 20),
            ("reject_raw_bytes_max", self.reject_raw_bytes_max, 8 << 10),
            ("description_bytes_max", self.description_bytes_max, 24 << 10),
        ];
        problems.extend(
            bounded.into_iter().filter(|(_, value, max)| value > max).map(|(field, _, max)| (field, format!("must be at most {max}"))),
        );
        if self.record_bytes_max < 1024 {
            problems.push(("record_bytes_max", "must be at least 1024".to_owned()));
        }
        if self.retry_delay_ms_max < self.retry_delay_ms {
            problems.push(("retry_delay_ms_max", "must not be less than retry_delay_ms".to_owned()));
        }
        if self.default_currency.as_ref().is_some_and(|code| code.parse::<Currency>().is_err()) {
            problems.push(("default_currency", "must be an ISO 4217 code such as EUR".to_owned()));
        }
        problems.extend(self.download.problems().into_iter().map(|(field, problem)| ("download", format!("{field}: {problem}"))));
        problems
    }

    /// The bounds of reading a feed.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            feed_bytes_max: self.feed_bytes_max,
            record_bytes_max: self.record_bytes_max,
            columns_max: self.columns_max,
            raw_bytes_max: self.reject_raw_bytes_max,
            description_bytes_max: self.description_bytes_max,
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_no_problems_and_others_are_named() {
        assert_eq!(Config::default().problems(), []);
        let config = Config { batch_products_max: 0, default_currency: Some("euro".into()), retry_delay_ms_max: 1, ..Config::default() };
        let fields: Vec<&str> = config.problems().iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["batch_products_max", "retry_delay_ms_max", "default_currency"]);
    }
}
