//! Prices: an amount in any shop's spelling, with its currency before, behind or given by default.

use domain::{Currency, Money};

/// Decimal places that are kept; more are rounded.
const PLACES_MAX: usize = 4;
/// The longest price text.
const PRICE_BYTES_MAX: usize = 64;

/// Why a text is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// No amount in it.
    #[error("`{0}` is not a price")]
    Amount(String),
    /// An amount without currency, and no default.
    #[error("the price has no currency and no default currency is set")]
    NoCurrency,
    /// A currency that is not known.
    #[error("`{0}` is not a known currency")]
    Currency(String),
    /// Below zero.
    #[error("`{0}` is below zero")]
    Negative(String),
}

impl PriceError {
    /// Stable, snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Amount(_) | Self::Negative(_) => "bad_price",
            Self::NoCurrency => "missing_currency",
            Self::Currency(_) => "bad_currency",
        }
    }
}

/// Currency signs and everyday spellings, lower case. Several countries share `kr` and `$`: the default currency decides
/// between them when it is one of the listed.
const SIGNS: [(&str, &[&str]); 26] = [
    ("€", &["EUR"]),
    ("£", &["GBP"]),
    ("$", &["USD", "CAD", "AUD", "NZD", "MXN", "SGD", "HKD", "TWD", "CLP", "ARS", "COP"]),
    ("us$", &["USD"]),
    ("ca$", &["CAD"]),
    ("a$", &["AUD"]),
    ("r$", &["BRL"]),
    ("¥", &["JPY", "CNY"]),
    ("円", &["JPY"]),
    ("元", &["CNY"]),
    ("₩", &["KRW"]),
    ("₹", &["INR"]),
    ("rs", &["INR", "PKR", "LKR"]),
    ("rs.", &["INR", "PKR", "LKR"]),
    ("₽", &["RUB"]),
    ("₺", &["TRY"]),
    ("₴", &["UAH"]),
    ("₪", &["ILS"]),
    ("kč", &["CZK"]),
    ("kc", &["CZK"]),
    ("zł", &["PLN"]),
    ("ft", &["HUF"]),
    ("lei", &["RON"]),
    ("лв", &["BGN"]),
    ("kr", &["SEK", "NOK", "DKK", "ISK"]),
    ("kr.", &["DKK", "SEK", "NOK", "ISK"]),
];

/// Reads a price: `89.0 EUR`, `EUR 89`, `1.299,00 Kč`, `€1,299`, `599,-`, `1 299,90`, or a bare amount with a default.
pub fn parse_price(text: &str, default: Option<Currency>) -> Result<Money, PriceError> {
    let text = text.trim();
    let bad = || PriceError::Amount(super::text::cut(text, PRICE_BYTES_MAX).to_owned());
    if text.len() > PRICE_BYTES_MAX {
        return Err(bad());
    }
    let first = text.find(|char: char| char.is_ascii_digit()).ok_or_else(bad)?;
    let last = text.rfind(|char: char| char.is_ascii_digit()).ok_or_else(bad)?;
    let first = if text[..first].ends_with(['.', ',']) && !text[..first - 1].ends_with(char::is_alphabetic) { first - 1 } else { first };
    let (before, digits, behind) = (&text[..first], &text[first..=last], &text[last + 1..]);
    let is_negative = before.trim_end().ends_with(['-', '−']) || before.trim_start().starts_with(['-', '−']);
    let sign =
        |text: &str| text.trim_matches(|char: char| char.is_whitespace() || matches!(char, '-' | '−' | '–' | '+' | ',' | ':')).to_owned();
    let (before, behind) = (sign(before), sign(behind.trim_start_matches([',', '.', '-', '–', ' '])));
    let currency = match (before.is_empty(), behind.is_empty()) {
        (true, true) => default.ok_or(PriceError::NoCurrency)?,
        (false, true) => currency(&before, default)?,
        (true, false) => currency(&behind, default)?,
        (false, false) => return Err(bad()),
    };
    let money = Money::parse(&decimal(digits, currency.minor_digits()).ok_or_else(bad)?, currency).map_err(|_| bad())?;
    if is_negative && money.amount_e4 != 0 { Err(PriceError::Negative(text.to_owned())) } else { Ok(money) }
}

/// A currency by its code in any case, or by its sign.
pub fn currency(text: &str, default: Option<Currency>) -> Result<Currency, PriceError> {
    let lower = text.trim().to_lowercase();
    if let Some((_, codes)) = SIGNS.iter().find(|(sign, _)| *sign == lower) {
        let by_default = default.filter(|currency| codes.contains(&currency.as_str()));
        return by_default.map_or_else(|| codes[0].parse().map_err(|_| PriceError::Currency(lower)), Ok);
    }
    text.trim().to_ascii_uppercase().parse().map_err(|_| PriceError::Currency(super::text::cut(text, PRICE_BYTES_MAX).to_owned()))
}

