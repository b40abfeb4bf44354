//! What is popular: decayed counts over two windows, with the most popular kept ready.
//!
//! Under forward decay the order of two items changes only when one of them gets an event, so a short list kept at every event is exact.

use crate::decay::Decay;
use crate::save::{Input, LoadError, Output, Saved};

/// How fast the past is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// An event counts half after 6 hours: what is trending.
    Hours = 0,
    /// After 28 days: what is popular.
    Weeks = 1,
}

const WINDOWS: usize = 2;
const HALF_LIVES_MS: [u64; WINDOWS] = [6 * 3_600_000, 28 * 86_400_000];

/// The most popular, in no order.
#[derive(Clone, Debug, Default)]
struct Top {
    items: Vec<u32>,
    /// No item of a full list weighs less, and none beside it more.
    least: f32,
}

impl Top {
    /// An item has gained weight.
    fn rise(&mut self, item: u32, weights: &[f32], items_max: usize) {
        let weight = weights[item as usize];
        if self.items.len() < items_max {
            if weight > 0.0 && !self.items.contains(&item) {
                self.items.push(item);
                self.least = self.least_of(weights);
            }
            return;
        }
        if weight <= self.least || self.items.contains(&item) {
            return;
        }
        let least = (0..self.items.len()).min_by(|a, b| weights[self.items[*a] as usize].total_cmp(&weights[self.items[*b] as usize]));
        if let Some(place) = least.filter(|place| weights[self.items[*place] as usize] < weight) {
            self.items[place] = item;
        }
        self.least = self.least_of(weights);
    }

    /// An item has lost weight: one that falls below the others of a full list leaves its place to the heaviest beside it. All items are
    /// looked at for that, which few dismissals and refunds ask for.
    fn fall(&mut self, item: u32, weights: &[f32], items_max: usize) {
        if self.items.len() < items_max || weights[item as usize] >= self.least {
            return;
        }
        let Some(place) = self.items.iter().position(|kept| *kept == item) else { return };
        let mut heaviest = item;
        for (other, weight) in (0..).zip(weights) {
            if *weight > weights[heaviest as usize] && !self.items.contains(&other) {
                heaviest = other;
            }
        }
        self.items[place] = heaviest;
        self.least = self.least_of(weights);
    }

    fn least_of(&self, weights: &[f32]) -> f32 {
        self.items.iter().map(|item| weights[*item as usize]).fold(f32::INFINITY, f32::min)
    }
}

impl Saved for Top {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s(&self.items);
        output.f32(if self.least.is_finite() { self.least } else { 0.0 });
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        Ok(Self { items: input.u32s()?, least: input.f32()? })
    }
}

/// Counts of all items.
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    weights: [Vec<f32>; WINDOWS],
    decays: [Decay; WINDOWS],
    tops: [Top; WINDOWS],
}

impl Default for Popularity {
    fn default() -> Self {
        let decays = HALF_LIVES_MS.map(|half_life_ms| Decay::new(Some(half_life_ms)));
        Self { weights: Default::default(), decays, tops: Default::default() }
    }
}

impl Popularity {
    /// Counts an event; a negative weight takes away, never below nothing.
    pub(crate) fn note(&mut self, item: u32, weight: f32, at_ms: u64, popular_max: usize) {
        for ((weights, decay), top) in self.weights.iter_mut().zip(&mut self.decays).zip(&mut self.tops) {
            if item as usize >= weights.len() {
                weights.resize(item as usize + 1, 0.0);
            }
            if let Some(factor) = decay.advance(at_ms) {
                weights.iter_mut().for_each(|weight| *weight *= factor);
                if !top.items.is_empty() {
                    top.least = top.least_of(weights);
                }
            }
            let kept = &mut weights[item as usize];
            *kept = (*kept + weight * decay.weight(at_ms)).max(0.0);
            if weight < 0.0 {
                top.fall(item, weights, popular_max);
            } else {
                top.rise(item, weights, popular_max);
            }
        }
    }

    /// An item's decayed count, now.
    pub(crate) fn weight(&self, item: u32, window: Window) -> f32 {
        self.weights[window as usize].get(item as usize).copied().unwrap_or(0.0) * self.decays[window as usize].present()
    }

