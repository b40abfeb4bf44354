//! A query made ready: every form of it that a strategy reads, in buffers that are used again.

use super::projection::Projection;
use super::{DIMENSION_MAX, Metric, padded};
use crate::kernels::{GROUP_BYTES, Isa, Kernels, Task};
use crate::memory::Buffer;

/// Why a query cannot be asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// The wrong number of numbers.
    #[error("a query of {found} numbers to vectors of {expected}")]
    Dimension {
        /// Numbers given.
        found: usize,
        /// Numbers of a vector.
        expected: usize,
    },
    /// Infinity or not a number.
    #[error("a query must be finite")]
    NotFinite,
}

/// A query in all its forms. Made once a thread, set once a query; segments that share a projection share the work.
pub struct Prepared {
    metric: Metric,
    dimension: usize,
    /// The query, normalised and padded.
    values: Buffer<f32>,
    /// Which projection the fields below belong to.
    projection: Option<u64>,
    centred: Buffer<f32>,
    wide: Buffer<i8>,
    pub(crate) lean: LeanQuery,
    pub(crate) tables: Tables,
    tables_ready: bool,
    pub(crate) exact: ExactTerms,
}

/// The query against lean codes: `score = unit * dot + bias`.
pub(crate) struct LeanQuery {
    /// Coordinates, zero behind the kept ones; `stride` numbers.
    pub(crate) coordinates: Buffer<f32>,
    /// The same in 8 bits.
    pub(crate) codes: Buffer<i8>,
    /// `128 * sum(codes)`.
    pub(crate) offset: i32,
    pub(crate) unit: f32,
    /// The value of one step of `codes`.
    pub(crate) step: f32,
    pub(crate) stride: usize,
}

/// The query against 1-bit codes: sixteen sums for every four coordinates.
pub(crate) struct Tables {
    pub(crate) bytes: Buffer<u8>,
    /// `sum over set bits of q - half the sum of q = scale * entries + base`.
    pub(crate) scale: f32,
    pub(crate) base: f32,
    pub(crate) groups: usize,
}

/// The query against exact rows: `score = factor * (dot + bias) + constant`.
#[derive(Clone, Copy, Default)]
pub(crate) struct ExactTerms {
    pub(crate) factor: f32,
    pub(crate) constant: f32,
}

impl Prepared {
    /// Buffers for queries of `dimension` numbers.
    ///
    /// # Panics
    /// Where the dimension is outside the bounds.
    #[must_use]
    pub fn new(metric: Metric, dimension: usize) -> Self {
        assert!((1..=DIMENSION_MAX).contains(&dimension), "dimension {dimension}");
        let width = padded(dimension);
        let stride_max = width + 64;
        Self {
            metric,
            dimension,
            values: Buffer::zeroed(width),
            projection: None,
            centred: Buffer::zeroed(width),
            wide: Buffer::zeroed(width),
            lean: LeanQuery {
                coordinates: Buffer::zeroed(stride_max),
                codes: Buffer::zeroed(stride_max),
                offset: 0,
                unit: 0.0,
                step: 0.0,
                stride: 0,
            },
            tables: Tables { bytes: Buffer::zeroed(stride_max / 16 * GROUP_BYTES), scale: 0.0, base: 0.0, groups: 0 },
            tables_ready: false,
            exact: ExactTerms::default(),
        }
    }

    /// Takes the next query.
    ///
    /// # Errors
    /// [`QueryError`] for a query of another dimension or with a number that is not finite.
    pub fn set(&mut self, query: &[f32]) -> Result<(), QueryError> {
        if query.len() != self.dimension {
            return Err(QueryError::Dimension { found: query.len(), expected: self.dimension });
        }
        if !query.iter().fold(true, |finite, value| finite & value.is_finite()) {
            return Err(QueryError::NotFinite);
        }
        self.values[..self.dimension].copy_from_slice(query);
        self.metric.normalise(&mut self.values[..self.dimension]);
        self.projection = None;
        Ok(())
    }

