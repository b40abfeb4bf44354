//! The learner: a conditional logit over each list that was shown (McFadden 1974), one gradient step for each choice.
//!
//! `p(i) = softmax(w . x_i)` over what could still be chosen, gradient `x_chosen - sum p x`, steps by AdaGrad (Duchi, Hazan, Singer
//! 2011). A surface's weights are those of all surfaces plus its own difference; both move, the difference is drawn to nothing and
//! the common weights are drawn to what was shipped.

use bincode::{Decode, Encode};

use crate::features::{FEATURES, Feature, Features, Page};
use crate::keys::Id;

/// Surfaces (category page, search, home...) that are told apart; the weights in common serve the rest.
pub const SURFACES_MAX: usize = 64;
const RATE: f32 = 0.02;
/// The sum of squared gradients that each weight begins with: the trust in what was shipped.
const SQUARES: f32 = 1.0;
const L2_COMMON: f32 = 1e-4;
const L2_SURFACE: f32 = 1e-3;
/// A surface's difference moves at this share of the rate.
const SURFACE_SHARE: f32 = 0.5;
/// What is seen falls about so with the logarithm of the place before anything was learned: 1 / rank in web search (Joachims,
/// Swaminathan, Schnabel 2017), less steep in a grid of products.
const POSITION: f32 = -0.7;
const WEIGHT_MAX: f32 = 20.0;

/// Weights and what AdaGrad knows of them. The last stands for the logarithm of the position.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
struct Weights {
    values: [f32; FEATURES],
    squares: [f32; FEATURES],
    position: [f32; 2],
}

impl Weights {
    fn prior() -> Self {
        Self { values: Feature::ALL.map(Feature::prior), position: [POSITION, SQUARES], ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self { values: [0.0; FEATURES], squares: [SQUARES; FEATURES], position: [0.0, SQUARES] }
    }

    fn step(&mut self, gradient: &Features, position: f32, rate: f32, l2: f32, towards: &Self) {
        let terms = self.values.iter_mut().zip(&mut self.squares).zip(gradient.iter().zip(&towards.values));
        for ((value, square), (gradient, towards)) in terms {
            step(value, square, gradient - l2 * (*value - towards), rate);
        }
        let [value, square] = &mut self.position;
        step(value, square, position - l2 * (*value - towards.position[0]), rate);
    }

    fn is_sound(&self) -> bool {
        let position = self.position;
        self.values.iter().chain(&position[..1]).all(|value| value.abs() <= WEIGHT_MAX)
            && self.squares.iter().chain(&position[1..]).all(|square| square.is_finite() && *square >= SQUARES)
    }
}

fn step(value: &mut f32, square: &mut f32, gradient: f32, rate: f32) {
    if gradient.is_finite() {
        *square = (*square + gradient * gradient).min(1e12);
        *value = (*value + rate * gradient / square.sqrt()).clamp(-WEIGHT_MAX, WEIGHT_MAX);
    }
}

/// A candidate in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Its position in the ask.
    pub at: usize,
    /// Which.
    pub item: Id,
    /// The sum of `shares`, in their order.
    pub score: f32,
    /// What each feature adds: weight times value, in the order of [`Feature::ALL`].
    pub shares: Features,
}

/// Weights in common and of each surface.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Learner {
    common: Weights,
    surfaces: Vec<(Id, Weights)>,
    choices: u64,
}

impl Default for Learner {
    fn default() -> Self {
        Self { common: Weights::prior(), surfaces: Vec::new(), choices: 0 }
    }
}

impl Learner {
    /// Choices that were learned from.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// The weights in force on a surface, in the order of [`Feature::ALL`].
    pub fn weights(&self, surface: Id) -> Features {
        let mut weights = self.common.values;
        if let Some(own) = self.surface(surface) {
            weights.iter_mut().zip(own.values).for_each(|(weight, difference)| *weight += difference);
        }
        weights
    }

    /// Puts a list in order, the best first. `strength` between 0 and 1 fades out what speaks of the shopper: at 0 everybody sees
    /// the same order. Of equal scores the earlier in the ask comes first.
    pub fn rank(&self, page: &Page, surface: Id, strength: f32) -> Vec<Ranked> {
        let strength = if strength.is_finite() { strength.clamp(0.0, 1.0) } else { 1.0 };
        let mut weights = self.weights(surface);
        for feature in Feature::ALL.into_iter().filter(|feature| feature.is_personal()) {
            weights[feature as usize] *= strength;
        }
        let mut ranked: Vec<Ranked> = page
            .rows
            .iter()
            .zip(&page.items)
            .enumerate()
            .map(|(at, (row, item))| {
                let mut shares = *row;
                shares.iter_mut().zip(weights).for_each(|(share, weight)| *share *= weight);
                Ranked { at, item: *item, score: shares.iter().sum(), shares }
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.at.cmp(&b.at)));
        ranked
    }

    /// One step: of these rows, the one at `chosen` was chosen; those at `before` had been chosen already and are no rivals.
    /// `positions` are the places in which the rows were seen, the first is 0, where the choice is known to have been made from
    /// the list: then the place explains its part of the choice, and the weights need not.
    pub fn learn(&mut self, surface: Id, rows: &[Features], chosen: usize, before: &[usize], positions: Option<&[u16]>) {
        if chosen >= rows.len() || rows.len() < 2 || positions.is_some_and(|positions| positions.len() != rows.len()) {
            return;
        }
        let place = |at: usize| positions.map_or(0.0, |positions| f32::from(positions[at]).ln_1p());
        let weights = self.weights(surface);
        let position = self.common.position[0] + self.surface(surface).map_or(0.0, |own| own.position[0]);
        let is_rival = |at: usize| at == chosen || !before.contains(&at);
        let mut odds: Vec<f32> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| match is_rival(at) {
                true => row.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f32>() + position * place(at),
                false => f32::NEG_INFINITY,
            })
            .collect();
        let most = odds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        odds.iter_mut().for_each(|odd| *odd = (*odd - most).exp());
        let all: f32 = odds.iter().sum();
        let (mut gradient, mut by_place) = (rows[chosen], place(chosen));
        for (at, (row, odd)) in rows.iter().zip(&odds).enumerate().filter(|(_, (_, odd))| **odd > 0.0) {
            let likelihood = odd / all;
            gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum -= likelihood * value);
            by_place -= likelihood * place(at);
        }
        self.common.step(&gradient, by_place, RATE, L2_COMMON, &Weights::prior());
        if let Some(own) = self.surface_mut(surface) {
            own.step(&gradient, by_place, RATE * SURFACE_SHARE, L2_SURFACE, &Weights::nothing());
        }
        self.choices += 1;
    }

    fn surface(&self, surface: Id) -> Option<&Weights> {
        self.surfaces.iter().find(|own| own.0 == surface).map(|own| &own.1)
    }

    fn surface_mut(&mut self, surface: Id) -> Option<&mut Weights> {
        let at = match self.surfaces.iter().position(|own| own.0 == surface) {
            Some(at) => at,
            None if self.surfaces.len() < SURFACES_MAX => {
                self.surfaces.push((surface, Weights::nothing()));
                self.surfaces.len() - 1
            }
            None => return None,
        };
        Some(&mut self.surfaces[at].1)
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.surfaces.len() <= SURFACES_MAX && self.common.is_sound() && self.surfaces.iter().all(|own| own.1.is_sound())
    }
}

#[cfg(test)]
mod tests;
