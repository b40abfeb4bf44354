//! How patterned the product is: contrast between near pixels, whether it runs one way, two ways or any way, whether it repeats, and how
//! many colours take part.

use super::Small;
use super::dominant::Dominant;

/// Steps apart at which repetition is looked for, in pixels of the working size.
const LAGS: std::ops::RangeInclusive<usize> = 3..=20;
/// Inner pixels needed for any answer.
const PIXELS_MIN: usize = 64;

/// Measures of pattern, each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pattern {
    /// Mean step in lightness between neighbours, against 0.1 of the whole range.
    pub contrast: f32,
    /// How much steps across outweigh steps down, or the other way: 1 where all run one way.
    pub direction: f32,
    /// Of steps that run across or down rather than aslant, the share.
    pub upright: f32,
    /// How well the lightness agrees with itself some pixels aside, beyond its nearest low.
    pub repeats_across: f32,
    /// The same for some pixels below.
    pub repeats_down: f32,
    /// How evenly colours share the product.
    pub variety: f32,
}

impl Pattern {
    /// The numbers in order, what the teacher learns from.
    pub fn numbers(&self) -> [f32; 6] {
        [self.contrast, self.direction, self.upright, self.repeats_across, self.repeats_down, self.variety]
    }

    /// How well `plain`, `striped`, `checked` and `printed` describe it, together 1. A rule of thumb for shops without labels.
    pub fn kinds(&self) -> [(&'static str, f32); 4] {
        let patterned = ((self.contrast - 0.12) / 0.25).clamp(0.0, 1.0).max(((self.variety - 0.55) / 0.45).clamp(0.0, 1.0));
        let both = self.repeats_across.min(self.repeats_down);
        let one = (self.repeats_across - self.repeats_down).abs();
        let striped = patterned * (self.direction * (0.4 + 0.6 * one)).clamp(0.0, 1.0);
        let checked = (patterned - striped).max(0.0) * (self.upright * (0.3 + both)).clamp(0.0, 1.0);
        [("plain", 1.0 - patterned), ("striped", striped), ("checked", checked), ("printed", (patterned - striped - checked).max(0.0))]
    }
}

/// Measures the weighted part of a picture.
pub(super) fn pattern(small: &Small, weights: &[f32], colours: &[Dominant]) -> Pattern {
    let (width, height) = (small.width, small.height);
    // A pixel counts where its whole neighbourhood is product: the outline is no pattern.
    let is_inner = |x: usize, y: usize| {
        x >= 2
            && y >= 2
            && x + 2 < width
            && y + 2 < height
            && (y - 2..=y + 2).all(|row| (x - 2..=x + 2).all(|column| weights[row * width + column] > 0.0))
    };
    let inner: Vec<usize> = (0..width * height).filter(|at| is_inner(at % width, at / width)).collect();
    if inner.len() < PIXELS_MIN {
        return Pattern::default();
    }
    let light = |at: usize| small.lab[at][0];
    let (mut across, mut down, mut aslant, mut all) = (0f32, 0f32, 0f32, 0f32);
    for at in &inner {
        let (dx, dy) = ((light(at + 1) - light(at - 1)).abs() / 2.0, (light(at + width) - light(at - width)).abs() / 2.0);
        across += dx;
        down += dy;
        aslant += dx.min(dy);
        all += (dx * dx + dy * dy).sqrt();
    }
    let count = inner.len() as f32;
    let steps = (across + down).max(1e-6);
    let is_inside: Vec<bool> = {
        let mut inside = vec![false; width * height];
        inner.iter().for_each(|at| inside[*at] = true);
        inside
    };
    let repeats = |step: usize, row_bound: bool| repetition(&inner, &is_inside, &light, step, row_bound.then_some(width));
    Pattern {
        contrast: (all / count / 0.1).min(1.0),
        direction: (across - down).abs() / steps,
        upright: 1.0 - (2.0 * aslant / steps).min(1.0),
        repeats_across: repeats(1, true),
        repeats_down: repeats(width, false),
        variety: variety(colours),
    }
}

/// The highest correlation at some lag beyond the lowest before it.
fn repetition(inner: &[usize], is_inside: &[bool], light: &dyn Fn(usize) -> f32, step: usize, row: Option<usize>) -> f32 {
    let mean = inner.iter().map(|at| light(*at)).sum::<f32>() / inner.len() as f32;
    let variance = inner.iter().map(|at| (light(*at) - mean).powi(2)).sum::<f32>() / inner.len() as f32;
    if variance < 1e-4 {
        return 0.0;
    }
    let (mut lowest, mut best) = (1f32, 0f32);
    for lag in LAGS {
        let (mut sum, mut count) = (0f32, 0usize);
        for at in inner {
            let other = at + lag * step;
            let is_same_row = row.is_none_or(|width| at / width == other / width);
            if is_same_row && is_inside.get(other).copied().unwrap_or_default() {
                sum += (light(*at) - mean) * (light(other) - mean);
                count += 1;
            }
        }
        if count * 4 < inner.len() {
            break;
        }
        let correlation = sum / count as f32 / variance;
        best = best.max(correlation - lowest);
        lowest = lowest.min(correlation);
    }
    (best / 1.5).clamp(0.0, 1.0)
}

/// Entropy of the dominant colours' shares, against four equal ones.
fn variety(colours: &[Dominant]) -> f32 {
    let entropy: f32 = colours.iter().map(|colour| colour.share).filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum();
    (entropy / 4f32.ln()).clamp(0.0, 1.0)
}
