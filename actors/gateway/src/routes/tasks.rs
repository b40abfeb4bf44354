//! Tasks: how far background work is, live, and how to end it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use protocol::ingest::{IngestMsg, RunId};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::edge::Ctx;
use crate::extract::Params;
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::schema::{Page, Task};

/// Between two events of one stream.
const EVENT_INTERVAL_MIN: Duration = Duration::from_millis(200);
const LIMIT_DEFAULT: usize = 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// At most this many.
    limit: Option<usize>,
}

/// The latest tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(ListParams), responses((status = 200, body = Page<Task>)))]
pub(crate) async fn list(State(app): State<App>, Params(params): Params<ListParams>) -> Json<Page<Task>> {
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT).min(app.config.limit_max);
    let items = app.house.runs.latest(limit).iter().map(|run| Task::of(run)).collect();
    Json(Page { items, next: None })
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)), responses((status = 200, body = Task), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Task>> {
    find(&app, &id).map(Json)
}

/// The run that an id names.
pub(crate) fn run_id(text: &str) -> Answer<RunId> {
    text.parse().map_err(|_| Problem::not_found("such task"))
}

pub(crate) fn find(app: &App, id: &str) -> Answer<Task> {
    let run = app.house.runs.get(run_id(id)?);
    run.map(|run| Task::of(&run)).ok_or_else(|| Problem::not_found("such task"))
}

/// `POST /v1/tasks/{id}:cancel`: routes know no suffixes, so the verb is taken off here.
pub(crate) async fn act(state: State<App>, context: Ctx, Path(segment): Path<String>) -> Answer<Json<Task>> {
    match segment.strip_suffix(":cancel") {
        Some(id) => cancel(state, context, Path(id.to_owned())).await,
        None => Err(Problem::not_found("such action; tasks know `:cancel`")),
    }
}

/// Ends a task as soon as possible. What it has done stays.
#[utoipa::path(post, path = "/v1/tasks/{id}:cancel", tag = "tasks", params(("id" = String, Path)), responses((status = 200, body = Task), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn cancel(State(app): State<App>, Ctx(context): Ctx, Path(id): Path<String>) -> Answer<Json<Task>> {
    let run = run_id(&id)?;
    app.house.joker.call(&context, |reply| IngestMsg::Cancel { id: run, reply }).await??;
    find(&app, &id).map(Json)
}

/// A task's progress as server-sent events: `progress` while it goes on, `end` once, each with the task as JSON.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", tag = "tasks", params(("id" = String, Path)), responses((status = 200, content_type = "text/event-stream", body = Task), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn events(State(app): State<App>, Path(id): Path<String>) -> Answer<impl IntoResponse> {
    let id = run_id(&id)?;
    if app.house.runs.get(id).is_none() {
        return Err(Problem::not_found("such task"));
    }
    let until = Instant::now() + Duration::from_millis(app.config.stream_timeout_ms);
    let changes = app.house.runs.changes();
    Ok(Sse::new(progress(Watched { app, id, changes, until, last: None })).keep_alive(KeepAlive::default()))
}

struct Watched {
    app: App,
    id: RunId,
    changes: watch::Receiver<u64>,
    until: Instant,
    last: Option<Task>,
}

impl Watched {
    /// The task when it differs from the last one sent; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Task> {
        if self.last.is_some() {
            tokio::time::sleep(EVENT_INTERVAL_MIN).await;
        }
        loop {
            if self.last.as_ref().is_some_and(|task| task.status.is_final()) {
                return None;
            }
            self.changes.mark_unchanged();
            let task = Task::of(&*self.app.house.runs.get(self.id)?);
            if self.last.as_ref() != Some(&task) {
                self.last = Some(task.clone());
                return Some(task);
            }
            tokio::time::timeout_at(self.until, self.changes.changed()).await.ok()?.ok()?;
        }
    }
}

fn progress(watched: Watched) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(watched, |mut watched| async move {
        let task = watched.next().await?;
        let name = if task.status.is_final() { "end" } else { "progress" };
        let data = serde_json::to_string(&task).expect("a task holds strings and numbers alone");
        Some((Ok(Event::default().event(name).data(data)), watched))
    })
}
