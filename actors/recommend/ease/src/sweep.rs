//! Inverts a symmetric positive definite matrix where it stands: the sweep operator (Goodnight 1979), a block of pivots at a time.
//!
//! Sweeping pivots `k` of a symmetric `A` makes `A_rr - A_rk A_kk^-1 A_kr`, `A_rk A_kk^-1` and `-A_kk^-1`; once all are swept, `A` has
//! become `-A^-1`. It takes `n^3` operations, as a Cholesky factor and its inverse do, nearly all of them in one product of small tiles,
//! and never needs a second matrix. Pivots are inverted in f64. Products and sums stay apart (no fused operation), so the result is the
//! same on every processor.

use crate::EaseError;

/// Pivots swept at once; the side of a matrix is a multiple.
pub(crate) const BLOCK: usize = 64;
/// Rows and columns of a tile: its sums stay in 8 registers of 4 numbers.
const TILE_ROWS: usize = 4;
const TILE_COLUMNS: usize = 8;
/// Columns whose panel stays in the processor's second cache.
const STRIP_COLUMNS: usize = 512;

const _: () = assert!(BLOCK.is_multiple_of(TILE_ROWS) && BLOCK.is_multiple_of(TILE_COLUMNS) && STRIP_COLUMNS.is_multiple_of(BLOCK));

/// A square matrix, row by row. The diagonal and what is below it are worked on; what is above is the caller's.
#[derive(Clone, Debug)]
pub(crate) struct Square {
    pub(crate) side: usize,
    pub(crate) cells: Vec<f32>,
}

impl Square {
    /// At least `items` wide, all zero.
    pub(crate) fn new(items: usize) -> Self {
        let side = items.next_multiple_of(BLOCK);
        Self { side, cells: vec![0.0; side * side] }
    }

    /// Sweeps all pivots. None of them may be less than half of `least`, which exact arithmetic never goes below.
    pub(crate) fn sweep(&mut self, least: f32, threads: usize, goes_on: &dyn Fn() -> bool) -> Result<(), EaseError> {
        let mut panels = Panels::new(self.side);
        for start in (0..self.side).step_by(BLOCK) {
            if !goes_on() {
                return Err(EaseError::Stopped);
            }
            let pivots = self.pivots(start, least)?;
            panels.take(self, start, &pivots);
            self.subtract(&panels, threads);
        }
        Ok(())
    }

    /// Sweeps the block on the diagonal by itself; gives the inverse of what it was.
    fn pivots(&mut self, start: usize, least: f32) -> Result<Vec<f32>, EaseError> {
        let mut block = vec![0f64; BLOCK * BLOCK];
        for row in 0..BLOCK {
            for column in 0..=row {
                let cell = f64::from(self.cells[(start + row) * self.side + start + column]);
                block[row * BLOCK + column] = cell;
                block[column * BLOCK + row] = cell;
            }
        }
        for pivot in 0..BLOCK {
            let line: Vec<f64> = block[pivot * BLOCK..(pivot + 1) * BLOCK].to_vec();
            let scale = line[pivot];
            if scale.is_nan() || scale < f64::from(least) / 2.0 {
                return Err(EaseError::Rounding);
            }
            for (row, cells) in block.chunks_exact_mut(BLOCK).enumerate() {
                let factor = line[row] / scale;
                cells.iter_mut().zip(&line).for_each(|(cell, other)| *cell -= factor * other);
                cells[pivot] = factor;
            }
            for (column, other) in line.iter().enumerate() {
                block[pivot * BLOCK + column] = other / scale;
            }
            block[pivot * BLOCK + pivot] = -1.0 / scale;
        }
        for row in 0..BLOCK {
            for column in 0..=row {
                self.cells[(start + row) * self.side + start + column] = block[row * BLOCK + column] as f32;
            }
        }
        Ok(block.into_iter().map(|cell| -cell as f32).collect())
    }

