//! What readers see of the house.

use std::sync::Arc;

use arc_swap::ArcSwap;
use kit::{ActorStatus, Board};
use protocol::experiments::Experiment;
use protocol::registry::{RegistryReader, Setting};
use protocol::releases::{Definition, Ledger, ReleaseReader, Settings};
use protocol::vision::ModelInfo;
use store::{Keyspace, Record as _, Store, StoreError};

use crate::records::LedgerRecord;

/// The supervisors' board and the settings in force.
pub struct View {
    board: Board,
    settings: Arc<[Setting]>,
    experiments: ArcSwap<Vec<Experiment>>,
    ledger: ArcSwap<Ledger>,
}

impl View {
    /// A view over the board of this process.
    pub fn new(board: Board, settings: Arc<[Setting]>) -> Self {
        Self { board, settings, experiments: ArcSwap::default(), ledger: ArcSwap::default() }
    }

    /// Reads the releases, so that everybody knows from the start who is live; in a new house the first model of each space with the
    /// configured settings is. What has changed since the last start is in force ([`Ledger::opened`]). Wayne makes it durable.
    pub fn open_releases(&self, store: &dyn Store, known: &[ModelInfo], configured: &Settings, now_ms: i64) -> Result<(), StoreError> {
        let kept = store.get(Keyspace::Meta, LedgerRecord::KEY)?.and_then(|bytes| {
            let record = LedgerRecord::unseal(LedgerRecord::KEY, &bytes).map_err(|error| error.to_string());
            let ledger = record.and_then(|record| record.ledger(configured).map_err(|error| error.to_string()));
            ledger.inspect_err(|error| tracing::error!(error, "the releases cannot be read: the installed models are live")).ok()
        });
        let kept = kept.filter(|ledger| ledger.commissioner().is_some());
        let ledger = kept.unwrap_or_else(|| Ledger::first(Definition::of_first(known, configured.clone()), now_ms));
        self.set_ledger(ledger.opened(known, configured, now_ms));
        Ok(())
    }

    /// Publishes the releases.
    pub(crate) fn set_ledger(&self, ledger: Ledger) {
        self.ledger.store(Arc::new(ledger));
    }

    /// Publishes the experiments.
    pub(crate) fn set_experiments(&self, experiments: Vec<Experiment>) {
        self.experiments.store(Arc::new(experiments));
    }
}

impl ReleaseReader for View {
    fn ledger(&self) -> Arc<Ledger> {
        self.ledger.load_full()
    }
}

impl RegistryReader for View {
    fn actors(&self) -> Vec<ActorStatus> {
        self.board.statuses()
    }

    fn settings(&self) -> Arc<[Setting]> {
        Arc::clone(&self.settings)
    }

    fn experiments(&self) -> Arc<[Experiment]> {
        self.experiments.load().as_slice().into()
    }
}
