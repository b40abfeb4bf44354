//! Exact search by brute force: every f16 row is scored against every query, in batches, on a GPU or on the CPU.
//!
//! Used where nothing may be missed: the exact mode, batches of many queries, the ground truth that indexes are measured
//! against. The score of a row is `dot(query, row) + bias[row]`; with the bias `-|row|^2 / 2` the order is that of the
//! Euclidean distance `|query|^2 - 2 score`. Results are ordered by score, highest first, and by row among equal scores, so
//! that a backend gives the same answer each time. Between backends scores differ by the order of summation only:
//! [`SCORE_TOLERANCE`].

mod backend;
mod cpu;
mod gpu;
mod resident;
mod self_test;
mod source;
mod topk;
mod work;

pub use crate::gpu::{AdapterChoice, GpuError};
pub use backend::{Load, Measurement, Reason, ScanBackend, measure};
pub use cpu::{CpuScan, Rows, scan_topk};
pub use gpu::{GpuOptions, GpuScan};

use half::f16;
use std::cmp::Ordering;

/// Most results for each query.
pub const K_MAX: usize = 128;
/// Most numbers of a row.
pub const DIM_MAX: usize = 4096;
/// Largest magnitude of a query's number or of a bias: with it no score can overflow.
pub const MAGNITUDE_MAX: f32 = 1e30;
/// Writes begin and, inside the rows already there, end at a multiple of this many rows.
pub const WRITE_ROWS: usize = source::WORKGROUP;
/// How far scores of one row may lie apart between backends, as a part of `sum |query[i] row[i]| + |bias|`.
pub const SCORE_TOLERANCE: f32 = 2e-6;

/// Most rows: their numbers are u32, of which the highest means none.
const ROWS_MAX: usize = u32::MAX as usize;
/// Below every score.
const SCORE_LOWEST: f32 = -3e38;

const _: () = assert!(MAGNITUDE_MAX as f64 * 65504.0 * DIM_MAX as f64 + (MAGNITUDE_MAX as f64) < -SCORE_LOWEST as f64);

/// One result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// `dot(query, row) + bias[row]`.
    pub score: f32,
    /// Its place among the rows.
    pub row: u32,
}

impl Hit {
    /// No result: worse than every row.
    const NONE: Hit = Hit { score: SCORE_LOWEST, row: u32::MAX };

    /// The order of results: higher scores first, lower rows first among equals. Scores are finite.
    fn order(&self, other: &Hit) -> Ordering {
        other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal).then(self.row.cmp(&other.row))
    }

    fn before(self, other: Hit) -> bool {
        self.score > other.score || (self.score == other.score && self.row < other.row)
    }
}

/// A batch of questions of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `[batch, dim]`; any number of queries, also none.
    pub queries: &'a [f32],
    /// Results wanted for each query, 1 to [`K_MAX`]; fewer come back when fewer rows are allowed.
    pub k: usize,
    /// Bit `row % 32` of word `row / 32` says whether the row may be a result; words that are absent are 0. `None` allows all.
    pub allow: Option<&'a [u32]>,
}

impl Request<'_> {
    fn check(&self, dim: usize) -> Result<(), ScanError> {
        check_dim(dim)?;
        if !(1..=K_MAX).contains(&self.k) {
            return Err(ScanError::Results { k: self.k });
        }
        if !self.queries.len().is_multiple_of(dim) {
            return Err(ScanError::Length { what: "queries", values: self.queries.len(), dim });
        }
        check_magnitude("a query", self.queries)
    }
}

/// Why a call was refused, or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Rows of no numbers, or of too many.
    #[error("rows of {dim} numbers: 1 to {DIM_MAX} are possible")]
    Dim {
        /// Asked for.
        dim: usize,
    },
    /// No results asked for, or too many.
    #[error("{k} results asked for: 1 to {K_MAX} are possible")]
    Results {
        /// Asked for.
        k: usize,
    },
    /// Numbers that are not a whole count of vectors.
    #[error("{what}: {values} numbers are not a whole count of vectors of {dim}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Numbers given.
        values: usize,
        /// Numbers of a vector.
        dim: usize,
    },
    /// A bias for some rows only.
    #[error("{biases} biases for {rows} rows")]
    Biases {
        /// Given.
        biases: usize,
        /// Rows given.
        rows: usize,
    },
    /// A number that is not finite, or beyond [`MAGNITUDE_MAX`].
    #[error("{what} has a number that is not finite or exceeds {MAGNITUDE_MAX:e}")]
    Value {
        /// Which argument.
        what: &'static str,
    },
    /// A write that leaves a gap, or begins or ends inside a block.
    #[error("a write of rows {first}..{end} over {rows} rows: it begins at a multiple of {WRITE_ROWS} within them, ends at one or beyond")]
    Place {
        /// First row of the write.
        first: usize,
        /// After its last row.
        end: usize,
        /// Rows there before.
        rows: usize,
    },
    /// More rows than this backend takes.
    #[error("{rows} rows: at most {rows_max} are possible")]
    Rows {
        /// Wanted.
        rows: usize,
        /// Possible.
        rows_max: usize,
    },
    /// The GPU failed; the CPU can still answer.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

fn check_dim(dim: usize) -> Result<(), ScanError> {
    if (1..=DIM_MAX).contains(&dim) { Ok(()) } else { Err(ScanError::Dim { dim }) }
}

fn check_magnitude(what: &'static str, values: &[f32]) -> Result<(), ScanError> {
    // Written so that NaN fails.
    if values.iter().all(|value| value.abs() <= MAGNITUDE_MAX) { Ok(()) } else { Err(ScanError::Value { what }) }
}

/// Checks rows and their biases; returns how many rows there are.
fn check_rows(dim: usize, rows: &[f16], bias: Option<&[f32]>) -> Result<usize, ScanError> {
    check_dim(dim)?;
    if !rows.len().is_multiple_of(dim) {
        return Err(ScanError::Length { what: "rows", values: rows.len(), dim });
    }
    let count = rows.len() / dim;
    if !rows.iter().all(|value| value.is_finite()) {
        return Err(ScanError::Value { what: "a row" });
    }
    if let Some(bias) = bias {
        if bias.len() != count {
            return Err(ScanError::Biases { biases: bias.len(), rows: count });
        }
        check_magnitude("a bias", bias)?;
    }
    Ok(count)
}

/// Checks where a write of `count` rows goes; returns how many rows there are afterwards.
fn check_place(rows: usize, first: usize, count: usize, rows_max: usize) -> Result<usize, ScanError> {
    let end = first.saturating_add(count);
    if !first.is_multiple_of(WRITE_ROWS) || first > rows || (end < rows && !end.is_multiple_of(WRITE_ROWS)) {
        return Err(ScanError::Place { first, end, rows });
    }
    if end > rows_max {
        return Err(ScanError::Rows { rows: end, rows_max });
    }
    Ok(rows.max(end))
}

#[cfg(test)]
mod tests;
