//! Answering: Batman ranks, Flash has the last word on what can be had, the catalog's snapshot says what it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kit::Context;
use protocol::search::{HITS_MAX, SearchAnswer, SearchQuery};
use protocol::vision::Crop;

use super::ask::{Ask, escaped};
use super::embed::{self, Prepared};
use super::release::Answering;
use super::shadow;
use super::{BoxItems, Item, ItemExplanation, Look, MissingProduct, PartExplanation, QueryExplanation, Ranked};
use crate::logic::ranking::{self, Shown};
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::schema::Card;

/// Milliseconds with three places: finer is noise.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Answers a search, by the release that serves whoever asks.
pub(crate) async fn run(app: &App, context: &Context, ask: Ask) -> Answer<Ranked> {
    let answering = Answering::of(app, context, &ask);
    run_by(app, context, ask, answering).await
}

/// Answers a search by this release.
pub(crate) async fn run_by(app: &App, context: &Context, ask: Ask, answering: Answering) -> Answer<Ranked> {
    let started = Instant::now();
    ask.check(app)?;
    let mut stages = BTreeMap::new();
    let prepared = embed::prepare(app, context, &ask, &answering).await?;
    let embed_ms = ms(started.elapsed());
    stages.insert("embed", embed_ms);

    let searching = Instant::now();
    let found = page(app, context, &ask, &prepared.query).await?;
    stages.insert("search", ms(searching.elapsed()));
    let ranking = Instant::now();
    let degraded = degraded([prepared.degraded.as_slice(), found.answer.degraded.as_slice()]);
    let items = items(app, found.shown, &ask);
    stages.insert("rank", ms(ranking.elapsed()));
    let missing = ask.explain_missing.as_ref().zip(found.answer.missing.as_ref());
    let missing = missing.map(|(id, missing)| MissingProduct { id: id.to_string(), code: missing.code, detail: missing.detail.clone() });
    let took = started.elapsed();
    metrics::histogram!("gotham_search_seconds").record(took.as_secs_f64());
    shadow::mirror(app, &ask, &answering, &prepared, embed_ms);
    Ok(Ranked {
        request_id: context.request_id.to_string(),
        attribution_token: None,
        took_ms: ms(took),
        stages,
        catalog_version: app.house.catalog.snapshot().version(),
        model_version: answering.model_version(&prepared.query),
        is_compared: answering.is_compared,
        release: answering.name,
        degraded,
        items,
        explain: ask.explain.then(|| explanation(&prepared.query, &found.answer)),
        facets: found.answer.facets,
        total: found.answer.total.saturating_sub(found.dropped),
        total_is_exact: found.answer.total_is_exact,
        next: found.next,
        corrected: found.answer.corrected,
        did_you_mean: found.answer.did_you_mean,
        missing,
    })
}

/// Answers several boxes of one picture: embedded as one batch, searched side by side.
pub(crate) async fn look(app: &App, context: &Context, ask: Ask, crops: Vec<Crop>) -> Answer<Look> {
    let started = Instant::now();
    ask.check(app)?;
    let mut stages = BTreeMap::new();
    let answering = Answering::of(app, context, &ask);
    let prepared = embed::prepare_look(app, context, &ask, &crops, &answering).await?;
    stages.insert("embed", ms(started.elapsed()));

    let searching = Instant::now();
    let pages = prepared.iter().map(|Prepared { query, .. }| page(app, context, &ask, query));
    let found = futures_util::future::try_join_all(pages).await?;
    let degraded = degraded(found.iter().map(|found| found.answer.degraded.as_slice()));
    let boxes = crops.iter().zip(&prepared).zip(found).map(|((crop, Prepared { query, .. }), found)| BoxItems {
        crop: [crop.x, crop.y, crop.width, crop.height],
        explain: ask.explain.then(|| explanation(query, &found.answer)),
        total: found.answer.total.saturating_sub(found.dropped),
        total_is_exact: found.answer.total_is_exact,
        items: items(app, found.shown, &ask),
    });
    let boxes = boxes.collect();
    stages.insert("search", ms(searching.elapsed()));
    let took = started.elapsed();
    metrics::histogram!("gotham_search_seconds").record(took.as_secs_f64());
    Ok(Look {
        request_id: context.request_id.to_string(),
        took_ms: ms(took),
        stages,
        catalog_version: app.house.catalog.snapshot().version(),
        model_version: prepared.first().map(|prepared| answering.model_version(&prepared.query)).unwrap_or_default(),
        release: answering.name,
        degraded,
        boxes,
    })
}

