//! Tests of actors: a scene owns every actor that a test starts and fails the test when one is left running; a probe stands
//! in a neighbour's place and shows what it was sent.

use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::address::{Address, Mail};
use crate::context::Context;

/// How long a probe waits for a message, and a scene for its actors to end (paused time passes at once).
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages a probe's mailbox takes.
const PROBE_DEPTH_MAX: usize = 1 << 20;

/// Every actor that a test started.
#[derive(Default)]
pub struct Scene {
    actors: Vec<(ActorCell, JoinHandle<()>)>,
    ended: bool,
}

impl Scene {
    /// An empty scene.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts an actor, unnamed, and fails the test if it does not start.
    pub async fn spawn<A: Actor>(&mut self, actor: A, args: A::Arguments) -> ActorRef<A::Msg> {
        let (reference, handle) = Actor::spawn(None, actor, args).await.expect("the actor starts");
        self.actors.push((reference.get_cell(), handle));
        reference
    }

    /// Starts an actor behind an address.
    pub async fn spawn_at<A, M>(&mut self, address: &Address<M>, actor: A, args: A::Arguments) -> ActorRef<Mail<M>>
    where
        M: Send + 'static,
        A: Actor<Msg = Mail<M>>,
    {
        let reference = self.spawn(actor, args).await;
        address.connect(reference.clone());
        reference
    }

    /// An address with a probe behind it.
    pub async fn probe<M: Send + 'static>(&mut self, name: &'static str) -> (Address<M>, Probe<M>) {
        let (sender, received) = mpsc::unbounded_channel();
        let address = Address::new(name, PROBE_DEPTH_MAX);
        self.spawn_at(&address, Forwarder { sender }, ()).await;
        (address, Probe { name, received })
    }

    /// Stops every actor and waits until each has ended. Every test calls it last.
    pub async fn end(mut self) {
        self.ended = true;
        for (actor, handle) in self.actors.drain(..).rev() {
            actor.stop(None);
            tokio::time::timeout(PATIENCE, handle).await.expect("an actor did not stop").expect("an actor's task panicked");
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let left = self.actors.iter().filter(|(actor, _)| actor.get_status() != ActorStatus::Stopped).count();
        if !self.ended && !std::thread::panicking() {
            panic!("the test ended with {left} actors running: call Scene::end");
        }
    }
}

/// What stands in a neighbour's place: receives its messages and lets the test answer them.
pub struct Probe<M> {
    name: &'static str,
    received: mpsc::UnboundedReceiver<Mail<M>>,
}

impl<M> Probe<M> {
    /// The next message; fails the test when none comes.
    pub async fn next(&mut self) -> (Context, M) {
        let mail = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        let mail = mail.unwrap_or_else(|_| panic!("{} was sent nothing", self.name)).expect("the probe runs");
        mail.open().unwrap_or_else(|| panic!("{} was sent a message whose deadline had passed", self.name))
    }

    /// A message that has already arrived.
    pub fn try_next(&mut self) -> Option<(Context, M)> {
        self.received.try_recv().ok().and_then(Mail::open)
    }

    /// Answers every message by a function, for as long as the probe's actor lives.
    pub fn answer_all(mut self, mut answer: impl FnMut(M) + Send + 'static)
    where
        M: Send + 'static,
    {
        tokio::spawn(async move {
            while let Some(mail) = self.received.recv().await {
                if let Some((_, message)) = mail.open() {
                    answer(message);
                }
            }
        });
    }
}

/// Passes its mail on unopened.
pub(crate) struct Forwarder<M> {
    pub(crate) sender: mpsc::UnboundedSender<Mail<M>>,
}

impl<M: Send + 'static> Actor for Forwarder<M> {
    type Msg = Mail<M>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Mail<M>>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Mail<M>>, mail: Mail<M>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let _ = self.sender.send(mail);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "1 actors running")]
    async fn a_test_that_leaves_an_actor_running_fails() {
        let mut scene = Scene::new();
        let _left = scene.probe::<()>("left").await;
    }
}
