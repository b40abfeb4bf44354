//! Functions of one number, kept as what they give at fixed points.
//!
//! Exporters take an activation apart in many ways. Whatever the parts are, computing them at the same points and comparing the
//! end with each known activation finds it; nothing depends on how it was written.

use shaders::Activation;
use std::rc::Rc;

/// Points at which functions of numbers are compared, and at which squared lengths and variances are.
const POINTS: usize = 96;
/// Greatest difference, relative above 1, of a function from the activation that it is taken for: constants may have been
/// rounded to 16 bits, and the two forms of GELU differ by more.
const TOLERANCE: f64 = 3e-4;
/// The same for straight lines, whose numbers are used as they are.
const LINE_TOLERANCE: f64 = 1e-6;

/// A function of a number of either sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve(Rc<[f64; POINTS]>);

/// A function of a number that is not negative: a mean square, a variance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PositiveCurve(Rc<[f64; POINTS]>);

/// -12 to 12, denser around 0.
fn point(index: usize) -> f64 {
    let share = (index as f64 - (POINTS - 1) as f64 / 2.0) / ((POINTS - 1) as f64 / 2.0);
    12.0 * share * share.abs()
}

/// 0, then 1e-3 to 1e3.
fn positive_point(index: usize) -> f64 {
    if index == 0 { 0.0 } else { 10f64.powf((index as f64 - 1.0) / (POINTS - 2) as f64 * 6.0 - 3.0) }
}

fn differ(got: f64, want: f64, tolerance: f64) -> bool {
    let difference = (got - want).abs();
    difference.is_nan() || difference > tolerance * want.abs().max(1.0)
}

impl Curve {
    /// `x`.
    pub(super) fn identity() -> Curve {
        Curve(Rc::new(std::array::from_fn(point)))
    }

    /// `function(self(x))`.
    pub(super) fn then(&self, function: impl Fn(f64) -> f64) -> Curve {
        Curve(Rc::new(self.0.map(function)))
    }

    /// `function(self(x), other(x))`.
    pub(super) fn with(&self, other: &Curve, function: impl Fn(f64, f64) -> f64) -> Curve {
        Curve(Rc::new(std::array::from_fn(|index| function(self.0[index], other.0[index]))))
    }

    pub(super) fn is_identity(&self) -> bool {
        self.line() == Some((1.0, 0.0))
    }

    /// Factor and summand, if it is a straight line.
    pub(super) fn line(&self) -> Option<(f64, f64)> {
        let (first, last) = (point(0), point(POINTS - 1));
        let factor = (self.0[POINTS - 1] - self.0[0]) / (last - first);
        let summand = (self.0[POINTS - 1] + self.0[0]) / 2.0;
        let scale = factor.abs().max(summand.abs());
        let is_line = scale.is_finite()
            && self
                .0
                .iter()
                .enumerate()
                .all(|(index, value)| (value - (factor * point(index) + summand)).abs() <= LINE_TOLERANCE * scale.max(1e-30));
        // What is as good as nothing is nothing, so that it can be told from a scaled signal.
        let round = |number: f64, to: f64| if (number - to).abs() < 1e-12 { to } else { number };
        is_line.then(|| (round(factor, 1.0), round(summand, 0.0)))
    }

    pub(super) fn is_square(&self) -> bool {
        !self.0.iter().enumerate().any(|(index, value)| differ(*value, point(index).powi(2), LINE_TOLERANCE))
    }

    /// The activation that it is.
    pub(super) fn activation(&self) -> Option<Activation> {
        let distance = |activation: Activation| {
            let differences = self.0.iter().enumerate().map(|(index, value)| {
                let want = value_of(activation, point(index));
                let difference = (value - want).abs() / want.abs().max(1.0);
                if difference.is_finite() { difference } else { f64::INFINITY }
            });
            differences.fold(0.0, f64::max)
        };
        let nearest = Activation::ALL.into_iter().map(|activation| (distance(activation), activation)).min_by(|a, b| a.0.total_cmp(&b.0));
        nearest.filter(|(distance, _)| *distance <= TOLERANCE).map(|(_, activation)| activation)
    }
}

impl PositiveCurve {
    /// `x`.
    pub(super) fn identity() -> PositiveCurve {
        PositiveCurve(Rc::new(std::array::from_fn(positive_point)))
    }

