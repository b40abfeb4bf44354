//! One item that a shopper has bought: how often, when last, at what interval.

use bincode::{Decode, Encode};

use super::days;
use crate::clock::{Clock, bounded_ms, seconds};
use crate::keys::Id;
use crate::row::WEIGHT_MAX;

/// Purchases nearer to one another than this are one.
const ONE_VISIT_H: f32 = 12.0;
/// Share of the newest interval in the mean interval.
const INTERVAL_SHARE: f32 = 0.3;

/// As encoded.
pub(super) const OWNED_BYTES: usize = 8 + 4 + 4 + 4 + 2 + 2;

/// An item that was bought.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Owned {
    pub(crate) item: Id,
    /// Its type's short key.
    pub(crate) kind: u32,
    /// Decayed purchases on the profile's clock.
    pub(crate) count: f32,
    /// The last purchase, in seconds since the epoch.
    pub(crate) last_s: u32,
    /// Mean hours between purchases; 0 where it was bought once.
    interval_h: u16,
    /// Visits in which it was bought.
    pub(crate) visits: u16,
}

impl Owned {
    pub(crate) fn new(item: Id, kind: u32, count: f32, at_ms: i64) -> Self {
        Self { item, kind, count, last_s: seconds(at_ms), interval_h: 0, visits: 1 }
    }

    /// Another purchase: the days since the one before it, where it is another visit.
    pub(crate) fn buy(&mut self, kind: u32, count: f32, at_ms: i64) -> Option<f32> {
        self.count = (self.count + count).min(WEIGHT_MAX);
        if kind != 0 {
            self.kind = kind;
        }
        let gap_h = (f64::from(seconds(at_ms)) - f64::from(self.last_s)) as f32 / 3_600.0;
        self.last_s = self.last_s.max(seconds(at_ms));
        if gap_h.abs() < ONE_VISIT_H {
            return None;
        }
        let gap_h = gap_h.abs();
        let mean_h = match self.interval_h {
            0 => gap_h,
            known => f32::from(known) * (1.0 - INTERVAL_SHARE) + gap_h * INTERVAL_SHARE,
        };
        self.interval_h = mean_h.round() as u16;
        self.visits = self.visits.saturating_add(1);
        Some(gap_h / 24.0)
    }

    /// Takes one purchase back.
    pub(crate) fn refund(&mut self, count: f32) {
        self.count = (self.count - count).max(0.0);
    }

    /// Sums another shopper's purchases of the item, whose counts need a factor.
    pub(crate) fn merge(&mut self, other: &Self, factor: f32) {
        self.count = (self.count + other.count * factor).min(WEIGHT_MAX);
        self.kind = if other.last_s > self.last_s { other.kind } else { self.kind };
        self.interval_h = match (self.interval_h, other.interval_h) {
            (0, only) | (only, 0) => only,
            (mine, theirs) => {
                let (a, b) = (f32::from(self.visits), f32::from(other.visits));
                ((f32::from(mine) * a + f32::from(theirs) * b) / (a + b).max(1.0)).round() as u16
            }
        };
        self.last_s = self.last_s.max(other.last_s);
        self.visits = self.visits.saturating_add(other.visits);
    }

    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { count: (self.count * factor).min(WEIGHT_MAX), ..self }
    }

    pub(crate) fn days_since(&self, now_ms: i64) -> f32 {
        days(bounded_ms(now_ms) - i64::from(self.last_s) * 1_000)
    }

    /// Mean days between purchases, where it was bought more than once.
    pub(crate) fn interval_days(&self) -> Option<f32> {
        (self.interval_h > 0).then(|| f32::from(self.interval_h) / 24.0)
    }

    pub(super) fn is_sound(&self) -> bool {
        (0.0..=WEIGHT_MAX).contains(&self.count)
    }

    /// Decayed purchases at a time.
    pub(crate) fn count_at(&self, clock: Clock, now_ms: i64) -> f32 {
        self.count * clock.down(now_ms)
    }
}
