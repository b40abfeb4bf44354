//! The JSON form: `{"must": [..], "should": [..], "must_not": [..]}` whose members are such objects again, filters in the string
//! form, `true`, `false`, or conditions: `{"attribute": "brand", "in": ["A"]}`.

use serde_json::{Map, Value, json};

use super::error::FilterError;
use super::nearest::nearest_names;
use super::parse::parse_path;
use super::scalar::{self, End, show_time};
use super::{Bound, FILTER_DEPTH_MAX, Filter, FilterBound, RADIUS_M_MAX, Scalar};

const GROUP_KEYS: [&str; 3] = ["must", "should", "must_not"];
const LEAF_KEYS: [&str; 12] = ["attribute", "in", "not_in", "eq", "ne", "gt", "gte", "lt", "lte", "under", "exists", "near"];
const RANGE_KEYS: [(&str, End, bool); 4] =
    [("gt", End::From, false), ("gte", End::From, true), ("lt", End::To, false), ("lte", End::To, true)];

/// Where in the JSON, as a linked list on the stack: only a mistake makes a text of it.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    key: &'a str,
    index: usize,
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place { parent: None, key: "", index: usize::MAX };

    fn key(&'a self, key: &'a str) -> Place<'a> {
        Place { parent: Some(self), key, index: usize::MAX }
    }

    fn index(&'a self, index: usize) -> Place<'a> {
        Place { parent: Some(self), key: "", index }
    }

    /// RFC 6901.
    fn pointer(&self) -> String {
        let Some(parent) = self.parent else { return String::new() };
        let before = parent.pointer();
        if self.index == usize::MAX {
            format!("{before}/{}", self.key.replace('~', "~0").replace('/', "~1"))
        } else {
            format!("{before}/{}", self.index)
        }
    }

    fn error(&self, detail: impl Into<String>) -> FilterError {
        FilterError::Json { pointer: self.pointer(), detail: detail.into() }
    }
}

/// Reads the JSON form, or the string form in a JSON string.
pub(super) fn from_json(value: &Value) -> Result<Filter, FilterError> {
    filter(value, Place::ROOT, 1)
}

fn filter(value: &Value, place: Place<'_>, depth: usize) -> Result<Filter, FilterError> {
    if depth > FILTER_DEPTH_MAX {
        return Err(FilterError::Bound(FilterBound::Depth));
    }
    match value {
        Value::String(text) => Filter::parse(text).map_err(|error| match error {
            error @ FilterError::Syntax { .. } if place.parent.is_some() => place.error(error.to_string()),
            error => error,
        }),
        Value::Bool(true) => Ok(Filter::All(Vec::new())),
        Value::Bool(false) => Ok(Filter::Any(Vec::new())),
        Value::Object(object) if object.contains_key("attribute") => leaf(object, place),
        Value::Object(object) => group(object, place, depth),
        other => Err(place.error(format!("{} is no filter, expected an object or a text", kind(other)))),
    }
}

fn group(object: &Map<String, Value>, place: Place<'_>, depth: usize) -> Result<Filter, FilterError> {
    if let Some(key) = object.keys().find(|key| !GROUP_KEYS.contains(&key.as_str())) {
        let known = if LEAF_KEYS.contains(&key.as_str()) { "; a condition needs `attribute`".to_owned() } else { meant(key, &GROUP_KEYS) };
        return Err(place.key(key).error(format!("unknown member `{key}`{known}")));
    }
    let members = |key: &'static str| -> Result<Vec<Filter>, FilterError> {
        let place = place.key(key);
        match object.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(index, item)| filter(item, place.index(index), depth + 1)).collect()
            }
            Some(other) => Err(place.error(format!("{} is no list", kind(other)))),
        }
    };
    let (mut all, mut any, none) = (members("must")?, members("should")?, members("must_not")?);
    if object.contains_key("should") && any.is_empty() {
        return Err(place.key("should").error("the list is empty: leave it out, or write `false` for no product"));
    }
    let has_must = object.contains_key("must");
    if any.len() == 1 {
        all.append(&mut any);
    } else if !any.is_empty() {
        all.push(Filter::Any(any));
    }
    all.extend(none.into_iter().map(|filter| Filter::Not(Box::new(filter))));
    // A lone member needs no list around it; an empty `must` means every product.
    let is_lone = all.len() == 1 && (!has_must || object.len() == 1);
    Ok(if is_lone { all.remove(0) } else { Filter::All(all) })
}

