//! One item's positions as a transformer wants them: a learned token in front, learned positions added.

use super::elementwise::{Pairwise, pairwise};
use crate::simd::Isa;

/// Writes `first` (where there is one) and then the rows of `input` (`[rows, width]`) to `output`, row by row plus `positions`
/// (where there are any; as many rows as the output, or more).
pub(crate) fn arrange(isa: Isa, input: &[f32], first: Option<&[f32]>, positions: Option<&[f32]>, output: &mut [f32]) {
    let front = first.unwrap_or(&[]);
    assert_eq!(output.len(), front.len() + input.len(), "the first row and the input's");
    let mut at = 0;
    for part in [front, input] {
        let result = &mut output[at..at + part.len()];
        match positions {
            Some(positions) => pairwise(isa, Pairwise::Add, part, &positions[at..at + part.len()], result),
            None => result.copy_from_slice(part),
        }
        at += part.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::numbers;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn all_variants_equal_the_definition(rows in 1usize..9, width in 1usize..40, with_first: bool, with_positions: bool) {
            let (input, first, positions) = (numbers(1, rows * width), numbers(2, width), numbers(3, (rows + 1) * width));
            let (first, positions) = (with_first.then_some(&first[..]), with_positions.then_some(&positions[..]));
            let mut want = [first.unwrap_or(&[]), &input].concat();
            if let Some(positions) = positions {
                want.iter_mut().zip(positions).for_each(|(value, position)| *value += position);
            }
            for isa in Isa::available() {
                let mut output = vec![f32::NAN; want.len()];
                arrange(isa, &input, first, positions, &mut output);
                prop_assert_eq!(&output, &want);
            }
        }
    }
}
