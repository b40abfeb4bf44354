//! Price and stock alone: the short way, which touches no index.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::IntoResponse;
use domain::{Offer, ProductId};
use kit::Context;
use protocol::catalog::{CHANGES_MAX, CatalogSnapshot, Change, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::edge::Ctx;
use crate::extract::{self, JsonBody};
use crate::logic::merge::merge;
use crate::logic::nearest::nearest;
use crate::problem::{Answer, Problem};
use crate::routes::{App, products};
use crate::schema::{AvailabilityDoc, MoneyDoc, Written, outcome_parts};
use crate::upload;

/// Changes that go to Watchtower together; small enough that asking whether a product waits stays cheap.
const WAITING_CHANGES_MAX: usize = 256;
const _: () = assert!(WAITING_CHANGES_MAX <= CHANGES_MAX);
const FIELDS: [&str; 5] = ["variant", "price", "sale_price", "availability", "quantity"];

/// What an availability call may set: absent fields stay as they are, `null` removes one.
#[derive(ToSchema)]
#[schema(as = AvailabilityChange)]
#[expect(dead_code, reason = "describes the body in the contract; it is read as a merge patch")]
pub(crate) struct ChangeDoc {
    /// Which variant; absent for all forms of the product.
    variant: Option<String>,
    price: Option<MoneyDoc>,
    sale_price: Option<MoneyDoc>,
    availability: Option<AvailabilityDoc>,
    quantity: Option<u32>,
}

/// Sets price and stock of a product or of one variant.
#[utoipa::path(put, path = "/v1/availability/{id}", tag = "availability", params(("id" = String, Path)), request_body = ChangeDoc,
    responses((status = 200, body = Written), (status = 404, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn put(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer<Json<Written>> {
    let id = products::product_id(&id)?;
    let changes = changes(&*app.house.catalog.snapshot(), &id, body)?;
    let mut total = Outcome::Unchanged;
    for step in products::apply(&app, &context, changes).await? {
        total = sum(total, step?);
    }
    if total == Outcome::NotFound {
        return Err(Problem::not_found("such product or variant"));
    }
    let (outcome, parts) = outcome_parts(total);
    let revision = app.house.catalog.snapshot().get(id.as_str()).map(|revision| revision.revision);
    Ok(Json(Written { id: id.to_string(), outcome, parts, revision, warnings: Vec::new() }))
}

/// The outcome of several changes to one product.
fn sum(left: Outcome, right: Outcome) -> Outcome {
    match (left, right) {
        (Outcome::Updated(left), Outcome::Updated(right)) => Outcome::Updated(left.with(right)),
        (Outcome::Unchanged, other) | (other, Outcome::Unchanged) => other,
        (_, other) => other,
    }
}

/// The changes that a body asks for: of the variant that it names, or of every form of the product.
fn changes(catalog: &dyn CatalogSnapshot, id: &ProductId, body: Value) -> Answer<Vec<Change>> {
    let Value::Object(mut fields) = body else { return Err(Problem::field("", "invalid_value", "must be a JSON object")) };
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let hint =
            nearest(name, FIELDS).map_or_else(|| format!("known are: {}", FIELDS.join(", ")), |near| format!("did you mean `{near}`?"));
        return Err(Problem { status: http::StatusCode::BAD_REQUEST, ..Problem::field(format!("/{name}"), "unknown_field", hint) });
    }
    let variant = match fields.remove("variant") {
        None | Some(Value::Null) => None,
        Some(Value::String(variant)) => Some(variant),
        Some(_) => return Err(Problem::field("/variant", "invalid_value", "must be a string")),
    };
    let revision = catalog.get(id.as_str()).ok_or_else(|| Problem::not_found("such product"))?;
    let product = &revision.product;
    let patch = Value::Object(fields);
    let change =
        |variant: Option<String>, offer: &Offer| Ok(Change::Offer { id: id.clone(), variant, offer: patched(offer, patch.clone())? });
    let known = |name: &String| product.variants.iter().find(|variant| variant.id == *name);
    match &variant {
        Some(name) => {
            let variant = known(name).ok_or_else(|| Problem::not_found("such variant"))?;
            Ok(vec![change(Some(name.clone()), &variant.offer)?])
        }
        None => {
            let whole = std::iter::once((None, &product.offer));
            let forms = product.variants.iter().map(|variant| (Some(variant.id.clone()), &variant.offer));
            whole.chain(forms).map(|(variant, offer)| change(variant, offer)).collect()
        }
    }
}

fn patched(offer: &Offer, patch: Value) -> Answer<Offer> {
    let mut value = serde_json::to_value(offer).map_err(Problem::internal)?;
    merge(&mut value, patch);
    extract::from_value(value)
}

/// One line of a batch.
#[derive(Deserialize)]
struct Line {
    id: ProductId,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

/// What became of one line.
#[derive(Serialize, ToSchema)]
pub(crate) struct LineResult {
    /// From 1.
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// `updated`, `unchanged` or `rejected`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl LineResult {
    fn rejected(line: usize, id: Option<String>, problem: Problem) -> Self {
        Self { line, id, outcome: "rejected", code: Some(problem.code.into_owned()), detail: Some(problem.detail) }
    }

    fn reject(&mut self, problem: Problem) {
        *self = Self::rejected(self.line, self.id.take(), problem);
    }
}

/// Price and stock of many products: NDJSON in (gzip and zstd too), each line an `id` and what `PUT` takes; one result a line
/// out. One bad line never fails the rest.
#[utoipa::path(post, path = "/v1/availability:batch", tag = "availability", request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, content_type = "application/x-ndjson", body = LineResult), (status = 413, body = crate::problem::ProblemBody)))]
pub(crate) async fn batch(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<impl IntoResponse> {
    let bytes_max = app.config.batch_bytes_max;
    let body = extract::read_body_within(request.into_body(), bytes_max).await?;
    let body = tokio::task::spawn_blocking(move || upload::inflate(&body, bytes_max)).await.map_err(Problem::internal)??;
    let mut batch = Batch { app: &app, context: &context, waiting: Vec::new(), results: Vec::new() };
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if batch.results.len() == app.config.batch_lines_max {
            // Lines before this one may have been applied: saying so line by line beats refusing the whole.
            batch.results.push(LineResult::rejected(
                index + 1,
                None,
                Problem::field("", "too_many", format!("at most {} lines", app.config.batch_lines_max)),
            ));
            break;
        }
        batch.take(index + 1, line).await;
    }
    batch.flush().await;
    let mut lines = Vec::new();
    for result in &batch.results {
        serde_json::to_writer(&mut lines, result).map_err(Problem::internal)?;
        lines.push(b'\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines))
}

/// Lines on their way to Watchtower.
struct Batch<'a> {
    app: &'a App,
    context: &'a Context,
    waiting: Vec<Waiting>,
    results: Vec<LineResult>,
}

struct Waiting {
    /// Its place among the results.
    result: usize,
    id: ProductId,
    changes: Vec<Change>,
}

impl Batch<'_> {
    async fn take(&mut self, line: usize, bytes: &[u8]) {
        let Line { id, fields } = match extract::parse_json(bytes) {
            Ok(line) => line,
            Err(problem) => return self.results.push(LineResult::rejected(line, None, problem)),
        };
        // A line changes what the lines before it have left, so one product never waits twice.
        if self.waiting.iter().any(|waiting| waiting.id == id) {
            self.flush().await;
        }
        match changes(&*self.app.house.catalog.snapshot(), &id, fields.into_iter().collect()) {
            Err(problem) => self.results.push(LineResult::rejected(line, Some(id.to_string()), problem)),
            Ok(changes) => {
                if self.waiting.iter().map(|waiting| waiting.changes.len()).sum::<usize>() + changes.len() > WAITING_CHANGES_MAX {
                    self.flush().await;
                }
                self.results.push(LineResult { line, id: Some(id.to_string()), outcome: "unchanged", code: None, detail: None });
                self.waiting.push(Waiting { result: self.results.len() - 1, id, changes });
            }
        }
    }

    /// Applies what waits and writes each outcome to its line.
    async fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let all: Vec<Change> = waiting.iter().flat_map(|waiting| waiting.changes.iter().cloned()).collect();
        if all.is_empty() {
            return;
        }
        let mut outcomes = match products::apply(self.app, self.context, all).await {
            Ok(outcomes) => outcomes.into_iter(),
            Err(problem) => return waiting.iter().for_each(|waiting| self.results[waiting.result].reject(problem.clone())),
        };
        for Waiting { result, changes, .. } in waiting {
            let result = &mut self.results[result];
            let mut total = Outcome::Unchanged;
            for outcome in outcomes.by_ref().take(changes.len()) {
                match outcome {
                    Ok(outcome) => total = sum(total, outcome),
                    Err(error) => result.reject(error.into()),
                }
            }
            match total {
                _ if result.code.is_some() => {}
                Outcome::NotFound => result.reject(Problem::not_found("such product or variant")),
                total => result.outcome = outcome_parts(total).0,
            }
        }
    }
}
