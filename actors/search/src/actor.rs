//! The shell: vectors go to the indexer's thread, the journal's growth to the follower's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kit::{Context, Mail, Priority, TaskGuard, WorkError, Workers};
use protocol::catalog::CatalogReader;
use protocol::releases::{IndexSettings, ReleaseReader};
use protocol::search::{SearchError, SearchMsg, VectorEntry};
use protocol::vision::{ModelInfo, Space, VisionReader};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::Journal;

use crate::config::Config;
use crate::indexer::follower::{Follower, Sources};
use crate::indexer::spaces::{self, Spaces};
use crate::view::{IndexKey, Shared, View};

/// The threads, and the models whose vectors are kept, are looked after at least this often.
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
    /// The vector indexes' own folder; it may be deleted while the program does not run.
    pub spaces_dir: PathBuf,
    /// Followed for texts, prices, stock and deletions.
    pub journal: Journal,
    /// Which products there are.
    pub catalog: Arc<dyn CatalogReader>,
    /// The vectors as computed.
    pub vision: Arc<dyn VisionReader>,
    /// Which indexes are wanted, and by what is searched.
    pub releases: Arc<dyn ReleaseReader>,
    /// Where the index is published.
    pub view: Arc<View>,
}

/// The indexer's front.
pub struct Batman;

/// What a restart makes anew.
pub struct State {
    vectors: Workers<VectorJob, Result<(), SearchError>>,
    /// Always there until the actor stops.
    follower: Option<Follower>,
    shared: Arc<Shared>,
    vision: Arc<dyn VisionReader>,
    releases: Arc<dyn ReleaseReader>,
    /// Indexes that are what Nightwing's store says.
    filled: BTreeSet<IndexKey>,
    /// Until the first look at the folders.
    has_started: bool,
    _waker: TaskGuard,
}

enum VectorJob {
    Upsert { space: Space, fingerprint: String, entries: Vec<VectorEntry> },
    Fill(ModelInfo, IndexSettings),
    DropOthers(BTreeSet<IndexKey>),
}

impl Actor for Batman {
    type Msg = Mail<SearchMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, keywords_dir, spaces_dir, journal, catalog, vision, releases, view } = args;
        let shared = Arc::clone(view.shared());
        let waker = kit::wake(myself, journal.watch(), TICK_INTERVAL_MAX, || SearchMsg::Tick);
        let sources =
            Sources { config: config.clone(), dir: keywords_dir, journal, catalog: Arc::clone(&catalog), shared: Arc::clone(&shared) };
        let (follower, is_open) = Follower::spawn(sources)?;
        // Vectors belong to slots, which the follower gives out.
        is_open.await.map_err(|_| "the keyword index does not open")?;
        let spaces = Spaces {
            config,
            dir: spaces_dir,
            shared: Arc::clone(&shared),
            catalog,
            vision: Arc::clone(&vision),
            releases: Arc::clone(&releases),
        };
        let spaces = Arc::new(spaces);
        let vectors = Workers::spawn("batman-indexer", 1, 1, move |_| {
            let spaces = Arc::clone(&spaces);
            move |_: &Context, job: VectorJob| {
                let _seat = spaces.shared.space_seat.lock().unwrap_or_else(PoisonError::into_inner);
                match job {
                    VectorJob::Upsert { space, fingerprint, entries } => spaces.upsert(space, &fingerprint, &entries),
                    VectorJob::Fill(model, settings) => spaces.fill(&model, &settings),
                    VectorJob::DropOthers(kept) => {
                        spaces.drop_others(&kept);
                        Ok(())
                    }
                }
            }
        })?;
        let (follower, filled) = (Some(follower), BTreeSet::new());
        let mut state = State { vectors, follower, shared, vision, releases, filled, has_started: true, _waker: waker };
        state.keep_up().await?;
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
                    Ok(result) => reply.send(result),
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
                    return Err("the index has stopped following the journal".into());
                }
                for damaged in state.shared.report_spaces() {
                    state.filled.remove(&damaged);
                }
                state.keep_up().await?;
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(follower) = state.follower.take() {
            let shared = Arc::clone(&state.shared);
            let stop = move || {
                follower.stop();
                shared.flush_spaces();
            };
            tokio::task::spawn_blocking(stop).await?;
        }
        Ok(())
    }
}

impl State {
    /// Fills the indexes that are wanted by now, the live release's first, and frees those that no release wants any more.
    async fn keep_up(&mut self) -> Result<(), ActorProcessingErr> {
        let context = Context::new(Priority::Bulk, FILL_TIMEOUT);
        let wanted = spaces::wanted(self.releases.as_ref(), self.vision.as_ref());
        let kept: BTreeSet<IndexKey> = wanted.iter().map(|(model, settings)| spaces::key(model, settings)).collect();
        for (model, settings) in wanted {
            let key = spaces::key(&model, &settings);
            if !self.filled.contains(&key) {
                self.vectors.run(&context, VectorJob::Fill(model, settings)).await??;
                self.filled.insert(key);
            }
        }
        self.shared.set_live(spaces::live(self.releases.as_ref(), self.vision.as_ref()));
        self.filled.retain(|key| kept.contains(key));
        if std::mem::take(&mut self.has_started) || self.shared.indexes().len() > kept.len() {
            self.vectors.run(&context, VectorJob::DropOthers(kept)).await??;
        }
        Ok(())
    }
}
