//! RaBitQ: one bit a coordinate, relative to a centroid, with two factors that make the estimate unbiased
//! (Gao and Long, SIGMOD 2024, arXiv 2405.12497).
//!
//! With `r = x - c` and signs `s`, `<q - c, r>` is estimated by `w * <q - c, s>`, `w = |r|^2 / |r|_1`. The terms that do not
//! depend on the query join the row's factors, so that one set of tables serves every centroid:
//! `score = <q, c> + factor * (sum over set bits of q - half the sum of q) + addend`.
//! The estimate's standard error is [`error`] for each unit of `|q - c|`.
#![allow(unsafe_code, reason = "kernels over raw rows")]

use super::query::Tables;
use crate::kernels::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// f32 factors of one block: 32 to multiply with, 32 to add.
pub const BLOCK_FACTORS: usize = 2 * BLOCK_ROWS;

/// Bytes of the codes of one block for lean rows of `stride` bytes.
#[must_use]
pub fn block_bytes(stride: usize) -> usize {
    stride / 16 * GROUP_BYTES
}

/// Makes a block hold nothing: every lane scores minus infinity.
pub fn clear(factors: &mut [f32]) {
    factors[..BLOCK_ROWS].fill(0.0);
    factors[BLOCK_ROWS..].fill(f32::NEG_INFINITY);
}

/// Writes a row into lane `lane` of a block whose lane is still zero.
pub fn write(coordinates: &[f32], centroid: &[f32], bias: f32, lane: usize, codes: &mut [u8], factors: &mut [f32]) {
    let (mut square, mut absolute, mut along, mut signed) = (0f32, 0f32, 0f32, 0f32);
    for (index, (value, centre)) in coordinates.iter().zip(centroid).enumerate() {
        let residual = value - centre;
        square += residual * residual;
        absolute += residual.abs();
        along += centre * residual;
        if residual >= 0.0 {
            signed += centre;
            let table = index / 4;
            codes[16 * table + lane % 16] |= 1 << (index % 4 + 4 * (lane / 16));
        } else {
            signed -= centre;
        }
    }
    let weight = if absolute > 0.0 { square / absolute } else { 0.0 };
    factors[lane] = 2.0 * weight;
    factors[BLOCK_ROWS + lane] = along - weight * signed + bias;
}

/// Standard error of a row's estimate for each unit of `|q - c|`: `|r| sqrt((1 - a^2) / (a^2 (d - 1)))` with
/// `a = |r|_1 / (sqrt(d) |r|)`, the cosine of residual and code.
#[must_use]
pub fn error(residual: &[f32]) -> f32 {
    let square: f32 = residual.iter().map(|value| value * value).sum();
    let absolute: f32 = residual.iter().map(|value| value.abs()).sum();
    let dimension = residual.len() as f32;
    if absolute <= 0.0 || dimension < 2.0 {
        return 0.0;
    }
    let cosine_square = absolute * absolute / (dimension * square);
    (square * (1.0 - cosine_square).max(0.0) / (cosine_square * (dimension - 1.0))).sqrt()
}

/// Estimated scores of the rows of one block, without `<q, c>`.
///
/// # Safety
/// `codes` covers the tables' groups and `factors` one block.
#[inline(always)]
pub(crate) unsafe fn estimate<K: Kernels>(codes: *const u8, factors: *const f32, tables: &Tables, out: &mut [f32; BLOCK_ROWS]) {
    let mut sums = [0i32; BLOCK_ROWS];
    // SAFETY: promised by the caller.
    let factors = unsafe {
        K::fast_scan(codes, tables.bytes.as_ptr(), tables.groups, &mut sums);
        std::slice::from_raw_parts(factors, BLOCK_FACTORS)
    };
    for lane in 0..BLOCK_ROWS {
        out[lane] = factors[lane] * (sums[lane] as f32 * tables.scale + tables.base) + factors[BLOCK_ROWS + lane];
    }
}
