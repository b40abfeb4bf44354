//! The shell: models that come and go, rounds of catalog work, queries.

use std::sync::Arc;
use std::time::Duration;

use fetch::Fetcher;
use futures_util::FutureExt as _;
use kit::{Address, Clock, Mail, TaskGuard};
use protocol::catalog::CatalogReader;
use protocol::queue::{QueueMsg, QueueReader};
use protocol::search::SearchMsg;
use protocol::vision::{BatchDone, Space, VisionMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::Store;
use tokio::time::Instant;

use crate::config::Config;
use crate::effects::models::{self, Loaded};
use crate::effects::pictures::Pictures;
use crate::effects::query::{self, Ask};
use crate::effects::round::{Round, Stop};
use crate::embedder::{Embedder, ModelSource};
use crate::threads::Threads;
use crate::view::View;

/// After a round that a missing neighbour ended, wakes are passed over for this long.
const PAUSE_AFTER_STOP: Duration = Duration::from_secs(1);

/// The actor.
pub struct Nightwing;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// How to work.
    pub config: Arc<Config>,
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// Gordon: jobs.
    pub queue: Address<QueueMsg>,
    /// Wakes when jobs are due.
    pub queue_reader: Arc<dyn QueueReader>,
    /// Batman: takes vectors.
    pub search: Address<SearchMsg>,
    /// The products.
    pub catalog: Arc<dyn CatalogReader>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where models come from.
    pub models: Arc<dyn ModelSource>,
    /// Vectors, thumbnails and counts.
    pub view: Arc<View>,
    /// The threads for the heavy work.
    pub threads: Arc<Threads>,
}

/// What the actor's own tasks tell it.
pub(crate) enum Done {
    Loaded(Loaded),
    Round(Space, Result<(), Stop>),
}

/// What is in memory.
pub struct State {
    args: Args,
    fetcher: Fetcher,
    image: Line,
    text: Line,
    _wake: TaskGuard,
}

/// One space: its model and its round of work.
#[derive(Default)]
struct Line {
    embedder: Option<Arc<dyn Embedder>>,
    loading: Option<TaskGuard>,
    looked_at: Option<Instant>,
    load_error: Option<String>,
    round: Option<TaskGuard>,
    is_woken: bool,
    paused_until: Option<Instant>,
}

impl Actor for Nightwing {
    type Msg = Mail<VisionMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let fetcher = Fetcher::new(args.config.fetch.clone())?;
        let interval = Duration::from_millis(args.config.tick_interval_ms);
        let wake = kit::wake(myself.clone(), args.queue_reader.ready(), interval, || VisionMsg::Tick);
        let mut state = State { fetcher, image: Line::default(), text: Line::default(), _wake: wake, args };
        for space in Space::ALL {
            // Queries are answered as soon as the actor is up; a model that cannot be loaded is a state.
            if let Some(loaded) = models::load(&state.args, space).await {
                state.take(&myself, loaded)?;
            }
        }
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((context, message)) = mail.open() else { return Ok(()) };
        match message {
            VisionMsg::EmbedTexts { texts, space, reply } => {
                let embedder = state.line(space).embedder.clone();
                query::answer(&state.args, embedder, context, Ask::Texts(texts, space), reply);
            }
            VisionMsg::EmbedImages { images, reply } => {
                query::answer(&state.args, state.image.embedder.clone(), context, Ask::Images(images), reply);
            }
            VisionMsg::Tick => {
                for space in Space::ALL {
                    state.look_for_model(&myself, space);
                    state.start_round(&myself, space);
                }
            }
            VisionMsg::BatchDone(BatchDone(done)) => match done.downcast::<Done>().map(|done| *done) {
                Ok(Done::Loaded(loaded)) => state.take(&myself, loaded)?,
                Ok(Done::Round(space, end)) => state.end_round(&myself, space, end)?,
                Err(_) => tracing::error!("a message that nobody here sends"),
            },
        }
        Ok(())
    }
}

