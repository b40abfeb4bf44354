//! Depthwise convolution: each channel with its own square window, bias and activation, channels last.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use super::activation::{Activation, activate_lanes};
use super::window::Window;
use crate::simd::{Lanes, dispatch};

/// One depthwise convolution of one map.
#[derive(Clone, Copy)]
pub(crate) struct Depthwise<'a> {
    /// `[height, width, channels]`, or some of these rows: all that the output is made of.
    pub(crate) input: &'a [f32],
    /// The row of the map with which `input` begins.
    pub(crate) first: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) window: Window,
    /// `[kernel, kernel, channels]`.
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

impl Depthwise<'_> {
    /// Panics unless every index that the kernels form lies within its slice.
    fn check(&self, first_row: usize, output: &[f32]) {
        let Window { kernel, .. } = self.window;
        assert!(self.window.is_valid(), "every window touches the map");
        let line = self.width * self.channels;
        assert!(line == 0 || self.input.len().is_multiple_of(line), "whole input rows");
        assert_eq!(self.weight.len(), kernel * kernel * self.channels, "weight shape");
        assert_eq!(self.bias.len(), self.channels, "bias shape");
        let row = self.window.output(self.width) * self.channels;
        assert!(row == 0 || output.len().is_multiple_of(row), "whole output rows");
        assert!(first_row * row + output.len() <= self.window.output(self.height) * row, "output shape");
        if row > 0 && !output.is_empty() {
            let [(_, top), (taps, bottom)] = [first_row, first_row + output.len() / row - 1].map(|at| self.window.taps(at, self.height));
            assert!(self.first <= top && bottom + taps.len() <= self.first + self.input.len() / line, "the rows that are needed");
        }
    }
}

