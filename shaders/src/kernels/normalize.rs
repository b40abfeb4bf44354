//! L2 normalisation of each row: `x / max(|x|, epsilon)`, so that a zero row stays zero.

use crate::dot::dot_with;
use crate::simd::Isa;

/// Divides by less than this nowhere.
const EPSILON: f32 = 1e-12;

/// Normalises each row of `input` (`[rows, width]`) into `output`.
pub(crate) fn normalize(isa: Isa, input: &[f32], width: usize, output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "one result per number");
    for (row, result) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
        let scale = 1.0 / dot_with(isa, row, row).sqrt().max(EPSILON);
        for (result, value) in result.iter_mut().zip(row) {
            *result = value * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn rows_have_length_one_and_keep_their_direction(rows in 1usize..5, width in 1usize..70) {
            let input: Vec<f32> = numbers(1, rows * width).iter().map(|x| x + 1.5).collect();
            for isa in Isa::available() {
                let mut output = vec![f32::NAN; input.len()];
                normalize(isa, &input, width, &mut output);
                for (row, result) in input.chunks_exact(width).zip(output.chunks_exact(width)) {
                    let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                    let want: Vec<f32> = row.iter().map(|x| (f64::from(*x) / length) as f32).collect();
                    assert_close(isa, result, &want, 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_zero_row_stays_zero() {
        let mut output = [1.0; 3];
        normalize(Isa::best(), &[0.0; 3], 3, &mut output);
        assert_eq!(output, [0.0; 3]);
    }
}
