//! The inspector sees what the live release is asked: a sample of the questions is answered by both, behind the caller's back. One at a
//! time and with a rest behind each, so that it takes no more than a share of one thread; whatever comes meanwhile is not mirrored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ProductId;
use kit::{Context, Priority};
use protocol::releases::Rank;
use protocol::search::SearchQuery;
use protocol::tags::{AttributeAgreement, TagAgreement};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::ask::Ask;
use super::embed::{self, Prepared};
use super::release::Answering;
use super::run::{find, ms};
use crate::logic::shadow::{Comparison, Comparisons, Figures};
use crate::problem::Answer;
use crate::routes::App;
use crate::schema::rfc3339;

/// How deep both rankings are read.
const DEPTH: usize = 50;
/// A mirrored question ends by then.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The rest behind a mirrored question, in times of what it took.
const REST: u32 = 4;

/// What the inspector on duty has answered since Robin's start.
pub(crate) struct Shadow {
    /// One mirrored question at a time.
    gate: Arc<Semaphore>,
    observed: Arc<Mutex<Observed>>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(1)), observed: Arc::default() }
    }
}

/// Who is compared with whom.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pair {
    /// Name and fingerprint of the inspector.
    inspector: (String, String),
    /// Of the live release.
    live: (String, String),
}

#[derive(Default)]
struct Observed {
    pair: Pair,
    since_ms: i64,
    comparisons: Comparisons,
}

/// How the inspector's answers compare with the live release's.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShadowReport {
    /// The inspector.
    pub release: String,
    /// The live release.
    pub compared_with: String,
    /// The first mirrored question, or where there was none the comparison of tags; in memory alone, so never before Robin's start.
    pub since: String,
    #[serde(flatten)]
    pub figures: Figures,
    /// Of tags, where both make them in different ways and have been compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagFigures>,
}

/// How far both say the same of what pictures show, over a sample of products.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagFigures {
    pub at: String,
    /// Products that both were asked about.
    pub products: usize,
    pub attributes: Vec<AttributeFigures>,
}

/// The same of one attribute.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttributeFigures {
    pub attribute: String,
    /// Products of which both tell a fact.
    pub compared: usize,
    /// Share of those of which they tell the same one.
    pub facts_agree: Option<f64>,
    /// Products of which both say anything.
    pub guesses_compared: usize,
    /// Share of those of which they say the same first.
    pub guesses_agree: Option<f64>,
    /// Share of the products of which the live release tells a fact.
    pub live_coverage: f64,
    /// Of which the inspector does.
    pub shadow_coverage: f64,
}

impl TagFigures {
    fn of(agreement: &TagAgreement) -> Self {
        let products = agreement.products;
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        let figures = |own: &AttributeAgreement| AttributeFigures {
            attribute: own.attribute.clone(),
            compared: own.both_facts,
            facts_agree: share(own.same_facts, own.both_facts),
            guesses_compared: own.both_guesses,
            guesses_agree: share(own.same_guesses, own.both_guesses),
            live_coverage: share(own.live_facts, products).unwrap_or_default(),
            shadow_coverage: share(own.shadow_facts, products).unwrap_or_default(),
        };
        Self { at: rfc3339(agreement.at_ms), products, attributes: agreement.attributes.iter().map(figures).collect() }
    }
}

/// What was found out about a release, of searches and of tags.
pub(crate) fn report(app: &App, name: &str) -> Option<ShadowReport> {
    let agreement = app.house.tagger.agreement().filter(|agreement| agreement.release == name);
    let tags = agreement.as_deref().map(TagFigures::of);
    match (app.shadow.report(name), agreement) {
        (Some(report), _) => Some(ShadowReport { tags, ..report }),
        (None, Some(agreement)) => {
            let (compared_with, since) = (agreement.compared_with.clone(), rfc3339(agreement.at_ms));
            Some(ShadowReport { release: name.to_owned(), compared_with, since, figures: Figures::default(), tags })
        }
        (None, None) => None,
    }
}

impl Shadow {
    /// What was found out about a release, if it is the one that is observed.
    fn report(&self, name: &str) -> Option<ShadowReport> {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        (observed.pair.inspector.0 == name).then(|| ShadowReport {
            release: name.to_owned(),
            compared_with: observed.pair.live.0.clone(),
            since: rfc3339(observed.since_ms),
            figures: observed.comparisons.figures(),
            tags: None,
        })
    }

    /// A place for a question of this pair; nothing while another one is under way. Another pair than before begins anew.
    fn admit(&self, pair: &Pair, now_ms: i64) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.gate).try_acquire_owned().ok();
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        if observed.pair != *pair {
            *observed = Observed { pair: pair.clone(), since_ms: now_ms, comparisons: Comparisons::default() };
        }
        if permit.is_none() {
            observed.comparisons.drop_one();
        }
        permit
    }
}

/// Mirrors a question that the live release has just answered. Returns at once.
pub(crate) fn mirror(app: &App, ask: &Ask, live: &Answering, prepared: &Prepared, embed_ms: f64) {
    let ledger = app.house.releases.ledger();
    let Some((inspector, commissioner)) = ledger.on_duty(Rank::Inspector).zip(ledger.commissioner()) else { return };
    // Only what depends on a model can differ.
    if live.name != commissioner.name || prepared.query.vectors.is_empty() || ask.vector.is_some() || ask.offset > 0 {
        return;
    }
    let pair = Pair {
        inspector: (inspector.name.clone(), inspector.fingerprint.clone()),
        live: (commissioner.name.clone(), commissioner.fingerprint.clone()),
    };
    let Some(permit) = app.shadow.admit(&pair, app.house.clock.now_ms()) else { return };
    let (app, ask, query, inspector) = (app.clone(), ask.clone(), prepared.query.clone(), Answering::by(app, inspector));
    tokio::spawn(async move {
        let started = Instant::now();
        let outcome = tokio::time::timeout(TIMEOUT, compare(&app, &ask, query, embed_ms, &inspector)).await;
        {
            let mut observed = app.shadow.observed.lock().unwrap_or_else(PoisonError::into_inner);
            if observed.pair == pair {
                observed.comparisons.add(outcome.ok().and_then(Result::ok).flatten());
            }
        }
        tokio::time::sleep(started.elapsed() * REST).await;
        drop(permit);
    });
}

/// Both rankings of one question; nothing where the inspector has no vector to ask with.
async fn compare(app: &App, ask: &Ask, query: SearchQuery, embed_ms: f64, inspector: &Answering) -> Answer<Option<Comparison>> {
    let context = Context::new(Priority::Bulk, TIMEOUT);
    let started = Instant::now();
    let live = ranking(app, &context, query.clone()).await?;
    let live_ms = embed_ms + ms(started.elapsed());
    let started = Instant::now();
    let prepared = embed::prepare(app, &context, ask, inspector).await?;
    if prepared.query.vectors.len() < query.vectors.len() {
        return Ok(None);
    }
    let shadow = ranking(app, &context, prepared.query).await?;
    Ok(Some(Comparison::of(&live, &shadow, live_ms, ms(started.elapsed()))))
}

async fn ranking(app: &App, context: &Context, query: SearchQuery) -> Answer<Vec<ProductId>> {
    let query = SearchQuery { offset: 0, limit: DEPTH, facets: Vec::new(), explain: false, explain_missing: None, ..query };
    Ok(find(app, context, query).await?.hits.into_iter().map(|hit| hit.product).collect())
}
