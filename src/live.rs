//! The release that the configuration wants live: it takes office as soon as it is complete, once. From the first order on the orders
//! count.

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, Context, Priority, TaskGuard};
use protocol::registry::RegistryMsg;
use protocol::releases::{Command, Ledger, Order, Rank, ReleaseReader};
use protocol::search::Searcher;
use protocol::vision::VisionReader;

/// How often is looked whether the release is complete.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom it takes to see that a release is complete, and to have it take office.
pub(crate) struct Office {
    pub(crate) releases: Arc<dyn ReleaseReader>,
    pub(crate) vision: Arc<dyn VisionReader>,
    pub(crate) searcher: Arc<dyn Searcher>,
    pub(crate) wayne: Address<RegistryMsg>,
}

/// What is to be done about the release that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is live.
    Nothing,
    /// There is no such release.
    Unknown,
    /// Not all its vectors are there yet.
    Wait,
    /// It takes office.
    Promote,
}

impl Office {
    fn due(&self, ledger: &Ledger, name: &str) -> Due {
        let Some(release) = ledger.get(name) else { return Due::Unknown };
        if release.rank == Rank::Commissioner {
            return Due::Nothing;
        }
        let is_indexed = |model: &_, settings: &_| self.searcher.is_indexed(model, settings);
        if ledger.is_complete(release, &self.vision.builds(), is_indexed) { Due::Promote } else { Due::Wait }
    }

    /// Has a release take office, in the background, where one is named.
    pub(crate) fn open(self, name: &str) -> Option<TaskGuard> {
        (!name.is_empty()).then(|| TaskGuard::new(tokio::spawn(self.fill(name.to_owned()))))
    }

    /// Has a release take office as soon as it is complete. Ends when it is live, when there is no such release, or when an order has
    /// changed anything since.
    async fn fill(self, name: String) {
        let begun = self.releases.ledger().revision;
        let mut has_waited = false;
        loop {
            let ledger = self.releases.ledger();
            if ledger.revision != begun {
                return tracing::info!(release = name, "an order was given since the start: `releases.live` is left to the orders");
            }
            match self.due(&ledger, &name) {
                Due::Nothing => return tracing::info!(release = name, "the release of `releases.live` is live"),
                Due::Unknown => return tracing::error!(release = name, "`releases.live` names a release that there is not"),
                Due::Wait if !has_waited => {
                    has_waited = true;
                    tracing::warn!(release = name, "the release of `releases.live` is not complete: it takes office when it is");
                }
                Due::Wait => {}
                Due::Promote if self.promote(&name).await => return,
                Due::Promote => {}
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether the order was answered.
    async fn promote(&self, name: &str) -> bool {
        let order = Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: true, force: false };
        let command = Command { name: name.to_owned(), order, by: "gotham".to_owned(), reason: "`releases.live` says so".to_owned() };
        let context = Context::new(Priority::Bulk, ORDER_TIMEOUT);
        let answer = self.wayne.call(&context, |reply| RegistryMsg::Command { command, reply }).await;
        match &answer {
            Ok(Ok(Ok(_))) => tracing::info!(release = name, "the release of `releases.live` takes office"),
            Ok(Ok(Err(refusal))) => tracing::error!(release = name, %refusal, "the release of `releases.live` cannot take office"),
            // Asked again with the next look: Wayne is not up yet, or the disk did not take it.
            failed => tracing::warn!(release = name, ?failed, "the release of `releases.live` could not take office yet"),
        }
        matches!(answer, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests;
