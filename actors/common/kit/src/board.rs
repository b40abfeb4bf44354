//! The board: what every actor is doing, written by the supervisors, read by anyone at any time.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::clock::Clock;

/// What an actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Not up yet.
    Starting,
    /// Taking messages.
    Running,
    /// Down; the supervisor starts it again after its backoff.
    Restarting,
    /// Ended on purpose.
    Stopped,
}

/// One actor at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActorStatus {
    /// `batman`.
    pub name: &'static str,
    /// What it does, in a few words.
    pub job: &'static str,
    /// What it is doing.
    pub state: ActorState,
    /// Since the process started.
    pub restarts: u64,
    /// Messages waiting.
    pub mailbox_depth: usize,
    /// Why it last went down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it came into this state, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

type Depth = Arc<dyn Fn() -> usize + Send + Sync>;

/// The statuses of all actors; clones share one board.
#[derive(Clone)]
pub struct Board {
    clock: Arc<dyn Clock>,
    rows: Arc<Mutex<Vec<(ActorStatus, Depth)>>>,
}

impl Board {
    /// An empty board.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, rows: Arc::default() }
    }

    /// Every actor, in the order in which they were first started.
    pub fn statuses(&self) -> Vec<ActorStatus> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(status, depth)| ActorStatus { mailbox_depth: depth(), ..status.clone() }).collect()
    }

    /// The actors that are not running.
    pub fn not_running(&self) -> Vec<&'static str> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().filter(|(status, _)| status.state != ActorState::Running).map(|(status, _)| status.name).collect()
    }

    /// Puts an actor on the board; one that is there already keeps its history.
    pub(crate) fn add(&self, name: &'static str, job: &'static str, depth: Depth) {
        let since_ms = self.clock.now_ms();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.iter().all(|(status, _)| status.name != name) {
            let status = ActorStatus { name, job, state: ActorState::Starting, restarts: 0, mailbox_depth: 0, last_error: None, since_ms };
            rows.push((status, depth));
        }
    }

    /// Records a change of state; coming up again after having gone down counts as a restart.
    pub(crate) fn set(&self, name: &'static str, state: ActorState, error: Option<String>) {
        let since_ms = self.clock.now_ms();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((status, _)) = rows.iter_mut().find(|(status, _)| status.name == name) {
            if state == ActorState::Running && status.state == ActorState::Restarting {
                status.restarts += 1;
                metrics::counter!("gotham_actor_restarts_total", "actor" => name).increment(1);
            }
            status.last_error = error.or(status.last_error.take());
            (status.state, status.since_ms) = (state, since_ms);
        }
    }
}
