//! What recall is really reached: a few searches are repeated by the exact scan in the background.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fold::{Maintenance, locked};
use super::reader::{Hit, Query};
use super::{IndexError, Shared};
use crate::planner::Effort;

/// Searches that wait to be repeated; more are not taken.
const WAITING_MAX: usize = 8;
/// Weight of the past when a new result comes: about the last 200 searches count.
const MEMORY: f64 = 0.995;
/// Two scores this close are the same.
const TOLERANCE: f32 = 1e-5;

/// A search as it was asked and answered.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) vector: Vec<f32>,
    pub(crate) limit: usize,
    pub(crate) allow: Option<Vec<u64>>,
    pub(crate) exclude: Vec<u32>,
    pub(crate) hits: Vec<Hit>,
    /// The index's version when it was answered: a later one may rightly give other hits.
    pub(crate) version: u64,
}

/// The recall that was seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecallSeen {
    /// Share of the true hits that searches found; 1 when nothing was checked yet.
    pub ratio: f64,
    /// Searches that were checked.
    pub checked: u64,
    /// Searches that could not be checked because the index had changed meanwhile.
    pub skipped: u64,
}

#[derive(Debug)]
pub(crate) struct RecallCheck {
    one_of: u32,
    searches: AtomicU64,
    waiting: Mutex<VecDeque<Sample>>,
    seen: Mutex<RecallSeen>,
}

impl RecallCheck {
    pub(crate) fn new(one_of: u32) -> Self {
        let seen = RecallSeen { ratio: 1.0, ..RecallSeen::default() };
        Self { one_of, searches: AtomicU64::new(0), waiting: Mutex::default(), seen: Mutex::new(seen) }
    }

    /// Whether this search is to be repeated. Never waits.
    pub(crate) fn is_chosen(&self, effort: Effort) -> bool {
        self.one_of > 0 && effort != Effort::Exact && self.searches.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(self.one_of))
    }

    /// Keeps a search for later, unless too many wait.
    pub(crate) fn keep(&self, sample: impl FnOnce() -> Sample) {
        if let Ok(mut waiting) = self.waiting.try_lock()
            && waiting.len() < WAITING_MAX
        {
            waiting.push_back(sample());
        }
    }

    pub(crate) fn take(&self) -> Option<Sample> {
        locked(&self.waiting).pop_front()
    }

    pub(crate) fn skip(&self) {
        locked(&self.seen).skipped += 1;
    }

    /// Takes in the exact answer to a sample.
    pub(crate) fn record(&self, sample: &Sample, exact: &[Hit]) {
        let Some(worst) = exact.last() else { return };
        let found = sample.hits.iter().filter(|hit| hit.score >= worst.score - TOLERANCE).count().min(exact.len());
        let mut seen = locked(&self.seen);
        let past = if seen.checked < 200 { seen.checked as f64 / (seen.checked + 1) as f64 } else { MEMORY };
        seen.ratio = past * seen.ratio + (1.0 - past) * found as f64 / exact.len() as f64;
        seen.checked += 1;
    }

    pub(crate) fn seen(&self) -> RecallSeen {
        *locked(&self.seen)
    }
}

/// Repeats one search that waits. One that was answered before the index changed is left out: other hits may be right by now.
pub(super) fn check(shared: &Shared) -> Result<Maintenance, IndexError> {
    let Some(sample) = shared.recall.take() else { return Ok(Maintenance::Idle) };
    let mut exact = Vec::new();
    let query = Query {
        vector: &sample.vector,
        limit: sample.limit,
        allow: sample.allow.as_deref(),
        exclude: &sample.exclude,
        effort: Effort::Exact,
        is_late: &|| false,
    };
    super::search::search(shared, &query, &mut exact)?;
    if shared.version.load(Ordering::Acquire) == sample.version {
        shared.recall.record(&sample, &exact);
    } else {
        shared.recall.skip();
    }
    Ok(Maintenance::Checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(scores: &[f32]) -> Sample {
        let hits = scores.iter().map(|score| Hit { owner: 0, score: *score }).collect();
        Sample { vector: vec![], limit: 10, allow: None, exclude: vec![], hits, version: 0 }
    }

    #[test]
    fn the_ratio_is_the_mean_of_what_was_found() {
        let check = RecallCheck::new(2);
        assert_eq!(check.seen().ratio, 1.0);
        let exact = sample(&[0.9, 0.8]).hits;
        check.record(&sample(&[0.9, 0.8]), &exact);
        check.record(&sample(&[0.9, 0.7]), &exact);
        check.record(&sample(&[0.9, 0.799_999]), &exact);
        check.record(&sample(&[]), &exact);
        check.record(&sample(&[]), &[]);
        assert_eq!(check.seen().checked, 4);
        assert!((check.seen().ratio - 0.625).abs() < 1e-9, "{:?}", check.seen());
    }

    #[test]
    fn one_of_so_many_is_chosen_and_few_wait() {
        let check = RecallCheck::new(3);
        assert_eq!((0..9).filter(|_| check.is_chosen(Effort::Good)).count(), 3);
        assert!(!check.is_chosen(Effort::Exact) && !RecallCheck::new(0).is_chosen(Effort::Good));
        (0..20).for_each(|_| check.keep(|| sample(&[1.0])));
        assert_eq!(std::iter::from_fn(|| check.take()).count(), WAITING_MAX);
    }
}