fn leaf(object: &Map<String, Value>, place: Place<'_>) -> Result<Filter, FilterError> {
    let attribute = match object.get("attribute") {
        Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
        _ => return Err(place.key("attribute").error("expected the name of an attribute")),
    };
    if let Some(key) = object.keys().find(|key| !LEAF_KEYS.contains(&key.as_str())) {
        return Err(place.key(key).error(format!("unknown member `{key}`{}", meant(key, &LEAF_KEYS))));
    }
    let conditions: Vec<&String> = object.keys().filter(|key| *key != "attribute").collect();
    if conditions.iter().any(|key| RANGE_KEYS.iter().any(|(range, ..)| range == key)) {
        return range(object, attribute, place);
    }
    let [key] = conditions.as_slice() else {
        return Err(place
            .error("expected `attribute` and one of `in`, `not_in`, `eq`, `ne`, `under`, `exists`, `near`, or `gt`/`gte` and `lt`/`lte`"));
    };
    let value = &object[key.as_str()];
    let place = place.key(key);
    match key.as_str() {
        "in" => Ok(Filter::In { attribute, values: texts(value, place)? }),
        "not_in" => Ok(Filter::Not(Box::new(Filter::In { attribute, values: texts(value, place)? }))),
        "eq" => Ok(Filter::In { attribute, values: vec![text(value, place)?] }),
        "ne" => Ok(Filter::Not(Box::new(Filter::In { attribute, values: vec![text(value, place)?] }))),
        "under" => under(value, attribute, place),
        "exists" => match value {
            Value::Bool(true) => Ok(Filter::Exists { attribute }),
            Value::Bool(false) => Ok(Filter::Not(Box::new(Filter::Exists { attribute }))),
            other => Err(place.error(format!("{} is not `true` or `false`", kind(other)))),
        },
        _ => near(value, attribute, place),
    }
}

fn range(object: &Map<String, Value>, attribute: String, place: Place<'_>) -> Result<Filter, FilterError> {
    let (mut from, mut to) = (None, None);
    let mut seen: Vec<(&str, End)> = Vec::new();
    for (key, value) in object.iter().filter(|(key, _)| *key != "attribute") {
        let place = place.key(key);
        let Some((key, end, is_inclusive)) = RANGE_KEYS.iter().copied().find(|(range, ..)| range == key) else {
            return Err(place.error(format!("`{key}` cannot stand beside a range: make it a condition of its own")));
        };
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == end) {
            return Err(place.error(format!("`{key}` and `{other}` bound the same end")));
        }
        seen.push((key, end));
        let bound = match value {
            Value::Null => None,
            Value::Number(number) => {
                let number = number.as_f64().filter(|number| number.is_finite());
                let value = Scalar::Number(number.ok_or_else(|| place.error("the number is too large"))?);
                Some(Bound { value, is_inclusive })
            }
            Value::String(text) => {
                let bound = scalar::bound(text.trim(), end, is_inclusive);
                Some(bound.ok_or_else(|| place.error(format!("`{text}` is no number, date (2024-01-31) or time (RFC 3339)")))?)
            }
            other => return Err(place.error(format!("{} is no number, date or time", kind(other)))),
        };
        match end {
            End::From => from = bound,
            End::To => to = bound,
        }
    }
    Ok(Filter::Range { attribute, from, to })
}

