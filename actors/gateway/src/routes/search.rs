//! Search: words, pictures, products and vectors in; one ranked answer out, with nothing in it that cannot be had.

mod ask;
mod body;
mod embed;
mod release;
mod run;
mod served;
mod shadow;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use domain::{FacetCounts, Filter};
use protocol::search::{AttributeInfo, Suggestion};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, Params, media_type};
use crate::problem::{Answer, Problem};
use crate::routes::{App, products};
use crate::schema::{AttributeDoc, Card, FacetCountsDoc, SuggestionDoc};

pub(crate) use ask::{Ask, crop, escaped, filter as parsed_filter, ids, picture, product_id};
pub(crate) use body::{LookBody, Mode, OneOrMany, SearchBody, from_form, listed, read_form};
pub(crate) use embed::picture_problem;
pub(crate) use release::{Answering, COMPARISON};
pub(crate) use run::{find, look, ms, run, run_by};
pub(crate) use served::run_logged;
pub(crate) use shadow::{Shadow, ShadowReport, report as shadow_report};

const SUGGESTIONS_DEFAULT: usize = 8;
const SUGGESTIONS_MAX: usize = 50;
/// What is typed beyond this is no longer completed.
const PREFIX_CHARS_MAX: usize = 200;

/// One ranked product.
#[derive(Serialize, ToSchema)]
pub(crate) struct Item {
    pub id: String,
    /// Comparable within the answer alone; descends through it unless it is sorted or diversified.
    pub score: f32,
    /// From 1, over all pages; a rank that is missing belonged to what could not be had any more.
    pub rank: usize,
    /// What proposed it: `keyword`, `text`, `image`, `colour`, joined by `+`; `browse` where nothing was asked for.
    pub strategy: String,
    /// Why it is here, for people.
    pub reasons: Vec<&'static str>,
    /// Products of its group among everything found, where the answer is grouped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_size: Option<usize>,
    /// How the score came about, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<ItemExplanation>,
    pub product: Card,
}

/// How a score came about.
#[derive(Serialize, ToSchema)]
pub(crate) struct ItemExplanation {
    /// What each part of the query said about the product.
    pub parts: Vec<PartExplanation>,
    /// The shares together.
    pub fused: f32,
    /// What the `boost` formula made of it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boosted: Option<f32>,
}

/// What one part of a query said about a product.
#[derive(Serialize, ToSchema)]
pub(crate) struct PartExplanation {
    /// `keyword`, `image`, `text`, `colour`.
    pub name: &'static str,
    /// The product's place in this part's own ranking, from 1.
    pub rank: usize,
    /// BM25 or cosine.
    pub score: f32,
    /// What it added to the score.
    pub share: f32,
}

/// How the query was understood and answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryExplanation {
    /// The filter in its canonical text form, attributes asked for by `override` included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The words that were looked up as keywords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The spaces that vectors were compared in.
    pub spaces: Vec<&'static str>,
    /// How: `image:graph`, `text:gather`.
    pub plans: Vec<String>,
    /// Whether what is no nearer than unrelated products was dropped.
    pub cut_off: bool,
}

/// Why a product is not in the answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct MissingProduct {
    pub id: String,
    /// `not_missing`, `unknown_product`, `excluded`, `out_of_stock`, `filtered`, `not_embedded`, `below_cut`, `not_matched`,
    /// `further_down`, `grouped`.
    pub code: &'static str,
    /// For people: the condition that failed, the rank reached.
    pub detail: String,
}

/// A ranked answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ranked {
    pub request_id: String,
    /// Sent back with the events that the list leads to, so that reports know what worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution_token: Option<String>,
    pub took_ms: f64,
    /// Milliseconds by stage: `embed`, `search`, `rank`.
    pub stages: BTreeMap<&'static str, f64>,
    pub catalog_version: u64,
    /// The models that took part, with the start of their fingerprints.
    pub model_version: String,
    /// The release that answered.
    pub release: String,
    /// Whether other questions are answered by another release at the same time.
    #[serde(skip)]
    pub is_compared: bool,
    /// Parts that could not take part: `text_embedding`, `not_embedded`, ...
    pub degraded: Vec<&'static str>,
    pub items: Vec<Item>,
    /// As asked for, in order; counted over everything found, an attribute's own conditions left out.
    #[schema(value_type = Vec<FacetCountsDoc>)]
    pub facets: Vec<FacetCounts>,
    pub total: usize,
    pub total_is_exact: bool,
    /// The `offset` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
    /// The words as they were read, where that is not as they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<String>,
    /// Other words that would find more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_you_mean: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingProduct>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<QueryExplanation>,
}

