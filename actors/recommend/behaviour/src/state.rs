//! The state: what all shoppers did, as far as it is needed to answer, brought forward event by event.

use std::io::{self, Read, Write};

use crate::baskets::Baskets;
use crate::cooccurrence::Cooccurrence;
use crate::event::{Event, Kind, Refused};
use crate::history::{Bought, Entry, ITEMS_MAX, Shoppers, TIME_MS_MAX, insert_by_time};
use crate::keys::{Items, KEY_BYTES_MAX, Key};
use crate::popularity::Popularity;
use crate::recency::NONE;
use crate::save::{Input, LoadError, Output, Saved};
use crate::sessions::{Belongs, Visits};
use crate::settings::Settings;

/// Everything that is known from behaviour.
///
/// The same events in the same order give the same state, bit for bit, however they are cut into batches. The caller sees to it that
/// no event is applied twice.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub(crate) settings: Settings,
    pub(crate) items: Items,
    /// Events that speak for each item.
    pub(crate) events_of: Vec<u32>,
    events: u64,
    /// Events that speak for an item.
    pub(crate) interests: u64,
    /// The time of the latest event.
    pub(crate) latest_ms: u64,
    pub(crate) view: Cooccurrence,
    pub(crate) taste: Cooccurrence,
    pub(crate) cross: Cooccurrence,
    pub(crate) baskets: Baskets,
    pub(crate) visits: Visits,
    pub(crate) shoppers: Shoppers,
    pub(crate) popularity: Popularity,
    /// Working memory of `apply`.
    before: Vec<u32>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken.
    pub events: u64,
    /// Items known.
    pub items: usize,
    /// Shoppers remembered.
    pub shoppers: usize,
    /// Visits under way.
    pub visits_open: usize,
    /// Visits ever indexed.
    pub visits: u32,
    /// Orders ever.
    pub orders: u32,
}

