//! The profile of one shopper: what was bought, looked at and refused, and the tastes that show in it. A few kilobytes, bounded.

mod change;
mod items;

use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use crate::centroids::Interests;
use crate::clock::{Clock, DAY_MS};
use crate::keys::Id;
use crate::row::{Row, WEIGHT_MAX};

pub use change::Step;
pub(crate) use change::{elsewhere_key, kind_total_key, typed_key, wide_key};
use items::OWNED_BYTES;
pub(crate) use items::Owned;

/// Items whose purchases are remembered.
pub const ITEMS_MAX: usize = 640;
/// Brands and attribute values that are counted.
pub const TASTES_MAX: usize = 384;
/// Items that were looked at, and items that were refused.
pub const GLANCES_MAX: usize = 48;
/// No profile is larger than this as encoded.
pub const PROFILE_BYTES_MAX: usize = 30_720;
/// Half-life of all counts of a profile, in days.
pub const PROFILE_HALF_LIFE_DAYS: i64 = 60;

const CLOCK: Clock = Clock::new(PROFILE_HALF_LIFE_DAYS);
const ROW_ENTRY_BYTES: usize = 8 + 4;
const _: () = assert!(
    96 + ITEMS_MAX * OWNED_BYTES + (TASTES_MAX + 2 * GLANCES_MAX) * ROW_ENTRY_BYTES + 2 * Interests::BYTES_MAX <= PROFILE_BYTES_MAX,
    "the largest profile is within its bound"
);

/// One shopper. Counts are decayed with a half-life of [`PROFILE_HALF_LIFE_DAYS`]; the embeddings' interests have their own.
///
/// Decoding checks every bound and every number: bytes that no profile encodes to are an error.
#[derive(Clone, Debug, PartialEq, Encode)]
pub struct Profile {
    clock: Clock,
    updated_ms: i64,
    /// Decayed purchases of all items.
    total: f32,
    /// Decayed purchases of the shop's own brand, and of all items of which that is known.
    private_label: [f32; 2],
    /// Decayed sum of relative log prices, and of the purchases in it.
    price: [f32; 2],
    items: Vec<Owned>,
    tastes: Row,
    seen: Row,
    refused: Row,
    image: Interests,
    text: Interests,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            clock: CLOCK,
            updated_ms: 0,
            total: 0.0,
            private_label: [0.0; 2],
            price: [0.0; 2],
            items: Vec::new(),
            tastes: Row::default(),
            seen: Row::default(),
            refused: Row::default(),
            image: Interests::default(),
            text: Interests::default(),
        }
    }
}

impl<Context> Decode<Context> for Profile {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let profile = Self {
            clock: Decode::decode(decoder)?,
            updated_ms: Decode::decode(decoder)?,
            total: Decode::decode(decoder)?,
            private_label: Decode::decode(decoder)?,
            price: Decode::decode(decoder)?,
            items: Decode::decode(decoder)?,
            tastes: Decode::decode(decoder)?,
            seen: Decode::decode(decoder)?,
            refused: Decode::decode(decoder)?,
            image: Decode::decode(decoder)?,
            text: Decode::decode(decoder)?,
        };
        if profile.is_sound() { Ok(profile) } else { Err(DecodeError::Other("no such profile can be made")) }
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for Profile {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

impl Profile {
    /// Whether nothing is known of the shopper.
    pub fn is_empty(&self) -> bool {
        self.updated_ms == 0
    }

    /// When the newest event was, in milliseconds since the epoch; 0 where there was none.
    pub fn updated_ms(&self) -> i64 {
        self.updated_ms
    }

    /// Decayed purchases at a time.
    pub fn purchases(&self, now_ms: i64) -> f32 {
        self.total * self.clock.down(now_ms)
    }

    /// Items that were bought: key, decayed count, days since the last time.
    pub fn bought(&self, now_ms: i64) -> impl Iterator<Item = (Id, f32, f32)> + '_ {
        let down = self.clock.down(now_ms);
        self.items.iter().map(move |owned| (owned.item, owned.count * down, owned.days_since(now_ms)))
    }

    /// Items that were looked at and not bought since, and how much (a click is 0.2), decayed.
    pub fn seen(&self, now_ms: i64) -> impl Iterator<Item = (Id, f32)> + '_ {
        let down = self.clock.down(now_ms);
        self.seen.iter().map(move |(item, weight)| (item, weight * down))
    }

    /// Items that were refused, and how much (a dismissal is 1), decayed.
    pub fn refused(&self, now_ms: i64) -> impl Iterator<Item = (Id, f32)> + '_ {
        let down = self.clock.down(now_ms);
        self.refused.iter().map(move |(item, weight)| (item, weight * down))
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn items(&self) -> &[Owned] {
        &self.items
    }

    pub(crate) fn owned(&self, item: Id) -> Option<&Owned> {
        self.items.binary_search_by_key(&item, |owned| owned.item).ok().map(|at| &self.items[at])
    }

    pub(crate) fn taste(&self, key: Id) -> f32 {
        self.tastes.get(key)
    }

    pub(crate) fn seen_of(&self, item: Id) -> f32 {
        self.seen.get(item)
    }

    pub(crate) fn refused_of(&self, item: Id) -> f32 {
        self.refused.get(item)
    }

    pub(crate) fn private_label(&self) -> [f32; 2] {
        self.private_label
    }

    /// Mean relative log price of what was bought, and the undecayed evidence behind it.
    pub(crate) fn price(&self) -> [f32; 2] {
        self.price
    }

    pub(crate) fn image(&self) -> &Interests {
        &self.image
    }

    pub(crate) fn text(&self) -> &Interests {
        &self.text
    }

    fn is_sound(&self) -> bool {
        let counts = [self.total, self.private_label[0], self.private_label[1], self.price[1]];
        self.clock.is_sound(&CLOCK)
            && (0..=crate::clock::TIME_MS_MAX).contains(&self.updated_ms)
            && counts.iter().all(|count| (0.0..=WEIGHT_MAX).contains(count))
            && self.price[0].abs() <= WEIGHT_MAX
            && self.items.len() <= ITEMS_MAX
            && self.items.windows(2).all(|pair| pair[0].item < pair[1].item)
            && self.items.iter().all(Owned::is_sound)
            && self.tastes.is_sound(TASTES_MAX)
            && self.seen.is_sound(GLANCES_MAX)
            && self.refused.is_sound(GLANCES_MAX)
            && self.image.is_sound()
            && self.text.is_sound()
    }
}

/// Days as the formulas count them.
pub(crate) fn days(elapsed_ms: i64) -> f32 {
    (elapsed_ms.max(0) as f64 / DAY_MS as f64) as f32
}

#[cfg(test)]
mod tests;