impl State {
    fn line(&mut self, space: Space) -> &mut Line {
        match space {
            Space::Image => &mut self.image,
            Space::Text => &mut self.text,
        }
    }

    /// A model that was installed while the box runs is found on the slow tick.
    fn look_for_model(&mut self, myself: &ActorRef<Mail<VisionMsg>>, space: Space) {
        let interval = Duration::from_millis(self.args.config.tick_interval_ms);
        let args = self.args.clone();
        let line = self.line(space);
        let is_due = line.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= interval);
        if line.embedder.is_some() || line.loading.is_some() || !is_due {
            return;
        }
        line.looked_at = Some(Instant::now());
        let myself = myself.clone();
        line.loading = Some(TaskGuard::new(tokio::spawn(async move {
            let loaded = models::load(&args, space).await.unwrap_or(Loaded { space, outcome: None });
            tell(&myself, Done::Loaded(loaded));
        })));
    }

    fn take(&mut self, myself: &ActorRef<Mail<VisionMsg>>, loaded: Loaded) -> Result<(), ActorProcessingErr> {
        let space = loaded.space;
        self.line(space).loading = None;
        match loaded.outcome {
            None => Ok(()),
            Some(Ok(embedder)) => {
                // Failing here is the disk's failing: the supervisor tries again.
                self.args.view.use_model(embedder.info())?;
                tracing::info!(model = embedder.info().name, fingerprint = embedder.info().fingerprint, "model loaded");
                let line = self.line(space);
                (line.embedder, line.load_error) = (Some(embedder), None);
                self.start_round(myself, space);
                Ok(())
            }
            Some(Err(error)) => {
                let line = self.line(space);
                if line.load_error.as_ref() != Some(&error) {
                    tracing::error!(space = space.as_str(), error, "the model cannot be loaded; its queue waits");
                }
                line.load_error = Some(error);
                Ok(())
            }
        }
    }

    /// Starts a round, unless one is under way: then another follows it.
    fn start_round(&mut self, myself: &ActorRef<Mail<VisionMsg>>, space: Space) {
        let (args, fetcher) = (self.args.clone(), self.fetcher.clone());
        let line = self.line(space);
        let Some((embedder, file)) = line.embedder.clone().zip(args.view.space(space)) else { return };
        if line.round.is_some() || line.paused_until.is_some_and(|until| Instant::now() < until) {
            line.is_woken = true;
            return;
        }
        line.is_woken = false;
        let pictures = Pictures {
            config: Arc::clone(&args.config),
            store: Arc::clone(&args.store),
            clock: Arc::clone(&args.clock),
            fetcher,
            threads: Arc::clone(&args.threads),
            thumbnails: args.view.thumbnails().clone(),
            vectors: Arc::clone(&file),
            preprocessing: embedder.preprocessing(),
        };
        let round = Round { args, embedder, file, pictures };
        let myself = myself.clone();
        line.round = Some(TaskGuard::new(tokio::spawn(async move {
            let end = std::panic::AssertUnwindSafe(round.run()).catch_unwind().await;
            let end = end.unwrap_or_else(|_| Err(Stop::Storage("a round of work panicked".to_owned())));
            tell(&myself, Done::Round(space, end));
        })));
    }

    fn end_round(&mut self, myself: &ActorRef<Mail<VisionMsg>>, space: Space, end: Result<(), Stop>) -> Result<(), ActorProcessingErr> {
        let line = self.line(space);
        line.round = None;
        match end {
            Ok(()) if line.is_woken => self.start_round(myself, space),
            Ok(()) => {}
            Err(Stop::Later(reason)) => {
                tracing::warn!(space = space.as_str(), reason, "embedding pauses");
                line.paused_until = Some(Instant::now() + PAUSE_AFTER_STOP);
            }
            Err(stop @ Stop::Storage(_)) => return Err(stop.into()),
        }
        Ok(())
    }
}

fn tell(myself: &ActorRef<Mail<VisionMsg>>, done: Done) {
    kit::send_to_self(myself, protocol::vision::NAME, VisionMsg::BatchDone(BatchDone(Box::new(done))));
}