dispatch! {
    /// Convolves one map: the output rows from `first_row` on, as many as `output` holds.
    pub(crate) fn depthwise(job: Depthwise<'_>, first_row: usize, output: &mut [f32]); depthwise_scalar, depthwise_lanes
}

fn depthwise_scalar(job: Depthwise<'_>, first_row: usize, output: &mut [f32]) {
    job.check(first_row, output);
    let Window { kernel, stride, .. } = job.window;
    let (top, left) = (job.window.before(job.height), job.window.before(job.width));
    let output_width = job.window.output(job.width);
    for (position, result) in output.chunks_exact_mut(job.channels.max(1)).enumerate() {
        let (out_y, out_x) = (first_row + position / output_width, position % output_width);
        for (channel, result) in result.iter_mut().enumerate() {
            let mut sum = job.bias[channel];
            for tap in 0..kernel * kernel {
                let y = (out_y * stride + tap / kernel).wrapping_sub(top);
                let x = (out_x * stride + tap % kernel).wrapping_sub(left);
                if y < job.height && x < job.width {
                    sum += job.input[((y - job.first) * job.width + x) * job.channels + channel] * job.weight[tap * job.channels + channel];
                }
            }
            *result = job.activation.of(sum);
        }
    }
}

/// Output positions that share each weight in registers.
const QUAD: usize = 4;

#[inline(always)]
unsafe fn depthwise_lanes<S: Lanes>(job: Depthwise<'_>, first_row: usize, output: &mut [f32]) {
    job.check(first_row, output);
    if job.channels == 0 {
        return;
    }
    let Window { kernel, stride, .. } = job.window;
    let output_width = job.window.output(job.width);
    let left = job.window.before(job.width);
    // Positions whose whole window lies inside the row, in groups of four.
    let inner_first = left.div_ceil(stride).min(output_width);
    let inner_last = (job.width + left).checked_sub(kernel).map_or(0, |room| room / stride + 1).clamp(inner_first, output_width);
    let quads = (inner_last - inner_first) / QUAD;
    let quads_last = inner_first + quads * QUAD;
    for (index, row) in output.chunks_exact_mut(output_width * job.channels).enumerate() {
        let (rows, y) = job.window.taps(first_row + index, job.height);
        let y = y - job.first;
        // SAFETY: taps name input positions inside the map only, and quads only positions whose window is whole; channels
        // are cut at `job.channels`; `check` has compared all lengths; the caller is compiled for S.
        unsafe {
            for out_x in (0..inner_first).chain(quads_last..output_width) {
                let (columns, x) = job.window.taps(out_x, job.width);
                let spot = Spot { rows: rows.clone(), columns, y, x };
                channels::<S, 1, 4>(&job, &spot, row.as_mut_ptr().add(out_x * job.channels));
            }
            for out_x in (inner_first..quads_last).step_by(QUAD) {
                let spot = Spot { rows: rows.clone(), columns: 0..kernel, y, x: out_x * stride - left };
                channels::<S, QUAD, 2>(&job, &spot, row.as_mut_ptr().add(out_x * job.channels));
            }
            if job.activation.bounds().is_none() {
                activate_lanes::<S>(job.activation, row);
            }
        }
    }
}

/// Where a window stands: its taps inside the map and the input position of the first of them.
struct Spot {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    y: usize,
    x: usize,
}

/// All channels of `POSITIONS` neighbouring outputs, `VECTORS` registers of channels at a time.
#[inline(always)]
unsafe fn channels<S: Lanes, const POSITIONS: usize, const VECTORS: usize>(job: &Depthwise<'_>, spot: &Spot, output: *mut f32) {
    let mut channel = 0;
    // SAFETY: `channel` and the registers that follow it stay below `job.channels`; passed on from the caller.
    unsafe {
        while channel + VECTORS * S::WIDTH <= job.channels {
            window::<S, POSITIONS, VECTORS>(job, spot, channel, S::WIDTH, output);
            channel += VECTORS * S::WIDTH;
        }
        while channel < job.channels {
            let count = (job.channels - channel).min(S::WIDTH);
            window::<S, POSITIONS, 1>(job, spot, channel, count, output);
            channel += count;
        }
    }
}

#[inline(always)]
unsafe fn window<S: Lanes, const POSITIONS: usize, const VECTORS: usize>(
    job: &Depthwise<'_>,
    spot: &Spot,
    channel: usize,
    count: usize,
    output: *mut f32,
) {
    let Window { kernel, stride, .. } = job.window;
    // SAFETY: taps lie inside the map, `count` floats from `channel + v * WIDTH` inside the channels, `POSITIONS` outputs
    // inside the row; the caller is compiled for S.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; POSITIONS];
        for v in 0..VECTORS {
            let bias = S::load_part(job.bias.as_ptr().add(channel + v * S::WIDTH), count);
            for position in &mut sums {
                position[v] = bias;
            }
        }
        for tap_y in spot.rows.clone() {
            let y = spot.y + tap_y - spot.rows.start;
            let mut input = job.input.as_ptr().add((y * job.width + spot.x) * job.channels + channel);
            let mut weight = job.weight.as_ptr().add((tap_y * kernel + spot.columns.start) * job.channels + channel);
            for _ in spot.columns.clone() {
                for v in 0..VECTORS {
                    let factor = S::load_part(weight.add(v * S::WIDTH), count);
                    for (position, sums) in sums.iter_mut().enumerate() {
                        let from = input.add(position * stride * job.channels + v * S::WIDTH);
                        sums[v] = S::load_part(from, count).mul_add(factor, sums[v]);
                    }
                }
                input = input.wrapping_add(job.channels);
                weight = weight.wrapping_add(job.channels);
            }
        }
        let (low, high) = job.activation.bounds().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (S::splat(low), S::splat(high));
        for (position, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                let sum = sum.max(low).min(high);
                sum.store_part(output.add(position * job.channels + channel + v * S::WIDTH), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers, variants};
    use crate::kernels::window::Padding;
    use crate::simd::Isa;
    use proptest::prelude::*;

    #[test]
    fn an_even_input_with_stride_two_starts_at_the_first_pixel() {
        let input: Vec<f32> = (1..=16).map(|value| value as f32).collect();
        let job = Depthwise {
            input: &input,
            first: 0,
            height: 4,
            width: 4,
            channels: 1,
            window: Window::same(3, 2),
            weight: &[1.0; 9],
            bias: &[0.5],
            activation: Activation::None,
        };
        let mut output = [0.0; 4];
        depthwise(Isa::SCALAR, job, 0, &mut output);
        // Windows of 3x3, cut at the lower and right edge.
        let sums = [1 + 2 + 3 + 5 + 6 + 7 + 9 + 10 + 11, 3 + 4 + 7 + 8 + 11 + 12, 9 + 10 + 11 + 13 + 14 + 15, 11 + 12 + 15 + 16];
        assert_eq!(output, sums.map(|sum| sum as f32 + 0.5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn variants_follow_the_reference(
            height in 1usize..14, width in 1usize..20, channels in 1usize..90,
            kernel in prop::sample::select(vec![1usize, 2, 3, 5, 7]), stride in 1usize..4,
            around in prop::option::of(0usize..4), activation in prop::sample::select(Activation::ALL.to_vec()),
        ) {
            let window = Window { kernel, stride, padding: around.map_or(Padding::Same, Padding::Around) };
            prop_assume!(window.is_valid() && window.output(height) > 0 && window.output(width) > 0);
            let (input, weight, bias) = (numbers(1, height * width * channels), numbers(2, kernel * kernel * channels), numbers(3, channels));
            let job = Depthwise { input: &input, first: 0, height, width, channels, window, weight: &weight, bias: &bias, activation };
            let run = |isa| {
                let mut output = vec![f32::NAN; window.output(height) * window.output(width) * channels];
                let cut = window.output(height) / 3;
                let (above, below) = output.split_at_mut(cut * window.output(width) * channels);
                depthwise(isa, job, 0, above);
                depthwise(isa, job, cut, below);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                assert_close(isa, &run(isa), &want, 1e-5);
            }
        }
    }
}
