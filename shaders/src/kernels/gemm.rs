//! Matrix product with everything that follows it in one pass: `output = activation(input * weight + bias) + residual`.
//!
//! Weights are packed once, in panels of three registers' width, so that the inner loop reads them in order; a tile of rows
//! stays in registers over the whole depth.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use super::activation::{Activation, activate_lanes};
use super::number::{Number, View};
use super::target::Target;
use crate::simd::{Isa, Lanes, dispatch};
use half::f16;

/// Registers side by side in one panel.
pub(crate) const PANEL_VECTORS: usize = 3;

/// Columns of one panel.
pub(crate) fn panel_columns(isa: Isa) -> usize {
    if isa.width() == 1 { usize::MAX } else { PANEL_VECTORS * isa.width() }
}

/// Input bytes of one block of rows: they stay in the second-level cache while every panel passes over them.
const BLOCK_BYTES: usize = 256 << 10;

/// A weight matrix `[depth, columns]` in the layout of one instruction set, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) data: View<'a>,
}

/// Floats that the packed form of a `[depth, columns]` matrix takes.
pub(crate) fn packed_len(isa: Isa, depth: usize, columns: usize) -> usize {
    depth * columns.next_multiple_of(isa.width())
}

/// Packs `element(k, column)` into `data` for registers of `lanes` numbers. With one lane it is the plain matrix.
pub(crate) fn pack<T: Number>(lanes: usize, depth: usize, columns: usize, data: &mut [T], element: impl Fn(usize, usize) -> f32) {
    let panel = if lanes == 1 { columns.max(1) } else { PANEL_VECTORS * lanes };
    let mut at = 0;
    for first in (0..columns).step_by(panel) {
        let width = (columns - first).min(panel);
        let padded = width.next_multiple_of(lanes);
        for k in 0..depth {
            let row = &mut data[at..at + padded];
            for (column, value) in row[..width].iter_mut().enumerate() {
                *value = T::from_f32(element(k, first + column));
            }
            row[width..].fill(T::default());
            at += padded;
        }
    }
}

impl<'a> Panels<'a> {
    /// Packs `element(k, column)` into the beginning of `data` for registers of `lanes` floats.
    pub(crate) fn pack(
        lanes: usize,
        depth: usize,
        columns: usize,
        data: &'a mut [f32],
        element: impl Fn(usize, usize) -> f32,
    ) -> Panels<'a> {
        let data = &mut data[..depth * columns.next_multiple_of(lanes)];
        pack(lanes, depth, columns, data, element);
        Panels { depth, columns, data: View::F32(data) }
    }
}

/// One matrix product. Rows of `input` start `input_stride` floats apart, rows of the output (and of the residual)
/// `output_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) rows: usize,
    pub(crate) input: &'a [f32],
    pub(crate) input_stride: usize,
    pub(crate) panels: Panels<'a>,
    /// One number a column; empty means zero.
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) output_stride: usize,
}

impl<'a> Product<'a> {
    /// All columns of rows that lie one after the other, in the input and in the output.
    pub(crate) fn rows_of(
        input: &'a [f32],
        panels: Panels<'a>,
        bias: &'a [f32],
        activation: Activation,
        residual: Option<&'a [f32]>,
    ) -> Product<'a> {
        let (rows, input_stride, output_stride) = (input.len() / panels.depth, panels.depth, panels.columns);
        Product { rows, input, input_stride, panels, bias, activation, residual, output_stride }
    }

    /// Panics unless every index that the kernels form lies within its slice.
    fn check(&self, width: usize, columns_written: [usize; 2], output: &Target<'_>) {
        let Panels { depth, columns, data } = self.panels;
        let reach = |stride: usize, used: usize| (self.rows.max(1) - 1) * stride + used;
        assert!(self.rows == 0 || self.input.len() >= reach(self.input_stride, depth), "input is too short");
        assert!(self.rows == 0 || output.len() >= reach(self.output_stride, columns), "output is too short");
        assert!(
            self.rows == 0 || self.residual.is_none_or(|residual| residual.len() >= reach(self.output_stride, columns)),
            "residual is too short"
        );
        assert!(self.rows < 2 || self.output_stride >= columns, "output rows overlap");
        assert!(self.bias.is_empty() || self.bias.len() == columns, "one bias a column");
        assert!(columns_written[0] <= columns_written[1] && columns_written[1] <= columns, "columns that exist");
        let whole = |column: usize| width == 1 || column.is_multiple_of(PANEL_VECTORS * width);
        assert!(whole(columns_written[0]) && (whole(columns_written[1]) || columns_written[1] == columns), "whole panels");
        assert_eq!(data.len(), depth * columns.next_multiple_of(width), "weights are packed for another instruction set");
    }
}

