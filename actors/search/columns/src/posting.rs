//! The products of one value: containers of 65,536 slots each, a sorted list or bits, whichever is smaller (Chambi et al.,
//! "Better bitmap performance with Roaring bitmaps", 2016). Containers are shared by copies, so that adding a product copies
//! 8 KiB at most, and they are laid over a dense set by words. A handful of slots needs no container.

use std::sync::Arc;

use crate::bits;

/// Slots of a container.
const CONTAINER: u32 = 1 << 16;
const CONTAINER_WORDS: usize = CONTAINER as usize / 64;
/// A list that grows longer becomes bits.
const LIST_MAX: usize = 4_096;
/// Bits that become fewer become a list: apart from `LIST_MAX`, so that one product coming and going changes nothing.
const BITS_MIN: u32 = 3_072;
/// More become containers.
const FEW_MAX: usize = 12;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Posting {
    One(u32),
    /// Sorted; also the empty posting.
    Few(Arc<[u32]>),
    Many(Vec<Container>),
}

#[derive(Clone, Debug)]
pub(crate) enum Container {
    List(Arc<Vec<u16>>),
    Bits(Arc<[u64; CONTAINER_WORDS]>, u32),
}

impl Default for Posting {
    fn default() -> Self {
        Self::Few(Arc::new([]))
    }
}

impl Posting {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Few(slots) => slots.is_empty(),
            Self::Many(containers) => containers.iter().all(|container| container.count() == 0),
        }
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(slots) => slots.len(),
            Self::Many(containers) => containers.iter().map(Container::count).sum(),
        }
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::One(other) => *other == slot,
            Self::Few(slots) => slots.binary_search(&slot).is_ok(),
            Self::Many(containers) => match containers.get((slot / CONTAINER) as usize) {
                None => false,
                Some(Container::List(list)) => list.binary_search(&((slot % CONTAINER) as u16)).is_ok(),
                Some(Container::Bits(words, _)) => bits::contains(words.as_slice(), slot % CONTAINER),
            },
        }
    }

    pub(crate) fn insert(&mut self, slot: u32) {
        match self {
            Self::One(other) if *other == slot => {}
            Self::One(other) => *self = Self::Few(Arc::new([slot.min(*other), slot.max(*other)])),
            Self::Few(slots) if slots.is_empty() => *self = Self::One(slot),
            Self::Few(slots) => {
                let Err(at) = slots.binary_search(&slot) else { return };
                let longer: Vec<u32> = slots[..at].iter().chain([&slot]).chain(&slots[at..]).copied().collect();
                if longer.len() <= FEW_MAX {
                    *slots = longer.into();
                } else {
                    *self = Self::Many(Vec::new());
                    longer.into_iter().for_each(|slot| self.insert(slot));
                }
            }
            Self::Many(containers) => {
                let index = (slot / CONTAINER) as usize;
                while containers.len() <= index {
                    containers.push(Container::List(Arc::default()));
                }
                containers[index].insert((slot % CONTAINER) as u16);
            }
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        match self {
            Self::One(other) if *other == slot => *self = Self::default(),
            Self::One(_) => {}
            Self::Few(slots) => {
                let rest: Vec<u32> = slots.iter().copied().filter(|other| *other != slot).collect();
                match rest.as_slice() {
                    [only] => *self = Self::One(*only),
                    _ if rest.len() < slots.len() => *slots = rest.into(),
                    _ => {}
                }
            }
            Self::Many(containers) => {
                if let Some(container) = containers.get_mut((slot / CONTAINER) as usize) {
                    container.remove((slot % CONTAINER) as u16);
                    if self.count() <= FEW_MAX / 2 {
                        let mut rest = Vec::new();
                        self.each(|slot| rest.push(slot));
                        *self = if let [only] = rest.as_slice() { Self::One(*only) } else { Self::Few(rest.into()) };
                    }
                }
            }
        }
    }

    /// Adds its slots to a dense set, as far as that has words.
    pub(crate) fn or_into(&self, words: &mut [u64]) {
        match self {
            Self::Many(containers) => {
                for (index, container) in containers.iter().enumerate() {
                    let start = index * CONTAINER_WORDS;
                    let Some(words) = words.get_mut(start..) else { return };
                    match container {
                        Container::Bits(own, _) => bits::or(words, own.as_slice()),
                        Container::List(list) => {
                            for offset in list.iter() {
                                if let Some(word) = words.get_mut(*offset as usize / 64) {
                                    *word |= 1 << (offset % 64);
                                }
                            }
                        }
                    }
                }
            }
            _ => self.each(|slot| {
                if let Some(word) = words.get_mut(slot as usize / 64) {
                    *word |= 1 << (slot % 64);
                }
            }),
        }
    }

    /// How many of its slots are in a dense set.
    pub(crate) fn count_in(&self, words: &[u64]) -> usize {
        let mut count = 0;
        if let Self::Many(containers) = self {
            for (index, container) in containers.iter().enumerate() {
                let Some(words) = words.get(index * CONTAINER_WORDS..) else { break };
                count += match container {
                    Container::Bits(own, _) => own.iter().zip(words).map(|(a, b)| (a & b).count_ones() as usize).sum(),
                    Container::List(list) => list.iter().filter(|offset| bits::contains(words, u32::from(**offset))).count(),
                };
            }
        } else {
            self.each(|slot| count += usize::from(bits::contains(words, slot)));
        }
        count
    }

    fn each(&self, mut see: impl FnMut(u32)) {
        match self {
            Self::One(slot) => see(*slot),
            Self::Few(slots) => slots.iter().for_each(|slot| see(*slot)),
            Self::Many(containers) => {
                for (index, container) in containers.iter().enumerate() {
                    let start = index as u32 * CONTAINER;
                    match container {
                        Container::List(list) => list.iter().for_each(|offset| see(start + u32::from(*offset))),
                        Container::Bits(words, _) => bits::slots(words.as_slice()).for_each(|offset| see(start + offset)),
                    }
                }
            }
        }
    }

    /// Beside the value itself.
    pub(crate) fn bytes(&self) -> usize {
        const SHARED: usize = 2 * size_of::<usize>();
        match self {
            Self::One(_) => 0,
            Self::Few(slots) if slots.is_empty() => 0,
            Self::Few(slots) => SHARED + slots.len() * size_of::<u32>(),
            Self::Many(containers) => {
                let own = |container: &Container| match container {
                    Container::List(list) => SHARED + size_of::<Vec<u16>>() + list.capacity() * size_of::<u16>(),
                    Container::Bits(..) => SHARED + CONTAINER_WORDS * size_of::<u64>(),
                };
                containers.iter().map(own).sum::<usize>() + containers.capacity() * size_of::<Container>()
            }
        }
    }
}

