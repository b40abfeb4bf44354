//! Each channel of a map times one number of its item: the last step of squeeze-and-excitation (Hu et al. 2018).
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use crate::simd::{Lanes, dispatch};

dispatch! {
    /// Multiplies each row of `input` (`[positions, factors.len()]`) by `factors` into `output`.
    pub(crate) fn scale(input: &[f32], factors: &[f32], output: &mut [f32]); scale_scalar, scale_lanes
}

fn check(input: &[f32], factors: &[f32], output: &[f32]) {
    assert_eq!(input.len(), output.len(), "one result per number");
    assert!(!factors.is_empty() && input.len().is_multiple_of(factors.len()), "whole rows");
}

fn scale_scalar(input: &[f32], factors: &[f32], output: &mut [f32]) {
    check(input, factors, output);
    for (row, result) in input.chunks_exact(factors.len()).zip(output.chunks_exact_mut(factors.len())) {
        for ((result, value), factor) in result.iter_mut().zip(row).zip(factors) {
            *result = value * factor;
        }
    }
}

#[inline(always)]
unsafe fn scale_lanes<S: Lanes>(input: &[f32], factors: &[f32], output: &mut [f32]) {
    check(input, factors, output);
    let width = factors.len();
    for (row, result) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
        for at in (0..width).step_by(S::WIDTH) {
            let count = (width - at).min(S::WIDTH);
            // SAFETY: all three rows hold `width` floats; the caller is compiled for S.
            unsafe {
                let value = S::load_part(row.as_ptr().add(at), count).mul(S::load_part(factors.as_ptr().add(at), count));
                value.store_part(result.as_mut_ptr().add(at), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{numbers, variants};
    use crate::simd::Isa;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn variants_equal_the_reference(rows in 0usize..9, width in 1usize..70) {
            let (input, factors) = (numbers(1, rows * width), numbers(2, width));
            let run = |isa| {
                let mut output = vec![f32::NAN; rows * width];
                scale(isa, &input, &factors, &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                prop_assert_eq!(run(isa), want.clone());
            }
        }
    }

    #[test]
    fn known_rows() {
        let mut output = [0.0; 4];
        scale(Isa::SCALAR, &[1.0, 2.0, 3.0, 4.0], &[10.0, 0.5], &mut output);
        assert_eq!(output, [10.0, 1.0, 30.0, 2.0]);
    }
}
