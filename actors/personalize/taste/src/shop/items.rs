//! One item as the shop sells it.

use bincode::{Decode, Encode};

use crate::keys::Id;
use crate::profile::Step;
use crate::row::{Row, WEIGHT_MAX};

/// Stores that are told apart, and followers, of one item.
const STORES_MAX: usize = 32;
const FOLLOWERS_MAX: usize = 32;

/// Decayed counts of one item. All but the popularities are on the slow clock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Sold {
    pub(crate) item: Id,
    /// Of a week and of four weeks.
    pub(crate) popularity_week: f32,
    pub(crate) popularity: f32,
    pub(crate) purchases: f32,
    /// Purchases by shoppers who had bought it before.
    pub(crate) repeats: f32,
    /// Sum of the days since that purchase.
    gaps: f32,
    stores: Row,
    /// What the same shopper bought next of its type, and after that.
    followers: [Row; 2],
    /// Purchases that followed, of all items.
    followed: [f32; 2],
}

/// Share of purchases that are repeats, shrunk to a quarter.
pub(crate) fn repeat_rate(repeats: f32, purchases: f32, down: f32) -> f32 {
    (repeats * down + 2.0) / (purchases * down + 8.0)
}

impl Sold {
    pub(super) fn new(item: Id) -> Self {
        Self {
            item,
            popularity_week: 0.0,
            popularity: 0.0,
            purchases: 0.0,
            repeats: 0.0,
            gaps: 0.0,
            stores: Row::default(),
            followers: Default::default(),
            followed: [0.0; 2],
        }
    }

    pub(super) fn buy(&mut self, store: Option<Id>, step: &Step, unit: f32) {
        self.purchases += unit;
        if let Some(gap_days) = step.gap_days.filter(|_| step.repeat) {
            self.repeats += unit;
            self.gaps += gap_days * unit;
        }
        if let Some(store) = store {
            self.stores.add(store, unit, STORES_MAX);
        }
    }

    /// One purchase was taken back.
    pub(super) fn give_back(&mut self, [week, fast, slow]: [f32; 3]) {
        self.popularity_week = (self.popularity_week - week).max(0.0);
        self.popularity = (self.popularity - fast).max(0.0);
        self.purchases = (self.purchases - slow).max(0.0);
    }

    pub(super) fn follow(&mut self, rank: usize, item: Id, unit: f32) {
        self.followers[rank].add(item, unit, FOLLOWERS_MAX);
        self.followed[rank] += unit;
    }

    pub(super) fn scale(&mut self, factor: f32) {
        for count in [&mut self.purchases, &mut self.repeats, &mut self.gaps].into_iter().chain(&mut self.followed) {
            *count *= factor;
        }
        self.stores.scale(factor);
        self.followers.iter_mut().for_each(|row| row.scale(factor));
    }

    /// Share of purchases that are repeats, shrunk to a quarter. `down` reads the slow clock.
    pub(crate) fn repeat_rate(&self, down: f32) -> f32 {
        repeat_rate(self.repeats, self.purchases, down)
    }

    /// Mean days until it is bought again by the same shopper.
    pub(crate) fn mean_gap_days(&self) -> Option<f32> {
        (self.repeats > 0.0).then(|| self.gaps / self.repeats)
    }

    pub(crate) fn in_store(&self, store: Id) -> f32 {
        self.stores.get(store)
    }

    /// How often an item followed this one, and how often anything did; rank 0 is the very next of the type.
    pub(crate) fn followed_by(&self, rank: usize, item: Id) -> (f32, f32) {
        (self.followers[rank].get(item), self.followed[rank])
    }

    pub(super) fn is_sound(&self) -> bool {
        let counts = [self.popularity_week, self.popularity, self.purchases, self.repeats, self.gaps, self.followed[0], self.followed[1]];
        counts.iter().all(|count| (0.0..=WEIGHT_MAX).contains(count))
            && self.stores.is_sound(STORES_MAX)
            && self.followers.iter().all(|row| row.is_sound(FOLLOWERS_MAX))
    }
}
