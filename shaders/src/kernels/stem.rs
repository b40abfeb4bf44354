//! The first convolution of an image model: 8-bit RGB in, normalised by table, a dense window over three colours.
//!
//! Each output row gathers its windows into a small matrix, already normalised, and multiplies it by the packed weights.

use super::depthwise::Window;
use super::gemm::{Activation, Product, Weights, gemm};
use crate::simd::Isa;

/// Colours of a pixel.
pub(crate) const COLOURS: usize = 3;

/// What a byte of a picture means to the model: `(value - mean) / deviation`, in units of the byte. Padding is 0 after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Subtracted from the byte.
    pub mean: f32,
    /// Divides the difference.
    pub deviation: f32,
}

impl Normalisation {
    /// The value of each byte.
    #[must_use]
    pub fn table(self) -> [f32; 256] {
        std::array::from_fn(|value| (value as f32 - self.mean) / self.deviation)
    }
}

/// One stem convolution of one picture.
#[derive(Clone, Copy)]
pub(crate) struct Stem<'a> {
    /// `[height, width, 3]`.
    pub(crate) pixels: &'a [u8],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) table: &'a [f32; 256],
    pub(crate) window: Window,
    /// Packed from `[kernel, kernel, 3, channels]`.
    pub(crate) weights: &'a Weights,
    pub(crate) activation: Activation,
}

/// Floats of scratch that [`stem`] needs for pictures of `width` pixels.
pub(crate) fn scratch_len(window: Window, width: usize) -> usize {
    window.output(width) * depth(window)
}

/// Numbers under one window.
pub(crate) fn depth(window: Window) -> usize {
    window.kernel * window.kernel * COLOURS
}

/// Convolves one picture into `[height / stride, width / stride, channels]`.
pub(crate) fn stem(isa: Isa, job: Stem<'_>, scratch: &mut [f32], output: &mut [f32]) {
    assert_eq!(job.pixels.len(), job.height * job.width * COLOURS, "pixel shape");
    let columns = job.weights.panels().columns;
    let output_width = job.window.output(job.width);
    let patches = &mut scratch[..scratch_len(job.window, job.width)];
    for (out_y, row) in output.chunks_exact_mut(output_width * columns).enumerate() {
        gather(&job, out_y, patches);
        let product = Product {
            rows: output_width,
            input: patches,
            input_stride: depth(job.window),
            panels: job.weights.panels(),
            bias: job.weights.bias(),
            activation: job.activation,
            residual: None,
            output_stride: columns,
        };
        gemm(isa, product, row);
    }
}

/// Writes the normalised windows of one output row, `[output_width, kernel * kernel * 3]`.
fn gather(job: &Stem<'_>, out_y: usize, patches: &mut [f32]) {
    let Window { kernel, stride } = job.window;
    let (top, left) = (job.window.before(job.height), job.window.before(job.width));
    for (out_x, patch) in patches.chunks_exact_mut(depth(job.window)).enumerate() {
        for (tap_y, line) in patch.chunks_exact_mut(kernel * COLOURS).enumerate() {
            let y = (out_y * stride + tap_y).wrapping_sub(top);
            let x = out_x * stride;
            if y < job.height && x >= left && x - left + kernel <= job.width {
                let bytes = &job.pixels[(y * job.width + x - left) * COLOURS..][..kernel * COLOURS];
                for (value, byte) in line.iter_mut().zip(bytes) {
                    *value = job.table[usize::from(*byte)];
                }
                continue;
            }
            for (tap, value) in line.iter_mut().enumerate() {
                let x = (x + tap / COLOURS).wrapping_sub(left);
                let inside = y < job.height && x < job.width;
                *value = if inside { job.table[usize::from(job.pixels[(y * job.width + x) * COLOURS + tap % COLOURS])] } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers};
    use proptest::prelude::*;

    /// The definition, without patches.
    fn direct(job: &Stem<'_>, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Window { kernel, stride } = job.window;
        let (top, left) = (job.window.before(job.height) as isize, job.window.before(job.width) as isize);
        let mut output = Vec::new();
        for position in 0..job.window.output(job.height) * job.window.output(job.width) {
            let (out_y, out_x) = (position / job.window.output(job.width), position % job.window.output(job.width));
            for (channel, bias) in bias.iter().enumerate() {
                let mut sum = *bias;
                for tap in 0..kernel * kernel * COLOURS {
                    let y = (out_y * stride + tap / COLOURS / kernel) as isize - top;
                    let x = (out_x * stride + tap / COLOURS % kernel) as isize - left;
                    if (0..job.height as isize).contains(&y) && (0..job.width as isize).contains(&x) {
                        let byte = job.pixels[(y as usize * job.width + x as usize) * COLOURS + tap % COLOURS];
                        sum += job.table[usize::from(byte)] * weight[tap * bias_len(weight, kernel) + channel];
                    }
                }
                output.push(job.activation.of(sum));
            }
        }
        output
    }

    fn bias_len(weight: &[f32], kernel: usize) -> usize {
        weight.len() / (kernel * kernel * COLOURS)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn all_variants_follow_the_definition(
            height in 1usize..12, width in 1usize..15, channels in 1usize..40,
            kernel in 1usize..6, stride in 1usize..4,
        ) {
            let window = Window { kernel, stride };
            let (weight, bias) = (numbers(1, depth(window) * channels), numbers(2, channels));
            let pixels: Vec<u8> = (0..height * width * COLOURS).map(|i| (i * 89 % 256) as u8).collect();
            let table = Normalisation { mean: 127.0, deviation: 128.0 }.table();
            for isa in Isa::available() {
                let weights = Weights::new(isa, &weight, depth(window), &bias);
                let job = Stem { pixels: &pixels, height, width, table: &table, window, weights: &weights, activation: Activation::Relu6 };
                let mut output = vec![f32::NAN; window.output(height) * window.output(width) * channels];
                stem(isa, job, &mut vec![f32::NAN; scratch_len(window, width)], &mut output);
                assert_close(isa, &output, &direct(&job, &weight, &bias), 1e-5);
            }
        }
    }

    #[test]
    fn the_table_is_the_formula() {
        let table = Normalisation { mean: 127.0, deviation: 128.0 }.table();
        assert_eq!((table[0], table[127], table[255]), (-127.0 / 128.0, 0.0, 1.0));
    }
}
