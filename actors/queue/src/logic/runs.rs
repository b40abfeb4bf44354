//! The feed runs under way: what each has seen, and what a full one would delete. A restart forgets them: the run's owner begins again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use domain::{PartHashes, Parts, ProductId};
use protocol::catalog::{CatalogSnapshot, Outcome};
use protocol::ingest::{FeedMode, RunId};

/// The most runs kept; the one begun first is forgotten for a new one.
const RUNS_MAX: usize = 4;
/// Products read from a snapshot at a time.
const PAGE_PRODUCTS_MAX: usize = 4096;

/// A product id, hashed with the run's own key: 8 bytes for each product of a feed instead of its id. Two ids that share a hash (one pair
/// in some ten million runs of a million products) cost one wrong count or one deletion put off, never a wrong deletion.
type SeenKey = u64;

/// The parts' hashes, shortened: what a dry run remembers of a product that it may meet again.
type Fingerprint = [u32; 4];

/// What a run has had in its feed.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A run that writes: Watchtower knows the rest.
    Ids(HashSet<SeenKey>),
    /// A dry run: nothing is written, so what the feed said last is kept here.
    Contents(HashMap<SeenKey, Fingerprint>),
}

impl Seen {
    pub(crate) fn contains(&self, key: SeenKey) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&key),
            Self::Contents(contents) => contents.contains_key(&key),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Contents(contents) => contents.len(),
        }
    }

    /// Notes a product; in a dry run, says in which parts it differs from what the feed said of it before.
    pub(crate) fn insert(&mut self, key: SeenKey, hashes: &PartHashes) -> Option<Parts> {
        match self {
            Self::Ids(ids) => {
                ids.insert(key);
                None
            }
            Self::Contents(contents) => {
                let fingerprint = fingerprint(hashes);
                contents.insert(key, fingerprint).map(|before| difference(before, fingerprint))
            }
        }
    }
}

/// A feed run under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) source: Arc<str>,
    pub(crate) mode: FeedMode,
    pub(crate) dry_run: bool,
    pub(crate) seen: Arc<Seen>,
    /// Products that the feed's end deletes.
    pub(crate) deleted: u64,
    /// The guard has let the deletions through.
    pub(crate) is_admitted: bool,
    /// The end was reached: a repeated question gets the same answer.
    pub(crate) is_finished: bool,
    keys: RandomState,
}

impl Run {
    /// Whether the feed had this product already.
    pub(crate) fn has_seen(&self, id: &str) -> bool {
        self.seen.contains(self.keys.hash_one(id))
    }

    /// Notes a product, once it has been answered: a batch that failed and comes again is no duplicate of itself. In a dry run, says
    /// in which parts it differs from what the feed said of it before.
    pub(crate) fn see(&mut self, id: &str, hashes: &PartHashes) -> Option<Parts> {
        Arc::make_mut(&mut self.seen).insert(self.keys.hash_one(id), hashes)
    }

    /// The end was reached; what the feed held is no longer needed.
    pub(crate) fn finish(&mut self) {
        self.is_finished = true;
        self.seen = Arc::new(Seen::Ids(HashSet::new()));
    }

    /// What the reader of a snapshot needs to find the products that the feed no longer has.
    pub(crate) fn survey(&self) -> Survey {
        Survey { run: self.id, source: Arc::clone(&self.source), seen: Arc::clone(&self.seen), keys: self.keys.clone() }
    }
}

/// The runs under way.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Begins a run at its feed's first record, for the first time or again. What its end has deleted before it began again stays counted.
    pub(crate) fn begin(&mut self, id: RunId, source: &str, mode: FeedMode, dry_run: bool) {
        let before = self.get_mut(id).filter(|run| (run.mode, run.dry_run) == (mode, dry_run));
        let deleted = before.map_or(0, |run| run.deleted);
        self.abandon(id);
        if self.0.len() >= RUNS_MAX {
            self.0.remove(0);
        }
        let seen = if dry_run { Seen::Contents(HashMap::new()) } else { Seen::Ids(HashSet::new()) };
        let (source, seen, keys) = (source.into(), Arc::new(seen), RandomState::new());
        self.0.push(Run { id, source, mode, dry_run, seen, deleted, is_admitted: false, is_finished: false, keys });
    }

    pub(crate) fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.0.iter_mut().find(|run| run.id == id)
    }

    pub(crate) fn abandon(&mut self, id: RunId) {
        self.0.retain(|run| run.id != id);
    }
}

