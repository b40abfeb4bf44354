//! The first I/O error makes a writer read-only until the process restarts: what a disk did with the bytes of a failed
//! flush is unknown, and a second attempt may report success without having written them.

use std::sync::{Arc, OnceLock};

use crate::store::StoreError;

/// Set once, by the first failure.
#[derive(Clone, Debug)]
pub(crate) struct Poison {
    part: &'static str,
    reason: Arc<OnceLock<Arc<str>>>,
}

impl Poison {
    /// Healthy. `part` is the label of `gotham_storage_poisoned`.
    pub(crate) fn new(part: &'static str) -> Self {
        metrics::gauge!("gotham_storage_poisoned", "part" => part).set(0.0);
        Self { part, reason: Arc::default() }
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn reason(&self) -> Option<&Arc<str>> {
        self.reason.get()
    }

    /// The error for a write that comes after the failure.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.reason().map_or(Ok(()), |reason| Err(StoreError::Poisoned(reason.clone())))
    }

    /// Records a failure; only the first counts.
    pub(crate) fn set(&self, failure: &str) {
        if self.reason.set(failure.into()).is_ok() {
            tracing::error!(part = self.part, failure, "storage failed and is read-only from now on");
            metrics::gauge!("gotham_storage_poisoned", "part" => self.part).set(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays() {
        let poison = Poison::new("test");
        assert!(poison.check().is_ok());
        poison.clone().set("first");
        poison.set("second");
        assert!(matches!(poison.check(), Err(StoreError::Poisoned(reason)) if &*reason == "first"));
    }
}
