//! An address names an actor for the whole life of the process: it stays valid while the actor is restarted, answers
//! `Unavailable` meanwhile, and bounds the mailbox, which ractor does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::context::Context;

/// Why a message was not delivered or not answered. The work may or may not have been done for the last two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The actor's mailbox is full: try again later.
    #[error("{actor} has too many messages waiting")]
    Overloaded {
        /// The callee.
        actor: &'static str,
    },
    /// The actor is starting, restarting or gone, or it died before it answered.
    #[error("{actor} is not available")]
    Unavailable {
        /// The callee.
        actor: &'static str,
    },
    /// The caller's deadline passed first.
    #[error("{actor} did not answer in time")]
    DeadlineExceeded {
        /// The callee.
        actor: &'static str,
    },
}

/// Where an answer goes. Dropping it unanswered tells the caller `Unavailable`.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// A reply and the receiver of its answer.
    pub fn channel() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers; a caller that has gone away is no error.
    pub fn send(self, answer: T) {
        let _ = self.0.send(answer);
    }

    /// Whether the caller has gone away, so that the work need not be done.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// One message in an actor's mailbox: `impl ractor::Actor { type Msg = Mail<M>; }`.
#[derive(Debug)]
pub struct Mail<M> {
    context: Context,
    payload: Payload<M>,
    queued_at: Instant,
    slot: Slot,
}

#[derive(Debug)]
enum Payload<M> {
    Message(M),
    Ping(Reply<()>),
}

impl<M> Mail<M> {
    pub(crate) fn new(context: Context, message: M, slot: Slot) -> Self {
        Self { context, payload: Payload::Message(message), queued_at: Instant::now(), slot }
    }

    /// Takes the message out, frees its place in the mailbox and records how long it waited. `None` when its deadline has
    /// passed (the caller has given up, so the work is dropped before it starts) and for a ping, which this answers.
    pub fn open(self) -> Option<(Context, M)> {
        let Self { context, payload, queued_at, slot } = self;
        metrics::histogram!("gotham_actor_queue_wait_seconds", "actor" => slot.0.name).record(queued_at.elapsed().as_secs_f64());
        if context.is_expired() {
            metrics::counter!("gotham_actor_expired_total", "actor" => slot.0.name).increment(1);
            return None;
        }
        match payload {
            Payload::Message(message) => Some((context, message)),
            Payload::Ping(reply) => {
                reply.send(());
                None
            }
        }
    }
}

/// A taken place in a mailbox, given back when dropped (also when a killed actor's mailbox is dropped).
#[derive(Debug)]
pub(crate) struct Slot(Arc<Gauge>);

#[derive(Debug)]
pub(crate) struct Gauge {
    name: &'static str,
    depth: AtomicUsize,
    depth_max: usize,
}

impl Gauge {
    pub(crate) fn new(name: &'static str, depth_max: usize) -> Arc<Self> {
        Arc::new(Self { name, depth: AtomicUsize::new(0), depth_max })
    }

    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let taken = self.depth.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |depth| (depth < self.depth_max).then_some(depth + 1));
        taken.ok().map(|_| Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lasting address of an actor that takes messages of type `M`.
pub struct Address<M> {
    gauge: Arc<Gauge>,
    target: Arc<ArcSwapOption<ActorRef<Mail<M>>>>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { gauge: Arc::clone(&self.gauge), target: Arc::clone(&self.target) }
    }
}

impl<M> std::fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("actor", &self.gauge.name).field("depth", &self.mailbox_depth()).finish()
    }
}

impl<M> Address<M> {
    /// The actor's runtime name, such as `batman`.
    pub fn name(&self) -> &'static str {
        self.gauge.name
    }

    /// Messages sent and not yet opened.
    pub fn mailbox_depth(&self) -> usize {
        self.gauge.depth.load(Ordering::Relaxed)
    }
}

