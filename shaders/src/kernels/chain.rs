//! An inverted bottleneck in one pass (Sandler et al. 2018): expand, filter each channel, project. The wide map between them is several
//! times as large as those around it and is never in memory as a whole: a few of its rows at a time stay in the second-level cache
//! of the core that makes them and reads them.

use super::activation::Activation;
use super::depthwise::{Depthwise, depthwise};
use super::gemm::{Panels, Product, gemm};
use super::window::Window;
use crate::crew::Crew;
use crate::simd::Isa;

/// Floats of the wide map, before and after the filter, that a thread works on at a time.
const TILE_FLOATS: usize = 96 << 10;

/// One product at each position.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    pub(crate) panels: Panels<'a>,
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

/// One bottleneck over one map.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    /// `[height, width, channels]`.
    pub(crate) input: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `None`: the input is filtered as it is.
    pub(crate) expand: Option<Dense<'a>>,
    pub(crate) window: Window,
    /// Of the filter, `[kernel, kernel, wide]`.
    pub(crate) weight: &'a [f32],
    /// Of the filter, `[wide]`.
    pub(crate) bias: &'a [f32],
    /// Of the filter.
    pub(crate) activation: Activation,
    pub(crate) project: Dense<'a>,
    /// Like the output.
    pub(crate) residual: Option<&'a [f32]>,
}

/// Rows of a tile: of the filtered map, and of the wide map that they are filtered from.
pub(crate) fn tile([height, width]: [usize; 2], wide: usize, window: Window, expands: bool) -> [usize; 2] {
    let (row, filtered) = (if expands { width * wide } else { 0 }, window.output(width) * wide);
    let from = |rows: usize| (rows - 1) * window.stride + window.kernel;
    let fits = |rows: &usize| from(*rows) * row + rows * filtered <= TILE_FLOATS;
    let rows = (2..=window.output(height)).take_while(fits).last().unwrap_or(1);
    [rows, from(rows)]
}

/// Floats of scratch that [`chain`] needs for each thread.
pub(crate) fn scratch_len([height, width]: [usize; 2], wide: usize, window: Window, expands: bool) -> usize {
    let [rows, from] = tile([height, width], wide, window, expands);
    rows * window.output(width) * wide + if expands { from * width * wide } else { 0 }
}

/// Runs one bottleneck into `[output height, output width, columns]`, in `parts` bands on the crew's threads.
pub(crate) fn chain(isa: Isa, crew: &Crew<'_>, job: Chain<'_>, parts: usize, scratch: &mut [f32], output: &mut [f32]) {
    let row = job.window.output(job.width) * job.project.panels.columns;
    crew.pieces(output, row, parts, scratch, |first, band, room| self::band(isa, &job, first / row, room, band));
}

