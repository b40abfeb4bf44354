//! A regularised linear probe: multinomial logistic regression, fitted by L-BFGS (Liu and Nocedal 1989).

use std::collections::VecDeque;

use super::linear::{Matrix, dot, product};

/// Steps of the optimiser, at most.
const STEPS_MAX: usize = 80;
/// Halvings of a step, at most.
const HALVINGS_MAX: usize = 20;
/// Pairs that the curvature is read from.
const HISTORY: usize = 10;
/// It ends where a step lowers the loss by less than this share.
const SHARE_MIN: f64 = 1e-6;

/// Weights of classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    pub(crate) classes: usize,
    /// `[features + 1, classes]`; the last row is added as it is.
    pub(crate) weights: Vec<f32>,
}

/// Rows to learn from.
#[derive(Clone, Copy)]
pub(crate) struct Examples<'a> {
    /// `[rows, features]`.
    pub(crate) features: &'a [f32],
    /// Class and weight of each row.
    pub(crate) classes: &'a [(usize, f32)],
}

impl Probe {
    /// Fits `sum_i w_i / sum w * -ln p(y_i | x_i) + ridge / 2 |W|^2`; the added row bears no ridge. Classes without rows get no weight.
    pub(crate) fn fit(examples: Examples<'_>, classes: usize, ridge: f32) -> Self {
        let rows = examples.classes.len();
        let features = examples.features.len().checked_div(rows).unwrap_or(0);
        let problem = Problem::new(examples, features, classes, ridge);
        let mut weights = vec![0f32; (features + 1) * classes];
        if rows == 0 || problem.all <= 0.0 {
            return Self { classes, weights };
        }
        let (mut loss, mut gradient) = problem.evaluate(&weights);
        let mut history: VecDeque<Pair> = VecDeque::new();
        for _ in 0..STEPS_MAX {
            let direction = direction(&gradient, &history);
            let slope = dot(&direction, &gradient);
            let Some(taken) = problem.line(&weights, loss, &direction, slope, history.is_empty()) else { break };
            let pair = Pair::new(&weights, &taken.weights, &gradient, &taken.gradient);
            if pair.curvature > 1e-12 {
                history.push_back(pair);
                if history.len() > HISTORY {
                    history.pop_front();
                }
            }
            let share = (loss - taken.loss) / loss.abs().max(1e-9);
            (weights, loss, gradient) = (taken.weights, taken.loss, taken.gradient);
            if share < SHARE_MIN {
                break;
            }
        }
        problem.silence(&mut weights);
        Self { classes, weights }
    }

    /// Numbers that it looks at.
    pub(crate) fn features(&self) -> usize {
        (self.weights.len() / self.classes.max(1)).saturating_sub(1)
    }

    /// Scores of rows of features: `[rows, classes]`.
    pub(crate) fn scores(&self, features: &[f32], rows: usize) -> Vec<f32> {
        let inner = self.features();
        let (weights, added) = self.weights.split_at(inner * self.classes);
        let mut scores = product(Matrix::rows(features, inner), Matrix::rows(weights, self.classes), [rows, inner, self.classes]);
        for scores in scores.chunks_exact_mut(self.classes.max(1)) {
            scores.iter_mut().zip(added).for_each(|(score, added)| *score += added);
        }
        scores
    }
}

/// Scores as shares that are together 1, after division by a temperature.
pub(crate) fn softmax(scores: &mut [f32], temperature: f32) {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = ((*score - greatest) / temperature).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum.max(1e-30));
}

/// A class without rows scores this.
const SILENT: f32 = -30.0;

struct Problem<'a> {
    examples: Examples<'a>,
    features: usize,
    classes: usize,
    ridge: f32,
    /// Sum of the weights.
    all: f64,
    has_rows: Vec<bool>,
}

struct Taken {
    weights: Vec<f32>,
    loss: f64,
    gradient: Vec<f32>,
}

impl<'a> Problem<'a> {
    fn new(examples: Examples<'a>, features: usize, classes: usize, ridge: f32) -> Self {
        let mut has_rows = vec![false; classes];
        examples.classes.iter().for_each(|(class, _)| has_rows[*class] = true);
        let all = examples.classes.iter().map(|(_, weight)| f64::from(*weight)).sum();
        Self { examples, features, classes, ridge, all, has_rows }
    }

