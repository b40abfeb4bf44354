//! Our own supervisor on ractor, which restarts nothing by itself: one-for-one or rest-for-one, exponential backoff with
//! jitter, and escalation when restarts come too fast. A killed child counts as a failure, and a child whose `pre_start`
//! fails is tried again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::address::{Address, Mail, Reply};
use crate::board::{ActorState, Board};

/// Who is restarted with a failed child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody.
    OneForOne,
    /// Those that were started after it, since they build on it.
    RestForOne,
}

/// How often and how fast children are restarted.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// Who is restarted with a failed child.
    pub strategy: Strategy,
    /// More restarts than this within `window` make the supervisor itself fail.
    pub restarts_max: usize,
    /// See `restarts_max`.
    pub window: Duration,
    /// The wait before the first restart; doubled for each further one in the window.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How long a child may take to drain at shutdown before it is killed.
    pub drain_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            restarts_max: 10,
            window: Duration::from_secs(60),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(10),
        }
    }
}

impl RestartPolicy {
    /// The wait before the restart that follows `earlier` others in the window. `jitter` is 0..1 and shortens it by up to half.
    fn backoff(&self, earlier: usize, jitter: f64) -> Duration {
        let doubled = self.backoff_min.saturating_mul(1_u32 << earlier.min(16));
        doubled.min(self.backoff_max).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How to start, stop and look at one child. Clones describe the same child.
#[derive(Clone)]
pub struct ChildSpec {
    name: &'static str,
    job: &'static str,
    start: Arc<dyn Fn(ActorCell) -> Boxed<Result<ActorCell, String>> + Send + Sync>,
    stop: Arc<dyn Fn(ActorCell, Duration) -> Boxed<()> + Send + Sync>,
    disconnect: Arc<dyn Fn() + Send + Sync>,
    depth: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl ChildSpec {
    /// An actor behind an address. `make` gives the actor and its arguments at every (re)start.
    pub fn actor<A, M>(address: &Address<M>, job: &'static str, make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static) -> Self
    where
        M: Send + 'static,
        A: Actor<Msg = Mail<M>>,
    {
        let (to_connect, to_disconnect, to_measure) = (address.clone(), address.clone(), address.clone());
        let start = move |supervisor: ActorCell| -> Boxed<Result<ActorCell, String>> {
            let (actor, args) = make();
            let address = to_connect.clone();
            Box::pin(async move {
                let (reference, _) = Actor::spawn_linked(None, actor, args, supervisor).await.map_err(|error| error.to_string())?;
                let cell = reference.get_cell();
                address.connect(reference);
                Ok(cell)
            })
        };
        Self {
            name: address.name(),
            job,
            start: Arc::new(start),
            stop: Arc::new(|cell, patience| Box::pin(drain(cell, patience))),
            disconnect: Arc::new(move || to_disconnect.disconnect()),
            depth: Arc::new(move || to_measure.mailbox_depth()),
        }
    }

    /// A group of children under a supervisor of their own.
    pub fn group(name: &'static str, job: &'static str, args: SupervisorArgs) -> Self {
        let disconnected = args.children.clone();
        let start = move |supervisor: ActorCell| -> Boxed<Result<ActorCell, String>> {
            let args = args.clone();
            Box::pin(async move {
                let (all_up, up) = Reply::channel();
                let (reference, _) =
                    Actor::spawn_linked(None, Supervisor, (args, all_up), supervisor).await.map_err(|error| error.to_string())?;
                // Whoever is started next may build on every child of this group.
                up.await.map_err(|_| format!("{name} gave up before all of it was running"))?;
                Ok(reference.get_cell())
            })
        };
        Self {
            name,
            job,
            start: Arc::new(start),
            stop: Arc::new(|cell, patience| Box::pin(shut_down(cell, patience))),
            disconnect: Arc::new(move || disconnected.iter().for_each(|child| (child.disconnect)())),
            depth: Arc::new(|| 0),
        }
    }
}

/// What a supervisor starts with.
#[derive(Clone)]
pub struct SupervisorArgs {
    /// Started in this order, stopped in the reverse one.
    pub children: Vec<ChildSpec>,
    /// How failures are met.
    pub policy: RestartPolicy,
    /// Where states are recorded.
    pub board: Board,
}

/// What a supervisor is told.
pub enum SupervisorMsg {
    /// Start the child at this place if it is not up, then the next.
    Start(usize),
    /// Stop all children, last first, each with its mailbox drained; then end.
    Shutdown(Reply<()>),
}

/// See the module.
pub struct Supervisor;

/// A supervisor's memory.
pub struct SupervisorState {
    args: SupervisorArgs,
    /// Told once, when every child has come up for the first time.
    all_up: Option<Reply<()>>,
    running: Vec<Option<ActorCell>>,
    failures: VecDeque<Instant>,
    is_stopping: bool,
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = (SupervisorArgs, Reply<()>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        (args, all_up): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        for child in &args.children {
            args.board.add(child.name, child.job, Arc::clone(&child.depth));
        }
        let running = vec![None; args.children.len()];
        myself.cast(SupervisorMsg::Start(0))?;
        Ok(SupervisorState { args, all_up: Some(all_up), running, failures: VecDeque::new(), is_stopping: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Start(index) => state.start_from(&myself, index).await,
            SupervisorMsg::Shutdown(reply) => {
                state.stop_from(0, ActorState::Stopped).await;
                reply.send(());
                myself.stop(None);
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, error) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => (cell, reason.unwrap_or_else(|| "stopped by itself".to_owned())),
            _ => return Ok(()),
        };
        let index = state.running.iter().position(|running| running.as_ref().is_some_and(|running| running.get_id() == cell.get_id()));
        match index {
            Some(index) if !state.is_stopping => state.child_failed(&myself, index, error).await,
            _ => Ok(()),
        }
    }
}

impl SupervisorState {
    /// Starts every child from `index` on that is not up; one that does not start is tried again later, and those behind it wait.
    async fn start_from(&mut self, myself: &ActorRef<SupervisorMsg>, index: usize) -> Result<(), ActorProcessingErr> {
        if self.is_stopping {
            return Ok(());
        }
        for index in index..self.running.len() {
            if self.running[index].is_some() {
                continue;
            }
            let child = self.args.children[index].clone();
            match (child.start)(myself.get_cell()).await {
                Ok(cell) => {
                    self.running[index] = Some(cell);
                    self.args.board.set(child.name, ActorState::Running, None);
                    tracing::info!(actor = child.name, "running");
                }
                Err(error) => return self.child_failed(myself, index, error).await,
            }
        }
        if let Some(all_up) = self.all_up.take_if(|_| self.running.iter().all(Option::is_some)) {
            all_up.send(());
        }
        Ok(())
    }

    /// Counts the failure, takes the child (and, by strategy, its followers) down and plans the restart; or gives up.
    async fn child_failed(&mut self, myself: &ActorRef<SupervisorMsg>, index: usize, error: String) -> Result<(), ActorProcessingErr> {
        let child = self.args.children[index].clone();
        (child.disconnect)();
        self.running[index] = None;
        self.args.board.set(child.name, ActorState::Restarting, Some(error.clone()));
        let policy = self.args.policy;
        if policy.strategy == Strategy::RestForOne {
            self.stop_from(index + 1, ActorState::Restarting).await;
            self.is_stopping = false;
        }
        let now = Instant::now();
        while self.failures.front().is_some_and(|failure| now.duration_since(*failure) > policy.window) {
            self.failures.pop_front();
        }
        let earlier = self.failures.len();
        if earlier >= policy.restarts_max {
            tracing::error!(actor = child.name, error, "restarted too often: escalating");
            return Err(format!("{} failed {} times within {:?}: {error}", child.name, earlier + 1, policy.window).into());
        }
        self.failures.push_back(now);
        let backoff = policy.backoff(earlier, jitter());
        tracing::warn!(actor = child.name, error, backoff_ms = backoff.as_millis() as u64, "down: restarting");
        // The handle may be dropped: a message to a supervisor that has ended by then goes nowhere.
        drop(myself.send_after(backoff, move || SupervisorMsg::Start(index)));
        Ok(())
    }

    /// Stops the children from `index` on, last first.
    async fn stop_from(&mut self, index: usize, state: ActorState) {
        self.is_stopping = true;
        for index in (index..self.running.len()).rev() {
            let child = self.args.children[index].clone();
            if let Some(cell) = self.running[index].take() {
                (child.stop)(cell, self.args.policy.drain_max).await;
            }
            (child.disconnect)();
            self.args.board.set(child.name, state, None);
        }
    }
}

/// Lets an actor work off its mailbox and end, and kills it when that takes too long.
async fn drain(cell: ActorCell, patience: Duration) {
    if cell.drain_and_wait(Some(patience)).await.is_err() {
        cell.kill();
    }
}

/// Shuts a supervisor down, and kills it when that takes too long.
async fn shut_down(cell: ActorCell, patience: Duration) {
    let (reply, done) = Reply::channel();
    let patience = patience.saturating_mul(4);
    let is_sent = cell.send_message(SupervisorMsg::Shutdown(reply)).is_ok();
    if is_sent && tokio::time::timeout(patience, done).await.is_ok() {
        let _ = cell.wait(Some(patience)).await;
    } else {
        cell.kill();
    }
}

/// The root of the tree.
pub struct Tree {
    root: ActorRef<SupervisorMsg>,
    ended: tokio::task::JoinHandle<()>,
    patience: Duration,
}

impl Tree {
    /// Starts the root supervisor, which starts the rest.
    pub async fn start(args: SupervisorArgs) -> Result<Self, String> {
        let patience = args.policy.drain_max;
        // Who waits for the root asks the board.
        let (root, ended) = Actor::spawn(None, Supervisor, (args, Reply::channel().0)).await.map_err(|error| error.to_string())?;
        Ok(Self { root, ended, patience })
    }

    /// Resolves when the root has failed: restarts came too fast everywhere, so the process is to end and be started anew.
    pub async fn failed(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Stops everything in order, each mailbox drained.
    pub async fn shut_down(self) {
        shut_down(self.root.get_cell(), self.patience.saturating_mul(4)).await;
    }
}

/// A number from 0 to 1, different every time: restarts of several actors do not fall into step.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