/// What one box of a picture found.
#[derive(Serialize, ToSchema)]
pub(crate) struct BoxItems {
    /// As asked.
    #[serde(rename = "box")]
    pub crop: [f32; 4],
    pub items: Vec<Item>,
    pub total: usize,
    pub total_is_exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<QueryExplanation>,
}

/// One ranked list for each box of a picture.
#[derive(Serialize, ToSchema)]
pub(crate) struct Look {
    pub request_id: String,
    pub took_ms: f64,
    /// Milliseconds by stage: `embed`, `search` (with `rank`).
    pub stages: BTreeMap<&'static str, f64>,
    pub catalog_version: u64,
    /// The model that took part, with the start of its fingerprint.
    pub model_version: String,
    /// The release that answered.
    pub release: String,
    /// Parts that could not take part.
    pub degraded: Vec<&'static str>,
    /// In the order of the boxes.
    pub boxes: Vec<BoxItems>,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimpleParams {
    /// Words; without them every product that passes the filter is listed.
    q: Option<String>,
    /// `brand = "A" AND price < 50`, or the JSON form.
    filter: Option<String>,
    /// Attributes to count, between commas.
    facets: Option<String>,
    /// `price`, `-price`, several between commas; `relevance` is none.
    sort: Option<String>,
    /// `hybrid`, `keyword` or `meaning`.
    mode: Option<String>,
    /// The language of the words (BCP 47), where it is known.
    language: Option<String>,
    /// At most this many items.
    limit: Option<usize>,
    /// Leave out the first so many.
    offset: usize,
    /// Who asks, for reports and experiments; the order does not depend on it.
    user_id: Option<String>,
    visitor_id: Option<String>,
    session_id: Option<String>,
}

/// A filter in a query parameter: JSON begins with a brace.
pub(crate) fn filter_value(text: String) -> Value {
    let json = if text.trim_start().starts_with('{') { serde_json::from_str(&text).ok() } else { None };
    json.unwrap_or(Value::String(text))
}

/// Reads a filter in a query parameter, in either form.
pub(crate) fn filter_of(text: String) -> Answer<Filter> {
    ask::filter(&filter_value(text))
}

impl SimpleParams {
    fn ask(self) -> Answer<Ask> {
        let mode = self.mode.map(|mode| extract::from_value::<Mode>(Value::String(mode)).map_err(|problem| problem.under("/mode")));
        let facets = Value::from(listed(&self.facets.unwrap_or_default()));
        let body = SearchBody {
            text: self.q,
            mode: mode.transpose()?.unwrap_or_default(),
            language: self.language,
            filter: self.filter.filter(|text| !text.trim().is_empty()).map(filter_value),
            facets: extract::from_value(facets)?,
            sort: OneOrMany(self.sort.into_iter().collect()),
            limit: self.limit,
            offset: self.offset,
            user_id: self.user_id,
            visitor_id: self.visitor_id,
            session_id: self.session_id,
            ..SearchBody::default()
        };
        Ask::of(body, None)
    }
}

/// Search by words.
#[utoipa::path(get, path = "/v1/search", tag = "search", params(SimpleParams), responses((status = 200, body = Ranked), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn simple(State(app): State<App>, Ctx(context): Ctx, Params(params): Params<SimpleParams>) -> Answer<Json<Ranked>> {
    let ask = params.ask().map_err(Problem::of_query)?;
    run_logged(&app, &context, ask).await.map(Json).map_err(Problem::of_query)
}

