//! Errors as callers see them: RFC 9457 problems with a stable code. The one place where the house's errors become HTTP;
//! what is internal (paths, storage errors) is logged here and not told.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kit::{CallError, RequestId};
use protocol::catalog::CatalogError;
use protocol::ingest::IngestError;
use protocol::queue::QueueError;
use protocol::releases::Refusal;
use protocol::search::SearchError;
use protocol::vision::VisionError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::logic::nearest::{nearest, unknown_field};

/// What a caller does about a part that is down or busy: come back after this many seconds.
const RETRY_AFTER_S: u64 = 1;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// JSON pointer to the field, or the name of the query parameter behind `?`.
    pub pointer: String,
    /// Stable, snake_case.
    pub code: Cow<'static, str>,
    /// For people.
    pub detail: String,
}

/// An error on its way to the caller. As a response it travels as an extension; the edge renders it with the request's id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after_s: Option<u64>,
}

/// The body of every error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Names the kind of problem: `/problems/` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// Stable, snake_case: programs decide by this.
    code: &'a str,
    /// Names the request in the logs.
    request_id: &'a str,
    /// What is wrong field by field.
    errors: &'a [FieldError],
}

pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// 400: the request cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: the request can be read and makes no sense, because of one field.
    pub(crate) fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = FieldError { pointer: pointer.into(), code: code.into(), detail: detail.clone() };
        Self { errors: vec![error], ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail) }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    pub(crate) fn too_large(bytes_max: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("the body is larger than {bytes_max} bytes"))
    }

    pub(crate) fn unsupported_media(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// 503: come back soon.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// 500: the cause goes to the log, not to the caller.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong inside; the log has the details under this request id",
        )
    }

    /// What a deserializer says about a body or query: 400 for syntax and unknown fields, 422 for values that do not fit; `pointer`
    /// leads to the value, of an unknown field to the object that holds it.
    pub(crate) fn deserialize(message: &str, is_syntax: bool, pointer: &str) -> Self {
        if let Some((name, known)) = unknown_field(message) {
            let hint = nearest(name, known.iter().copied())
                .map_or_else(|| format!("known are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
            let parent = pointer.strip_suffix(&format!("/{name}")).unwrap_or(pointer);
            let error = FieldError { pointer: format!("{parent}/{name}"), code: "unknown_field".into(), detail: hint.clone() };
            return Self { errors: vec![error], ..Self::bad_request("unknown_field", format!("unknown field `{name}`: {hint}")) };
        }
        if is_syntax { Self::bad_request("invalid_syntax", message) } else { Self::field(pointer, "invalid_value", message) }
    }

    /// The same mistake within something larger.
    pub(crate) fn under(mut self, pointer: &str) -> Self {
        self.errors.iter_mut().for_each(|error| error.pointer.insert_str(0, pointer));
        self
    }

    /// The same mistake where the fields came as query parameters: `?limit` in place of `/limit`.
    pub(crate) fn of_query(mut self) -> Self {
        for error in &mut self.errors {
            if let Some(name) = error.pointer.strip_prefix('/') {
                error.pointer = format!("?{}", if name == "text" { "q" } else { name });
            }
        }
        self
    }

    /// For an error response that something else made (no such route, wrong method).
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this address does not take this method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "this address does not take bodies of this type"),
            _ if status.is_client_error() => ("bad_request", "the request cannot be read"),
            _ => ("internal", "something went wrong inside"),
        };
        Self::new(status, code, detail)
    }

    /// The response itself, with everything that the caller is told.
    pub(crate) fn render(&self, request_id: &RequestId, path: &str) -> Response {
        let body = ProblemBody {
            kind: format!("/problems/{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: path,
            code: &self.code,
            request_id: request_id.as_str(),
            errors: &self.errors,
        };
        let json = serde_json::to_vec(&body).expect("a problem holds strings and numbers alone");
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Overloaded { .. } => "overloaded",
            CallError::Unavailable { .. } => "unavailable",
            CallError::DeadlineExceeded { .. } => "deadline_exceeded",
        };
        Self::unavailable(code, error.to_string())
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match &error {
            CatalogError::TooMany(_) | CatalogError::TooLarge { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", error.to_string())
            }
            CatalogError::Storage(_) => storage(&error),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::TooManyRuns(_) => {
                Self { retry_after_s: Some(10), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_runs", error.to_string()) }
            }
            IngestError::UnknownRun(id) => Self::not_found(format!("task {id}")),
            IngestError::BadRequest { field, ref detail } => Self::field(format!("/{field}"), "invalid_value", detail.clone()),
            IngestError::Rejected(rejects) => {
                let pointer = |field: Option<String>| field.map_or_else(String::new, |field| format!("/{field}"));
                let errors = rejects.into_iter().map(|reject| FieldError {
                    pointer: pointer(reject.field),
                    code: reject.code.into(),
                    detail: reject.detail,
                });
                Self { errors: errors.collect(), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", "the product was refused") }
            }
            IngestError::Unavailable(detail) => Self::unavailable("unavailable", detail),
            IngestError::Storage(_) => storage(&error),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::Storage(_) => storage(&error),
            QueueError::Full { .. } | QueueError::Unavailable(_) => Self::unavailable("unavailable", error.to_string()),
            QueueError::UnknownRun(_) | QueueError::ShrunkenFeed { .. } | QueueError::TooMany(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", error.to_string())
            }
        }
    }
}

impl From<VisionError> for Problem {
    fn from(error: VisionError) -> Self {
        match error {
            VisionError::NoModel(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_model", error.to_string()),
            VisionError::BadPicture { code, detail } => Self::field("/image", code, detail),
            VisionError::Busy(detail) => Self::unavailable("overloaded", detail),
            VisionError::TooMany(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many", error.to_string()),
            VisionError::Engine(_) => Self::internal(error),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal { code, detail }: Refusal) -> Self {
        match code {
            "unknown_release" => Self::new(StatusCode::NOT_FOUND, code, detail),
            "invalid_name" | "too_long" | "no_models" | "invalid_share" => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail),
            _ => Self::new(StatusCode::CONFLICT, code, detail),
        }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match &error {
            SearchError::Dimensions { .. } | SearchError::NotFinite => Self::field("/vector", "invalid_vector", error.to_string()),
            SearchError::Busy(_) => Self::unavailable("overloaded", error.to_string()),
            SearchError::TooMany(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many", error.to_string()),
            SearchError::Unanswerable { pointer, code, detail } => Self::field(pointer, code, detail),
            SearchError::Index(_) | SearchError::TwoModels(_) => Self::internal(error),
        }
    }
}

/// Storage errors name files: the caller is told only that it may try again.
pub(crate) fn storage(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "storage failed under a request");
    Problem::unavailable("storage", "storage failed; nothing was acknowledged")
}
