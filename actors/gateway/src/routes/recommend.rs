//! Recommendations: what to show this shopper, beside this product, for this cart.

mod body;
mod run;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, JsonBody, Params};
use crate::problem::{Answer, Problem};
use crate::routes::{App, products, search};
use crate::schema::Card;

use body::QUESTIONS_MAX;
pub(crate) use body::{LogicName, Question, RecommendBody};
pub(crate) use run::{rank_again, run};

/// Something that added to a score.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecommendedReason {
    /// A strategy of what shoppers do (`visits`, `pairs`, `together`, ...), a feature of the shopper's order, or `other`: all the rest.
    pub name: String,
    /// The product that speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it added; the shares of an item sum up to its score.
    pub share: f32,
}

/// One recommended product.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecommendedItem {
    pub id: String,
    /// Comparable within the answer alone.
    pub score: f32,
    /// From 1.
    pub rank: usize,
    /// What proposed it; a place that is left to trials says what is tried.
    pub strategy: String,
    /// Why it is here, for people, weightiest first.
    pub reasons: Vec<String>,
    /// How the score came about, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Vec<RecommendedReason>>,
    /// Absent where the shop sends events alone and has no catalog here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Card>,
}

/// An experiment that the answer takes part in.
#[derive(Serialize, ToSchema)]
pub(crate) struct ArmName {
    pub experiment: String,
    pub arm: String,
}

/// The answer to one question.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recommended {
    pub request_id: String,
    /// Sent back with the events that the list leads to, so that reports and learning know what worked.
    pub attribution_token: String,
    pub placement: String,
    pub logic: LogicName,
    pub took_ms: f64,
    /// Milliseconds by stage: `propose`, `order`.
    pub stages: BTreeMap<&'static str, f64>,
    pub catalog_version: u64,
    /// The release whose models and rules made it; empty where there is none.
    pub release: String,
    /// Experiments in force for this shopper and placement.
    pub experiments: Vec<ArmName>,
    /// `no_catalog` where products cannot be described.
    pub degraded: Vec<&'static str>,
    pub items: Vec<RecommendedItem>,
    pub total: usize,
}

/// One question or several, answered in one call: an object is answered with an object, a list with a list.
#[utoipa::path(post, path = "/v1/recommendations", tag = "recommendations", request_body(content = RecommendBody, description = "one question, or a list of up to 16"),
    responses((status = 200, body = Recommended), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn recommend(State(app): State<App>, Ctx(context): Ctx, JsonBody(body): JsonBody<Value>) -> Answer<Response> {
    let Value::Array(list) = body else {
        let question = Question::of(&app, extract::from_value(body)?)?;
        return Ok(Json(run(&app, &context, &question).await?).into_response());
    };
    if list.len() > QUESTIONS_MAX {
        return Err(Problem::field("", "too_many", format!("at most {QUESTIONS_MAX} questions in one call")));
    }
    let mut answers = Vec::with_capacity(list.len());
    for (index, body) in list.into_iter().enumerate() {
        let pointer = format!("/{index}");
        let question = extract::from_value(body).and_then(|body| Question::of(&app, body)).map_err(|problem| problem.under(&pointer))?;
        answers.push(run(&app, &context, &question).await.map_err(|problem| problem.under(&pointer))?);
    }
    Ok(Json(answers).into_response())
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimpleParams {
    /// `for_you` by default.
    logic: Option<LogicName>,
    placement: Option<String>,
    user_id: Option<String>,
    visitor_id: Option<String>,
    session_id: Option<String>,
    /// Product ids between commas.
    product_ids: Option<String>,
    /// Products never to show, between commas.
    exclude_ids: Option<String>,
    /// `brand = "A" AND price < 50`, or the JSON form.
    filter: Option<String>,
    /// At most this many items.
    limit: Option<usize>,
    /// Say how each score came about.
    explain: bool,
}

/// One question in the address, for simple use.
#[utoipa::path(get, path = "/v1/recommendations", tag = "recommendations", params(SimpleParams), responses((status = 200, body = Recommended), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn simple(State(app): State<App>, Ctx(context): Ctx, Params(params): Params<SimpleParams>) -> Answer<Json<Recommended>> {
    let listed = |text: Option<String>| search::listed(&text.unwrap_or_default());
    let body = RecommendBody {
        logic: params.logic,
        placement: params.placement,
        user_id: params.user_id,
        visitor_id: params.visitor_id,
        session_id: params.session_id,
        product_ids: listed(params.product_ids),
        exclude_ids: listed(params.exclude_ids),
        filter: params.filter.filter(|text| !text.trim().is_empty()).map(search::filter_value),
        limit: params.limit,
        explain: params.explain,
        ..RecommendBody::default()
    };
    let question = Question::of(&app, body).map_err(Problem::of_query)?;
    run(&app, &context, &question).await.map(Json).map_err(Problem::of_query)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BesideParams {
    pub(crate) placement: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) visitor_id: Option<String>,
    pub(crate) session_id: Option<String>,
    /// Only these products.
    pub(crate) filter: Option<String>,
    /// At most this many items.
    pub(crate) limit: Option<usize>,
    /// Say how each score came about.
    pub(crate) explain: bool,
}

async fn beside(app: App, context: &kit::Context, logic: LogicName, id: &str, params: BesideParams) -> Answer<Json<Recommended>> {
    if !app.house.catalog.snapshot().is_empty() {
        products::find(&app, id)?;
    }
    let question = Question::beside(&app, logic, id, params).map_err(Problem::of_query)?;
    run(&app, context, &question).await.map(Json).map_err(Problem::of_query)
}

/// What is bought in one order with a product: at least 3 orders, more often than chance explains (log-likelihood ratio, p < .001).
#[utoipa::path(get, path = "/v1/products/{id}/bought-together", tag = "recommendations", params(("id" = String, Path), BesideParams),
    responses((status = 200, body = Recommended), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn bought_together(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<BesideParams>,
) -> Answer<Json<Recommended>> {
    beside(app, &context, LogicName::BoughtTogether, &id, params).await
}

/// What others see who see a product.
#[utoipa::path(get, path = "/v1/products/{id}/also-viewed", tag = "recommendations", params(("id" = String, Path), BesideParams),
    responses((status = 200, body = Recommended), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn also_viewed(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<BesideParams>,
) -> Answer<Json<Recommended>> {
    beside(app, &context, LogicName::AlsoViewed, &id, params).await
}

/// What goes with a product in other categories: from orders, and by style.
#[utoipa::path(get, path = "/v1/products/{id}/complete-the-look", tag = "recommendations", params(("id" = String, Path), BesideParams),
    responses((status = 200, body = Recommended), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn complete_the_look(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<BesideParams>,
) -> Answer<Json<Recommended>> {
    beside(app, &context, LogicName::CompleteTheLook, &id, params).await
}
