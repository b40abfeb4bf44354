//! Our own state, fed with a data set as a shop would feed it.

use std::time::Duration;

use crate::event::{Event, Kind};
use crate::query::{History, Request};
use crate::scratch::Scratch;
use crate::settings::{Blend, Settings};
use crate::state::Behaviour;
use crate::tune::Placement;

use super::data::{Dataset, Query, Row};

/// Between two sessions of a file that says no times.
const SESSION_MS: u64 = 60_000;
/// Tuning of the blend: visits that it may read, blends that it may try, questions that it may ask of each.
const TUNING_VISITS_MAX: usize = 300_000;
const TUNING_TRIALS_MAX: usize = 50;
const TUNING_QUERIES_MAX: usize = 2_000;

/// A state whose items have the numbers of the data set.
#[derive(Debug)]
pub struct Ours {
    /// The state.
    pub state: Behaviour,
    scratch: Scratch,
    /// What tuning found; else the blend of the settings.
    blend: Option<Blend>,
}

impl Ours {
    /// A state that knows the items of a data set by their numbers there.
    pub fn new(data: &Dataset, settings: Settings) -> Self {
        let mut state = Behaviour::new(settings);
        for name in data.items() {
            // An item without a name or beyond the bound has no events either.
            let _known = state.add_item(name);
        }
        Self { state, scratch: Scratch::default(), blend: None }
    }

    fn apply(&mut self, data: &Dataset, shopper: &str, session: &str, item: u32, kind: Kind, at_ms: u64) {
        let (session, item) = (Some(session), &data.items()[item as usize]);
        let order = session.filter(|_| kind == Kind::Purchase);
        let _refused = self.state.apply(&Event { shopper, session, item, kind, at_ms, quantity: 1, order });
    }

    /// Feeds sequences in their order, each as a visit (views) or an order (purchases) of somebody else.
    pub fn feed_sequences(&mut self, data: &Dataset, kind: Kind) {
        for (number, sequence) in data.sequences.iter().enumerate() {
            let name = number.to_string();
            for (place, item) in sequence.iter().enumerate() {
                self.apply(data, &name, &name, *item, kind, number as u64 * SESSION_MS + place as u64);
            }
        }
        self.state.end_visits();
    }

    /// Feeds the rows of users, all in the order of time.
    pub fn feed_rows<'a>(&mut self, data: &Dataset, rows: impl Iterator<Item = &'a Row>, kind: Kind) {
        let mut rows: Vec<&Row> = rows.collect();
        rows.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        for row in rows {
            let at_ms = Duration::try_from_secs_f64(row.ts).unwrap_or_default().as_millis() as u64;
            self.apply(data, &row.user, &row.user, row.item, kind, at_ms);
        }
        self.state.end_visits();
    }

    /// Tunes the blend on the latest visits, as the house does at night.
    pub fn tune(&mut self, novel: bool, goes_on: &mut dyn FnMut() -> bool) {
        let (set, placement) = (self.state.tuning_set(TUNING_VISITS_MAX), Placement { items_max: usize::MAX, novel });
        let tuned = set.tune(&self.state.settings().blend, placement, TUNING_TRIALS_MAX, TUNING_QUERIES_MAX, 1, goes_on);
        self.blend = tuned.map(|tuned| tuned.blend);
    }

    /// The list for a query: of its user's history where it names one, else of its known items as a visit.
    pub fn rank(&mut self, query: &Query, count: usize) -> Vec<u32> {
        let history = match &query.user {
            Some(user) => History::Shopper(user),
            None => History::Items(&query.known),
        };
        let allow = |item: u32| !query.exclude.contains(&item);
        let answer = self.state.for_you(history, self.blend.as_ref(), &Request::new(count).allowing(&allow), &mut self.scratch);
        answer.into_iter().map(|candidate| candidate.item).collect()
    }

    /// The list for a cart.
    pub fn rank_cart(&mut self, query: &Query, count: usize) -> Vec<u32> {
        let allow = |item: u32| !query.exclude.contains(&item);
        let answer = self.state.complete_cart(&query.known, &Request::new(count).allowing(&allow), &mut self.scratch);
        answer.into_iter().map(|candidate| candidate.item).collect()
    }

    /// What the user of a query buys again, filled up with what is popular.
    pub fn rank_again(&mut self, query: &Query, count: usize, now_ms: u64) -> Vec<u32> {
        let request = Request { now_ms, ..Request::new(count) };
        let again = self.state.buy_again(query.user.as_deref().unwrap_or_default(), &request);
        let mut list: Vec<u32> = again.into_iter().map(|candidate| candidate.item).collect();
        let allow = |item: u32| !list.contains(&item);
        let popular = self.state.popular(crate::popularity::Window::Weeks, &Request::new(count - list.len()).allowing(&allow));
        let popular: Vec<u32> = popular.into_iter().map(|candidate| candidate.item).collect();
        list.extend(popular);
        list
    }
}
