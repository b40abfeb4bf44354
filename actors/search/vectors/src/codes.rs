//! Codes: what a vector becomes in memory.
//!
//! 1. A [`Projection`] learned from the data keeps the few directions that carry the variance and turns them at random, so
//!    that no coordinate stands out (Tepper et al., "LeanVec", arXiv 2312.16335). Embeddings of 1,280 numbers keep their
//!    neighbours in under 200.
//! 2. **Lean codes**: one byte a kept coordinate, and the row's bias; what the graph walk and the gather read.
//! 3. **1-bit codes** of the kept coordinates in FastScan blocks of 32 (Gao and Long, "RaBitQ", SIGMOD 2024); what scans read.
//! 4. **Exact rows**: 16-bit fixed point of the whole vector with the row's own scale; the last rerank and the exact scan.
//!
//! One score serves all metrics, higher is better: `dot(query, row) + bias(row)`.

pub mod binary;
pub mod exact;
pub mod lean;
pub(crate) mod matrix;
pub mod projection;
pub mod query;
mod train;

pub use projection::Projection;
pub use query::{Prepared, QueryError};

/// The least and largest number of dimensions.
pub const DIMENSION_MIN: usize = 1;
/// See [`DIMENSION_MIN`].
pub const DIMENSION_MAX: usize = 2048;

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Cosine of the angle. Rows and queries are brought to unit length; a zero vector stays zero and scores 0.
    Cosine,
    /// Inner product.
    Dot,
    /// Euclidean distance; the score is the negated squared distance.
    L2,
}

impl Metric {
    /// Brings `vector` to the form in which it is stored and asked for.
    pub fn normalise(self, vector: &mut [f32]) {
        if self == Self::Cosine {
            // Eight sums, so that additions need not wait for one another.
            let mut sums = [0f64; 8];
            for eight in vector.chunks(8) {
                for (sum, value) in sums.iter_mut().zip(eight) {
                    *sum += f64::from(*value) * f64::from(*value);
                }
            }
            let norm = sums.iter().sum::<f64>().sqrt();
            if norm > 0.0 && norm.is_finite() {
                let inverse = (1.0 / norm) as f32;
                vector.iter_mut().for_each(|value| *value *= inverse);
            }
        }
    }
}

/// The f32 numbers of a padded row: a multiple of 64.
pub(crate) const fn padded(dimension: usize) -> usize {
    dimension.next_multiple_of(64)
}
