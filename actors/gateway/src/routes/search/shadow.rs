//! The inspector sees what the live release is asked: a sample of the questions is answered by both, behind the caller's back. One at a
//! time and with a rest behind each, so that it takes no more than a share of one thread; whatever comes meanwhile is not mirrored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ProductId;
use kit::{Context, Priority};
use protocol::releases::Rank;
use protocol::search::SearchQuery;
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
    /// The first mirrored question; in memory alone, so never before Robin's start.
    pub since: String,
    #[serde(flatten)]
    pub figures: Figures,
}

impl Shadow {
    /// What was found out about a release, if it is the one that is observed.
    pub(crate) fn report(&self, name: &str) -> Option<ShadowReport> {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        (observed.pair.inspector.0 == name).then(|| ShadowReport {
            release: name.to_owned(),
            compared_with: observed.pair.live.0.clone(),
            since: crate::schema::rfc3339(observed.since_ms),
            figures: observed.comparisons.figures(),
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