/// Runs one product.
pub(crate) fn gemm(isa: Isa, product: Product<'_>, output: &mut [f32]) {
    gemm_columns(isa, product, [0, product.panels.columns], Target::new(output));
}

dispatch! {
    /// Runs one product for the columns from the first up to the second of `columns` only, which are whole panels (see
    /// [`panel_columns`]). Only these columns of the output are touched.
    pub(crate) fn gemm_columns(product: Product<'_>, columns: [usize; 2], output: Target<'_>); gemm_scalar, gemm_lanes
}

fn gemm_scalar(product: Product<'_>, columns_written: [usize; 2], mut output: Target<'_>) {
    product.check(1, columns_written, &output);
    let Panels { depth, columns, data } = product.panels;
    for row in 0..product.rows {
        let input = &product.input[row * product.input_stride..][..depth];
        for column in columns_written[0]..columns_written[1] {
            let mut sum = product.bias.get(column).copied().unwrap_or(0.0);
            for (k, value) in input.iter().enumerate() {
                sum += value * data.at(k * columns + column);
            }
            let at = row * product.output_stride + column;
            let result = product.activation.of(sum) + product.residual.map_or(0.0, |residual| residual[at]);
            // SAFETY: `check` has compared the lengths.
            unsafe { output.as_mut_ptr().add(at).write(result) };
        }
    }
}

/// The generic body, for kernels that are themselves generic over the lanes.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn gemm_lanes<S: Lanes>(product: Product<'_>, columns: [usize; 2], mut output: Target<'_>) {
    product.check(S::WIDTH, columns, &output);
    let depth = product.panels.depth;
    let block_rows = (BLOCK_BYTES / 4 / depth.max(1)).clamp(S::TILE_ROWS, 4096).next_multiple_of(S::TILE_ROWS);
    let mut first = 0;
    while first < product.rows {
        let rows = block_rows.min(product.rows - first);
        // SAFETY: `check` has compared all lengths; rows `first..first + rows` exist; the caller is compiled for S.
        unsafe { block::<S>(&product, [first, rows], columns, output.as_mut_ptr()) };
        first += rows;
    }
}

/// The panels of some columns over one block of rows.
#[inline(always)]
unsafe fn block<S: Lanes>(product: &Product<'_>, rows: [usize; 2], columns: [usize; 2], output: *mut f32) {
    // SAFETY: passed on from the caller; `check` has compared the lengths.
    unsafe {
        match product.panels.data {
            View::F32(data) => panels::<S, f32>(product, data.as_ptr(), rows, columns, output),
            View::F16(data) => panels::<S, f16>(product, data.as_ptr(), rows, columns, output),
        }
    }
}

#[inline(always)]
unsafe fn panels<S: Lanes, W: Number>(
    product: &Product<'_>,
    data: *const W,
    [first, rows]: [usize; 2],
    [first_column, last_column]: [usize; 2],
    output: *mut f32,
) {
    let depth = product.panels.depth;
    let mut panel_at = first_column * depth;
    for column in (first_column..last_column).step_by(PANEL_VECTORS * S::WIDTH) {
        let width = (last_column - column).min(PANEL_VECTORS * S::WIDTH);
        let vectors = width.div_ceil(S::WIDTH);
        let mut row = first;
        while row < first + rows {
            let left = first + rows - row;
            // The last two tiles share what is left, so that no tile is a single row by accident.
            let tile_rows = if left >= 2 * S::TILE_ROWS || left == S::TILE_ROWS {
                S::TILE_ROWS
            } else if left > S::TILE_ROWS {
                left.div_ceil(2)
            } else {
                left
            };
            let at = row * product.output_stride + column;
            // SAFETY: the tile lies within the lengths that `Product::check` compared; the caller is compiled for S.
            unsafe {
                let tile = Tile {
                    depth,
                    width,
                    input: product.input.as_ptr().add(row * product.input_stride),
                    input_stride: product.input_stride,
                    weight: data.add(panel_at),
                    bias: product.bias.get(column..column + width).unwrap_or(&[]),
                    residual: product.residual.map(|residual| residual.as_ptr().add(at)),
                    output: output.add(at),
                    output_stride: product.output_stride,
                    activation: product.activation,
                };
                run_tile::<S, W>(tile_rows, vectors, &tile);
                if product.activation.bounds().is_none() {
                    finish_curve::<S, W>(tile_rows, &tile);
                }
            }
            row += tile_rows;
        }
        panel_at += depth * vectors * S::WIDTH;
    }
}

