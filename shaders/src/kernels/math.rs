//! Exponential, GELU and their relatives on vector lanes, and the error function in f64 that the references need.
#![allow(unsafe_code, reason = "lane operations are unsafe by contract")]

use crate::simd::Lanes;

/// `e^x`, relative error below 2e-7; arguments are clamped to where the result is a normal number.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Lanes>(x: S) -> S {
    // SAFETY: the caller is compiled for S.
    unsafe {
        let x = x.max(S::splat(-87.3)).min(S::splat(88.0));
        let whole = x.mul(S::splat(std::f32::consts::LOG2_E)).round();
        // ln 2 in two parts, so that the remainder is exact.
        let rest = whole.mul_add(S::splat(-0.693_359_4), x);
        let rest = whole.mul_add(S::splat(2.121_944_4e-4), rest);
        let mut sum = S::splat(1.0 / 5040.0);
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum.mul_add(rest, S::splat(factor));
        }
        sum.mul(whole.exp2_whole())
    }
}

/// GELU with the exact error function (Abramowitz and Stegun 7.1.26, absolute error of erf below 1.5e-7).
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn gelu<S: Lanes>(x: S) -> S {
    const FACTORS: [f32; 4] = [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6];
    // SAFETY: the caller is compiled for S.
    unsafe {
        let zero = S::splat(0.0);
        let size = x.max(zero.sub(x));
        let z = size.mul(S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::splat(1.0).div(z.mul_add(S::splat(0.327_591_1), S::splat(1.0)));
        let mut sum = S::splat(1.061_405_4);
        for factor in FACTORS {
            sum = sum.mul_add(t, S::splat(factor));
        }
        let tail = sum.mul(t).mul(exp(zero.sub(z.mul(z))));
        // x (1 + erf(x/sqrt 2)) / 2, written with the complement so that no sign is needed.
        x.max(zero).sub(size.mul(S::splat(0.5)).mul(tail))
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Lanes>(x: S) -> S {
    // SAFETY: the caller is compiled for S.
    unsafe {
        let one = S::splat(1.0);
        one.div(one.add(exp(S::splat(0.0).sub(x))))
    }
}

/// `relu6(x + 3) / 6`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn hard_sigmoid<S: Lanes>(x: S) -> S {
    // SAFETY: the caller is compiled for S.
    unsafe { x.add(S::splat(3.0)).max(S::splat(0.0)).min(S::splat(6.0)).mul(S::splat(1.0 / 6.0)) }
}

/// `tanh(x)`, absolute error below 2e-7.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn tanh<S: Lanes>(x: S) -> S {
    // SAFETY: the caller is compiled for S.
    unsafe {
        let one = S::splat(1.0);
        one.sub(S::splat(2.0).div(exp(x.add(x)).add(one)))
    }
}

/// sqrt(2 / pi).
pub(crate) const GELU_TANH_FACTOR: f64 = 0.797_884_560_802_865_4;

/// GELU by the hyperbolic tangent: `x (1 + tanh(u)) / 2` is `x sigmoid(2 u)`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn gelu_tanh<S: Lanes>(x: S) -> S {
    // SAFETY: the caller is compiled for S.
    unsafe {
        let inner = x.mul(x).mul_add(S::splat(0.044_715), S::splat(1.0)).mul(x);
        x.mul(sigmoid(inner.mul(S::splat((2.0 * GELU_TANH_FACTOR) as f32))))
    }
}

/// erf by `2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!` (Abramowitz and Stegun 7.1.6); exactly ±1 beyond 6 in f64.
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
        if term.abs() < 1e-17 * sum.abs() {
            break;
        }
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::compare::variants;
    use crate::simd::dispatch;
    use proptest::prelude::*;

    dispatch! { fn exp_in_place(values: &mut [f32]); exp_scalar, exp_lanes }

    fn exp_scalar(values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = f64::from(*value).exp() as f32);
    }

    #[inline(always)]
    unsafe fn exp_lanes<S: Lanes>(values: &mut [f32]) {
        for chunk in values.chunks_mut(S::WIDTH) {
            // SAFETY: a chunk is at most one register; the caller is compiled for S.
            unsafe { exp(S::load_part(chunk.as_ptr(), chunk.len())).store_part(chunk.as_mut_ptr(), chunk.len()) }
        }
    }

    #[test]
    fn erf_at_known_points() {
        for (x, want) in
            [(0.0, 0.0), (0.5, 0.520_499_877_813_046_5), (-1.0, -0.842_700_792_949_714_9), (3.0, 0.999_977_909_503_001_4), (9.0, 1.0)]
        {
            assert!((erf(x) - want).abs() < 1e-14, "{x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn exponentials_follow_the_reference(values in prop::collection::vec(-80f32..80.0, 0..70)) {
            for isa in variants() {
                let (mut want, mut got) = (values.clone(), values.clone());
                exp_scalar(&mut want);
                exp_in_place(isa, &mut got);
                for (got, want) in got.iter().zip(&want) {
                    prop_assert!((got / want - 1.0).abs() < 1e-6, "{} {got} {want}", isa.name());
                }
            }
        }
    }

    #[test]
    fn exponentials_of_extremes_stay_finite() {
        for isa in variants() {
            let mut values = [-1e30f32, 80.0, 1e30];
            exp_in_place(isa, &mut values);
            assert!(values.iter().all(|value| value.is_finite() && *value > 0.0));
        }
    }
}
