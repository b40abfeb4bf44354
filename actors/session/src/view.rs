//! The table that readers look up, without locks and on their own threads.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::ProductId;
use papaya::{Compute, HashMap, Operation};
use protocol::session::{OfferReader, OfferState};

/// What is known of one product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    revision: u64,
    /// `None` when that revision deleted it.
    offer: Option<OfferState>,
}

/// Price and stock of every product. It outlives the actor: while that is restarted, readers see the table as it was.
#[derive(Debug, Default)]
pub struct View {
    entries: HashMap<ProductId, Entry>,
    journal_offset: AtomicU64,
}

impl View {
    /// An empty table, until the actor has started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a product's offer (`None`: it was deleted), unless this revision or a newer one is known. Whether it was set.
    pub(crate) fn set(&self, id: &ProductId, revision: u64, offer: Option<OfferState>) -> bool {
        let entries = self.entries.pin();
        let decide = |known: Option<(&ProductId, &Entry)>| match known {
            Some((_, known)) if known.revision >= revision => Operation::Abort(()),
            _ => Operation::Insert::<Entry, ()>(Entry { revision, offer }),
        };
        !matches!(entries.compute(id.clone(), decide), Compute::Aborted(()))
    }

    /// Forgets every product that `keep` does not know.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.entries.pin().retain(|id, _| keep(id.as_str()));
    }

    /// Changes up to this journal offset are visible.
    pub(crate) fn set_journal_offset(&self, offset: u64) {
        self.journal_offset.store(offset, Ordering::Release);
    }
}

impl OfferReader for View {
    fn offer(&self, id: &str) -> Option<OfferState> {
        self.entries.pin().get(id).and_then(|entry| entry.offer)
    }

    fn journal_offset(&self) -> u64 {
        self.journal_offset.load(Ordering::Acquire)
    }
}
