//! What readers see of the queues without asking Gordon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use protocol::queue::{QueueDepth, QueueName, QueueReader};
use tokio::sync::watch;

/// Gordon's view: made once, filled by every incarnation of the actor.
#[derive(Debug)]
pub struct View {
    depths: ArcSwap<[QueueDepth; QueueName::ALL.len()]>,
    journal_offset: AtomicU64,
    ready: watch::Sender<u64>,
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

impl View {
    /// Empty queues.
    pub fn new() -> Self {
        Self { depths: ArcSwap::default(), journal_offset: AtomicU64::new(0), ready: watch::Sender::new(0) }
    }

    /// How full each queue is, in the order of [`QueueName::ALL`].
    pub(crate) fn set_depths(&self, depths: [QueueDepth; QueueName::ALL.len()]) {
        self.depths.store(Arc::new(depths));
    }

    pub(crate) fn set_journal_offset(&self, offset: u64) {
        self.journal_offset.store(offset, Ordering::Release);
    }

    /// Wakes those who wait for work.
    pub(crate) fn wake(&self) {
        self.ready.send_modify(|wakes| *wakes = wakes.wrapping_add(1));
    }
}

impl QueueReader for View {
    fn depth(&self, queue: QueueName) -> QueueDepth {
        let at = QueueName::ALL.iter().position(|name| *name == queue);
        at.map(|at| self.depths.load()[at]).unwrap_or_default()
    }

    fn journal_offset(&self) -> u64 {
        self.journal_offset.load(Ordering::Acquire)
    }

    fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }
}
