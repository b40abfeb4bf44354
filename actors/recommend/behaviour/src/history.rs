//! What is remembered of each shopper: the newest events by their own time, and what was bought how often.

use hashbrown::HashTable;

use crate::event::Kind;
use crate::keys::Key;
use crate::recency::{NONE, Slab};
use crate::save::{Input, LoadError, Output, Saved};

/// An item's number fits in so many bits of an entry.
const ITEM_BITS: u32 = 24;
/// A kind fits in so many.
const KIND_BITS: u32 = 3;
/// An entry's time is kept in steps of 256 ms.
const STEP_BITS: u32 = 8;
/// Items that entries can name.
pub(crate) const ITEMS_MAX: usize = 1 << ITEM_BITS;
/// The latest time that an entry can name, in milliseconds since 1970.
pub(crate) const TIME_MS_MAX: u64 = (1 << (64 - ITEM_BITS - KIND_BITS + STEP_BITS)) - 1;

const _: () = assert!(Kind::ALL.len() <= 1 << KIND_BITS);

/// One remembered event in 8 bytes, for there are tens of millions: time, kind, item, from the highest bits down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    pub(crate) fn new(item: u32, at_ms: u64, kind: Kind) -> Self {
        let step = at_ms.min(TIME_MS_MAX) >> STEP_BITS;
        Self(((step << KIND_BITS | u64::from(kind as u8)) << ITEM_BITS) | u64::from(item))
    }

    pub(crate) fn item(self) -> u32 {
        self.0 as u32 & ((1 << ITEM_BITS) - 1)
    }

    /// The time, rounded down to 256 ms.
    pub(crate) fn at_ms(self) -> u64 {
        self.0 >> (KIND_BITS + ITEM_BITS) << STEP_BITS
    }

    pub(crate) fn kind(self) -> Kind {
        Kind::ALL[self.kind_number()]
    }

    fn kind_number(self) -> usize {
        (self.0 >> ITEM_BITS) as usize & ((1 << KIND_BITS) - 1)
    }

    /// The same item at the same time, of another kind.
    pub(crate) fn with_kind(self, kind: Kind) -> Self {
        Self::new(self.item(), self.at_ms(), kind)
    }
}

impl Saved for Entry {
    fn save(&self, output: &mut Output<'_>) {
        output.u64(self.0);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let entry = Self(input.u64()?);
        if entry.kind_number() < Kind::ALL.len() { Ok(entry) } else { Err(LoadError::Malformed("a kind of event")) }
    }
}

/// Puts an entry where its time belongs, behind others of the same time; the oldest makes room. Returns its place, `None` where it is
/// older than all of a full list.
pub(crate) fn insert_by_time(entries: &mut Vec<Entry>, entry: Entry, entries_max: usize) -> Option<usize> {
    let place = entries.partition_point(|earlier| earlier.at_ms() <= entry.at_ms());
    if entries.len() >= entries_max {
        if place == 0 {
            return None;
        }
        entries.remove(0);
        entries.insert(place - 1, entry);
        return Some(place - 1);
    }
    if entries.len() == entries.capacity() {
        // Millions of short lists: no room to spare.
        entries.reserve_exact((entries.len() / 4).max(3).min(entries_max - entries.len()));
    }
    entries.insert(place, entry);
    Some(place)
}

/// What a shopper bought of one item.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bought {
    pub(crate) item: u32,
    /// Purchases.
    pub(crate) times: u32,
    /// Pieces of all purchases.
    pub(crate) pieces: u32,
    /// Decayed purchases, as of `last_ms`.
    pub(crate) weight: f32,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

impl Bought {
    /// Decayed purchases at a time.
    pub(crate) fn weight_at(&self, now_ms: u64, half_life_ms: u64) -> f32 {
        self.weight * halving(now_ms.saturating_sub(self.last_ms), half_life_ms)
    }

    /// Sums up with purchases of the same item.
    pub(crate) fn merge(&mut self, other: &Self, half_life_ms: u64) {
        let last_ms = self.last_ms.max(other.last_ms);
        self.weight = self.weight_at(last_ms, half_life_ms) + other.weight_at(last_ms, half_life_ms);
        self.times = self.times.saturating_add(other.times);
        self.pieces = self.pieces.saturating_add(other.pieces);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = last_ms;
    }
}

