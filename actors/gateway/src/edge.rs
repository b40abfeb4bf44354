//! What every request passes on its way in and out. From the outside: request id, guard against foreign pages, metrics and the
//! log, rendering of errors, safety headers; then panics are caught; then, by class of request: shedding, deadline, body limit.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use kit::{Context, Priority, RequestId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::logic::guard::{self, Claims, Refusal};
use crate::problem::Problem;
use crate::routes::App;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// No inline script or style, nothing from elsewhere, no frames.
const SAFETY_HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// Kinds of requests that are bounded apart, so that one kind never starves another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Searches, reads, pages.
    Serving,
    /// Shopper events.
    Events,
    /// Single writes.
    Write,
    /// Uploads, batches, exports.
    Bulk,
    /// Progress streams.
    Stream,
    /// Health, metrics, the console.
    Operations,
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Events => "events",
            Self::Write => "write",
            Self::Bulk => "bulk",
            Self::Stream => "stream",
            Self::Operations => "operations",
        }
    }
}

/// One class's bounds, shared by its routes.
#[derive(Clone)]
pub(crate) struct Admission {
    class: Class,
    places: Arc<Semaphore>,
    timeout: Duration,
    body_bytes_max: u64,
    priority: Priority,
}

impl Admission {
    pub(crate) fn new(class: Class, config: &Config) -> Self {
        let (places, timeout_ms, body_bytes_max, priority) = match class {
            // A picture in JSON is base64, a third longer.
            Class::Serving => (
                config.serving_requests_max,
                config.request_timeout_ms,
                config.image_bytes_max / 3 * 4 + config.body_bytes_max,
                Priority::Serving,
            ),
            Class::Events => (config.event_requests_max, config.request_timeout_ms, config.events_bytes_max, Priority::Serving),
            Class::Write => (config.write_requests_max, config.request_timeout_ms, config.body_bytes_max, Priority::Serving),
            Class::Bulk => (config.bulk_requests_max, config.bulk_timeout_ms, config.upload_bytes_max, Priority::Bulk),
            Class::Stream => (config.stream_requests_max, config.request_timeout_ms, config.body_bytes_max, Priority::Serving),
            Class::Operations => (config.operations_requests_max, config.request_timeout_ms, config.body_bytes_max, Priority::Serving),
        };
        Self { class, places: Arc::new(Semaphore::new(places)), timeout: Duration::from_millis(timeout_ms), body_bytes_max, priority }
    }
}

/// The outermost layer.
pub(crate) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request.headers().get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()).and_then(RequestId::parse).unwrap_or_default();
    request.extensions_mut().insert(request_id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let verdict = guard::check(claims(&request), &app.config.host_names);
    let response = match verdict {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal).into_response(),
    };
    let mut response = render(response, &request_id, &path);
    let headers = response.headers_mut();
    for (name, value) in SAFETY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    measure(&app, &method, route, &response, started.elapsed(), &request_id);
    response
}

fn claims(request: &Request) -> Claims<'_> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    Claims {
        host: request.uri().authority().map(http::uri::Authority::as_str).or_else(|| text(header::HOST)),
        origin: text(header::ORIGIN),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
        is_write: !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
    }
}

fn refused(refusal: Refusal) -> Problem {
    let (code, detail) = match refusal {
        Refusal::Host => ("unknown_host", "this box does not answer under that host name; name it in gateway.host_names"),
        Refusal::CrossSite => ("cross_site", "another site's page may not write here"),
    };
    Problem::new(http::StatusCode::FORBIDDEN, code, detail)
}

/// Gives every error its body: problems that handlers answered with, and bare statuses of the router.
fn render(mut response: Response, request_id: &RequestId, path: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if (response.status().is_client_error() || response.status().is_server_error()) && !is_page(&response) => {
            Problem::of_status(response.status())
        }
        None => return response,
    };
    let mut rendered = problem.render(request_id, path);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow.clone());
    }
    rendered.extensions_mut().insert(problem);
    rendered
}

/// A page that says by itself what is wrong.
fn is_page(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"text/html"))
}

fn measure(app: &App, method: &Method, route: &str, response: &Response, took: Duration, request_id: &RequestId) {
    let status = response.status();
    // Made-up methods must not become labels.
    let method = match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    metrics::histogram!("gotham_http_request_seconds", "route" => route.to_owned(), "method" => method).record(took.as_secs_f64());
    metrics::counter!("gotham_http_requests_total", "route" => route.to_owned(), "method" => method, "status" => status.as_u16().to_string()).increment(1);
    let took_ms = took.as_millis() as u64;
    let code = response.extensions().get::<Problem>().map(|problem| problem.code.to_string());
    if status.is_server_error() {
        tracing::warn!(%request_id, method, route, status = status.as_u16(), took_ms, code, "request failed");
    } else if took_ms >= app.config.slow_request_ms {
        tracing::info!(%request_id, method, route, status = status.as_u16(), took_ms, "slow request");
    }
}

/// A handler panicked: the connection lives on, the caller is told.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    metrics::counter!("gotham_http_panics_total").increment(1);
    Problem::internal(format!("panic: {}", text.unwrap_or_else(|| "no message".to_owned()))).into_response()
}

/// The layer of one class: a place or a refusal, a deadline, a body limit.
pub(crate) async fn admit(State(admission): State<Admission>, mut request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&admission.places).try_acquire_owned() else {
        metrics::counter!("gotham_http_shed_total", "class" => admission.class.name()).increment(1);
        return Problem::unavailable("overloaded", format!("too many {} requests at a time", admission.class.name())).into_response();
    };
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > admission.body_bytes_max) {
        return Problem::too_large(admission.body_bytes_max).into_response();
    }
    let request_id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let context = Context { request_id, ..Context::new(admission.priority, admission.timeout) };
    let deadline = context.deadline;
    request.extensions_mut().insert(context);
    request.extensions_mut().insert(BodyBytesMax(admission.body_bytes_max));
    let limit = usize::try_from(admission.body_bytes_max).unwrap_or(usize::MAX);
    let request = request.map(|body| Body::new(http_body_util::Limited::new(body, limit)));
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(response) if matches!(admission.class, Class::Bulk | Class::Stream) => hold(response, place),
        Ok(response) => response,
        Err(_) => Problem::unavailable("deadline_exceeded", "the request was not answered in time").into_response(),
    }
}

/// The largest body of the request's class.
#[derive(Clone, Copy)]
pub(crate) struct BodyBytesMax(pub u64);

/// A response that goes on after its handler keeps its place until its last byte.
fn hold(response: Response, place: OwnedSemaphorePermit) -> Response {
    use http_body_util::BodyExt;
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    })
}

/// The context that the request's class made.
pub(crate) struct Ctx(pub Context);

impl<S: Send + Sync> FromRequestParts<S> for Ctx {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Context>().cloned().map(Self).ok_or_else(|| Problem::internal("a route without a class"))
    }
}

/// Whether the caller already has the representation that this entity tag names.
pub(crate) fn has_current(headers: &HeaderMap, etag: &str) -> bool {
    let condition = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    condition.is_some_and(|tags| tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*"))
}