struct Tile<'a, W> {
    depth: usize,
    width: usize,
    input: *const f32,
    input_stride: usize,
    weight: *const W,
    bias: &'a [f32],
    residual: Option<*const f32>,
    output: *mut f32,
    output_stride: usize,
    activation: Activation,
}

/// Chooses the tile's shape; the shapes are constants so that the accumulators are registers.
#[inline(always)]
unsafe fn run_tile<S: Lanes, W: Number>(rows: usize, vectors: usize, t: &Tile<'_, W>) {
    macro_rules! shapes {
        ($($rows:literal)*) => {
            match (rows, vectors) {
                $(
                    ($rows, 1) => tile::<S, W, $rows, 1>(t),
                    ($rows, 2) => tile::<S, W, $rows, 2>(t),
                    ($rows, 3) => tile::<S, W, $rows, 3>(t),
                )*
                _ => unreachable!("a tile has 1 to 8 rows and 1 to {PANEL_VECTORS} registers"),
            }
        };
    }
    // SAFETY: passed on from the caller.
    unsafe { shapes!(1 2 3 4 5 6 7 8) }
}

#[inline(always)]
unsafe fn tile<S: Lanes, W: Number, const ROWS: usize, const VECTORS: usize>(t: &Tile<'_, W>) {
    // SAFETY: input rows hold `depth` floats, the panel `depth * VECTORS` registers, output and residual rows `width`.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        if !t.bias.is_empty() {
            for v in 0..VECTORS {
                let count = t.width.saturating_sub(v * S::WIDTH).min(S::WIDTH);
                let bias = S::load_part(t.bias.as_ptr().add(v * S::WIDTH), count);
                for row in &mut sums {
                    row[v] = bias;
                }
            }
        }
        let mut weight = t.weight;
        for k in 0..t.depth {
            let mut weights = [S::splat(0.0); VECTORS];
            for (v, register) in weights.iter_mut().enumerate() {
                *register = W::load(weight.add(v * S::WIDTH));
            }
            weight = weight.add(VECTORS * S::WIDTH);
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = S::splat(*t.input.add(row * t.input_stride + k));
                for (sum, register) in sums.iter_mut().zip(weights) {
                    *sum = value.mul_add(register, *sum);
                }
            }
        }
        if t.width == VECTORS * S::WIDTH {
            finish::<S, W, ROWS, VECTORS, true>(&sums, t);
        } else {
            finish::<S, W, ROWS, VECTORS, false>(&sums, t);
        }
    }
}

/// Bounds, residual and store; a curve comes after. No branch on the activation, and one on the residual outside the loops:
/// only then does the compiler unroll them, and only unrolled do the sums stay in registers.
#[inline(always)]
unsafe fn finish<S: Lanes, W, const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(sums: &[[S; VECTORS]; ROWS], t: &Tile<'_, W>) {
    let bounds = t.activation.bounds();
    let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let residual = t.residual.filter(|_| bounds.is_some());
    // SAFETY: output and residual rows hold `width` floats, to which `count` cuts; the caller is compiled for S.
    unsafe {
        let (low, high) = (S::splat(low), S::splat(high));
        for v in 0..VECTORS {
            let count = if WHOLE { S::WIDTH } else { t.width.saturating_sub(v * S::WIDTH).min(S::WIDTH) };
            let output = t.output.add(v * S::WIDTH);
            if let Some(residual) = residual {
                let residual = residual.add(v * S::WIDTH);
                for (row, sums) in sums.iter().enumerate() {
                    let at = row * t.output_stride;
                    sums[v].max(low).min(high).add(S::load_part(residual.add(at), count)).store_part(output.add(at), count);
                }
            } else {
                for (row, sums) in sums.iter().enumerate() {
                    sums[v].max(low).min(high).store_part(output.add(row * t.output_stride), count);
                }
            }
        }
    }
}

