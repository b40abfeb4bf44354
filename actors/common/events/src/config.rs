//! The event log's settings.

use serde::{Deserialize, Serialize};

/// The event log's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many of the newest event ids are remembered to tell repetitions; one takes about 50 bytes. After a start those among as many
    /// of the newest records, served lists counted too.
    pub ids_max: usize,
    /// A segment is closed when it is larger than this, in MiB.
    pub segment_mib: u64,
    /// The newest records that are kept decoded for followers.
    pub ring_records_max: usize,
    /// Their bytes as stored, in MiB; decoded they take about twice that.
    pub ring_mib_max: usize,
    /// Records are sealed into Parquet files when there are this many.
    pub seal_records: u64,
    /// ... or when the oldest that is not sealed is older than this, in minutes.
    pub seal_minutes: u64,
    /// Where the Parquet files lie: empty for the data folder, else `s3://bucket/prefix`. Keys and region come from the environment
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`).
    pub warehouse_url: String,
    /// The address of an S3-compatible store, such as `https://minio.example:9000`; empty for Amazon's.
    pub warehouse_endpoint: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ids_max: 1_000_000,
            segment_mib: 64,
            ring_records_max: 65_536,
            ring_mib_max: 32,
            seal_records: 250_000,
            seal_minutes: 60,
            warehouse_url: String::new(),
            warehouse_endpoint: String::new(),
        }
    }
}

impl Config {
    /// What is wrong with it: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let ranges: [(&'static str, u64, std::ops::RangeInclusive<u64>); 6] = [
            ("ids_max", self.ids_max as u64, 1_000..=100_000_000),
            ("segment_mib", self.segment_mib, 1..=1024),
            ("ring_records_max", self.ring_records_max as u64, 1..=10_000_000),
            ("ring_mib_max", self.ring_mib_max as u64, 1..=4096),
            ("seal_records", self.seal_records, 1..=100_000_000),
            ("seal_minutes", self.seal_minutes, 1..=525_600),
        ];
        let outside = |(name, value, range): (_, u64, std::ops::RangeInclusive<u64>)| {
            (!range.contains(&value)).then(|| (name, format!("{value} is not between {} and {}", range.start(), range.end())))
        };
        let mut problems: Vec<_> = ranges.into_iter().filter_map(outside).collect();
        let bucket = self.warehouse_url.strip_prefix("s3://").map(|rest| rest.split('/').next().unwrap_or_default());
        if !self.warehouse_url.is_empty() && bucket.is_none_or(str::is_empty) {
            problems.push(("warehouse_url", format!("{:?} is neither empty nor `s3://bucket/prefix`", self.warehouse_url)));
        }
        let endpoint = &self.warehouse_endpoint;
        if !endpoint.is_empty() && !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            problems.push(("warehouse_endpoint", format!("{endpoint:?} is neither empty nor an HTTP address")));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_mistakes_are_named() {
        assert!(Config::default().problems().is_empty());
        let bad = Config { seal_minutes: 0, warehouse_url: "s3:///prefix".into(), warehouse_endpoint: "minio".into(), ..Config::default() };
        let names: Vec<_> = bad.problems().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["seal_minutes", "warehouse_url", "warehouse_endpoint"]);
        assert!(Config { warehouse_url: "s3://bucket".into(), ..Config::default() }.problems().is_empty());
    }
}
