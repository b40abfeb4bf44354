//! Products of small dense matrices, as tiles of dot products; rows are padded with zeros to a multiple of 16.
#![allow(unsafe_code, reason = "kernels over raw rows")]

use crate::kernels::{Isa, Kernels, Task};
use crate::parallel::{Random, SharedRows, ShouldStop, for_each_chunk};

/// `out[i][j] = dot(a[i], b[j])` for rows of `width` numbers.
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { a, b, width, out } = self;
        let (rows, columns) = (a.len() / width, b.len() / width);
        assert!(width.is_multiple_of(16) && out.len() >= rows * columns, "the output holds every product");
        // A band of `b` that stays in the second-level cache meets all rows of `a`.
        let band = (256 * 1024 / (4 * width)).next_multiple_of(4);
        let mut first = 0;
        while first < columns {
            let end = columns.min(first + band);
            let mut row = 0;
            while row < rows {
                let lines = [0, 1, 2, 3].map(|lane| a[width * (row + lane).min(rows - 1)..].as_ptr());
                let mut column = first;
                while column < end {
                    let others = [0, 1, 2, 3].map(|lane| b[width * (column + lane).min(end - 1)..].as_ptr());
                    // SAFETY: each pointer starts a row of `width` numbers.
                    let tile = unsafe { K::tile(lines, others, width) };
                    for (i, values) in tile.iter().enumerate().take(rows - row) {
                        for (j, value) in values.iter().enumerate().take(end - column) {
                            out[(row + i) * columns + column + j] = *value;
                        }
                    }
                    column += 4;
                }
                row += 4;
            }
            first = end;
        }
    }
}

/// `out[i][j] = dot(a[i], b[j])` on this thread, rows of `width` numbers, `width` a multiple of 16.
pub(crate) fn product(a: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    Isa::best().run(Product { a, b, width, out });
}

/// [`product`] on several threads; `None` when stopped.
pub(crate) fn product_parallel(a: &[f32], b: &[f32], width: usize, threads: usize, should_stop: ShouldStop<'_>) -> Option<Vec<f32>> {
    let (rows, columns) = (a.len() / width, b.len() / width);
    let mut out = vec![0f32; rows * columns];
    let chunk = 16;
    let lines = SharedRows::new(&mut out, columns);
    let complete = for_each_chunk(rows, chunk, threads, should_stop, Vec::new, |scratch: &mut Vec<f32>, range| {
        scratch.resize(range.len() * columns, 0.0);
        product(&a[range.start * width..range.end * width], b, width, scratch);
        for (row, values) in range.zip(scratch.chunks_exact(columns)) {
            // SAFETY: every row belongs to one chunk.
            unsafe { lines.row(row) }.copy_from_slice(values);
        }
    });
    complete.then_some(out)
}

/// Makes the rows orthonormal (Gram-Schmidt, twice, for rows that nearly depend on each other); a row that the others
/// already span is replaced by a random direction. `used` numbers of each row count, the padding stays zero.
pub(crate) fn orthonormalise(rows: &mut [f32], width: usize, used: usize, random: &mut Random) {
    Isa::best().run(Orthonormalise { rows, width, used, random });
}

struct Orthonormalise<'a> {
    rows: &'a mut [f32],
    width: usize,
    used: usize,
    random: &'a mut Random,
}

impl Task for Orthonormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { rows, width, used, random } = self;
        let count = (rows.len() / width).min(used);
        for index in 0..count {
            let (done, rest) = rows.split_at_mut(index * width);
            let row = &mut rest[..width];
            for attempt in 0..8 {
                // SAFETY: both rows hold `width` numbers.
                let before = unsafe { K::dot_f32(row.as_ptr(), row.as_ptr(), width) }.sqrt();
                for _ in 0..2 {
                    for other in done.chunks_exact(width) {
                        // SAFETY: as above.
                        let along = unsafe { K::dot_f32(row.as_ptr(), other.as_ptr(), width) };
                        row.iter_mut().zip(other).for_each(|(value, direction)| *value -= along * direction);
                    }
                }
                // SAFETY: as above.
                let norm = unsafe { K::dot_f32(row.as_ptr(), row.as_ptr(), width) }.sqrt();
                if norm.is_finite() && norm > 1e-4 * before.max(f32::MIN_POSITIVE) && norm > f32::MIN_POSITIVE {
                    row.iter_mut().for_each(|value| *value /= norm);
                    break;
                }
                debug_assert!(attempt < 7, "a random direction is independent of the others");
                row[..used].iter_mut().for_each(|value| *value = random.normal());
            }
        }
    }
}

/// `count` random orthonormal rows of `used` numbers, padded to `width`.
pub(crate) fn random_rotation(count: usize, used: usize, width: usize, random: &mut Random) -> Vec<f32> {
    let mut rows = vec![0f32; count * width];
    for row in rows.chunks_exact_mut(width) {
        row[..used].iter_mut().for_each(|value| *value = random.normal());
    }
    orthonormalise(&mut rows, width, used, random);
    rows
}

/// The transpose of `rows` rows of `width` numbers: `width` rows padded to a multiple of 16 numbers.
pub(crate) fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width;
    let padded = rows.next_multiple_of(16);
    let mut out = vec![0f32; width * padded];
    for band in (0..rows).step_by(16) {
        for column in 0..width {
            for row in band..rows.min(band + 16) {
                out[column * padded + row] = values[row * width + column];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_odd_shapes_are_dot_products() {
        let mut random = Random::new(3);
        for (rows, columns, width) in [(1, 1, 16), (5, 7, 32), (33, 150, 2048), (64, 64, 64)] {
            let a: Vec<f32> = (0..rows * width).map(|_| random.normal()).collect();
            let b: Vec<f32> = (0..columns * width).map(|_| random.normal()).collect();
            let out = product_parallel(&a, &b, width, 2, &|| false).expect("not stopped");
            for i in 0..rows {
                for j in 0..columns {
                    let expected: f32 = (0..width).map(|k| a[i * width + k] * b[j * width + k]).sum();
                    assert!((out[i * columns + j] - expected).abs() < 1e-3 * (width as f32).sqrt(), "{i} {j}");
                }
            }
        }
        assert!(product_parallel(&[0.0; 64], &[0.0; 16], 16, 1, &|| true).is_none());
    }

    #[test]
    fn rotations_are_orthonormal_even_from_dependent_rows() {
        let mut random = Random::new(5);
        let mut rows = random_rotation(60, 60, 64, &mut random);
        rows.copy_within(0..64, 64);
        rows[2 * 64..3 * 64].fill(0.0);
        orthonormalise(&mut rows, 64, 60, &mut random);
        for i in 0..60 {
            for j in 0..60 {
                let dot: f32 = (0..64).map(|k| rows[i * 64 + k] * rows[j * 64 + k]).sum();
                assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-4, "{i} {j} {dot}");
            }
            assert_eq!(rows[i * 64 + 60..(i + 1) * 64], [0.0; 4]);
        }
    }

    #[test]
    fn a_transpose_swaps_indices() {
        let values: Vec<f32> = (0..5 * 32).map(|value| value as f32).collect();
        let out = transpose(&values, 32);
        assert_eq!(out.len(), 32 * 16);
        for row in 0..5 {
            for column in 0..32 {
                assert_eq!(out[column * 16 + row], values[row * 32 + column]);
            }
        }
    }
}
