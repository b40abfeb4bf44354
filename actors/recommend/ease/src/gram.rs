//! Counts of rows, and the regression that is solved from them.

use crate::EaseError;
use crate::model::Model;
use crate::sweep::{BLOCK, Square};

/// Rows whose counts are exact in f32.
pub const ROWS_MAX: usize = 1 << 24;
/// Items of one row that count: its pairs grow with their square.
pub const ROW_ITEMS_MAX: usize = 1_000;

/// How a model is solved.
#[derive(Clone, Copy, Debug)]
pub struct FitSettings {
    /// Weights kept of each item, the greatest by amount.
    pub weights_max: usize,
    /// Threads that work on it.
    pub threads_max: usize,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self { weights_max: 200, threads_max: 2 }
    }
}

/// In how many rows each pair of items stands. One matrix, of `4 n^2` bytes for `n` items rounded up to a multiple of 64: above its
/// diagonal stand the counts, the rest is where models are solved.
#[derive(Clone, Debug)]
pub struct Gram {
    items: usize,
    rows: usize,
    /// Rows with each item.
    of: Vec<f32>,
    matrix: Square,
}

impl Gram {
    /// No rows yet, of items `0..items`.
    ///
    /// # Errors
    /// [`EaseError::TooManyItems`]: more than `items_max`, so that its memory stays within [`Gram::bytes`] of that.
    pub fn new(items: usize, items_max: usize) -> Result<Self, EaseError> {
        if items > items_max {
            return Err(EaseError::TooManyItems { items, items_max });
        }
        Ok(Self { items, rows: 0, of: vec![0.0; items], matrix: Square::new(items) })
    }

    /// Bytes of the matrix of so many items.
    pub const fn bytes(items: usize) -> usize {
        let side = items.next_multiple_of(BLOCK);
        side * side * size_of::<f32>()
    }

    /// Items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Rows that count.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Counts a row: different items in ascending order. Items of other numbers are passed over, and so are items beyond
    /// [`ROW_ITEMS_MAX`] and rows beyond [`ROWS_MAX`]. Whether it counts.
    pub fn add(&mut self, row: &[u32]) -> bool {
        debug_assert!(row.windows(2).all(|pair| pair[0] < pair[1]), "a row is sorted and has every item once");
        let known = &row[..row.partition_point(|item| (*item as usize) < self.items).min(ROW_ITEMS_MAX)];
        if known.is_empty() || self.rows >= ROWS_MAX {
            return false;
        }
        self.rows += 1;
        for (place, first) in known.iter().enumerate() {
            self.of[*first as usize] += 1.0;
            let line = &mut self.matrix.cells[*first as usize * self.matrix.side..][..self.matrix.side];
            known[place + 1..].iter().for_each(|second| line[*second as usize] += 1.0);
        }
        true
    }

    /// Solves `P = (G + ridge I)^-1`, of which the weights are `-P_ij / P_jj`. What was counted stays. `goes_on` is asked often.
    ///
    /// # Errors
    /// [`EaseError::Rounding`] and [`EaseError::Stopped`].
    pub fn fit(&mut self, ridge: f32, settings: &FitSettings, goes_on: &dyn Fn() -> bool) -> Result<Model, EaseError> {
        let side = self.matrix.side;
        // Square by square, so that columns are read a cache line at a time.
        for (top, left) in (0..side).step_by(BLOCK).flat_map(|top| (0..=top).step_by(BLOCK).map(move |left| (top, left))) {
            for row in top..top + BLOCK {
                for column in left..(left + BLOCK).min(row) {
                    self.matrix.cells[row * side + column] = self.matrix.cells[column * side + row];
                }
            }
        }
        for item in 0..side {
            // Beyond the items stands a diagonal that says nothing.
            self.matrix.cells[item * side + item] = self.of.get(item).copied().unwrap_or(0.0) + ridge;
        }
        self.matrix.sweep(ridge, settings.threads_max, goes_on)?;
        Ok(Model::new(&self.matrix, self.items, settings.weights_max))
    }
}
