//! `syn-v1`: vectors that are as hard to search as those of a picture model, made from a seed and the same on every machine up to
//! rounding. A skewed mixture of Gaussians in a small latent space goes through a tanh layer and a linear one, all vectors share
//! an offset, and a little noise keeps them from lying on a plane.

use std::f64::consts::TAU;

const LATENT: usize = 24;
const HIDDEN: usize = 256;
const CLUSTER_ROWS: usize = 2000;
const CLUSTERS_MIN: usize = 16;
const CLUSTER_SIGMA: f32 = 0.7;
const GAIN: f32 = 1.2;
const NOISE: f32 = 0.1;
const OFFSET: f32 = 0.6;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const STREAM: u64 = 0xD1B5_4A32_D192_ED03;

/// The finaliser of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Random numbers that are a function of (seed, stream, index).
#[derive(Clone, Copy, Debug)]
struct Counter(u64);

impl Counter {
    fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed.wrapping_mul(GOLDEN).wrapping_add(stream.wrapping_mul(STREAM))))
    }

    /// In (0, 1).
    fn uniform(self, index: u64) -> f64 {
        let bits = mix(self.0.wrapping_add((index + 1).wrapping_mul(GOLDEN)));
        ((bits >> 11) as f64 + 0.5) * 2f64.powi(-53)
    }

    /// Standard normal numbers from an even index on.
    fn gaussians(self, start: u64, out: &mut [f32]) {
        for (pair, out) in out.chunks_mut(2).enumerate() {
            let index = start + 2 * pair as u64;
            let (radius, angle) = ((-2.0 * self.uniform(index).ln()).sqrt(), TAU * self.uniform(index + 1));
            out[0] = (radius * angle.cos()) as f32;
            if let Some(second) = out.get_mut(1) {
                *second = (radius * angle.sin()) as f32;
            }
        }
    }

    fn gaussian_vec(self, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        self.gaussians(0, &mut values);
        values
    }
}

/// A set of `total` unit vectors.
#[derive(Debug)]
pub struct Synthetic {
    dimensions: usize,
    first_layer: Vec<f32>,
    second_layer: Vec<f32>,
    centres: Vec<f32>,
    offset: Vec<f32>,
    cluster: Counter,
    latent: Counter,
    noise: Counter,
}

impl Synthetic {
    /// `total` vectors (rows and queries together) of an even number of dimensions.
    pub fn new(dimensions: usize, total: usize, seed: u64) -> Self {
        let stream = |stream| Counter::new(seed, stream);
        let scaled = |stream: u64, count: usize, scale: f32| {
            Counter::new(seed, stream).gaussian_vec(count).into_iter().map(|value| value * scale).collect::<Vec<f32>>()
        };
        let clusters = CLUSTERS_MIN.max(total / CLUSTER_ROWS);
        Self {
            dimensions,
            first_layer: scaled(1, LATENT * HIDDEN, 1.0 / (LATENT as f32).sqrt()),
            second_layer: scaled(2, HIDDEN * dimensions, 1.0 / (HIDDEN as f32).sqrt()),
            centres: stream(3).gaussian_vec(clusters * LATENT),
            offset: scaled(7, dimensions, OFFSET),
            cluster: stream(4),
            latent: stream(5),
            noise: stream(6),
        }
    }

    /// Numbers in a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Vector `index` of the set.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        let clusters = self.centres.len() / LATENT;
        let cluster = ((clusters as f64 * self.cluster.uniform(index as u64).powf(1.5)) as usize).min(clusters - 1);
        let mut latent = [0.0; LATENT];
        self.latent.gaussians((index * LATENT) as u64, &mut latent);
        let mut hidden = [0.0; HIDDEN];
        for ((value, centre), weights) in latent.iter().zip(&self.centres[cluster * LATENT..]).zip(self.first_layer.chunks_exact(HIDDEN)) {
            add_scaled(&mut hidden, weights, centre + CLUSTER_SIGMA * value);
        }
        self.noise.gaussians((index * self.dimensions) as u64, out);
        out.iter_mut().zip(&self.offset).for_each(|(value, offset)| *value = NOISE * *value + offset);
        for (value, weights) in hidden.iter().zip(self.second_layer.chunks_exact(self.dimensions)) {
            add_scaled(out, weights, (GAIN * value).tanh());
        }
        let norm = out.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        out.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

fn add_scaled(out: &mut [f32], row: &[f32], scale: f32) {
    out.iter_mut().zip(row).for_each(|(out, value)| *out += value * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unit_vectors_that_share_an_offset_and_depend_on_the_seed_alone() {
        let (set, again, other) = (Synthetic::new(64, 5000, 42), Synthetic::new(64, 5000, 42), Synthetic::new(64, 5000, 43));
        let row = |set: &Synthetic, index: usize| {
            let mut out = vec![0.0; 64];
            set.row(index, &mut out);
            out
        };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert_eq!(row(&set, 7), row(&again, 7));
        assert_ne!(row(&set, 7), row(&other, 7));
        let rows: Vec<_> = (0..200).map(|index| row(&set, index)).collect();
        assert!(rows.iter().all(|row| (dot(row, row) - 1.0).abs() < 1e-5));
        let pairs: Vec<f32> = (0..100).map(|at| dot(&rows[at], &rows[at + 100])).collect();
        let mean = pairs.iter().sum::<f32>() / 100.0;
        assert!((0.25..0.65).contains(&mean), "the mean cosine of strangers is {mean}");
    }
}
