//! The fields of one JSON object, read by any of the names they go by; a mistake names its place.

use std::collections::HashSet;

use domain::event::{NAME_CHARS_MAX, QUERY_CHARS_MAX};
use domain::money::MONEY_SCALE;
use domain::{Currency, Money, ProductId};
use serde_json::{Map, Value};

use super::{Refusal, refusal};

/// Numbers below this are seconds, above it milliseconds: the year 5138 in one, 1973 in the other.
const SECONDS_MAX: f64 = 1e11;

/// One object.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    pointer: String,
    used: HashSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, pointer: impl Into<String>) -> Self {
        Self { map, pointer: pointer.into(), used: HashSet::new() }
    }

    /// Fields that nobody asked for.
    pub(super) fn unknown(&self) -> usize {
        self.map.keys().filter(|key| !self.used.contains(key.as_str())).count()
    }

    /// The first of the names that has a value, and where it stands.
    pub(super) fn get(&mut self, names: &[&'static str]) -> Option<(&'a Value, String)> {
        self.used.extend(names);
        let name = names.iter().find(|name| self.map.get(**name).is_some_and(|value| !value.is_null()))?;
        Some((&self.map[*name], format!("{}/{name}", self.pointer)))
    }

    /// A text; numbers are taken as they are written.
    pub(super) fn text(&mut self, names: &[&'static str], chars_max: usize) -> Result<Option<String>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(refusal(pointer, "invalid_value", "must be a text or a number")),
        };
        let chars = text.chars().count();
        if chars > chars_max {
            return Err(refusal(pointer, "too_long", format!("has {chars} characters, at most {chars_max} are taken")));
        }
        if text.chars().any(char::is_control) {
            return Err(refusal(pointer, "invalid_value", "must not contain control characters"));
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// An id or name.
    pub(super) fn name(&mut self, names: &[&'static str]) -> Result<Option<String>, Refusal> {
        self.text(names, NAME_CHARS_MAX)
    }

    /// What was searched for: cut, not refused.
    pub(super) fn query(&mut self, names: &[&'static str]) -> Option<String> {
        let text = self.get(names)?.0.as_str()?.split_whitespace().collect::<Vec<_>>().join(" ");
        let cut: String = text.chars().filter(|char| !char.is_control()).take(QUERY_CHARS_MAX).collect();
        (!cut.is_empty()).then_some(cut)
    }

    pub(super) fn flag(&mut self, names: &[&'static str]) -> Result<Option<bool>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| refusal(pointer, "invalid_value", "must be true or false"))
    }

    /// A whole number of at least `min`; `2.0` and `"2"` are 2.
    pub(super) fn count(&mut self, names: &[&'static str], min: u32) -> Result<Option<u32>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        let whole = number.filter(|number| number.fract() == 0.0 && (f64::from(min)..=f64::from(u32::MAX)).contains(number));
        whole
            .map(|number| Some(number as u32))
            .ok_or_else(|| refusal(pointer, "invalid_value", format!("must be a whole number from {min} on")))
    }

    pub(super) fn number(&mut self, names: &[&'static str]) -> Result<Option<f32>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        let finite = number.map(|number| number as f32).filter(|number| number.is_finite());
        finite.map(Some).ok_or_else(|| refusal(pointer, "invalid_value", "must be a number"))
    }

    /// A time: RFC 3339, or seconds or milliseconds since the Unix epoch. In milliseconds.
    pub(super) fn time(&mut self, names: &[&'static str]) -> Result<Option<i64>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let wrong = || refusal(pointer.as_str(), "invalid_time", "must be RFC 3339, or seconds or milliseconds since 1970");
        if let Some(text) = value.as_str()
            && text.parse::<f64>().is_err()
        {
            let time: jiff::Timestamp = text.trim().parse().map_err(|_| wrong())?;
            return Ok(Some(time.as_millisecond()));
        }
        let number =
            value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| (0.0..1e14).contains(number)).ok_or_else(wrong)?;
        Ok(Some(if number < SECONDS_MAX { (number * 1000.0) as i64 } else { number as i64 }))
    }

    pub(super) fn product(&mut self, names: &[&'static str]) -> Result<Option<ProductId>, Refusal> {
        let Some((_, pointer)) = self.get(names) else { return Ok(None) };
        let Some(text) = self.text(names, usize::MAX)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: domain::IdError| refusal(pointer, "invalid_id", error.to_string()))
    }

    /// An amount: a number or decimal text in `currency`, or `{"amount", "currency"}`. Without a currency there is none.
    pub(super) fn money(&mut self, names: &[&'static str], currency: Option<Currency>) -> Result<Option<Money>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let wrong = |detail: String| refusal(pointer.as_str(), "invalid_amount", detail);
        if value.is_object() {
            return serde_json::from_value(value.clone()).map(Some).map_err(|error| wrong(error.to_string()));
        }
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            // A binary fraction is written with the places that amounts have.
            Value::Number(number) if number.is_f64() => format!("{:.*}", MONEY_SCALE as usize, number.as_f64().unwrap_or_default()),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong("must be a number, a decimal text or an object with amount and currency".into())),
        };
        let Some(currency) = currency else { return Ok(None) };
        Money::parse(&text, currency).map(Some).map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn currency(&mut self, names: &[&'static str]) -> Result<Option<Currency>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let text = value.as_str().unwrap_or_default().trim().to_ascii_uppercase();
        text.parse().map(Some).map_err(|error: domain::MoneyError| refusal(pointer, "invalid_currency", error.to_string()))
    }

    /// An object inside.
    pub(super) fn object(&mut self, names: &[&'static str]) -> Result<Option<Fields<'a>>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| refusal(pointer.as_str(), "invalid_value", "must be a JSON object"))?;
        Ok(Some(Fields::new(map, pointer)))
    }

    /// A list of objects, or of ids alone.
    pub(super) fn list(&mut self, names: &[&'static str], items_max: usize) -> Result<Vec<(&'a Value, String)>, Refusal> {
        let Some((value, pointer)) = self.get(names) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| refusal(pointer.as_str(), "invalid_value", "must be a list"))?;
        if list.len() > items_max {
            return Err(refusal(pointer, "too_many", format!("has {} products, at most {items_max} are taken in one event", list.len())));
        }
        Ok(list.iter().enumerate().map(|(index, value)| (value, format!("{pointer}/{index}"))).collect())
    }
}
