//! Layer normalisation of each row: `(x - mean) / sqrt(variance + epsilon) * gain + shift`.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use crate::simd::{Lanes, dispatch};

dispatch! {
    /// Normalises each row of `input` (`[rows, gain.len()]`) into `output`.
    pub(crate) fn layernorm(input: &[f32], gain: &[f32], shift: &[f32], epsilon: f32, output: &mut [f32]); layernorm_scalar, layernorm_lanes
}

fn check(input: &[f32], gain: &[f32], shift: &[f32], output: &[f32]) {
    assert_eq!(input.len(), output.len(), "one result per number");
    assert_eq!(gain.len(), shift.len(), "gain and shift of one width");
    assert!(!gain.is_empty() && input.len().is_multiple_of(gain.len()), "whole rows");
}

fn layernorm_scalar(input: &[f32], gain: &[f32], shift: &[f32], epsilon: f32, output: &mut [f32]) {
    check(input, gain, shift, output);
    let width = gain.len();
    for (row, result) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        for (column, result) in result.iter_mut().enumerate() {
            *result = ((f64::from(row[column]) - mean) * scale) as f32 * gain[column] + shift[column];
        }
    }
}

#[inline(always)]
unsafe fn layernorm_lanes<S: Lanes>(input: &[f32], gain: &[f32], shift: &[f32], epsilon: f32, output: &mut [f32]) {
    check(input, gain, shift, output);
    let width = gain.len();
    let full = width / S::WIDTH * S::WIDTH;
    let rest = width - full;
    for (row, result) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
        let (row, result) = (row.as_ptr(), result.as_mut_ptr());
        // SAFETY: `row`, `result`, `gain` and `shift` hold `width` floats; the caller is compiled for S.
        unsafe {
            let mut sum = S::load_part(row.add(full), rest);
            for at in (0..full).step_by(S::WIDTH) {
                sum = sum.add(S::load(row.add(at)));
            }
            let mean = sum.sum() / width as f32;
            let mean_lanes = S::splat(mean);
            let mut squares = S::splat(0.0);
            for at in (0..full).step_by(S::WIDTH) {
                let difference = S::load(row.add(at)).sub(mean_lanes);
                squares = difference.mul_add(difference, squares);
            }
            let mut variance = squares.sum();
            for at in full..width {
                variance += (*row.add(at) - mean).powi(2);
            }
            let scale = S::splat(1.0 / (variance / width as f32 + epsilon).sqrt());
            for at in (0..width).step_by(S::WIDTH) {
                let count = (width - at).min(S::WIDTH);
                let value = S::load_part(row.add(at), count).sub(mean_lanes).mul(scale);
                let value = value.mul_add(S::load_part(gain.as_ptr().add(at), count), S::load_part(shift.as_ptr().add(at), count));
                value.store_part(result.add(at), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers, variants};
    use crate::simd::Isa;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn variants_follow_the_reference(rows in 0usize..6, width in 1usize..100, offset in -3f32..3.0) {
            let input: Vec<f32> = numbers(1, rows * width).iter().map(|x| x + offset).collect();
            let (gain, shift) = (numbers(2, width), numbers(3, width));
            let run = |isa| {
                let mut output = vec![f32::NAN; rows * width];
                layernorm(isa, &input, &gain, &shift, 1e-5, &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                assert_close(isa, &run(isa), &want, 1e-4);
            }
        }
    }

    #[test]
    fn a_known_row() {
        let mut output = [0.0; 2];
        layernorm(Isa::SCALAR, &[1.0, 3.0], &[2.0, 2.0], &[0.0, 1.0], 0.0, &mut output);
        assert_eq!(output, [-2.0, 3.0]);
    }
}
