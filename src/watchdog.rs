//! Tells the service manager that all is well, but only while the storage, every actor and the worker threads answer.

use std::sync::Arc;
use std::time::Duration;

use kit::{CallError, Context, Priority};
use sd_notify::NotifyState;
use store::{Durability, Keyspace, Op, Store};

/// Asks one actor for a sign of life.
pub type Ping = Arc<dyn Fn(Context) -> std::pin::Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>> + Send + Sync>;

/// What the watchdog looks at.
#[derive(Clone)]
pub struct Watched {
    /// Every actor.
    pub actors: Vec<Ping>,
    /// Must take a write.
    pub store: Arc<dyn Store>,
    /// How long anything may be silent.
    pub silence_max: Duration,
}

impl Watched {
    /// What does not answer, by name; empty when all is well.
    pub async fn silent(&self) -> Vec<String> {
        let context = Context::new(Priority::Serving, self.silence_max);
        let mut silent: Vec<String> =
            kit::worker::stuck_pools(self.silence_max.saturating_mul(30)).into_iter().map(str::to_owned).collect();
        for ping in &self.actors {
            match ping(context.clone()).await {
                // A restarting actor is its supervisor's business, and a full mailbox is being worked off.
                Ok(()) | Err(CallError::Unavailable { .. } | CallError::Overloaded { .. }) => {}
                Err(CallError::DeadlineExceeded { actor }) => silent.push(actor.to_owned()),
            }
        }
        // Removing what is not there passes through the writer and leaves nothing behind.
        let heartbeat = Op::Delete { space: Keyspace::Meta, key: b"heartbeat".to_vec() };
        let commit = self.store.commit(vec![heartbeat], Durability::Applied);
        if !matches!(tokio::time::timeout_at(context.deadline, commit).await, Ok(Ok(_))) {
            silent.push("storage".to_owned());
        }
        silent
    }

    /// Feeds the service manager's watchdog for ever, if there is one. The interval is half of what the manager allows.
    pub async fn run(self) {
        let Some(allowed) = sd_notify::watchdog_enabled() else { return };
        loop {
            tokio::time::sleep(allowed / 2).await;
            let silent = self.silent().await;
            if silent.is_empty() {
                notify(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(?silent, "not feeding the watchdog");
            }
        }
    }
}

/// Sends a message to the service manager, if there is one.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