/// Search by words, picture, product, vector, colour or examples, within a filter; counted, sorted, grouped and explained on request.
/// As JSON, or as `multipart/form-data` with a file `image` and every other field as in JSON.
#[utoipa::path(post, path = "/v1/search", tag = "search", request_body(content((SearchBody = "application/json"), (SearchBody = "multipart/form-data"))),
    responses((status = 200, body = Ranked), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn full(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Json<Ranked>> {
    let (body, image) = read(&app, request).await?;
    run_logged(&app, &context, Ask::of(body, image)?).await.map(Json)
}

/// Shop the look: boxes drawn on one picture, one ranked list for each. As JSON, or as `multipart/form-data`.
#[utoipa::path(post, path = "/v1/search:look", tag = "search", request_body(content((LookBody = "application/json"), (LookBody = "multipart/form-data"))),
    responses((status = 200, body = Look), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn full_look(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Json<Look>> {
    let (body, image) = read(&app, request).await?;
    let (ask, crops) = Ask::of_look(body, image)?;
    look(&app, &context, ask, crops).await.map(Json)
}

async fn read<T: serde::de::DeserializeOwned>(app: &App, request: Request) -> Answer<(T, Option<bytes::Bytes>)> {
    match media_type(request.headers()).as_str() {
        "multipart/form-data" => from_form(app, request).await,
        "application/json" => Ok((extract::parse_json(&extract::read_body(request).await?)?, None)),
        _ => Err(Problem::unsupported_media("this address takes application/json or multipart/form-data")),
    }
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimilarParams {
    /// Only these products.
    filter: Option<String>,
    /// At most this many items.
    limit: Option<usize>,
    /// Leave out the first so many.
    offset: usize,
}

/// Products that look like this one; without a picture, products that read like it.
#[utoipa::path(get, path = "/v1/products/{id}/similar", tag = "search", params(("id" = String, Path), SimilarParams), responses((status = 200, body = Ranked), (status = 404, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn similar(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<SimilarParams>,
) -> Answer<Json<Ranked>> {
    let product = products::find(&app, &id)?.product.id.clone();
    let filter = params.filter.map(filter_of).transpose().map_err(Problem::of_query)?;
    let ask = Ask { product: Some(product), filter, limit: params.limit, offset: params.offset, ..Ask::default() };
    run_logged(&app, &context, ask).await.map(Json).map_err(Problem::of_query)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SuggestParams {
    /// What has been typed so far.
    q: String,
    /// At most this many suggestions.
    limit: Option<usize>,
}

/// A list that is complete.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    pub items: Vec<T>,
}

/// Completions of what is being typed, best first.
#[utoipa::path(get, path = "/v1/suggest", tag = "search", params(SuggestParams), responses((status = 200, body = Listed<SuggestionDoc>), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn suggest(State(app): State<App>, Params(params): Params<SuggestParams>) -> Answer<Json<Listed<Suggestion>>> {
    let limit = params.limit.unwrap_or(SUGGESTIONS_DEFAULT);
    if limit == 0 || limit > SUGGESTIONS_MAX {
        return Err(Problem::field("?limit", "out_of_range", format!("must be between 1 and {SUGGESTIONS_MAX}")));
    }
    let prefix: String = params.q.trim_start().chars().take(PREFIX_CHARS_MAX).collect();
    let searcher = app.house.searcher.clone();
    let items = tokio::task::spawn_blocking(move || searcher.suggest(&prefix, limit)).await.map_err(Problem::internal)?;
    Ok(Json(Listed { items }))
}

/// Every attribute that products can be filtered, counted and sorted by, in name order.
#[utoipa::path(get, path = "/v1/attributes", tag = "search", responses((status = 200, body = Listed<AttributeDoc>)))]
pub(crate) async fn attributes(State(app): State<App>) -> Answer<Json<Listed<AttributeInfo>>> {
    known_attributes(&app).await.map(|items| Json(Listed { items }))
}

/// What products can be filtered, counted and sorted by.
pub(crate) async fn known_attributes(app: &App) -> Answer<Vec<AttributeInfo>> {
    let searcher = app.house.searcher.clone();
    tokio::task::spawn_blocking(move || searcher.attributes()).await.map_err(Problem::internal)
}
