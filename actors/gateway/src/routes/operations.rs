//! For operators and monitoring: health, metrics, who runs, queues, settings.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use domain::ProductId;
use protocol::queue::{DeadLetter, QueueDepth, QueueMsg, QueueName};
use protocol::registry::ActorStatus;
use protocol::search::IndexStats;
use protocol::vision::{EngineStatus, ModelInfo, VisionCounts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::Params;
use crate::problem::{Answer, Problem};
use crate::routes::{App, openapi};
use crate::schema::{Page, rfc3339};

const DEAD_LETTERS_DEFAULT: usize = 50;

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, body = String)))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether every part is ready to serve; 503 with the names of those that are not.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, body = String), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    let waiting = (app.house.readiness)();
    if waiting.is_empty() {
        return Ok("ready\n");
    }
    let errors = waiting.iter().map(|name| crate::problem::FieldError {
        pointer: (*name).to_owned(),
        code: "not_ready".into(),
        detail: format!("{name} is not ready"),
    });
    Err(Problem { errors: errors.collect(), ..Problem::unavailable("not_ready", format!("not ready: {}", waiting.join(", "))) })
}

/// Which version runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    name: &'static str,
    version: &'static str,
    uptime_seconds: u64,
}

/// Which version runs, and for how long.
#[utoipa::path(get, path = "/version", tag = "operations", responses((status = 200, body = Version)))]
pub(crate) async fn version(State(app): State<App>) -> Json<Version> {
    Json(Version { name: "gotham", version: app.house.version, uptime_seconds: app.started.elapsed().as_secs() })
}

/// Metrics in Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics_text(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.house.metrics_text)())
}

/// This contract.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, body = Object)))]
pub(crate) async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

/// One queue at a glance.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueueStatus {
    pub name: &'static str,
    /// `ready`, `delayed`, `leased`, `dead`: jobs in each state.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub depth: QueueDepth,
}

/// The house at a glance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registry {
    /// `name`, `job`, `state`, `restarts`, `mailbox_depth`, `last_error`, `since_ms`.
    #[schema(value_type = Vec<Object>)]
    pub actors: Vec<ActorStatus>,
    pub queues: Vec<QueueStatus>,
    /// Sizes of the search index.
    #[schema(value_type = Object)]
    pub index: IndexStats,
    /// `name`, `space`, `dimensions`, `fingerprint`.
    #[schema(value_type = Vec<Object>)]
    pub models: Vec<ModelInfo>,
    /// How the models that were used do: `model`, `space`, `device`, `fallback`, `batch_max`, `per_second`, `query_p50_ms`, `query_p99_ms`.
    #[schema(value_type = Vec<Object>)]
    pub engines: Vec<EngineStatus>,
    /// Pictures and texts embedded since the start.
    #[schema(value_type = Object)]
    pub embedded: VisionCounts,
    pub catalog: CatalogStatus,
}

/// The catalog at a glance.
#[derive(Serialize, ToSchema)]
pub(crate) struct CatalogStatus {
    pub products: usize,
    /// Grows with every change.
    pub version: u64,
}

impl Registry {
    pub(crate) fn read(app: &App) -> Self {
        let catalog = app.house.catalog.snapshot();
        let queue = |name: QueueName| QueueStatus { name: name.as_str(), depth: app.house.queues.depth(name) };
        Self {
            actors: app.house.registry.actors(),
            queues: QueueName::ALL.into_iter().map(queue).collect(),
            index: app.house.searcher.stats(),
            models: app.house.vision.models(),
            engines: app.house.vision.engines(),
            embedded: app.house.vision.counts(),
            catalog: CatalogStatus { products: catalog.len(), version: catalog.version() },
        }
    }
}

/// Actors, queues, index and models.
#[utoipa::path(get, path = "/v1/registry", tag = "operations", responses((status = 200, body = Registry)))]
pub(crate) async fn registry(State(app): State<App>) -> Json<Registry> {
    Json(Registry::read(&app))
}

/// The settings in force: `key`, `value` (TOML), `source`.
#[utoipa::path(get, path = "/v1/config", tag = "operations", responses((status = 200, body = Object)))]
pub(crate) async fn config(State(app): State<App>) -> Json<Value> {
    Json(json!({ "settings": &*app.house.registry.settings() }))
}

fn queue_name(name: &str) -> Answer<QueueName> {
    QueueName::ALL.into_iter().find(|queue| queue.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = QueueName::ALL.iter().map(|queue| queue.as_str()).collect();
        Problem::not_found(format!("queue of that name; there are {}", known.join(", ")))
    })
}

/// A job that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct Letter {
    pub job: u64,
    pub queue: &'static str,
    #[schema(value_type = String)]
    pub product_id: ProductId,
    pub attempts: u32,
    /// The last error.
    pub error: String,
    pub died_at: String,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, queue, product, attempts, error, died_at_ms } = letter;
        Self { job: id.0, queue: queue.as_str(), product_id: product, attempts, error, died_at: rfc3339(died_at_ms) }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterParams {
    /// At most this many.
    limit: Option<usize>,
}

/// The dead letters of a queue, oldest first.
#[utoipa::path(get, path = "/v1/queues/{name}/dead-letters", tag = "operations", params(("name" = String, Path), LetterParams), responses((status = 200, body = Page<Letter>), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn dead_letters(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(name): Path<String>,
    Params(params): Params<LetterParams>,
) -> Answer<Json<Page<Letter>>> {
    let queue = queue_name(&name)?;
    let limit = params.limit.unwrap_or(DEAD_LETTERS_DEFAULT).min(app.config.limit_max);
    let letters = app.house.gordon.call(&context, |reply| QueueMsg::DeadLetters { queue, limit, reply }).await??;
    Ok(Json(Page { items: letters.into_iter().map(Letter::from).collect(), next: None }))
}

/// `POST /v1/queues/{name}:redrive`: routes know no suffixes, so the verb is taken off here.
pub(crate) async fn act_on_queue(state: State<App>, context: Ctx, Path(segment): Path<String>) -> Answer<Json<Redriven>> {
    match segment.strip_suffix(":redrive") {
        Some(name) => redrive(state, context, Path(name.to_owned())).await,
        None => Err(Problem::not_found("such action; queues know `:redrive`")),
    }
}

/// How many jobs got a new life.
#[derive(Serialize, ToSchema)]
pub(crate) struct Redriven {
    redriven: u64,
}

/// Gives the dead letters of a queue a new life with fresh attempts.
#[utoipa::path(post, path = "/v1/queues/{name}:redrive", tag = "operations", params(("name" = String, Path)), responses((status = 200, body = Redriven), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn redrive(State(app): State<App>, Ctx(context): Ctx, Path(name): Path<String>) -> Answer<Json<Redriven>> {
    let queue = queue_name(&name)?;
    let redriven = app.house.gordon.call(&context, |reply| QueueMsg::Redrive { queue, reply }).await??;
    Ok(Json(Redriven { redriven }))
}
