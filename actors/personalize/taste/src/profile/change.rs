//! How a profile changes: by an event, by becoming one with another profile, by forgetting an item.

use super::{GLANCES_MAX, ITEMS_MAX, Owned, Profile, TASTES_MAX};
use crate::clock::bounded_ms;
use crate::event::{ATTRIBUTES_MAX, Action, Event, Facts};
use crate::keys::{Id, mix, short};
use crate::row::WEIGHT_MAX;
use crate::shop::Shop;

/// What an event was to the shopper, before the event: the shop's own counts need it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// The item was bought by this shopper in an earlier visit.
    pub repeat: bool,
    /// Days since that purchase.
    pub gap_days: Option<f32>,
    /// The items of the type that were bought last and before that, in earlier visits.
    pub before: [Option<Id>; 2],
}

const BRAND: u64 = 1;
const SIZE: u64 = 2;
const ELSEWHERE: u64 = 3;
const NAMED: u64 = 4;
const TOTAL: u64 = 5;

/// A brand within a type.
pub(crate) fn typed_key(kind: Id, brand: Id) -> Id {
    mix(mix(BRAND, kind), brand)
}

/// A brand within all types.
pub(crate) fn elsewhere_key(brand: Id) -> Id {
    mix(ELSEWHERE, brand)
}

/// A value of an attribute; sizes are the attribute without a name.
pub(crate) fn wide_key(name: Option<Id>, value: Id) -> Id {
    mix(name.map_or(SIZE, |name| mix(NAMED, name)), value)
}

/// All values of an attribute.
pub(crate) fn kind_total_key(name: Option<Id>) -> Id {
    mix(TOTAL, name.map_or(SIZE, |name| mix(NAMED, name)))
}

impl Profile {
    /// Takes in what the shopper did. The shop tells what the item costs beside others of its type; it is given the answer next
    /// ([`Shop::apply`]). An event that is handed in twice counts twice: the caller knows events apart.
    pub fn apply(&mut self, event: &Event, shop: &Shop) -> Step {
        let at_ms = bounded_ms(event.at_ms);
        self.advance(at_ms);
        self.updated_ms = self.updated_ms.max(at_ms);
        let unit = self.clock.up(at_ms);
        let step = match event.action {
            Action::Purchase => self.buy(event, unit, shop.relative_price(&event.facts)),
            Action::Refund => self.give_back(event, unit),
            _ => Step::default(),
        };
        let (interest, aversion) = (event.action.interest(), event.action.aversion());
        match event.action {
            Action::Purchase => self.seen.add(event.item, f32::NEG_INFINITY, GLANCES_MAX),
            _ => self.seen.add(event.item, interest * unit, GLANCES_MAX),
        }
        if interest > 0.0 {
            self.add_tastes(&event.facts, interest * unit);
            self.image.add(event.facts.image_model, event.facts.image, interest, at_ms);
            self.text.add(event.facts.text_model, event.facts.text, interest, at_ms);
        } else {
            self.refused.add(event.item, aversion * unit, GLANCES_MAX);
            self.add_tastes(&event.facts, -aversion * unit);
        }
        step
    }

    fn buy(&mut self, event: &Event, unit: f32, relative_price: Option<f32>) -> Step {
        let kind = event.facts.kind.map_or(0, short);
        let mut step = Step { before: self.last_of(kind, event.at_ms), ..Step::default() };
        match self.items.binary_search_by_key(&event.item, |owned| owned.item) {
            Ok(at) => {
                step.gap_days = self.items[at].buy(kind, unit, event.at_ms);
                step.repeat = step.gap_days.is_some();
            }
            Err(_) => self.insert(Owned::new(event.item, kind, unit, event.at_ms)),
        }
        self.total = (self.total + unit).min(WEIGHT_MAX);
        if let Some(private) = event.facts.private_label {
            self.private_label[0] += if private { unit } else { 0.0 };
            self.private_label[1] += unit;
        }
        if let Some(relative) = relative_price {
            self.price[0] += relative * unit;
            self.price[1] += unit;
        }
        // What was refused and is bought after all is refused no longer.
        self.refused.add(event.item, f32::NEG_INFINITY, GLANCES_MAX);
        step
    }

