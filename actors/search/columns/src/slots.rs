//! Products and their slots: small numbers that stay a product's own until it is deleted, and for a while after, so that a
//! query that began before still means the same product by them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use domain::ProductId;

use crate::bits::{self, Bitset};
use crate::chunked::Chunked;
use crate::index::Index;

/// Which product has which slot. Copies share what does not change.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    ids: Chunked<Option<ProductId>>,
    index: Index,
    hasher: RandomState,
    alive: Chunked<u64>,
    products: usize,
}

/// Slots of deleted products, each with the time of its deletion, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    freed: VecDeque<(u64, u32)>,
}

impl Slots {
    /// The slot of a product.
    pub fn slot(&self, id: &str) -> Option<u32> {
        let mut candidates = self.index.candidates(self.hasher.hash_one(id));
        candidates.find(|slot| self.id(*slot).is_some_and(|found| found.as_str() == id))
    }

    /// The product that has a slot.
    pub fn id(&self, slot: u32) -> Option<&ProductId> {
        self.ids.get(slot as usize)?.as_ref()
    }

    /// Products.
    pub fn len(&self) -> usize {
        self.products
    }

    /// Whether there is no product.
    pub fn is_empty(&self) -> bool {
        self.products == 0
    }

    /// One more than the greatest slot ever given.
    pub fn bound(&self) -> u32 {
        self.ids.len() as u32
    }

    /// The slots that have a product, `bound / 64` words rounded up.
    pub fn alive(&self) -> Bitset {
        let mut words = Bitset::with_capacity(self.alive.len());
        self.alive.chunks().for_each(|chunk| words.extend_from_slice(chunk));
        words
    }

    fn hash_of(&self, slot: u32) -> u64 {
        self.hasher.hash_one(self.id(slot).map_or("", ProductId::as_str))
    }

    /// Gives a product a slot: one whose quarantine is over, or a new one. `None` when all 2^31 are taken.
    pub(crate) fn add(&mut self, id: &ProductId, quarantine: &mut Quarantine, now_ms: u64, quarantine_ms: u64) -> Option<u32> {
        const SLOTS_MAX: usize = 1 << 31;
        let is_over = |freed: &(u64, u32)| now_ms.saturating_sub(freed.0) >= quarantine_ms;
        let slot = match quarantine.freed.pop_front_if(|freed| is_over(freed)) {
            Some((_, slot)) => slot,
            None if self.ids.len() < SLOTS_MAX => self.ids.len() as u32,
            None => return None,
        };
        match self.ids.get_mut(slot as usize) {
            Some(entry) => *entry = Some(id.clone()),
            None => self.ids.push(Some(id.clone())),
        }
        self.alive.resize(self.ids.len().div_ceil(64), 0);
        if let Some(word) = self.alive.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
        let mut index = std::mem::take(&mut self.index);
        index.insert(self.hasher.hash_one(id.as_str()), slot, |slot| self.hash_of(slot));
        self.index = index;
        self.products += 1;
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32, quarantine: &mut Quarantine, now_ms: u64) {
        if self.id(slot).is_none() {
            return;
        }
        let hash = self.hash_of(slot);
        let mut index = std::mem::take(&mut self.index);
        index.remove(hash, slot, |slot| self.hash_of(slot));
        self.index = index;
        if let Some(entry) = self.ids.get_mut(slot as usize) {
            *entry = None;
        }
        if let Some(word) = self.alive.get_mut(slot as usize / 64) {
            bits::remove(std::slice::from_mut(word), slot % 64);
        }
        self.products -= 1;
        quarantine.freed.push_back((now_ms, slot));
    }

    pub(crate) fn bytes(&self) -> usize {
        let ids: usize = self.ids.iter().flatten().map(|id| id.as_str().len() + 2 * size_of::<usize>()).sum();
        ids + self.ids.bytes() + self.index.bytes() + self.alive.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProductId {
        name.parse().expect("an id")
    }

    #[test]
    fn a_slot_is_used_again_only_after_its_quarantine() {
        let (mut slots, mut quarantine) = (Slots::default(), Quarantine::default());
        let add = |slots: &mut Slots, quarantine: &mut Quarantine, name: &str, now| slots.add(&id(name), quarantine, now, 1_000);
        assert_eq!(add(&mut slots, &mut quarantine, "a", 0), Some(0));
        assert_eq!(add(&mut slots, &mut quarantine, "b", 0), Some(1));
        let before = slots.clone();
        slots.remove(0, &mut quarantine, 500);
        slots.remove(0, &mut quarantine, 500);
        assert_eq!((slots.slot("a"), slots.id(0), slots.len(), bits::contains(&slots.alive(), 0)), (None, None, 1, false));
        assert_eq!(add(&mut slots, &mut quarantine, "c", 1_499), Some(2));
        assert_eq!(add(&mut slots, &mut quarantine, "d", 1_500), Some(0));
        assert_eq!((slots.slot("d"), slots.id(0), slots.bound()), (Some(0), Some(&id("d")), 3));
        assert_eq!((before.slot("a"), before.id(0), before.len()), (Some(0), Some(&id("a")), 2));
    }

    #[test]
    fn ten_thousand_products_are_found() {
        let (mut slots, mut quarantine) = (Slots::default(), Quarantine::default());
        for number in 0..10_000 {
            assert_eq!(slots.add(&id(&format!("p{number}")), &mut quarantine, 0, 0), Some(number));
        }
        (0..10_000).step_by(3).for_each(|slot| slots.remove(slot, &mut quarantine, 0));
        for number in 0..10_000 {
            assert_eq!(slots.slot(&format!("p{number}")), (number % 3 != 0).then_some(number));
        }
        assert_eq!(bits::count(&slots.alive()), slots.len());
    }
}
