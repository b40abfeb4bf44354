//! Reading requests: JSON bodies, query parameters and raw bodies, every mistake answered as a problem.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use bytes::Bytes;
use domain::event::NAME_CHARS_MAX;
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::edge::BodyBytesMax;
use crate::problem::Problem;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media("this address takes application/json"));
        }
        let bytes = read_body(request).await?;
        parse_json(&bytes).map(Self)
    }
}

/// The query parameters.
pub(crate) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::deserialize(&rejection.body_text(), true, "").of_query()),
        }
    }
}

/// The media type without its parameters, in lower case; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let media = media_type(headers);
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// A name of a shopper, session or placement: within its bound, and printable.
pub(crate) fn name(text: String, pointer: &str) -> Result<String, Problem> {
    let chars = text.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::field(
            pointer,
            "invalid_value",
            format!("must have 1 to {NAME_CHARS_MAX} characters and no control characters"),
        ));
    }
    Ok(text)
}

/// Parses JSON, telling syntax from values that do not fit; a mistake names its place as a JSON pointer.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = located(serde_path_to_error::deserialize(&mut reader))?;
    reader.end().map_err(|error| Problem::deserialize(&error.to_string(), true, ""))?;
    Ok(value)
}

/// Takes a value apart that was parsed or put together before.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    located(serde_path_to_error::deserialize(value))
}

fn located<T>(read: Result<T, serde_path_to_error::Error<serde_json::Error>>) -> Result<T, Problem> {
    read.map_err(|error| {
        let pointer = pointer(error.path());
        let cause = error.into_inner();
        Problem::deserialize(&cause.to_string(), cause.is_syntax() || cause.is_eof(), &pointer)
    })
}

/// As RFC 6901 writes it.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(segment).collect()
}

/// The whole body, within the bound of the request's class.
pub(crate) async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let bytes_max = request.extensions().get::<BodyBytesMax>().map_or(0, |max| max.0);
    collect(request.into_body(), bytes_max).await
}

async fn collect(body: Body, bytes_max: u64) -> Result<Bytes, Problem> {
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| body_problem(&error, bytes_max))
}

/// The whole body, within a bound of the handler's own.
pub(crate) async fn read_body_within(body: Body, bytes_max: u64) -> Result<Bytes, Problem> {
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    collect(Body::new(http_body_util::Limited::new(body, limit)), bytes_max).await
}

/// Why a body broke off: its size, or the client.
pub(crate) fn body_problem(error: &(dyn std::error::Error + 'static), bytes_max: u64) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Problem::too_large(bytes_max);
        }
        cause = error.source();
    }
    Problem::bad_request("body_broken_off", "the body ended before it was complete")
}
