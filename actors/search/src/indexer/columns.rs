//! The seat of the one writer of columns, taken by the follower and by whoever sets vectors of a product that it has not come to yet.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use columns::{Columns, Limits};
use domain::{AttributeValue, Product, Provenance, Source};
use protocol::tags::FactReader;

use crate::logic::Slot;

/// How long a deleted product's slot is kept: longer than any query lives, and than a commit of the keyword index may take to
/// forget the product.
const SLOT_QUARANTINE_MS: u64 = 600_000;

/// Begins the names of attributes that come from pictures.
const TAG_PREFIX: &str = "tag.";

/// The writer and its clock.
pub(crate) struct ColumnSeat {
    columns: Mutex<Columns>,
    since: Instant,
    /// What pictures show for sure: filtered and counted like the catalog's own attributes.
    facts: OnceLock<Arc<dyn FactReader>>,
}

impl Default for ColumnSeat {
    fn default() -> Self {
        let columns = Columns::new(Limits { quarantine_ms: SLOT_QUARANTINE_MS, ..Limits::default() });
        Self { columns: Mutex::new(columns), since: Instant::now(), facts: OnceLock::new() }
    }
}

impl ColumnSeat {
    /// The writer. One that panicked half-way has at worst a product with some attributes old: the next change of it mends that.
    pub(crate) fn take(&self) -> Seated<'_> {
        Seated {
            columns: self.columns.lock().unwrap_or_else(PoisonError::into_inner),
            now_ms: self.since.elapsed().as_millis() as u64,
            facts: self.facts.get().map(Arc::as_ref),
        }
    }

    /// Products that are set from now on are set with their facts. Counts once.
    pub(crate) fn use_facts(&self, facts: Arc<dyn FactReader>) {
        let _ = self.facts.set(facts);
    }
}

/// The writer while it is held.
pub(crate) struct Seated<'a> {
    columns: MutexGuard<'a, Columns>,
    now_ms: u64,
    facts: Option<&'a dyn FactReader>,
}

impl Seated<'_> {
    /// Takes a product in; its slot, or nothing when no slot is left.
    pub(crate) fn set(&mut self, product: &Product) -> Option<Slot> {
        let product = &*self.with_facts(product);
        match self.columns.set(product, self.now_ms) {
            Ok(change) => {
                if change.refused_attributes > 0 {
                    metrics::counter!("gotham_search_refused_attributes_total").increment(change.refused_attributes as u64);
                }
                Some(change.slot)
            }
            Err(error) => {
                metrics::counter!("gotham_search_refused_products_total").increment(1);
                tracing::error!(product = product.id.as_str(), %error, "a product cannot be searched");
                None
            }
        }
    }

    /// The product with its facts as attributes of their own: `tag.pattern`.
    fn with_facts<'p>(&self, product: &'p Product) -> Cow<'p, Product> {
        let facts = self.facts.map(|reader| reader.facts(product.id.as_str())).unwrap_or_default();
        if facts.is_empty() {
            return Cow::Borrowed(product);
        }
        let mut product = product.clone();
        for (attribute, value) in facts {
            let provenance = Provenance { source: Source::Model, field: attribute.clone() };
            product.attributes.entry(format!("{TAG_PREFIX}{attribute}")).or_default().push(AttributeValue { value, provenance });
        }
        Cow::Owned(product)
    }

    /// Forgets a product.
    pub(crate) fn remove(&mut self, id: &str) {
        self.columns.remove(id, self.now_ms);
    }

    /// The columns themselves.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }
}
