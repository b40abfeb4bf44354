//! What is popular: decayed counts over three windows, for the shop and for each group, with the most popular kept ready.
//!
//! Under forward decay the order of two items changes only when one of them gets an event, so a short list kept at every event is exact.

use std::collections::BTreeMap;

use crate::decay::Decay;
use crate::save::{Input, LoadError, Output, Saved};

/// How fast the past is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// An event counts half after 6 hours: what is trending.
    Hours = 0,
    /// After 3 days.
    Days = 1,
    /// After 28 days: what is popular.
    Weeks = 2,
}

const WINDOWS: usize = 3;
const HALF_LIVES_MS: [u64; WINDOWS] = [6 * 3_600_000, 3 * 86_400_000, 28 * 86_400_000];

/// The most popular of a shop or group, in no order.
#[derive(Clone, Debug, Default)]
struct Top {
    items: Vec<u32>,
    /// No item of a full list weighs less.
    least: f32,
}

impl Top {
    fn note(&mut self, item: u32, weights: &[f32], items_max: usize) {
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

#[derive(Clone, Debug, Default)]
struct Group {
    tops: [Top; WINDOWS],
    /// All its items, in the order of their coming.
    items: Vec<u32>,
}

/// Counts of all items.
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    weights: [Vec<f32>; WINDOWS],
    decays: [Decay; WINDOWS],
    shop: [Top; WINDOWS],
    groups: BTreeMap<u32, Group>,
    groups_of: Vec<Box<[u32]>>,
}

impl Default for Popularity {
    fn default() -> Self {
        let decays = HALF_LIVES_MS.map(|half_life_ms| Decay::new(Some(half_life_ms)));
        Self { weights: Default::default(), decays, shop: Default::default(), groups: BTreeMap::new(), groups_of: Vec::new() }
    }
}

impl Popularity {
    /// Counts an event; a negative weight takes away, never below nothing.
    pub(crate) fn note(&mut self, item: u32, weight: f32, at_ms: u64, popular_max: usize) {
        self.make_room(item);
        let Self { weights, decays, shop, groups, groups_of } = self;
        for (window, weights) in weights.iter_mut().enumerate() {
            if let Some(factor) = decays[window].advance(at_ms) {
                weights.iter_mut().for_each(|weight| *weight *= factor);
                let tops = groups.values_mut().map(|group| &mut group.tops[window]).chain([&mut shop[window]]);
                tops.filter(|top| !top.items.is_empty()).for_each(|top| top.least = top.least_of(weights));
            }
            let kept = &mut weights[item as usize];
            *kept = (*kept + weight * decays[window].weight(at_ms)).max(0.0);
            shop[window].note(item, weights, popular_max);
            for group in &groups_of[item as usize] {
                if let Some(group) = groups.get_mut(group) {
                    group.tops[window].note(item, weights, popular_max);
                }
            }
        }
    }

    fn make_room(&mut self, item: u32) {
        if item as usize >= self.groups_of.len() {
            self.groups_of.resize(item as usize + 1, Box::default());
            self.weights.iter_mut().for_each(|weights| weights.resize(item as usize + 1, 0.0));
        }
    }

    /// Puts an item into groups and out of all others. Groups beyond the bounds are left out.
    pub(crate) fn set_groups(&mut self, item: u32, wanted: &[u32], groups_max: usize, item_groups_max: usize, popular_max: usize) {
        self.make_room(item);
        let mut wanted: Vec<u32> = wanted.to_vec();
        wanted.dedup();
        wanted.truncate(item_groups_max);
        if *self.groups_of[item as usize] == wanted[..] {
            return;
        }
        for old in self.groups_of[item as usize].iter().filter(|old| !wanted.contains(old)) {
            if let Some(group) = self.groups.get_mut(old) {
                group.items.retain(|other| *other != item);
                group.tops.iter_mut().for_each(|top| top.items.retain(|other| *other != item));
                if group.items.is_empty() {
                    self.groups.remove(old);
                }
            }
        }
        let mut taken = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            if taken.contains(&wanted) || (!self.groups.contains_key(&wanted) && self.groups.len() >= groups_max) {
                continue;
            }
            taken.push(wanted);
            let group = self.groups.entry(wanted).or_default();
            if !self.groups_of[item as usize].contains(&wanted) {
                group.items.push(item);
                for (top, weights) in group.tops.iter_mut().zip(&self.weights) {
                    top.note(item, weights, popular_max);
                }
            }
        }
        self.groups_of[item as usize] = taken.into_boxed_slice();
    }

    /// The groups of an item, in the order they were given.
    pub(crate) fn groups_of(&self, item: u32) -> &[u32] {
        self.groups_of.get(item as usize).map_or(&[], |groups| groups)
    }

    /// An item's decayed count, now.
    pub(crate) fn weight(&self, item: u32, window: Window) -> f32 {
        self.weights[window as usize].get(item as usize).copied().unwrap_or(0.0) * self.decays[window as usize].present()
    }

    /// The greatest decayed count of the shop, now.
    pub(crate) fn greatest(&self, window: Window) -> f32 {
        self.shop[window as usize].items.iter().map(|item| self.weight(*item, window)).fold(0.0, f32::max)
    }