    /// Takes the product of the panels away from everything below the diagonal, each thread from rows of about equal area.
    fn subtract(&mut self, panels: &Panels, threads: usize) {
        let (side, threads) = (self.side, threads.clamp(1, self.side / BLOCK));
        let edge = |thread: usize| (side as f64 * (thread as f64 / threads as f64).sqrt()) as usize / TILE_ROWS * TILE_ROWS;
        std::thread::scope(|scope| {
            let mut rest = &mut self.cells[..];
            for thread in 0..threads {
                let (first, last) = (edge(thread), if thread + 1 == threads { side } else { edge(thread + 1) });
                let (band, after) = std::mem::take(&mut rest).split_at_mut((last - first) * side);
                rest = after;
                if thread + 1 == threads {
                    subtract(band, first, side, panels);
                } else {
                    scope.spawn(move || subtract(band, first, side, panels));
                }
            }
        });
    }
}

/// The columns of the block (`right`), and those times its inverse (`left`), packed tile by tile; zero for the block's own rows.
struct Panels {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Panels {
    fn new(side: usize) -> Self {
        Self { left: vec![0.0; side * BLOCK], right: vec![0.0; side * BLOCK] }
    }

    /// Reads the block's columns and writes them swept.
    fn take(&mut self, matrix: &mut Square, start: usize, inverse: &[f32]) {
        let side = matrix.side;
        let mut line = [0f32; BLOCK];
        for row in 0..side {
            let is_own = (start..start + BLOCK).contains(&row);
            let above = row < start;
            match (is_own, above) {
                (true, _) => line = [0.0; BLOCK],
                (_, true) => line.iter_mut().enumerate().for_each(|(at, cell)| *cell = matrix.cells[(start + at) * side + row]),
                _ => line.copy_from_slice(&matrix.cells[row * side + start..][..BLOCK]),
            }
            let mut swept = [0f32; BLOCK];
            for (cell, factors) in line.iter().zip(inverse.chunks_exact(BLOCK)) {
                swept.iter_mut().zip(factors).for_each(|(sum, factor)| *sum += cell * factor);
            }
            for at in 0..BLOCK {
                self.right[row / TILE_COLUMNS * TILE_COLUMNS * BLOCK + at * TILE_COLUMNS + row % TILE_COLUMNS] = line[at];
                self.left[row / TILE_ROWS * TILE_ROWS * BLOCK + at * TILE_ROWS + row % TILE_ROWS] = swept[at];
            }
            match (is_own, above) {
                (true, _) => {}
                (_, true) => swept.iter().enumerate().for_each(|(at, cell)| matrix.cells[(start + at) * side + row] = *cell),
                _ => matrix.cells[row * side + start..][..BLOCK].copy_from_slice(&swept),
            }
        }
    }
}

/// Rows from `first` on, of which `band` is all.
fn subtract(band: &mut [f32], first: usize, side: usize, panels: &Panels) {
    let rows = band.len() / side;
    for strip in (0..first + rows).step_by(STRIP_COLUMNS) {
        for top in (0..rows).step_by(TILE_ROWS) {
            let row = first + top;
            let left = &panels.left[row * BLOCK..][..TILE_ROWS * BLOCK];
            for column in (strip..(strip + STRIP_COLUMNS).min(row + TILE_ROWS)).step_by(TILE_COLUMNS) {
                let sums = product(left, &panels.right[column * BLOCK..][..TILE_COLUMNS * BLOCK]);
                for (line, sums) in sums.iter().enumerate() {
                    let cells = &mut band[(top + line) * side + column..][..TILE_COLUMNS];
                    // What is above the diagonal is not ours.
                    let below = (row + line + 1).saturating_sub(column).min(TILE_COLUMNS);
                    if below == TILE_COLUMNS {
                        cells.iter_mut().zip(sums).for_each(|(cell, sum)| *cell -= sum);
                    } else {
                        cells.iter_mut().zip(sums).take(below).for_each(|(cell, sum)| *cell -= sum);
                    }
                }
            }
        }
    }
}

/// The product of two packed tiles.
#[inline]
fn product(left: &[f32], right: &[f32]) -> [[f32; TILE_COLUMNS]; TILE_ROWS] {
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