impl Container {
    fn count(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits(_, count) => *count as usize,
        }
    }

    fn insert(&mut self, offset: u16) {
        match self {
            Self::List(list) => {
                let Err(at) = list.binary_search(&offset) else { return };
                if list.len() < LIST_MAX {
                    Arc::make_mut(list).insert(at, offset);
                } else {
                    let mut words = [0_u64; CONTAINER_WORDS];
                    for offset in list.iter().copied().chain([offset]) {
                        words[offset as usize / 64] |= 1 << (offset % 64);
                    }
                    *self = Self::Bits(Arc::new(words), LIST_MAX as u32 + 1);
                }
            }
            Self::Bits(words, count) => {
                if !bits::contains(words.as_slice(), u32::from(offset)) {
                    Arc::make_mut(words)[offset as usize / 64] |= 1 << (offset % 64);
                    *count += 1;
                }
            }
        }
    }

    fn remove(&mut self, offset: u16) {
        match self {
            Self::List(list) => {
                if let Ok(at) = list.binary_search(&offset) {
                    Arc::make_mut(list).remove(at);
                }
            }
            Self::Bits(words, count) => {
                if bits::contains(words.as_slice(), u32::from(offset)) {
                    bits::remove(Arc::make_mut(words).as_mut_slice(), u32::from(offset));
                    *count -= 1;
                    if *count < BITS_MIN {
                        *self = Self::List(Arc::new(bits::slots(words.as_slice()).map(|offset| offset as u16).collect()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn agrees(posting: &Posting, expected: &BTreeSet<u32>) {
        let mut found = Vec::new();
        posting.each(|slot| found.push(slot));
        assert_eq!(found, expected.iter().copied().collect::<Vec<_>>());
        assert_eq!((posting.count(), posting.is_empty()), (expected.len(), expected.is_empty()));
        let mut words = vec![0; 3 * CONTAINER_WORDS];
        posting.or_into(&mut words);
        assert_eq!(bits::slots(&words).collect::<Vec<_>>(), found);
        let thirds: Vec<u64> = (0..words.len()).map(|index| if index % 3 == 0 { !0 } else { 0 }).collect();
        assert_eq!(posting.count_in(&thirds), found.iter().filter(|slot| (*slot / 64) % 3 == 0).count());
        let mut short = vec![0; 1];
        posting.or_into(&mut short);
        assert_eq!(bits::count(&short), found.iter().filter(|slot| **slot < 64).count());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), prop_oneof![0_u32..40, 0_u32..3 * CONTAINER]), 0..200)) {
            let (mut posting, mut expected) = (Posting::default(), BTreeSet::new());
            for (is_insert, slot) in changes {
                let before = (posting.clone(), expected.clone());
                if is_insert {
                    posting.insert(slot);
                    expected.insert(slot);
                } else {
                    posting.remove(slot);
                    expected.remove(&slot);
                }
                agrees(&posting, &expected);
                agrees(&before.0, &before.1);
            }
        }
    }

    #[test]
    fn containers_become_bits_and_lists_again() {
        let (mut posting, mut expected) = (Posting::default(), BTreeSet::new());
        for slot in (0..20_000).map(|number| number * 7 % 131_072) {
            posting.insert(slot);
            expected.insert(slot);
        }
        agrees(&posting, &expected);
        assert!(matches!(&posting, Posting::Many(containers) if matches!(containers[0], Container::Bits(..))));
        for slot in (0..20_000).map(|number| number * 7 % 131_072) {
            if slot % 1_000 != 0 {
                posting.remove(slot);
                expected.remove(&slot);
            }
        }
        agrees(&posting, &expected);
        assert!(matches!(&posting, Posting::Many(containers) if matches!(containers[0], Container::List(..))));
    }
}
