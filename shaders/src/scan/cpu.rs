//! The twin of `wgsl/scan_topk.wgsl` on the CPU: blocks of rows are widened once and scored against all queries.

use super::topk::TopK;
use super::{Hit, ROWS_MAX, Request, ScanError, check_place, check_rows};
use crate::dot::dot_matrix_with;
use crate::simd::Isa;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Rows that are widened together: with as many queries they stay in the second-level cache.
const BLOCK_ROWS: usize = 32;

/// Queries that pass over the rows together.
const BATCH_MAX: usize = 64;

/// The rows to search, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    dim: usize,
    values: &'a [f16],
    bias: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    /// Checks `values` (`[rows, dim]`) and `bias` (`[rows]`).
    ///
    /// # Errors
    /// When the lengths do not fit, or a number is not finite.
    pub fn new(dim: usize, values: &'a [f16], bias: Option<&'a [f32]>) -> Result<Rows<'a>, ScanError> {
        let rows = check_rows(dim, values, bias)?;
        if rows > ROWS_MAX {
            return Err(ScanError::Rows { rows, rows_max: ROWS_MAX });
        }
        Ok(Rows { dim, values, bias })
    }

    fn count(&self) -> usize {
        self.values.len() / self.dim
    }
}

/// The best rows for each query, in order, found with `threads` threads (at least 1).
///
/// # Errors
/// When the request does not fit the rows.
pub fn scan_topk(rows: Rows<'_>, request: &Request<'_>, threads: usize) -> Result<Vec<Vec<Hit>>, ScanError> {
    scan_topk_with(Isa::best(), rows, request, threads)
}

pub(super) fn scan_topk_with(isa: Isa, rows: Rows<'_>, request: &Request<'_>, threads: usize) -> Result<Vec<Vec<Hit>>, ScanError> {
    request.check(rows.dim)?;
    let mut results = Vec::with_capacity(request.queries.len() / rows.dim);
    for queries in request.queries.chunks(BATCH_MAX * rows.dim) {
        let batch = Request { queries, ..*request };
        let span = rows.count().div_ceil(threads.max(1)).next_multiple_of(BLOCK_ROWS).max(BLOCK_ROWS);
        let spans = (0..rows.count()).step_by(span).map(|first| first..(first + span).min(rows.count()));
        let lists: Vec<Vec<TopK>> = std::thread::scope(|scope| {
            let mut spans: Vec<_> = spans.collect();
            let own = spans.pop();
            let others: Vec<_> = spans.into_iter().map(|span| scope.spawn(move || scan_span(isa, rows, &batch, span))).collect();
            let mut lists: Vec<_> = own.into_iter().map(|span| scan_span(isa, rows, &batch, span)).collect();
            for other in others {
                lists.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            lists
        });
        let mut merged: Vec<TopK> = (0..queries.len() / rows.dim).map(|_| TopK::new(request.k)).collect();
        for list in lists {
            for (top, part) in merged.iter_mut().zip(list) {
                part.into_hits().into_iter().for_each(|hit| top.offer(hit));
            }
        }
        results.extend(merged.into_iter().map(TopK::into_hits));
    }
    Ok(results)
}

/// One thread's rows. Only the allowed ones are widened: they fill a block wherever they lie.
fn scan_span(isa: Isa, rows: Rows<'_>, request: &Request<'_>, span: std::ops::Range<usize>) -> Vec<TopK> {
    let Rows { dim, values, bias } = rows;
    let query_count = request.queries.len() / dim;
    let mut best: Vec<TopK> = (0..query_count).map(|_| TopK::new(request.k)).collect();
    let mut block = vec![0.0f32; BLOCK_ROWS * dim];
    let mut scores = vec![0.0f32; BLOCK_ROWS * query_count];
    let mut ids = Vec::with_capacity(BLOCK_ROWS);
    let end = span.end;
    for row in span {
        if request.allow.is_none_or(|allow| allow.get(row / 32).is_some_and(|word| word >> (row % 32) & 1 == 1)) {
            values[row * dim..][..dim].convert_to_f32_slice(&mut block[ids.len() * dim..][..dim]);
            ids.push(row);
        }
        if ids.is_empty() || (ids.len() < BLOCK_ROWS && row + 1 < end) {
            continue;
        }
        let scores = &mut scores[..ids.len() * query_count];
        dot_matrix_with(isa, request.queries, &block[..ids.len() * dim], dim, scores);
        for (best, scores) in best.iter_mut().zip(scores.chunks_exact_mut(ids.len())) {
            if let Some(bias) = bias {
                scores.iter_mut().zip(&ids).for_each(|(score, id)| *score += bias[*id]);
            }
            ids.iter().zip(scores).for_each(|(id, score)| best.offer(Hit { score: *score, row: *id as u32 }));
        }
        ids.clear();
    }
    best
}

/// Rows kept in this process's memory, behind the same calls as [`GpuScan`](super::GpuScan).
#[derive(Debug)]
pub struct CpuScan {
    dim: usize,
    threads: usize,
    values: Vec<f16>,
    bias: Vec<f32>,
}

impl CpuScan {
    /// No rows yet; searches use `threads` threads (at least 1).
    ///
    /// # Errors
    /// When no row can have `dim` numbers.
    pub fn new(dim: usize, threads: usize) -> Result<CpuScan, ScanError> {
        super::check_dim(dim)?;
        Ok(CpuScan { dim, threads: threads.max(1), values: Vec::new(), bias: Vec::new() })
    }

    /// Numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.bias.len()
    }

    /// As [`ScanBackend::write`](super::ScanBackend::write).
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, first: usize, rows: &[f16], bias: Option<&[f32]>) -> Result<(), ScanError> {
        let count = check_rows(self.dim, rows, bias)?;
        let total = check_place(self.rows(), first, count, ROWS_MAX)?;
        self.values.resize(total * self.dim, f16::ZERO);
        self.bias.resize(total, 0.0);
        self.values[first * self.dim..][..rows.len()].copy_from_slice(rows);
        match bias {
            Some(bias) => self.bias[first..][..count].copy_from_slice(bias),
            None => self.bias[first..][..count].fill(0.0),
        }
        Ok(())
    }

    /// Forgets the rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows.saturating_mul(self.dim));
        self.bias.truncate(rows);
    }

    /// As [`scan_topk`].
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, request: &Request<'_>) -> Result<Vec<Vec<Hit>>, ScanError> {
        scan_topk(Rows { dim: self.dim, values: &self.values, bias: Some(&self.bias) }, request, self.threads)
    }
}
