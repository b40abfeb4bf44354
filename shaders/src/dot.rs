//! Dot products for search: one query against one row, and many queries against many rows in tiles.
#![allow(unsafe_code, reason = "SIMD loads through raw pointers")]

use crate::simd::{Isa, Lanes, dispatch};

/// The dot product of two vectors of the same length.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_with(Isa::best(), a, b)
}

dispatch! {
    /// [`dot`] on a chosen instruction set.
    pub fn dot_with(a: &[f32], b: &[f32]) -> f32; dot_scalar, dot_lanes
}

dispatch! {
    /// The dot product of each query (`[queries, dim]`) with each row (`[rows, dim]`), written to `out` as `[queries, rows]`.
    /// Equal vectors get equal results wherever they lie: each sum is made in one order.
    ///
    /// # Panics
    /// When a length is not a multiple of `dim`, `dim` is 0, or `out` has another length.
    pub fn dot_matrix_with(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]); dot_matrix_scalar, dot_matrix_lanes
}

/// Queries and rows of a product, after checking that all the lengths fit.
fn matrix_shape(queries: &[f32], rows: &[f32], dim: usize, out: &[f32]) -> (usize, usize) {
    assert!(dim > 0 && queries.len().is_multiple_of(dim) && rows.len().is_multiple_of(dim), "whole vectors");
    let shape = (queries.len() / dim, rows.len() / dim);
    assert_eq!(out.len(), shape.0 * shape.1, "one result per query and row");
    shape
}

fn dot_matrix_scalar(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    let (_, row_count) = matrix_shape(queries, rows, dim, out);
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(row_count.max(1))) {
        out.iter_mut().zip(rows.chunks_exact(dim)).for_each(|(result, row)| *result = dot_scalar(query, row));
    }
}

/// Rows of a full tile.
const TILE_ROWS: usize = 4;

#[inline(always)]
unsafe fn dot_matrix_lanes<S: Lanes>(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    let (query_count, row_count) = matrix_shape(queries, rows, dim, out);
    // Sums, the queries' pieces and one row's piece fill the registers.
    let tile_queries = S::TILE_ROWS / 2;
    let mut query = 0;
    while query < query_count {
        let full = query_count - query >= tile_queries;
        let mut row = 0;
        while row < row_count {
            let wide = row_count - row >= TILE_ROWS;
            let tile = Tile { dim, row_count, query, row };
            // SAFETY: queries `query..` and rows `row..` of the tile's size exist; the caller is compiled for S.
            unsafe {
                match (full, wide) {
                    (true, true) if tile_queries == 4 => tile.run::<S, 4, TILE_ROWS>(queries, rows, out),
                    (true, true) => tile.run::<S, 2, TILE_ROWS>(queries, rows, out),
                    (true, false) if tile_queries == 4 => tile.run::<S, 4, 1>(queries, rows, out),
                    (true, false) => tile.run::<S, 2, 1>(queries, rows, out),
                    (false, true) => tile.run::<S, 1, TILE_ROWS>(queries, rows, out),
                    (false, false) => tile.run::<S, 1, 1>(queries, rows, out),
                }
            }
            row += if wide { TILE_ROWS } else { 1 };
        }
        query += if full { tile_queries } else { 1 };
    }
}

/// Where a tile of a product lies.
#[derive(Clone, Copy)]
struct Tile {
    dim: usize,
    row_count: usize,
    query: usize,
    row: usize,
}

impl Tile {
    /// `Q` queries against `R` rows, all sums in registers.
    ///
    /// # Safety
    /// `query + Q` queries and `row + R` rows exist; as for [`Lanes`] otherwise.
    #[inline(always)]
    unsafe fn run<S: Lanes, const Q: usize, const R: usize>(self, queries: &[f32], rows: &[f32], out: &mut [f32]) {
        let Tile { dim, row_count, query, row } = self;
        debug_assert!((query + Q) * dim <= queries.len() && (row + R) * dim <= rows.len());
        // SAFETY: the caller vouches for the vectors; every load lies within one of them.
        unsafe {
            let (queries, rows) = (queries.as_ptr().add(query * dim), rows.as_ptr().add(row * dim));
            let mut sums = [[S::splat(0.0); Q]; R];
            let mut at = 0;
            while at < dim {
                let part = (dim - at).min(S::WIDTH);
                let mut pieces = [S::splat(0.0); Q];
                for (q, piece) in pieces.iter_mut().enumerate() {
                    *piece = S::load_part(queries.add(q * dim + at), part);
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = S::load_part(rows.add(r * dim + at), part);
                    for (sum, piece) in sums.iter_mut().zip(pieces) {
                        *sum = piece.mul_add(value, *sum);
                    }
                }
                at += part;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (q, sum) in sums.iter().enumerate() {
                    out[(query + q) * row_count + row + r] = sum.sum();
                }
            }
        }
    }
}

fn dot_scalar(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[inline(always)]
unsafe fn dot_lanes<S: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    let (a, b, count) = (a.as_ptr(), b.as_ptr(), a.len());
    // SAFETY: every load starts at `at < count` and reads no further than `count`; the caller is compiled for S.
    unsafe {
        // Four independent sums hide the latency of the multiply-add.
        let mut sums = [S::splat(0.0); 4];
        let mut at = 0;
        while at + 4 * S::WIDTH <= count {
            for (part, sum) in sums.iter_mut().enumerate() {
                let i = at + part * S::WIDTH;
                *sum = S::load(a.add(i)).mul_add(S::load(b.add(i)), *sum);
            }
            at += 4 * S::WIDTH;
        }
        while at < count {
            let part = (count - at).min(S::WIDTH);
            sums[0] = S::load_part(a.add(at), part).mul_add(S::load_part(b.add(at), part), sums[0]);
            at += part;
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(got: f32, a: &[f32], b: &[f32]) -> bool {
        let want: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let scale: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum();
        (f64::from(got) - want).abs() <= 1e-6 * scale + 1e-6
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_variant_equals_the_exact_sum(
            (dim, values) in (0usize..150).prop_flat_map(|dim| (Just(dim), prop::collection::vec(-2f32..2.0, dim * 2))),
        ) {
            let (query, row) = values.split_at(dim);
            for isa in Isa::available() {
                prop_assert!(close(dot_with(isa, query, row), query, row), "{} dim {dim}", isa.name());
            }
        }

        #[test]
        fn a_product_equals_the_exact_sums_and_treats_equal_rows_alike(
            (dim, values) in (1usize..70).prop_flat_map(|dim| (Just(dim), prop::collection::vec(-2f32..2.0, dim * 18))),
            query_count in 0usize..=9,
            row_count in 1usize..=9,
        ) {
            let (queries, rows) = values.split_at(query_count * dim);
            let mut rows = rows[..row_count * dim].to_vec();
            // The last row is the first once more: another place in the tiles, the same sums.
            rows.extend_from_within(..dim);
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; query_count * (row_count + 1)];
                dot_matrix_with(isa, queries, &rows, dim, &mut out);
                for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact(row_count + 1)) {
                    for (got, row) in out.iter().zip(rows.chunks_exact(dim)) {
                        prop_assert!(close(*got, query, row), "{} dim {dim}", isa.name());
                    }
                    prop_assert_eq!(out[0], out[row_count]);
                }
            }
        }
    }

    #[test]
    fn real_widths() {
        for dim in [384, 1280] {
            let values: Vec<f32> = (0..dim * 2).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
            let (query, row) = values.split_at(dim);
            assert!(close(dot(query, row), query, row));
        }
    }
}
