//! Learns a projection: the leading principal directions of a sample, turned at random.

use super::matrix::{orthonormalise, product_parallel, random_rotation, transpose};
use super::padded;
use crate::parallel::{Random, ShouldStop};

/// Principal directions looked for; data that needs more keeps all of its dimensions.
const DIRECTIONS_MAX: usize = 512;

/// Rounds of orthogonal iteration, two products each.
const ROUNDS: usize = 4;

/// Bytes of a lean row that hold its bias.
pub(super) const BIAS_BYTES: usize = 4;

/// What [`learn`] found.
pub(super) struct Learned {
    pub(super) mean: Vec<f32>,
    /// `lean` rows of `padded(dimension)` numbers.
    pub(super) basis: Vec<f32>,
    pub(super) lean: usize,
    /// The value of one step of an 8-bit code.
    pub(super) step: f32,
}

/// Learns from `sample`, rows of `padded(dimension)` numbers, as many dimensions as explain `share` of the variance.
/// `None` when stopped.
pub(super) fn learn(
    mut sample: Vec<f32>,
    dimension: usize,
    share: f32,
    seed: u64,
    threads: usize,
    should_stop: ShouldStop<'_>,
) -> Option<Learned> {
    let width = padded(dimension);
    let mut random = Random::new(seed);
    let mean = centre(&mut sample, width);
    let basis = match leading(&sample, dimension, share, &mut random, threads, should_stop)? {
        Some(directions) => turned(&directions, width, threads, &mut random, should_stop)?,
        None => random_rotation(dimension, dimension, width, &mut random),
    };
    let lean = basis.len() / width;
    let coordinates = product_parallel(&sample, &basis, width, threads, should_stop)?;
    Some(Learned { mean, basis, lean, step: step(coordinates) })
}

/// Subtracts the mean of the rows and returns it.
fn centre(sample: &mut [f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for row in sample.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = (sample.len() / width).max(1) as f64;
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    for row in sample.chunks_exact_mut(width) {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    }
    mean
}

/// The directions of largest variance, as many as explain `share` of it and fill whole cache lines; `Some(None)` when that takes
/// all dimensions, `None` when stopped.
#[allow(clippy::option_option, reason = "stopped and not worth it are two answers")]
fn leading(
    sample: &[f32],
    dimension: usize,
    share: f32,
    random: &mut Random,
    threads: usize,
    should_stop: ShouldStop<'_>,
) -> Option<Option<Vec<f32>>> {
    let width = padded(dimension);
    if sample.is_empty() {
        return Some(None);
    }
    let candidates = dimension.min(DIRECTIONS_MAX);
    let columns = transpose(sample, width);
    let covariance = product_parallel(&columns, &columns, columns.len() / width, threads, should_stop)?;
    drop(columns);
    let total: f64 = (0..width).map(|index| f64::from(covariance[index * width + index])).sum();
    if total <= 0.0 || !total.is_finite() {
        return Some(None);
    }
    let mut directions = random_rotation(candidates, dimension, width, random);
    for _ in 0..ROUNDS {
        directions = product_parallel(&directions, &covariance, width, threads, should_stop)?;
        directions = product_parallel(&directions, &covariance, width, threads, should_stop)?;
        orthonormalise(&mut directions, width, dimension, random);
    }
    let images = product_parallel(&directions, &covariance, width, threads, should_stop)?;
    let variances = directions
        .chunks_exact(width)
        .zip(images.chunks_exact(width))
        .map(|(direction, image)| direction.iter().zip(image).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>());
    let mut explained = 0.0;
    let mut kept = None;
    for (index, variance) in variances.enumerate() {
        explained += variance;
        if (index + 1 + BIAS_BYTES).is_multiple_of(64) && explained >= f64::from(share) * total {
            kept = Some(index + 1);
            break;
        }
    }
    Some(kept.filter(|kept| *kept < dimension).map(|kept| {
        directions.truncate(kept * width);
        directions
    }))
}

/// The same subspace in a random orthonormal basis.
fn turned(directions: &[f32], width: usize, threads: usize, random: &mut Random, should_stop: ShouldStop<'_>) -> Option<Vec<f32>> {
    let count = directions.len() / width;
    let inner = count.next_multiple_of(16);
    let rotation = random_rotation(count, count, inner, random);
    product_parallel(&rotation, &transpose(directions, width), inner, threads, should_stop)
}

/// The step that lets all but one in 5,000 coordinates fit 8 bits.
fn step(coordinates: Vec<f32>) -> f32 {
    let mut magnitudes: Vec<f32> = coordinates.into_iter().map(f32::abs).filter(|value| value.is_finite()).collect();
    if magnitudes.is_empty() {
        return 1.0;
    }
    let rank = magnitudes.len() - 1 - magnitudes.len() / 5_000;
    let (_, peak, _) = magnitudes.select_nth_unstable_by(rank, f32::total_cmp);
    if *peak > 0.0 { *peak / 127.0 } else { 1.0 }
}
