//! Search: words, pictures, products and vectors in; one ranked answer out, with nothing in it that cannot be had.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Path, Request, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::ProductId;
use kit::Context;
use protocol::search::{HITS_MAX, Hit, SearchQuery};
use protocol::vision::{Space, VisionError, VisionMsg};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, Params, body_problem, media_type};
use crate::logic::ranking::{self, Shown};
use crate::problem::{Answer, Problem};
use crate::routes::{App, products};
use crate::schema::Card;

pub(crate) const LIMIT_DEFAULT: usize = 20;
/// A query that goes on for longer is no query.
const TEXT_CHARS_MAX: usize = 1_000;
const EXCLUDE_IDS_MAX: usize = 1_000;
/// Words are answered by keywords alone when the text model takes longer than this.
const TEXT_EMBEDDING_MAX: Duration = Duration::from_millis(1_500);

/// What to look for: at least one of `text`, `image`, `product_id`, `vector`. All given parts count together.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words, matched as keywords and by meaning.
    text: Option<String>,
    /// A picture (JPEG, PNG, WebP, GIF), base64.
    image: Option<String>,
    /// Products like this one; it and its group are left out.
    product_id: Option<String>,
    /// A vector of a loaded model's width.
    vector: Option<Vec<f32>>,
    /// At most this many items.
    limit: Option<usize>,
    /// Leave out the first so many.
    offset: Option<usize>,
    /// Never in the answer.
    exclude_ids: Vec<String>,
    /// Also what a shopper cannot have now.
    include_unavailable: bool,
}

/// One ranked product.
#[derive(Serialize, ToSchema)]
pub(crate) struct Item {
    pub id: String,
    /// Descends through the answer; comparable within it alone.
    pub score: f32,
    /// From 1.
    pub rank: usize,
    /// What proposed it: `keyword`, `text`, `image`, joined by `+`.
    pub strategy: String,
    /// Why it is here, for people.
    pub reasons: Vec<&'static str>,
    pub product: Card,
}

/// A ranked answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ranked {
    pub request_id: String,
    pub took_ms: f64,
    /// Milliseconds by stage: `embed`, `search`, `rank`.
    pub stages: BTreeMap<&'static str, f64>,
    pub catalog_version: u64,
    /// The models that took part, with the start of their fingerprints.
    pub model_version: String,
    /// Parts that could not take part: `text_embedding`, `not_embedded`, ...
    pub degraded: Vec<&'static str>,
    pub items: Vec<Item>,
    pub total: usize,
    pub total_is_exact: bool,
    /// The `offset` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// A search as the handlers and pages ask for it.
#[derive(Default)]
pub(crate) struct Ask {
    pub text: Option<String>,
    pub image: Option<Bytes>,
    pub product: Option<ProductId>,
    pub vector: Option<Arc<[f32]>>,
    pub limit: Option<usize>,
    pub offset: usize,
    pub exclude: Vec<ProductId>,
    pub include_unavailable: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimpleParams {
    /// Words.
    q: String,
    /// At most this many items.
    limit: Option<usize>,
    /// Leave out the first so many.
    #[serde(default)]
    offset: usize,
}

/// Search by words.
#[utoipa::path(get, path = "/v1/search", tag = "search", params(SimpleParams), responses((status = 200, body = Ranked), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn simple(State(app): State<App>, Ctx(context): Ctx, Params(params): Params<SimpleParams>) -> Answer<Json<Ranked>> {
    let ask = Ask { text: Some(params.q), limit: params.limit, offset: params.offset, ..Ask::default() };
    run(&app, &context, ask).await.map(Json)
}

/// Search by words, picture, product or vector: as JSON, or as `multipart/form-data` with a file `image`.
#[utoipa::path(post, path = "/v1/search", tag = "search", request_body(content((SearchBody = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses((status = 200, body = Ranked), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn full(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Json<Ranked>> {
    let ask = match media_type(request.headers()).as_str() {
        "multipart/form-data" => from_form(&app, request).await?,
        "application/json" => from_json(extract::parse_json(&extract::read_body(request).await?)?)?,
        _ => return Err(Problem::unsupported_media("this address takes application/json or multipart/form-data")),
    };
    run(&app, &context, ask).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimilarParams {
    /// At most this many items.
    limit: Option<usize>,
    /// Leave out the first so many.
    #[serde(default)]
    offset: usize,
}

