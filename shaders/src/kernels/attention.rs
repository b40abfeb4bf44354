//! Self-attention within one item: `softmax(query key^T / sqrt(d)) value`, head by head, over exactly the
//! positions of one item; a causal one looks back only.
#![allow(unsafe_code, reason = "lane operations are unsafe by contract")]

use super::activation::Activation;
use super::gemm::{PANEL_VECTORS, Panels, Product, gemm_lanes, packed_len};
use super::math;
use super::target::Target;
use crate::simd::{Isa, Lanes, dispatch};

/// Rows of scores that are computed, normalised and used while they are in cache.
const SCORE_ROWS: usize = 32;

/// Floats of scratch that [`attention`] needs for `tokens` tokens.
pub(crate) fn scratch_len(isa: Isa, tokens: usize, head_width: usize) -> usize {
    packed_len(isa, head_width, tokens) + packed_len(isa, tokens, head_width) + SCORE_ROWS * tokens
}

/// One item's attention.
#[derive(Clone, Copy)]
pub(crate) struct Attention<'a> {
    /// `[tokens, 3 * heads * head_width]`: all queries, all keys, all values of a token.
    pub(crate) queries_keys_values: &'a [f32],
    pub(crate) heads: usize,
    pub(crate) head_width: usize,
    /// A token sees itself and those before it only.
    pub(crate) is_causal: bool,
}

impl Attention<'_> {
    /// Panics unless the shapes agree; gives the number of tokens.
    fn check(&self, head: usize, output: &Target<'_>) -> usize {
        let width = self.heads * self.head_width;
        assert!(width > 0 && head < self.heads && output.len().is_multiple_of(width), "whole rows");
        assert_eq!(self.queries_keys_values.len(), output.len() * 3, "queries, keys and values of each token");
        output.len() / width
    }
}

dispatch! {
    /// One head's part of `output` (`[tokens, heads * head_width]`); nothing else of it is touched.
    pub(crate) fn attention(job: Attention<'_>, head: usize, scratch: &mut [f32], output: Target<'_>);
    attention_scalar, attention_lanes
}

fn attention_scalar(job: Attention<'_>, head: usize, _scratch: &mut [f32], mut output: Target<'_>) {
    let tokens = job.check(head, &output);
    let Attention { queries_keys_values, heads, head_width, is_causal } = job;
    let width = heads * head_width;
    let part = |token: usize, which: usize| &queries_keys_values[token * 3 * width + which * width + head * head_width..][..head_width];
    for token in 0..tokens {
        let seen = if is_causal { token + 1 } else { tokens };
        let query = part(token, 0);
        let dot = |key: &[f32]| query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
        let scores: Vec<f64> = (0..seen).map(|other| dot(part(other, 1)) / (head_width as f64).sqrt()).collect();
        let greatest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for index in 0..head_width {
            let sum: f64 = weights.iter().enumerate().map(|(other, weight)| weight * f64::from(part(other, 2)[index])).sum();
            // SAFETY: `check` has compared the lengths.
            unsafe { output.as_mut_ptr().add(token * width + head * head_width + index).write((sum / total) as f32) };
        }
    }
}

#[inline(always)]
unsafe fn attention_lanes<S: Lanes>(job: Attention<'_>, head: usize, scratch: &mut [f32], output: Target<'_>) {
    let tokens = job.check(head, &output);
    let Attention { queries_keys_values, heads, head_width, is_causal } = job;
    let width = heads * head_width;
    let stride = 3 * width;
    let padded = |count: usize| count.next_multiple_of(S::WIDTH);
    let (keys, scratch) = scratch.split_at_mut(head_width * padded(tokens));
    let (values, scratch) = scratch.split_at_mut(tokens * padded(head_width));
    let scores = &mut scratch[..SCORE_ROWS * tokens];
    let at = head * head_width;
    let keys = Panels::pack(S::WIDTH, head_width, tokens, keys, |k, token| queries_keys_values[token * stride + width + at + k]);
    let values = Panels::pack(S::WIDTH, tokens, head_width, values, |token, k| queries_keys_values[token * stride + 2 * width + at + k]);
    for first in (0..tokens).step_by(SCORE_ROWS) {
        let rows = SCORE_ROWS.min(tokens - first);
        // Of a causal item, what lies after the last of these rows is seen by none of them.
        let seen_max = if is_causal { (first + rows).next_multiple_of(PANEL_VECTORS * S::WIDTH).min(tokens) } else { tokens };
        let product = Product {
            rows,
            input: &queries_keys_values[first * stride + at..],
            input_stride: stride,
            panels: keys,
            bias: &[],
            activation: Activation::None,
            residual: None,
            output_stride: tokens,
        };
        let scores = &mut scores[..rows * tokens];
        // SAFETY: the caller is compiled for S; of the output, only this head's columns of the rows are written.
        unsafe {
            gemm_lanes::<S>(product, [0, seen_max], Target::new(scores));
            for (index, row) in scores.chunks_exact_mut(tokens).enumerate() {
                let (seen, hidden) = row.split_at_mut(if is_causal { first + index + 1 } else { tokens });
                softmax::<S>(seen, 1.0 / (head_width as f32).sqrt());
                hidden.fill(0.0);
            }
            let product = Product { input: scores, input_stride: tokens, panels: values, output_stride: width, ..product };
            gemm_lanes::<S>(product, [0, head_width], output.copy().skip(first * width + at));
        }
    }
}