fn degraded<'a>(parts: impl IntoIterator<Item = &'a [&'static str]>) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = parts.into_iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// One page of a ranking.
struct Found {
    shown: Vec<Shown>,
    /// Hits that turned out not to be showable.
    dropped: usize,
    next: Option<usize>,
    /// Without its hits.
    answer: SearchAnswer,
}

/// Batman leaves out what cannot be had by what he knows; what Flash knows better is dropped here. Only then is there something to
/// make up for: once, as far as the index goes.
async fn page(app: &App, context: &Context, ask: &Ask, query: &SearchQuery) -> Answer<Found> {
    let limit = ask.limit(app);
    let mut query = SearchQuery { offset: ask.offset, limit, ..query.clone() };
    if !ask.is_browsing() && query.words.is_none() && query.vectors.is_empty() && query.colour.is_none() {
        // What was asked with could not be embedded: that is not browsing.
        let answer = SearchAnswer { total_is_exact: true, ..SearchAnswer::default() };
        return Ok(Found { shown: Vec::new(), dropped: 0, next: None, answer });
    }
    loop {
        let mut answer = find(app, context, query.clone()).await.map_err(|problem| located(problem, ask))?;
        let hits = std::mem::take(&mut answer.hits);
        let fetched = hits.len();
        let catalog = app.house.catalog.snapshot();
        let offer = |id: &str| app.house.offers.offer(id);
        let mut shown = ranking::showable(hits, ask.offset, &*catalog, offer, ask.include_unavailable);
        let dropped = fetched - shown.len();
        let reach = HITS_MAX - ask.offset;
        if dropped > 0 && shown.len() < limit && ask.offset + fetched < answer.total && query.limit < reach {
            query.limit = reach;
            continue;
        }
        metrics::counter!("gotham_unavailable_dropped_total").increment(dropped as u64);
        let is_cut = shown.len() > limit;
        shown.truncate(limit);
        let end = if is_cut { shown.last().map_or(ask.offset, |last| last.rank) } else { ask.offset + fetched };
        let has_more = fetched > 0 && end < answer.total && end + limit <= HITS_MAX;
        return Ok(Found { shown, dropped, next: has_more.then_some(end), answer });
    }
}

/// Batman counts quotas and knows one filter; the caller named the quotas, and may have given an override in place of a filter.
fn located(mut problem: Problem, ask: &Ask) -> Problem {
    for error in &mut problem.errors {
        let quota = error.pointer.strip_prefix("/diversity/quotas/").and_then(|index| index.parse::<usize>().ok());
        if let Some((attribute, _)) = quota.and_then(|index| ask.diversity.as_ref()?.quotas.get(index)) {
            error.pointer = format!("/diversity/quotas/{}", escaped(attribute));
        } else if error.pointer == "/filter" && ask.filter.is_none() {
            error.pointer = "/override".to_owned();
        }
    }
    problem
}

/// Asks Batman, within the request's deadline.
pub(crate) async fn find(app: &App, context: &Context, query: SearchQuery) -> Answer<SearchAnswer> {
    let searching = app.house.searcher.search(context, query);
    let answer = tokio::time::timeout_at(context.deadline, searching).await;
    Ok(answer.map_err(|_| Problem::unavailable("deadline_exceeded", "the search did not end in time"))??)
}

fn items(app: &App, shown: Vec<Shown>, ask: &Ask) -> Vec<Item> {
    let item = |Shown { rank, hit, revision, offer }: Shown| Item {
        id: hit.product.to_string(),
        score: hit.score,
        rank,
        strategy: if hit.found_by.is_empty() { "browse".to_owned() } else { hit.found_by.join("+") },
        reasons: hit.found_by.iter().map(|part| reason(part)).collect(),
        group_size: hit.group_size,
        explain: ask.explain.then(|| ItemExplanation {
            fused: hit.parts.iter().map(|part| part.share).sum(),
            boosted: ask.boost.as_ref().map(|_| hit.score),
            parts: hit
                .parts
                .iter()
                .map(|part| PartExplanation { name: part.name, rank: part.rank, score: part.score, share: part.share })
                .collect(),
        }),
        product: Card::of(&revision, &offer),
    };
    let items: Vec<Item> = shown.into_iter().map(item).collect();
    if !ask.include_unavailable {
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
        "colour" => "has a colour near it",
        _ => "found by the index",
    }
}

fn explanation(query: &SearchQuery, answer: &SearchAnswer) -> QueryExplanation {
    QueryExplanation {
        filter: query.filter.as_ref().map(ToString::to_string),
        words: answer.corrected.clone().or_else(|| query.words.clone()),
        spaces: query.vectors.iter().map(|vector| vector.space.as_str()).collect(),
        plans: answer.plans.clone(),
        cut_off: query.cut_off,
    }
}