/// Products that look like this one; without a picture, products that read like it.
#[utoipa::path(get, path = "/v1/products/{id}/similar", tag = "search", params(("id" = String, Path), SimilarParams), responses((status = 200, body = Ranked), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn similar(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<SimilarParams>,
) -> Answer<Json<Ranked>> {
    let product = products::find(&app, &id)?.product.id.clone();
    run(&app, &context, Ask { product: Some(product), limit: params.limit, offset: params.offset, ..Ask::default() }).await.map(Json)
}

fn from_json(body: SearchBody) -> Answer<Ask> {
    let image = body.image.map(|text| {
        // A data URL is what a page has at hand.
        let base64 = text.split_once(";base64,").map_or(text.as_str(), |(_, data)| data);
        STANDARD.decode(base64).map(Bytes::from).map_err(|_| Problem::field("/image", "invalid_base64", "must be base64"))
    });
    if body.exclude_ids.len() > EXCLUDE_IDS_MAX {
        return Err(Problem::field("/exclude_ids", "too_many", format!("at most {EXCLUDE_IDS_MAX}")));
    }
    let id = |text: &String| text.parse::<ProductId>().map_err(|error| Problem::field("/exclude_ids", "invalid_id", error.to_string()));
    Ok(Ask {
        text: body.text,
        image: image.transpose()?,
        product: body.product_id.map(|id| products::product_id(&id)).transpose()?,
        vector: body.vector.map(Arc::from),
        limit: body.limit,
        offset: body.offset.unwrap_or_default(),
        exclude: body.exclude_ids.iter().map(id).collect::<Answer<_>>()?,
        include_unavailable: body.include_unavailable,
    })
}

/// Reads a form: the file `image`, and `text`, `limit`, `offset` as in JSON.
pub(crate) async fn from_form(app: &App, request: Request) -> Answer<Ask> {
    let bytes_max = app.config.image_bytes_max;
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| Problem::bad_request("invalid_form", error.body_text()))?;
    let mut ask = Ask::default();
    while let Some(mut field) = form.next_field().await.map_err(|error| body_problem(&error, bytes_max))? {
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| body_problem(&error, bytes_max))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > bytes_max {
                return Err(Problem::too_large(bytes_max));
            }
        }
        let text = || String::from_utf8(bytes.clone()).map_err(|_| Problem::field(format!("/{name}"), "invalid_value", "is not UTF-8"));
        let number =
            || text()?.trim().parse::<usize>().map_err(|_| Problem::field(format!("/{name}"), "invalid_value", "must be a number"));
        match name.as_str() {
            "image" => ask.image = Some(bytes.into()),
            "text" => ask.text = Some(text()?).filter(|text| !text.trim().is_empty()),
            "limit" => ask.limit = Some(number()?),
            "offset" => ask.offset = number()?,
            "product_id" => ask.product = Some(products::product_id(&text()?)?),
            unknown => {
                return Err(Problem::deserialize(
                    &format!("unknown field `{unknown}`, expected one of `image`, `text`, `limit`, `offset`, `product_id`"),
                    true,
                    "/",
                ));
            }
        }
    }
    Ok(ask)
}

/// Milliseconds with three places: finer is noise.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Answers a search.
pub(crate) async fn run(app: &App, context: &Context, ask: Ask) -> Answer<Ranked> {
    let started = Instant::now();
    let limit = ask.limit.unwrap_or(LIMIT_DEFAULT);
    check(app, &ask, limit)?;
    let mut stages = BTreeMap::new();
    let (query, mut degraded, text_vector) = embed(app, context, &ask).await?;
    stages.insert("embed", ms(started.elapsed()));

    let searching = Instant::now();
    let excluded = excluded(app, &ask);
    let wanted = ask.offset + limit;
    let mut fetch = ranking::fetch_limit(wanted);
    let (shown, is_exact) = loop {
        let query = SearchQuery { limit: fetch, exclude: excluded.iter().cloned().collect(), ..query.clone() };
        let (hits, mut missing) = find(app, context, query).await?;
        stages.insert("search", ms(searching.elapsed()));
        let is_exact = hits.len() < fetch;
        let hits = drop_unrelated(app, hits, text_vector.clone()).await?;
        let catalog = app.house.catalog.snapshot();
        let shown = ranking::showable(hits, &*catalog, |id| app.house.offers.offer(id), &excluded, ask.include_unavailable);
        // So much was dropped that a full page is missing: look once more, as far as the index goes.
        if shown.len() < wanted && !is_exact && fetch < HITS_MAX {
            fetch = HITS_MAX;
            continue;
        }
        degraded.append(&mut missing);
        break (shown, is_exact);
    };
    degraded.sort_unstable();
    degraded.dedup();
    let total = shown.len();
    let items = items(app, shown, ask.offset, limit, ask.include_unavailable);
    stages.insert("rank", ms(searching.elapsed()) - stages.get("search").copied().unwrap_or_default());
    let next = (ask.offset + items.len() < total && !items.is_empty()).then_some(ask.offset + items.len());
    let took = started.elapsed();
    metrics::histogram!("gotham_search_seconds").record(took.as_secs_f64());
    Ok(Ranked {
        request_id: context.request_id.to_string(),
        took_ms: ms(took),
        stages,
        catalog_version: app.house.catalog.snapshot().version(),
        model_version: model_version(app, &query),
        degraded,
        items,
        total,
        total_is_exact: is_exact,
        next,
    })
}

