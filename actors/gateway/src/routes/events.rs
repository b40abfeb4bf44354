//! Shopper events: read by dialect, durable before they are acknowledged, and in the next answer from then on.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{self, media_type};
use crate::logic::dialect::{self, BodyError, Refusal, Terms, Told};
use crate::problem::{Answer, FieldError, Problem, storage};
use crate::routes::App;
use crate::upload;

/// How long an acknowledgement waits for those who learn from events. What is durable is acknowledged all the same.
const SEEN_TIMEOUT: Duration = Duration::from_millis(500);

/// What became of a batch of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventsAccepted {
    /// Events that are new and durable.
    pub accepted: usize,
    /// Events whose id was known: they are durable since before.
    pub duplicates: usize,
    /// Events that cannot be taken, and why; the others are not affected.
    pub rejected: Vec<Refusal>,
    /// Fields that no event has; they are kept in the raw events.
    pub unknown_fields: usize,
    /// Whether answers from now on reflect all of it; if not, they will within moments.
    pub is_seen: bool,
}

/// Records what shoppers did. JSON: one event, a list, `{"events": [...]}` or Segment's `{"batch": [...]}`; or NDJSON, an event a line;
/// gzip and zstd too. Answered when everything accepted is durable. An event needs a `type`, a shopper (`user_id`, `visitor_id` or
/// `session_id`) and mostly a `product_id` or `items`; an `event_id` makes repeating it harmless.
#[utoipa::path(post, path = "/v1/events", tag = "events", request_body(content((Object = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 202, body = EventsAccepted), (status = 400, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn record(State(app): State<App>, request: Request) -> Answer<(StatusCode, Json<EventsAccepted>)> {
    let is_ndjson = media_type(request.headers()).contains("ndjson");
    let body = extract::read_body(request).await?;
    let bytes_max = app.config.events_bytes_max;
    let body = if body.first().is_some_and(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        body
    } else {
        tokio::task::spawn_blocking(move || upload::inflate(&body, bytes_max)).await.map_err(Problem::internal)??
    };
    let mut new_id = || Uuid::now_v7().to_string();
    let terms = Terms { now_ms: app.house.clock.now_ms(), events_max: app.config.events_max, new_id: &mut new_id };
    let Told { events, refused, unknown_fields } = dialect::read(&body, is_ndjson, terms).map_err(|error| body_problem(error, &app))?;
    metrics::counter!("gotham_events_rejected_total").increment(refused.len() as u64);
    metrics::counter!("gotham_events_unknown_fields_total").increment(unknown_fields as u64);
    if events.is_empty() && !refused.is_empty() {
        return Err(rejected(&refused));
    }
    let appended = app.house.log.append(events).await.map_err(|error| unstored(&error))?;
    metrics::counter!("gotham_events_accepted_total").increment(appended.accepted as u64);
    metrics::counter!("gotham_events_duplicates_total").increment(appended.duplicates as u64);
    let is_seen = seen(&app, appended.end).await;
    let (accepted, duplicates) = (appended.accepted, appended.duplicates);
    Ok((StatusCode::ACCEPTED, Json(EventsAccepted { accepted, duplicates, rejected: refused, unknown_fields, is_seen })))
}

/// Waits until those who answer shoppers have come to `offset`, but not for ever.
pub(crate) async fn seen(app: &App, offset: u64) -> bool {
    let house = &app.house;
    let followers = [house.recommender.progress(), house.personalizer.progress(), house.sessions.progress()];
    let waiting = followers.map(|progress| progress.reached(offset, SEEN_TIMEOUT));
    let is_seen = futures_util::future::join_all(waiting).await.into_iter().all(|reached| reached);
    if !is_seen {
        metrics::counter!("gotham_events_unseen_total").increment(1);
    }
    is_seen
}

fn body_problem(error: BodyError, app: &App) -> Problem {
    match error {
        BodyError::Syntax(detail) => Problem::bad_request("invalid_syntax", detail),
        BodyError::Shape => {
            Problem::field("", "invalid_value", "must be an event, a list of events, or an object with `events` or `batch`")
        }
        BodyError::TooMany(count) => {
            Problem::field("", "too_many", format!("{count} events are sent, at most {} are taken at once", app.config.events_max))
        }
    }
}

/// None of the events can be taken.
fn rejected(refused: &[Refusal]) -> Problem {
    const SHOWN_MAX: usize = 100;
    let errors = refused.iter().take(SHOWN_MAX).map(|refusal| FieldError {
        pointer: format!("/{}{}", refusal.index, refusal.pointer),
        code: refusal.code.into(),
        detail: refusal.detail.clone(),
    });
    let detail = format!("none of {} events can be taken", refused.len());
    Problem { errors: errors.collect(), ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", detail) }
}

/// The event log cannot take it now.
pub(crate) fn unstored(error: &StoreError) -> Problem {
    match error {
        StoreError::Overloaded { .. } => Problem::unavailable("overloaded", "more events wait for the disk than can be taken"),
        _ => storage(error),
    }
}