/// What is left after a time.
pub(crate) fn halving(elapsed_ms: u64, half_life_ms: u64) -> f32 {
    if half_life_ms == 0 { 1.0 } else { (-(elapsed_ms as f64) / half_life_ms as f64).exp2() as f32 }
}

impl Saved for Bought {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s_bare(&[self.item, self.times, self.pieces]);
        output.f32(self.weight);
        output.u64(self.first_ms);
        output.u64(self.last_ms);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let (item, times, pieces) = (input.u32()?, input.u32()?, input.u32()?);
        Ok(Self { item, times, pieces, weight: input.f32()?, first_ms: input.u64()?, last_ms: input.u64()? })
    }
}

/// One shopper.
#[derive(Clone, Debug)]
pub(crate) struct Shopper {
    pub(crate) key: Key,
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    /// Of those who buy; in the order of the first purchase.
    #[expect(clippy::box_collection, reason = "most shoppers buy nothing: 8 bytes each instead of 24")]
    pub(crate) bought: Option<Box<Vec<Bought>>>,
    /// The visit under way, or none.
    pub(crate) visit: u32,
}

impl Default for Shopper {
    fn default() -> Self {
        Self { key: Key::default(), entries: Vec::new(), bought: None, visit: NONE }
    }
}

impl Shopper {
    pub(crate) fn bought(&self) -> &[Bought] {
        self.bought.as_ref().map_or(&[], |bought| bought.as_slice())
    }

    /// Adds a purchase; beyond the bound the least makes room.
    pub(crate) fn buy(&mut self, purchase: &Bought, half_life_ms: u64, bought_max: usize) {
        let bought = self.bought.get_or_insert_default();
        if let Some(same) = bought.iter_mut().find(|bought| bought.item == purchase.item) {
            return same.merge(purchase, half_life_ms);
        }
        if bought.len() >= bought_max {
            let now_ms = purchase.last_ms;
            let least = (0..bought.len())
                .min_by(|a, b| bought[*a].weight_at(now_ms, half_life_ms).total_cmp(&bought[*b].weight_at(now_ms, half_life_ms)));
            least.map(|least| bought.remove(least));
        }
        if bought.len() == bought.capacity() {
            bought.reserve_exact((bought.len() / 2).max(1));
        }
        bought.push(*purchase);
    }

    /// Takes a purchase back.
    pub(crate) fn refund(&mut self, item: u32) {
        let Some(bought) = self.bought.as_mut() else { return };
        if let Some(place) = bought.iter().position(|bought| bought.item == item) {
            let kept = &mut bought[place];
            kept.weight *= kept.times.saturating_sub(1) as f32 / kept.times.max(1) as f32;
            kept.times = kept.times.saturating_sub(1);
            if kept.times == 0 {
                bought.remove(place);
            }
        }
    }
}

impl Saved for Shopper {
    fn save(&self, output: &mut Output<'_>) {
        self.key.save(output);
        output.u32(self.visit);
        output.all::<Entry>(self.entries.iter());
        output.all::<Bought>(self.bought().iter());
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let (key, visit, entries, bought) = (Key::load(input)?, input.u32()?, input.all::<Entry>()?, input.all::<Bought>()?);
        let sorted = entries.is_sorted_by_key(|entry| entry.at_ms());
        let entries = entries.into_boxed_slice().into_vec();
        let bought = (!bought.is_empty()).then(|| Box::new(bought));
        if sorted { Ok(Self { key, entries, bought, visit }) } else { Err(LoadError::Malformed("a history")) }
    }
}

/// All shoppers, by the hash of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shoppers {
    slab: Slab<Shopper>,
    index: HashTable<u32>,
}

