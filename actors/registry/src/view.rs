//! What readers see of the house.

use std::sync::Arc;

use arc_swap::ArcSwap;
use kit::{ActorStatus, Board};
use protocol::experiments::Experiment;
use protocol::registry::{RegistryReader, Setting};

/// The supervisors' board and the settings in force.
pub struct View {
    board: Board,
    settings: Arc<[Setting]>,
    experiments: ArcSwap<Vec<Experiment>>,
}

impl View {
    /// A view over the board of this process.
    pub fn new(board: Board, settings: Arc<[Setting]>) -> Self {
        Self { board, settings, experiments: ArcSwap::default() }
    }

    /// Publishes the experiments.
    pub(crate) fn set_experiments(&self, experiments: Vec<Experiment>) {
        self.experiments.store(Arc::new(experiments));
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
