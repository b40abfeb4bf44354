//! From an embedding, as the house keeps it, to the numbers that are learned from: length 1, then the principal components of the labelled
//! rows, each divided by the root of its deviation (whitened half).

use super::linear::{Matrix, dot, normalise, product};
use crate::random::Random;

/// Rounds of subspace iteration: what separates the kept components from the others has converged by then.
const ROUNDS: usize = 8;
/// Rows that the components are found on, at most.
const ROWS_MAX: usize = 4096;
/// Deviations below this share of the greatest count as this: they are noise.
const DEVIATION_MIN: f32 = 1e-3;

/// What was found on some embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub(crate) dimensions: usize,
    /// `[dimensions]`.
    pub(crate) mean: Vec<f32>,
    /// `[components, dimensions]`, whitening and scale included.
    pub(crate) basis: Vec<f32>,
}

impl Projection {
    /// Finds the components of embeddings of `dimensions` numbers each, fewer where rows are few.
    ///
    /// # Panics
    /// When an embedding has another length or `dimensions` is 0.
    pub fn fit(embeddings: &[&[f32]], dimensions: usize, components: usize) -> Self {
        let step = embeddings.len().div_ceil(ROWS_MAX).max(1);
        let mut centred: Vec<Vec<f32>> = embeddings.iter().step_by(step).map(|embedding| unit(embedding)).collect();
        let rows = centred.len();
        let mut mean = vec![0f64; dimensions];
        centred.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value)));
        let mean: Vec<f32> = mean.into_iter().map(|sum| (sum / rows.max(1) as f64) as f32).collect();
        centred.iter_mut().for_each(|row| row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean));
        let flat = centred.concat();
        let covariance = product(Matrix::transposed(&flat, dimensions), Matrix::rows(&flat, dimensions), [dimensions, rows, dimensions]);
        let components = components.min(dimensions).min(rows.saturating_sub(1)).max(1);
        let mut basis = subspace(&covariance, dimensions, components);
        whiten(&mut basis, &flat, dimensions);
        Self { dimensions, mean, basis }
    }

    /// Numbers of a code.
    pub fn components(&self) -> usize {
        self.basis.len() / self.dimensions.max(1)
    }

    /// The codes of embeddings, of as many numbers as those it was found on: `[rows, components]`.
    ///
    /// # Panics
    /// When an embedding has another length.
    pub fn codes(&self, embeddings: &[&[f32]]) -> Vec<f32> {
        let mut codes = Vec::with_capacity(embeddings.len() * self.components());
        for some in embeddings.chunks(1024) {
            let mut flat = Vec::with_capacity(some.len() * self.dimensions);
            for embedding in some {
                flat.extend(unit(embedding).iter().zip(&self.mean).map(|(value, mean)| value - mean));
            }
            let shape = [some.len(), self.dimensions, self.components()];
            codes.extend(product(Matrix::rows(&flat, self.dimensions), Matrix::transposed(&self.basis, self.dimensions), shape));
        }
        codes
    }
}

fn unit(embedding: &[f32]) -> Vec<f32> {
    let mut unit = embedding.to_vec();
    normalise(&mut unit);
    unit
}

/// The leading eigenvectors of a symmetric matrix, `[components, side]`: subspace iteration.
fn subspace(matrix: &[f32], side: usize, components: usize) -> Vec<f32> {
    let mut random = Random::new(1);
    let mut basis: Vec<f32> = (0..components * side).map(|_| random.signed()).collect();
    orthonormalise(&mut basis, side);
    for _ in 0..ROUNDS {
        basis = product(Matrix::rows(&basis, side), Matrix::rows(matrix, side), [components, side, side]);
        orthonormalise(&mut basis, side);
    }
    basis
}

/// Gram and Schmidt's method, twice over each row; a row that depends on those before becomes zero.
fn orthonormalise(basis: &mut [f32], side: usize) {
    for row in 0..basis.len() / side {
        let (before, rest) = basis.split_at_mut(row * side);
        let own = &mut rest[..side];
        let length = dot(own, own).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(side) {
                let along = dot(own, other) as f32;
                own.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        if dot(own, own).sqrt() > 1e-5 * length && length > 0.0 {
            normalise(own);
        } else {
            own.fill(0.0);
        }
    }
}

/// Divides each component by the root of its deviation, and all by one number so that a code's mean square is 1.
fn whiten(basis: &mut [f32], rows: &[f32], dimensions: usize) {
    let components = basis.len() / dimensions;
    let count = rows.len() / dimensions;
    let codes = product(Matrix::rows(rows, dimensions), Matrix::transposed(basis, dimensions), [count, dimensions, components]);
    let mut deviations = vec![0f64; components];
    for code in codes.chunks_exact(components) {
        deviations.iter_mut().zip(code).for_each(|(sum, value)| *sum += f64::from(value * value));
    }
    let deviations: Vec<f32> = deviations.into_iter().map(|sum| (sum / count.max(1) as f64).sqrt() as f32).collect();
    let least = (deviations.iter().copied().fold(0.0, f32::max) * DEVIATION_MIN).max(1e-12);
    // A code's square is then the sum of the deviations, each over its root, squared.
    let mean_square = deviations.iter().map(|deviation| deviation * deviation / deviation.max(least)).sum::<f32>() / components as f32;
    for (row, deviation) in basis.chunks_exact_mut(dimensions).zip(&deviations) {
        let scale = 1.0 / (deviation.max(least).sqrt() * mean_square.max(1e-12).sqrt());
        row.iter_mut().for_each(|value| *value *= scale);
    }
}
