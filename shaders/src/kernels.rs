//! The kernels that plans are made of, one file each: the scalar reference, the vector variant, and their comparison.

pub(crate) mod activation;
pub(crate) mod arrange;
pub(crate) mod attend;
pub(crate) mod attention;
pub(crate) mod chain;
pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod embed;
pub(crate) mod gemm;
pub(crate) mod layernorm;
pub(crate) mod math;
pub(crate) mod normalize;
pub(crate) mod number;
pub(crate) mod pool;
pub(crate) mod scale;
pub(crate) mod stem;
pub(crate) mod take;
pub(crate) mod target;
pub(crate) mod weights;
pub(crate) mod window;

/// What every comparison of a variant with its scalar reference shares.
#[cfg(test)]
pub(crate) mod compare {
    use crate::simd::Isa;

    /// Asserts that `got` follows `want` within `tolerance`, relative above 1 and absolute below.
    pub(crate) fn assert_close(isa: Isa, got: &[f32], want: &[f32], tolerance: f32) {
        assert_eq!(got.len(), want.len());
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            let limit = tolerance * want.abs().max(1.0);
            assert!((got - want).abs() <= limit, "{} at {index}: {got}, reference {want}", isa.name());
        }
    }

    /// The variants that are not the reference.
    pub(crate) fn variants() -> impl Iterator<Item = Isa> {
        Isa::available().into_iter().filter(|isa| *isa != Isa::SCALAR)
    }

    /// `count` reproducible numbers in -1..1.
    pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}
