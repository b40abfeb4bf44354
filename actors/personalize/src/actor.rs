//! The shell: begins where the last checkpoint ends, then follows the event log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::EventLog;
use kit::{Mail, TaskGuard, send_to_self, wake};
use protocol::personalize::{NAME, PersonalizeMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::StoreError;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::config::Config;
use crate::effects::{checkpoint, follow};
use crate::view::View;

/// Two Face.
pub struct TwoFace;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// What is followed.
    pub log: EventLog,
    /// The folder of the state's file; nobody else writes into it.
    pub dir: PathBuf,
    /// What readers see. Its store is the one that checkpoints are written to.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    args: Args,
    incarnation: u64,
    checkpoint_at: Instant,
    is_urgent: bool,
    is_checkpointing: bool,
    _wake: TaskGuard,
}

impl Actor for TwoFace {
    type Msg = Mail<PersonalizeMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let own = args.clone();
        let begin = move || checkpoint::begin(&own.view, &own.log, &own.dir, own.config.names_max);
        let incarnation = spawn_blocking(begin).await??;
        let interval = Duration::from_millis(args.config.poll_interval_ms_max);
        let wake = wake(myself, args.log.watch(), interval, || PersonalizeMsg::Tick);
        let checkpoint_at = next_checkpoint(&args.config);
        Ok(State { args, incarnation, checkpoint_at, is_urgent: false, is_checkpointing: false, _wake: wake })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            PersonalizeMsg::Tick => state.follow(&myself).await?,
            PersonalizeMsg::Checkpointed(result) => {
                result?;
                state.is_checkpointing = false;
                state.checkpoint_at = next_checkpoint(&state.args.config);
                send_to_self(&myself, NAME, PersonalizeMsg::Tick);
            }
        }
        Ok(())
    }
}

impl State {
    /// Applies the next batch and begins a checkpoint where one is due.
    async fn follow(&mut self, myself: &ActorRef<Mail<PersonalizeMsg>>) -> Result<(), ActorProcessingErr> {
        let (args, incarnation) = (self.args.clone(), self.incarnation);
        let batch = spawn_blocking(move || follow::follow(&args.view, &args.log, incarnation, args.config.batch_records_max)).await??;
        self.is_urgent |= batch.is_urgent;
        let dirty = self.args.view.profiles.dirty();
        metrics::gauge!("gotham_personalize_dirty_profiles").set(dirty as f64);
        let is_due = self.is_urgent || dirty >= self.args.config.dirty_profiles_max || Instant::now() >= self.checkpoint_at;
        if is_due && !self.is_checkpointing {
            self.begin_checkpoint(myself);
        }
        if batch.has_more {
            send_to_self(myself, NAME, PersonalizeMsg::Tick);
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self, myself: &ActorRef<Mail<PersonalizeMsg>>) {
        (self.is_checkpointing, self.is_urgent) = (true, false);
        let (args, incarnation, myself) = (self.args.clone(), self.incarnation, myself.clone());
        let work = spawn_blocking(move || checkpoint::write(&args.view, &args.log, &args.dir, incarnation));
        tokio::spawn(async move {
            let result = work.await.unwrap_or_else(|error| Err(StoreError::Io(error.to_string().into())));
            send_to_self(&myself, NAME, PersonalizeMsg::Checkpointed(result));
        });
    }
}

fn next_checkpoint(config: &Config) -> Instant {
    Instant::now() + Duration::from_millis(config.checkpoint_interval_ms)
}
