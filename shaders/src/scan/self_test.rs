//! Whether two backends give the same answers, and the small problem that a device must solve before it is used.

use super::cpu::{Rows, scan_topk};
use super::gpu::GpuScan;
use super::source::WORKGROUP;
use super::{Hit, K_MAX, Request, SCORE_TOLERANCE, ScanError};
use crate::gpu::device::GpuError;
use half::f16;

pub(super) use crate::synthetic::numbers;

/// As [`numbers`], in half precision.
pub(super) fn halves(seed: u64, count: usize) -> Vec<f16> {
    numbers(seed, count).into_iter().map(f16::from_f32).collect()
}

/// What is wrong with `got`, where `want` is another backend's answer: the scores of each rank agree, each row has the score
/// that is said of it, none comes twice, none is forbidden, and the order is kept.
pub(super) fn disagreement(
    dim: usize,
    rows: &[f16],
    bias: Option<&[f32]>,
    request: &Request<'_>,
    got: &[Vec<Hit>],
    want: &[Vec<Hit>],
) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} lists for {} queries", got.len(), want.len()));
    }
    for (index, ((got, want), query)) in got.iter().zip(want).zip(request.queries.chunks_exact(dim)).enumerate() {
        if got.len() != want.len() {
            return Some(format!("query {index}: {} results, not {}", got.len(), want.len()));
        }
        if let Some(pair) = got.windows(2).find(|pair| !pair[0].before(pair[1])) {
            return Some(format!("query {index}: {pair:?} are out of order"));
        }
        for (rank, (got, want)) in got.iter().zip(want).enumerate() {
            let row = got.row as usize;
            let Some(values) = rows.chunks_exact(dim).nth(row) else {
                return Some(format!("query {index}: there is no row {row}"));
            };
            if request.allow.is_some_and(|allow| allow.get(row / 32).is_none_or(|word| word >> (row % 32) & 1 == 0)) {
                return Some(format!("query {index}: row {row} is forbidden"));
            }
            let shift = bias.map_or(0.0, |bias| f64::from(bias[row]));
            let products = query.iter().zip(values).map(|(a, b)| f64::from(*a) * f64::from(b.to_f32()));
            let (exact, scale) = products.fold((shift, shift.abs()), |(sum, scale), product| (sum + product, scale + product.abs()));
            let tolerance = f64::from(SCORE_TOLERANCE) * scale;
            if (f64::from(got.score) - exact).abs() > tolerance || (f64::from(got.score) - f64::from(want.score)).abs() > 2.0 * tolerance {
                return Some(format!("query {index} rank {rank}: {got:?}, exactly {exact}; the reference has {want:?}"));
            }
        }
    }
    None
}

/// Solves a small problem with each pipeline, filtered and not, and compares with the CPU. Leaves no rows.
pub(super) fn run(scan: &mut GpuScan) -> Result<(), ScanError> {
    let (dim, count) = (scan.dim(), 5 * WORKGROUP + 7);
    let (rows, bias) = (halves(1, count * dim), numbers(2, count));
    let queries = numbers(3, 9 * dim);
    let allow: Vec<u32> = numbers(4, count / 32).into_iter().map(f32::to_bits).collect();
    scan.write(0, &rows, Some(&bias))?;
    for k in [10, K_MAX] {
        for allow in [None, Some(allow.as_slice())] {
            let request = Request { queries: &queries, k, allow };
            let want = scan_topk(Rows::new(dim, &rows, Some(&bias))?, &request, 1)?;
            let got = scan.search(&request)?;
            if let Some(text) = disagreement(dim, &rows, Some(&bias), &request, &got, &want) {
                return Err(GpuError::SelfTest(text).into());
            }
        }
    }
    scan.truncate(0);
    Ok(())
}
