//! The first convolution of an image model: 8-bit RGB in, normalised by table, a dense window over three colours; with a
//! window as large as its step it is the patch embedding of a vision transformer.
//!
//! Windows are gathered into a small matrix, already normalised, and multiplied by the packed weights.

use super::activation::Activation;
use super::conv::{patch_rows, patch_scratch_len};
use super::gemm::{Panels, Product, gemm};
use super::window::Window;
use crate::crew::Crew;
use crate::simd::Isa;

/// Colours of a pixel.
pub(crate) const COLOURS: usize = 3;

/// What a byte of a picture means to the model, for each colour: `(value - mean) / deviation`, in units of the byte. Padding
/// is 0 after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Subtracted from the byte.
    pub mean: [f32; COLOURS],
    /// Divides the difference.
    pub deviation: [f32; COLOURS],
}

/// The value of each byte of each colour.
pub(crate) type Table = [[f32; 256]; COLOURS];

impl Normalisation {
    /// The same for all colours.
    #[must_use]
    pub const fn grey(mean: f32, deviation: f32) -> Normalisation {
        Normalisation { mean: [mean; COLOURS], deviation: [deviation; COLOURS] }
    }

    /// Whether every byte has a finite value.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.mean.iter().all(|mean| mean.is_finite()) && self.deviation.iter().all(|deviation| deviation.is_normal())
    }

    /// The value of each byte of each colour.
    #[must_use]
    pub fn table(self) -> [[f32; 256]; COLOURS] {
        std::array::from_fn(|colour| std::array::from_fn(|value| (value as f32 - self.mean[colour]) / self.deviation[colour]))
    }
}

/// One stem convolution of one picture.
#[derive(Clone, Copy)]
pub(crate) struct Stem<'a> {
    /// `[height, width, 3]`.
    pub(crate) pixels: &'a [u8],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) table: &'a Table,
    pub(crate) window: Window,
    /// Packed from `[kernel, kernel, 3, channels]`.
    pub(crate) panels: Panels<'a>,
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

/// Floats of scratch that [`stem`] needs.
pub(crate) fn scratch_len(window: Window) -> usize {
    patch_scratch_len(depth(window))
}

/// Numbers under one window.
pub(crate) fn depth(window: Window) -> usize {
    window.kernel * window.kernel * COLOURS
}

/// Convolves one picture into `[output height, output width, channels]`, on the crew's threads; `scratch` holds
/// [`scratch_len`] floats for each of them.
pub(crate) fn stem(isa: Isa, crew: &Crew<'_>, job: Stem<'_>, scratch: &mut [f32], output: &mut [f32]) {
    assert_eq!(job.pixels.len(), job.height * job.width * COLOURS, "pixel shape");
    let (columns, depth) = (job.panels.columns, depth(job.window));
    crew.chunks(output, patch_rows(depth) * columns, scratch, |first, results, room| {
        let patches = &mut room[..results.len() / columns * depth];
        gather(&job, first / columns, patches);
        gemm(isa, Product::rows_of(patches, job.panels, job.bias, job.activation, None), results);
    });
}

/// Writes the normalised windows of the output positions from `first` on, each `kernel * kernel * 3` numbers.
fn gather(job: &Stem<'_>, first: usize, patches: &mut [f32]) {
    let Window { kernel, stride, .. } = job.window;
    let (top, left) = (job.window.before(job.height), job.window.before(job.width));
    let output_width = job.window.output(job.width);
    for (index, patch) in patches.chunks_exact_mut(depth(job.window)).enumerate() {
        let (out_y, out_x) = ((first + index) / output_width, (first + index) % output_width);
        for (tap_y, line) in patch.chunks_exact_mut(kernel * COLOURS).enumerate() {
            let y = (out_y * stride + tap_y).wrapping_sub(top);
            let x = out_x * stride;
            if y < job.height && x >= left && x - left + kernel <= job.width {
                let bytes = &job.pixels[(y * job.width + x - left) * COLOURS..][..kernel * COLOURS];
                let (values, bytes) = (line.as_chunks_mut::<COLOURS>().0, bytes.as_chunks::<COLOURS>().0);
                for (value, byte) in values.iter_mut().zip(bytes) {
                    *value = std::array::from_fn(|colour| job.table[colour][usize::from(byte[colour])]);
                }
                continue;
            }
            for (tap, value) in line.iter_mut().enumerate() {
                let x = (x + tap / COLOURS).wrapping_sub(left);
                let inside = y < job.height && x < job.width;
                let colour = tap % COLOURS;
                *value = if inside { job.table[colour][usize::from(job.pixels[(y * job.width + x) * COLOURS + colour])] } else { 0.0 };
            }
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
    fn direct(job: &Stem<'_>, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let Window { kernel, stride, .. } = job.window;
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
                        sum += job.table[tap % COLOURS][usize::from(byte)] * weight[tap * bias_len(weight, kernel) + channel];
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
            kernel in 1usize..6, stride in 1usize..4, around in prop::option::of(0usize..4),
        ) {
            let window = Window { kernel, stride, padding: around.map_or(Padding::Same, Padding::Around) };
            prop_assume!(window.is_valid() && window.output(height) > 0 && window.output(width) > 0);
            let (weight, bias) = (numbers(1, depth(window) * channels), numbers(2, channels));
            let pixels: Vec<u8> = (0..height * width * COLOURS).map(|i| (i * 89 % 256) as u8).collect();
            let table = Normalisation { mean: [127.0, 120.0, 3.0], deviation: [128.0, 64.0, 200.0] }.table();
            for isa in Isa::available() {
                let (slab, weights) = alone(isa, Storage::F32, &weight, &bias);
                let job = Stem { pixels: &pixels, height, width, table: &table, window, panels: weights.panels(&slab), bias: weights.bias(), activation: Activation::Relu6 };
                let mut output = vec![f32::NAN; window.output(height) * window.output(width) * channels];
                stem(isa, &Crew::alone(), job, &mut vec![f32::NAN; scratch_len(window)], &mut output);
                assert_close(isa, &output, &direct(&job, &weight, &bias), 1e-5);
            }
        }
    }

    #[test]
    fn the_table_is_the_formula() {
        let table = Normalisation { mean: [127.0, 0.0, 255.0], deviation: [128.0, 255.0, 1.0] }.table();
        assert_eq!((table[0][0], table[0][127], table[0][255]), (-127.0 / 128.0, 0.0, 1.0));
        assert_eq!((table[1][255], table[2][0]), (1.0, -255.0));
    }
}
