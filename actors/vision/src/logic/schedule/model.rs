//! What waits for one model, and which of it runs together.

use std::collections::VecDeque;

use super::cap::Cap;
use super::times::RunTimes;
use super::{Item, Lane, Micros, ModelLimits, Place, RESERVE_US};

/// Arrivals further apart than this are no stream.
const STREAM_INTERVAL_US_MAX: f64 = 250_000.0;
/// How fast the mean interval follows the last one.
const INTERVAL_PART: f64 = 0.2;
/// A stream that is this many mean intervals late has ended.
const INTERVALS_WAITED: f64 = 2.0;

/// Overlapping runs go on while they do at least this part of what whole ones do: estimates are not exact.
const OVERLAP_RATE_MIN: f64 = 0.98;

/// Whether the queries of a model run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Now,
    /// Running them with what is about to come is better for all; until then at the latest.
    At(Micros),
}

/// One model's items, and what is known of its runs.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) place: Place,
    pub(super) limits: ModelLimits,
    pub(super) queries: VecDeque<Item>,
    pub(super) imports: VecDeque<Item>,
    pub(super) times: RunTimes,
    pub(super) cap: Cap,
    pub(super) running: usize,
    pub(super) last_used_at: Micros,
    pub(super) last_query_at: Option<Micros>,
    /// Of messages, not of the items in them; `None` when there is no stream.
    interval_us: Option<f64>,
}

impl Model {
    pub(super) fn new(place: Place, limits: ModelLimits, now: Micros) -> Self {
        Self {
            place,
            limits,
            queries: VecDeque::new(),
            imports: VecDeque::new(),
            times: RunTimes::default(),
            cap: Cap::new(limits.units_max),
            running: 0,
            last_used_at: now,
            last_query_at: None,
            interval_us: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queries.is_empty() && self.imports.is_empty() && self.running == 0
    }

    /// Another place: what was measured and what fitted at the old one says nothing.
    pub(super) fn move_to(&mut self, place: Place) {
        self.place = place;
        self.times = RunTimes::default();
        self.cap = Cap::new(self.limits.units_max);
    }

    pub(super) fn lane(&mut self, lane: Lane) -> &mut VecDeque<Item> {
        match lane {
            Lane::Query => &mut self.queries,
            Lane::Import => &mut self.imports,
        }
    }

    /// A message with queries has come.
    pub(super) fn query_arrives(&mut self, now: Micros) {
        let since = self.last_query_at.map(|last| now.saturating_sub(last) as f64).filter(|since| *since < STREAM_INTERVAL_US_MAX);
        self.interval_us = match (since, self.interval_us) {
            (Some(since), Some(mean)) => Some(mean + INTERVAL_PART * (since - mean)),
            (since, _) => since,
        };
        self.last_query_at = Some(now);
    }

    /// Whether the waiting queries run now, when a run could start at once.
    ///
    /// With `n` waiting, the next expected in `a`, runs of `e(n)`: running now costs the next one `e(n) - a + e(1)` and each of the others
    /// `e(n)`; waiting for it costs each `a + e(n + 1)`. The sum is smaller for waiting where `(n + 1) (a + e(n + 1) - e(n)) < e(1)`:
    /// never where a run of two takes as long as two runs, nor where nothing is expected soon.
    pub(super) fn readiness(&self, now: Micros, target_us: Micros) -> Readiness {
        let (Some(oldest), Some(interval), Some(last)) = (self.queries.front(), self.interval_us, self.last_query_at) else {
            return Readiness::Now;
        };
        let (count, units) = (self.queries.len(), self.longest(&self.queries));
        let mean = |items: usize| self.times.mean(items * units);
        let (Some(one), Some(these), Some(with_next)) = (mean(1), mean(count), mean(count + 1)) else { return Readiness::Now };
        let expected_in = (last as f64 + interval - now as f64).max(0.0);
        let is_better = (count + 1) as f64 * (expected_in + (with_next - these).max(0.0)) < one;
        if !is_better || count >= self.batch_max(units, target_us) {
            return Readiness::Now;
        }
        let late = self.times.late((count + 1) * units).unwrap_or(with_next);
        let slack_ends = oldest.queued_at as f64 + target_us as f64 - late;
        let until = (last as f64 + INTERVALS_WAITED * interval).min(slack_ends);
        if until <= now as f64 { Readiness::Now } else { Readiness::At(until.ceil() as Micros) }
    }

    /// Until when it counts as being asked, if it does.
    pub(super) fn queried_until(&self, now: Micros) -> Option<Micros> {
        self.last_query_at.map(|last| last + RESERVE_US).filter(|until| now < *until)
    }

    /// Whether imports' runs of half the length that overlap do more in the same time than whole ones that do not. A run that begins
    /// while another is computed is measured without its own sending, so that each length tells of its own way.
    pub(super) fn gains_by_overlap(&self, target_us: Micros) -> bool {
        let units = self.imports.front().map_or(1, |item| item.units);
        let rate = |target: Micros| {
            let items = self.batch_max(units, target);
            self.times.mean(items * units).map(|mean| items as f64 / mean.max(1.0))
        };
        matches!((rate(target_us / 2), rate(target_us)), (Some(half), Some(whole)) if half >= whole * OVERLAP_RATE_MIN)
    }

    fn longest(&self, items: &VecDeque<Item>) -> usize {
        items.iter().map(|item| item.units).max().unwrap_or(1)
    }

    /// The items of `units` each that may run together: within memory, the configured bound, and half of the latency target, so that a
    /// query that has to wait for one run has the other half for its own. One item runs in any case.
    fn batch_max(&self, units: usize, target_us: Micros) -> usize {
        let fits = |items: &usize| {
            let units = items * units;
            let in_time = self.times.late(units).is_some_and(|late| late <= target_us as f64 / 2.0);
            units <= self.cap.units() && in_time
        };
        (2..=self.limits.batch_max).take_while(fits).last().unwrap_or(1)
    }

    /// The places in its lane of the items of the next run: the oldest, and those that follow and fit in. Imports run with others of
    /// about their length.
    pub(super) fn pick(&self, lane: Lane, target_us: Micros) -> Vec<usize> {
        let items = if lane == Lane::Query { &self.queries } else { &self.imports };
        let Some(first) = items.front() else { return Vec::new() };
        let (mut picked, mut longest) = (vec![0], first.units);
        for (at, item) in items.iter().enumerate().skip(1) {
            if picked.len() >= first.together_max || item.together_max != first.together_max {
                break;
            }
            if lane == Lane::Import && item.units.next_power_of_two() != first.units.next_power_of_two() {
                continue;
            }
            let longer = longest.max(item.units);
            if picked.len() + 1 > self.batch_max(longer, target_us) {
                break;
            }
            longest = longer;
            picked.push(at);
        }
        picked
    }

    /// Takes the items at these ascending places out of their lane.
    pub(super) fn take(&mut self, lane: Lane, places: &[usize]) -> Vec<Item> {
        let items = self.lane(lane);
        let mut taken: Vec<Item> = places.iter().rev().filter_map(|at| items.remove(*at)).collect();
        taken.reverse();
        taken
    }

    /// The time of the shortest run there can be, of an item like those that wait (or the shortest there is).
    pub(super) fn shortest_us(&self, lane: Lane) -> Option<f64> {
        let items = if lane == Lane::Query { &self.queries } else { &self.imports };
        self.times.late(items.front().map_or(1, |item| item.units))
    }
}
