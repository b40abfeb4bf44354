//! The day of an instant, UTC.

const DAY_MS: i64 = 86_400_000;

// Not `protocol::reports::Date`, whose days are 32 bits: the log holds any time of 64 bits, and each must find its day.

/// The day of a time in milliseconds since the Unix epoch, as `2026-11-26`; years before 0 and after 9999 get a sign and more
/// digits. H. Hinnant, `civil_from_days` (chrono-Compatible Low-Level Date Algorithms).
pub(crate) fn day_of(at_ms: i64) -> String {
    let days = at_ms.div_euclid(DAY_MS) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_by_table() {
        for (at_ms, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_399_999, "2000-02-28"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_795_651_200_000, "2026-11-26"),
            (i64::MAX, "292278994-08-17"),
        ] {
            assert_eq!(day_of(at_ms), day, "{at_ms}");
        }
        assert!(day_of(i64::MIN).starts_with("-292275055-"));
    }
}
