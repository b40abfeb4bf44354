//! The shell: fills the tables at start, then follows the journal and the event log.

use std::sync::Arc;
use std::time::Duration;

use events::EventLog;
use kit::{Mail, TaskGuard, send_to_self, wake};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::session::{NAME, SessionMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Journal, JournalEntry, Record, StoreError};

use crate::config::Config;
use crate::effects::Sessions;
use crate::logic::offer::offer_state;
use crate::view::View;

/// Products taken from the snapshot in one piece.
const FILL_PAGE_MAX: usize = 256;
/// Bytes of journal records in one batch.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Flash.
pub struct Flash;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Settings.
    pub config: Config,
    /// What is followed for offers.
    pub journal: Journal,
    /// What is followed for sessions and carts, as [`protocol::session::EVENTS_CONSUMER`].
    pub events: EventLog,
    /// Where the table is filled from. Its snapshot's version is the journal offset that it stands for.
    pub catalog: Arc<dyn CatalogReader>,
    /// The tables.
    pub view: Arc<View>,
}

/// What a restart makes anew.
pub struct State {
    config: Config,
    journal: Journal,
    view: Arc<View>,
    offset: u64,
    sessions: Sessions,
    /// Whether a message to go on with the event log is on its way.
    is_going_on: bool,
    _wakes: [TaskGuard; 2],
}

impl Actor for Flash {
    type Msg = Mail<SessionMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, journal, events, catalog, view } = args;
        let table = Arc::clone(&view);
        let offset = tokio::task::spawn_blocking(move || fill(&table, &*catalog.snapshot())).await?;
        view.set_journal_offset(offset);
        journal.consumer_at(NAME, offset);
        let sessions = Sessions::start(config.clone(), events, Arc::clone(&view), &myself).await?;
        let interval = Duration::from_millis(config.poll_interval_ms_max);
        let wakes = [
            wake(myself.clone(), journal.watch(), interval, || SessionMsg::Tick),
            wake(myself, sessions.watch(), interval, || SessionMsg::EventsTick),
        ];
        Ok(State { config, journal, view, offset, sessions, is_going_on: false, _wakes: wakes })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            SessionMsg::Tick => {
                if state.follow()? {
                    send_to_self(&myself, NAME, SessionMsg::Tick);
                }
            }
            // The message to go on does the same.
            SessionMsg::EventsTick if state.is_going_on => {}
            SessionMsg::EventsTick => state.follow_events(&myself).await?,
            SessionMsg::EventsMore => state.follow_events(&myself).await?,
            SessionMsg::Checkpointed(written) => {
                state.sessions.checkpointed(written);
                // Following may have waited for it.
                if !state.is_going_on {
                    state.follow_events(&myself).await?;
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// Applies the next batch of the journal; whether there may be more. Records that were just written come from the page cache:
    /// a batch takes a fraction of a millisecond.
    fn follow(&mut self) -> Result<bool, StoreError> {
        let entries = self.journal.read(self.offset, self.config.batch_records_max, BATCH_BYTES_MAX)?;
        let Some(last) = entries.last() else { return Ok(false) };
        entries.iter().for_each(|entry| apply(&self.view, entry));
        self.offset = last.offset + 1;
        self.view.set_journal_offset(self.offset);
        // Nothing of this is kept on disk: a restart fills the table anew, so all of it is as durable as it needs to be.
        self.journal.consumer_at(NAME, self.offset);
        metrics::gauge!("gotham_session_lag_records").set(self.journal.end().saturating_sub(self.offset) as f64);
        Ok(self.offset < self.journal.end())
    }

    async fn follow_events(&mut self, myself: &ActorRef<Mail<SessionMsg>>) -> Result<(), StoreError> {
        self.is_going_on = self.sessions.follow().await?;
        self.sessions.checkpoint_if_due(myself);
        if self.is_going_on {
            send_to_self(myself, NAME, SessionMsg::EventsMore);
        }
        Ok(())
    }
}

/// Makes the table what the snapshot says and gives the journal offset that it stands for.
fn fill(view: &View, snapshot: &dyn CatalogSnapshot) -> u64 {
    view.retain(|id| snapshot.get(id).is_some());
    let mut page = snapshot.page(None, FILL_PAGE_MAX);
    while let Some(last) = page.last() {
        for known in &page {
            view.set(&known.product.id, known.revision, Some(offer_state(&known.product)));
        }
        page = snapshot.page(Some(last.product.id.as_str()), FILL_PAGE_MAX);
    }
    snapshot.version()
}

fn apply(view: &View, entry: &JournalEntry) {
    if entry.kind != KIND_CATALOG_CHANGE {
        return;
    }
    match CatalogChange::unseal(&[], &entry.body) {
        Ok(change) => {
            view.set(&change.id, change.revision, change.product.as_ref().map(offer_state));
        }
        Err(error) => {
            tracing::error!(offset = entry.offset, %error, "a journal record does not check out and is left out");
            metrics::counter!("gotham_session_quarantined_total").increment(1);
        }
    }
}