    /// Numbers of a query.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How rows are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The query as given, normalised by the metric.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values[..self.dimension]
    }

    /// What an exact row is multiplied with.
    pub(crate) fn exact_values(&self) -> &[f32] {
        match self.metric {
            Metric::Cosine | Metric::Dot => &self.values,
            Metric::L2 => &self.centred,
        }
    }

    /// Fills the lean and exact forms for `projection`, unless they are there already.
    ///
    /// # Panics
    /// Where the projection is of another dimension or metric.
    pub fn project(&mut self, projection: &Projection) {
        if self.projection == Some(projection.id()) {
            return;
        }
        assert!(projection.dimension() == self.dimension && projection.metric() == self.metric, "a query of the projection's space");
        let mut wide = Quantised { offset: 0, step: 0.0 };
        Isa::best().run(Centre { values: &self.values, mean: projection.mean(), centred: &mut self.centred });
        wide.fill(&self.centred, &mut self.wide);
        projection.project(&self.wide, wide.offset, wide.step, &mut self.lean.coordinates);
        let stride = projection.stride();
        let mut lean = Quantised { offset: 0, step: 0.0 };
        lean.fill(&self.lean.coordinates[..stride], &mut self.lean.codes[..stride]);
        self.lean.offset = lean.offset;
        self.lean.step = lean.step;
        self.lean.unit = lean.step * projection.step();
        self.lean.stride = stride;
        self.exact = match self.metric {
            Metric::Cosine | Metric::Dot => ExactTerms { factor: 1.0, constant: dot(&self.values, projection.mean()) },
            Metric::L2 => ExactTerms { factor: 2.0, constant: -dot(&self.centred, &self.centred) },
        };
        self.projection = Some(projection.id());
        self.tables_ready = false;
    }

    /// Fills the lookup tables for 1-bit codes, unless they are there already; [`Self::project`] comes first.
    pub(crate) fn tabulate(&mut self) {
        if !self.tables_ready {
            Isa::best().run(Tabulate { coordinates: &self.lean.coordinates[..self.lean.stride], tables: &mut self.tables });
            self.tables_ready = true;
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    struct Dot<'a>(&'a [f32], &'a [f32]);
    impl Task for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<K: Kernels>(self) -> f32 {
            #[allow(unsafe_code, reason = "kernels over raw rows")]
            // SAFETY: the shorter length bounds both.
            unsafe {
                K::dot_f32(self.0.as_ptr(), self.1.as_ptr(), self.0.len().min(self.1.len()))
            }
        }
    }
    Isa::best().run(Dot(a, b))
}

struct Centre<'a> {
    values: &'a [f32],
    mean: &'a [f32],
    centred: &'a mut [f32],
}

impl Task for Centre<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        for ((centred, value), mean) in self.centred.iter_mut().zip(self.values).zip(self.mean) {
            *centred = value - mean;
        }
    }
}

/// Numbers in 8 bits with one step.
struct Quantised {
    offset: i32,
    step: f32,
}

impl Quantised {
    fn fill(&mut self, values: &[f32], codes: &mut [i8]) {
        (self.offset, self.step) = Isa::best().run(Quantise { values, codes });
    }
}

struct Quantise<'a> {
    values: &'a [f32],
    codes: &'a mut [i8],
}

impl Task for Quantise<'_> {
    type Output = (i32, f32);

    #[inline(always)]
    fn run<K: Kernels>(self) -> (i32, f32) {
        let mut peaks = [0f32; 16];
        for chunk in self.values.chunks_exact(16) {
            for lane in 0..16 {
                peaks[lane] = if chunk[lane].abs() > peaks[lane] { chunk[lane].abs() } else { peaks[lane] };
            }
        }
        let peak = peaks.iter().fold(0f32, |peak, value| peak.max(*value)).max(f32::MIN_POSITIVE * 1024.0);
        let inverse = 127.0 / peak;
        let mut sum = 0i32;
        for (code, value) in self.codes.iter_mut().zip(self.values) {
            // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the sum.
            let rounded = (value * inverse + 12_582_912.0).to_bits() as i32 - 0x4B40_0000;
            *code = rounded as i8;
            sum += rounded;
        }
        (128 * sum, peak / 127.0)
    }
}

struct Tabulate<'a> {
    coordinates: &'a [f32],
    tables: &'a mut Tables,
}

