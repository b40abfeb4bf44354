//! What readers see of the house.

use std::sync::Arc;

use kit::{ActorStatus, Board};
use protocol::registry::{RegistryReader, Setting};

/// The supervisors' board and the settings in force.
pub struct View {
    board: Board,
    settings: Arc<[Setting]>,
}

impl View {
    /// A view over the board of this process.
    pub fn new(board: Board, settings: Arc<[Setting]>) -> Self {
        Self { board, settings }
    }
}

impl RegistryReader for View {
    fn actors(&self) -> Vec<ActorStatus> {
        self.board.statuses()
    }

    fn settings(&self) -> Arc<[Setting]> {
        Arc::clone(&self.settings)
    }
}
