//! Feeds: an upload, an address or a file of the inbox goes to Joker and becomes a task.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};

use axum::Json;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kit::{CallError, Context};
use protocol::ingest::{FeedMode, FeedRequest, FeedSource, IngestMsg, Reject, RunId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, Params, body_problem, media_type};
use crate::logic::cursor;
use crate::problem::{Answer, Problem};
use crate::routes::{App, tasks};
use crate::schema::{FeedModeDoc, Page, RejectDoc, Task};
use crate::upload::{self, Bounds, Spooled};

const SOURCE_DEFAULT: &str = "default";
const REJECTS_DEFAULT: usize = 50;
/// Rejects that a report reads: it sums up, the list has them all.
const REPORT_REJECTS_MAX: usize = 10_000;
/// Rejects read at a time for a report.
const REPORT_STEP: usize = 500;
/// The longest form field beside the file.
const FORM_FIELD_BYTES_MAX: usize = 4_096;

/// A feed to read. As a JSON body it names where the feed is; for an upload the same fields stand in the query or the form.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FeedOrder {
    /// Where to fetch the feed (JSON body alone).
    url: Option<String>,
    /// A file in the box's inbox folder (JSON body alone).
    path: Option<String>,
    /// The file's name, which helps to detect the format.
    name: Option<String>,
    /// The catalog source; a full feed replaces only products of its own source. `default` when absent.
    source: Option<String>,
    /// `full` deletes products of the same source that are not in the feed; `delta` (the default) does not.
    #[schema(value_type = Option<FeedModeDoc>)]
    #[param(value_type = Option<FeedModeDoc>)]
    mode: Option<FeedMode>,
    /// A format by name instead of detection.
    format: Option<String>,
    /// Read and report, change nothing.
    dry_run: Option<bool>,
    /// Take a full feed even when it would delete most of its source.
    force: Option<bool>,
    /// For amounts without a currency of their own, ISO 4217.
    default_currency: Option<String>,
    /// Answer when the task has ended.
    wait: Option<bool>,
}

impl FeedOrder {
    fn or(self, other: Self) -> Self {
        Self {
            url: self.url.or(other.url),
            path: self.path.or(other.path),
            name: self.name.or(other.name),
            source: self.source.or(other.source),
            mode: self.mode.or(other.mode),
            format: self.format.or(other.format),
            dry_run: self.dry_run.or(other.dry_run),
            force: self.force.or(other.force),
            default_currency: self.default_currency.or(other.default_currency),
            wait: self.wait.or(other.wait),
        }
    }

    fn into_request(self, from: FeedSource, name: String) -> FeedRequest {
        FeedRequest {
            from,
            name: self.name.unwrap_or(name),
            source: self.source.unwrap_or_else(|| SOURCE_DEFAULT.to_owned()),
            mode: self.mode.unwrap_or_default(),
            dry_run: self.dry_run.unwrap_or_default(),
            format: self.format,
            image_root: None,
            force: self.force.unwrap_or_default(),
            default_currency: self.default_currency,
        }
    }
}

/// Reads a feed in the background: a JSON body names a `url` or a `path` in the inbox; `multipart/form-data` with a `file`, or
/// any other body as it is, uploads one (gzip and zstd too).
#[utoipa::path(post, path = "/v1/feeds", tag = "feeds", params(FeedOrder), request_body(content((FeedOrder = "application/json"), (Vec<u8> = "multipart/form-data"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 202, body = Task), (status = 200, body = Task, description = "With `wait=true`: the task has ended"), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    Ctx(context): Ctx,
    Params(query): Params<FeedOrder>,
    request: Request,
) -> Answer<Response> {
    if query.url.is_some() || query.path.is_some() {
        return Err(Problem::bad_request("unknown_field", "`url` and `path` belong into a JSON body"));
    }
    match media_type(request.headers()).as_str() {
        "application/json" => {
            let body = extract::read_body_within(request.into_body(), app.config.body_bytes_max).await?;
            let order: FeedOrder = extract::parse_json(&body)?;
            named(&app, &context, order.or(query)).await
        }
        "multipart/form-data" => uploaded_form(&app, &context, request, query).await,
        "" => Err(Problem::unsupported_media("name the feed's media type in Content-Type, application/octet-stream if it is not known")),
        media => {
            let name = format!("upload.{}", extension(media));
            let format = query.format.clone();
            uploaded_body(&app, &context, request, query, name, format).await
        }
    }
}

/// Products as NDJSON, one object a line, read in the background (gzip and zstd too). One bad line never fails the rest.
#[utoipa::path(post, path = "/v1/products:batch", tag = "products", params(FeedOrder), request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 202, body = Task), (status = 200, body = Task, description = "With `wait=true`: the task has ended")))]
pub(crate) async fn products_batch(
    State(app): State<App>,
    Ctx(context): Ctx,
    Params(query): Params<FeedOrder>,
    request: Request,
) -> Answer<Response> {
    match media_type(request.headers()).as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/octet-stream" => {
            uploaded_body(&app, &context, request, query, "batch.ndjson".to_owned(), Some("ndjson".to_owned())).await
        }
        _ => Err(Problem::unsupported_media("this address takes application/x-ndjson")),
    }
}