impl Shoppers {
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn find(&self, key: Key) -> Option<u32> {
        self.index.find(key.hash(), |slot| self.slab.get(*slot).is_some_and(|shopper| shopper.key == key)).copied()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Shopper> {
        self.slab.get(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Shopper> {
        self.slab.get_mut(slot)
    }

    pub(crate) fn bytes(&self) -> usize {
        let own = |shopper: &Shopper| {
            let bought = shopper.bought.as_ref().map_or(0, |bought| size_of::<Vec<Bought>>() + bought.capacity() * size_of::<Bought>());
            shopper.entries.capacity() * size_of::<Entry>() + bought
        };
        self.iter().map(|(_, shopper)| size_of::<Shopper>() + own(shopper)).sum::<usize>() + self.index.capacity() * size_of::<u32>()
    }

    /// The shopper of a name, now the latest used; a new one where there is none.
    pub(crate) fn enter(&mut self, key: Key) -> u32 {
        if let Some(slot) = self.find(key) {
            self.slab.touch(slot);
            return slot;
        }
        let slot = self.slab.insert(Shopper { key, ..Shopper::default() });
        let Self { slab, index } = self;
        index.insert_unique(key.hash(), slot, |slot| slab.get(*slot).map_or(0, |shopper| shopper.key.hash()));
        slot
    }

    /// The one whose last event came first.
    pub(crate) fn longest_unused(&self) -> Option<u32> {
        self.slab.oldest()
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Shopper> {
        let shopper = self.slab.remove(slot)?;
        if let Ok(found) = self.index.find_entry(shopper.key.hash(), |other| *other == slot) {
            found.remove();
        }
        Some(shopper)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Shopper)> {
        self.slab.iter()
    }
}

impl Saved for Shoppers {
    fn save(&self, output: &mut Output<'_>) {
        self.slab.save(output);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let slab = Slab::<Shopper>::load(input)?;
        let mut index = HashTable::with_capacity(slab.len());
        for (slot, shopper) in slab.iter() {
            let same = |other: &u32| slab.get(*other).is_some_and(|other| other.key == shopper.key);
            if index.find(shopper.key.hash(), same).is_some() {
                return Err(LoadError::Malformed("a shopper stands twice"));
            }
            index.insert_unique(shopper.key.hash(), slot, |slot| slab.get(*slot).map_or(0, |shopper| shopper.key.hash()));
        }
        Ok(Self { slab, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_item_time_and_kind() {
        for kind in Kind::ALL {
            let entry = Entry::new(ITEMS_MAX as u32 - 1, TIME_MS_MAX, kind);
            assert_eq!((entry.item(), entry.at_ms(), entry.kind()), (ITEMS_MAX as u32 - 1, TIME_MS_MAX - 255, kind));
        }
    }

    #[test]
    fn an_entry_of_no_known_kind_is_not_read() {
        let read = |number: u64| {
            let mut bytes = Vec::new();
            let mut output = Output::new(&mut bytes);
            output.u64(number << ITEM_BITS);
            output.finish().expect("memory");
            Entry::load(&mut Input::new(&mut &bytes[..]).expect("a stream")).map(Entry::kind).ok()
        };
        assert_eq!((read(Kind::Dismiss as u64), read(Kind::ALL.len() as u64)), (Some(Kind::Dismiss), None));
    }

    #[test]
    fn entries_stand_by_time_and_the_oldest_makes_room() {
        let mut entries = Vec::new();
        let places: Vec<_> = [5, 9, 7, 7, 1, 6]
            .iter()
            .enumerate()
            .map(|(item, at_ms)| insert_by_time(&mut entries, Entry::new(item as u32, *at_ms * 256, Kind::View), 4))
            .collect();
        assert_eq!(places, [Some(0), Some(1), Some(1), Some(2), None, Some(0)]);
        assert_eq!(entries.iter().map(|entry| (entry.item(), entry.at_ms() / 256)).collect::<Vec<_>>(), [(5, 6), (2, 7), (3, 7), (1, 9)]);
    }

    #[test]
    fn the_least_purchase_makes_room_and_a_refund_takes_one_back() {
        let mut shopper = Shopper::default();
        let purchase = |item, at_ms| Bought { item, times: 1, pieces: 2, weight: 1.0, first_ms: at_ms, last_ms: at_ms };
        for (item, at_ms) in [(1, 0), (2, 100), (2, 200), (3, 300)] {
            shopper.buy(&purchase(item, at_ms), 100, 2);
        }
        assert_eq!(
            shopper.bought().iter().map(|bought| (bought.item, bought.times, bought.weight)).collect::<Vec<_>>(),
            [(2, 2, 1.5), (3, 1, 1.0)]
        );
        shopper.refund(2);
        shopper.refund(3);
        assert_eq!(shopper.bought().iter().map(|bought| (bought.item, bought.times)).collect::<Vec<_>>(), [(2, 1)]);
    }
}
