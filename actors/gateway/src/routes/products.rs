//! Products: read one or all, write one through Joker's checks, pictures, variants, export.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Product, ProductId};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::Context;
use protocol::catalog::{CatalogMsg, Change, Outcome, ProductRevision};
use protocol::ingest::IngestMsg;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use crate::edge::{Ctx, has_current};
use crate::extract::{self, JsonBody, Params};
use crate::logic::{cursor, merge};
use crate::problem::{Answer, Problem};
use crate::routes::{App, search, shop};
use crate::schema::{Page, Written, outcome_parts};

const LIMIT_DEFAULT: usize = 50;
const SOURCE_DEFAULT: &str = "api";
/// Products in one piece of an export.
const EXPORT_STEP: usize = 256;
/// Pieces of an export that wait for a slow reader.
const EXPORT_PIECES_MAX: usize = 4;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// At most this many.
    limit: Option<usize>,
    /// From the page before.
    cursor: Option<String>,
    /// Of this brand alone.
    brand: Option<String>,
    /// In this category, at any level.
    category: Option<String>,
    /// Only what this filter takes: `brand = "A" AND price < 50`, or the JSON form.
    filter: Option<String>,
}

/// Products in id order, whether they can be had or not. A filter is answered by the search index, which follows a change of the
/// catalog within moments; a page may then hold fewer than `limit` and still have a next one.
#[utoipa::path(get, path = "/v1/products", tag = "products", params(ListParams), responses((status = 200, body = Page<Object>), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn list(State(app): State<App>, Ctx(context): Ctx, Params(params): Params<ListParams>) -> Answer<Json<Page<Product>>> {
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, app.config.limit_max);
    let after = decode_cursor(params.cursor.as_deref())?;
    let takes = shop::Takes { brand: params.brand, category: params.category };
    let (found, next) = match params.filter.filter(|filter| !filter.trim().is_empty()) {
        Some(filter) => {
            let filter = search::filter_of(filter).map_err(Problem::of_query)?;
            shop::filtered(&app, &context, after, limit, &takes, &filter).await.map_err(Problem::of_query)?
        }
        None => {
            let snapshot = app.house.catalog.snapshot();
            let scan = move || shop::scan(&*snapshot, after, limit, |revision| takes.takes(&revision.product));
            tokio::task::spawn_blocking(scan).await.map_err(Problem::internal)?
        }
    };
    let items = found.iter().map(|revision| revision.product.clone()).collect();
    Ok(Json(Page { items, next: next.map(|position| cursor::encode(&position)) }))
}

/// The position that a cursor stands for.
pub(crate) fn decode_cursor(text: Option<&str>) -> Answer<Option<String>> {
    text.map(|text| cursor::decode(text).ok_or_else(|| Problem::bad_request("invalid_cursor", "this cursor is none of ours"))).transpose()
}

/// The product that an id names.
pub(crate) fn find(app: &App, id: &str) -> Answer<std::sync::Arc<ProductRevision>> {
    app.house.catalog.snapshot().get(id).ok_or_else(|| Problem::not_found("such product"))
}

fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// One product, with its revision as entity tag.
#[utoipa::path(get, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 304), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Answer<Response> {
    let revision = find(&app, &id)?;
    let tag = etag(revision.revision);
    if has_current(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(&revision.product)).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteParams {
    /// The catalog source it belongs to; the one it has, or `api`, when absent.
    source: Option<String>,
}