impl Task for Tabulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { coordinates, tables } = self;
        // Entry `e` is the sum of the coordinates whose bit is set in `e`.
        let mut bits = [[0f32; 16]; 4];
        for (bit, lanes) in bits.iter_mut().enumerate() {
            for (entry, lane) in lanes.iter_mut().enumerate() {
                *lane = (entry >> bit & 1) as f32;
            }
        }
        let mut range = 0f32;
        for four in coordinates.chunks_exact(4) {
            range = range.max(four[0].abs() + four[1].abs() + four[2].abs() + four[3].abs());
        }
        let scale = (range / 255.0).max(f32::MIN_POSITIVE * 1024.0);
        let inverse = 1.0 / scale;
        let mut base = -0.5 * coordinates.iter().sum::<f32>();
        for (four, table) in coordinates.chunks_exact(4).zip(tables.bytes.chunks_exact_mut(16)) {
            let least = four[0].min(0.0) + four[1].min(0.0) + four[2].min(0.0) + four[3].min(0.0);
            base += least;
            for (lane, entry) in table.iter_mut().enumerate() {
                let sum = four[0] * bits[0][lane] + four[1] * bits[1][lane] + four[2] * bits[2][lane] + four[3] * bits[3][lane];
                let rounded = ((sum - least) * inverse + 12_582_912.0).to_bits() as i32 - 0x4B40_0000;
                *entry = rounded.clamp(0, 255) as u8;
            }
        }
        (tables.scale, tables.base, tables.groups) = (scale, base, coordinates.len() / 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Random;

    #[test]
    fn queries_of_another_shape_are_refused_and_do_not_disturb_the_next() {
        let mut query = Prepared::new(Metric::Cosine, 3);
        assert_eq!(query.set(&[1.0; 4]), Err(QueryError::Dimension { found: 4, expected: 3 }));
        assert_eq!(query.set(&[1.0, f32::NAN, 0.0]), Err(QueryError::NotFinite));
        assert_eq!(query.set(&[1.0, f32::INFINITY, 0.0]), Err(QueryError::NotFinite));
        assert_eq!(query.set(&[0.0, 3.0, 4.0]), Ok(()));
        assert_eq!(query.values(), [0.0, 0.6, 0.8]);
        assert_eq!(query.set(&[0.0; 3]), Ok(()));
        assert_eq!(query.values(), [0.0; 3]);
    }

    #[test]
    fn eight_bits_round_to_the_nearest_and_give_the_sum() {
        let mut random = Random::new(8);
        let values: Vec<f32> = (0..256).map(|_| random.normal()).collect();
        for isa in Isa::available() {
            let mut codes = vec![0i8; 256];
            let (offset, step) = isa.run(Quantise { values: &values, codes: &mut codes });
            assert_eq!(offset, 128 * codes.iter().map(|code| i32::from(*code)).sum::<i32>());
            assert!(codes.iter().all(|code| *code >= -127) && codes.iter().any(|code| code.abs() == 127));
            assert!(values.iter().zip(&codes).all(|(value, code)| (value - step * f32::from(*code)).abs() <= 0.5001 * step), "{isa:?}");
            let (offset, step) = isa.run(Quantise { values: &[0.0; 64], codes: &mut codes[..64] });
            assert!(offset == 0 && step > 0.0 && codes[..64].iter().all(|code| *code == 0));
        }
    }

    #[test]
    fn projecting_in_eight_bits_is_close_to_projecting() {
        let (dimension, mut random) = (100, Random::new(6));
        let sample: Vec<f32> = (0..500 * padded(dimension))
            .map(|at| {
                if at % padded(dimension) < dimension {
                    random.normal() * if at % padded(dimension) < 40 { 1.0 } else { 0.05 }
                } else {
                    0.0
                }
            })
            .collect();
        let projection = Projection::learn(Metric::L2, dimension, sample, 0.9, 1, 2, &|| false).expect("not stopped");
        assert_eq!(projection.lean(), 60, "forty directions carry the variance");
        let mut query = Prepared::new(Metric::L2, dimension);
        query.set(&(0..dimension).map(|_| random.normal()).collect::<Vec<_>>()).expect("a query");
        query.project(&projection);
        let mut exact = vec![0f32; 60];
        projection.coordinates(&query.centred, &mut exact);
        let error: f32 = exact.iter().zip(&query.lean.coordinates[..]).map(|(a, b)| (a - b) * (a - b)).sum();
        let square: f32 = exact.iter().map(|value| value * value).sum();
        assert!(error < 4e-4 * square, "{error} of {square}");
        assert!(query.lean.coordinates[60..].iter().all(|value| *value == 0.0));
    }
}