fn check(app: &App, ask: &Ask, limit: usize) -> Answer<()> {
    let text = ask.text.as_deref().map(str::trim);
    if text == Some("") {
        return Err(Problem::field("/text", "empty", "must not be empty"));
    }
    if text.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
        return Err(Problem::field("/text", "too_long", format!("at most {TEXT_CHARS_MAX} characters")));
    }
    if ask.text.is_none() && ask.image.is_none() && ask.product.is_none() && ask.vector.is_none() {
        return Err(Problem::field("", "missing", "give at least one of text, image, product_id, vector"));
    }
    if ask.image.as_ref().is_some_and(|image| image.len() as u64 > app.config.image_bytes_max) {
        return Err(Problem::too_large(app.config.image_bytes_max));
    }
    if limit == 0 || limit > app.config.limit_max {
        return Err(Problem::field("/limit", "out_of_range", format!("must be between 1 and {}", app.config.limit_max)));
    }
    if ask.offset > HITS_MAX - app.config.limit_max.min(HITS_MAX) {
        return Err(Problem::field("/offset", "out_of_range", format!("offset and limit together reach at most {HITS_MAX}")));
    }
    Ok(())
}

type TextVector = Option<Arc<[f32]>>;

/// Turns what is asked into words and vectors. Words are answered without their vector where that cannot be had.
async fn embed(app: &App, context: &Context, ask: &Ask) -> Answer<(SearchQuery, Vec<&'static str>, TextVector)> {
    let mut query = SearchQuery::default();
    let mut degraded = Vec::new();
    let mut text_vector = None;
    if let Some(image) = &ask.image {
        let images = vec![image.clone()];
        let answers = app.house.nightwing.call(context, |reply| VisionMsg::EmbedImages { images, reply }).await?;
        let embedding = answers.into_iter().next().ok_or_else(|| Problem::internal("no answer for a picture"))??;
        query.vectors.push((Space::Image, embedding.vector));
    }
    if let Some(text) = ask.text.as_deref().map(str::trim) {
        query.words = Some(text.to_owned());
        match embed_text(app, context, text).await {
            Some(vector) => {
                query.vectors.push((Space::Text, Arc::clone(&vector)));
                text_vector = Some(vector);
            }
            None => degraded.push("text_embedding"),
        }
    }
    if let Some(vector) = &ask.vector {
        let models = app.house.vision.models();
        let model = models.iter().find(|model| model.dimensions == vector.len());
        let model = model.ok_or_else(|| {
            Problem::field("/vector", "invalid_vector", format!("no loaded model has vectors of {} numbers", vector.len()))
        })?;
        query.vectors.push((model.space, normalised(vector)?));
    }
    if let Some(product) = &ask.product {
        match own_vector(app, product).await? {
            Some(own) => query.vectors.push(own),
            None => degraded.push("not_embedded"),
        }
    }
    Ok((query, degraded, text_vector))
}

async fn embed_text(app: &App, context: &Context, text: &str) -> TextVector {
    if !app.house.vision.models().iter().any(|model| model.space == Space::Text) {
        return None;
    }
    let context = context.with_timeout(TEXT_EMBEDDING_MAX.min(context.remaining()));
    let texts = vec![text.to_owned()];
    let answers: Result<Vec<Result<_, VisionError>>, _> =
        app.house.nightwing.call(&context, |reply| VisionMsg::EmbedTexts { texts, reply }).await;
    answers.ok()?.into_iter().next()?.ok().map(|embedding| embedding.vector)
}