fn under(value: &Value, attribute: String, place: Place<'_>) -> Result<Filter, FilterError> {
    let path = match value {
        Value::String(path) => parse_path(path),
        value => texts(value, place)?,
    };
    if path.iter().any(|step| step.trim().is_empty()) {
        return Err(place.error("a step of the path is blank"));
    }
    Ok(Filter::Under { attribute, path })
}

fn near(value: &Value, attribute: String, place: Place<'_>) -> Result<Filter, FilterError> {
    const KEYS: [&str; 3] = ["lat", "lon", "radius_m"];
    let Value::Object(object) = value else {
        return Err(place.error(format!("{} is no object with `lat`, `lon` and `radius_m`", kind(value))));
    };
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(place.key(key).error(format!("unknown member `{key}`{}", meant(key, &KEYS))));
    }
    let number = |key: &'static str, min: f64, max: f64| {
        let number = object.get(key).and_then(Value::as_f64).filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| place.key(key).error(format!("expected a number from {min} to {max}")))
    };
    let (latitude, longitude) = (number("lat", -90.0, 90.0)?, number("lon", -180.0, 180.0)?);
    Ok(Filter::Near { attribute, latitude, longitude, radius_m: number("radius_m", 0.0, RADIUS_M_MAX)? })
}

fn texts(value: &Value, place: Place<'_>) -> Result<Vec<String>, FilterError> {
    match value {
        Value::Array(items) if items.is_empty() => Err(place.error("the list is empty")),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| text(item, place.index(index))).collect(),
        other => Err(place.error(format!("{} is no list", kind(other)))),
    }
}

fn text(value: &Value, place: Place<'_>) -> Result<String, FilterError> {
    match value {
        Value::String(text) if text.trim().is_empty() => Err(place.error("the value is blank: `exists` asks for products without one")),
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(place.error(format!("{} is no value, expected a text, a number or a boolean", kind(other)))),
    }
}

fn meant(key: &str, known: &[&str]) -> String {
    match nearest_names(key, known.iter().copied(), 1).first() {
        Some(name) => format!(", did you mean `{name}`?"),
        None => format!(", expected one of {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The JSON form of a filter.
pub(super) fn to_json(filter: &Filter) -> Value {
    let list = |items: &[Filter]| Value::Array(items.iter().map(to_json).collect());
    match filter {
        Filter::All(items) if items.is_empty() => Value::Bool(true),
        Filter::Any(items) if items.is_empty() => Value::Bool(false),
        Filter::All(items) => json!({ "must": list(items) }),
        Filter::Any(items) => json!({ "should": list(items) }),
        Filter::Not(inner) => json!({ "must_not": [to_json(inner)] }),
        Filter::In { attribute, values } => json!({ "attribute": attribute, "in": values }),
        Filter::Under { attribute, path } => json!({ "attribute": attribute, "under": path }),
        Filter::Exists { attribute } => json!({ "attribute": attribute, "exists": true }),
        Filter::Near { attribute, latitude, longitude, radius_m } => {
            json!({ "attribute": attribute, "near": { "lat": latitude, "lon": longitude, "radius_m": radius_m } })
        }
        Filter::Range { attribute, from, to } => {
            let mut object = Map::from_iter([("attribute".to_owned(), json!(attribute))]);
            if let Some(from) = from {
                object.insert(if from.is_inclusive { "gte" } else { "gt" }.to_owned(), scalar_json(from.value));
            }
            if let Some(to) = to {
                object.insert(if to.is_inclusive { "lte" } else { "lt" }.to_owned(), scalar_json(to.value));
            }
            if object.len() == 1 {
                object.insert("gte".to_owned(), Value::Null);
            }
            Value::Object(object)
        }
    }
}

fn scalar_json(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Number(number) => json!(number),
        Scalar::Time(milliseconds) => json!(show_time(milliseconds)),
    }
}
