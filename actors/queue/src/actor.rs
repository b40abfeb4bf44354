//! The shell: what Gordon is given, what it holds, and one `match`.

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, Clock, Mail, Reply, TaskGuard, wake};
use protocol::catalog::{CatalogMsg, CatalogReader};
use protocol::queue::{ENQUEUE_JOBS_MAX, LEASE_JOBS_MAX, QueueError, QueueMsg, ROUTE_PRODUCTS_MAX, SETTLE_JOBS_MAX};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use store::{Journal, Store};
use tokio::sync::watch;

use crate::config::Config;
use crate::effects::{Shelves, load};
use crate::follower::Follower;
use crate::logic::runs::Runs;
use crate::routing;
use crate::view::View;

/// Routes products and keeps the queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gordon;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Bounds and policies.
    pub config: Config,
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// What is followed.
    pub journal: Journal,
    /// Whom changed products go to.
    pub watchtower: Address<CatalogMsg>,
    /// What products are compared with.
    pub catalog: Arc<dyn CatalogReader>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What readers see.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    pub(crate) args: Args,
    pub(crate) shelves: Shelves,
    pub(crate) runs: Runs,
    pub(crate) follower: Follower,
    /// Changes when there is more to follow at once. A change wakes Gordon by one message at a time, however often it changes.
    again: watch::Sender<u64>,
    _wakes: [TaskGuard; 2],
}

impl Actor for Gordon {
    type Msg = Mail<QueueMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let shelves = load(&args).await?;
        let follower = Follower::load(&args)?;
        let interval_max = Duration::from_millis(args.config.tick_interval_ms_max);
        let again = watch::Sender::new(0);
        let sources = [args.journal.watch(), again.subscribe()];
        let wakes = sources.map(|source| wake(myself.clone(), source, interval_max, || QueueMsg::Tick));
        Ok(State { args, shelves, runs: Runs::default(), follower, again, _wakes: wakes })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((context, message)) = mail.open() else { return Ok(()) };
        match message {
            QueueMsg::BeginRun { run, source, mode, dry_run, reply } => {
                state.runs.begin(run, &source, mode, dry_run);
                reply.send(Ok(()));
            }
            QueueMsg::Route { products, reply, .. } if products.len() > ROUTE_PRODUCTS_MAX => {
                reply.send(Err(QueueError::TooMany(products.len())))
            }
            QueueMsg::Route { run, source, products, reply } => routing::route(state, &context, run, source, products, reply).await,
            QueueMsg::FinishRun { run, force, reply } => reply.send(routing::finish(state, &context, run, force).await),
            QueueMsg::AbandonRun { run } => state.runs.abandon(run),
            QueueMsg::Enqueue { jobs, reply } if jobs.len() > ENQUEUE_JOBS_MAX => reply.send(Err(QueueError::TooMany(jobs.len()))),
            QueueMsg::Enqueue { jobs, reply } => return answer(reply, state.shelves.enqueue(&jobs).await),
            // Nobody would settle what is handed to a caller who has gone away.
            QueueMsg::Lease { reply, .. } if reply.is_closed() => {}
            QueueMsg::Lease { queue, jobs_max, visibility_timeout_ms, reply } => {
                return answer(reply, state.shelves.lease(queue, jobs_max.min(LEASE_JOBS_MAX), visibility_timeout_ms).await);
            }
            QueueMsg::Settle { jobs, reply } if jobs.len() > SETTLE_JOBS_MAX => reply.send(Err(QueueError::TooMany(jobs.len()))),
            QueueMsg::Settle { jobs, reply } => {
                let settled = state.shelves.settle(&jobs).await;
                follow_again(state);
                return answer(reply, settled);
            }
            QueueMsg::DeadLetters { queue, limit, reply } => return answer(reply, state.shelves.dead_letters(queue, limit).await),
            QueueMsg::Redrive { queue, reply } => return answer(reply, state.shelves.redrive(queue).await),
            QueueMsg::Tick => {
                state.shelves.advance().await?;
                state.follower.follow(&state.args, &mut state.shelves).await?;
                follow_again(state);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(&self, _: ActorRef<Self::Msg>, _: SupervisionEvent, _: &mut State) -> Result<(), ActorProcessingErr> {
        // Gordon has no children.
        Ok(())
    }
}

/// Goes on with the journal at once when there is more of it and room for it.
fn follow_again(state: &State) {
    if state.follower.wants_more(&state.args.journal, &state.shelves) {
        state.again.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Answers; when storage has failed, what is in memory is not what is stored: a restart loads it anew.
fn answer<T>(reply: Reply<Result<T, QueueError>>, result: Result<T, QueueError>) -> Result<(), ActorProcessingErr> {
    let failure = result.as_ref().err().filter(|error| matches!(error, QueueError::Storage(_))).cloned();
    reply.send(result);
    failure.map_or(Ok(()), |error| Err(error.into()))
}
