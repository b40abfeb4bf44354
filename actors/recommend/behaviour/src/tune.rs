//! Tuning: which blend would have foretold the latest visits best. Meant for the night; it works on a copy of the visits, so that nobody
//! waits for it.

use crate::query::{History, Request};
use crate::scratch::Scratch;
use crate::settings::{Blend, Settings};
use crate::state::Behaviour;

/// Share of the latest visits that are held back and asked for.
const HELD_BACK: f64 = 0.03;
/// Places of a list that count.
const LIST: usize = 20;

/// Where a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Newest items that the list is made from: one beside an item, many on a home page.
    pub items_max: usize,
    /// What the visit has seen is not shown.
    pub novel: bool,
}

/// What tuning found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The best blend.
    pub blend: Blend,
    /// Its nDCG@20 on the visits held back.
    pub ndcg: f64,
    /// That of the blend it began with.
    pub ndcg_before: f64,
    /// Questions asked of each blend.
    pub queries: usize,
    /// Blends tried.
    pub tried: usize,
}

/// Visits to tune on.
#[derive(Clone, Debug)]
pub struct TuningSet {
    settings: Settings,
    items: usize,
    visits: Vec<Vec<u32>>,
}

impl Behaviour {
    /// Copies the latest visits to tune on.
    pub fn tuning_set(&self, visits_max: usize) -> TuningSet {
        let visits = self.visits.index.latest(visits_max).map(<[u32]>::to_vec).collect();
        TuningSet { settings: self.settings.clone(), items: self.items.len(), visits }
    }
}

impl TuningSet {
    /// Tries `start`, each of its parts alone and then random blends, as many as `trials` and while `goes_on` says so; at most
    /// `queries_max` prefixes of the visits held back are asked. `None`: there are too few visits.
    pub fn tune(
        &self,
        start: &Blend,
        placement: Placement,
        trials: usize,
        queries_max: usize,
        seed: u64,
        mut goes_on: impl FnMut() -> bool,
    ) -> Option<Tuned> {
        let held_back = (self.visits.len() as f64 * HELD_BACK) as usize;
        let (fit, held_back) = self.visits.split_at(self.visits.len() - held_back);
        let queries = queries(held_back, placement, queries_max);
        if queries.is_empty() {
            return None;
        }
        let (state, mut scratch, mut draw) = (self.fitted(fit), Scratch::default(), Draw(seed | 1));
        let repeat = if placement.novel { 0.0 } else { start.repeat };
        let start = Blend { repeat, ..start.clone() };
        let ndcg_before = ndcg(&state, &start, placement, &queries, &mut scratch);
        let mut best = Tuned { blend: start.clone(), ndcg: ndcg_before, ndcg_before, queries: queries.len(), tried: 1 };
        let parts = [Blend { pairs: 0.0, ..start.clone() }, Blend { neighbours: 0.0, pairs: 1.0, ..start.clone() }];
        for trial in 0..trials {
            if !goes_on() {
                break;
            }
            let blend = parts.get(trial).cloned().unwrap_or_else(|| draw.blend(&start, placement));
            let ndcg = ndcg(&state, &blend, placement, &queries, &mut scratch);
            best.tried += 1;
            if ndcg > best.ndcg {
                best = Tuned { blend, ndcg, ..best };
            }
        }
        Some(best)
    }

    /// A state that knows only the visits that are not held back. They are recent, so age does not count.
    fn fitted(&self, visits: &[Vec<u32>]) -> Behaviour {
        let mut settings = self.settings.clone();
        settings.view.half_life_ms = None;
        let mut state = Behaviour::new(settings);
        state.events_of.resize(self.items, 0);
        for visit in visits {
            for (place, item) in visit.iter().enumerate() {
                state.view.observe(visit[..place].iter().rev().copied(), *item, 1.0, 0, &state.settings.view);
            }
            state.visits.index.add(visit, &state.settings.sessions);
        }
        state
    }
}

