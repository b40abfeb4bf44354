//! Intervals and tests. All intervals are 95 %, all tests two-sided. The special functions are those of Numerical Recipes (ch. 6): series
//! and continued fractions, to about 14 digits.

use protocol::reports::{Difference, Estimate};

/// The normal distribution's 97.5 % quantile.
pub(crate) const Z: f64 = 1.959_963_984_540_054;
const STEPS_MAX: usize = 10_000;
const TINY: f64 = 1e-300;

/// Mean and sample variance of `n` observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) n: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

impl Sample {
    /// From sum and sum of squares; `None` for fewer than two observations.
    pub(crate) fn of_sums(n: u64, sum: f64, squares: f64) -> Option<Self> {
        let count = n as f64;
        let mean = sum / count;
        (n >= 2).then(|| Self { n: count, mean, variance: ((squares - sum * mean) / (count - 1.0)).max(0.0) })
    }

    fn squared_error(&self) -> f64 {
        self.variance / self.n
    }

    /// The mean with Student's interval.
    pub(crate) fn mean(&self) -> Estimate {
        around(self.mean, t_quantile(self.n - 1.0) * self.squared_error().sqrt())
    }
}

/// A ratio of sums with its variance by the delta method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    value: f64,
    variance: f64,
}

impl Ratio {
    /// y by x over `n` shoppers, from the sums of both, their squares and their product (Deng et al. 2018, arXiv:1803.06336).
    pub(crate) fn of_sums(n: u64, (x, y): (f64, f64), (xx, yy, xy): (f64, f64, f64)) -> Option<Self> {
        if n < 2 || x <= 0.0 {
            return None;
        }
        let (count, value) = (n as f64, y / x);
        let residuals = (yy - 2.0 * value * xy + value * value * xx).max(0.0);
        Some(Self { value, variance: count / (count - 1.0) * residuals / (x * x) })
    }

    /// The ratio with its normal interval, within what a rate can be.
    pub(crate) fn estimate(&self) -> Estimate {
        let Estimate { value, low, high } = around(self.value, Z * self.variance.sqrt());
        Estimate { value, low: low.max(0.0), high }
    }
}

fn around(value: f64, half_width: f64) -> Estimate {
    Estimate { value, low: value - half_width, high: value + half_width }
}

/// `count` of `n` with Wilson's interval (1927); `None` for `n` = 0.
pub(crate) fn wilson(count: u64, n: u64) -> Option<Estimate> {
    if n == 0 {
        return None;
    }
    let (n, value) = (n as f64, count.min(n) as f64 / n as f64);
    let centre = value + Z * Z / (2.0 * n);
    let half_width = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some(Estimate { value, low: ((centre - half_width) / scale).max(0.0), high: ((centre + half_width) / scale).min(1.0) })
}

/// The difference of two rates (count, n): Newcombe's interval (1998, method 10) and the pooled z test.
pub(crate) fn rate_difference(arm: (u64, u64), control: (u64, u64)) -> Option<Difference> {
    let (one, other) = (wilson(arm.0, arm.1)?, wilson(control.0, control.1)?);
    let value = one.value - other.value;
    let absolute = Estimate {
        value,
        low: value - (one.value - one.low).hypot(other.high - other.value),
        high: value + (one.high - one.value).hypot(other.value - other.low),
    };
    let pooled = (arm.0 + control.0) as f64 / (arm.1 + control.1) as f64;
    let error = (pooled * (1.0 - pooled) * (1.0 / arm.1 as f64 + 1.0 / control.1 as f64)).sqrt();
    Some(Difference { absolute, relative: relative(one.value, other.value), p_value: z_test(value, error) })
}

/// The difference of two means: Welch's interval and t test.
pub(crate) fn mean_difference(arm: &Sample, control: &Sample) -> Difference {
    let value = arm.mean - control.mean;
    let (one, other) = (arm.squared_error(), control.squared_error());
    let error = (one + other).sqrt();
    let relative = relative(arm.mean, control.mean);
    if error == 0.0 {
        return Difference { absolute: around(value, 0.0), relative, p_value: f64::from(value == 0.0) };
    }
    let freedom = (one + other).powi(2) / (one * one / (arm.n - 1.0) + other * other / (control.n - 1.0));
    let absolute = around(value, t_quantile(freedom) * error);
    Difference { absolute, relative, p_value: t_two_sided(value / error, freedom) }
}

/// The difference of two ratios: normal interval and test.
pub(crate) fn ratio_difference(arm: &Ratio, control: &Ratio) -> Difference {
    let (value, error) = (arm.value - control.value, (arm.variance + control.variance).sqrt());
    Difference { absolute: around(value, Z * error), relative: relative(arm.value, control.value), p_value: z_test(value, error) }
}

