//! What a text can be beside a text: a number with or without a unit, a time, a place. Everything doubtful stays a text.
//!
//! All of it is read from folded texts.
//!
//! Numbers: `12`, `-3.5`, `12,5`, `1 234,5 cm`, `1'234.50`, `1.234.567`, `15.6"`, `30 %`. A lone comma before exactly three
//! digits (`1,234`) may be one thing or the other and is no number, save after a lone zero; a lone point is a decimal point. A
//! whole number that begins with a zero (`0042`), one of more than 15 digits, and one followed by more than a unit are codes.
//! Units of length, mass, volume, time and data are converted into one another; others are compared with their like only.

pub(crate) use domain::filter::parse_time;

/// A number and its unit in lower case, empty for none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) number: f64,
    pub(crate) unit: String,
}

const UNIT_CHARS_MAX: usize = 12;
const DIGITS_MAX: usize = 15;

/// Units that convert: name, dimension, size in the dimension's base unit.
const UNITS: [(&str, u8, f64); 38] = [
    ("mm", 1, 0.001),
    ("cm", 1, 0.01),
    ("dm", 1, 0.1),
    ("m", 1, 1.0),
    ("km", 1, 1_000.0),
    ("in", 1, 0.0254),
    ("inch", 1, 0.0254),
    ("zoll", 1, 0.0254),
    ("\"", 1, 0.0254),
    ("′′", 1, 0.0254),
    ("ft", 1, 0.3048),
    ("yd", 1, 0.9144),
    ("mg", 2, 0.001),
    ("g", 2, 1.0),
    ("gr", 2, 1.0),
    ("kg", 2, 1_000.0),
    ("t", 2, 1_000_000.0),
    ("oz", 2, 28.349_523_125),
    ("lb", 2, 453.592_37),
    ("lbs", 2, 453.592_37),
    ("ml", 3, 0.001),
    ("cl", 3, 0.01),
    ("dl", 3, 0.1),
    ("l", 3, 1.0),
    ("ltr", 3, 1.0),
    ("s", 4, 1.0),
    ("sec", 4, 1.0),
    ("min", 4, 60.0),
    ("h", 4, 3_600.0),
    ("kb", 5, 1e3),
    ("mb", 5, 1e6),
    ("gb", 5, 1e9),
    ("tb", 5, 1e12),
    ("w", 6, 1.0),
    ("kw", 6, 1_000.0),
    ("v", 7, 1.0),
    ("mah", 8, 0.001),
    ("ah", 8, 1.0),
];

/// How many of the second unit one of the first is; `None` when they do not convert.
pub(crate) fn conversion(from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(1.0);
    }
    let find = |name: &str| UNITS.iter().find(|(unit, ..)| *unit == name);
    let ((_, from_dimension, from_size), (_, to_dimension, to_size)) = (find(from)?, find(to)?);
    (from_dimension == to_dimension).then(|| from_size / to_size)
}

/// See the module.
pub(crate) fn parse_measure(text: &str) -> Option<Measure> {
    let text = text.trim();
    let (is_negative, unsigned) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (groups, marks, rest) = digit_groups(unsigned);
    let decimals = decimals(&groups, &marks)?;
    let (whole, fraction) = groups.split_at(groups.len() - usize::from(decimals));
    let (whole, fraction) = (whole.concat(), fraction.concat());
    let is_code = whole.len() > 1 && whole.starts_with('0');
    if is_code || whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let unit = rest.trim().to_lowercase();
    let is_unit = |c: char| c.is_alphabetic() || matches!(c, '%' | '‰' | '°' | '"' | '\'' | '′' | '/' | '€' | '$' | '£');
    // `m2` and, folded, `m²`.
    let base = unit.strip_suffix(['2', '3']).filter(|base| base.ends_with(char::is_alphabetic)).unwrap_or(&unit);
    if unit.chars().count() > UNIT_CHARS_MAX || !base.chars().all(is_unit) || unit.starts_with('/') {
        return None;
    }
    let number: f64 = format!("{whole}.{fraction}0").parse().ok()?;
    Some(Measure { number: if is_negative { -number } else { number }, unit })
}

/// Runs of digits, the mark before each but the first, and what follows the last.
fn digit_groups(text: &str) -> (Vec<&str>, Vec<char>, &str) {
    let (mut groups, mut marks, mut rest) = (Vec::new(), Vec::new(), text);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        groups.push(&rest[..end]);
        rest = &rest[end..];
        let mut chars = rest.chars();
        match chars.next() {
            Some(mark) if is_mark(mark) && chars.next().is_some_and(|c| c.is_ascii_digit()) => {
                marks.push(if mark.is_whitespace() { ' ' } else { mark });
                rest = &rest[mark.len_utf8()..];
            }
            _ => return (groups, marks, rest),
        }
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',' | ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’')
}