    fn give_back(&mut self, event: &Event, unit: f32) -> Step {
        if let Ok(at) = self.items.binary_search_by_key(&event.item, |owned| owned.item) {
            self.items[at].refund(unit);
            self.total = (self.total - unit).max(0.0);
        }
        Step::default()
    }

    /// The last two items of a type that were bought before this visit, the newest first; of one moment the more frequent.
    pub(crate) fn last_of(&self, kind: u32, at_ms: i64) -> [Option<Id>; 2] {
        if kind == 0 {
            return [None; 2];
        }
        let mut newest: [Option<&Owned>; 2] = [None; 2];
        let now_s = crate::clock::seconds(at_ms);
        let order = |a: &Owned, b: &Owned| (a.last_s, a.count) > (b.last_s, b.count);
        for owned in self.items.iter().filter(|owned| owned.kind == kind && owned.last_s < now_s) {
            if newest[0].is_none_or(|first| order(owned, first)) {
                newest = [Some(owned), newest[0]];
            } else if newest[1].is_none_or(|second| order(owned, second)) {
                newest[1] = Some(owned);
            }
        }
        newest.map(|owned| owned.map(|owned| owned.item))
    }

    fn add_tastes(&mut self, facts: &Facts, weight: f32) {
        let tastes = &mut self.tastes;
        let mut add = |key| tastes.add(key, weight, TASTES_MAX);
        if let Some(brand) = facts.brand {
            add(typed_key(facts.kind.unwrap_or_default(), brand));
            add(elsewhere_key(brand));
        }
        if let Some(size) = facts.size {
            add(wide_key(None, size));
            add(kind_total_key(None));
        }
        for (name, value) in facts.attributes.iter().take(ATTRIBUTES_MAX) {
            add(wide_key(Some(*name), *value));
            add(kind_total_key(Some(*name)));
        }
    }

    fn insert(&mut self, owned: Owned) {
        if self.items.len() == ITEMS_MAX {
            let lightest = (0..self.items.len()).min_by(|a, b| self.items[*a].count.total_cmp(&self.items[*b].count));
            if let Some(lightest) = lightest {
                self.items.remove(lightest);
            }
        }
        let at = self.items.partition_point(|other| other.item < owned.item);
        self.items.insert(at, owned);
    }

    fn advance(&mut self, at_ms: i64) {
        if let Some(factor) = self.clock.advance(at_ms) {
            self.scale(factor);
        }
    }

    fn scale(&mut self, factor: f32) {
        self.total *= factor;
        self.private_label.iter_mut().chain(&mut self.price).for_each(|count| *count *= factor);
        self.items.iter_mut().for_each(|owned| *owned = owned.scaled(factor));
        self.items.retain(|owned| owned.count > 0.0);
        self.tastes.scale(factor);
        self.seen.scale(factor);
        self.refused.scale(factor);
    }

    /// Becomes one with another profile (an anonymous visitor turns out to be known): decayed counts add up, times are the newer,
    /// and the heaviest are kept where both do not fit.
    pub fn merge(&mut self, other: &Self) {
        self.advance(other.clock.epoch_ms());
        let factor = self.clock.factor_of(&other.clock);
        self.updated_ms = self.updated_ms.max(other.updated_ms);
        self.total = (self.total + other.total * factor).min(WEIGHT_MAX);
        for (mine, theirs) in self.private_label.iter_mut().zip(other.private_label).chain(self.price.iter_mut().zip(other.price)) {
            *mine = (*mine + theirs * factor).clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
        for theirs in &other.items {
            match self.items.binary_search_by_key(&theirs.item, |owned| owned.item) {
                Ok(at) => self.items[at].merge(theirs, factor),
                Err(at) => self.items.insert(at, theirs.scaled(factor)),
            }
        }
        if self.items.len() > ITEMS_MAX {
            self.items.sort_by(|a, b| b.count.total_cmp(&a.count).then(a.item.cmp(&b.item)));
            self.items.truncate(ITEMS_MAX);
            self.items.sort_by_key(|owned| owned.item);
        }
        self.tastes.merge(&other.tastes, factor, TASTES_MAX);
        self.seen.merge(&other.seen, factor, GLANCES_MAX);
        self.refused.merge(&other.refused, factor, GLANCES_MAX);
        self.image.merge(&other.image);
        self.text.merge(&other.text);
    }
}
