//! Feed runs: what goes to Watchtower, and how its answers are counted.

use std::sync::Arc;
use std::time::Duration;

use domain::{PartHashes, Product, ProductId};
use kit::{Context, Reply};
use protocol::catalog::{CHANGES_MAX, CatalogError, CatalogMsg, Change, Outcome};
use protocol::ingest::{FeedMode, RunId};
use protocol::queue::{QueueError, Routed};
use store::StoreError;

use crate::actor::{Args, State};
use crate::effects::blocking;
use crate::logic::route::{Compared, compare, plan, rehearse};

type Answer<T> = Result<T, QueueError>;

/// Routes a batch and answers. What the batch held counts as seen only if the answer still has a receiver: whoever has stopped waiting
/// sends it again.
pub(crate) async fn route(
    state: &mut State,
    context: &Context,
    run: Option<RunId>,
    source: Arc<str>,
    products: Vec<Arc<Product>>,
    reply: Reply<Answer<Vec<Routed>>>,
) {
    let routed = decide(state, context, run, source, products, &reply).await;
    if let Ok((routed, _)) = &routed {
        count(routed);
    }
    let seen = routed.as_ref().ok().map(|(_, seen)| seen);
    if let (Some(seen), Some(run), false) = (seen, run.and_then(|run| state.runs.get_mut(run)), reply.is_closed()) {
        for (id, hashes) in seen {
            run.see(id.as_str(), hashes);
        }
    }
    reply.send(routed.map(|(routed, _)| routed));
}

/// What a batch came to, and what is to be noted as seen.
async fn decide(
    state: &mut State,
    context: &Context,
    run: Option<RunId>,
    source: Arc<str>,
    products: Vec<Arc<Product>>,
    reply: &Reply<Answer<Vec<Routed>>>,
) -> Answer<(Vec<Routed>, Vec<(ProductId, PartHashes)>)> {
    let snapshot = state.args.catalog.snapshot();
    let batch = blocking(move || Ok::<_, StoreError>(compare(products, &*snapshot))).await?;
    let mut run = match run {
        None => None,
        Some(id) => Some(state.runs.get_mut(id).ok_or(QueueError::UnknownRun(id))?),
    };
    if let Some(run) = &run
        && run.seen.len() + batch.len() > state.args.config.run_products_max
    {
        return Err(QueueError::TooMany(run.seen.len() + batch.len()));
    }
    if let Some(run) = run.as_mut().filter(|run| run.dry_run) {
        // Nothing is waited for below, so a receiver that is still there gets the answer.
        return if reply.is_closed() { Err(expired()) } else { Ok((rehearse(run, &batch), Vec::new())) };
    }
    let source = run.as_ref().map_or(source, |run| Arc::clone(&run.source));
    let mut plan = plan(run.as_deref(), &source, &batch);
    let changes = std::mem::take(&mut plan.changes);
    let answers = if changes.is_empty() { Vec::new() } else { apply(&state.args, context, changes).await? };
    let routed = plan.answered(run.map(|run| run.id), &batch, answers, &*state.args.catalog.snapshot()).map_err(QueueError::Unavailable)?;
    Ok((routed, batch.into_iter().map(|Compared { product, hashes, .. }| (product.id.clone(), hashes)).collect()))
}

/// Ends a run: a full one deletes what its feed did not have. Asked again, it goes on where it stopped.
pub(crate) async fn finish(state: &mut State, context: &Context, id: RunId, force: bool) -> Answer<u64> {
    let run = state.runs.get_mut(id).ok_or(QueueError::UnknownRun(id))?;
    if run.is_finished || run.mode == FeedMode::Delta {
        return Ok(run.deleted);
    }
    let (survey, snapshot) = (run.survey(), state.args.catalog.snapshot());
    let surveyed = blocking(move || Ok::<_, StoreError>(survey.of(&*snapshot))).await?;
    if !run.is_admitted && !force && surveyed.is_suspicious(state.args.config.shrink_ratio_min) {
        return Err(QueueError::ShrunkenFeed { known: surveyed.known, seen: surveyed.seen });
    }
    if !run.is_admitted {
        // Counted once, before the first is deleted: an answer of Watchtower's that is lost takes none of them away.
        (run.is_admitted, run.deleted) = (true, run.deleted.max(surveyed.missing.len() as u64));
    }
    let missing = if run.dry_run { &[] } else { &surveyed.missing[..] };
    for ids in missing.chunks(CHANGES_MAX) {
        let changes = ids.iter().map(|product| Change::Delete { id: product.clone(), run: Some(id) }).collect();
        if let Some(error) = apply(&state.args, context, changes).await?.into_iter().find_map(Result::err) {
            return Err(QueueError::Unavailable(format!("watchtower: {error}")));
        }
    }
    run.finish();
    Ok(run.deleted)
}

/// Asks Watchtower, within the caller's deadline and Gordon's own bound.
async fn apply(args: &Args, context: &Context, changes: Vec<Change>) -> Answer<Vec<Result<Outcome, CatalogError>>> {
    let timeout = context.remaining().min(Duration::from_millis(args.config.apply_timeout_ms_max));
    match args.watchtower.call(&context.with_timeout(timeout), |reply| CatalogMsg::Apply { changes, reply }).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) => Err(QueueError::Unavailable(format!("watchtower: {error}"))),
        Err(error) => Err(QueueError::Unavailable(error.to_string())),
    }
}

fn expired() -> QueueError {
    QueueError::Unavailable("the caller has stopped waiting".to_owned())
}

fn count(routed: &[Routed]) {
    let name = |routed: &Routed| match routed {
        Ok(Outcome::Created) => "created",
        Ok(Outcome::Updated(_)) => "updated",
        Ok(Outcome::Unchanged) => "unchanged",
        Ok(Outcome::Deleted) => "deleted",
        Ok(Outcome::NotFound) => "not_found",
        Err(_) => "refused",
    };
    for outcome in ["created", "updated", "unchanged", "deleted", "not_found", "refused"] {
        let count = routed.iter().filter(|routed| name(routed) == outcome).count() as u64;
        if count > 0 {
            metrics::counter!("gotham_route_products_total", "outcome" => outcome).increment(count);
        }
    }
}
