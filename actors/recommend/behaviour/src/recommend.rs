//! Questions: for a shopper or visit, beside an item, for a cart, what is popular, what is bought again.

use crate::bridge;
use crate::cooccurrence::{Cooccurrence, source_weight};
use crate::event::Kind;
use crate::keys::Key;
use crate::knn;
use crate::popularity::Window;
use crate::query::{Candidate, History, Picked, Reason, Request, Strategy, keep_best};
use crate::scratch::{Scores, Scratch};
use crate::settings::{Blend, Reading};
use crate::state::Behaviour;

/// Less than any score: items that a repeat factor of zero has switched off.
const NO_SCORE: f32 = 1e-30;
/// What the first of a list filled up with popular items scores, of the last before it.
const FILLED: f32 = 0.5;

/// Calls the visitor with the items most like one by content and their cosine, nearest first.
pub type Like<'a> = dyn Fn(u32, &mut dyn FnMut(u32, f32)) + 'a;

/// New items that may be shown, and what they are like.
#[derive(Clone, Copy)]
pub struct Likeness<'a> {
    /// The new items to consider, a few thousand at most.
    pub items: &'a [u32],
    /// What an item is like.
    pub like: &'a Like<'a>,
}

/// One ingredient of a blend, once it has been scored.
#[derive(Clone, Copy, Debug)]
struct Part {
    strategy: Strategy,
    /// What its scores were multiplied by.
    factor: f32,
}

impl Behaviour {
    /// What to show a shopper, or a visit: visits like it, pairs and taste blended; without a visit the shopper's taste; filled up with
    /// what is popular. `blend`: `None` is that of the settings.
    pub fn for_you(&self, history: History<'_>, blend: Option<&Blend>, request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        let blend = blend.unwrap_or(&self.settings.blend);
        let dismissed = self.recall(history, scratch);
        let allow = |item: u32| !dismissed.contains(&item) && (request.allow)(item);
        let taste_only = Blend { neighbours: 0.0, pairs: 0.0, taste: 1.0, ..blend.clone() };
        let blend = if scratch.visit.is_empty() { &taste_only } else { blend };
        let (parts, greatest) = self.pick(blend, request.count(), &allow, scratch);
        let picked = std::mem::take(&mut scratch.picked);
        let mut answer = self.explain(blend, &parts, &picked, scratch);
        scratch.picked = picked;
        if let Some(likeness) = request.likeness {
            let settings = &self.settings.bridge;
            let new = bridge::score(likeness, &scratch.blended, &scratch.history, settings, |item| self.events_of(item), &allow);
            bridge::merge(&mut answer, new, greatest, settings, request.count());
        }
        scratch.blended.clear();
        scratch.matched.clear();
        let seen = matches!(history, History::Shopper(_)).then_some(&scratch.history[..]).unwrap_or_default();
        self.fill(&mut answer, request.count(), &|item| !seen.contains(&item) && allow(item));
        answer
    }

    /// The items of a blend alone, best first: no reasons, nothing new, nothing filled up.
    pub(crate) fn rank(&self, history: History<'_>, blend: &Blend, request: &Request<'_>, scratch: &mut Scratch) -> Vec<u32> {
        self.recall(history, scratch);
        self.pick(blend, request.count(), request.allow, scratch);
        scratch.blended.clear();
        scratch.matched.clear();
        scratch.picked.iter().map(|(item, _)| *item).collect()
    }

    /// Puts the best of a blend into `scratch.picked`, and returns its parts and its greatest score.
    fn pick(&self, blend: &Blend, count: usize, allow: &dyn Fn(u32) -> bool, scratch: &mut Scratch) -> (Vec<Part>, f32) {
        let parts = self.blend(blend, allow, scratch);
        let Scratch { picked, blended, .. } = scratch;
        picked.clear();
        let scored = blended.touched().iter().map(|item| (*item, blended.get(*item)));
        picked.extend(scored.filter(|(item, score)| *score > NO_SCORE && allow(*item)));
        let greatest = picked.iter().map(|(_, score)| *score).fold(0.0, f32::max);
        keep_best(picked, count);
        (parts, greatest)
    }

    /// Puts the visit under way and the history, newest first, into the working memory; returns what the shopper does not want.
    fn recall(&self, history: History<'_>, scratch: &mut Scratch) -> Vec<u32> {
        scratch.visit.clear();
        scratch.history.clear();
        let mut dismissed = Vec::new();
        match history {
            History::Items(items) => {
                scratch.visit.extend(items.iter().rev());
                scratch.history.extend(items.iter().rev());
            }
            History::Shopper(name) => {
                let Some(shopper) = self.shoppers.find(Key::new(name)).and_then(|slot| self.shoppers.get(slot)) else { return dismissed };
                dismissed.extend(shopper.entries.iter().filter(|entry| entry.kind() == Kind::Dismiss).map(|entry| entry.item()));
                let wanted = |item: &u32| !dismissed.contains(item);
                let entries = shopper.entries.iter().rev().filter(|entry| entry.kind().is_interest());
                scratch.history.extend(entries.map(|entry| entry.item()).filter(wanted));
                let visit = self.visits.get(shopper.visit).map_or(&[][..], |visit| &visit.entries);
                scratch.visit.extend(visit.iter().rev().map(|entry| entry.item()).filter(wanted));
            }
        }
        dismissed
    }

