//! RaBitQ: one bit a coordinate, relative to a centroid, with two factors that make the estimate unbiased
//! (Gao and Long, SIGMOD 2024, arXiv 2405.12497).
//!
//! With `r = x - c` and signs `s`, `<q - c, r>` is estimated by `w * <q - c, s>`, `w = |r|^2 / |r|_1`. The terms that do not
//! depend on the query join the row's factors, so that one set of tables serves every centroid:
//! `score = <q, c> + factor * (sum over set bits of q - half the sum of q) + addend`.
//! The estimate's standard error is [`error`] for each unit of `|q - c|`.
#![allow(unsafe_code, reason = "kernels over raw rows")]

use super::query::Tables;
use crate::kernels::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// f32 factors of one block: 32 to multiply with, 32 to add.
pub const BLOCK_FACTORS: usize = 2 * BLOCK_ROWS;

/// Bytes of the codes of one block for lean rows of `stride` bytes.
#[must_use]
pub fn block_bytes(stride: usize) -> usize {
    stride / 16 * GROUP_BYTES
}

/// Makes a block hold nothing: every lane scores minus infinity.
pub fn clear(factors: &mut [f32]) {
    factors[..BLOCK_ROWS].fill(0.0);
    factors[BLOCK_ROWS..].fill(f32::NEG_INFINITY);
}

/// Writes a row into lane `lane` of a block whose lane is still zero.
pub fn write(coordinates: &[f32], centroid: &[f32], bias: f32, lane: usize, codes: &mut [u8], factors: &mut [f32]) {
    let (mut square, mut absolute, mut along, mut signed) = (0f32, 0f32, 0f32, 0f32);
    for (index, (value, centre)) in coordinates.iter().zip(centroid).enumerate() {
        let residual = value - centre;
        square += residual * residual;
        absolute += residual.abs();
        along += centre * residual;
        if residual >= 0.0 {
            signed += centre;
            let table = index / 4;
            codes[16 * table + lane % 16] |= 1 << (index % 4 + 4 * (lane / 16));
        } else {
            signed -= centre;
        }
    }
    let weight = if absolute > 0.0 { square / absolute } else { 0.0 };
    factors[lane] = 2.0 * weight;
    factors[BLOCK_ROWS + lane] = along - weight * signed + bias;
}

/// Standard error of a row's estimate for each unit of `|q - c|`: `|r| sqrt((1 - a^2) / (a^2 (d - 1)))` with
/// `a = |r|_1 / (sqrt(d) |r|)`, the cosine of residual and code.
#[must_use]
pub fn error(residual: &[f32]) -> f32 {
    let square: f32 = residual.iter().map(|value| value * value).sum();
    let absolute: f32 = residual.iter().map(|value| value.abs()).sum();
    let dimension = residual.len() as f32;
    if absolute <= 0.0 || dimension < 2.0 {
        return 0.0;
    }
    let cosine_square = absolute * absolute / (dimension * square);
    (square * (1.0 - cosine_square).max(0.0) / (cosine_square * (dimension - 1.0))).sqrt()
}

