//! Word embeddings: the row of each token plus the row of its position.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use crate::simd::{Lanes, dispatch};

dispatch! {
    /// Writes `words[token] + positions[index]` for each token of one text into `output` (`[tokens, width]`).
    ///
    /// # Panics
    /// When a token has no row: the executor refuses such inputs before.
    pub(crate) fn embed(tokens: &[u32], words: &[f32], positions: &[f32], width: usize, output: &mut [f32]); embed_scalar, embed_lanes
}

fn embed_scalar(tokens: &[u32], words: &[f32], positions: &[f32], width: usize, output: &mut [f32]) {
    assert_eq!(output.len(), tokens.len() * width, "one row per token");
    for (index, (token, row)) in tokens.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        let word = &words[*token as usize * width..][..width];
        for ((result, word), position) in row.iter_mut().zip(word).zip(&positions[index * width..][..width]) {
            *result = word + position;
        }
    }
}

#[inline(always)]
unsafe fn embed_lanes<S: Lanes>(tokens: &[u32], words: &[f32], positions: &[f32], width: usize, output: &mut [f32]) {
    assert_eq!(output.len(), tokens.len() * width, "one row per token");
    for (index, (token, row)) in tokens.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        let word = &words[*token as usize * width..][..width];
        let position = &positions[index * width..][..width];
        for at in (0..width).step_by(S::WIDTH) {
            let count = (width - at).min(S::WIDTH);
            // SAFETY: all three rows hold `width` floats; the caller is compiled for S.
            unsafe {
                let sum = S::load_part(word.as_ptr().add(at), count).add(S::load_part(position.as_ptr().add(at), count));
                sum.store_part(row.as_mut_ptr().add(at), count);
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
        fn variants_equal_the_reference(tokens in prop::collection::vec(0u32..9, 0..12), width in 1usize..60) {
            let (words, positions) = (numbers(1, 9 * width), numbers(2, 12 * width));
            let run = |isa| {
                let mut output = vec![f32::NAN; tokens.len() * width];
                embed(isa, &tokens, &words, &positions, width, &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                prop_assert_eq!(run(isa), want.clone());
            }
        }
    }

    #[test]
    fn a_known_row() {
        let mut output = [0.0; 4];
        embed(Isa::SCALAR, &[1, 0], &[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0], 2, &mut output);
        assert_eq!(output, [13.0, 24.0, 31.0, 42.0]);
    }
}