    fn pairs_reading(&self, blend: &Blend) -> Reading {
        let reading = self.settings.view.reading.clone();
        Reading { popularity: blend.pairs_popularity, profile_half_life: blend.pairs_half_life, ..reading }
    }

    /// How a whole history is read: where shoppers have many events otherwise than where they have few.
    fn taste_reading(&self) -> &Reading {
        let settings = &self.settings.shopper;
        let dense = self.interests as f32 >= settings.dense_events_per_shopper * self.shoppers.len().max(1) as f32;
        if dense { &settings.dense } else { &settings.pairs.reading }
    }

    /// Scores every part and sums them up, each divided by its greatest allowed score, in `scratch.blended`.
    fn blend(&self, blend: &Blend, allow: &dyn Fn(u32) -> bool, scratch: &mut Scratch) -> Vec<Part> {
        let mut parts = Vec::with_capacity(3);
        scratch.blended.clear();
        scratch.nearest.clear();
        let mut absorb = |strategy, weight: f32, scratch: &mut Scratch| {
            let Scratch { scores, blended, .. } = scratch;
            let allowed = scores.touched().iter().filter(|item| allow(**item));
            let greatest = allowed.map(|item| scores.get(*item)).fold(0.0, f32::max);
            let factor = if greatest > NO_SCORE { weight / greatest } else { 0.0 };
            for item in scores.touched() {
                blended.add(*item, scores.get(*item) * factor);
            }
            scores.clear();
            parts.push(Part { strategy, factor });
        };
        let (visit, history) = (std::mem::take(&mut scratch.visit), std::mem::take(&mut scratch.history));
        if blend.neighbours > 0.0 {
            knn::score(&self.visits.index, &visit, blend, scratch);
            absorb(Strategy::Visits, blend.neighbours, scratch);
        }
        if blend.pairs > 0.0 {
            self.view.read(&visit, &self.pairs_reading(blend), &mut scratch.scores);
            absorb(Strategy::Pairs, blend.pairs, scratch);
        }
        // A visit without a past is said twice otherwise.
        if blend.taste > 0.0 && history != visit {
            self.taste.read(&history, self.taste_reading(), &mut scratch.scores);
            absorb(Strategy::Taste, blend.taste, scratch);
        }
        (scratch.visit, scratch.history) = (visit, history);
        parts
    }

    /// Says for the picked items which sources their scores come from.
    fn explain(&self, blend: &Blend, parts: &[Part], picked: &[Picked], scratch: &mut Scratch) -> Vec<Candidate> {
        let mut answer: Vec<Candidate> =
            picked.iter().map(|(item, score)| Candidate { item: *item, score: *score, reasons: Vec::new(), rest: 0.0 }).collect();
        let mut places = std::mem::take(&mut scratch.scores);
        for (place, (item, _)) in picked.iter().enumerate() {
            places.add(*item, place as f32 + 1.0);
        }
        for part in parts.iter().filter(|part| part.factor > 0.0) {
            let mut add = |item: u32, source: u32, score: f32, together: u32| {
                let score = score * part.factor;
                if let Some(candidate) = (places.get(item) as usize).checked_sub(1).and_then(|place| answer.get_mut(place)) {
                    candidate.add_reason(Reason { strategy: part.strategy, source: Some(source), score, together, of: 0 });
                }
            };
            match part.strategy {
                Strategy::Visits => {
                    let wanted = |item: u32| places.get(item) > 0.0;
                    knn::explain(&self.visits.index, blend, scratch, wanted, |item, source, score| add(item, source, score, 1));
                }
                Strategy::Pairs => {
                    explain_pairs(&self.view, &scratch.visit, &self.pairs_reading(blend), &places, |item, source, score| {
                        add(item, source, score, 0);
                    });
                }
                _ => explain_pairs(&self.taste, &scratch.history, self.taste_reading(), &places, |item, source, score| {
                    add(item, source, score, 0);
                }),
            }
        }
        places.clear();
        scratch.scores = places;
        answer.iter_mut().for_each(Candidate::settle);
        answer
    }