/// Estimated scores of the rows of one block, without `<q, c>`.
///
/// # Safety
/// `codes` covers the tables' groups and `factors` one block.
#[inline(always)]
pub(crate) unsafe fn estimate<K: Kernels>(codes: *const u8, factors: *const f32, tables: &Tables, out: &mut [f32; BLOCK_ROWS]) {
    let mut sums = [0i32; BLOCK_ROWS];
    // SAFETY: promised by the caller.
    let factors = unsafe {
        K::fast_scan(codes, tables.bytes.as_ptr(), tables.groups, &mut sums);
        std::slice::from_raw_parts(factors, BLOCK_FACTORS)
    };
    for lane in 0..BLOCK_ROWS {
        out[lane] = factors[lane] * (sums[lane] as f32 * tables.scale + tables.base) + factors[BLOCK_ROWS + lane];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::lean::Encoder;
    use crate::codes::{Metric, Prepared, Projection};
    use crate::kernels::{Isa, Task};
    use crate::parallel::Random;

    struct Estimate<'a> {
        codes: &'a [u8],
        factors: &'a [f32],
        tables: &'a Tables,
    }

    impl Task for Estimate<'_> {
        type Output = [f32; BLOCK_ROWS];

        #[inline(always)]
        fn run<K: Kernels>(self) -> [f32; BLOCK_ROWS] {
            let mut out = [0f32; BLOCK_ROWS];
            // SAFETY: one block of codes and factors.
            unsafe { estimate::<K>(self.codes.as_ptr(), self.factors.as_ptr(), self.tables, &mut out) };
            out
        }
    }

    #[test]
    fn estimates_are_unbiased_and_inside_their_error() {
        let dimension = 192;
        let mut random = Random::new(4);
        let rows: Vec<Vec<f32>> = (0..512).map(|_| (0..dimension).map(|_| random.normal()).collect()).collect();
        let projection = Projection::learn(Metric::Dot, dimension, rows.concat(), 1.0, 1, 1, &|| false).expect("not stopped");
        assert_eq!(projection.lean(), dimension, "nothing to leave out");
        let mut encoder = Encoder::new(&projection);
        encoder.set(rows.iter().map(Vec::as_slice));
        encoder.project();
        let mut query = Prepared::new(Metric::Dot, dimension);
        let (mut sum, mut beyond, mut count) = (0f64, 0, 0);
        for _ in 0..20 {
            let values: Vec<f32> = (0..dimension).map(|_| random.normal()).collect();
            query.set(&values).expect("a query");
            query.project(&projection);
            query.tabulate();
            let coordinates = &query.lean.coordinates[..dimension];
            let centroid: Vec<f32> = (0..dimension).map(|_| 0.3 * random.normal()).collect();
            let along: f32 = coordinates.iter().zip(&centroid).map(|(a, b)| a * b).sum();
            let distance = coordinates.iter().zip(&centroid).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
            for block in 0..16 {
                let mut codes = vec![0u8; block_bytes(projection.stride())];
                let mut factors = [0f32; BLOCK_FACTORS];
                clear(&mut factors);
                for lane in 0..BLOCK_ROWS {
                    write(encoder.coordinates(32 * block + lane), &centroid, 0.5, lane, &mut codes, &mut factors);
                }
                let found = Isa::best().run(Estimate { codes: &codes, factors: &factors, tables: &query.tables });
                for (lane, found) in found.iter().enumerate() {
                    let row = encoder.coordinates(32 * block + lane);
                    let truth = coordinates.iter().zip(row).map(|(a, b)| a * b).sum::<f32>() + 0.5;
                    let residual: Vec<f32> = row.iter().zip(&centroid).map(|(a, b)| a - b).collect();
                    let deviation = f64::from((found + along - truth) / (error(&residual) * distance));
                    sum += deviation;
                    beyond += usize::from(deviation.abs() > 2.0);
                    count += 1;
                    assert!(deviation.abs() < 6.0, "{deviation} standard errors");
                }
            }
        }
        // Of normal errors 4.6 % lie beyond two standard errors.
        assert!((sum / f64::from(count)).abs() < 0.1 && beyond * 100 < count as usize * 8, "{sum} {beyond} of {count}");
    }

    #[test]
    fn an_empty_lane_never_wins_and_a_row_at_its_centroid_has_no_error() {
        let mut factors = [1f32; BLOCK_FACTORS];
        clear(&mut factors);
        assert!(factors[BLOCK_ROWS..].iter().all(|addend| *addend == f32::NEG_INFINITY));
        let mut codes = vec![0u8; block_bytes(64)];
        write(&[0.5; 60], &[0.5; 60], -2.0, 31, &mut codes, &mut factors);
        assert_eq!((factors[31], factors[BLOCK_ROWS + 31]), (0.0, -2.0));
        assert_eq!(error(&[0.0; 60]), 0.0);
    }
}