/// Compares the catalog with what a run has seen.
#[derive(Debug)]
pub(crate) struct Survey {
    run: RunId,
    source: Arc<str>,
    seen: Arc<Seen>,
    keys: RandomState,
}

/// What a full feed means for its source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surveyed {
    /// Products of the source before the run; those it created do not count.
    pub(crate) known: u64,
    /// Of those, products that the feed has.
    pub(crate) seen: u64,
    /// Products that the feed no longer has.
    pub(crate) missing: Vec<ProductId>,
}

impl Survey {
    /// Walks the whole catalog: off the async threads.
    pub(crate) fn of(&self, snapshot: &dyn CatalogSnapshot) -> Surveyed {
        let mut surveyed = Surveyed::default();
        let mut after: Option<ProductId> = None;
        loop {
            let page = snapshot.page(after.as_ref().map(ProductId::as_str), PAGE_PRODUCTS_MAX);
            let Some(last) = page.last() else { return surveyed };
            after = Some(last.product.id.clone());
            for revision in page.iter().filter(|revision| revision.source == self.source) {
                let is_seen = self.seen.contains(self.keys.hash_one(revision.product.id.as_str()));
                if is_seen && revision.last_run == Some((self.run, Outcome::Created)) {
                    continue;
                }
                surveyed.known += 1;
                if is_seen {
                    surveyed.seen += 1;
                } else {
                    surveyed.missing.push(revision.product.id.clone());
                }
            }
        }
    }
}

impl Surveyed {
    /// Whether deleting what is missing looks like the feed's failure rather than the shop's wish: nothing known in it, or less than
    /// `ratio_min` of it.
    pub(crate) fn is_suspicious(&self, ratio_min: f64) -> bool {
        self.known > 0 && (self.seen == 0 || (self.seen as f64) < self.known as f64 * ratio_min)
    }
}

fn fingerprint(hashes: &PartHashes) -> Fingerprint {
    [hashes.text, hashes.image, hashes.price, hashes.stock].map(|hash| {
        let [a, b, c, d, ..] = hash.0;
        u32::from_le_bytes([a, b, c, d])
    })
}

fn difference(left: Fingerprint, right: Fingerprint) -> Parts {
    let parts = [Parts::TEXT, Parts::IMAGE, Parts::PRICE, Parts::STOCK];
    let differing = parts.into_iter().zip(left.into_iter().zip(right)).filter(|(_, (left, right))| left != right);
    differing.fold(Parts::NONE, |all, (part, _)| all.with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_by_table() {
        // Known, seen, suspicious at one half.
        for (known, seen, expected) in
            [(0, 0, false), (1, 0, true), (1, 1, false), (100, 49, true), (100, 50, false), (3, 1, true), (2, 1, false)]
        {
            assert_eq!(Surveyed { known, seen, missing: vec![] }.is_suspicious(0.5), expected, "{seen} of {known}");
        }
        assert!(Surveyed { known: 9, seen: 0, missing: vec![] }.is_suspicious(0.0), "an empty feed is never taken by itself");
    }

    #[test]
    fn a_run_that_begins_again_has_seen_nothing_and_old_runs_are_forgotten() {
        let mut runs = Runs::default();
        runs.begin(RunId(0), "shop", FeedMode::Full, false);
        let run = runs.get_mut(RunId(0)).expect("begun");
        run.see("p", &PartHashes::default());
        assert!(run.has_seen("p") && run.seen.len() == 1);
        runs.begin(RunId(0), "shop", FeedMode::Full, false);
        assert_eq!(runs.get_mut(RunId(0)).expect("begun").seen.len(), 0);
        (1..=RUNS_MAX as u128).for_each(|id| runs.begin(RunId(id), "shop", FeedMode::Full, false));
        assert!(runs.get_mut(RunId(0)).is_none() && runs.get_mut(RunId(1)).is_some());
        runs.abandon(RunId(1));
        assert!(runs.get_mut(RunId(1)).is_none());
    }

    #[test]
    fn a_dry_run_remembers_what_the_feed_said_last() {
        let mut seen = Seen::Contents(HashMap::new());
        let before = PartHashes::default();
        let after = PartHashes { price: domain::ContentHash([1; 16]), ..before };
        assert_eq!(
            (seen.insert(1, &before), seen.insert(1, &after), seen.insert(1, &after)),
            (None, Some(Parts::PRICE), Some(Parts::NONE))
        );
    }
}
