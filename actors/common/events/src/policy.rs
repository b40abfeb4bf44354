//! When records are sealed.

use crate::Config;

/// What is not sealed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsealed {
    /// Records.
    pub(crate) records: u64,
    /// Their bytes in the journal, about.
    pub(crate) bytes: u64,
    /// When the oldest was written, in milliseconds since the Unix epoch.
    pub(crate) oldest_ms: i64,
}

/// Whether it is time: enough records, a whole segment of them, or an old one among them.
pub(crate) fn is_due(unsealed: Unsealed, config: &Config, now_ms: i64) -> bool {
    let age_ms_max = i64::try_from(config.seal_minutes.saturating_mul(60_000)).unwrap_or(i64::MAX);
    unsealed.records > 0
        && (unsealed.records >= config.seal_records
            || unsealed.bytes >= config.segment_mib << 20
            || now_ms.saturating_sub(unsealed.oldest_ms) >= age_ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_by_table() {
        let config = Config { seal_records: 100, segment_mib: 1, seal_minutes: 10, ..Config::default() };
        for (records, bytes, oldest_ms, now_ms, expected) in [
            (0, 2 << 20, 0, i64::MAX, false),
            (99, 1000, 0, 599_999, false),
            (100, 1000, 0, 0, true),
            (1, 1 << 20, 0, 0, true),
            (1, 1000, 0, 600_000, true),
            (1, 1000, i64::MAX, 0, false),
        ] {
            let unsealed = Unsealed { records, bytes, oldest_ms };
            assert_eq!(is_due(unsealed, &config, now_ms), expected, "{unsealed:?} at {now_ms}");
        }
    }
}
