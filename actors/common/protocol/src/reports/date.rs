//! A day of the calendar, as reports count it.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Serialize, Serializer};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// The years that a date may have: four digits.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;

/// Not a date of the form `2026-07-31`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date of the form 2026-07-31")]
pub struct DateError(pub String);

/// A day of the proleptic Gregorian calendar, in the reports' fixed offset from UTC. Text and JSON: `2026-07-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Date(i32);

impl Date {
    /// The day with this number; 1970-01-01 is 0.
    pub fn of_day(day: i32) -> Self {
        Self(day)
    }

    /// The day in which a time (milliseconds since the Unix epoch) lies, `offset_minutes` east of Greenwich.
    pub fn of_ms(at_ms: i64, offset_minutes: i32) -> Self {
        let day = at_ms.saturating_add(i64::from(offset_minutes) * 60_000).div_euclid(DAY_MS);
        Self(i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX }))
    }

    /// Days since 1970-01-01.
    pub fn day(self) -> i32 {
        self.0
    }

    /// So many days later; earlier for a negative number.
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Year, month and day: Howard Hinnant's `civil_from_days`.
    fn civil(self) -> (i64, i64, i64) {
        let shifted = i64::from(self.0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }

    /// Howard Hinnant's `days_from_civil`.
    fn of_civil(year: i64, month: i64, day: i64) -> Option<Self> {
        if !YEARS.contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let shifted_year = year - i64::from(month <= 2);
        let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let date = Self(i32::try_from(era * 146_097 + day_of_era - 719_468).ok()?);
        // The 31st of April is the first of May, and no date.
        (date.civil() == (year, month, day)).then_some(date)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let error = || DateError(text.chars().take(32).collect());
        let is_form = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        if !is_form {
            return Err(error());
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().map_err(|_| error());
        Self::of_civil(number(0..4)?, number(5..7)?, number(8..10)?).ok_or_else(error)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_by_table() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2024-02-29", 19_782),
            ("2026-11-26", 20_783),
            ("0001-01-01", -719_162),
        ] {
            let date: Date = text.parse().expect(text);
            assert_eq!((date.day(), date.to_string().as_str()), (day, text));
        }
        for text in [
            "",
            "2026-1-01",
            "2026-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-00-10",
            "0000-01-01",
            "2026-01-01T",
            "٢٠٢٦-٠١-٠١",
            "20é6-01-1",
        ] {
            assert_eq!(text.parse::<Date>(), Err(DateError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -80_000..80_000 {
            let date = Date::of_day(day);
            assert_eq!(date.to_string().parse(), Ok(date));
        }
    }

    #[test]
    fn a_time_lies_in_the_day_of_its_offset() {
        let before_midnight = 86_400_000 - 1;
        assert_eq!(Date::of_ms(before_midnight, 0).day(), 0);
        assert_eq!(Date::of_ms(before_midnight, 60).day(), 1);
        assert_eq!(Date::of_ms(0, -1).day(), -1);
        assert_eq!((Date::of_ms(i64::MAX, 0).day(), Date::of_ms(i64::MIN, 0).day()), (i32::MAX, i32::MIN));
        assert_eq!(Date::of_day(i32::MAX).plus(1).day(), i32::MAX);
    }
}
