//! The shell: follows the event log, piece by piece, on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use events::EventLog;
use kit::{Mail, TaskGuard, send_to_self, wake};
use protocol::reports::{NAME, ReportsMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Store, StoreError};

use crate::config::Config;
use crate::effects::Engine;
use crate::view::View;

/// How often Mocha looks whether something is to be published or committed, at most and at least.
const TICK_MS: std::ops::RangeInclusive<u64> = 20..=500;

/// Mocha.
pub struct Mocha;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// What is followed.
    pub log: EventLog,
    /// Where the read models are kept.
    pub store: Arc<dyn Store>,
    /// What readers see.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    /// Away while a blocking thread works with it.
    engine: Option<Box<Engine>>,
    view: Arc<View>,
    life: u64,
    _wake: TaskGuard,
}

impl Actor for Mocha {
    type Msg = Mail<ReportsMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let (view, log) = (Arc::clone(&args.view), args.log.clone());
        let life = view.begin_life();
        let interval_ms = args.config.publish_interval_ms.min(args.config.commit_interval_ms).clamp(*TICK_MS.start(), *TICK_MS.end());
        let seat_of = Arc::clone(&view);
        let engine = tokio::task::spawn_blocking(move || {
            let _seat = seat_of.seat(life).ok_or(StoreError::Stopped)?;
            Engine::open(args)
        });
        let engine = Some(Box::new(engine.await??));
        let wake = wake(myself, log.watch(), Duration::from_millis(interval_ms), || ReportsMsg::Tick);
        Ok(State { engine, view, life, _wake: wake })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, ReportsMsg::Tick)) = mail.open() else { return Ok(()) };
        if state.work(Engine::step).await? {
            send_to_self(&myself, NAME, ReportsMsg::Tick);
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.work(|engine| engine.commit().map(|()| false)).await?;
        Ok(())
    }
}

impl State {
    /// Works with the engine on a blocking thread. Nothing, when a later life has begun meanwhile.
    async fn work(
        &mut self,
        job: impl FnOnce(&mut Engine) -> Result<bool, StoreError> + Send + 'static,
    ) -> Result<bool, ActorProcessingErr> {
        let Some(mut engine) = self.engine.take() else { return Ok(false) };
        let (view, life) = (Arc::clone(&self.view), self.life);
        let (engine, worked) = tokio::task::spawn_blocking(move || {
            let worked = match view.seat(life) {
                Some(_seat) => job(&mut engine),
                None => Err(StoreError::Stopped),
            };
            (engine, worked)
        })
        .await?;
        self.engine = Some(engine);
        Ok(worked?)
    }
}
