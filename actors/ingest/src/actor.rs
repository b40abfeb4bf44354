//! The shell: takes requests, keeps the line of runs, and has one run driven at a time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{Currency, Product};
use kit::{Address, Clock, Context, Mail, TaskGuard, send_to_self};
use protocol::ingest::{
    FeedRequest, FeedRun, FeedRunReader, FeedSource, IngestError, IngestMsg, NAME, PutAnswer, Reject, RunCounts, RunId, RunProgress,
    RunStatus,
};
use protocol::queue::{QueueError, QueueMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Durability, Store, StoreError};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::Config;
use crate::effects::{self, Ended, runs, source};
use crate::logic::feed::single;
use crate::logic::format::{FORMATS, FeedFormat};
use crate::view::View;

/// The longest name of a source, file or URL in a request.
const NAME_BYTES_MAX: usize = 2048;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Bounds and waits.
    pub config: Config,
    /// Runs and rejects are kept here.
    pub store: Arc<dyn Store>,
    /// Gordon.
    pub gordon: Address<QueueMsg>,
    /// What readers see.
    pub view: Arc<View>,
    /// Tells when runs start and end.
    pub clock: Arc<dyn Clock>,
    /// Downloads are put here.
    pub spool: PathBuf,
    /// Relative picture names of requests without an image folder are files in or below this folder.
    pub inbox: PathBuf,
}

/// The actor.
pub struct Joker;

/// What a restart makes anew.
pub struct State {
    args: Args,
    waiting: VecDeque<FeedRun>,
    running: Option<Running>,
    last_id: RunId,
    puts: Arc<Semaphore>,
}

struct Running {
    run: FeedRun,
    /// Ends the run when dropped.
    _task: TaskGuard,
}

impl Actor for Joker {
    type Msg = Mail<IngestMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let loading = Arc::clone(&args.store);
        let runs = tokio::task::spawn_blocking(move || runs::load(&*loading)).await??;
        let last_id = runs.keys().next_back().copied().unwrap_or(RunId(0));
        let waiting = runs.values().filter(|run| !run.status.is_final()).map(|run| FeedRun::clone(run)).collect();
        args.view.refill(runs);
        let puts = Arc::new(Semaphore::new(args.config.puts_in_flight_max));
        let mut state = State { args, waiting, running: None, last_id, puts };
        state.start_next(&myself).await?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((context, message)) = mail.open() else { return Ok(()) };
        match message {
            IngestMsg::Start { request, reply } => match state.start(request).await {
                Ok(id) => {
                    reply.send(Ok(id));
                    state.start_next(&myself).await?;
                }
                Err(error) => return refuse(error, |error| reply.send(Err(error))),
            },
            IngestMsg::Cancel { id, reply } => match state.cancel(id).await {
                Ok(()) => {
                    reply.send(Ok(()));
                    state.start_next(&myself).await?;
                }
                Err(error) => return refuse(error, |error| reply.send(Err(error))),
            },
            IngestMsg::Put { json, source, reply } => match Arc::clone(&state.puts).try_acquire_owned() {
                Err(_) => reply.send(Err(IngestError::Unavailable("too many single products are being written".into()))),
                Ok(permit) => {
                    let args = state.args.clone();
                    tokio::spawn(async move {
                        reply.send(put(&args, &context, &json, &source).await);
                        drop(permit);
                    });
                }
            },
            IngestMsg::Progress(RunProgress(progress)) => {
                if let Ok(ended) = progress.downcast::<(RunId, Ended)>() {
                    state.ended(ended.0, ended.1).await?;
                    state.start_next(&myself).await?;
                }
            }
        }
        Ok(())
    }
}

/// The caller hears of every error; a failure of storage also restarts the actor.
fn refuse(error: IngestError, reply: impl FnOnce(IngestError)) -> Result<(), ActorProcessingErr> {
    let is_storage = matches!(error, IngestError::Storage(_));
    let text = error.to_string();
    reply(error);
    if is_storage { Err(text.into()) } else { Ok(()) }
}

