//! Slots in the order of their use: which one to give up when room is needed, in constant time.

use crate::chunked::Chunked;
use crate::save::{Input, LoadError, Output, Saved};

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// A doubly linked list through slots.
#[derive(Clone, Debug)]
pub(crate) struct Recency {
    /// The next older and next newer slot; a slot that is not in the list names itself.
    links: Chunked<[u32; 2]>,
    oldest: u32,
    newest: u32,
}

impl Default for Recency {
    fn default() -> Self {
        Self { links: Chunked::default(), oldest: NONE, newest: NONE }
    }
}

impl Recency {
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    fn is_listed(&self, slot: u32) -> bool {
        self.links.get(slot as usize).is_some_and(|[older, _]| *older != slot)
    }

    /// Makes a slot the newest.
    pub(crate) fn touch(&mut self, slot: u32) {
        if self.newest == slot {
            return;
        }
        self.remove(slot);
        while self.links.len() <= slot as usize {
            let next = self.links.len() as u32;
            self.links.push([next, next]);
        }
        self.links[slot as usize] = [self.newest, NONE];
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.links[newest as usize][1] = slot,
        }
        self.newest = slot;
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        if !self.is_listed(slot) {
            return;
        }
        let [older, newer] = self.links[slot as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize][1] = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[newer as usize][0] = older,
        }
        self.links[slot as usize] = [slot, slot];
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.oldest(), |slot| Some(self.links[*slot as usize][1]).filter(|newer| *newer != NONE))
    }
}

impl Recency {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s(&self.iter().collect::<Vec<_>>());
    }

    /// Reads an order of slots below a number.
    fn load_within(input: &mut Input<'_>, slots_len: usize) -> Result<Self, LoadError> {
        let mut recency = Self::default();
        for slot in input.u32s()? {
            if slot as usize >= slots_len || recency.is_listed(slot) {
                return Err(LoadError::Malformed("an order of use"));
            }
            recency.touch(slot);
        }
        Ok(recency)
    }
}

/// A list of things with a slot each, of which the longest unused can be given up.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    slots: Chunked<T>,
    /// Slots of what was given up.
    free: Vec<u32>,
    recency: Recency,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Chunked::default(), free: Vec::new(), recency: Recency::default() }
    }
}

impl<T: Default> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = value;
                slot
            }
            None => {
                self.slots.push(value);
                self.slots.len() as u32 - 1
            }
        };
        self.recency.touch(slot);
        slot
    }

    pub(crate) fn touch(&mut self, slot: u32) {
        self.recency.touch(slot);
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.recency.oldest()
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        if !self.recency.is_listed(slot) {
            return None;
        }
        self.recency.remove(slot);
        self.free.push(slot);
        self.slots.get_mut(slot as usize).map(std::mem::take)
    }

    /// Slots in use, the longest unused first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.recency.iter().map(|slot| (slot, &self.slots[slot as usize]))
    }

    pub(crate) fn is_used(&self, slot: u32) -> bool {
        self.recency.is_listed(slot)
    }
}

impl<T: Saved + Default> Saved for Slab<T> {
    fn save(&self, output: &mut Output<'_>) {
        output.u64(self.slots.len() as u64);
        self.slots.iter().for_each(|slot| slot.save(output));
        output.u32s(&self.free);
        self.recency.save(output);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let mut slots = Chunked::default();
        for _ in 0..input.len()? {
            slots.push(T::load(input)?);
        }
        let free = input.u32s()?;
        let recency = Recency::load_within(input, slots.len())?;
        let mut is_used = vec![false; slots.len()];
        recency.iter().for_each(|slot| is_used[slot as usize] = true);
        // Each slot is either free or in use, and only once.
        for slot in &free {
            match is_used.get_mut(*slot as usize) {
                Some(used) if !*used => *used = true,
                _ => return Err(LoadError::Malformed("free slots")),
            }
        }
        if is_used.iter().all(|used| *used) { Ok(Self { slots, free, recency }) } else { Err(LoadError::Malformed("slots")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_is_first_and_slots_are_used_again() {
        let mut slab = Slab::<u8>::default();
        let slots: Vec<u32> = [10, 11, 12].into_iter().map(|value| slab.insert(value)).collect();
        slab.touch(slots[0]);
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [11, 12, 10]);
        assert_eq!((slab.remove(slots[1]), slab.remove(slots[1]), slab.len()), (Some(11), None, 2));
        assert_eq!((slab.insert(13), slab.oldest()), (slots[1], Some(slots[2])));
        for slot in slots {
            slab.remove(slot);
        }
        assert_eq!((slab.len(), slab.oldest(), slab.iter().count()), (0, None, 0));
    }
}
