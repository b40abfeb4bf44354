//! The graph: one flat (no hierarchy) proximity graph over lean rows, walked greedily from fixed entry points.
//!
//! Built as in Vamana (Subramanya et al., "DiskANN", NeurIPS 2019): each row is searched for, its neighbours are pruned so that none
//! hides behind a nearer one, and edges go both ways. A hierarchy gives nothing in high dimension (Munyampirwa et al.,
//! arXiv 2412.01940).

mod build;
mod repair;
mod walk;

pub(crate) use build::{BuildParams, build};
pub(crate) use repair::repair;
pub(crate) use walk::{DEGREE_MAX, Walk, WalkScratch, candidate, row_of, score_of};

use crate::memory::Column;

/// What an unused place of a row's neighbours holds.
pub(crate) const NONE: u32 = u32::MAX;

/// Rows of a graph, at most: the top bit of an id marks visited candidates.
pub(crate) const ROWS_MAX: usize = 1 << 31;

/// Neighbours of every row and the rows where a walk begins.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// `degree` ids a row, then [`NONE`].
    pub(crate) neighbours: Column<u32>,
    pub(crate) degree: usize,
    pub(crate) entries: Column<u32>,
}

impl Graph {
    /// Checks that every id is a row, so that a walk stays inside its columns.
    pub(crate) fn is_valid(&self, rows: usize) -> bool {
        let inside = |id: &u32| (*id as usize) < rows;
        self.degree > 0
            && Some(self.neighbours.len()) == rows.checked_mul(self.degree)
            && rows < ROWS_MAX
            && self.entries.iter().all(inside)
            && (rows == 0 || !self.entries.is_empty())
            && self.neighbours.iter().all(|id| *id == NONE || inside(id))
    }

    /// Neighbours of `row`.
    pub(crate) fn of(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let at = row as usize * self.degree;
        self.neighbours[at..at + self.degree].iter().copied().take_while(|id| *id != NONE)
    }
}