    /// The greatest decayed count, now.
    pub(crate) fn greatest(&self, window: Window) -> f32 {
        self.tops[window as usize].items.iter().map(|item| self.weight(*item, window)).fold(0.0, f32::max)
    }

    /// The most popular that `allow` lets through, best first, in `found`. The short list answers where enough of it is allowed; a
    /// filter that leaves too little of it is answered by counting out all items.
    pub(crate) fn popular(&self, window: Window, count: usize, allow: &dyn Fn(u32) -> bool, found: &mut Vec<(u32, f32)>) {
        found.clear();
        let (top, all) = (&self.tops[window as usize], self.weights[window as usize].len());
        let kept = |item: u32| Some((item, self.weight(item, window))).filter(|(item, weight)| *weight > 0.0 && allow(*item));
        found.extend(top.items.iter().filter_map(|item| kept(*item)));
        if found.len() < count && all > top.items.len() {
            found.clear();
            found.extend((0..all as u32).filter_map(kept));
        }
        crate::query::keep_best(found, count);
    }

    /// Whether it names only items below a number.
    pub(crate) fn is_within(&self, items: usize) -> bool {
        self.weights.iter().all(|weights| weights.len() <= items)
    }
}

impl Saved for Popularity {
    fn save(&self, output: &mut Output<'_>) {
        for window in 0..WINDOWS {
            output.f32s(&self.weights[window]);
            self.decays[window].save(output);
            self.tops[window].save(output);
        }
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let mut popularity = Self::default();
        for window in 0..WINDOWS {
            let weights = input.f32s()?;
            popularity.decays[window] = Decay::load(input)?;
            let top = Top::load(input)?;
            if top.items.iter().any(|item| *item as usize >= weights.len()) {
                return Err(LoadError::Malformed("counts of items"));
            }
            (popularity.weights[window], popularity.tops[window]) = (weights, top);
        }
        Ok(popularity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn popular(popularity: &Popularity, window: Window, count: usize, allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let mut found = Vec::new();
        popularity.popular(window, count, allow, &mut found);
        found
    }

    proptest! {
        #[test]
        fn the_short_list_is_what_counting_out_finds(
            events in proptest::collection::vec((0u32..40, -4i8..4, 0u64..2_000_000_000), 1..400)
        ) {
            let mut popularity = Popularity::default();
            for (item, weight, at_ms) in events {
                popularity.note(item, f32::from(weight), at_ms, 6);
            }
            for window in [Window::Hours, Window::Weeks] {
                let mut all: Vec<(u32, f32)> =
                    (0..40).map(|item| (item, popularity.weight(item, window))).filter(|(_, weight)| *weight > 0.0).collect();
                all.sort_by(|a, b| b.1.total_cmp(&a.1));
                all.truncate(5);
                let weights = |found: &[(u32, f32)]| found.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
                prop_assert_eq!(weights(&popular(&popularity, window, 5, &|_| true)), weights(&all));
            }
        }
    }

    #[test]
    fn a_filter_is_answered_from_all_items() {
        let mut popularity = Popularity::default();
        for item in 0..20 {
            (0..=item).for_each(|_| popularity.note(item, 1.0, 5, 4));
        }
        let names = |allow: &dyn Fn(u32) -> bool| {
            popular(&popularity, Window::Weeks, 2, allow).into_iter().map(|(item, _)| item).collect::<Vec<_>>()
        };
        assert_eq!((names(&|item| item < 5), names(&|_| true)), (vec![4, 3], vec![19, 18]));
    }

    #[test]
    fn what_falls_out_of_the_short_list_makes_room_for_the_next() {
        let mut popularity = Popularity::default();
        for (item, weight) in [(0, 9.0), (1, 6.0), (2, 5.0), (3, 4.0), (0, -8.0)] {
            popularity.note(item, weight, 5, 2);
        }
        let names = |popularity: &Popularity| {
            popular(popularity, Window::Weeks, 2, &|_| true).into_iter().map(|(item, _)| item).collect::<Vec<_>>()
        };
        assert_eq!(names(&popularity), [1, 2]);
        popularity.note(3, 1.5, 5, 2);
        assert_eq!(names(&popularity), [1, 3]);
    }
}
