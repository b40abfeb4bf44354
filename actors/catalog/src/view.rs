//! What readers see: the latest snapshot, swapped as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use protocol::catalog::{CatalogReader, CatalogSnapshot};

use crate::logic::catalog::Catalog;

/// Hands out snapshots of the catalog. It outlives the actor: while that is restarted, readers keep the last snapshot.
#[derive(Debug, Default)]
pub struct View {
    current: ArcSwap<Catalog>,
}

impl View {
    /// An empty catalog, until the actor has started.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn publish(&self, catalog: Catalog) {
        self.current.store(Arc::new(catalog));
    }
}

impl CatalogReader for View {
    fn snapshot(&self) -> Arc<dyn CatalogSnapshot> {
        self.current.load_full()
    }
}
