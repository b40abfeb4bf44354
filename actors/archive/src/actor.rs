//! The shell: one round of work at a time.

use std::sync::Arc;
use std::time::Duration;

use events::{EventLog, ForgetError};
use kit::{Clock, Mail, TaskGuard, wake};
use protocol::archive::ArchiveMsg;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;

/// Alfred.
pub struct Alfred;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// What is kept in order.
    pub log: EventLog,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// What a restart makes anew.
pub struct State {
    args: Args,
    round: Option<JoinHandle<()>>,
    _wake: TaskGuard,
}

impl Actor for Alfred {
    type Msg = Mail<ArchiveMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let never = watch::Sender::new(0).subscribe();
        let guard = wake(myself, never, Duration::from_millis(args.config.interval_ms), || ArchiveMsg::Tick);
        Ok(State { args, round: None, _wake: guard })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, ArchiveMsg::Tick)) = mail.open() else { return Ok(()) };
        if state.round.as_ref().is_none_or(JoinHandle::is_finished) {
            let Args { log, clock, .. } = state.args.clone();
            state.round = Some(tokio::task::spawn_blocking(move || round(&log, clock.now_ms())));
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(round) = state.round.take() {
            // The files are whole at any point; waiting only saves doing it again.
            let _ = round.await;
        }
        Ok(())
    }
}

/// Carries out erasures, then seals. A failure is told and tried again in the next round.
fn round(log: &EventLog, now_ms: i64) {
    if let Err(error) = log.finish_forgetting() {
        failed("erasure", &error);
    }
    match log.pending_erasures() {
        Ok(pending) => {
            for (offset, erasure) in pending {
                match log.forget(&erasure) {
                    Ok(forgotten) => tracing::info!(offset, ?forgotten, "a shopper is forgotten"),
                    // Followers pass it in their own time.
                    Err(error @ ForgetError::Behind { .. }) => tracing::debug!(offset, %error, "an erasure waits"),
                    Err(error) => failed("erasure", &error),
                }
            }
        }
        Err(error) => failed("erasure", &error),
    }
    match log.seal_due(now_ms) {
        Ok(Some(up_to)) => match log.seal(up_to) {
            Ok(report) => tracing::info!(?report, "events are sealed"),
            Err(error) => failed("seal", &error),
        },
        Ok(None) => {}
        Err(error) => failed("seal", &error),
    }
}

fn failed(work: &'static str, error: &dyn std::fmt::Display) {
    tracing::warn!(work, %error, "the event log could not be put in order; it is tried again");
    metrics::counter!("gotham_archive_failed_total", "work" => work).increment(1);
}