/// `softmax(row * scale)` in place, for a positive scale.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn softmax<S: Lanes>(row: &mut [f32], scale: f32) {
    let (full, rest) = row.split_at(row.len() / S::WIDTH * S::WIDTH);
    let greatest = rest.iter().copied().fold(f32::MIN, f32::max);
    // SAFETY: a chunk is at most one register, and of `full` exactly one; the caller is compiled for S.
    unsafe {
        let mut greatest_lanes = S::splat(greatest);
        for chunk in full.chunks_exact(S::WIDTH) {
            greatest_lanes = greatest_lanes.max(S::load(chunk.as_ptr()));
        }
        let greatest = greatest_lanes.max_lane();
        let (scale, offset) = (S::splat(scale), S::splat(-greatest * scale));
        let mut total = 0.0;
        for chunk in row.chunks_mut(S::WIDTH) {
            let weight = math::exp(S::load_part(chunk.as_ptr(), chunk.len()).mul_add(scale, offset));
            weight.store_part(chunk.as_mut_ptr(), chunk.len());
            // Lanes past the end hold garbage: they are read back as zero.
            total += S::load_part(chunk.as_ptr(), chunk.len()).sum();
        }
        let share = S::splat(1.0 / total);
        for chunk in row.chunks_mut(S::WIDTH) {
            S::load_part(chunk.as_ptr(), chunk.len()).mul(share).store_part(chunk.as_mut_ptr(), chunk.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, numbers, variants};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn variants_follow_the_reference(
            tokens in 1usize..70, heads in 1usize..4, head_width in 1usize..100, is_causal: bool, spread in 0.1f32..8.0,
        ) {
            let input: Vec<f32> = numbers(1, tokens * heads * head_width * 3).iter().map(|x| x * spread).collect();
            let run = |isa| {
                let mut output = vec![f32::NAN; tokens * heads * head_width];
                let job = Attention { queries_keys_values: &input, heads, head_width, is_causal };
                let mut scratch = vec![f32::NAN; scratch_len(isa, tokens, head_width)];
                (0..heads).for_each(|head| attention(isa, job, head, &mut scratch, Target::new(&mut output)));
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                assert_close(isa, &run(isa), &want, 1e-4);
            }
        }
    }

    #[test]
    fn one_token_attends_to_itself() {
        for isa in Isa::available() {
            let mut output = [0.0; 2];
            let job = Attention { queries_keys_values: &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0], heads: 1, head_width: 2, is_causal: false };
            attention(isa, job, 0, &mut vec![0.0; scratch_len(isa, 1, 2)], Target::new(&mut output));
            assert_close(isa, &output, &[9.0, 10.0], 1e-6);
        }
    }

    #[test]
    fn the_first_token_of_a_causal_item_sees_only_itself() {
        for isa in Isa::available() {
            let mut output = [0.0; 2];
            let job = Attention { queries_keys_values: &[1.0, 1.0, 3.0, 1.0, 1.0, 7.0], heads: 1, head_width: 1, is_causal: true };
            attention(isa, job, 0, &mut vec![0.0; scratch_len(isa, 2, 1)], Target::new(&mut output));
            assert_close(isa, &output, &[3.0, 5.0], 1e-6);
        }
    }
}
