//! The learned projection, shared by all segments of an index that were built with it.
#![allow(unsafe_code, reason = "kernels over raw rows")]

use super::train::{BIAS_BYTES, learn};
use super::{DIMENSION_MAX, Metric, matrix, padded};
use crate::kernels::{Isa, Kernels, Task};
use crate::memory::{Buffer, Column};
use crate::parallel::ShouldStop;

/// Rows that a projection is learned from, at most.
pub const SAMPLE_ROWS_MAX: usize = 8192;

/// Share of the variance that the kept dimensions explain, unless asked otherwise.
pub const SHARE: f32 = 0.9;

const HEADER_BYTES: usize = 64;

/// Why bytes are not a projection.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a projection: {0}")]
pub struct ProjectionError(&'static str);

/// From `dimension` numbers to `lean` coordinates: `basis * (vector - mean)`, rows of the basis orthonormal.
pub struct Projection {
    id: u64,
    metric: Metric,
    dimension: usize,
    lean: usize,
    step: f32,
    /// `padded(dimension)` numbers.
    mean: Vec<f32>,
    /// `lean` rows of `padded(dimension)` numbers.
    basis: Column<f32>,
    /// The basis in 8 bits, rows padded to a multiple of four; one query costs one pass over it.
    codes: Column<u8>,
    codes_step: f32,
    bytes: Column<u8>,
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Projection").field("dimension", &self.dimension).field("lean", &self.lean).finish_non_exhaustive()
    }
}

impl Projection {
    /// Learns from `sample`: rows of [`padded`] `dimension` numbers, normalised by the metric. Keeps `share` of the variance.
    ///
    /// Returns `None` when stopped.
    ///
    /// # Panics
    /// Where the dimension is outside the bounds or the sample is ragged.
    #[must_use]
    pub fn learn(
        metric: Metric,
        dimension: usize,
        sample: Vec<f32>,
        share: f32,
        seed: u64,
        threads: usize,
        should_stop: ShouldStop<'_>,
    ) -> Option<Self> {
        assert!((1..=DIMENSION_MAX).contains(&dimension) && sample.len().is_multiple_of(padded(dimension)), "whole rows in bounds");
        let learned = learn(sample, dimension, share, seed, threads, should_stop)?;
        let mut bytes = Buffer::<u8>::zeroed(HEADER_BYTES + 4 * (learned.mean.len() + learned.basis.len()));
        let metric_code = match metric {
            Metric::Cosine => 0u32,
            Metric::Dot => 1,
            Metric::L2 => 2,
        };
        let header = [metric_code, dimension as u32, learned.lean as u32, learned.step.to_bits()];
        bytes[..16].copy_from_slice(bytemuck::cast_slice(&header));
        let (mean, basis) = bytes[HEADER_BYTES..].split_at_mut(4 * learned.mean.len());
        mean.copy_from_slice(bytemuck::cast_slice(&learned.mean));
        basis.copy_from_slice(bytemuck::cast_slice(&learned.basis));
        Some(Self::from_bytes(bytes.into()).expect("what was learned is well formed"))
    }

    /// Reads what [`Self::bytes`] gave.
    ///
    /// # Errors
    /// [`ProjectionError`] where the bytes are not a projection.
    pub fn from_bytes(bytes: Column<u8>) -> Result<Self, ProjectionError> {
        let words = bytes.cast::<u32>().map_err(|_| ProjectionError("ragged"))?;
        let [metric, dimension, lean, step, ..] = words[..] else { return Err(ProjectionError("too short")) };
        let metric = match metric {
            0 => Metric::Cosine,
            1 => Metric::Dot,
            2 => Metric::L2,
            _ => return Err(ProjectionError("unknown metric")),
        };
        let (dimension, lean, step) = (dimension as usize, lean as usize, f32::from_bits(step));
        if !(1..=DIMENSION_MAX).contains(&dimension) || lean == 0 || lean > dimension {
            return Err(ProjectionError("dimensions out of bounds"));
        }
        if !(step.is_finite() && step > 0.0) {
            return Err(ProjectionError("step out of bounds"));
        }
        let width = padded(dimension);
        if bytes.len() != HEADER_BYTES + 4 * width * (lean + 1) {
            return Err(ProjectionError("wrong length"));
        }
        let numbers = bytemuck::cast_slice::<u32, f32>(&words[HEADER_BYTES / 4..]);
        if !numbers.iter().all(|value| value.is_finite()) {
            return Err(ProjectionError("a number is not finite"));
        }
        let mean = numbers[..width].to_vec();
        let basis = Column::from(Buffer::from_slice(&numbers[width..]));
        let (codes, codes_step) = quantised(&basis, lean, width);
        let id = fingerprint(&words);
        Ok(Self { id, metric, dimension, lean, step, mean, basis, codes, codes_step, bytes })
    }

