//! Word embeddings: the row of each token plus the row of its position.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use super::number::{Number, View};
use crate::plan::Data;
use crate::simd::{Isa, Lanes, dispatch};
use half::f16;

dispatch! {
    /// Writes `words[token] + positions[index]` for each token of one text into `output` (`[tokens, width]`).
    ///
    /// # Panics
    /// When a token has no row: the executor refuses such inputs before.
    pub(crate) fn embed(tokens: &[u32], words: View<'_>, positions: &[f32], width: usize, output: &mut [f32]); embed_scalar, embed_lanes
}

/// [`embed`] with words that may lie in a model's file, also in a way that no register can load.
pub(crate) fn embed_data(isa: Isa, tokens: &[u32], words: &Data, positions: &[f32], width: usize, output: &mut [f32]) {
    if let Some(view) = words.view() {
        return embed(isa, tokens, view, positions, width, output);
    }
    assert_eq!(output.len(), tokens.len() * width, "one row per token");
    for (index, (token, row)) in tokens.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        words.read_row(*token as usize * width, row);
        row.iter_mut().zip(&positions[index * width..][..width]).for_each(|(result, position)| *result += position);
    }
}

fn embed_scalar(tokens: &[u32], words: View<'_>, positions: &[f32], width: usize, output: &mut [f32]) {
    assert_eq!(output.len(), tokens.len() * width, "one row per token");
    for (index, (token, row)) in tokens.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        for (at, (result, position)) in row.iter_mut().zip(&positions[index * width..][..width]).enumerate() {
            *result = words.at(*token as usize * width + at) + position;
        }
    }
}

#[inline(always)]
unsafe fn embed_lanes<S: Lanes>(tokens: &[u32], words: View<'_>, positions: &[f32], width: usize, output: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe {
        match words {
            View::F32(words) => rows::<S, f32>(tokens, words, positions, width, output),
            View::F16(words) => rows::<S, f16>(tokens, words, positions, width, output),
        }
    }
}

#[inline(always)]
unsafe fn rows<S: Lanes, W: Number>(tokens: &[u32], words: &[W], positions: &[f32], width: usize, output: &mut [f32]) {
    assert_eq!(output.len(), tokens.len() * width, "one row per token");
    let full = width / S::WIDTH * S::WIDTH;
    for (index, (token, row)) in tokens.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        let word = &words[*token as usize * width..][..width];
        let position = &positions[index * width..][..width];
        for at in (0..full).step_by(S::WIDTH) {
            // SAFETY: all three rows hold `full` numbers; the caller is compiled for S.
            unsafe { W::load::<S>(word.as_ptr().add(at)).add(S::load(position.as_ptr().add(at))).store(row.as_mut_ptr().add(at)) };
        }
        for at in full..width {
            row[at] = word[at].to_f32() + position[at];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{numbers, variants};
    use crate::plan::{Floats, Stored};
    use half::bf16;
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn variants_equal_the_reference(tokens in prop::collection::vec(0u32..9, 0..12), width in 1usize..60) {
            let (words, positions) = (numbers(1, 9 * width), numbers(2, 12 * width));
            let halves: Vec<f16> = words.iter().map(|word| f16::from_f32(*word)).collect();
            for words in [View::F32(&words), View::F16(&halves)] {
                let run = |isa| {
                    let mut output = vec![f32::NAN; tokens.len() * width];
                    embed(isa, &tokens, words, &positions, width, &mut output);
                    output
                };
                let want = run(Isa::SCALAR);
                for isa in variants() {
                    prop_assert_eq!(run(isa), want.clone());
                }
            }
        }
    }

    #[test]
    fn words_in_a_file_are_the_same_words() {
        let (tokens, width) = ([3, 0, 8, 8], 21);
        let (words, positions) = (numbers(1, 9 * width), numbers(2, 4 * width));
        let run = |words: &Data| {
            let mut output = vec![f32::NAN; tokens.len() * width];
            embed_data(Isa::best(), &tokens, words, &positions, width, &mut output);
            output
        };
        let written: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for skip in 0..4 {
            let bytes: Vec<u8> = vec![0; skip].into_iter().chain(written.clone()).collect();
            let stored = Stored::new(Arc::new(bytes), skip, words.len(), Floats::F32).expect("fits");
            assert_eq!(run(&stored.into()), run(&words.clone().into()));
        }
        let rounded: Vec<bf16> = words.iter().map(|word| bf16::from_f32(*word)).collect();
        let bytes: Vec<u8> = rounded.iter().flat_map(|word| word.to_le_bytes()).collect();
        let stored = Stored::new(Arc::new(bytes), 0, words.len(), Floats::Bf16).expect("fits");
        assert_eq!(run(&stored.into()), run(&rounded.iter().map(|word| word.to_f32()).collect::<Vec<_>>().into()));
    }

    #[test]
    fn a_known_row() {
        let mut output = [0.0; 4];
        embed(Isa::SCALAR, &[1, 0], View::F32(&[1.0, 2.0, 3.0, 4.0]), &[10.0, 20.0, 30.0, 40.0], 2, &mut output);
        assert_eq!(output, [13.0, 24.0, 31.0, 42.0]);
    }
}