    /// The loss and its gradient.
    fn evaluate(&self, weights: &[f32]) -> (f64, Vec<f32>) {
        let rows = self.examples.classes.len();
        let probe = Probe { classes: self.classes, weights: weights.to_vec() };
        let mut shares = probe.scores(self.examples.features, rows);
        let mut loss = 0f64;
        let mut added = vec![0f64; self.classes];
        for (shares, (class, weight)) in shares.chunks_exact_mut(self.classes).zip(self.examples.classes) {
            shares.iter_mut().zip(&self.has_rows).filter(|(_, has_rows)| !**has_rows).for_each(|(score, _)| *score = SILENT);
            softmax(shares, 1.0);
            loss -= f64::from(*weight) * f64::from(shares[*class].max(1e-30)).ln();
            shares[*class] -= 1.0;
            let share = (f64::from(*weight) / self.all) as f32;
            for ((value, has_rows), added) in shares.iter_mut().zip(&self.has_rows).zip(&mut added) {
                *value = if *has_rows { *value * share } else { 0.0 };
                *added += f64::from(*value);
            }
        }
        let shape = [self.features, rows, self.classes];
        let mut gradient = product(Matrix::transposed(self.examples.features, self.features), Matrix::rows(&shares, self.classes), shape);
        let sloped = &weights[..self.features * self.classes];
        gradient.iter_mut().zip(sloped).for_each(|(gradient, weight)| *gradient += self.ridge * weight);
        gradient.extend(added.into_iter().map(|sum| sum as f32));
        (loss / self.all + 0.5 * f64::from(self.ridge) * dot(sloped, sloped), gradient)
    }

    /// A step along a direction that lowers the loss enough (Armijo's rule); `None` where none does.
    fn line(&self, weights: &[f32], loss: f64, direction: &[f32], slope: f64, is_first: bool) -> Option<Taken> {
        if slope >= 0.0 || !slope.is_finite() {
            return None;
        }
        let mut step = if is_first { (1.0 / dot(direction, direction).sqrt().max(1e-12)).min(10.0) } else { 1.0 };
        for _ in 0..HALVINGS_MAX {
            let moved: Vec<f32> = weights.iter().zip(direction).map(|(weight, along)| weight + step as f32 * along).collect();
            let (reached, gradient) = self.evaluate(&moved);
            if reached <= loss + 1e-4 * step * slope {
                return Some(Taken { weights: moved, loss: reached, gradient });
            }
            step *= 0.5;
        }
        None
    }

    fn silence(&self, weights: &mut [f32]) {
        let added = weights.len() - self.classes;
        for (class, _) in self.has_rows.iter().enumerate().filter(|(_, has_rows)| !**has_rows) {
            weights[added + class] = SILENT;
        }
    }
}

/// One step and how the gradient changed over it.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    curvature: f64,
}

impl Pair {
    fn new(from: &[f32], to: &[f32], before: &[f32], after: &[f32]) -> Self {
        let difference = |to: &[f32], from: &[f32]| -> Vec<f32> { to.iter().zip(from).map(|(to, from)| to - from).collect() };
        let (step, change) = (difference(to, from), difference(after, before));
        let curvature = dot(&step, &change);
        Self { step, change, curvature }
    }
}

/// The two loops of L-BFGS.
fn direction(gradient: &[f32], history: &VecDeque<Pair>) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|value| -value).collect();
    let mut factors = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let factor = dot(&pair.step, &direction) / pair.curvature;
        direction.iter_mut().zip(&pair.change).for_each(|(value, change)| *value -= factor as f32 * change);
        factors.push(factor);
    }
    if let Some(last) = history.back() {
        let scale = (last.curvature / dot(&last.change, &last.change).max(1e-30)) as f32;
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, factor) in history.iter().zip(factors.into_iter().rev()) {
        let back = factor - dot(&pair.change, &direction) / pair.curvature;
        direction.iter_mut().zip(&pair.step).for_each(|(value, step)| *value += back as f32 * step);
    }
    direction
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
