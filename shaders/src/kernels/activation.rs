//! What follows a product or a convolution, number by number: the curves, in f64 as reference and on vector lanes.
#![allow(unsafe_code, reason = "SIMD loads and stores through raw pointers")]

use super::math;
use crate::simd::Lanes;

/// What is applied to each result before a residual is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// `x relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// All of them, in the order of their declaration.
    pub const ALL: [Activation; 11] = [
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Tanh,
    ];

    /// The reference: computed in f64.
    #[must_use]
    pub fn of(self, value: f32) -> f32 {
        let x = f64::from(value);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hard = (x + 3.0).clamp(0.0, 6.0) / 6.0;
        let result = match self {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Gelu => 0.5 * x * (1.0 + math::erf(x / std::f64::consts::SQRT_2)),
            Activation::GeluTanh => 0.5 * x * (1.0 + (math::GELU_TANH_FACTOR * (x + 0.044_715 * x.powi(3))).tanh()),
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Silu => x * sigmoid(x),
            Activation::HardSwish => x * hard,
            Activation::HardSigmoid => hard,
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        };
        result as f32
    }

    /// The bounds of an activation that only cuts off; `None` for a curve.
    pub(crate) fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Activation::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }
}

/// Applies the activation in place: for kernels that are themselves generic over the lanes.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn activate_lanes<S: Lanes>(activation: Activation, values: &mut [f32]) {
    // One loop for each curve: the choice is made once, not for each register.
    macro_rules! each {
        ($x:ident => $curve:expr) => {{
            let (full, rest) = values.split_at_mut(values.len() / S::WIDTH * S::WIDTH);
            for chunk in full.chunks_exact_mut(S::WIDTH) {
                let $x = S::load(chunk.as_ptr());
                $curve.store(chunk.as_mut_ptr());
            }
            if !rest.is_empty() {
                let $x = S::load_part(rest.as_ptr(), rest.len());
                $curve.store_part(rest.as_mut_ptr(), rest.len());
            }
        }};
    }
    // SAFETY: each chunk is one register, the rest less than one; the caller is compiled for S.
    unsafe {
        let (zero, six) = (S::splat(0.0), S::splat(6.0));
        match activation {
            Activation::None => {}
            Activation::Relu => each!(x => x.max(zero)),
            Activation::Relu6 => each!(x => x.max(zero).min(six)),
            Activation::Gelu => each!(x => math::gelu(x)),
            Activation::GeluTanh => each!(x => math::gelu_tanh(x)),
            Activation::QuickGelu => each!(x => x.mul(math::sigmoid(x.mul(S::splat(1.702))))),
            Activation::Silu => each!(x => x.mul(math::sigmoid(x))),
            Activation::HardSwish => each!(x => x.mul(math::hard_sigmoid(x))),
            Activation::HardSigmoid => each!(x => math::hard_sigmoid(x)),
            Activation::Sigmoid => each!(x => math::sigmoid(x)),
            Activation::Tanh => each!(x => math::tanh(x)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::{assert_close, variants};
    use crate::simd::{Isa, dispatch};
    use proptest::prelude::*;

    dispatch! { fn activate(activation: Activation, values: &mut [f32]); activate_scalar, activate_lanes }

    fn activate_scalar(activation: Activation, values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = activation.of(*value));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn variants_follow_the_reference(
            values in prop::collection::vec(-30f32..30.0, 0..70),
            activation in prop::sample::select(Activation::ALL.to_vec()),
        ) {
            let mut want = values.clone();
            activate(Isa::SCALAR, activation, &mut want);
            for isa in variants() {
                let mut got = values.clone();
                activate(isa, activation, &mut got);
                assert_close(isa, &got, &want, 2e-6);
            }
        }
    }

    #[test]
    fn known_values() {
        // The formulas at 1 and -2, by Python's `math`.
        for (activation, at_one, at_minus_two) in [
            (Activation::None, 1.0, -2.0),
            (Activation::Relu, 1.0, 0.0),
            (Activation::Relu6, 1.0, 0.0),
            (Activation::Gelu, 0.841_344_7, -0.045_500_264),
            (Activation::GeluTanh, 0.841_192, -0.045_402_306),
            (Activation::QuickGelu, 0.845_795_8, -0.064_341_374),
            (Activation::Silu, 0.731_058_6, -0.238_405_84),
            (Activation::HardSwish, 0.666_666_7, -0.333_333_34),
            (Activation::HardSigmoid, 0.666_666_7, 0.166_666_67),
            (Activation::Sigmoid, 0.731_058_6, 0.119_202_92),
            (Activation::Tanh, 0.761_594_2, -0.964_027_6),
        ] {
            for isa in Isa::available() {
                let mut values = [1.0, -2.0];
                activate(isa, activation, &mut values);
                assert_close(isa, &values, &[at_one, at_minus_two], 2e-6);
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for activation in Activation::ALL {
            for isa in Isa::available() {
                let (mut values, mut want) = ([-1e30f32, -200.0, 200.0, 1e30], [-1e30f32, -200.0, 200.0, 1e30]);
                activate(isa, activation, &mut values);
                activate_scalar(activation, &mut want);
                assert_close(isa, &values, &want, 1e-6);
            }
        }
    }
}