fn relative(arm: f64, control: f64) -> Option<f64> {
    (control != 0.0).then(|| arm / control - 1.0)
}

fn z_test(value: f64, error: f64) -> f64 {
    if error == 0.0 { f64::from(value == 0.0) } else { gamma_q(0.5, (value / error).powi(2) / 2.0) }
}

/// Pearson's statistic of observed counts against weights, and its p-value; `None` for fewer than two weights above 0 or no counts.
pub(crate) fn chi_square(observed: &[u64], weights: &[f64]) -> Option<(f64, f64)> {
    let (total, weight): (u64, f64) = (observed.iter().sum(), weights.iter().sum());
    let arms = weights.iter().filter(|weight| **weight > 0.0).count();
    if total == 0 || arms < 2 {
        return None;
    }
    let term = |(observed, share): (&u64, &f64)| {
        let expected = total as f64 * share / weight;
        // Somebody in an arm that nobody should be in is as wrong as can be.
        if expected > 0.0 { (*observed as f64 - expected).powi(2) / expected } else { *observed as f64 * 1e6 }
    };
    let statistic: f64 = observed.iter().zip(weights).map(term).sum();
    Some((statistic, gamma_q((arms - 1) as f64 / 2.0, statistic / 2.0)))
}

/// The probability that Student's t is at least as far from 0.
fn t_two_sided(t: f64, freedom: f64) -> f64 {
    beta_inc(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// Student's 97.5 % quantile, by bisection.
fn t_quantile(freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        *(if t_two_sided(middle, freedom) > 0.05 { &mut low } else { &mut high }) = middle;
    }
    (low + high) / 2.0
}

/// Lanczos, g = 7.
fn ln_gamma(x: f64) -> f64 {
    const C: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series = C.iter().enumerate().fold(0.999_999_999_999_809_9, |sum, (at, c)| sum + c / (x + at as f64 + 1.0));
    let base = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + series.ln()
}

/// The regularised upper incomplete gamma function.
fn gamma_q(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..STEPS_MAX {
            term *= x / (a + step as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (1.0 - sum * front).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for step in 1..STEPS_MAX {
        let n = step as f64;
        let an = n * (a - n);
        b += 2.0;
        d = 1.0 / away_from_zero(an * d + b);
        c = away_from_zero(b + an / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// The regularised incomplete beta function.
fn beta_inc(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return f64::from(x >= 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    let value =
        if x < (a + 1.0) / (a + b + 2.0) { front * beta_fraction(a, b, x) / a } else { 1.0 - front * beta_fraction(b, a, 1.0 - x) / b };
    value.clamp(0.0, 1.0)
}

/// Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

fn away_from_zero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal to about nine digits.
    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{got} is not {expected}");
    }

    fn interval(got: Estimate, [value, low, high]: [f64; 3]) {
        // 0 and 1 are ends that rounding reaches from either side.
        for (got, expected) in [(got.value, value), (got.low, low), (got.high, high)] {
            assert!((got - expected).abs() <= 1e-9, "{got} is not {expected}");
        }
    }

    // All expected values are SciPy's (1.17.1).

    #[test]
    fn special_functions_by_table() {
        for (a, x, expected) in [
            (0.5, 0.1, 0.654_720_846_018_576_8),
            (0.5, 2.0, 0.045_500_263_896_358_57),
            (1.5, 3.0, 0.111_610_225_094_712_68),
            (10.0, 5.0, 0.968_171_942_693_795_1),
            (10.0, 30.0, 7.121_750_862_815_593e-6),
            (100.0, 120.0, 0.027_863_739_890_520_652),
            (0.5, 40.0, 3.744_097_384_202_887e-19),
        ] {
            close(gamma_q(a, x), expected);
        }
        for (a, b, x, expected) in [
            (0.5, 0.5, 0.3, 0.369_010_119_565_545_36),
            (5.0, 0.5, 0.9, 0.316_642_915_020_012_2),
            (50.0, 0.5, 0.99, 0.317_304_397_874_197_3),
            (2000.0, 0.5, 0.999, 0.045_459_758_437_854_73),
            (3.0, 7.0, 0.5, 0.910_156_25),
        ] {
            close(beta_inc(a, b, x), expected);
        }
        for (freedom, expected) in [
            (1.0, 12.706_204_736_174_694),
            (2.0, 4.302_652_729_749_462),
            (5.0, 2.570_581_835_636_314_6),
            (30.5, 2.040_869_445_186_32),
            (1000.0, 1.962_339_080_826_408_3),
            (250_000.0, 1.959_973_473_670_135_3),
        ] {
            close(t_quantile(freedom), expected);
        }
    }

    #[test]
    fn rates_by_table() {
        for (count, n, low, high) in [
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (7, 50, 0.069_508_334_270_162_92, 0.261_861_937_105_857_35),
            (50, 50, 0.928_652_400_866_641_2, 1.0),
            (1234, 56_789, 0.020_562_371_863_068_946, 0.022_961_449_015_183_377),
        ] {
            interval(wilson(count, n).expect("n > 0"), [count as f64 / n as f64, low, high]);
        }
        assert_eq!((wilson(0, 0), rate_difference((0, 0), (1, 2))), (None, None));
        // The first is Newcombe's own example.
        for (arm, control, expected, p_value) in [
            ((56, 70), (48, 80), [0.2, 0.052_431_472_402_364_84, 0.333_872_654_036_905_9], 0.008_045_081_368_196_585),
            (
                (530, 10_000),
                (480, 10_100),
                [0.005_475_247_524_752_473, -0.000_568_077_051_802_155_6, 0.011_531_745_472_379_99],
                0.075_627_903_316_309_66,
            ),
            ((0, 10), (1, 10), [-0.1, -0.404_150_026_795_238_5, 0.189_428_352_749_588_83], 0.304_901_788_178_785_44),
        ] {
            let difference = rate_difference(arm, control).expect("both have shoppers");
            interval(difference.absolute, expected);
            close(difference.p_value, p_value);
        }
    }

    #[test]
    fn means_by_table() {
        let sample = |values: &[f64]| {
            Sample::of_sums(values.len() as u64, values.iter().sum(), values.iter().map(|value| value * value).sum()).expect("two or more")
        };
        let arm = sample(&[0.0, 0.0, 0.0, 12.5, 0.0, 30.0, 0.0, 0.0, 99.9, 0.0, 4.2, 0.0]);
        let control = sample(&[0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 7.5, 0.0, 0.0, 1.25]);
        interval(arm.mean(), [12.216_666_666_666_667, -6.220_937_888_573_941, 30.654_271_221_907_273]);
        let difference = mean_difference(&arm, &control);
        interval(difference.absolute, [10.841_666_666_666_667, -7.644_292_512_223_041, 29.327_625_845_556_376]);
        close(difference.p_value, 0.223_763_475_412_370_85);
        close(difference.relative.expect("a control above 0"), 12.216_666_666_666_667 / 1.375 - 1.0);
        let nothing = sample(&[0.0, 0.0]);
        assert_eq!((mean_difference(&nothing, &nothing).p_value, mean_difference(&nothing, &nothing).relative), (1.0, None));
        assert_eq!(mean_difference(&sample(&[1.0, 1.0]), &nothing).p_value, 0.0);
        assert_eq!(Sample::of_sums(1, 5.0, 25.0), None);
    }

    #[test]
    fn ratios_by_table() {
        let ratio = |x: &[f64], y: &[f64]| {
            let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>();
            Ratio::of_sums(x.len() as u64, (x.iter().sum(), y.iter().sum()), (product(x, x), product(y, y), product(x, y)))
        };
        let control = ratio(&[10.0, 20.0, 5.0, 40.0, 8.0, 12.0], &[1.0, 3.0, 0.0, 4.0, 2.0, 0.0]).expect("shown");
        let arm = ratio(&[10.0, 30.0, 15.0, 4.0, 9.0], &[2.0, 6.0, 1.0, 1.0, 3.0]).expect("shown");
        interval(control.estimate(), [0.105_263_157_894_736_84, 0.059_719_438_717_009_89, 0.150_806_877_072_463_8]);
        let difference = ratio_difference(&arm, &control);
        interval(difference.absolute, [0.085_913_312_693_498_44, -0.000_889_116_832_496_844_6, 0.172_715_742_219_493_73]);
        close(difference.p_value, 0.052_393_292_585_937_49);
        assert_eq!(ratio(&[0.0, 0.0], &[0.0, 0.0]), None);
    }

    #[test]
    fn splits_by_table() {
        for (observed, weights, statistic, p_value) in [
            (vec![5000, 5100], vec![1.0, 1.0], 0.990_099_009_900_990_1, 0.319_718_176_812_867_5),
            (vec![5000, 5300], vec![1.0, 1.0], 8.737_864_077_669_903, 0.003_116_693_839_866_867),
            (vec![900, 1100, 2000], vec![1.0, 1.0, 2.0], 20.0, 4.539_992_976_248_486e-5),
        ] {
            let (got, p) = chi_square(&observed, &weights).expect("two arms");
            close(got, statistic);
            close(p, p_value);
        }
        assert_eq!((chi_square(&[0, 0], &[1.0, 1.0]), chi_square(&[5], &[1.0])), (None, None));
        assert!(chi_square(&[5, 5, 1], &[1.0, 1.0, 0.0]).expect("two arms").1 < 1e-3);
    }
}
