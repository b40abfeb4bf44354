//! Two tensors of one shape, number by number.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use crate::simd::{Lanes, dispatch};

/// What is done with each pair of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairwise {
    /// The sum.
    Add,
    /// The product.
    Multiply,
}

dispatch! {
    /// Combines `left` and `right` into `output`, all of one length.
    pub(crate) fn pairwise(function: Pairwise, left: &[f32], right: &[f32], output: &mut [f32]); pairwise_scalar, pairwise_lanes
}

fn pairwise_scalar(function: Pairwise, left: &[f32], right: &[f32], output: &mut [f32]) {
    assert!(left.len() == right.len() && left.len() == output.len(), "three tensors of one shape");
    for ((result, left), right) in output.iter_mut().zip(left).zip(right) {
        *result = match function {
            Pairwise::Add => left + right,
            Pairwise::Multiply => left * right,
        };
    }
}

#[inline(always)]
unsafe fn pairwise_lanes<S: Lanes>(function: Pairwise, left: &[f32], right: &[f32], output: &mut [f32]) {
    assert!(left.len() == right.len() && left.len() == output.len(), "three tensors of one shape");
    for at in (0..output.len()).step_by(S::WIDTH) {
        let count = (output.len() - at).min(S::WIDTH);
        // SAFETY: `at + count` is within all three; the caller is compiled for S.
        unsafe {
            let (a, b) = (S::load_part(left.as_ptr().add(at), count), S::load_part(right.as_ptr().add(at), count));
            let result = match function {
                Pairwise::Add => a.add(b),
                Pairwise::Multiply => a.mul(b),
            };
            result.store_part(output.as_mut_ptr().add(at), count);
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
        fn variants_equal_the_reference(count in 0usize..100, add: bool) {
            let (left, right) = (numbers(1, count), numbers(2, count));
            let function = if add { Pairwise::Add } else { Pairwise::Multiply };
            let run = |isa| {
                let mut output = vec![f32::NAN; count];
                pairwise(isa, function, &left, &right, &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                prop_assert_eq!(run(isa), want.clone());
            }
        }
    }

    #[test]
    fn known_pairs() {
        let mut output = [0.0; 2];
        pairwise(Isa::SCALAR, Pairwise::Add, &[1.0, 2.0], &[3.0, 4.0], &mut output);
        assert_eq!(output, [4.0, 6.0]);
        pairwise(Isa::SCALAR, Pairwise::Multiply, &[1.0, 2.0], &[3.0, 4.0], &mut output);
        assert_eq!(output, [3.0, 8.0]);
    }
}