    /// `function(self(x))`.
    pub(super) fn then(&self, function: impl Fn(f64) -> f64) -> PositiveCurve {
        PositiveCurve(Rc::new(self.0.map(function)))
    }

    /// `epsilon`, if it is `sqrt(x + epsilon)`.
    pub(super) fn deviation(&self) -> Option<f64> {
        let epsilon = self.0[0].powi(2);
        let fits = |(index, value): (usize, &f64)| !differ(value / (positive_point(index) + epsilon).sqrt(), 1.0, 1e-4);
        (epsilon.is_finite() && self.0.iter().enumerate().skip(1).all(fits)).then_some(epsilon)
    }

    /// Whether it is `sqrt(x)`, but for what guards it against a division by 0.
    pub(super) fn is_length(&self) -> bool {
        self.0.iter().enumerate().skip(1).all(|(index, value)| !differ(value / positive_point(index).sqrt(), 1.0, 1e-3))
    }

    /// `1 / self(x)`.
    pub(super) fn inverse(&self) -> PositiveCurve {
        self.then(f64::recip)
    }
}

/// An activation in f64.
fn value_of(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let hard = (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => x * 0.5 * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).tanh()),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * hard,
        Activation::HardSigmoid => hard,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// The error function: its series below 2 (Abramowitz and Stegun 7.1.5), its continued fraction above (7.1.14).
pub(super) fn erf(x: f64) -> f64 {
    let z = x.abs();
    if !z.is_finite() {
        return if x.is_nan() { x } else { x.signum() };
    }
    let value = if z < 2.0 {
        let (mut term, mut sum) = (z, z);
        for n in 1..60 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..60).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        1.0 - (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_activation_is_told_from_the_others() {
        for activation in Activation::ALL {
            assert_eq!(Curve::identity().then(|x| value_of(activation, x)).activation(), Some(activation));
        }
        assert_eq!(Curve::identity().then(f64::sin).activation(), None);
        assert_eq!(Curve::identity().then(f64::ln).activation(), None, "not a number");
    }

    #[test]
    fn parts_make_an_activation() {
        let x = Curve::identity();
        let gate = x.then(|x| x * f64::from(0.707_106_77f32)).then(erf).then(|x| x + 1.0);
        assert_eq!(x.then(|x| x * 0.5).with(&gate, |a, b| a * b).activation(), Some(Activation::Gelu));
        let rounded = x.then(|x| x * 0.707_03).then(erf).then(|x| x + 1.0);
        assert_eq!(x.with(&rounded, |a, b| a * b / 2.0).activation(), Some(Activation::Gelu), "constants of 16 bits");
    }

    #[test]
    fn lines_and_squares() {
        let x = Curve::identity();
        assert!(x.is_identity() && x.then(|x| x * x).is_square());
        assert_eq!(x.then(|x| x * 0.5 - 2.0).line(), Some((0.5, -2.0)));
        assert_eq!(x.then(|x| x * 1e-5).line().map(|(factor, _)| (factor * 1e5).round()), Some(1.0));
        assert_eq!(x.then(|x| x.abs()).line(), None);
        assert!(!x.then(|x| x * 1.01).is_identity() && !x.then(|x| x * x * 1.1).is_square());
    }

    #[test]
    fn deviations_and_lengths() {
        let v = PositiveCurve::identity();
        for epsilon in [0.0, 1e-12, 1e-5] {
            let found = v.then(|v| (v + epsilon).sqrt()).deviation().expect("a deviation");
            assert!((found - epsilon).abs() <= 1e-6 * epsilon, "{found}");
            assert!(v.then(|v| (v + epsilon).powf(-0.5)).inverse().deviation().is_some());
        }
        assert_eq!(v.deviation(), None);
        assert!(v.then(|v| v.sqrt().max(1e-12)).is_length() && !v.then(|v| v.sqrt() * 2.0).is_length());
    }

    #[test]
    fn erf_is_erf() {
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.9, 0.992_790_429_235_257_5),
            (2.1, 0.997_020_533_343_667),
            (-3.0, -0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - want).abs() < 1e-9, "{x}: {}", erf(x));
        }
        assert_eq!((erf(f64::INFINITY), erf(f64::NEG_INFINITY)), (1.0, -1.0));
    }
}
