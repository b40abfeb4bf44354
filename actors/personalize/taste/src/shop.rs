//! What the whole shop does, as far as one shopper's list needs it: how much is bought of what, which brands a type consists of,
//! what follows what, what a store sells, what is bought again. Bounded, and changed by each event as it comes.

mod items;
mod kinds;

use std::collections::HashMap;

use crate::clock::{Clock, bounded_ms};
use crate::event::{ATTRIBUTES_MAX, Action, Event, Facts};
use crate::keys::{Id, mix};
use crate::profile::{Step, kind_total_key, wide_key};

pub(crate) use items::{Sold, repeat_rate};
pub(crate) use kinds::Kind;

/// Items of which anything is known.
pub const SHOP_ITEMS_MAX: usize = 1 << 20;
/// Types of which anything is known.
pub const SHOP_KINDS_MAX: usize = 1 << 16;
/// Half-life of the popularity of the day, in days.
pub const WEEK_HALF_LIFE_DAYS: i64 = 7;
/// Half-life of popularity, in days.
pub const POPULARITY_HALF_LIFE_DAYS: i64 = 28;
/// Half-life of what a store sells, of brand shares, prices, transitions and repeats, in days.
pub const HABIT_HALF_LIFE_DAYS: i64 = 84;

/// Popularity fades fast, habits slowly.
#[derive(Clone, Debug, PartialEq)]
pub struct Shop {
    pub(crate) week: Clock,
    pub(crate) fast: Clock,
    pub(crate) slow: Clock,
    pub(crate) items: Vec<Sold>,
    pub(crate) kinds: Vec<Kind>,
    item_at: HashMap<Id, u32>,
    kind_at: HashMap<Id, u32>,
    items_max: usize,
}

impl Default for Shop {
    fn default() -> Self {
        Self::with_items_max(SHOP_ITEMS_MAX)
    }
}

pub(crate) const WEEK: Clock = Clock::new(WEEK_HALF_LIFE_DAYS);
pub(crate) const FAST: Clock = Clock::new(POPULARITY_HALF_LIFE_DAYS);
pub(crate) const SLOW: Clock = Clock::new(HABIT_HALF_LIFE_DAYS);

impl Shop {
    /// A shop that remembers at most so many items; the least popular are forgotten first, an eighth at a time.
    pub fn with_items_max(items_max: usize) -> Self {
        Self {
            week: WEEK,
            fast: FAST,
            slow: SLOW,
            items: Vec::new(),
            kinds: Vec::new(),
            item_at: HashMap::new(),
            kind_at: HashMap::new(),
            items_max: items_max.clamp(8, SHOP_ITEMS_MAX),
        }
    }

    /// A shop out of its saved parts; none where they contradict one another.
    pub(crate) fn from_parts([week, fast, slow]: [Clock; 3], items: Vec<Sold>, kinds: Vec<Kind>, items_max: usize) -> Option<Self> {
        let mut shop = Self { week, fast, slow, items, kinds, ..Self::with_items_max(items_max) };
        let sound = week.is_sound(&WEEK)
            && fast.is_sound(&FAST)
            && slow.is_sound(&SLOW)
            && shop.items.len() <= shop.items_max
            && shop.kinds.len() <= SHOP_KINDS_MAX
            && shop.items.iter().all(Sold::is_sound)
            && shop.kinds.iter().all(Kind::is_sound);
        shop.index();
        (sound && shop.item_at.len() == shop.items.len() && shop.kind_at.len() == shop.kinds.len()).then_some(shop)
    }

    fn index(&mut self) {
        self.item_at = self.items.iter().zip(0..).map(|(sold, at)| (sold.item, at)).collect();
        self.kind_at = self.kinds.iter().zip(0..).map(|(kind, at)| (kind.kind, at)).collect();
    }

    /// Takes in what one shopper did, and what it was to the shopper ([`crate::Profile::apply`]).
    pub fn apply(&mut self, event: &Event, step: &Step) {
        let at_ms = bounded_ms(event.at_ms);
        self.advance(at_ms);
        let (week, fast, slow) = (self.week.up(at_ms), self.fast.up(at_ms), self.slow.up(at_ms));
        let interest = event.action.interest();
        let item = self.item(event.item);
        let sold = &mut self.items[item];
        sold.popularity_week += interest * week;
        sold.popularity += interest * fast;
        match event.action {
            Action::Purchase => {}
            Action::Refund => return sold.give_back([week, fast, slow]),
            _ => return,
        }
        sold.buy(event.store, step, slow);
        if let Some(kind) = event.facts.kind {
            let kind = self.kind(kind);
            self.kinds[kind].buy(&event.facts, step.repeat, slow);
            for (rank, before) in step.before.iter().enumerate() {
                let before = before.and_then(|before| self.item_at.get(&before)).map(|at| *at as usize);
                if let Some(before) = before {
                    self.items[before].follow(rank, event.item, slow);
                }
            }
        }
    }

