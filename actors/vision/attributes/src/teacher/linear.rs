//! Products of matrices, the one heavy thing here. Plain code that compilers turn into SIMD; products and sums stay apart (no fused
//! operation) and each sum is made in one order, so the result is the same on every processor.

/// Rows and columns of a tile: its sums stay in 8 registers of 4 numbers.
const TILE_ROWS: usize = 4;
const TILE_COLUMNS: usize = 8;

/// A matrix in memory, or its transpose: how far it is to the next row and to the next column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Matrix<'a> {
    /// Row by row, `columns` numbers each.
    pub(crate) fn rows(values: &'a [f32], columns: usize) -> Self {
        Self { values, row: columns, column: 1 }
    }

    /// The transpose of a matrix that lies row by row, `columns` numbers each.
    pub(crate) fn transposed(values: &'a [f32], columns: usize) -> Self {
        Self { values, row: 1, column: columns }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row + column * self.column]
    }
}

/// `left` (`[rows, inner]`) times `right` (`[inner, columns]`), row by row.
pub(crate) fn product(left: Matrix<'_>, right: Matrix<'_>, [rows, inner, columns]: [usize; 3]) -> Vec<f32> {
    let panels = columns.div_ceil(TILE_COLUMNS);
    let mut packed = vec![0f32; panels * inner * TILE_COLUMNS];
    for (panel, cells) in packed.chunks_exact_mut((inner * TILE_COLUMNS).max(1)).enumerate() {
        for (at, cells) in cells.chunks_exact_mut(TILE_COLUMNS).enumerate() {
            let some = (columns - panel * TILE_COLUMNS).min(TILE_COLUMNS);
            cells.iter_mut().take(some).enumerate().for_each(|(column, cell)| *cell = right.at(at, panel * TILE_COLUMNS + column));
        }
    }
    let mut out = vec![0f32; rows * columns];
    let mut band = vec![0f32; inner * TILE_ROWS];
    for (block, out) in out.chunks_mut((columns * TILE_ROWS).max(1)).enumerate() {
        let some = out.len() / columns.max(1);
        for (at, cells) in band.chunks_exact_mut(TILE_ROWS).enumerate() {
            cells
                .iter_mut()
                .enumerate()
                .for_each(|(row, cell)| *cell = if row < some { left.at(block * TILE_ROWS + row, at) } else { 0.0 });
        }
        for (panel, right) in packed.chunks_exact((inner * TILE_COLUMNS).max(1)).enumerate() {
            let sums = tile(&band, right);
            let first = panel * TILE_COLUMNS;
            let width = (columns - first).min(TILE_COLUMNS);
            for (row, sums) in sums.iter().take(some).enumerate() {
                out[row * columns + first..][..width].copy_from_slice(&sums[..width]);
            }
        }
    }
    out
}

/// The product of two packed tiles.
#[inline]
fn tile(left: &[f32], right: &[f32]) -> [[f32; TILE_COLUMNS]; TILE_ROWS] {
    let mut sums = [[0f32; TILE_COLUMNS]; TILE_ROWS];
    for (left, right) in left.as_chunks::<TILE_ROWS>().0.iter().zip(right.as_chunks::<TILE_COLUMNS>().0) {
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum += left * right;
            }
        }
    }
    sums
}

/// Sum of products, in f64 from eight partial sums.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f32; 8];
    let mut all = 0f64;
    for (a, b) in a.chunks(512).zip(b.chunks(512)) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        for (a, b) in a.iter().zip(b) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += a * b;
            }
        }
        all += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
        sums = [0.0; 8];
        all += a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    }
    all
}

/// Brings a vector to length 1; one without length stays as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    let norm = dot(vector, vector).sqrt();
    if norm > 0.0 && norm.is_finite() {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_odd_sizes_equal_plain_sums() {
        for [rows, inner, columns] in [[1, 1, 1], [4, 8, 8], [5, 3, 9], [7, 13, 17], [3, 0, 2], [0, 4, 4]] {
            let value = |at: usize| ((at * 7919) % 23) as f32 - 11.0;
            let left: Vec<f32> = (0..rows * inner).map(value).collect();
            let right: Vec<f32> = (0..inner * columns).map(|at| value(at + 5)).collect();
            let mut turned = vec![0.0; rows * inner];
            (0..rows * inner).for_each(|at| turned[(at % inner) * rows + at / inner] = left[at]);
            let mut plain = vec![0.0; rows * columns];
            for row in 0..rows {
                for column in 0..columns {
                    plain[row * columns + column] = (0..inner).map(|at| left[row * inner + at] * right[at * columns + column]).sum();
                }
            }
            let shape = [rows, inner, columns];
            assert_eq!(product(Matrix::rows(&left, inner), Matrix::rows(&right, columns), shape), plain, "{shape:?}");
            assert_eq!(product(Matrix::transposed(&turned, rows), Matrix::rows(&right, columns), shape), plain, "{shape:?} turned");
        }
    }

    #[test]
    fn dot_sums_all_lengths() {
        for length in [0, 1, 7, 8, 511, 512, 513, 1030] {
            let values: Vec<f32> = (0..length).map(|at| (at % 5) as f32).collect();
            let plain: f64 = values.iter().map(|value| f64::from(value * value)).sum();
            assert_eq!(dot(&values, &values), plain, "{length}");
        }
    }
}
