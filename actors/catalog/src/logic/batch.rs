//! A message's changes, decided one by one on a draft of the catalog.

use domain::ProductId;
use protocol::catalog::{CatalogError, Change, Outcome};
use protocol::journal::CatalogChange;
use store::store::VALUE_BYTES_MAX;
use store::{Record, RecordError};

use crate::logic::catalog::Catalog;
use crate::logic::decide::{Decision, decide};
use crate::records::CatalogRecord;

/// One change of one product, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    /// Its journal record, sealed.
    pub(crate) journal: Vec<u8>,
    /// The product's key in the store.
    pub(crate) key: Vec<u8>,
    /// The product's record in the store, sealed under that key.
    pub(crate) value: Vec<u8>,
}

/// The catalog with the changes so far, and what is to be written for them.
pub(crate) struct Batch {
    pub(crate) catalog: Catalog,
    pub(crate) outcomes: Vec<Result<Outcome, CatalogError>>,
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// Starts from the catalog as it is.
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, outcomes: Vec::new(), writes: Vec::new() }
    }

    /// Decides one more change. One that is refused leaves no trace but its error.
    pub(crate) fn push(&mut self, change: Change, now_ms: i64) {
        let outcome = match decide(&self.catalog, change, now_ms) {
            Decision::Nothing(outcome) => Ok(outcome),
            Decision::Write(outcome, change) => self.write(*change).map(|()| outcome),
        };
        self.outcomes.push(outcome);
    }

    fn write(&mut self, change: CatalogChange) -> Result<(), CatalogError> {
        let id = change.id.clone();
        let journal = change.seal(&[]).map_err(|error| refusal(&id, error))?;
        // The decision was made on this very catalog, so its revision is the next one.
        let Some(record) = self.catalog.resolve(change) else { return Ok(()) };
        let (key, value) = seal(&id, &record).map_err(|error| refusal(&id, error))?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(CatalogError::TooLarge { id, bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
        }
        self.catalog.insert(&id, &record, &value);
        self.writes.push(Write { journal, key, value });
        Ok(())
    }
}

/// Key and value of a product in the store.
pub(crate) fn seal(id: &ProductId, record: &CatalogRecord) -> Result<(Vec<u8>, Vec<u8>), RecordError> {
    let key = id.as_str().as_bytes().to_vec();
    let value = record.seal(&key)?;
    Ok((key, value))
}

fn refusal(id: &ProductId, error: RecordError) -> CatalogError {
    match error {
        RecordError::TooLarge(bytes) => CatalogError::TooLarge { id: id.clone(), bytes, bytes_max: VALUE_BYTES_MAX },
        other => CatalogError::Storage(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::catalog::CatalogSnapshot;

    use super::*;
    use crate::testing::{product, upsert};

    #[test]
    fn an_over_large_product_is_refused_alone_and_leaves_no_trace() {
        let sized = |bytes: usize| upsert(domain::Product { description: "x".repeat(bytes), ..product("large") });
        let mut batch = Batch::new(Catalog::default());
        for change in [upsert(product("a")), sized(VALUE_BYTES_MAX), sized(2 * store::record::BODY_BYTES_MAX), upsert(product("b"))] {
            batch.push(change, 0);
        }
        let refused = |outcome: &Result<Outcome, CatalogError>| matches!(outcome, Err(CatalogError::TooLarge { id, bytes, .. }) if id.as_str() == "large" && *bytes > VALUE_BYTES_MAX);
        assert_eq!(batch.outcomes.iter().map(refused).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!((batch.catalog.len(), batch.catalog.revision("large"), batch.writes.len()), (2, 0, 2));

        batch.push(sized(100), 0);
        batch.push(sized(VALUE_BYTES_MAX), 0);
        let kept = batch.catalog.get("large").expect("the smaller one");
        assert_eq!((kept.revision, kept.product.description.len()), (1, 100));
    }

    #[test]
    fn a_product_at_the_bound_is_taken() {
        let mut batch = Batch::new(Catalog::default());
        let spare = |bytes: usize| upsert(domain::Product { description: "x".repeat(bytes), ..product("a") });
        batch.push(spare(0), 0);
        let room = VALUE_BYTES_MAX - batch.writes[0].value.len();
        // The outcome of an update takes as much room as that of a creation, since no run is named.
        batch.push(spare(room), 0);
        batch.push(spare(room + 1), 0);
        assert!(batch.outcomes[1].is_ok() && batch.outcomes[2].is_err());
    }
}