    /// The log of a price beside the mean of its type; none where either is not known.
    pub fn relative_price(&self, facts: &Facts) -> Option<f32> {
        let mean = self.find_kind(facts.kind?)?.mean_log_price()?;
        Some((facts.log_price()? - mean).clamp(-3.0, 3.0))
    }

    /// Decayed popularity of an item at a time: a purchase is 1, a view 0.2.
    pub fn popularity(&self, item: Id, now_ms: i64) -> f32 {
        self.find(item).map_or(0.0, |sold| sold.popularity * self.fast.down(now_ms))
    }

    /// Items of which anything is known.
    pub fn items(&self) -> usize {
        self.items.len()
    }

    /// The bound of that.
    pub fn items_max(&self) -> usize {
        self.items_max
    }

    pub(crate) fn find(&self, item: Id) -> Option<&Sold> {
        self.item_at.get(&item).map(|at| &self.items[*at as usize])
    }

    pub(crate) fn find_kind(&self, kind: Id) -> Option<&Kind> {
        self.kind_at.get(&kind).map(|at| &self.kinds[*at as usize])
    }

    fn item(&mut self, item: Id) -> usize {
        if let Some(at) = self.item_at.get(&item) {
            return *at as usize;
        }
        if self.items.len() == self.items_max {
            self.forget();
        }
        self.item_at.insert(item, self.items.len() as u32);
        self.items.push(Sold::new(item));
        self.items.len() - 1
    }

    /// Forgets an eighth of the items, the least popular.
    fn forget(&mut self) {
        self.items.sort_by(|a, b| b.popularity.total_cmp(&a.popularity).then(a.item.cmp(&b.item)));
        self.items.truncate(self.items_max - self.items_max / 8);
        self.index();
    }

    fn kind(&mut self, kind: Id) -> usize {
        if let Some(at) = self.kind_at.get(&kind) {
            return *at as usize;
        }
        if self.kinds.len() == SHOP_KINDS_MAX {
            self.kinds.sort_by(|a, b| b.total.total_cmp(&a.total).then(a.kind.cmp(&b.kind)));
            self.kinds.truncate(SHOP_KINDS_MAX - SHOP_KINDS_MAX / 8);
            self.index();
        }
        self.kind_at.insert(kind, self.kinds.len() as u32);
        self.kinds.push(Kind::new(kind));
        self.kinds.len() - 1
    }

    fn advance(&mut self, at_ms: i64) {
        if let Some(factor) = self.week.advance(at_ms) {
            self.items.iter_mut().for_each(|sold| sold.popularity_week *= factor);
        }
        if let Some(factor) = self.fast.advance(at_ms) {
            self.items.iter_mut().for_each(|sold| sold.popularity *= factor);
        }
        if let Some(factor) = self.slow.advance(at_ms) {
            self.items.iter_mut().for_each(|sold| sold.scale(factor));
            self.kinds.iter_mut().for_each(|kind| kind.scale(factor));
        }
    }
}

/// What of a product's facts is counted within its type: keys of values, each with the key of its attribute's total.
fn counted(facts: &Facts, mut count: impl FnMut(Id, Id)) {
    if let Some(brand) = facts.brand {
        count(brand_key(brand), brand_total_key());
    }
    if let Some(size) = facts.size {
        count(wide_key(None, size), kind_total_key(None));
    }
    for (name, value) in facts.attributes.iter().take(ATTRIBUTES_MAX) {
        count(wide_key(Some(*name), *value), kind_total_key(Some(*name)));
    }
}

/// A brand within one type's counts.
pub(crate) fn brand_key(brand: Id) -> Id {
    mix(11, brand)
}

/// All brands within one type's counts.
pub(crate) fn brand_total_key() -> Id {
    mix(12, 0)
}

#[cfg(test)]
mod tests;