impl Behaviour {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            view: Cooccurrence::new(settings.view.half_life_ms),
            taste: Cooccurrence::new(settings.shopper.pairs.half_life_ms),
            cross: Cooccurrence::new(settings.cross.pairs.half_life_ms),
            baskets: Baskets::new(&settings.basket),
            settings,
            items: Items::default(),
            events_of: Vec::new(),
            events: 0,
            interests: 0,
            latest_ms: 0,
            visits: Visits::default(),
            shoppers: Shoppers::default(),
            popularity: Popularity::default(),
            before: Vec::new(),
        }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How much is kept.
    pub fn counts(&self) -> Counts {
        Counts {
            events: self.events,
            items: self.items.len(),
            shoppers: self.shoppers.len(),
            visits_open: self.visits.open_len(),
            visits: self.visits.index.count(),
            orders: self.baskets.orders(),
        }
    }

    /// The number of an item.
    pub fn item(&self, name: &str) -> Option<u32> {
        self.items.find(name)
    }

    /// The name of an item.
    pub fn name(&self, item: u32) -> Option<&str> {
        self.items.name(item)
    }

    /// The number of an item, a new one if it has none: for items that nobody did anything with yet.
    ///
    /// # Errors
    /// [`Refused::Name`] and [`Refused::ItemsFull`].
    pub fn add_item(&mut self, name: &str) -> Result<u32, Refused> {
        check_name(name)?;
        let item = self.items.intern(name, self.settings.bounds.items_max.min(ITEMS_MAX)).ok_or(Refused::ItemsFull)?;
        if self.events_of.len() <= item as usize {
            self.events_of.resize(item as usize + 1, 0);
        }
        Ok(item)
    }

    /// Events that speak for an item.
    pub fn events_of(&self, item: u32) -> u32 {
        self.events_of.get(item as usize).copied().unwrap_or(0)
    }

    /// Takes an event in and returns the number of its item.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn apply(&mut self, event: &Event<'_>) -> Result<u32, Refused> {
        for name in [Some(event.shopper), Some(event.item), event.session, event.order].into_iter().flatten() {
            check_name(name)?;
        }
        if event.at_ms > TIME_MS_MAX {
            return Err(Refused::Time);
        }
        let item = self.add_item(event.item)?;
        self.events += 1;
        self.latest_ms = self.latest_ms.max(event.at_ms);
        match event.kind {
            Kind::Dismiss | Kind::Refund => self.turn_away(event, item),
            _ => self.take_interest(event, item),
        }
        for shopper in self.visits.end_idle(self.latest_ms, &self.settings.sessions) {
            self.left(shopper);
        }
        Ok(item)
    }

    /// The shopper has no visit under way any more.
    fn left(&mut self, shopper: Option<u32>) {
        if let Some(shopper) = shopper.and_then(|shopper| self.shoppers.get_mut(shopper)) {
            shopper.visit = NONE;
        }
    }

    /// The shopper of a name; a new one makes room first.
    fn enter(&mut self, key: Key) -> u32 {
        if self.shoppers.find(key).is_none()
            && self.shoppers.len() >= self.settings.bounds.shoppers_max
            && let Some(oldest) = self.shoppers.longest_unused()
        {
            if let Some(shopper) = self.shoppers.remove(oldest) {
                self.visits.end(shopper.visit, &self.settings.sessions);
            }
            self.baskets.forget(oldest);
        }
        self.shoppers.enter(key)
    }

    fn turn_away(&mut self, event: &Event<'_>, item: u32) {
        let weights = &self.settings.weights;
        let (weight, is_refund) = if event.kind == Kind::Refund { (weights.refund, true) } else { (weights.dismiss, false) };
        self.popularity.note(item, -weight, event.at_ms, self.settings.bounds.popular_max);
        let slot = self.enter(Key::new(event.shopper));
        let history_max = self.settings.bounds.history_max;
        let Some(shopper) = self.shoppers.get_mut(slot) else { return };
        if is_refund {
            shopper.refund(item);
        } else {
            insert_by_time(&mut shopper.entries, Entry::new(item, event.at_ms, event.kind), history_max);
        }
    }

    fn take_interest(&mut self, event: &Event<'_>, item: u32) {
        let shopper_key = Key::new(event.shopper);
        let slot = self.enter(shopper_key);
        let entry = Entry::new(item, event.at_ms, event.kind);
        let session = event.session.map(Key::new);
        let moved_on = self.visit_of(slot, session, event.at_ms).and_then(|visit| self.note_in_visit(visit, entry));
        let weight_of = |kind: Kind| self.settings.weights.interest[kind as usize % 5];
        // View, cart, purchase of one item in a row are one interest that grows, not three.
        let weight = moved_on.map_or(weight_of(event.kind), |before| weight_of(event.kind) - weight_of(before));
        if weight > 0.0 {
            self.popularity.note(item, weight, event.at_ms, self.settings.bounds.popular_max);
        }
        self.events_of[item as usize] = self.events_of[item as usize].saturating_add(1);
        self.interests += 1;
        if event.kind == Kind::Purchase {
            self.note_purchase(slot, event, item, shopper_key, session);
        }
        self.note_in_history(slot, entry, weight, moved_on.is_some());
    }

    /// The visit that an event belongs to, begun if need be; none for an event of a visit that is over.
    fn visit_of(&mut self, slot: u32, session: Option<Key>, at_ms: u64) -> Option<u32> {
        let settings = &self.settings.sessions;
        let running = self.shoppers.get(slot)?.visit;
        match self.visits.belongs(running, session, at_ms, settings.gap_ms) {
            Belongs::Past => None,
            Belongs::Running => Some(running),
            Belongs::New => {
                self.visits.end(running, settings);
                let (visit, ended) = self.visits.begin(slot, session, settings);
                self.left(ended);
                self.shoppers.get_mut(slot)?.visit = visit;
                Some(visit)
            }
        }
    }

    /// Adds to a visit and counts its pairs. Returns what was done with the same item just before, if that is so.
    fn note_in_visit(&mut self, visit: u32, entry: Entry) -> Option<Kind> {
        let settings = &self.settings;
        let entries = &mut self.visits.get_mut(visit)?.entries;
        let weights = &settings.weights.interest;
        let weight_of = |kind: Kind| weights[kind as usize % 5];
        let before =
            entries.last().filter(|last| last.item() == entry.item() && last.kind() != entry.kind() && last.at_ms() <= entry.at_ms());
        let before = before.map(|last| last.kind());
        let mut weight = weight_of(entry.kind());
        if let Some(kind) = before {
            weight -= weight_of(kind);
            let stronger = if weight > 0.0 { entry.kind() } else { kind };
            let place = entries.len() - 1;
            entries[place] = entries[place].with_kind(stronger);
            self.visits.touch(visit);
        } else {
            self.visits.add(visit, entry, &settings.sessions);
        }
        let entries = &self.visits.get(visit)?.entries;
        let place = entries.iter().rposition(|kept| kept.item() == entry.item())?;
        if weight > 0.0 {
            let earlier = entries[..place].iter().rev().map(|earlier| earlier.item());
            self.view.observe(earlier, entry.item(), weight, entry.at_ms(), &settings.view);
            let later = entries[place + 1..].iter().map(|later| (later.item(), weight_of(later.kind())));
            self.view.observe_late(later, entry.item(), entry.at_ms(), &settings.view);
        }
        before
    }

    /// Adds to a shopper's history and counts its pairs.
    fn note_in_history(&mut self, slot: u32, entry: Entry, weight: f32, moved_on: bool) {
        let settings = &self.settings;
        let Some(shopper) = self.shoppers.get_mut(slot) else { return };
        let newest = shopper.entries.last_mut().filter(|newest| moved_on && newest.item() == entry.item());
        let place = match newest {
            Some(newest) => {
                let kind = if weight > 0.0 { entry.kind() } else { newest.kind() };
                *newest = newest.with_kind(kind);
                Some(shopper.entries.len() - 1)
            }
            None => insert_by_time(&mut shopper.entries, entry, settings.bounds.history_max),
        };
        let Some(place) = place.filter(|_| weight > 0.0) else { return };
        let (entries, channel) = (&shopper.entries, &settings.shopper.pairs);
        let earlier = entries[..place].iter().rev().filter(|earlier| earlier.kind().is_interest()).map(|earlier| earlier.item());
        self.taste.observe(earlier, entry.item(), weight, entry.at_ms(), channel);
        let weight_of = |kind: Kind| settings.weights.interest[kind as usize % 5];
        let later = entries[place + 1..].iter().filter(|later| later.kind().is_interest());
        self.taste.observe_late(later.map(|later| (later.item(), weight_of(later.kind()))), entry.item(), entry.at_ms(), channel);
    }

    fn note_purchase(&mut self, slot: u32, event: &Event<'_>, item: u32, shopper_key: Key, session: Option<Key>) {
        let settings = &self.settings;
        let Some(shopper) = self.shoppers.get_mut(slot) else { return };
        let mut before = std::mem::take(&mut self.before);
        before.clear();
        for earlier in shopper.entries.iter().rev().filter(|earlier| earlier.at_ms() <= event.at_ms && earlier.kind() < Kind::Purchase) {
            if earlier.item() != item && !before.contains(&earlier.item()) {
                before.push(earlier.item());
            }
        }
        self.cross.observe(before.iter().copied(), item, 1.0, event.at_ms, &settings.cross.pairs);
        self.before = before;
        let purchase = Bought { item, times: 1, pieces: event.quantity.max(1), weight: 1.0, first_ms: event.at_ms, last_ms: event.at_ms };
        shopper.buy(&purchase, settings.again.half_life_ms, settings.bounds.bought_max);
        let order = match event.order {
            Some(order) => Key::new(&format!("order {order}")),
            None => Key::new(&format!("{shopper_key:?} {session:?} {}", event.at_ms)),
        };
        self.baskets.add(order, slot, item, event.at_ms, &settings.basket, settings.bounds.orders_open_max);
    }

    /// Two names turn out to be one shopper: what is remembered of `from` is remembered of `to`. Counts stay as they are.
    pub fn merge(&mut self, from: &str, to: &str) {
        let (from_key, to_key) = (Key::new(from), Key::new(to));
        if from_key == to_key || self.shoppers.find(from_key).is_none() {
            return;
        }
        let to = self.enter(to_key);
        // Making room may have been at the cost of the other.
        let Some((from_slot, from)) = self.shoppers.find(from_key).and_then(|slot| Some((slot, self.shoppers.remove(slot)?))) else {
            return;
        };
        self.baskets.merge(from_slot, to);
        let settings = &self.settings;
        let Some(shopper) = self.shoppers.get_mut(to) else { return };
        for entry in from.entries {
            insert_by_time(&mut shopper.entries, entry, settings.bounds.history_max);
        }
        for purchase in from.bought.into_iter().flat_map(|bought| *bought) {
            shopper.buy(&purchase, settings.again.half_life_ms, settings.bounds.bought_max);
        }
        if self.visits.get(shopper.visit).is_some() {
            for entry in self.visits.forget(from.visit).into_iter().flat_map(|visit| visit.entries) {
                self.visits.add(shopper.visit, entry, &settings.sessions);
            }
        } else if let Some(visit) = self.visits.get_mut(from.visit) {
            visit.shopper = to;
            shopper.visit = from.visit;
        }
    }

    /// Forgets a shopper: history, purchases, the visit and orders under way. What was counted before stays counted: pairs of items,
    /// popularity, and ended visits as lists of items, which nothing ties to anybody. Returns whether the shopper was known.
    pub fn erase(&mut self, shopper: &str) -> bool {
        let Some(slot) = self.shoppers.find(Key::new(shopper)) else { return false };
        if let Some(shopper) = self.shoppers.remove(slot) {
            self.visits.forget(shopper.visit);
        }
        self.baskets.forget(slot);
        true
    }

    /// Ends all visits under way, as a long pause would.
    pub fn end_visits(&mut self) {
        while let Some(visit) = self.visits.oldest() {
            let shopper = self.visits.end(visit, &self.settings.sessions);
            self.left(shopper);
        }
    }

    /// Bytes in memory by part, as counted from what is reserved.
    pub fn memory(&self) -> [(&'static str, usize); 7] {
        [
            ("pairs within visits", self.view.bytes()),
            ("pairs within histories", self.taste.bytes()),
            ("pairs viewed and bought", self.cross.bytes()),
            ("pairs of orders", self.baskets.pairs.bytes()),
            ("visits", self.visits.bytes()),
            ("shoppers", self.shoppers.bytes()),
            ("names of items", self.items.bytes()),
        ]
    }

    /// Writes the state. The same state is always the same bytes; returns their BLAKE3, which also ends the stream.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn save(&self, sink: &mut dyn Write) -> io::Result<[u8; 32]> {
        let mut output = Output::new(sink);
        self.items.save(&mut output);
        output.u32s(&self.events_of);
        output.u64(self.events);
        output.u64(self.interests);
        output.u64(self.latest_ms);
        self.view.save(&mut output);
        self.taste.save(&mut output);
        self.cross.save(&mut output);
        self.baskets.save(&mut output);
        self.visits.save(&mut output);
        self.shoppers.save(&mut output);
        self.popularity.save(&mut output);
        output.finish()
    }

    /// BLAKE3 of the saved form: equal for equal states.
    pub fn digest(&self) -> [u8; 32] {
        self.save(&mut io::sink()).unwrap_or_default()
    }

    /// Reads a saved state, to go on with these settings.
    ///
    /// # Errors
    /// [`LoadError`]: the source failed, or these are not the bytes that were written.
    pub fn load(settings: Settings, source: &mut dyn Read) -> Result<Self, LoadError> {
        let mut input = Input::new(source)?;
        let state = Self {
            items: Items::load(&mut input)?,
            events_of: input.u32s()?,
            events: input.u64()?,
            interests: input.u64()?,
            latest_ms: input.u64()?,
            view: Cooccurrence::load(&mut input)?,
            taste: Cooccurrence::load(&mut input)?,
            cross: Cooccurrence::load(&mut input)?,
            baskets: Baskets::load(&mut input)?,
            visits: Visits::load(&mut input)?,
            shoppers: Shoppers::load(&mut input)?,
            popularity: Popularity::load(&mut input)?,
            before: Vec::new(),
            settings,
        };
        input.finish()?;
        if state.is_sound() { Ok(state) } else { Err(LoadError::Malformed("parts that do not belong together")) }
    }

    /// Whether every number names something that is there.
    fn is_sound(&self) -> bool {
        let items = self.items.len();
        let known = |item: u32| (item as usize) < items;
        let visits_sound = self.visits.open().all(|(slot, visit)| {
            visit.entries.iter().all(|entry| known(entry.item()))
                && self.shoppers.get(visit.shopper).is_some_and(|owner| owner.visit == slot)
        });
        let shoppers_sound = self.shoppers.iter().all(|(slot, shopper)| {
            let visit_sound = shopper.visit == NONE || self.visits.get(shopper.visit).is_some_and(|visit| visit.shopper == slot);
            visit_sound
                && shopper.entries.iter().all(|entry| known(entry.item()))
                && shopper.bought().iter().all(|bought| known(bought.item))
        });
        [&self.view, &self.taste, &self.cross].iter().all(|pairs| pairs.is_within(items))
            && self.events_of.len() == items
            && self.baskets.is_within(items)
            && self.visits.index.is_within(items)
            && self.popularity.is_within(items)
            && visits_sound
            && shoppers_sound
    }
}

fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > KEY_BYTES_MAX { Err(Refused::Name) } else { Ok(()) }
}
