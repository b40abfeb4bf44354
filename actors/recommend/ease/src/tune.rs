//! Which ridge, decay and weight of the blend would have foretold best what was held back.

use crate::EaseError;
use crate::blend::{Blended, candidates};
use crate::gram::{FitSettings, Gram};
use crate::model::{Model, Sums};

/// Places of a list that count.
const LIST: usize = 10;
/// Weights tried. Never all of it: what the regression does not know yet is to be shown, too. The last is for comparison.
const WEIGHTS: [f32; 12] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0];

/// One question: what followed a history, or what else was in an order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What is known, newest first; it is never the answer.
    pub history: Vec<u32>,
    /// What is asked for.
    pub target: u32,
    /// How the ranking that is blended with answers, best first, without the history.
    pub own: Vec<(u32, f32)>,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trials<'a> {
    /// Ridges; each costs a fit.
    pub ridges: &'a [f32],
    /// How much an item of a history counts beside the one after it.
    pub decays: &'a [f32],
}

impl Trials<'static> {
    /// For orders: their items have no order.
    pub const ORDERS: Self = Self { ridges: &[30.0, 100.0, 300.0, 1_000.0], decays: &[1.0] };
    /// For histories.
    pub const HISTORIES: Self = Self { ridges: &[30.0, 100.0, 300.0, 1_000.0], decays: &[1.0, 0.9, 0.7] };
}

/// What was found best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Added to the diagonal.
    pub ridge: f32,
    /// How much an item of a history counts beside the one after it.
    pub decay: f32,
    /// Of the regression in the blend, less than 1; 0 where it does not help.
    pub weight: f32,
    /// nDCG@10 of the blend, of the regression alone with this ridge and decay, and of the other ranking.
    pub ndcg: f64,
    /// See `ndcg`.
    pub ndcg_ease: f64,
    /// See `ndcg`.
    pub ndcg_own: f64,
}

/// One ridge, decay and weight, by their places among those tried, and how it did.
struct Cell {
    ridge: usize,
    decay: usize,
    weight: usize,
    gains: Vec<f64>,
    ndcg: f64,
    /// Of the regression alone with this ridge and decay.
    ndcg_ease: f64,
}

impl Cell {
    /// Its figure and those beside it: on few questions the best of many is mostly the luckiest, and luck has no neighbours.
    fn smoothed(&self, cells: &[Self]) -> f64 {
        let is_near =
            |other: &&Self| self.decay == other.decay && self.ridge.abs_diff(other.ridge) + self.weight.abs_diff(other.weight) <= 1;
        let near: Vec<f64> = cells.iter().filter(is_near).map(|cell| cell.ndcg).collect();
        mean(&near)
    }
}

/// Tries everything on questions that `gram` does not know the answers of. A blend is chosen only where it gains more than the
/// standard error of what it gains; else the weight is 0.
///
/// # Errors
/// [`EaseError::Rounding`] where no ridge could be solved, [`EaseError::Stopped`].
pub fn tune(
    gram: &mut Gram,
    queries: &[Query],
    trials: &Trials<'_>,
    settings: &FitSettings,
    goes_on: &dyn Fn() -> bool,
) -> Result<Choice, EaseError> {
    let mut cells = Vec::new();
    for (ridge, value) in trials.ridges.iter().enumerate() {
        let model = match gram.fit(*value, settings, goes_on) {
            Err(EaseError::Rounding) => continue,
            fitted => fitted?,
        };
        for (decay, value) in trials.decays.iter().enumerate() {
            let mut gains = gains(&model, *value, queries);
            let ndcg_ease = gains.pop().map_or(0.0, |gains| mean(&gains));
            let of = |(weight, gains): (usize, Vec<f64>)| Cell { ridge, decay, weight, ndcg: mean(&gains), gains, ndcg_ease };
            cells.extend(gains.into_iter().enumerate().map(of));
        }
    }
    // Of equals the first: the least ridge, decay and weight.
    let better = |best: Option<(f64, usize)>, (place, cell): (usize, &Cell)| {
        let smoothed = cell.smoothed(&cells);
        if best.is_none_or(|(most, _)| smoothed > most) { Some((smoothed, place)) } else { best }
    };
    let best = cells.iter().enumerate().fold(None, better).and_then(|(_, place)| cells.get(place)).ok_or(EaseError::Rounding)?;
    // Without a weight no ridge and no decay makes a difference.
    let own = cells.iter().find(|cell| cell.weight == 0).ok_or(EaseError::Rounding)?;
    let differences: Vec<f64> = best.gains.iter().zip(&own.gains).map(|(blend, own)| blend - own).collect();
    let helps = mean(&differences) > standard_error(&differences);
    Ok(Choice {
        ridge: trials.ridges[best.ridge],
        decay: trials.decays[best.decay],
        weight: if helps { WEIGHTS[best.weight] } else { 0.0 },
        ndcg: if helps { best.ndcg } else { own.ndcg },
        ndcg_ease: best.ndcg_ease,
        ndcg_own: own.ndcg,
    })
}

/// The gain of every question for each weight.
fn gains(model: &Model, decay: f32, queries: &[Query]) -> Vec<Vec<f64>> {
    let mut gains = vec![Vec::with_capacity(queries.len()); WEIGHTS.len()];
    let (mut sums, mut found) = (Sums::default(), Vec::new());
    for query in queries {
        model.score(&query.history, decay, &mut sums);
        candidates(&query.own, &sums, &|item| !query.history.contains(&item), &mut found);
        let target = found.iter().find(|item| item.item == query.target).copied();
        for (gains, weight) in gains.iter_mut().zip(WEIGHTS) {
            gains.push(target.map_or(0.0, |target| gain(&found, target, weight)));
        }
    }
    gains
}

fn gain(found: &[Blended], target: Blended, weight: f32) -> f64 {
    let score = |item: &Blended| (1.0 - weight) * item.own + weight * item.ease;
    let wanted = score(&target);
    // What neither side speaks for is in no list.
    if wanted <= 0.0 {
        return 0.0;
    }
    let before = found.iter().filter(|item| score(item) > wanted || (score(item) == wanted && item.item < target.item));
    match before.take(LIST).count() {
        LIST => 0.0,
        place => 1.0 / ((place + 2) as f64).log2(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn standard_error(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares.sqrt() / values.len().max(1) as f64
}