    /// Fills a list up with what is popular, below what is in it.
    fn fill(&self, answer: &mut Vec<Candidate>, count: usize, allow: &dyn Fn(u32) -> bool) {
        let missing = count.saturating_sub(answer.len());
        if missing == 0 {
            return;
        }
        let mut found = Vec::new();
        let has = |item: u32| answer.iter().any(|candidate| candidate.item == item);
        self.popularity.popular(Window::Weeks, missing, &|item| !has(item) && allow(item), &mut found);
        let below = answer.last().map_or(1.0, |last| last.score) * FILLED;
        let greatest = found.first().map_or(1.0, |(_, weight)| *weight);
        answer.extend(found.iter().map(|(item, weight)| popular(*item, *weight, below / greatest)));
    }

    /// What shoppers who looked at an item also looked at.
    pub fn also_viewed(&self, item: u32, request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        self.for_you(
            History::Items(&[item]),
            None,
            &Request { allow: &|other| other != item && (request.allow)(other), ..*request },
            scratch,
        )
    }

    /// What shoppers who looked at an item bought in the end.
    pub fn viewed_then_bought(&self, item: u32, request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        let picked = &mut scratch.picked;
        picked.clear();
        let scores = self.cross.scores_of(item, &self.settings.cross.pairs.reading);
        picked.extend(scores.filter(|(other, score)| *score > NO_SCORE && *other != item && (request.allow)(*other)));
        keep_best(picked, request.count());
        let reason = |score| Reason { strategy: Strategy::Bought, source: Some(item), score, together: 0, of: 0 };
        picked.iter().map(|(other, score)| Candidate::of(*other, reason(*score))).collect()
    }

    /// The most popular of the shop; `score` is the decayed count.
    pub fn popular(&self, window: Window, request: &Request<'_>) -> Vec<Candidate> {
        let mut found = Vec::new();
        self.popularity.popular(window, request.count(), request.allow, &mut found);
        found.into_iter().map(|(item, weight)| popular(item, weight, 1.0)).collect()
    }

    /// What a shopper looked at last, newest first, each item once.
    pub fn recently_viewed(&self, shopper: &str, request: &Request<'_>) -> Vec<Candidate> {
        let shopper = self.shoppers.find(Key::new(shopper)).and_then(|slot| self.shoppers.get(slot));
        let mut answer: Vec<Candidate> = Vec::new();
        for entry in shopper.map_or(&[][..], |shopper| &shopper.entries).iter().rev().filter(|entry| entry.kind().is_interest()) {
            if answer.len() >= request.count() {
                break;
            }
            if !answer.iter().any(|candidate| candidate.item == entry.item()) && (request.allow)(entry.item()) {
                let score = 1.0 / (answer.len() + 1) as f32;
                let reason = Reason { strategy: Strategy::Recent, source: Some(entry.item()), score, together: 0, of: 0 };
                answer.push(Candidate::of(entry.item(), reason));
            }
        }
        answer
    }
}

fn popular(item: u32, weight: f32, factor: f32) -> Candidate {
    let reason = Reason { strategy: Strategy::Popular, source: None, score: weight * factor, together: weight.round() as u32, of: 0 };
    Candidate::of(item, reason)
}

/// Calls `part(item, source, score)` for all that [`Cooccurrence::read`] adds to items that have a place.
fn explain_pairs(pairs: &Cooccurrence, history: &[u32], reading: &Reading, places: &Scores, mut part: impl FnMut(u32, u32, f32)) {
    for (place, source) in history.iter().take(reading.sources_max).enumerate() {
        let weight = source_weight(place, reading);
        for (item, score) in pairs.scores_of(*source, reading).filter(|(item, _)| places.get(*item) > 0.0) {
            part(item, *source, weight * score);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;
    use crate::settings::Settings;

    use super::*;

    /// What shoppers turn down says nothing of how much they look at.
    #[test]
    fn only_what_speaks_for_an_item_makes_histories_dense() {
        for (kind, is_dense) in [(Kind::Dismiss, false), (Kind::Refund, false), (Kind::View, true)] {
            let mut state = Behaviour::new(Settings::default());
            for number in 0..state.settings.shopper.dense_events_per_shopper as u64 {
                let event = Event { shopper: "s", session: None, item: "a", kind, at_ms: number * 60_000, quantity: 1, order: None };
                state.apply(&event).expect("good");
            }
            assert_eq!(std::ptr::eq(state.taste_reading(), &state.settings.shopper.dense), is_dense, "{kind:?}");
        }
    }

    #[test]
    fn a_list_that_the_shop_cannot_fill_asks_about_each_item_once() {
        let mut state = Behaviour::new(Settings::default());
        for number in 0..9 {
            let item = number.to_string();
            let event = Event { shopper: "s", session: None, item: &item, kind: Kind::View, at_ms: number, quantity: 1, order: None };
            state.apply(&event).expect("good");
        }
        let asked = std::cell::Cell::new(0);
        let allow = |item: u32| {
            asked.set(asked.get() + 1);
            item != 0
        };
        let answer = state.for_you(History::Shopper("new"), None, &Request::new(20).allowing(&allow), &mut Scratch::default());
        assert_eq!((answer.len(), asked.get()), (8, 9));
    }
}
