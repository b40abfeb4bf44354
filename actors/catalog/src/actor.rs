//! The shell: takes messages, asks the logic, performs the effects, and only then answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Clock, Mail, TaskGuard};
use protocol::catalog::{CHANGES_MAX, CatalogError, CatalogMsg, CatalogSnapshot, Change, Outcome};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Durability, Journal, Store, StoreError};

use crate::config::Config;
use crate::effects::Effects;
use crate::effects::checkpoint::Checkpoints;
use crate::logic::batch::Batch;
use crate::logic::catalog::Catalog;
use crate::view::View;

/// Changes that are decided before other work gets the thread: well under a millisecond.
const CHANGES_PER_TURN_MAX: usize = 32;

/// Watchtower.
pub struct Watchtower;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// Where changes become durable.
    pub journal: Journal,
    /// The folder for exports; nothing else stands in it.
    pub exports: PathBuf,
    /// The time of a change.
    pub clock: Arc<dyn Clock>,
    /// Where snapshots are published.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    effects: Effects,
    checkpoints: Checkpoints,
    clock: Arc<dyn Clock>,
    view: Arc<View>,
    catalog: Catalog,
    _keeper: TaskGuard,
}

impl Actor for Watchtower {
    type Msg = Mail<CatalogMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, store, journal, exports, clock, view } = args;
        let started = Instant::now();
        let effects = Effects { store, journal };
        let catalog = effects.load().await?;
        tracing::info!(
            products = catalog.len(),
            version = catalog.version(),
            seconds = started.elapsed().as_secs_f64(),
            "the catalog is loaded"
        );
        publish(&view, &catalog);
        let interval = Duration::from_millis(config.checkpoint_interval_ms);
        let checkpoints = Checkpoints::new(effects.clone(), exports, config);
        let keeper = checkpoints.keep(interval);
        Ok(State { effects, checkpoints, clock, view, catalog, _keeper: keeper })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            CatalogMsg::Apply { changes, reply } if changes.len() > CHANGES_MAX => reply.send(Err(CatalogError::TooMany(changes.len()))),
            CatalogMsg::Apply { reply, .. } if reply.is_closed() => {}
            CatalogMsg::Apply { changes, reply } => match state.apply(changes).await {
                Ok(outcomes) => reply.send(Ok(outcomes)),
                Err(error) => {
                    reply.send(Err(CatalogError::Storage(error.to_string())));
                    return Err(error.into());
                }
            },
            CatalogMsg::Checkpoint { reply } => state.checkpoints.start(reply),
        }
        Ok(())
    }
}

impl State {
    /// Decides, makes durable, commits, publishes. On an error nothing is published, and the restart finds out how far it went.
    async fn apply(&mut self, changes: Vec<Change>) -> Result<Vec<Result<Outcome, CatalogError>>, StoreError> {
        let started = Instant::now();
        let now_ms = self.clock.now_ms();
        let mut batch = Batch::new(self.catalog.clone());
        for (index, change) in changes.into_iter().enumerate() {
            if index > 0 && index % CHANGES_PER_TURN_MAX == 0 {
                tokio::task::yield_now().await;
            }
            batch.push(change, now_ms);
        }
        let Batch { mut catalog, outcomes, mut writes } = batch;
        if !writes.is_empty() {
            let offset = self.effects.append(&mut writes).await?;
            self.effects.commit(writes, offset, Durability::Applied).await?;
            catalog.set_version(offset);
            publish(&self.view, &catalog);
            self.catalog = catalog;
        }
        count(&outcomes);
        metrics::histogram!("gotham_catalog_apply_seconds").record(started.elapsed());
        Ok(outcomes)
    }
}

fn publish(view: &View, catalog: &Catalog) {
    metrics::gauge!("gotham_catalog_products").set(catalog.len() as f64);
    view.publish(catalog.clone());
}

fn count(outcomes: &[Result<Outcome, CatalogError>]) {
    for outcome in outcomes {
        let outcome = match outcome {
            Ok(Outcome::Created) => "created",
            Ok(Outcome::Updated(_)) => "updated",
            Ok(Outcome::Unchanged) => "unchanged",
            Ok(Outcome::Deleted) => "deleted",
            Ok(Outcome::NotFound) => "not_found",
            Err(_) => "refused",
        };
        metrics::counter!("gotham_catalog_changes_total", "outcome" => outcome).increment(1);
    }
}
