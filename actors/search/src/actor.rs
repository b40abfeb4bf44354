//! The shell: vectors go to the indexer's thread, the journal's growth to the follower's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::{Context, Mail, Priority, TaskGuard, WorkError, Workers};
use protocol::catalog::CatalogReader;
use protocol::search::{SearchError, SearchMsg, VectorEntry};
use protocol::vision::{Space, VisionReader};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::Journal;

use crate::config::Config;
use crate::indexer::follower::{Follower, Sources};
use crate::indexer::vectors::{fill, upsert};
use crate::view::{Shared, View};

/// The follower and spaces without a model are looked after at least this often.
const TICK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Filling a space from Nightwing's store ends within this time or counts as failed.
const FILL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Bounds and intervals.
    pub config: Config,
    /// The keyword index's own folder; it may be deleted while the program does not run.
    pub keywords_dir: PathBuf,
    /// Followed for texts and deletions.
    pub journal: Journal,
    /// Which products there are.
    pub catalog: Arc<dyn CatalogReader>,
    /// The vectors as computed.
    pub vision: Arc<dyn VisionReader>,
    /// Where the index is published.
    pub view: Arc<View>,
}

/// The indexer's front.
pub struct Batman;

/// What a restart makes anew.
pub struct State {
    vectors: Workers<VectorJob, Result<bool, SearchError>>,
    /// Always there until the actor stops.
    follower: Option<Follower>,
    /// Spaces whose model was not known yet.
    unfilled: Vec<Space>,
    _waker: TaskGuard,
}

enum VectorJob {
    Upsert { space: Space, fingerprint: String, entries: Vec<VectorEntry> },
    Fill(Space),
}

impl Actor for Batman {
    type Msg = Mail<SearchMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, keywords_dir, journal, catalog, vision, view } = args;
        let shared = Arc::clone(view.shared());
        let sources = Sources {
            config: config.clone(),
            dir: keywords_dir,
            journal: journal.clone(),
            catalog: Arc::clone(&catalog),
            shared: Arc::clone(&shared),
        };
        let (follower, is_open) = Follower::spawn(sources)?;
        let vectors = Workers::spawn("batman-indexer", 1, 1, move |_| indexer(&config, &shared, &catalog, &vision))?;
        let waker = kit::wake(myself, journal.watch(), TICK_INTERVAL_MAX, || SearchMsg::Tick);
        let mut state = State { vectors, follower: Some(follower), unfilled: Space::ALL.to_vec(), _waker: waker };
        state.fill().await?;
        is_open.await.map_err(|_| "the keyword index does not open")?;
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((context, message)) = mail.open() else { return Ok(()) };
        match message {
            SearchMsg::Upsert { space, fingerprint, entries, reply } => {
                if reply.is_closed() {
                    return Ok(());
                }
                match state.vectors.run(&context, VectorJob::Upsert { space, fingerprint, entries }).await {
                    Ok(result) => reply.send(result.map(drop)),
                    Err(error @ (WorkError::Overloaded { .. } | WorkError::DeadlineExceeded { .. })) => {
                        reply.send(Err(SearchError::Busy(error.to_string())))
                    }
                    Err(error) => {
                        reply.send(Err(SearchError::Index(error.to_string())));
                        return Err(error.into());
                    }
                }
            }
            SearchMsg::Tick => {
                if !state.follower.as_ref().is_some_and(Follower::nudge) {
                    return Err("the keyword index has stopped following the journal".into());
                }
                state.fill().await?;
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(follower) = state.follower.take() {
            tokio::task::spawn_blocking(|| follower.stop()).await?;
        }
        Ok(())
    }
}

impl State {
    /// Fills the spaces whose model is known by now.
    async fn fill(&mut self) -> Result<(), ActorProcessingErr> {
        let context = Context::new(Priority::Bulk, FILL_TIMEOUT);
        let mut unfilled = Vec::new();
        for space in std::mem::take(&mut self.unfilled) {
            if !self.vectors.run(&context, VectorJob::Fill(space)).await?? {
                unfilled.push(space);
            }
        }
        self.unfilled = unfilled;
        Ok(())
    }
}

/// The indexer's worker.
fn indexer(
    config: &Config,
    shared: &Arc<Shared>,
    catalog: &Arc<dyn CatalogReader>,
    vision: &Arc<dyn VisionReader>,
) -> impl FnMut(&Context, VectorJob) -> Result<bool, SearchError> + use<> {
    let (dead_ratio_max, shared, catalog, vision) = (config.dead_ratio_max, Arc::clone(shared), Arc::clone(catalog), Arc::clone(vision));
    move |_, job| match job {
        VectorJob::Upsert { space, fingerprint, entries } => {
            upsert(&shared, catalog.as_ref(), space, &fingerprint, &entries, dead_ratio_max).map(|()| true)
        }
        VectorJob::Fill(space) => Ok(fill(&shared, catalog.as_ref(), vision.as_ref(), space, dead_ratio_max)),
    }
}
