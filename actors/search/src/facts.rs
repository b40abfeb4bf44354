//! Facts that pictures show, as attributes to filter, count and sort by: `tag.pattern`.

use std::sync::Arc;

use domain::ProductId;
use protocol::catalog::CatalogReader;
use protocol::tags::{FactIndex, FactReader};

use crate::view::View;

impl View {
    /// Where facts are read from. Told once, before the actor starts: what is in the columns by then has none.
    pub fn use_facts(&self, facts: Arc<dyn FactReader>) {
        self.shared().column_seat.use_facts(facts);
    }
}

impl FactIndex for View {
    fn refresh(&self, catalog: &dyn CatalogReader, products: &[ProductId]) {
        let shared = self.shared();
        let mut seat = shared.column_seat.take();
        let catalog = catalog.snapshot();
        let mut has_changed = false;
        for id in products {
            // A product that the follower has not come to yet is set with its facts then.
            let is_known = seat.columns().current().slot(id.as_str()).is_some();
            if let Some(revision) = catalog.get(id.as_str()).filter(|_| is_known) {
                has_changed |= seat.set(&revision.product).is_some();
            }
        }
        if has_changed {
            shared.publish_columns(seat.columns());
        }
    }
}
