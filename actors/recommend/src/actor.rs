//! The shell: takes up a state file, follows the event log, writes state files, and gets acquainted with new products.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Shopper;
use events::{Entry, EventLog};
use kit::{Mail, TaskGuard, send_to_self, wake};
use protocol::catalog::CatalogReader;
use protocol::journal::LogBody;
use protocol::recommend::{NAME, RecommendMsg};
use protocol::releases::ReleaseReader;
use protocol::search::Searcher;
use protocol::vision::VisionReader;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::StoreError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::effects::{self, Neighbours};
use crate::logic::lessons::lessons;
use crate::view::View;

/// Superman.
pub struct Superman;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// What is followed.
    pub log: EventLog,
    /// Holds the state files.
    pub dir: PathBuf,
    /// Which products there are.
    pub catalog: Arc<dyn CatalogReader>,
    /// Their embeddings.
    pub vision: Arc<dyn VisionReader>,
    /// What is like what.
    pub searcher: Arc<dyn Searcher>,
    /// By whose models.
    pub releases: Arc<dyn ReleaseReader>,
    /// What readers see.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    config: Config,
    log: EventLog,
    dir: PathBuf,
    neighbours: Neighbours,
    view: Arc<View>,
    offset: u64,
    /// The offset of the newest state file.
    saved: u64,
    /// Whether the next state file is due at once: a shopper's name leaves the log when it is written.
    is_urgent: bool,
    saving: Option<JoinHandle<Result<u64, StoreError>>>,
    acquainting: Option<JoinHandle<()>>,
    fitting: Fitting,
    _wakes: [TaskGuard; 2],
}

impl Actor for Superman {
    type Msg = Mail<RecommendMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, log, dir, catalog, vision, searcher, releases, view } = args;
        let (table, folder, settings, end) = (Arc::clone(&view), dir.clone(), config.clone(), log.end());
        let offset = tokio::task::spawn_blocking(move || effects::load(&folder, &settings, &table, end)).await??;
        view.progress.set(offset);
        log.consumer_at(NAME, offset);
        let interval = Duration::from_millis(config.poll_interval_ms_max);
        let follow = wake(myself.clone(), log.watch(), interval, || RecommendMsg::Tick);
        let never = watch::Sender::new(0).subscribe();
        let acquaint = wake(myself, never, Duration::from_millis(config.acquaint_interval_ms), || RecommendMsg::Acquaint);
        let neighbours = Neighbours { catalog, vision, searcher, releases };
        let _wakes = [follow, acquaint];
        Ok(State {
            config,
            log,
            dir,
            neighbours,
            view,
            offset,
            saved: offset,
            is_urgent: false,
            saving: None,
            acquainting: None,
            fitting: Fitting::default(),
            _wakes,
        })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match mail.open() {
            Some((_, RecommendMsg::Tick)) => {
                if state.follow().await? {
                    send_to_self(&myself, NAME, RecommendMsg::Tick);
                } else {
                    state.fit();
                }
                state.checkpoint().await?;
            }
            Some((_, RecommendMsg::Acquaint)) => state.acquaint(),
            None => {}
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(saving) = state.saving.take() {
            let _ = saving.await;
        }
        if state.offset > state.saved {
            let (dir, view, offset) = (state.dir.clone(), Arc::clone(&state.view), state.offset);
            tokio::task::spawn_blocking(move || effects::write(&dir, offset, &effects::copy(&view)?)).await??;
            state.log.consumer_at(NAME, offset);
        }
        Ok(())
    }
}

impl State {
    /// Applies the next records; whether there may be more.
    async fn follow(&mut self) -> Result<bool, ActorProcessingErr> {
        let (log, from, records_max) = (self.log.clone(), self.offset, self.config.batch_records_max);
        // What is sealed comes from a disk, or from far away.
        let entries = tokio::task::spawn_blocking(move || log.read(from, records_max)).await??;
        let Some(last) = entries.last() else { return Ok(false) };
        let next = last.offset + 1;
        for part in entries.chunks(HOLD_RECORDS_MAX) {
            self.view.state.write(|state| part.iter().for_each(|entry| apply(state, entry)));
        }
        self.is_urgent |= entries.iter().any(|entry| matches!(entry.body, Some(LogBody::Erasure(_))));
        self.offset = next;
        self.view.progress.set(next);
        metrics::gauge!("gotham_recommend_lag_records").set(self.log.end().saturating_sub(next) as f64);
        Ok(next < self.log.end())
    }

