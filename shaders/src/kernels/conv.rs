//! Dense convolution of a map: windows gathered into the rows of a matrix, times the packed weights.

use super::activation::Activation;
use super::gemm::{Panels, Product, gemm};
use super::window::Window;
use crate::crew::Crew;
use crate::simd::Isa;

/// Floats of gathered windows that are multiplied at a time: they stay in the second-level cache.
const PATCH_FLOATS: usize = 64 << 10;

/// Windows that are gathered at a time, each of `depth` numbers.
pub(crate) fn patch_rows(depth: usize) -> usize {
    (PATCH_FLOATS / depth.max(1)).clamp(8, 128)
}

/// Floats that so many windows take.
pub(crate) fn patch_scratch_len(depth: usize) -> usize {
    patch_rows(depth) * depth
}

/// One convolution of one map.
#[derive(Clone, Copy)]
pub(crate) struct Conv<'a> {
    /// `[height, width, channels]`.
    pub(crate) input: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) window: Window,
    /// Packed from `[kernel, kernel, channels, output channels]`.
    pub(crate) panels: Panels<'a>,
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

/// Convolves one map into `[output height, output width, output channels]`, on the crew's threads; `scratch` holds
/// [`patch_scratch_len`] floats for the depth `kernel * kernel * channels` for each of them.
pub(crate) fn conv(isa: Isa, crew: &Crew<'_>, job: Conv<'_>, scratch: &mut [f32], output: &mut [f32]) {
    assert_eq!(job.input.len(), job.height * job.width * job.channels, "input shape");
    let (columns, depth) = (job.panels.columns, job.panels.depth);
    assert_eq!(depth, job.window.kernel * job.window.kernel * job.channels, "weight shape");
    crew.chunks(output, patch_rows(depth) * columns, scratch, |first, results, room| {
        let patches = &mut room[..results.len() / columns * depth];
        gather(&job, first / columns, patches);
        gemm(isa, Product::rows_of(patches, job.panels, job.bias, job.activation, None), results);
    });
}

/// Writes the windows of the output positions from `first` on, each `kernel * kernel * channels` numbers.
fn gather(job: &Conv<'_>, first: usize, patches: &mut [f32]) {
    let Window { kernel, stride, .. } = job.window;
    let channels = job.channels;
    let (top, output_width) = (job.window.before(job.height), job.window.output(job.width));
    for (index, patch) in patches.chunks_exact_mut(kernel * kernel * channels).enumerate() {
        let (out_y, out_x) = ((first + index) / output_width, (first + index) % output_width);
        let (taps, x) = job.window.taps(out_x, job.width);
        for (tap_y, line) in patch.chunks_exact_mut(kernel * channels).enumerate() {
            let y = (out_y * stride + tap_y).wrapping_sub(top);
            if y >= job.height {
                line.fill(0.0);
                continue;
            }
            let (before, rest) = line.split_at_mut(taps.start * channels);
            let (inside, after) = rest.split_at_mut(taps.len() * channels);
            before.fill(0.0);
            inside.copy_from_slice(&job.input[(y * job.width + x) * channels..][..inside.len()]);
            after.fill(0.0);
        }
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

    /// The definition, without patches.
    fn direct(job: &Conv<'_>, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Window { kernel, stride, .. } = job.window;
        let (top, left) = (job.window.before(job.height), job.window.before(job.width));
        let (output_height, output_width) = (job.window.output(job.height), job.window.output(job.width));
        let (columns, mut output) = (bias.len(), Vec::new());
        for position in 0..output_height * output_width {
            for (column, bias) in bias.iter().enumerate() {
                let mut sum = f64::from(*bias);
                for tap in 0..kernel * kernel {
                    let y = (position / output_width * stride + tap / kernel).wrapping_sub(top);
                    let x = (position % output_width * stride + tap % kernel).wrapping_sub(left);
                    if y < job.height && x < job.width {
                        for channel in 0..job.channels {
                            sum += f64::from(job.input[(y * job.width + x) * job.channels + channel])
                                * f64::from(weight[(tap * job.channels + channel) * columns + column]);
                        }
                    }
                }
                output.push(job.activation.of(sum as f32));
            }
        }
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn all_variants_follow_the_definition(
            height in 1usize..9, width in 1usize..11, channels in 1usize..20, columns in 1usize..40,
            kernel in 1usize..5, stride in 1usize..4, around in prop::option::of(0usize..4),
            activation in prop::sample::select(Activation::ALL.to_vec()),
        ) {
            let window = Window { kernel, stride, padding: around.map_or(Padding::Same, Padding::Around) };
            prop_assume!(window.is_valid() && window.output(height) > 0 && window.output(width) > 0);
            let depth = kernel * kernel * channels;
            let (input, weight, bias) = (numbers(1, height * width * channels), numbers(2, depth * columns), numbers(3, columns));
            for isa in Isa::available() {
                let (slab, weights) = alone(isa, Storage::F32, &weight, &bias);
                let job = Conv { input: &input, height, width, channels, window, panels: weights.panels(&slab), bias: weights.bias(), activation };
                let mut output = vec![f32::NAN; window.output(height) * window.output(width) * columns];
                conv(isa, &Crew::alone(), job, &mut vec![f32::NAN; patch_scratch_len(depth)], &mut output);
                assert_close(isa, &output, &direct(&job, &weight, &bias), 2e-5);
            }
        }
    }

    #[test]
    fn many_positions_cross_blocks() {
        let (height, width, channels, columns) = (37, 41, 2, 3);
        let window = Window::around(3, 1, 1);
        let (input, weight, bias) = (numbers(1, height * width * channels), numbers(2, 18 * columns), numbers(3, columns));
        for isa in Isa::available() {
            let (slab, weights) = alone(isa, Storage::F32, &weight, &bias);
            let job = Conv {
                input: &input,
                height,
                width,
                channels,
                window,
                panels: weights.panels(&slab),
                bias: weights.bias(),
                activation: Activation::Relu,
            };
            let mut output = vec![f32::NAN; height * width * columns];
            conv(isa, &Crew::alone(), job, &mut vec![f32::NAN; patch_scratch_len(18)], &mut output);
            assert_close(isa, &output, &direct(&job, &weight, &bias), 1e-5);
        }
    }
}