/// Creates or replaces a product. `If-Match` takes the revision, `If-None-Match: *` only creates.
#[utoipa::path(put, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path), WriteParams), request_body = Object,
    responses((status = 200, body = Written), (status = 201, body = Written), (status = 412, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn put(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<WriteParams>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer<Response> {
    let id = product_id(&id)?;
    let present = precondition(&app, &id, &headers)?;
    let source =
        params.source.unwrap_or_else(|| present.as_ref().map_or_else(|| SOURCE_DEFAULT.to_owned(), |revision| revision.source.to_string()));
    write(&app, &context, &id, body, source).await
}

/// Changes a product by JSON merge patch (RFC 7396): `null` removes a field.
#[utoipa::path(patch, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path)), request_body(content = Object, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Written), (status = 404, body = crate::problem::ProblemBody), (status = 412, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn patch(State(app): State<App>, Ctx(context): Ctx, Path(id): Path<String>, request: Request) -> Answer<Response> {
    if !extract::is_json(request.headers()) {
        return Err(Problem::unsupported_media("this address takes application/merge-patch+json"));
    }
    let id = product_id(&id)?;
    let present = precondition(&app, &id, request.headers())?.ok_or_else(|| Problem::not_found("such product"))?;
    let patch: Value = extract::parse_json(&extract::read_body(request).await?)?;
    let mut body = serde_json::to_value(&present.product).map_err(Problem::internal)?;
    merge::merge(&mut body, patch);
    write(&app, &context, &id, body, present.source.to_string()).await
}

/// Deletes a product.
#[utoipa::path(delete, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path)), responses((status = 200, body = Written), (status = 404, body = crate::problem::ProblemBody), (status = 412, body = crate::problem::ProblemBody)))]
pub(crate) async fn delete(State(app): State<App>, Ctx(context): Ctx, Path(id): Path<String>, headers: HeaderMap) -> Answer<Json<Written>> {
    let id = product_id(&id)?;
    precondition(&app, &id, &headers)?;
    let outcome = apply(&app, &context, vec![Change::Delete { id: id.clone(), run: None }]).await?.pop();
    match outcome.ok_or_else(|| Problem::internal("no outcome for a change"))?? {
        Outcome::NotFound => Err(Problem::not_found("such product")),
        outcome => Ok(Json(Written {
            id: id.to_string(),
            outcome: outcome_parts(outcome).0,
            parts: Vec::new(),
            revision: None,
            warnings: Vec::new(),
        })),
    }
}

pub(crate) fn product_id(text: &str) -> Answer<ProductId> {
    text.parse().map_err(|error: domain::IdError| Problem::field("/id", "invalid_id", error.to_string()))
}

/// Changes the catalog; one outcome a change.
pub(crate) async fn apply(
    app: &App,
    context: &Context,
    changes: Vec<Change>,
) -> Answer<Vec<Result<Outcome, protocol::catalog::CatalogError>>> {
    Ok(app.house.catalog_address.call(context, |reply| CatalogMsg::Apply { changes, reply }).await??)
}

/// The product as it is, if the request's conditions on it hold.
fn precondition(app: &App, id: &ProductId, headers: &HeaderMap) -> Answer<Option<std::sync::Arc<ProductRevision>>> {
    let present = app.house.catalog.snapshot().get(id.as_str());
    let tag = present.as_ref().map(|revision| etag(revision.revision));
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let failed = |detail: &str| Problem::new(StatusCode::PRECONDITION_FAILED, "revision_differs", detail);
    if let Some(wanted) = text(header::IF_MATCH) {
        let matches = tag.as_deref().is_some_and(|tag| wanted.trim() == "*" || wanted.split(',').any(|one| one.trim() == tag));
        if !matches {
            return Err(failed(
                &tag.map_or_else(|| "there is no such product".to_owned(), |tag| format!("the product's revision is {tag}")),
            ));
        }
    }
    if text(header::IF_NONE_MATCH).is_some_and(|value| value.trim() == "*") && tag.is_some() {
        return Err(failed("the product exists already"));
    }
    Ok(present)
}

async fn write(app: &App, context: &Context, id: &ProductId, mut body: Value, source: String) -> Answer<Response> {
    let Some(object) = body.as_object_mut() else { return Err(Problem::field("", "invalid_value", "a product is a JSON object")) };
    match object.get("id") {
        None => {
            object.insert("id".to_owned(), Value::String(id.to_string()));
        }
        Some(Value::String(given)) if given == id.as_str() => {}
        Some(_) => return Err(Problem::field("/id", "id_differs", "the id in the body is not the one in the address")),
    }
    let json = serde_json::to_vec(&body).map_err(Problem::internal)?;
    let answer = app.house.joker.call(context, |reply| IngestMsg::Put { json, source, reply }).await??;
    let (outcome, parts) = outcome_parts(answer.outcome);
    let revision = app.house.catalog.snapshot().get(answer.id.as_str()).map(|revision| revision.revision);
    let status = if answer.outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    let written = Written { id: answer.id.to_string(), outcome, parts, revision, warnings: answer.warnings };
    let mut response = (status, Json(written)).into_response();
    if let Some(tag) = revision.and_then(|revision| HeaderValue::from_str(&etag(revision)).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A product's buyable forms and the other products of its group.
#[derive(Serialize, ToSchema)]
pub(crate) struct Variants {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    /// As in the product itself.
    #[schema(value_type = Vec<Object>)]
    variants: Vec<domain::Variant>,
    /// Other products of the same group.
    group: Vec<crate::schema::Card>,
}

/// The product's own variants, and the other products of its group.
#[utoipa::path(get, path = "/v1/products/{id}/variants", tag = "products", params(("id" = String, Path)), responses((status = 200, body = Variants), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn variants(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Variants>> {
    let revision = find(&app, &id)?;
    let product = &revision.product;
    let group = shop::siblings(&app, &revision);
    Ok(Json(Variants { id, group_id: product.group_id.clone(), variants: product.variants.clone(), group }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageParams {
    /// Which of the product's pictures; 0 is the main one.
    #[serde(default)]
    index: usize,
    /// The picture's content hash: the answer may then be kept for ever.
    v: Option<String>,
}

/// A product's picture, scaled down, as JPEG.
#[utoipa::path(get, path = "/v1/products/{id}/image", tag = "products", params(("id" = String, Path), ImageParams), responses((status = 200, content_type = "image/jpeg", body = Vec<u8>), (status = 304), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn image(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<ImageParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    let vision = app.house.vision.clone();
    let read = tokio::task::spawn_blocking(move || vision.thumbnail(&id, params.index)).await.map_err(Problem::internal)?;
    let thumbnail = read.ok_or_else(|| Problem::not_found("picture of that product (yet)"))?;
    let content = thumbnail.content.to_hex();
    // Only an address that names the content never changes its meaning.
    let caching = if params.v.as_deref() == Some(content.as_str()) { "public, max-age=31536000, immutable" } else { "public, max-age=60" };
    let tag = format!("\"{content}\"");
    let cached = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, caching.to_owned())];
    if has_current(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    Ok((cached, [(header::CONTENT_TYPE, "image/jpeg")], thumbnail.jpeg).into_response())
}

/// All products as NDJSON, one a line, as they were when the export began; the lines can be sent back to `products:batch`.
#[utoipa::path(get, path = "/v1/products:export", tag = "products", responses((status = 200, content_type = "application/x-ndjson", body = String)))]
pub(crate) async fn export(State(app): State<App>) -> Response {
    let (sender, pieces) = mpsc::channel::<io::Result<Bytes>>(EXPORT_PIECES_MAX);
    let stall_max = app.config.stall_timeout();
    let snapshot = app.house.catalog.snapshot();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut after: Option<ProductId> = None;
        loop {
            let page = snapshot.page(after.as_ref().map(ProductId::as_str), EXPORT_STEP);
            let Some(last) = page.last() else { return };
            after = Some(last.product.id.clone());
            let piece = lines(&page);
            // A reader that has gone or reads nothing ends the export.
            if !matches!(runtime.block_on(tokio::time::timeout(stall_max, sender.send(piece))), Ok(Ok(()))) {
                return;
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(ReceiverStream::new(pieces))).into_response()
}

fn lines(page: &[std::sync::Arc<ProductRevision>]) -> io::Result<Bytes> {
    let mut lines = Vec::new();
    for revision in page {
        serde_json::to_writer(&mut lines, &revision.product)?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}
