//! Experiments: definitions, results, and the replay lab, which asks yesterday's questions again.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use domain::{ProductId, Served};
use kit::{Context, Priority};
use protocol::experiments::Experiment;
use protocol::registry::{EXPERIMENTS_MAX, RegistryMsg};
use protocol::reports::{DEPTH_MAX, ExperimentResult, LabError, ReplayQuestion, ReplayReport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::edge::Ctx;
use crate::extract::{self, JsonBody};
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::routes::recommend::{LogicName, Question, RecommendBody, rank_again};
use crate::routes::releases;
use crate::routes::search::{COMPARISON, Listed};

/// Lists of one replay.
const REPLAY_LISTS_MAX: usize = 10_000;
const REPLAY_PAGES_MAX: usize = 100;

/// The experiments, in name order.
#[utoipa::path(get, path = "/v1/experiments", tag = "experiments", responses((status = 200, body = Object)))]
pub(crate) async fn list(State(app): State<App>) -> Json<Listed<Experiment>> {
    Json(Listed { items: app.house.registry.experiments().to_vec() })
}

/// Defines an experiment, or changes it. The split is by shopper and stays for as long as salt and weights do.
#[utoipa::path(put, path = "/v1/experiments/{name}", tag = "experiments", params(("name" = String, Path)), request_body = Object, responses((status = 200, body = Object), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn put(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<serde_json::Value>,
) -> Answer<Json<Experiment>> {
    let mut body = body;
    if let Some(fields) = body.as_object_mut() {
        fields.entry("name").or_insert_with(|| name.clone().into());
        fields.entry("is_active").or_insert(true.into());
    }
    let experiment: Experiment = extract::from_value(body)?;
    if experiment.name != name {
        return Err(Problem::field("/name", "invalid_value", "is another name than the address says"));
    }
    if name == COMPARISON {
        return Err(Problem::field("/name", "invalid_value", "is the comparison of releases"));
    }
    if let Some((field, detail)) = experiment.problems().into_iter().next() {
        return Err(Problem::field(format!("/{field}"), "invalid_value", detail));
    }
    for (index, arm) in experiment.arms.iter().enumerate() {
        if let Some(logic) = &arm.treatment.logic {
            let pointer = format!("/arms/{index}/treatment/logic");
            extract::from_value::<LogicName>(logic.as_str().into()).map_err(|problem| problem.under(&pointer))?;
        }
    }
    let known = app.house.registry.experiments();
    if known.len() >= EXPERIMENTS_MAX && !known.iter().any(|known| known.name == name) {
        return Err(Problem::field("", "too_many", format!("at most {EXPERIMENTS_MAX} experiments are defined at a time")));
    }
    let put = app.house.wayne.call(&context, |reply| RegistryMsg::PutExperiment { experiment: experiment.clone(), reply }).await?;
    put.map_err(|error| crate::problem::storage(&error))?;
    Ok(Json(experiment))
}

/// Whether an experiment was there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    pub name: String,
}

/// Forgets an experiment's definition; what it exposed stays in the event log.
#[utoipa::path(delete, path = "/v1/experiments/{name}", tag = "experiments", params(("name" = String, Path)), responses((status = 200, body = Deleted), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn delete(State(app): State<App>, Ctx(context): Ctx, Path(name): Path<String>) -> Answer<Json<Deleted>> {
    let deleted = app.house.wayne.call(&context, |reply| RegistryMsg::DeleteExperiment { name: name.clone(), reply }).await?;
    let was_there = deleted.map_err(|error| crate::problem::storage(&error))?;
    if was_there { Ok(Json(Deleted { name })) } else { Err(Problem::not_found("such experiment")) }
}

/// An experiment's results: conversion and revenue by arm with 95 % confidence intervals, differences to the control, and whether the
/// split is what it should be. While an assistant commissioner is on duty, `release` compares it with the live release.
#[utoipa::path(get, path = "/v1/experiments/{name}/results", tag = "experiments", params(("name" = String, Path)), responses((status = 200, body = Object), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn results(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<ExperimentResult>> {
    let experiments = app.house.registry.experiments();
    let defined = experiments.iter().find(|known| known.name == name).cloned();
    let definition = defined.or_else(|| releases::comparison(&app.house.releases.ledger()).filter(|comparison| comparison.name == name));
    let definition = definition.ok_or_else(|| Problem::not_found("such experiment"))?;
    let reports = app.house.reports.clone();
    let result = tokio::task::spawn_blocking(move || reports.experiment(&definition)).await.map_err(Problem::internal)?;
    result.map(Json).ok_or_else(|| Problem::not_found("result yet: nobody was exposed to it"))
}

/// What is asked again, and how it is to be answered now.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// Lists answered at or after this time (milliseconds since 1970); by default a week before `to_ms`.
    from_ms: Option<i64>,
    /// ... and before this one; by default now.
    to_ms: Option<i64>,
    /// Of these placements; by default all.
    placements: Vec<String>,
    /// Lists at most, the earliest first.
    lists_max: Option<usize>,
    /// Places of a list that are compared.
    depth: Option<usize>,
    /// Weights above this are cut to it.
    weight_max: Option<f64>,
    /// Answer with this logic instead of the logged one.
    logic: Option<LogicName>,
    /// How much the shopper counts, 0 to 1, instead of what was asked or set.
    strength: Option<f32>,
}

/// Asks logged questions again, with what is known now and the changes given, and compares: page by page, and by how often the new
/// lists would have been clicked (inverse propensity scores).
#[utoipa::path(post, path = "/v1/lab:replay", tag = "experiments", request_body = ReplayBody, responses((status = 200, body = Object), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn replay(State(app): State<App>, JsonBody(body): JsonBody<ReplayBody>) -> Answer<Json<ReplayReport>> {
    const WEEK_MS: i64 = 7 * 86_400_000;
    let to_ms = body.to_ms.unwrap_or_else(|| app.house.clock.now_ms());
    let question = ReplayQuestion {
        from_ms: body.from_ms.unwrap_or(to_ms - WEEK_MS),
        to_ms,
        placements: body.placements,
        lists_max: body.lists_max.unwrap_or(REPLAY_LISTS_MAX).min(REPLAY_LISTS_MAX),
        depth: body.depth.unwrap_or(10).min(DEPTH_MAX),
        weight_max: body.weight_max.unwrap_or(100.0),
        pages_max: REPLAY_PAGES_MAX,
    };
    let (logic, strength) = (body.logic, body.strength);
    let house = app.clone();
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let mut rank = |served: &Served| runtime.block_on(again(&house, served, logic, strength));
        house.house.lab.replay(&question, &mut rank)
    };
    let report = tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?;
    report.map(Json).map_err(|error| match error {
        LabError::Question(detail) => Problem::field("", "invalid_value", detail),
        LabError::Log(detail) => Problem::internal(detail),
    })
}

/// The list that a logged question would be answered with now; `None` for a question of another kind.
async fn again(app: &App, served: &Served, logic: Option<LogicName>, strength: Option<f32>) -> Option<Vec<ProductId>> {
    let body: RecommendBody = serde_json::from_str(&served.request).ok()?;
    let body = RecommendBody { logic: logic.or(body.logic), strength: strength.or(body.strength), ..body };
    let question = Question::of(app, body).ok()?;
    let question = Question { shopper: served.shopper.clone(), session: served.session.clone(), ..question };
    let context = Context::new(Priority::Bulk, Duration::from_secs(10));
    rank_again(app, &context, &question).await.ok()
}
