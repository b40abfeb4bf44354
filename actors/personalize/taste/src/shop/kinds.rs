//! One type of product: how much of it is bought, at what price, and what it consists of.

use bincode::{Decode, Encode};

use super::counted;
use super::items::repeat_rate;
use crate::event::Facts;
use crate::keys::Id;
use crate::row::{Row, WEIGHT_MAX};

/// Brands and attribute values that are told apart within a type.
const VALUES_MAX: usize = 256;

/// Decayed counts of one type, on the slow clock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Kind {
    pub(crate) kind: Id,
    /// Purchases, and those by shoppers who had bought the same item before.
    pub(crate) total: f32,
    repeats: f32,
    /// Sum of log prices, and the purchases in it.
    price: [f32; 2],
    /// Purchases of the shop's own brand, and those of which that is known.
    private_label: [f32; 2],
    values: Row,
}

impl Kind {
    pub(super) fn new(kind: Id) -> Self {
        Self { kind, total: 0.0, repeats: 0.0, price: [0.0; 2], private_label: [0.0; 2], values: Row::default() }
    }

    pub(super) fn buy(&mut self, facts: &Facts, repeat: bool, unit: f32) {
        self.total += unit;
        self.repeats += if repeat { unit } else { 0.0 };
        if let Some(price) = facts.log_price() {
            self.price[0] += price * unit;
            self.price[1] += unit;
        }
        if let Some(private) = facts.private_label {
            self.private_label[0] += if private { unit } else { 0.0 };
            self.private_label[1] += unit;
        }
        counted(facts, |value, total| {
            self.values.add(value, unit, VALUES_MAX);
            self.values.add(total, unit, VALUES_MAX);
        });
    }

    pub(super) fn scale(&mut self, factor: f32) {
        self.total *= factor;
        self.repeats *= factor;
        self.price.iter_mut().chain(&mut self.private_label).for_each(|count| *count *= factor);
        self.values.scale(factor);
    }

    /// How often the same item is bought again. `down` reads the slow clock.
    pub(crate) fn repeat_rate(&self, down: f32) -> f32 {
        repeat_rate(self.repeats, self.total, down)
    }

    pub(crate) fn mean_log_price(&self) -> Option<f32> {
        (self.price[1] > 0.0).then(|| self.price[0] / self.price[1])
    }

    /// Share of the shop's own brand, where anything is known of it.
    pub(crate) fn private_share(&self) -> Option<f32> {
        (self.private_label[1] > 0.0).then(|| self.private_label[0] / self.private_label[1])
    }

    /// Share of a value among those of its attribute.
    pub(crate) fn share(&self, value: Id, total: Id) -> f32 {
        let all = self.values.get(total);
        if all > 0.0 { (self.values.get(value) / all).min(1.0) } else { 0.0 }
    }

    pub(super) fn is_sound(&self) -> bool {
        let counts = [self.total, self.repeats, self.price[1], self.private_label[0], self.private_label[1]];
        counts.iter().all(|count| (0.0..=WEIGHT_MAX).contains(count))
            && self.price[0].abs() <= WEIGHT_MAX
            && self.values.is_sound(VALUES_MAX)
    }
}
