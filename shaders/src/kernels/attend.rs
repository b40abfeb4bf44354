//! Attention pooling: one constant query looks at all positions of an item (the head of SigLIP; Zhai et al. 2023).
#![allow(unsafe_code, reason = "lane operations are unsafe by contract")]

use super::attention::softmax;
use crate::simd::{Lanes, dispatch};

/// Floats of scratch that [`attend`] needs.
pub(crate) fn scratch_len(positions: usize) -> usize {
    positions
}

dispatch! {
    /// For each head, `softmax(query key^T / sqrt(d)) value` over `keys_values` (`[positions, 2 * query.len()]`: all keys, all
    /// values of a position) into `output`, as long as the query.
    pub(crate) fn attend(keys_values: &[f32], query: &[f32], heads: usize, scratch: &mut [f32], output: &mut [f32]);
    attend_scalar, attend_lanes
}

/// Panics unless the shapes agree; gives the number of positions.
fn positions(keys_values: &[f32], query: &[f32], heads: usize, output: &[f32]) -> usize {
    let stride = 2 * query.len();
    assert!(heads > 0 && stride > 0 && query.len().is_multiple_of(heads), "whole heads");
    assert!(!keys_values.is_empty() && keys_values.len().is_multiple_of(stride), "whole rows, at least one");
    assert_eq!(output.len(), query.len(), "one result per number of the query");
    keys_values.len() / stride
}

fn attend_scalar(keys_values: &[f32], query: &[f32], heads: usize, _scratch: &mut [f32], output: &mut [f32]) {
    positions(keys_values, query, heads, output);
    let (width, head_width) = (query.len(), query.len() / heads);
    for head in 0..heads {
        let columns = head * head_width..(head + 1) * head_width;
        let dot = |key: &[f32]| key.iter().zip(&query[columns.clone()]).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>();
        let rows = keys_values.chunks_exact(2 * width);
        let scores: Vec<f64> = rows.clone().map(|row| dot(&row[columns.clone()]) / (head_width as f64).sqrt()).collect();
        let greatest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for column in columns {
            let sum: f64 = weights.iter().zip(rows.clone()).map(|(weight, row)| weight * f64::from(row[width + column])).sum();
            output[column] = (sum / total) as f32;
        }
    }
}

#[inline(always)]
unsafe fn attend_lanes<S: Lanes>(keys_values: &[f32], query: &[f32], heads: usize, scratch: &mut [f32], output: &mut [f32]) {
    let positions = positions(keys_values, query, heads, output);
    let (width, head_width) = (query.len(), query.len() / heads);
    let scores = &mut scratch[..positions];
    for first in (0..width).step_by(head_width) {
        // SAFETY: `first + at + count` stays below `width`, keys lie in the first and values in the second `width` floats of
        // each row; the caller is compiled for S.
        unsafe {
            for (score, row) in scores.iter_mut().zip(keys_values.chunks_exact(2 * width)) {
                let mut sum = S::splat(0.0);
                for at in (0..head_width).step_by(S::WIDTH) {
                    let count = (head_width - at).min(S::WIDTH);
                    let key = S::load_part(row.as_ptr().add(first + at), count);
                    sum = key.mul_add(S::load_part(query.as_ptr().add(first + at), count), sum);
                }
                *score = sum.sum();
            }
            softmax::<S>(scores, 1.0 / (head_width as f32).sqrt());
            for at in (0..head_width).step_by(S::WIDTH) {
                let count = (head_width - at).min(S::WIDTH);
                let mut sum = S::splat(0.0);
                for (score, row) in scores.iter().zip(keys_values.chunks_exact(2 * width)) {
                    sum = S::splat(*score).mul_add(S::load_part(row.as_ptr().add(width + first + at), count), sum);
                }
                sum.store_part(output.as_mut_ptr().add(first + at), count);
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
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn variants_follow_the_reference(positions in 1usize..70, heads in 1usize..4, head_width in 1usize..100, spread in 0.1f32..8.0) {
            let width = heads * head_width;
            let keys_values: Vec<f32> = numbers(1, positions * width * 2).iter().map(|x| x * spread).collect();
            let query = numbers(2, width);
            let run = |isa| {
                let mut output = vec![f32::NAN; width];
                attend(isa, &keys_values, &query, heads, &mut vec![f32::NAN; scratch_len(positions)], &mut output);
                output
            };
            let want = run(Isa::SCALAR);
            for isa in variants() {
                assert_close(isa, &run(isa), &want, 1e-4);
            }
        }
    }

    #[test]
    fn equal_keys_give_the_mean_of_the_values() {
        for isa in Isa::available() {
            let mut output = [0.0];
            attend(isa, &[1.0, 4.0, 1.0, 8.0], &[3.0], 1, &mut [0.0; 2], &mut output);
            assert_close(isa, &output, &[6.0], 1e-6);
        }
    }
}
