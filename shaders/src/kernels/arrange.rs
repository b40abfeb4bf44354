//! One item's positions as a transformer wants them: learned tokens around them, learned positions added.

use super::elementwise::{Pairwise, pairwise};
use crate::simd::Isa;

/// Writes the rows of `front`, of `input` and of `behind` to `output`, one after the other, row by row plus `positions` (where there
/// are any; as many rows as the output, or more).
pub(crate) fn arrange(isa: Isa, input: &[f32], (front, behind): (&[f32], &[f32]), positions: Option<&[f32]>, output: &mut [f32]) {
    assert_eq!(output.len(), front.len() + input.len() + behind.len(), "the input's rows and those around");
    let mut at = 0;
    for part in [front, input, behind] {
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
        fn all_variants_equal_the_definition(
            rows in 1usize..9,
            width in 1usize..40,
            front in 0usize..3,
            behind in 0usize..4,
            with_positions: bool,
        ) {
            let (input, positions) = (numbers(1, rows * width), numbers(3, (front + rows + behind) * width));
            let (front, behind) = (numbers(2, front * width), numbers(4, behind * width));
            let positions = with_positions.then_some(&positions[..]);
            let mut want = [&front[..], &input, &behind].concat();
            if let Some(positions) = positions {
                want.iter_mut().zip(positions).for_each(|(value, position)| *value += position);
            }
            for isa in Isa::available() {
                let mut output = vec![f32::NAN; want.len()];
                arrange(isa, &input, (&front, &behind), positions, &mut output);
                prop_assert_eq!(&output, &want);
            }
        }
    }
}