/// Whether the last group is a fraction; `None` when the marks make no number.
fn decimals(groups: &[&str], marks: &[char]) -> Option<bool> {
    let Some((last, before)) = marks.split_last() else { return Some(false) };
    let is_grouped = |groups: &[&str]| groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    match before.first() {
        None => match last {
            '.' => Some(true),
            ',' if groups[1].len() == 3 => (groups[0] == "0").then_some(true),
            ',' => Some(true),
            _ => is_grouped(groups).then_some(false),
        },
        Some(first) if before.iter().any(|mark| mark != first) => None,
        Some(first) if first == last => is_grouped(groups).then_some(false),
        Some(_) => (matches!(last, '.' | ',') && is_grouped(&groups[..groups.len() - 1])).then_some(true),
    }
}

/// Degrees north and east of `48.1,11.5`; both with a decimal point, so that `12,5` stays a number. `geo:48,11` (RFC 5870) too.
pub(crate) fn parse_place(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let (coordinates, is_uri) = text.strip_prefix("geo:").map_or((text, false), |rest| (rest, true));
    let (latitude, longitude) = coordinates.split_once(',')?;
    let degrees = |text: &str, max: f64| {
        let text = text.trim();
        let is_plain = is_uri || text.contains('.');
        domain::filter::parse_number(text).filter(|degrees| is_plain && degrees.abs() <= max)
    };
    Some((degrees(latitude, 90.0)?, degrees(longitude, 180.0)?))
}

/// Metres between two places on a globe of the mean radius (haversine; at most 0.6 % off the ellipsoid).
pub(crate) fn distance_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    const RADIUS_M: f64 = 6_371_008.8;
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let angle = half(to.0 - from.0) + from.0.to_radians().cos() * to.0.to_radians().cos() * half(to.1 - from.1);
    2.0 * RADIUS_M * angle.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_by_table() {
        for (text, expected) in [
            ("12", Some((12.0, ""))),
            (" -3.5 ", Some((-3.5, ""))),
            ("12,5", Some((12.5, ""))),
            ("1 234,5 cm", Some((1234.5, "cm"))),
            ("1\u{a0}234", Some((1234.0, ""))),
            ("1'234.50", Some((1234.5, ""))),
            ("1,234.5", Some((1234.5, ""))),
            ("1.234,5", Some((1234.5, ""))),
            ("1.234.567", Some((1_234_567.0, ""))),
            ("1.234", Some((1.234, ""))),
            ("0,125 kg", Some((0.125, "kg"))),
            ("15.6\"", Some((15.6, "\""))),
            ("30 %", Some((30.0, "%"))),
            ("256GB", Some((256.0, "gb"))),
            ("12 m2", Some((12.0, "m2"))),
            ("90 km/h", Some((90.0, "km/h"))),
            ("0", Some((0.0, ""))),
            ("2024", Some((2024.0, ""))),
            ("1,234", None),
            ("0042", None),
            ("1234567890123456", None),
            ("32/34", None),
            ("2 x 100 g", None),
            ("100% Cotton", None),
            ("10 20", None),
            ("1.2.3", None),
            ("1,2.3,4", None),
            ("48.1,11.5", None),
            ("2024-01-31", None),
            ("M", None),
            ("", None),
            ("-", None),
            ("cm 5", None),
            ("5 centimetres wide", None),
        ] {
            let found = parse_measure(text);
            assert_eq!(found.as_ref().map(|measure| (measure.number, measure.unit.as_str())), expected, "{text:?}");
        }
    }

    #[test]
    fn places_by_table() {
        for (text, expected) in [
            ("48.1,11.5", Some((48.1, 11.5))),
            ("-48.1, -11.5", Some((-48.1, -11.5))),
            ("geo:48,11", Some((48.0, 11.0))),
            ("12,5", None),
            ("95.0,11.0", None),
            ("48.1", None),
            ("a.b,c.d", None),
        ] {
            assert_eq!(parse_place(text), expected, "{text}");
        }
        let metres = distance_m((48.137, 11.575), (52.52, 13.405));
        assert!((metres - 504_000.0).abs() < 2_000.0, "Munich to Berlin: {metres}");
        assert!(distance_m((0.0, 0.0), (0.0, 180.0)) > 20_000_000.0);
    }

    #[test]
    fn units_convert_within_their_dimension() {
        assert_eq!(conversion("kg", "g"), Some(1000.0));
        assert_eq!(conversion("xyz", "xyz"), Some(1.0));
        assert_eq!(conversion("kg", "cm"), None);
        assert_eq!(conversion("xyz", "cm"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_plain_decimals_are_exact(text in "[-0-9., 'a-z%\u{a0}]{0,14}", number in -99_999_999_i64..99_999_999) {
            let _ = (parse_measure(&text), parse_place(&text));
            let decimal = number as f64 / 100.0;
            prop_assert_eq!(parse_measure(&decimal.to_string()).map(|measure| measure.number), Some(decimal));
        }
    }
}
