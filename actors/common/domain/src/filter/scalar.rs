//! Numbers and times as texts.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::{Bound, Scalar};

/// Which end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    From,
    To,
}

/// A plain decimal number with an optional exponent; finite.
pub fn parse_number(text: &str) -> Option<f64> {
    // Rust reads `inf` and `nan` too, which are no numbers to compare with.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|number| is_plain && number.is_finite())
}

/// A time, as milliseconds since the Unix epoch, and whether the text is a day rather than an instant. RFC 3339; without an
/// offset UTC is meant.
pub fn parse_time(text: &str) -> Option<(i64, bool)> {
    // The shortest is `2024-01-31`; other forms that the parser would take (`20240131`) are numbers here.
    let has_dashes = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    if !has_dashes || !text.is_ascii() {
        return None;
    }
    if text.len() == 10 {
        let date: Date = text.parse().ok()?;
        return Some((milliseconds(date.to_datetime(Default::default()))?, true));
    }
    let timestamp = text.parse::<Timestamp>().map(|timestamp| timestamp.as_millisecond());
    timestamp.ok().or_else(|| milliseconds(text.parse::<DateTime>().ok()?)).map(|time| (time, false))
}

/// The midnight (UTC) after one.
pub fn next_day(midnight: i64) -> i64 {
    midnight.saturating_add(86_400_000)
}

/// RFC 3339; what lies beyond the years -9999 to 9999 is shown as their end.
pub(super) fn show_time(milliseconds: i64) -> String {
    let end = if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(milliseconds).unwrap_or(end).to_string()
}

/// One end of a range. A day is the whole of it: `<= 2024-01-31` holds until midnight, `> 2024-01-31` from midnight on.
pub(super) fn bound(text: &str, end: End, is_inclusive: bool) -> Option<Bound> {
    if let Some(number) = parse_number(text) {
        return Some(Bound { value: Scalar::Number(number), is_inclusive });
    }
    let (time, is_day) = parse_time(text)?;
    let (time, is_inclusive) = match (is_day, end, is_inclusive) {
        (true, End::From, false) => (next_day(time), true),
        (true, End::To, true) => (next_day(time), false),
        _ => (time, is_inclusive),
    };
    Some(Bound { value: Scalar::Time(time), is_inclusive })
}

fn milliseconds(time: DateTime) -> Option<i64> {
    // The ends of the calendar lie outside the range of timestamps.
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_table() {
        for (text, expected) in
            [("10", Some(10.0)), ("-1.5", Some(-1.5)), ("1e3", Some(1000.0)), ("inf", None), ("nan", None), ("1e999", None), ("1,5", None)]
        {
            assert_eq!(parse_number(text), expected, "{text}");
        }
    }

    #[test]
    fn times_by_table() {
        for (text, expected) in [
            ("1970-01-02", Some((86_400_000, true))),
            ("1970-01-01T00:00:01Z", Some((1_000, false))),
            ("1970-01-01T01:00:00+01:00", Some((0, false))),
            ("1970-01-01T00:00:01.5", Some((1_500, false))),
            ("1970-01-01 00:00:01", Some((1_000, false))),
            ("2024-02-30", None),
            ("20240131", None),
            ("2024", None),
            ("ärmel-chen", None),
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }

    #[test]
    fn a_day_is_the_whole_of_it() {
        let time = |time, is_inclusive| Some(Bound { value: Scalar::Time(time), is_inclusive });
        assert_eq!(bound("1970-01-01", End::To, true), time(86_400_000, false));
        assert_eq!(bound("1970-01-01", End::To, false), time(0, false));
        assert_eq!(bound("1970-01-01", End::From, true), time(0, true));
        assert_eq!(bound("1970-01-01", End::From, false), time(86_400_000, true));
        assert_eq!(bound("1970-01-01T00:00:00Z", End::To, true), time(0, true));
        assert_eq!(bound("red", End::To, true), None);
    }
}