/// The file name extension that goes with a media type, for format detection.
fn extension(media: &str) -> &'static str {
    match media {
        "text/csv" => "csv",
        "text/tab-separated-values" => "tsv",
        "application/xml" | "text/xml" | "application/rss+xml" | "application/atom+xml" => "xml",
        "application/x-ndjson" | "application/jsonl" => "ndjson",
        _ => "feed",
    }
}

async fn named(app: &App, context: &Context, order: FeedOrder) -> Answer<Response> {
    let (from, name) = match (&order.url, &order.path) {
        (Some(url), None) => {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                return Err(Problem::field("/url", "invalid_value", "must start with http:// or https://"));
            }
            (FeedSource::Url(url.clone()), url.clone())
        }
        (None, Some(path)) => (FeedSource::File(in_inbox(&app.house.inbox, path)?), path.clone()),
        _ => return Err(Problem::field("/url", "missing", "name exactly one of `url` and `path`, or upload the feed")),
    };
    let wait = order.wait.unwrap_or_default();
    let id = start(app, context, order.into_request(from, name)).await.map_err(|(problem, _)| problem)?;
    answer(app, context, id, wait).await
}

/// A file in or below the inbox, whatever links say.
fn in_inbox(inbox: &FilePath, path: &str) -> Answer<PathBuf> {
    let refused = || Problem::field("/path", "not_in_inbox", "there is no such file in the inbox");
    let relative = FilePath::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(refused());
    }
    let inbox = inbox.canonicalize().map_err(Problem::internal)?;
    let file = inbox.join(relative).canonicalize().map_err(|_| refused())?;
    if file.starts_with(&inbox) && file.is_file() { Ok(file) } else { Err(refused()) }
}

async fn uploaded_body(
    app: &App,
    context: &Context,
    request: Request,
    order: FeedOrder,
    name: String,
    format: Option<String>,
) -> Answer<Response> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && !matches!(encoding.as_bytes(), b"gzip" | b"zstd" | b"identity")
    {
        return Err(Problem::unsupported_media("Content-Encoding may be gzip or zstd"));
    }
    let bytes_max = app.config.upload_bytes_max;
    let pieces = request.into_body().into_data_stream();
    let spooled = upload::spool(&app.house.spool, pieces, bounds(app), |error| body_problem(error, bytes_max)).await?;
    take(app, context, spooled, FeedOrder { format, ..order }, name).await
}

fn bounds(app: &App) -> Bounds {
    Bounds { bytes_max: app.config.upload_bytes_max, stall_max: app.config.stall_timeout() }
}

async fn uploaded_form(app: &App, context: &Context, request: Request, query: FeedOrder) -> Answer<Response> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| Problem::bad_request("invalid_form", error.body_text()))?;
    let bytes_max = app.config.upload_bytes_max;
    let mut fields = Map::new();
    let mut file: Option<(Spooled, String)> = None;
    while let Some(field) = form.next_field().await.map_err(|error| body_problem(&error, bytes_max))? {
        match field.name().unwrap_or_default() {
            "file" if file.is_some() => return Err(Problem::field("/file", "too_many", "one file at a time")),
            "file" => {
                let name = field.file_name().unwrap_or("upload.feed").to_owned();
                let spooled = upload::spool(&app.house.spool, field, bounds(app), |error| body_problem(error, bytes_max)).await?;
                file = Some((spooled, name));
            }
            name => {
                let name = name.to_owned();
                let value = form_value(field, bytes_max).await?;
                if value != Value::String(String::new()) {
                    fields.insert(name, value);
                }
            }
        }
    }
    let order: FeedOrder = extract::from_value(Value::Object(fields))?;
    let Some((spooled, name)) = file else { return Err(Problem::field("/file", "missing", "the form has no `file`")) };
    take(app, context, spooled, order.or(query), name).await
}

/// A form knows text alone: `true`, `on` and `false` are meant as what they say.
async fn form_value(mut field: Field<'_>, bytes_max: u64) -> Answer<Value> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| body_problem(&error, bytes_max))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > FORM_FIELD_BYTES_MAX {
            return Err(Problem::too_large(FORM_FIELD_BYTES_MAX as u64));
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| Problem::bad_request("invalid_form", "a form field is not UTF-8"))?;
    Ok(match text.as_str() {
        "true" | "on" => Value::Bool(true),
        "false" | "off" => Value::Bool(false),
        _ => Value::String(text),
    })
}

/// Hands an upload to Joker. The file goes with it unless Joker has certainly not taken it.
async fn take(app: &App, context: &Context, spooled: Spooled, order: FeedOrder, name: String) -> Answer<Response> {
    let wait = order.wait.unwrap_or_default();
    let request = order.into_request(FeedSource::Spooled(spooled.path().to_owned()), name);
    match start(app, context, request).await {
        Ok(id) => {
            spooled.keep();
            answer(app, context, id, wait).await
        }
        Err((problem, is_certain)) => {
            if !is_certain {
                spooled.keep();
            }
            Err(problem)
        }
    }
}