    /// The most popular that `allow` lets through, best first, in `found`. The short list answers where enough of it is allowed; a
    /// filter that leaves too little of it is answered by counting out all items of the group or shop.
    pub(crate) fn popular(
        &self,
        window: Window,
        group: Option<u32>,
        count: usize,
        allow: &dyn Fn(u32) -> bool,
        found: &mut Vec<(u32, f32)>,
    ) {
        found.clear();
        let group = match group.map(|group| self.groups.get(&group)) {
            Some(None) => return,
            Some(Some(group)) => Some(group),
            None => None,
        };
        let top = group.map_or(&self.shop[window as usize], |group| &group.tops[window as usize]);
        let kept = |item: u32| Some((item, self.weight(item, window))).filter(|(item, weight)| *weight > 0.0 && allow(*item));
        found.extend(top.items.iter().filter_map(|item| kept(*item)));
        let all = group.map_or(self.weights[window as usize].len(), |group| group.items.len());
        if found.len() < count && all > top.items.len() {
            found.clear();
            match group {
                Some(group) => found.extend(group.items.iter().filter_map(|item| kept(*item))),
                None => found.extend((0..all as u32).filter_map(kept)),
            }
        }
        crate::query::keep_best(found, count);
    }

    /// Whether it names only items below a number.
    pub(crate) fn is_within(&self, items: usize) -> bool {
        self.groups_of.len() <= items
    }
}

impl Saved for Popularity {
    fn save(&self, output: &mut Output<'_>) {
        for window in 0..WINDOWS {
            output.f32s(&self.weights[window]);
            self.decays[window].save(output);
            self.shop[window].save(output);
        }
        output.u64(self.groups.len() as u64);
        for (number, group) in &self.groups {
            output.u32(*number);
            group.tops.iter().for_each(|top| top.save(output));
            output.u32s(&group.items);
        }
        output.u64(self.groups_of.len() as u64);
        self.groups_of.iter().for_each(|groups| output.u32s(groups));
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let mut popularity = Self::default();
        for window in 0..WINDOWS {
            popularity.weights[window] = input.f32s()?;
            popularity.decays[window] = Decay::load(input)?;
            popularity.shop[window] = Top::load(input)?;
        }
        for _ in 0..input.len()? {
            let number = input.u32()?;
            let tops = [Top::load(input)?, Top::load(input)?, Top::load(input)?];
            popularity.groups.insert(number, Group { tops, items: input.u32s()? });
        }
        for _ in 0..input.len()? {
            popularity.groups_of.push(input.u32s()?.into_boxed_slice());
        }
        let len = popularity.groups_of.len();
        let within = |items: &[u32]| items.iter().all(|item| (*item as usize) < len);
        let tops = popularity.groups.values().flat_map(|group| &group.tops).chain(&popularity.shop);
        let sound = popularity.weights.iter().all(|weights| weights.len() == len)
            && tops.into_iter().all(|top| within(&top.items))
            && popularity.groups.values().all(|group| within(&group.items));
        if sound { Ok(popularity) } else { Err(LoadError::Malformed("counts of items")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_list_is_what_counting_out_finds(events in proptest::collection::vec((0u32..40, 0u64..2_000_000_000), 1..400)) {
            let mut popularity = Popularity::default();
            for item in 0..40 {
                popularity.set_groups(item, &[item % 3, 7], 10, 4, 6);
            }
            for (item, at_ms) in events {
                popularity.note(item, 1.0, at_ms, 6);
            }
            for window in [Window::Hours, Window::Days, Window::Weeks] {
                for group in [None, Some(0), Some(1), Some(7)] {
                    let mut found = Vec::new();
                    popularity.popular(window, group, 5, &|_| true, &mut found);
                    let mut all: Vec<(u32, f32)> = (0..40)
                        .filter(|item| group.is_none_or(|group| popularity.groups_of(*item).contains(&group)))
                        .map(|item| (item, popularity.weight(item, window)))
                        .filter(|(_, weight)| *weight > 0.0)
                        .collect();
                    all.sort_by(|a, b| b.1.total_cmp(&a.1));
                    all.truncate(5);
                    let weights = |found: &[(u32, f32)]| found.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
                    prop_assert_eq!(weights(&found), weights(&all));
                }
            }
        }
    }

    #[test]
    fn a_filter_is_answered_from_all_items_and_a_moved_item_leaves_its_group() {
        let mut popularity = Popularity::default();
        for item in 0..20 {
            popularity.set_groups(item, &[1], 10, 4, 4);
            (0..=item).for_each(|_| popularity.note(item, 1.0, 5, 4));
        }
        let names = |group, allow: &dyn Fn(u32) -> bool| {
            let mut found = Vec::new();
            popularity.popular(Window::Days, group, 2, allow, &mut found);
            found.into_iter().map(|(item, _)| item).collect::<Vec<_>>()
        };
        assert_eq!(
            (names(None, &|item| item < 5), names(Some(1), &|item| item < 9), names(Some(2), &|_| true)),
            (vec![4, 3], vec![8, 7], vec![])
        );
        popularity.set_groups(19, &[2], 10, 4, 4);
        let mut found = Vec::new();
        popularity.popular(Window::Days, Some(1), 1, &|_| true, &mut found);
        assert_eq!(found[0].0, 18);
        popularity.popular(Window::Days, Some(2), 1, &|_| true, &mut found);
        assert_eq!(found[0].0, 19);
    }
}
