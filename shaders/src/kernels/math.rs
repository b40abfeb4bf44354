//! Exponential and GELU on vector lanes, with their scalar references in f64.
#![allow(unsafe_code, reason = "lane operations are unsafe by contract")]

use crate::simd::{Lanes, dispatch};

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

dispatch! {
    /// GELU in place.
    pub(crate) fn gelu_in_place(values: &mut [f32]); gelu_scalar, gelu_lanes
}

/// The reference: the error function by its all-positive series, in f64.
fn gelu_scalar(values: &mut [f32]) {
    for value in values {
        let x = f64::from(*value);
        *value = (0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))) as f32;
    }
}

#[inline(always)]
unsafe fn gelu_lanes<S: Lanes>(values: &mut [f32]) {
    let (full, rest) = values.split_at_mut(values.len() / S::WIDTH * S::WIDTH);
    // SAFETY: each chunk is one register, the rest less than one; the caller is compiled for S.
    unsafe {
        for chunk in full.chunks_exact_mut(S::WIDTH) {
            gelu(S::load(chunk.as_ptr())).store(chunk.as_mut_ptr());
        }
        gelu(S::load_part(rest.as_ptr(), rest.len())).store_part(rest.as_mut_ptr(), rest.len());
    }
}

/// erf by `2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!` (Abramowitz and Stegun 7.1.6); exactly ±1 beyond 6 in f64.
fn erf(x: f64) -> f64 {
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
    use crate::kernels::compare::{assert_close, variants};
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
        fn variants_follow_the_reference(values in prop::collection::vec(-30f32..30.0, 0..70)) {
            for isa in variants() {
                let (mut want, mut got) = (values.clone(), values.clone());
                gelu_scalar(&mut want);
                gelu_in_place(isa, &mut got);
                assert_close(isa, &got, &want, 2e-6);
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
    fn extremes_stay_finite() {
        for isa in variants() {
            let mut values = [-1e30f32, -200.0, 200.0, 1e30];
            gelu_in_place(isa, &mut values);
            assert_close(isa, &values, &[0.0, 0.0, 200.0, 1e30], 1e-6);
            let mut values = [-1e30f32, 80.0, 1e30];
            exp_in_place(isa, &mut values);
            assert!(values.iter().all(|value| value.is_finite() && *value > 0.0));
        }
    }
}
