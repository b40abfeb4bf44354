//! What is still to be looked at so that a model has the vectors of the whole catalog: all products in id order once, and those that
//! have changed since. Plain data; whoever holds it says how the catalog goes on.

use std::collections::BTreeSet;

use domain::ProductId;

/// Changed products that are remembered one by one; beyond that all are looked at again.
const CHANGED_MAX: usize = 20_000;
/// Products that are tried again after a passing failure.
const FAILED_MAX: usize = 20_000;
/// How often these are tried again before they wait for the next change or start.
const TRIES_MAX: u32 = 5;

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These products.
    These(Vec<ProductId>),
    /// The products behind this one, in id order.
    Behind(Option<ProductId>),
}

/// The work for one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    is_under_way: bool,
    last: Option<ProductId>,
    done: u64,
    is_complete: bool,
    /// Too many have changed meanwhile: once more from the start.
    starts_again: bool,
    changed: BTreeSet<ProductId>,
    failed: BTreeSet<ProductId>,
    /// Of those that failed, tried again now.
    retrying: usize,
    tries: u32,
}

impl Backlog {
    /// Everything is to be looked at.
    pub(crate) fn new() -> Self {
        Self { is_under_way: true, ..Self::default() }
    }

    /// From the start, as after a break in which changes may have been missed. What was complete counts as complete.
    pub(crate) fn restart(&mut self) {
        *self = Self { is_complete: self.is_complete, ..Self::new() };
    }

    /// These products have changed.
    pub(crate) fn touch(&mut self, products: impl IntoIterator<Item = ProductId>) {
        for product in products {
            if self.changed.len() >= CHANGED_MAX {
                self.changed.clear();
                self.starts_again = true;
                return;
            }
            self.changed.insert(product);
        }
    }

    /// What to do next, at most `limit` products; `None` when there is nothing.
    pub(crate) fn next(&mut self, limit: usize) -> Option<Step> {
        if !self.changed.is_empty() {
            let these: Vec<ProductId> = std::iter::from_fn(|| self.changed.pop_first()).take(limit.max(1)).collect();
            return Some(Step::These(these));
        }
        self.retrying = 0;
        if !self.is_under_way && std::mem::take(&mut self.starts_again) {
            self.restart();
        }
        self.is_under_way.then(|| Step::Behind(self.last.clone()))
    }

    /// The products behind the last ones were looked at, so many up to this one; none where the catalog ends.
    pub(crate) fn advance(&mut self, count: u64, last: Option<ProductId>) {
        if !self.is_under_way {
            return;
        }
        self.done += count;
        match last {
            Some(last) => self.last = Some(last),
            None => (self.is_under_way, self.is_complete) = (false, !self.starts_again),
        }
    }

    /// These could not be done for now.
    pub(crate) fn fail(&mut self, products: impl IntoIterator<Item = ProductId>) {
        for product in products {
            if self.failed.len() < FAILED_MAX {
                self.failed.insert(product);
            }
        }
    }

    /// Some time has passed: what failed is tried again, a few times. Whether anything is.
    pub(crate) fn retry(&mut self) -> bool {
        if self.failed.is_empty() || self.tries >= TRIES_MAX {
            return false;
        }
        self.tries += 1;
        let failed = std::mem::take(&mut self.failed);
        self.retrying = failed.len();
        self.touch(failed);
        true
    }

    /// Whether there is something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.is_under_way || self.starts_again || !self.changed.is_empty()
    }

    /// Products looked at; those that changed since; those that failed; whether all were looked at.
    pub(crate) fn progress(&self) -> (u64, u64, u64, bool) {
        let failed = self.failed.len().max(self.retrying);
        (self.done, self.changed.len() as u64, failed as u64, self.is_complete)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> ProductId {
        format!("p{number:05}").parse().expect("an id")
    }

    #[test]
    fn what_is_tried_again_counts_as_failed_until_it_was() {
        let mut backlog = Backlog::new();
        backlog.advance(3, Some(id(2)));
        backlog.advance(0, None);
        backlog.fail(vec![id(0), id(1)]);
        assert_eq!(backlog.progress(), (3, 0, 2, true));
        assert!(backlog.retry());
        assert_eq!(backlog.progress(), (3, 2, 2, true));
        assert_eq!(backlog.next(8), Some(Step::These(vec![id(0), id(1)])));
        backlog.fail(vec![id(1)]);
        assert_eq!((backlog.next(8), backlog.progress()), (None, (3, 0, 1, true)));
    }

    /// Does one step over a catalog; what it looked at.
    fn step(backlog: &mut Backlog, catalog: &BTreeMap<ProductId, u32>, limit: usize) -> Option<Vec<ProductId>> {
        match backlog.next(limit)? {
            Step::These(these) => Some(these),
            Step::Behind(last) => {
                let behind = catalog.keys().filter(|id| last.as_ref().is_none_or(|last| *id > last));
                let page: Vec<ProductId> = behind.take(limit).cloned().collect();
                backlog.advance(page.len() as u64, page.last().cloned());
                Some(page)
            }
        }
    }

    #[test]
    fn failures_are_tried_again_a_few_times() {
        let mut backlog = Backlog::new();
        backlog.advance(1, Some(id(1)));
        backlog.advance(0, None);
        assert!(!backlog.has_work() && !backlog.retry());
        for _ in 0..TRIES_MAX {
            backlog.fail([id(1)]);
            assert!(backlog.retry());
            assert_eq!(backlog.next(9), Some(Step::These(vec![id(1)])));
        }
        backlog.fail([id(1)]);
        assert!(!backlog.retry());
        assert_eq!(backlog.progress(), (1, 0, 1, true));
    }

    #[test]
    fn too_many_changes_look_at_everything_again() {
        let mut backlog = Backlog::new();
        backlog.advance(0, None);
        assert!(backlog.progress().3);
        backlog.touch((0..CHANGED_MAX).map(id));
        assert_eq!(backlog.progress().1, CHANGED_MAX as u64);
        backlog.touch([id(CHANGED_MAX)]);
        assert_eq!(backlog.progress().1, 0);
        assert_eq!(backlog.next(9), Some(Step::Behind(None)));
        assert!(backlog.progress().3, "what was complete still serves");
    }

    proptest! {
        /// Whatever changes at whatever time, every product was looked at after its last change when nothing is left to do.
        #[test]
        fn nothing_that_changes_is_missed(count in 0_usize..30, limit in 1_usize..7, changes in proptest::collection::vec((0_usize..30, 0_u8..4), 0..60)) {
            let mut catalog: BTreeMap<ProductId, u32> = (0..count).map(|number| (id(number), 0)).collect();
            let mut seen: BTreeMap<ProductId, u32> = BTreeMap::new();
            let mut backlog = Backlog::new();
            let look = |backlog: &mut Backlog, catalog: &BTreeMap<ProductId, u32>, seen: &mut BTreeMap<ProductId, u32>| {
                let Some(products) = step(backlog, catalog, limit) else { return false };
                seen.extend(products.into_iter().map(|product| (product.clone(), catalog.get(&product).copied().unwrap_or_default())));
                true
            };
            for (number, steps) in changes {
                *catalog.entry(id(number)).or_default() += 1;
                backlog.touch([id(number)]);
                for _ in 0..steps {
                    look(&mut backlog, &catalog, &mut seen);
                }
            }
            while look(&mut backlog, &catalog, &mut seen) {}
            prop_assert_eq!(&seen, &catalog);
            prop_assert!(backlog.progress().3 && !backlog.has_work());
        }
    }
}