/// The output rows from `first_row` on, as many as `output` holds.
fn band(isa: Isa, job: &Chain<'_>, first_row: usize, scratch: &mut [f32], output: &mut [f32]) {
    let Window { kernel, stride, .. } = job.window;
    let (wide, columns, output_width) = (job.bias.len(), job.project.panels.columns, job.window.output(job.width));
    let [tile_rows, tile_from] = tile([job.height, job.width], wide, job.window, job.expand.is_some());
    let (filtered, expanded) = scratch.split_at_mut(tile_rows * output_width * wide);
    let row = job.width * wide;
    let expanded = if job.expand.is_some() { &mut expanded[..tile_from * row] } else { &mut [] };
    let before = job.window.before(job.height);
    let rows_of = |first: usize, rows: usize| {
        let last = ((first + rows - 1) * stride + kernel).saturating_sub(before).min(job.height);
        (first * stride).saturating_sub(before).min(last)..last
    };
    // The rows of the wide map that are there.
    let mut there = 0..0;
    for (tile, written) in output.chunks_mut(tile_rows * output_width * columns).enumerate() {
        let (first, rows) = (first_row + tile * tile_rows, written.len() / (output_width * columns));
        let needed = rows_of(first, rows);
        let input = match job.expand {
            None => &job.input[needed.start * row..needed.end * row],
            Some(expand) => {
                // What two tiles share is made once; a tile never begins above the one before.
                let mut fresh = needed.clone();
                if (there.start..there.end).contains(&needed.start) {
                    fresh.start = there.end.min(needed.end);
                    expanded.copy_within((needed.start - there.start) * row..(fresh.start - there.start) * row, 0);
                }
                let line = job.width * expand.panels.depth;
                let from = &job.input[fresh.start * line..fresh.end * line];
                let made = &mut expanded[(fresh.start - needed.start) * row..needed.len() * row];
                gemm(isa, Product::rows_of(from, expand.panels, expand.bias, expand.activation, None), made);
                there = needed.clone();
                &expanded[..needed.len() * row]
            }
        };
        let filter = Depthwise {
            input,
            first: needed.start,
            height: job.height,
            width: job.width,
            channels: wide,
            window: job.window,
            weight: job.weight,
            bias: job.bias,
            activation: job.activation,
        };
        let filtered = &mut filtered[..rows * output_width * wide];
        depthwise(isa, filter, first, filtered);
        let at = first * output_width * columns;
        let residual = job.residual.map(|residual| &residual[at..at + written.len()]);
        let Dense { panels, bias, activation } = job.project;
        gemm(isa, Product::rows_of(filtered, panels, bias, activation, residual), written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers};
    use crate::kernels::number::Storage;
    use crate::kernels::weights::alone;
    use crate::kernels::window::Padding;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The three steps one after the other give the same, in however many bands.
        #[test]
        fn one_pass_equals_three(
            height in 1usize..40, width in 1usize..30, channels in 1usize..20, wide in 1usize..200, columns in 1usize..40,
            kernel in prop::sample::select(vec![1usize, 3, 5]), stride in 1usize..4, around in prop::option::of(0usize..3),
            expands: bool, adds: bool, parts in 1usize..6,
        ) {
            let window = Window { kernel, stride, padding: around.map_or(Padding::Same, Padding::Around) };
            prop_assume!(window.is_valid() && window.output(height) > 0 && window.output(width) > 0);
            let channels = if expands { channels } else { wide };
            let (out, input) = (window.output(height) * window.output(width), numbers(1, height * width * channels));
            let (weight, bias) = (numbers(2, kernel * kernel * wide), numbers(3, wide));
            let residual = numbers(4, out * columns);
            for isa in Isa::available() {
                let (first_slab, first) = alone(isa, Storage::F32, &numbers(5, channels * wide), &numbers(6, wide));
                let (last_slab, last) = alone(isa, Storage::F32, &numbers(7, wide * columns), &numbers(8, columns));
                let expand = Dense { panels: first.panels(&first_slab), bias: first.bias(), activation: Activation::HardSwish };
                let project = Dense { panels: last.panels(&last_slab), bias: last.bias(), activation: Activation::None };
                let residual = adds.then_some(&residual[..]);
                let mut wide_map = vec![0.0; height * width * wide];
                if expands {
                    gemm(isa, Product::rows_of(&input, expand.panels, expand.bias, expand.activation, None), &mut wide_map);
                } else {
                    wide_map.copy_from_slice(&input);
                }
                let filter = Depthwise {
                    input: &wide_map, first: 0, height, width, channels: wide, window, weight: &weight, bias: &bias,
                    activation: Activation::Relu6,
                };
                let mut filtered = vec![0.0; out * wide];
                depthwise(isa, filter, 0, &mut filtered);
                let mut want = vec![0.0; out * columns];
                gemm(isa, Product::rows_of(&filtered, project.panels, project.bias, project.activation, residual), &mut want);
                let job = Chain {
                    input: &input, height, width, expand: expands.then_some(expand), window, weight: &weight, bias: &bias,
                    activation: Activation::Relu6, project, residual,
                };
                let mut got = vec![f32::NAN; want.len()];
                let mut scratch = vec![f32::NAN; scratch_len([height, width], wide, window, expands)];
                chain(isa, &Crew::alone(), job, parts, &mut scratch, &mut got);
                assert_close(isa, &got, &want, 1e-5);
            }
        }
    }

    #[test]
    fn tiles_fit_the_cache_where_one_row_does() {
        for (width, wide, expands) in [(112, 96, true), (56, 144, true), (14, 672, false), (7, 1152, false), (500, 2000, true)] {
            let window = Window::same(5, 1);
            let [rows, from] = tile([width, width], wide, window, expands);
            assert!(from == rows + 4 && rows <= width && (rows == 1 || scratch_len([width, width], wide, window, expands) <= TILE_FLOATS));
        }
    }
}