    /// Writes the state to disk after enough events. It is copied here, between two batches, and written elsewhere.
    async fn checkpoint(&mut self) -> Result<(), ActorProcessingErr> {
        if self.saving.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(saving) = self.saving.take()
        {
            self.saved = saving.await??;
            self.log.consumer_at(NAME, self.saved);
        }
        let is_due = self.is_urgent || self.offset - self.saved >= self.config.checkpoint_events_max;
        if self.saving.is_none() && is_due {
            self.is_urgent = false;
            let (dir, view, offset) = (self.dir.clone(), Arc::clone(&self.view), self.offset);
            // Nothing is applied meanwhile: the copy is of exactly this offset.
            let bytes = tokio::task::spawn_blocking(move || effects::copy(&view)).await??;
            self.saving = Some(tokio::task::spawn_blocking(move || effects::write(&dir, offset, &bytes).map(|()| offset)));
        }
        Ok(())
    }

    /// Tunes the blends and fits the regression on a thread of its own, if it is time to.
    fn fit(&mut self) {
        let interval = Duration::from_secs(self.config.ease_interval_hours * 3_600);
        if !self.fitting.is_due(interval, self.offset) {
            return;
        }
        self.fitting.last = Some((Instant::now(), self.offset));
        let (log, config, view) = (self.log.clone(), self.config.clone(), Arc::clone(&self.view));
        let is_stopped = Arc::clone(&self.fitting.is_stopped);
        self.fitting.task = Some(tokio::task::spawn_blocking(move || {
            let start = std::time::Instant::now();
            let goes_on = || !is_stopped.load(Ordering::Relaxed);
            effects::tune(&view, &goes_on);
            match effects::fit(&log, &config, &goes_on) {
                Ok(Some(fitted)) => view.replace(&view.regressions, Some(fitted)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the log cannot be read for the regression"),
            }
            metrics::gauge!("gotham_recommend_fit_seconds").set(start.elapsed().as_secs_f64());
        }));
    }

    fn acquaint(&mut self) {
        if self.config.newcomers_max > 0 && self.acquainting.as_ref().is_none_or(JoinHandle::is_finished) {
            let round = self.neighbours.clone().acquaint(Arc::clone(&self.view), self.config.newcomers_max);
            self.acquainting = Some(tokio::spawn(round));
        }
    }
}

/// The nightly work under way, and the last one. It stops with its owner.
#[derive(Default)]
pub(crate) struct Fitting {
    is_stopped: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
    /// When the last one began, and where the log ended then.
    last: Option<(Instant, u64)>,
}

impl Drop for Fitting {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Fitting {
    /// Whether one is due at this end of the log: after a start, when the last is old, and when the log has grown by as much again.
    pub(crate) fn is_due(&self, interval: Duration, end: u64) -> bool {
        let is_busy = self.task.as_ref().is_some_and(|task| !task.is_finished());
        let is_old = |(at, before): (Instant, u64)| at.elapsed() >= interval || end >= before.max(FIT_RECORDS_MIN) * 2;
        end > 0 && !interval.is_zero() && !is_busy && self.last.is_none_or(is_old)
    }
}

/// Records below which a log that doubles is no reason to fit again.
const FIT_RECORDS_MIN: u64 = 5_000;

/// Records applied under one hold of the lock; between two holds readers get their turn.
const HOLD_RECORDS_MAX: usize = 32;

pub(crate) fn apply(state: &mut behaviour::Behaviour, entry: &Entry) {
    match &entry.body {
        Some(LogBody::Event(event)) => {
            if event.is_personal()
                && let Some((visitor, user)) = event.login()
            {
                state.merge(visitor.as_str(), user.as_str());
            }
            lessons(event, |done| {
                if let Err(refused) = state.apply(done) {
                    tracing::debug!(%refused, offset = entry.offset, "an event teaches nothing");
                    metrics::counter!("gotham_recommend_refused_total").increment(1);
                }
            });
        }
        Some(LogBody::Erasure(erasure)) => {
            erasure.shoppers.iter().map(Shopper::as_str).for_each(|shopper| {
                state.erase(shopper);
            });
        }
        Some(LogBody::Served(_)) | None => {}
    }
}
