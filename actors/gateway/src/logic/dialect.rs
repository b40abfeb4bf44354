//! Events as they are sent, turned into the common record: the shape of the body, which dialect each event speaks, and what is wrong
//! with the ones that cannot be taken. A new dialect is a file beside `native` and `segment` and one arm of [`one`].

mod fields;
mod native;
mod segment;
#[cfg(test)]
mod tests;

use domain::Event;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::fields::Fields;

/// The longest event kept as it was sent, in bytes.
pub(crate) const RAW_BYTES_MAX: usize = 16 * 1024;
/// How far a sender's clock may be ahead before its events are taken to have happened now, in milliseconds.
const AHEAD_MS_MAX: i64 = 10 * 60 * 1000;

/// What an event must fit in, and what it cannot know itself.
pub(crate) struct Terms<'a> {
    /// The wall clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// At most this many events in one body.
    pub events_max: usize,
    /// Makes an id for an event that has none.
    pub new_id: &'a mut dyn FnMut() -> String,
}

/// Why an event, or one of its fields, was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// The event's place in the body, from 0.
    pub index: usize,
    /// A JSON pointer into the event.
    pub pointer: String,
    /// Stable, snake_case.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// What a body came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What can be taken.
    pub events: Vec<Event>,
    /// What cannot.
    pub refused: Vec<Refusal>,
    /// Fields that no event has; they are kept in the raw event.
    pub unknown_fields: usize,
}

/// Why a body is no list of events at all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BodyError {
    /// Not JSON.
    Syntax(String),
    /// JSON, but neither an event nor a list of them.
    Shape,
    /// More events than are taken at once.
    TooMany(usize),
}

/// Reads a body: one event, a list, `{"events": [...]}`, Segment's `{"batch": [...]}`, or one event a line.
pub(crate) fn read(body: &[u8], is_ndjson: bool, mut terms: Terms<'_>) -> Result<Told, BodyError> {
    let texts = if is_ndjson { lines(body)? } else { list(body)? };
    if texts.len() > terms.events_max {
        return Err(BodyError::TooMany(texts.len()));
    }
    let mut told = Told { events: Vec::with_capacity(texts.len()), ..Told::default() };
    for (index, raw) in texts.into_iter().enumerate() {
        match one(raw, &mut terms) {
            Ok((event, unknown)) => {
                told.events.push(event);
                told.unknown_fields += unknown;
            }
            Err(refusal) => told.refused.push(Refusal { index, ..refusal }),
        }
    }
    Ok(told)
}

fn syntax(error: serde_json::Error) -> BodyError {
    BodyError::Syntax(error.to_string())
}

fn lines(body: &[u8]) -> Result<Vec<&str>, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| BodyError::Syntax(error.to_string()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).collect())
}

fn list(body: &[u8]) -> Result<Vec<&str>, BodyError> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(syntax)?;
    match whole.get().as_bytes().first() {
        Some(b'[') => many(whole),
        Some(b'{') => {
            let envelope: Envelope<'_> = serde_json::from_str(whole.get()).map_err(syntax)?;
            match envelope.events.or(envelope.batch) {
                Some(list) if list.get().starts_with('[') => many(list),
                Some(_) => Err(BodyError::Shape),
                None => Ok(vec![whole.get()]),
            }
        }
        _ => Err(BodyError::Shape),
    }
}

fn many(list: &RawValue) -> Result<Vec<&str>, BodyError> {
    let items: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(syntax)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(borrow)]
    batch: Option<&'a RawValue>,
}

/// Reads one event and counts its unknown fields.
fn one(raw: &str, terms: &mut Terms<'_>) -> Result<(Event, usize), Refusal> {
    if raw.len() > RAW_BYTES_MAX {
        return Err(refusal("", "too_large", format!("an event has at most {RAW_BYTES_MAX} bytes, this one has {}", raw.len())));
    }
    let value: Value = serde_json::from_str(raw).map_err(|error| refusal("", "invalid_syntax", error.to_string()))?;
    let Value::Object(map) = value else { return Err(refusal("", "invalid_value", "an event is a JSON object")) };
    let (mut event, unknown) = if is_segment(&map) { segment::read(&map, terms)? } else { native::read(&map, terms)? };
    if event.at_ms > terms.now_ms + AHEAD_MS_MAX {
        event.at_ms = terms.now_ms;
    }
    raw.clone_into(&mut event.raw);
    Ok((event, unknown))
}

/// Segment's calls have a type of their own, and a `messageId` or camel-case ids.
fn is_segment(map: &Map<String, Value>) -> bool {
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_call = matches!(kind, "track" | "page" | "screen" | "identify" | "alias" | "group");
    is_call && ["messageId", "anonymousId", "userId", "properties", "traits"].iter().any(|name| map.contains_key(*name))
}

fn refusal(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal { index: 0, pointer: pointer.into(), code, detail: detail.into() }
}

/// User agents that are no shoppers: their own words for themselves, as the large crawlers and common tools use them.
fn is_robot(user_agent: &str) -> bool {
    const WORDS: [&str; 16] = [
        "bot",
        "crawl",
        "spider",
        "slurp",
        "headless",
        "phantomjs",
        "selenium",
        "puppeteer",
        "playwright",
        "python-requests",
        "curl/",
        "wget/",
        "scrapy",
        "lighthouse",
        "facebookexternalhit",
        "go-http-client",
    ];
    let lower = user_agent.to_ascii_lowercase();
    // "Cubot" is a maker of telephones.
    WORDS.iter().any(|word| lower.contains(word)) && !lower.contains("cubot")
}