/// The run's id, or the problem and whether it is certain that the run was not taken.
async fn start(app: &App, context: &Context, request: FeedRequest) -> Result<RunId, (Problem, bool)> {
    match app.house.joker.call(context, |reply| IngestMsg::Start { request, reply }).await {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(error)) => Err((error.into(), true)),
        Err(error) => {
            let is_certain = matches!(error, CallError::Overloaded { .. });
            Err((error.into(), is_certain))
        }
    }
}

/// 202 with the task, or after waiting 200 with the task at its end.
async fn answer(app: &App, context: &Context, id: RunId, wait: bool) -> Answer<Response> {
    let mut changes = app.house.runs.changes();
    loop {
        changes.mark_unchanged();
        let run = app.house.runs.get(id).ok_or_else(|| Problem::not_found("such task"))?;
        let is_final = run.status.is_final();
        let is_over = !wait || is_final || !matches!(tokio::time::timeout_at(context.deadline, changes.changed()).await, Ok(Ok(())));
        if is_over {
            let status = if wait && is_final { StatusCode::OK } else { StatusCode::ACCEPTED };
            let mut response = (status, Json(Task::of(&run))).into_response();
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/tasks/{id}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return Ok(response);
        }
    }
}

/// One feed, as its task.
#[utoipa::path(get, path = "/v1/feeds/{id}", tag = "feeds", params(("id" = String, Path)), responses((status = 200, body = Task), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Task>> {
    tasks::find(&app, &id).map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectParams {
    /// At most this many.
    limit: Option<usize>,
    /// From the page before.
    cursor: Option<String>,
}

/// The records of a feed that were refused or repaired, in row order.
#[utoipa::path(get, path = "/v1/feeds/{id}/rejects", tag = "feeds", params(("id" = String, Path), RejectParams), responses((status = 200, body = Page<RejectDoc>), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn rejects(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<RejectParams>,
) -> Answer<Json<Page<Reject>>> {
    let id = tasks::run_id(&id)?;
    let limit = params.limit.unwrap_or(REJECTS_DEFAULT).clamp(1, app.config.limit_max);
    let offset = match &params.cursor {
        Some(text) => cursor::decode(text)
            .and_then(|position| position.parse().ok())
            .ok_or_else(|| Problem::bad_request("invalid_cursor", "this cursor is none of ours"))?,
        None => 0,
    };
    let items = read_rejects(&app, id, offset, limit).await?;
    let next = (items.len() == limit).then(|| cursor::encode(&(offset + limit).to_string()));
    Ok(Json(Page { items, next }))
}

/// Rejects are read from storage, off the async threads.
pub(crate) async fn read_rejects(app: &App, id: RunId, offset: usize, limit: usize) -> Answer<Vec<Reject>> {
    let runs = app.house.runs.clone();
    if runs.get(id).is_none() {
        return Err(Problem::not_found("such task"));
    }
    Ok(tokio::task::spawn_blocking(move || runs.rejects(id, offset, limit)).await.map_err(Problem::internal)??)
}

/// One kind of reject in a report.
#[derive(Serialize, ToSchema)]
pub(crate) struct RejectSummary {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    is_warning: bool,
    /// How many of the rejects that were read.
    count: usize,
    /// The first one of them.
    #[schema(value_type = RejectDoc)]
    example: Reject,
}

/// What became of a feed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Report {
    task: Task,
    /// From start to end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_second: Option<f64>,
    /// The most frequent first.
    rejects: Vec<RejectSummary>,
    /// Whether all rejects were read for the summary.
    rejects_are_complete: bool,
}

/// A feed summed up: counts, speed and what was wrong, by kind.
#[utoipa::path(get, path = "/v1/feeds/{id}/report", tag = "feeds", params(("id" = String, Path)), responses((status = 200, body = Report), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn report(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Report>> {
    let id = tasks::run_id(&id)?;
    let run = app.house.runs.get(id).ok_or_else(|| Problem::not_found("such task"))?;
    let mut kinds: BTreeMap<(String, Option<String>, bool), RejectSummary> = BTreeMap::new();
    let mut read = 0;
    let rejects_are_complete = loop {
        let step = read_rejects(&app, id, read, REPORT_STEP).await?;
        let count = step.len();
        read += count;
        for reject in step {
            let key = (reject.code.clone(), reject.field.clone(), reject.is_warning);
            let new = || RejectSummary {
                code: reject.code.clone(),
                field: reject.field.clone(),
                is_warning: reject.is_warning,
                count: 0,
                example: reject.clone(),
            };
            kinds.entry(key).or_insert_with(new).count += 1;
        }
        if count < REPORT_STEP || read >= REPORT_REJECTS_MAX {
            break count < REPORT_STEP;
        }
    };
    let mut rejects: Vec<_> = kinds.into_values().collect();
    rejects.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    let until = run.finished_at_ms.unwrap_or_else(|| app.house.clock.now_ms());
    let seconds = run.started_at_ms.map(|started| (until - started).max(0) as f64 / 1000.0);
    let records_per_second = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| run.counts.records as f64 / seconds);
    Ok(Json(Report { task: Task::of(&run), seconds, records_per_second, rejects, rejects_are_complete }))
}