fn normalised(vector: &[f32]) -> Answer<Arc<[f32]>> {
    let norm = ranking::cosine(vector, vector).sqrt();
    if !norm.is_finite() || norm <= 0.0 {
        return Err(Problem::field("/vector", "invalid_vector", "must hold finite numbers that are not all zero"));
    }
    Ok(vector.iter().map(|number| number / norm).collect())
}

/// The vector of the product's main picture, or else of its text.
async fn own_vector(app: &App, product: &ProductId) -> Answer<Option<(Space, Arc<[f32]>)>> {
    let (vision, product) = (app.house.vision.clone(), product.clone());
    let read = move || {
        let first = |space: Space| vision.vectors(product.as_str(), space).into_iter().next().map(|embedding| (space, embedding.vector));
        first(Space::Image).or_else(|| first(Space::Text))
    };
    tokio::task::spawn_blocking(read).await.map_err(Problem::internal)
}

/// What is never shown: what the caller names, the product asked with and its group.
fn excluded(app: &App, ask: &Ask) -> HashSet<ProductId> {
    let mut excluded: HashSet<ProductId> = ask.exclude.iter().cloned().collect();
    if let Some(product) = &ask.product {
        let catalog = app.house.catalog.snapshot();
        let group = catalog.get(product.as_str()).and_then(|revision| revision.product.group_id.clone());
        excluded.extend(group.map(|group| catalog.group(&group)).unwrap_or_default());
        excluded.insert(product.clone());
    }
    excluded
}

async fn find(app: &App, context: &Context, query: SearchQuery) -> Answer<(Vec<Hit>, Vec<&'static str>)> {
    if query.words.is_none() && query.vectors.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let searching = app.house.searcher.search(context, query);
    let answer = tokio::time::timeout_at(context.deadline, searching).await;
    let answer = answer.map_err(|_| Problem::unavailable("deadline_exceeded", "the search did not end in time"))??;
    Ok((answer.hits, answer.degraded))
}

/// Hits that only their meaning brought in are measured: the cosine of their own text decides.
async fn drop_unrelated(app: &App, hits: Vec<Hit>, text_vector: TextVector) -> Answer<Vec<Hit>> {
    let Some(query) = text_vector else { return Ok(hits) };
    let unsure = ranking::found_by_text_alone(&hits);
    if unsure.is_empty() {
        return Ok(hits);
    }
    let vision = app.house.vision.clone();
    let measure = move || -> std::collections::HashMap<ProductId, f32> {
        let cosine = |id: &ProductId| {
            vision.vectors(id.as_str(), Space::Text).iter().map(|own| ranking::cosine(&own.vector, &query)).reduce(f32::max)
        };
        unsure.into_iter().filter_map(|id| cosine(&id).map(|cosine| (id, cosine))).collect()
    };
    let cosines = tokio::task::spawn_blocking(measure).await.map_err(Problem::internal)?;
    Ok(ranking::drop_unrelated(hits, |id| cosines.get(id).copied()))
}

fn items(app: &App, shown: Vec<Shown>, offset: usize, limit: usize, include_unavailable: bool) -> Vec<Item> {
    let page = shown.into_iter().enumerate().skip(offset).take(limit);
    let items = page.map(|(index, Shown { hit, revision, offer })| Item {
        id: hit.product.to_string(),
        score: hit.score,
        rank: index + 1,
        strategy: hit.found_by.join("+"),
        reasons: hit.found_by.iter().map(|part| reason(part)).collect(),
        product: Card::of(&revision, &offer),
    });
    let items: Vec<Item> = items.collect();
    if !include_unavailable {
        // Asked once more at the very last: what this finds was shown wrongly.
        let wrong = items.iter().filter(|item| app.house.offers.offer(&item.id).is_some_and(|offer| !offer.is_available)).count();
        metrics::counter!("gotham_unavailable_shown_total").increment(wrong as u64);
    }
    items
}

fn reason(part: &str) -> &'static str {
    match part {
        "keyword" => "has the words",
        "image" => "looks alike",
        "text" => "means something alike",
        _ => "found by the index",
    }
}

fn model_version(app: &App, query: &SearchQuery) -> String {
    let models = app.house.vision.models();
    let took_part = models.iter().filter(|model| query.vectors.iter().any(|(space, _)| *space == model.space));
    let names: Vec<String> =
        took_part.map(|model| format!("{}@{}", model.name, model.fingerprint.chars().take(8).collect::<String>())).collect();
    names.join("+")
}