fn storage(error: StoreError) -> IngestError {
    IngestError::Storage(error.to_string())
}

impl State {
    /// Takes a run: durable before it is answered.
    async fn start(&mut self, request: FeedRequest) -> Result<RunId, IngestError> {
        check(&request)?;
        if self.waiting.len() >= self.args.config.runs_waiting_max {
            return Err(IngestError::TooManyRuns(self.waiting.len()));
        }
        let id = self.next_id();
        let run = FeedRun {
            id,
            format: request.format.clone(),
            request,
            status: RunStatus::Enqueued,
            counts: RunCounts::default(),
            bytes_read: 0,
            bytes_total: None,
            error: None,
            enqueued_at_ms: self.args.clock.now_ms(),
            started_at_ms: None,
            finished_at_ms: None,
        };
        runs::save(&*self.args.store, &run, Durability::Flushed).await.map_err(storage)?;
        self.args.view.publish(run.clone());
        self.waiting.push_back(run);
        Ok(id)
    }

    /// A UUIDv7 of the clock's time, larger than every one before even when the clock steps back.
    fn next_id(&mut self) -> RunId {
        let mut random = [0; 10];
        random.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
        let now_ms = u64::try_from(self.args.clock.now_ms()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid().as_u128();
        self.last_id = RunId(id.max(self.last_id.0.saturating_add(1)));
        self.last_id
    }

    /// Has the next run driven if none is under way.
    async fn start_next(&mut self, myself: &ActorRef<Mail<IngestMsg>>) -> Result<(), StoreError> {
        if self.running.is_some() {
            return Ok(());
        }
        let Some(mut run) = self.waiting.pop_front() else { return Ok(()) };
        run.status = RunStatus::Processing;
        run.started_at_ms = run.started_at_ms.or_else(|| Some(self.args.clock.now_ms()));
        runs::save(&*self.args.store, &run, Durability::Applied).await?;
        self.args.view.publish(run.clone());
        let (args, driven, myself) = (self.args.clone(), run.clone(), myself.clone());
        let task = tokio::spawn(async move {
            let id = driven.id;
            let ended = effects::drive(args, driven).await;
            send_to_self(&myself, NAME, IngestMsg::Progress(RunProgress(Box::new((id, ended)))));
        });
        self.running = Some(Running { run, _task: TaskGuard::new(task) });
        Ok(())
    }

    /// The run under way has ended; word of one that was canceled meanwhile comes too late.
    async fn ended(&mut self, id: RunId, ended: Ended) -> Result<(), StoreError> {
        if self.running.as_ref().is_none_or(|running| running.run.id != id) {
            return Ok(());
        }
        self.running = None;
        match ended {
            Ended::Run(run) => self.close(*run).await,
            Ended::Storage(error) => Err(error),
        }
    }

    async fn cancel(&mut self, id: RunId) -> Result<(), IngestError> {
        let run = if self.running.as_ref().is_some_and(|running| running.run.id == id) {
            self.running.take();
            let context = Context::new(kit::Priority::Bulk, std::time::Duration::from_millis(self.args.config.route_timeout_ms));
            // Gordon not being there has forgotten the run already.
            let _ = self.args.gordon.cast(&context, QueueMsg::AbandonRun { run: id });
            self.args.view.get(id).map(|run| FeedRun::clone(&run))
        } else {
            self.waiting.iter().position(|run| run.id == id).and_then(|at| self.waiting.remove(at))
        };
        let Some(mut run) = run else {
            let known = self.args.view.get(id);
            return Err(known.map_or(IngestError::UnknownRun(id), |_| IngestError::BadRequest {
                field: "id",
                detail: "the run has ended already".into(),
            }));
        };
        run.status = RunStatus::Canceled;
        run.finished_at_ms = Some(self.args.clock.now_ms());
        self.close(run).await.map_err(storage)
    }

    /// Keeps a run's last state, removes its spooled file, and forgets the oldest runs over the bound.
    async fn close(&mut self, run: FeedRun) -> Result<(), StoreError> {
        runs::save(&*self.args.store, &run, Durability::Flushed).await?;
        source::clean_up(&self.args, &run).await;
        let status = format!("{:?}", run.status).to_lowercase();
        metrics::counter!("gotham_ingest_runs_total", "status" => status).increment(1);
        tracing::info!(run = %run.id, status = ?run.status, counts = ?run.counts, error = ?run.error, "a feed run has ended");
        self.args.view.publish(run);
        let ended = self.args.view.ended();
        for id in &ended[..ended.len().saturating_sub(self.args.config.runs_kept_max)] {
            runs::remove(&*self.args.store, *id).await?;
            self.args.view.forget(*id);
        }
        Ok(())
    }
}

/// What can be seen to be wrong before anything is read.
fn check(request: &FeedRequest) -> Result<(), IngestError> {
    let bad = |field: &'static str, detail: String| Err(IngestError::BadRequest { field, detail });
    if request.source.is_empty() || request.source.len() > 128 || request.source.chars().any(char::is_control) {
        return bad("source", "must be 1 to 128 characters without control characters".into());
    }
    if request.name.len() > NAME_BYTES_MAX {
        return bad("name", format!("must be at most {NAME_BYTES_MAX} bytes"));
    }
    if let Some(format) = &request.format
        && FeedFormat::from_name(format).is_none()
    {
        let known: Vec<&str> = FORMATS.iter().map(|(_, name, _)| *name).collect();
        return bad("format", format!("`{format}` is none of {}", known.join(", ")));
    }
    if let Some(code) = &request.default_currency
        && code.parse::<Currency>().is_err()
    {
        return bad("default_currency", format!("`{code}` is no ISO 4217 code"));
    }
    match &request.from {
        FeedSource::Url(url) if url.len() > NAME_BYTES_MAX || !(url.starts_with("http://") || url.starts_with("https://")) => {
            bad("url", "must be an http or https URL".into())
        }
        FeedSource::File(path) | FeedSource::Spooled(path) if path.to_str().is_none_or(|path| path.len() > NAME_BYTES_MAX) => {
            bad("path", "must be UTF-8 of a reasonable length".into())
        }
        _ if request.image_root.as_ref().is_some_and(|root| root.to_str().is_none()) => bad("image_root", "must be UTF-8".into()),
        _ => Ok(()),
    }
}

/// One product through the same checks as a feed's, to Gordon and back, within the caller's time.
async fn put(args: &Args, context: &Context, json: &[u8], source: &str) -> Result<PutAnswer, IngestError> {
    let mut settings = source::settings(args, None);
    if let Ok(inbox) = tokio::fs::canonicalize(&args.inbox).await {
        settings = settings.with_image_root(inbox, |path| path.canonicalize().ok());
    }
    let (product, warnings) = single(json, &settings).map_err(IngestError::Rejected)?;
    let (id, product): (_, Arc<Product>) = (product.id.clone(), Arc::new(product));
    let route = |reply| QueueMsg::Route { run: None, source: source.into(), products: vec![Arc::clone(&product)], reply };
    let routed = args.gordon.call(context, route).await.map_err(|error| IngestError::Unavailable(error.to_string()))?;
    let routed = routed.map_err(|error| match error {
        QueueError::Storage(error) => IngestError::Storage(error),
        other => IngestError::Unavailable(other.to_string()),
    })?;
    match routed.into_iter().next() {
        Some(Ok(outcome)) => Ok(PutAnswer { id, outcome, warnings }),
        Some(Err(detail)) => {
            let raw = String::new();
            let product_id = Some(id.to_string());
            Err(IngestError::Rejected(vec![Reject {
                row: 1,
                position: None,
                field: None,
                code: "refused".into(),
                detail,
                raw,
                product_id,
                is_warning: false,
            }]))
        }
        None => Err(IngestError::Unavailable("gordon did not say what became of the product".into())),
    }
}
