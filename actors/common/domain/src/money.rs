//! Money: an exact decimal with an ISO 4217 currency.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Decimal places kept: enough for every currency and for unit prices.
pub const MONEY_SCALE: u32 = 4;
const UNITS: i64 = 10_i64.pow(MONEY_SCALE);

/// Why a text is no amount or no currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("`{0}` is not a decimal amount")]
    Amount(String),
    /// More than four decimal places, or too large.
    #[error("`{0}` does not fit an amount with {MONEY_SCALE} decimal places")]
    Range(String),
    /// Not three upper-case letters.
    #[error("`{0}` is not an ISO 4217 currency code")]
    Currency(String),
}

/// An ISO 4217 code such as `EUR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        // The constructor admits ASCII letters alone; bytes from a damaged record show as a placeholder.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Digits after the point in everyday use (ISO 4217 minor unit).
    pub fn minor_digits(self) -> u32 {
        match self.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV" | "XAF" | "XOF"
            | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| MoneyError::Currency(text.to_owned()))?;
        if bytes.iter().all(u8::is_ascii_uppercase) { Ok(Self(bytes)) } else { Err(MoneyError::Currency(text.to_owned())) }
    }
}

/// An amount of a currency. JSON: `{"amount": "19.90", "currency": "EUR"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Money {
    /// In 1/10000 of the currency's unit.
    pub amount_e4: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Parses a plain decimal (`-?digits[.digits]`) with a point; locale-dependent forms are the feed reader's business.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let error = || MoneyError::Amount(amount.to_owned());
        let range = || MoneyError::Range(amount.to_owned());
        let (negative, digits) = amount.strip_prefix('-').map_or((false, amount), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(error());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > MONEY_SCALE as usize {
            return Err(range());
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| range())? };
        let fraction: i64 = format!("{fraction:0<4}").parse().map_err(|_| error())?;
        let amount_e4 = whole.checked_mul(UNITS).and_then(|units| units.checked_add(fraction)).ok_or_else(range)?;
        Ok(Self { amount_e4: if negative { -amount_e4 } else { amount_e4 }, currency })
    }

    /// The amount as a decimal with at least the currency's own number of places, such as `19.90`.
    pub fn amount(&self) -> String {
        let sign = if self.amount_e4 < 0 { "-" } else { "" };
        let absolute = self.amount_e4.unsigned_abs();
        let fraction = format!("{:04}", absolute % UNITS as u64);
        let kept = fraction.trim_end_matches('0').len().max(self.currency.minor_digits() as usize);
        let point = if kept == 0 { "" } else { "." };
        format!("{sign}{}{point}{}", absolute / UNITS as u64, &fraction[..kept])
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount(), self.currency.as_str())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyJson {
    amount: String,
    currency: String,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MoneyJson { amount: self.amount(), currency: self.currency.as_str().to_owned() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = MoneyJson::deserialize(deserializer)?;
        let currency = json.currency.parse().map_err(de::Error::custom)?;
        Money::parse(&json.amount, currency).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eur() -> Currency {
        "EUR".parse().expect("a currency")
    }

    #[test]
    fn amounts_by_table() {
        for (text, shown) in
            [("19.9", "19.90"), ("0", "0.00"), (".5", "0.50"), ("-3.1250", "-3.125"), ("1200", "1200.00"), ("7.00000", "7.00")]
        {
            assert_eq!(Money::parse(text, eur()).expect(text).amount(), shown, "{text}");
        }
        for text in ["", ".", "-", "1,5", "1 000", "1e3", "+1", "1.23456", "99999999999999999999", "--1"] {
            assert!(Money::parse(text, eur()).is_err(), "{text}");
        }
        assert_eq!(Money::parse("1280", "JPY".parse().expect("a currency")).expect("yen").to_string(), "1280 JPY");
        assert!("eur".parse::<Currency>().is_err() && "EURO".parse::<Currency>().is_err());
    }

    proptest! {
        #[test]
        fn shown_amounts_parse_back(amount_e4 in -1_000_000_000_000_i64..1_000_000_000_000) {
            let money = Money { amount_e4, currency: eur() };
            prop_assert_eq!(Money::parse(&money.amount(), eur()), Ok(money));
        }
    }
}
