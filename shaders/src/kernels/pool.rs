//! Mean over positions: a map's average pooling, and the mean over the tokens of one text.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use crate::simd::{Lanes, dispatch};

dispatch! {
    /// Writes the mean of the rows of `input` (`[positions, output.len()]`, at least one) to `output`.
    pub(crate) fn mean(input: &[f32], output: &mut [f32]); mean_scalar, mean_lanes
}

fn positions(input: &[f32], output: &[f32]) -> usize {
    assert!(!output.is_empty() && !input.is_empty() && input.len().is_multiple_of(output.len()), "whole rows, at least one");
    input.len() / output.len()
}

fn mean_scalar(input: &[f32], output: &mut [f32]) {
    let count = positions(input, output);
    for (column, result) in output.iter_mut().enumerate() {
        *result = (input.iter().skip(column).step_by(input.len() / count).map(|x| f64::from(*x)).sum::<f64>() / count as f64) as f32;
    }
}

#[inline(always)]
unsafe fn mean_lanes<S: Lanes>(input: &[f32], output: &mut [f32]) {
    let count = positions(input, output);
    let width = output.len();
    for column in (0..width).step_by(S::WIDTH) {
        let part = (width - column).min(S::WIDTH);
        // SAFETY: `column + part <= width`, and `count` rows of `width` floats exist; the caller is compiled for S.
        unsafe {
            let mut sum = S::splat(0.0);
            for row in 0..count {
                sum = sum.add(S::load_part(input.as_ptr().add(row * width + column), part));
            }
            sum.mul(S::splat(1.0 / count as f32)).store_part(output.as_mut_ptr().add(column), part);
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
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn variants_follow_the_reference(rows in 1usize..60, width in 1usize..70) {
            let input = numbers(1, rows * width);
            let (mut want, mut got) = (vec![0.0; width], vec![f32::NAN; width]);
            mean(Isa::SCALAR, &input, &mut want);
            for isa in variants() {
                mean(isa, &input, &mut got);
                assert_close(isa, &got, &want, 1e-6);
            }
        }
    }

    #[test]
    fn a_known_mean() {
        let mut output = [0.0; 2];
        mean(Isa::SCALAR, &[1.0, 2.0, 3.0, 6.0], &mut output);
        assert_eq!(output, [2.0, 4.0]);
    }
}