/// Digits with separators as a plain decimal with a point. Of two kinds of separator the last is the decimal one; a kind that
/// occurs twice separates thousands; a single one in front of exactly three digits separates thousands unless the
/// currency counts in thousandths or nothing but a zero stands before it.
fn decimal(digits: &str, minor_digits: u32) -> Option<String> {
    let is_separator = |char: char| matches!(char, '.' | ',' | '\'' | '’' | '\u{a0}' | '\u{202f}' | ' ' | '\u{2009}');
    if !digits.chars().all(|char| char.is_ascii_digit() || is_separator(char)) {
        return None;
    }
    let point = digits.rfind(['.', ',']).filter(|&at| {
        let separator = &digits[at..=at];
        let (whole, fraction) = (&digits[..at], &digits[at + 1..]);
        let is_only_kind = !whole.contains(['.', ',']);
        let is_repeated = whole.contains(separator);
        let is_thousands = is_only_kind && fraction.len() == 3 && (1..=3).contains(&whole.trim().len()) && whole != "0" && minor_digits < 3;
        !is_repeated && !is_thousands && fraction.chars().all(|char| char.is_ascii_digit())
    });
    let (whole, fraction) = point.map_or((digits, ""), |at| (&digits[..at], &digits[at + 1..]));
    let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}.{}", if whole.is_empty() { "0" } else { &whole }, &round(&whole, fraction)?))
}

/// Cuts a fraction to the places that are kept; binary rounding noise such as `.29999999999` is rounded, never carried
/// into the whole part.
fn round(whole: &str, fraction: &str) -> Option<String> {
    if fraction.len() <= PLACES_MAX {
        return (whole.len() <= 14).then(|| fraction.to_owned());
    }
    let kept: u32 = fraction[..PLACES_MAX].parse().ok()?;
    let rounded = if fraction.as_bytes()[PLACES_MAX] >= b'5' { kept + 1 } else { kept };
    Some(format!("{:04}", rounded.min(9999)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> Currency {
        text.parse().expect("a currency")
    }

    #[test]
    fn prices_by_table() {
        let cases = [
            ("89.0 EUR", "89.00 EUR"),
            ("EUR 89", "89.00 EUR"),
            ("eur89", "89.00 EUR"),
            ("599 CZK", "599.00 CZK"),
            ("1.299,00 Kc", "1299.00 CZK"),
            ("1 299,90 Kč", "1299.90 CZK"),
            ("599,- Kč", "599.00 CZK"),
            ("599,-Kč", "599.00 CZK"),
            ("€1,299", "1299.00 EUR"),
            ("1.299 EUR", "1299.00 EUR"),
            ("0.299 EUR", "0.299 EUR"),
            ("1.299 KWD", "1.299 KWD"),
            ("£ 1,299.50", "1299.50 GBP"),
            ("$.50", "0.50 USD"),
            ("1'299.95 CHF", "1299.95 CHF"),
            ("1,23,456.78 INR", "123456.78 INR"),
            ("Rs. 999", "999.00 INR"),
            ("¥1280", "1280 JPY"),
            ("12.345.678 IDR", "12345678.00 IDR"),
            ("16.510000 EUR", "16.51 EUR"),
            ("19.990000000002 EUR", "19.99 EUR"),
            ("34.0000 EUR", "34.00 EUR"),
            ("49.95", "49.95 SEK"),
            ("49,95 kr", "49.95 SEK"),
            ("0", "0.00 SEK"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_price(text, Some(code("SEK"))).map(|money| money.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "free", "EUR", "1 EUR or 2 EUR", "10-20 EUR", "EUR 5 USD", "99999999999999999 EUR", "1e5 EUR", "12 Quatloos"] {
            assert!(parse_price(text, Some(code("SEK"))).is_err(), "{text}");
        }
        assert_eq!(parse_price("5", None), Err(PriceError::NoCurrency));
        assert_eq!(parse_price("-5 EUR", None), Err(PriceError::Negative("-5 EUR".into())));
        assert_eq!(parse_price("$5", Some(code("CAD"))).map(|money| money.currency), Ok(code("CAD")));
        assert_eq!(parse_price("$5", Some(code("EUR"))).map(|money| money.currency), Ok(code("USD")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_is_a_price_or_an_error(text in "\\PC{0,70}") {
            let _ = parse_price(&text, Some(code("EUR")));
        }

        #[test]
        fn shown_prices_are_read_back(amount_e2 in 0_i64..1_000_000_000) {
            let money = Money { amount_e4: amount_e2 * 100, currency: code("EUR") };
            prop_assert_eq!(parse_price(&money.to_string(), None), Ok(money));
        }
    }
}