/// Prefixes of visits, newest item last, each with what came next; evenly taken where there are too many.
fn queries(visits: &[Vec<u32>], placement: Placement, queries_max: usize) -> Vec<(&[u32], u32)> {
    let prefixes = visits
        .iter()
        .flat_map(|visit| (1..visit.len()).map(|cut| (&visit[cut.saturating_sub(placement.items_max.max(1))..cut], visit[cut])));
    let all: Vec<(&[u32], u32)> = prefixes.filter(|(known, target)| !placement.novel || !known.contains(target)).collect();
    let step = (all.len() as f64 / queries_max.max(1) as f64).max(1.0);
    let count = (all.len() as f64 / step) as usize;
    (0..count).map(|index| all[(index as f64 * step) as usize]).collect()
}

fn ndcg(state: &Behaviour, blend: &Blend, placement: Placement, queries: &[(&[u32], u32)], scratch: &mut Scratch) -> f64 {
    let gain = |(known, target): &(&[u32], u32)| {
        let allow = |item: u32| !placement.novel || !known.contains(&item);
        let list = state.rank(History::Items(known), blend, &Request::new(LIST).allowing(&allow), scratch);
        list.iter().position(|item| item == target).map_or(0.0, |place| 1.0 / ((place + 2) as f64).log2())
    };
    queries.iter().map(gain).sum::<f64>() / queries.len().max(1) as f64
}

/// Draws blends; xorshift64.
struct Draw(u64);

impl Draw {
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[(self.0 >> 20) as usize % from.len()]
    }

    fn blend(&mut self, start: &Blend, placement: Placement) -> Blend {
        Blend {
            match_decay: self.of(&[0.7, 1.0, 1.5, 2.0, 3.0, 5.0]),
            age_decay: self.of(&[0.0, 0.3, 1.0, 3.0]),
            distance_decay: self.of(&[0.0, 1.0, 2.0, 3.0, 5.0]),
            length: self.of(&[0.25, 0.5, 0.75]),
            rarity: self.of(&[0.0, 0.5, 1.0]),
            neighbours_max: self.of(&[100, 300, 500, 1_000, 1_500]),
            items_max: self.of(&[5, 10, 20]),
            repeat: if placement.novel { 0.0 } else { self.of(&[0.3, 0.5, 1.0, 1.5]) },
            pairs: self.of(&[0.15, 0.3, 0.6, 1.0]),
            pairs_popularity: self.of(&[0.1, 0.3, 0.5]),
            pairs_half_life: self.of(&[0.5, 1.0, 2.0]),
            ..start.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Kind};

    #[test]
    fn tuning_finds_no_worse_and_the_same_every_time() {
        let mut state = Behaviour::new(Settings::default());
        for visit in 0..400u64 {
            for step in 0..4u64 {
                let item = format!("i{}", (visit * 7 % 13) * 5 + (step * (1 + visit % 2)) % 5);
                let (shopper, at_ms) = (format!("s{visit}"), visit * 3_600_000 + step * 1_000);
                let event = Event { shopper: &shopper, session: None, item: &item, kind: Kind::View, at_ms, quantity: 1, order: None };
                state.apply(&event).expect("good");
            }
        }
        state.end_visits();
        let set = state.tuning_set(1_000);
        let placement = Placement { items_max: 5, novel: true };
        let tune = |goes_on: fn() -> bool| set.tune(&Blend::default(), placement, 10, 20, 1, goes_on).expect("visits enough");
        let tuned = tune(|| true);
        assert!(tuned.ndcg >= tuned.ndcg_before && tuned.tried == 11 && tuned.queries > 10 && tuned.blend.repeat == 0.0);
        assert_eq!(tuned, tune(|| true));
        assert_eq!(tune(|| false).tried, 1);
        assert_eq!(Behaviour::new(Settings::default()).tuning_set(9).tune(&Blend::default(), placement, 1, 1, 1, || true), None);
    }
}