    /// The projection as bytes: a 64-byte header, the mean, the basis.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A fingerprint of the bytes: equal projections have equal ids.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How rows are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Numbers of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Coordinates kept.
    #[must_use]
    pub fn lean(&self) -> usize {
        self.lean
    }

    /// Bytes of a lean row: a multiple of 64 that holds the codes and the bias.
    #[must_use]
    pub fn stride(&self) -> usize {
        (self.lean + BIAS_BYTES).next_multiple_of(64)
    }

    /// The value of one step of a lean code.
    #[must_use]
    pub fn step(&self) -> f32 {
        self.step
    }

    /// The mean of the sample, padded.
    #[must_use]
    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Exact coordinates of centred, padded rows: `out[i]` holds `lean` numbers.
    pub(crate) fn coordinates(&self, centred: &[f32], out: &mut [f32]) {
        matrix::product(centred, &self.basis, padded(self.dimension), out);
    }

    /// Coordinates of one centred query in 8 bits: `out[..lean]`.
    pub(crate) fn project(&self, query: &[i8], offset: i32, unit: f32, out: &mut [f32]) {
        let width = padded(self.dimension);
        assert!(query.len() == width && out.len() >= self.lean.next_multiple_of(4), "a padded query and room for its coordinates");
        Isa::best().run(Project { codes: &self.codes, width, query, offset, unit: unit * self.codes_step, out });
        out[self.lean..].fill(0.0);
    }

    /// The bias of a row from its centred numbers: what makes `dot + bias` order rows by the metric.
    pub(crate) fn bias(&self, centred: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::L2 => -0.5 * centred.iter().map(|value| value * value).sum::<f32>(),
            Metric::Dot => centred.iter().zip(&self.mean).map(|(value, mean)| value * mean).sum(),
        }
    }
}

struct Project<'a> {
    codes: &'a [u8],
    width: usize,
    query: &'a [i8],
    offset: i32,
    unit: f32,
    out: &'a mut [f32],
}

impl Task for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        for (rows, out) in self.codes.chunks_exact(4 * self.width).zip(self.out.chunks_exact_mut(4)) {
            let first = rows.as_ptr();
            // SAFETY: four rows of `width` codes, and a query of as many.
            let dots = unsafe {
                let lines = [first, first.add(self.width), first.add(2 * self.width), first.add(3 * self.width)];
                K::dot4(lines, self.query.as_ptr(), self.offset, self.width)
            };
            for lane in 0..4 {
                out[lane] = dots[lane] as f32 * self.unit;
            }
        }
    }
}

/// The basis in 8 bits with one step, zero rows behind it.
fn quantised(basis: &[f32], lean: usize, width: usize) -> (Column<u8>, f32) {
    let peak = basis.iter().fold(0f32, |peak, value| peak.max(value.abs()));
    let step = if peak > 0.0 { peak / 127.0 } else { 1.0 };
    let mut codes = Buffer::<u8>::zeroed(lean.next_multiple_of(4) * width);
    codes.fill(128);
    for (code, value) in codes.iter_mut().zip(basis) {
        *code = ((value / step).round() as i32 + 128) as u8;
    }
    (codes.into(), step)
}

/// FNV-1a over words.
fn fingerprint(words: &[u32]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3))
}