/// Curves are long: they run over the finished tile, still in the first-level cache, instead of being unrolled into each shape.
#[inline(always)]
unsafe fn finish_curve<S: Lanes, W>(rows: usize, t: &Tile<'_, W>) {
    for row in 0..rows {
        // SAFETY: output and residual rows hold `width` floats, to which `count` cuts; the caller is compiled for S.
        unsafe {
            let output = std::slice::from_raw_parts_mut(t.output.add(row * t.output_stride), t.width);
            activate_lanes::<S>(t.activation, output);
            if let Some(residual) = t.residual {
                let residual = residual.add(row * t.output_stride);
                for (index, chunk) in output.chunks_mut(S::WIDTH).enumerate() {
                    let count = chunk.len();
                    let sum = S::load_part(chunk.as_ptr(), count).add(S::load_part(residual.add(index * S::WIDTH), count));
                    sum.store_part(chunk.as_mut_ptr(), count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers, variants};
    use crate::kernels::number::Storage;
    use crate::kernels::weights::{Slab, Weights, alone};
    use proptest::prelude::*;

    fn weights(isa: Isa, depth: usize, columns: usize) -> (Slab, Weights) {
        alone(isa, Storage::F32, &numbers(1, depth * columns), &numbers(2, columns))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn variants_follow_the_reference(
            rows in 0usize..40, depth in 1usize..70, columns in 1usize..110, padding in 0usize..5,
            activation in prop::sample::select(Activation::ALL.to_vec()),
            storage in prop::sample::select(vec![Storage::F32, Storage::F16]), with_bias: bool, with_residual: bool,
        ) {
            let input: Vec<f32> = numbers(3, rows * (depth + padding)).iter().map(|value| value * 3.0).collect();
            let residual = numbers(4, rows * (columns + padding));
            let run = |isa: Isa| {
                let (slab, weights) = alone(isa, storage, &numbers(1, depth * columns), &numbers(2, columns));
                let mut output = vec![7.0; rows * (columns + padding)];
                gemm(isa, Product {
                    rows,
                    input: &input,
                    input_stride: depth + padding,
                    panels: weights.panels(&slab),
                    bias: if with_bias { weights.bias() } else { &[] },
                    activation,
                    residual: with_residual.then_some(&residual),
                    output_stride: columns + padding,
                }, &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                assert_close(isa, &run(isa), &want, 2e-5);
            }
        }
    }

    #[test]
    fn a_known_product() {
        let (slab, weights) = alone(Isa::SCALAR, Storage::F32, &[1.0, 2.0, 3.0, 4.0], &[0.5, -100.0]);
        let mut output = [0.0; 2];
        let product = Product {
            rows: 1,
            input: &[10.0, 0.1],
            input_stride: 2,
            panels: weights.panels(&slab),
            bias: weights.bias(),
            activation: Activation::Relu6,
            residual: Some(&[1.0, 1.0]),
            output_stride: 2,
        };
        gemm(Isa::SCALAR, product, &mut output);
        assert_eq!(output, [7.0, 1.0]);
    }

    #[test]
    fn many_rows_cross_blocks() {
        let (rows, depth, columns) = (1031, 1000, 7);
        let input = numbers(5, rows * depth);
        let run = |isa: Isa| {
            let (slab, weights) = weights(isa, depth, columns);
            let mut output = vec![0.0; rows * columns];
            let product = Product {
                rows,
                input: &input,
                input_stride: depth,
                panels: weights.panels(&slab),
                bias: weights.bias(),
                activation: Activation::None,
                residual: None,
                output_stride: columns,
            };
            gemm(isa, product, &mut output);
            output
        };
        let want = run(Isa::SCALAR);
        variants().for_each(|isa| assert_close(isa, &run(isa), &want, 1e-4));
    }

    #[test]
    #[should_panic(expected = "output is too short")]
    fn a_short_output_is_refused() {
        let isa = Isa::best();
        let (slab, weights) = weights(isa, 4, 4);
        let product = Product {
            rows: 2,
            input: &[0.0; 8],
            input_stride: 4,
            panels: weights.panels(&slab),
            bias: weights.bias(),
            activation: Activation::None,
            residual: None,
            output_stride: 4,
        };
        gemm(isa, product, &mut [0.0; 7]);
    }
}
