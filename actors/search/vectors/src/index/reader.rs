//! What searches hold: the questions, the answers, and a handle that any thread may clone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::recall::{RecallSeen, Sample};
use super::{IndexError, Shared, search};
use crate::planner::{Effort, Strategy};

/// A search.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// As many numbers as the index has dimensions; brought to unit length where the metric is the cosine.
    pub vector: &'a [f32],
    /// Owners wanted, at most [`super::LIMIT_MAX`].
    pub limit: usize,
    /// Owners that may be found: bit `owner % 64` of word `owner / 64`; absent words are 0. `None` is all.
    pub allow: Option<&'a [u64]>,
    /// Owners that may not be found.
    pub exclude: &'a [u32],
    /// How thorough the search is.
    pub effort: Effort,
    /// Asked now and then; `true` ends the search.
    pub is_late: &'a dyn Fn() -> bool,
}

/// An owner and how well its best row fits: cosine, inner product, or minus the squared distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The owner's number.
    pub owner: u32,
    /// Higher is better.
    pub score: f32,
}

/// How a search went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The way through the largest segment, or the tail when there is none.
    pub strategy: Strategy,
    /// Owners that have vectors and may be found.
    pub matching: usize,
    /// The search was ended early; the hits are not the answer.
    pub is_late: bool,
}

/// Scores of rows that have nothing to do with the query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Background {
    /// Their mean.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
    /// Rows that were looked at.
    pub rows: usize,
}

/// Reads an index. Searches never wait for the writer.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Leaves the best owners in `hits`, best first, equal ones in the order of their ids.
    ///
    /// # Errors
    /// A query of other dimensions or with a number that is not finite; too large a limit.
    pub fn search(&self, query: &Query<'_>, hits: &mut Vec<Hit>) -> Result<Outcome, IndexError> {
        let version = self.version();
        let outcome = search::search(&self.shared, query, hits)?;
        if !outcome.is_late && query.limit > 0 && self.shared.recall.is_chosen(query.effort) {
            self.shared.recall.keep(|| Sample {
                vector: query.vector.to_vec(),
                limit: query.limit,
                allow: query.allow.map(<[u64]>::to_vec),
                exclude: query.exclude.to_vec(),
                hits: hits.clone(),
                version,
            });
        }
        Ok(outcome)
    }

    /// The distribution of the scores of random rows for a query: what a hit must stand out from.
    ///
    /// # Errors
    /// A query of other dimensions or with a number that is not finite.
    pub fn nearest_background(&self, vector: &[f32]) -> Result<Background, IndexError> {
        search::background(&self.shared, vector)
    }

    /// The exact vector of an owner's first row, for comparing hits with each other; `None` when it has none.
    #[must_use]
    pub fn vector(&self, owner: u32) -> Option<Vec<f32>> {
        let place = self.shared.owners.place(owner)?;
        let snapshot = self.shared.snapshot.load();
        let (_, unit) = snapshot.unit(place.unit)?;
        let mut vector = vec![0.0; self.shared.options.dimensions];
        unit.vector(place.row, &mut vector);
        Some(vector)
    }

    /// Calls `each` with the owner and the exact vector of every row that is alive, until it gives `false`. While others write, it
    /// depends on the moment which of their rows are among them: what was read is the index of one [`Self::version`] when that is
    /// the same before and afterwards.
    pub fn for_each_row(&self, mut each: impl FnMut(u32, &[f32]) -> bool) {
        let snapshot = self.shared.snapshot.load_full();
        let mut vector = vec![0.0; self.shared.options.dimensions];
        for unit in &snapshot.units {
            for row in unit.alive_rows() {
                unit.vector(row, &mut vector);
                if !each(unit.owner(row), &vector) {
                    return;
                }
            }
        }
    }

    /// Changes whenever a row comes or goes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Owners that have vectors.
    #[must_use]
    pub fn owners_len(&self) -> usize {
        self.shared.owners.count()
    }

    /// The recall that searches reached lately.
    #[must_use]
    pub fn recall(&self) -> RecallSeen {
        self.shared.recall.seen()
    }
}
