//! Waking an actor that follows something: the journal's end, a queue, a timer.

use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::{Gauge, Mail};
use crate::context::{Context, Priority};

/// Ends its task when dropped, so that a task dies with the actor whose state holds it.
#[derive(Debug)]
pub struct TaskGuard(JoinHandle<()>);

impl TaskGuard {
    /// Guards a task.
    pub fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends `message` to the actor at once, after every change of `changes`, and at least every `interval_max`. Wakes that the
/// actor has not opened yet are merged into one, so a busy actor's mailbox does not fill.
pub fn wake<M: Send + 'static>(
    actor: ActorRef<Mail<M>>,
    mut changes: watch::Receiver<u64>,
    interval_max: Duration,
    message: fn() -> M,
) -> TaskGuard {
    TaskGuard::new(tokio::spawn(async move {
        let gauge = Gauge::new("wake", 1);
        let mut is_open = true;
        loop {
            changes.mark_unchanged();
            if let Some(slot) = gauge.take() {
                let context = Context::new(Priority::Bulk, FOREVER);
                if actor.cast(Mail::new(context, message(), slot)).is_err() {
                    return;
                }
            }
            if is_open {
                if let Ok(Err(_)) = tokio::time::timeout(interval_max, changes.changed()).await {
                    is_open = false;
                }
            } else {
                tokio::time::sleep(interval_max).await;
            }
        }
    }))
}

/// An actor sends itself a message that nobody waits for.
pub fn send_to_self<M: Send + 'static>(actor: &ActorRef<Mail<M>>, name: &'static str, message: M) {
    if let Some(slot) = Gauge::new(name, 1).take() {
        // A message to an actor that has just ended has no reader: nothing is lost by dropping it.
        let _ = actor.cast(Mail::new(Context::new(Priority::Bulk, FOREVER), message, slot));
    }
}

const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;

    #[tokio::test(start_paused = true)]
    async fn wakes_come_at_once_on_change_and_by_interval_and_unopened_ones_are_merged() {
        let mut scene = Scene::new();
        let (sender, mut mailbox) = tokio::sync::mpsc::unbounded_channel();
        let actor = scene.spawn(crate::scene::Forwarder { sender }, ()).await;
        let (change, changes) = watch::channel(0);
        let guard = wake(actor, changes, Duration::from_secs(5), || ());
        let first: Mail<()> = mailbox.recv().await.expect("at once");
        for value in 1..4 {
            change.send_replace(value);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(mailbox.try_recv().is_err(), "merged with the one not opened yet");
        assert!(first.open().is_some());
        change.send_replace(9);
        assert!(mailbox.recv().await.expect("after a change").open().is_some());
        let before = tokio::time::Instant::now();
        assert!(mailbox.recv().await.expect("by interval").open().is_some());
        assert_eq!(before.elapsed().as_secs(), 5);
        drop(change);
        assert!(mailbox.recv().await.expect("by interval without a sender").open().is_some());
        drop(guard);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(mailbox.try_recv().is_err(), "the task ends with its guard");
        scene.end().await;
    }
}
