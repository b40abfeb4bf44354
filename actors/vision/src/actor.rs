//! The shell: the models of all releases, rounds of live work, builds behind them, queries.

use std::sync::Arc;
use std::time::Duration;

use fetch::Fetcher;
use futures_util::FutureExt as _;
use kit::{Address, Clock, Mail, TaskGuard};
use protocol::catalog::CatalogReader;
use protocol::queue::{QueueMsg, QueueReader};
use protocol::releases::Rank;
use protocol::search::SearchMsg;
use protocol::vision::{BatchDone, ModelInfo, Space, VisionMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::effects::models::{self, Loaded};
use crate::effects::pictures::Pictures;
use crate::effects::query::{self, Ask};
use crate::effects::round::build::Build;
use crate::effects::round::{Round, Stop};
use crate::embedder::{Embedder, ModelSource};
use crate::logic::residency::Role;
use crate::threads::Threads;
use crate::view::{SpaceFile, View};

/// After a round that a missing neighbour ended, wakes are passed over for this long.
const PAUSE_AFTER_STOP: Duration = Duration::from_secs(1);
/// What could not be embedded while a model's vectors were made is tried again after this long.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

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
    Round(ModelInfo, Result<(), Stop>),
    Built(ModelInfo, Result<(), Stop>),
}

/// What is in memory.
pub struct State {
    args: Args,
    fetcher: Fetcher,
    /// One for each model of any release.
    lines: Vec<Line>,
    /// Rounds under way: builds wait for them.
    rounds: watch::Sender<usize>,
    _wake: TaskGuard,
}

/// One model, its round of live work and its build.
struct Line {
    model: ModelInfo,
    embedder: Option<Arc<dyn Embedder>>,
    loading: Option<TaskGuard>,
    looked_at: Option<Instant>,
    load_error: Option<String>,
    round: Option<TaskGuard>,
    is_woken: bool,
    paused_until: Option<Instant>,
    build: Option<TaskGuard>,
    build_paused_until: Option<Instant>,
    retry_at: Instant,
}

impl Line {
    fn new(model: ModelInfo) -> Self {
        Self {
            model,
            embedder: None,
            loading: None,
            looked_at: None,
            load_error: None,
            round: None,
            is_woken: false,
            paused_until: None,
            build: None,
            build_paused_until: None,
            retry_at: Instant::now() + RETRY_INTERVAL,
        }
    }
}

impl Actor for Nightwing {
    type Msg = Mail<VisionMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let fetcher = Fetcher::new(args.config.fetch.clone())?;
        let interval = Duration::from_millis(args.config.tick_interval_ms);
        let wake = kit::wake(myself.clone(), args.queue_reader.ready(), interval, || VisionMsg::Tick);
        // Whatever changed while nobody looked is found by looking at everything.
        args.view.files().iter().for_each(|file| file.backlog().restart());
        args.view.show(&args.threads);
        let mut state = State { fetcher, lines: Vec::new(), rounds: watch::Sender::new(0), _wake: wake, args };
        state.follow_releases();
        for model in Space::ALL.into_iter().filter_map(|space| state.live(space)).collect::<Vec<_>>() {
            // Queries are answered as soon as the actor is up; a model that cannot be loaded is a state.
            let loaded = models::load(&state.args, model, Role::Live).await;
            state.take(&myself, loaded)?;
        }
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((context, message)) = mail.open() else { return Ok(()) };
        match message {
            VisionMsg::EmbedTexts { texts, space, model, reply } => {
                query::answer(&state.args, state.answering(space, model.as_deref()), context, Ask::Texts(texts, space), reply);
            }
            VisionMsg::EmbedImages { images, model, reply } => {
                query::answer(&state.args, state.answering(Space::Image, model.as_deref()), context, Ask::Images(images), reply);
            }
            VisionMsg::LookAt { picture, model, reply } => {
                query::look(&state.args, state.answering(Space::Image, model.as_deref()), context, picture, reply);
            }
            VisionMsg::Tick => {
                state.follow_releases();
                for model in state.models() {
                    state.look_for_model(&myself, &model);
                    state.start_round(&myself, &model);
                    state.start_build(&myself, &model);
                }
            }
            VisionMsg::BatchDone(BatchDone(done)) => match done.downcast::<Done>().map(|done| *done) {
                Ok(Done::Loaded(loaded)) => state.take(&myself, loaded)?,
                Ok(Done::Round(model, end)) => state.end_round(&myself, &model, end)?,
                Ok(Done::Built(model, end)) => state.end_build(&myself, &model, end)?,
                Err(_) => tracing::error!("a message that nobody here sends"),
            },
        }
        Ok(())
    }
}