impl<M: Send + 'static> Address<M> {
    /// An address with nobody behind it yet; at most `mailbox_depth_max` messages wait at a time.
    pub fn new(name: &'static str, mailbox_depth_max: usize) -> Self {
        Self { gauge: Gauge::new(name, mailbox_depth_max), target: Arc::new(ArcSwapOption::empty()) }
    }

    /// Puts a started actor behind the address.
    pub fn connect(&self, actor: ActorRef<Mail<M>>) {
        self.target.store(Some(Arc::new(actor)));
    }

    /// Takes the actor away: callers see `Unavailable` until the next `connect`.
    pub fn disconnect(&self) {
        self.target.store(None);
    }

    /// Whether an actor stands behind the address.
    pub fn is_connected(&self) -> bool {
        self.target.load().is_some()
    }

    /// Kills the actor behind the address, as a fault would; its supervisor starts it again.
    pub fn kill(&self) {
        if let Some(actor) = self.target.load().as_ref() {
            actor.kill();
        }
    }

    /// Resolves when the actor has worked off what waited before this ping: it is alive and not stuck.
    pub async fn ping(&self, context: &Context) -> Result<(), CallError> {
        let (reply, answer) = Reply::channel();
        self.send(context, Payload::Ping(reply))?;
        self.answered(context, answer).await
    }

    /// Sends without waiting for an answer.
    pub fn cast(&self, context: &Context, message: M) -> Result<(), CallError> {
        self.send(context, Payload::Message(message))
    }

    fn send(&self, context: &Context, payload: Payload<M>) -> Result<(), CallError> {
        let target = self.target.load();
        let Some(actor) = target.as_ref() else { return Err(CallError::Unavailable { actor: self.gauge.name }) };
        let Some(slot) = self.gauge.take() else { return Err(CallError::Overloaded { actor: self.gauge.name }) };
        let mail = Mail { context: context.clone(), payload, queued_at: Instant::now(), slot };
        actor.cast(mail).map_err(|_| CallError::Unavailable { actor: self.gauge.name })
    }

    /// Sends and waits for the answer until the context's deadline. `message` wraps the reply into the message.
    pub async fn call<T>(&self, context: &Context, message: impl FnOnce(Reply<T>) -> M) -> Result<T, CallError> {
        let (reply, answer) = Reply::channel();
        self.cast(context, message(reply))?;
        self.answered(context, answer).await
    }

    async fn answered<T>(&self, context: &Context, answer: oneshot::Receiver<T>) -> Result<T, CallError> {
        match tokio::time::timeout_at(context.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CallError::Unavailable { actor: self.gauge.name }),
            Err(_) => Err(CallError::DeadlineExceeded { actor: self.gauge.name }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::context::Priority;
    use crate::scene::Scene;

    fn context() -> Context {
        Context::new(Priority::Serving, Duration::from_secs(1))
    }

    type Echo = (u32, Reply<u32>);

    #[tokio::test(start_paused = true)]
    async fn calls_are_answered_and_an_empty_address_says_so() {
        let mut scene = Scene::new();
        let nobody: Address<Echo> = Address::new("nobody", 4);
        assert_eq!(nobody.call(&context(), |reply| (1, reply)).await, Err(CallError::Unavailable { actor: "nobody" }));
        let (echo, probe) = scene.probe::<Echo>("echo").await;
        probe.answer_all(|(number, reply)| reply.send(number));
        assert_eq!(echo.call(&context(), |reply| (7, reply)).await, Ok(7));
        scene.end().await;
        assert_eq!(echo.call(&context(), |reply| (7, reply)).await, Err(CallError::Unavailable { actor: "echo" }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_mailbox_refuses_and_an_unanswered_call_ends_at_its_deadline() {
        let mut scene = Scene::new();
        let (sender, mut mailbox) = tokio::sync::mpsc::unbounded_channel();
        let address: Address<Echo> = Address::new("slow", 2);
        scene.spawn_at(&address, crate::scene::Forwarder { sender }, ()).await;
        assert_eq!(address.call(&context(), |reply| (1, reply)).await, Err(CallError::DeadlineExceeded { actor: "slow" }));
        let (reply, answer) = Reply::channel();
        address.cast(&context(), (2, reply)).expect("the second place");
        assert_eq!(address.mailbox_depth(), 2);
        assert_eq!(address.cast(&context(), (3, Reply::channel().0)), Err(CallError::Overloaded { actor: "slow" }));
        let late = mailbox.recv().await.expect("forwarded").open();
        assert!(late.is_none(), "work whose deadline has passed is dropped before it starts");
        let (_, (number, reply)) = mailbox.recv().await.expect("forwarded").open().expect("in time");
        reply.send(number);
        assert_eq!((answer.await, address.mailbox_depth()), (Ok(2), 0));
        scene.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_answered_by_opening_it_and_never_reaches_the_handler() {
        let mut scene = Scene::new();
        let (address, probe) = scene.probe::<Echo>("echo").await;
        probe.answer_all(|_| panic!("a ping is no message"));
        assert_eq!(address.ping(&context()).await, Ok(()));
        scene.end().await;
    }
}