impl State {
    fn models(&self) -> Vec<ModelInfo> {
        self.lines.iter().map(|line| line.model.clone()).collect()
    }

    fn line(&mut self, model: &ModelInfo) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.model == *model)
    }

    /// The live release's model.
    fn live(&self, space: Space) -> Option<ModelInfo> {
        self.args.view.releases().ledger().commissioner()?.definition.model(space).cloned()
    }

    /// The model of this fingerprint, or the live one, where it is in memory.
    fn answering(&self, space: Space, fingerprint: Option<&str>) -> Option<(Arc<dyn Embedder>, Arc<SpaceFile>)> {
        let view = &self.args.view;
        let file = fingerprint.map_or_else(|| view.space(space), |fingerprint| view.named(space, fingerprint))?;
        let line = self.lines.iter().find(|line| line.model == file.model)?;
        Some((line.embedder.clone()?, file))
    }

    /// One line for each model of any release; what belongs to a model that is gone ends with its line.
    fn follow_releases(&mut self) {
        let ledger = self.args.view.releases().ledger();
        let wanted = ledger.models();
        for gone in self.lines.extract_if(.., |line| !wanted.contains(&&line.model)) {
            self.args.view.forget_model(&gone.model);
        }
        for model in wanted {
            if self.line(model).is_none() {
                self.lines.push(Line::new(model.clone()));
            }
        }
        let is_built = |model: &ModelInfo| {
            let with = ledger.releases.iter().filter(|release| release.definition.model(model.space) == Some(model));
            with.into_iter().any(|release| release.is_built())
        };
        for line in self.lines.iter_mut().filter(|line| line.build.is_some() && !is_built(&line.model)) {
            line.build = None;
            self.args.view.file(&line.model).iter().for_each(|file| file.backlog().restart());
        }
        let residents = self.args.threads.residents();
        self.lines.iter().for_each(|line| residents.set_role(&line.model, role(&self.args, &line.model)));
        self.count_rounds();
    }

    fn count_rounds(&self) {
        self.rounds.send_replace(self.lines.iter().filter(|line| line.round.is_some()).count());
    }

    /// A model that was installed while the box runs is found on the slow tick.
    fn look_for_model(&mut self, myself: &ActorRef<Mail<VisionMsg>>, model: &ModelInfo) {
        let interval = Duration::from_millis(self.args.config.tick_interval_ms);
        let args = self.args.clone();
        let Some(line) = self.line(model) else { return };
        let is_due = line.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= interval);
        if line.embedder.is_some() || line.loading.is_some() || !is_due {
            return;
        }
        line.looked_at = Some(Instant::now());
        let (myself, model) = (myself.clone(), model.clone());
        line.loading = Some(TaskGuard::new(tokio::spawn(async move {
            let role = role(&args, &model);
            let loaded = models::load(&args, model, role).await;
            tell(&myself, Done::Loaded(loaded));
        })));
    }

    fn take(&mut self, myself: &ActorRef<Mail<VisionMsg>>, loaded: Loaded) -> Result<(), ActorProcessingErr> {
        let Loaded { model, outcome } = loaded;
        let view = Arc::clone(&self.args.view);
        // Retired while it was loaded.
        let Some(line) = self.line(&model) else { return Ok(()) };
        line.loading = None;
        match outcome {
            None => Ok(()),
            Some(Ok(embedder)) => {
                // Failing here is the disk's failing: the supervisor tries again.
                view.use_model(&model)?.set_loaded(true);
                tracing::info!(model = model.name, fingerprint = model.fingerprint, "model loaded");
                (line.embedder, line.load_error) = (Some(embedder), None);
                self.start_round(myself, &model);
                self.start_build(myself, &model);
                Ok(())
            }
            Some(Err(error)) => {
                if line.load_error.as_ref() != Some(&error) {
                    tracing::error!(model = model.name, error, "the model cannot be loaded; its queue waits");
                }
                line.load_error = Some(error);
                Ok(())
            }
        }
    }

    /// What works with a model, if it is in memory.
    fn round(&self, model: &ModelInfo) -> Option<Round> {
        let args = self.args.clone();
        let embedder = self.lines.iter().find(|line| line.model == *model)?.embedder.clone()?;
        let file = args.view.file(model)?;
        let pictures = Pictures {
            config: Arc::clone(&args.config),
            store: Arc::clone(&args.store),
            clock: Arc::clone(&args.clock),
            fetcher: self.fetcher.clone(),
            threads: Arc::clone(&args.threads),
            thumbnails: args.view.thumbnails().clone(),
            vectors: Arc::clone(&file),
            preprocessing: embedder.preprocessing(),
        };
        Some(Round { args, embedder, file, pictures })
    }

    /// Starts a round of the live model, unless one is under way: then another follows it.
    fn start_round(&mut self, myself: &ActorRef<Mail<VisionMsg>>, model: &ModelInfo) {
        if !self.args.view.is_live(model) {
            return;
        }
        let Some(round) = self.round(model) else { return };
        let Some(line) = self.line(model) else { return };
        if line.round.is_some() || line.paused_until.is_some_and(|until| Instant::now() < until) {
            line.is_woken = true;
            return;
        }
        line.is_woken = false;
        let (myself, model) = (myself.clone(), model.clone());
        line.round = Some(TaskGuard::new(tokio::spawn(async move {
            let end = std::panic::AssertUnwindSafe(round.run()).catch_unwind().await;
            let end = end.unwrap_or_else(|_| Err(Stop::Storage("a round of work panicked".to_owned())));
            tell(&myself, Done::Round(model, end));
        })));
        self.count_rounds();
    }

    fn end_round(
        &mut self,
        myself: &ActorRef<Mail<VisionMsg>>,
        model: &ModelInfo,
        end: Result<(), Stop>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(line) = self.line(model) else { return Ok(()) };
        line.round = None;
        match end {
            Ok(()) if line.is_woken => self.start_round(myself, model),
            Ok(()) => {}
            Err(Stop::Later(reason)) => {
                tracing::warn!(model = model.name, reason, "embedding pauses");
                line.paused_until = Some(Instant::now() + PAUSE_AFTER_STOP);
            }
            Err(stop @ Stop::Storage(_)) => return Err(stop.into()),
        }
        // Another one may have become live meanwhile.
        if let Some(live) = self.live(model.space).filter(|live| live != model) {
            self.start_round(myself, &live);
        }
        self.count_rounds();
        self.models().iter().for_each(|model| self.start_build(myself, model));
        Ok(())
    }

    /// Starts a model's build, where there is something to do.
    fn start_build(&mut self, myself: &ActorRef<Mail<VisionMsg>>, model: &ModelInfo) {
        let (ledger, live) = (self.args.view.releases().ledger(), self.rounds.subscribe());
        let mut with = ledger.releases.iter().filter(|release| release.definition.model(model.space) == Some(model));
        let Some(round) = self.round(model).filter(|_| with.any(|release| release.is_built())) else { return };
        let Some(line) = self.line(model) else { return };
        if line.build.is_some() || line.build_paused_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let has_work = {
            let mut backlog = round.file.backlog();
            if !backlog.has_work() && line.retry_at <= Instant::now() {
                line.retry_at = Instant::now() + RETRY_INTERVAL;
                backlog.retry();
            }
            backlog.has_work()
        };
        if !has_work {
            return;
        }
        let (myself, model) = (myself.clone(), model.clone());
        line.build = Some(TaskGuard::new(tokio::spawn(async move {
            let end = std::panic::AssertUnwindSafe(Build { round, live }.run()).catch_unwind().await;
            let end = end.unwrap_or_else(|_| Err(Stop::Storage("a build panicked".to_owned())));
            tell(&myself, Done::Built(model, end));
        })));
    }

    fn end_build(
        &mut self,
        myself: &ActorRef<Mail<VisionMsg>>,
        model: &ModelInfo,
        end: Result<(), Stop>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(line) = self.line(model) else { return Ok(()) };
        line.build = None;
        match end {
            Ok(()) => self.start_build(myself, model),
            Err(Stop::Later(reason)) => {
                tracing::warn!(model = model.name, reason, "a build pauses");
                line.build_paused_until = Some(Instant::now() + PAUSE_AFTER_STOP);
            }
            Err(stop @ Stop::Storage(_)) => return Err(stop.into()),
        }
        Ok(())
    }
}

/// A release that answers nobody may make room for one that does.
fn role(args: &Args, model: &ModelInfo) -> Role {
    let ledger = args.view.releases().ledger();
    let mut on_duty = [Rank::Commissioner, Rank::AssistantCommissioner].into_iter().filter_map(|rank| ledger.on_duty(rank));
    let answers = on_duty.any(|release| release.definition.model(model.space) == Some(model));
    if answers { Role::Live } else { Role::Candidate }
}

fn tell(myself: &ActorRef<Mail<VisionMsg>>, done: Done) {
    kit::send_to_self(myself, protocol::vision::NAME, VisionMsg::BatchDone(BatchDone(Box::new(done))));
}
