//! One `u32` for each slot, in chunks that copies share; a chunk with few of them is a list.

use std::sync::Arc;

/// Slots of a chunk.
const CHUNK: usize = 1_024;
/// A list that grows longer becomes an array.
const LIST_MAX: usize = CHUNK / 4;
/// No cell.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Chunk {
    /// Sorted by the slot's place in the chunk.
    List(Arc<Vec<(u16, u32)>>),
    Array(Arc<[u32; CHUNK]>),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    chunks: Vec<Chunk>,
}

impl Cells {
    pub(crate) fn get(&self, slot: u32) -> u32 {
        match self.chunks.get(slot as usize / CHUNK) {
            None => NONE,
            Some(Chunk::Array(cells)) => cells[slot as usize % CHUNK],
            Some(Chunk::List(list)) => {
                let place = (slot as usize % CHUNK) as u16;
                list.binary_search_by_key(&place, |(place, _)| *place).map_or(NONE, |at| list[at].1)
            }
        }
    }

    pub(crate) fn set(&mut self, slot: u32, cell: u32) {
        let (index, place) = (slot as usize / CHUNK, slot as usize % CHUNK);
        if index >= self.chunks.len() {
            if cell == NONE {
                return;
            }
            self.chunks.resize_with(index + 1, || Chunk::List(Arc::default()));
        }
        match &mut self.chunks[index] {
            Chunk::Array(cells) => Arc::make_mut(cells)[place] = cell,
            Chunk::List(list) => match (list.binary_search_by_key(&(place as u16), |(place, _)| *place), cell) {
                (Ok(at), NONE) => drop(Arc::make_mut(list).remove(at)),
                (Ok(at), cell) => Arc::make_mut(list)[at].1 = cell,
                (Err(_), NONE) => {}
                (Err(at), cell) if list.len() < LIST_MAX => Arc::make_mut(list).insert(at, (place as u16, cell)),
                (Err(_), cell) => {
                    let mut cells = [NONE; CHUNK];
                    list.iter().for_each(|(place, cell)| cells[*place as usize] = *cell);
                    cells[place] = cell;
                    self.chunks[index] = Chunk::Array(Arc::new(cells));
                }
            },
        }
    }

    /// Calls for every slot of a dense set with its cell, [`NONE`] where it has none.
    #[inline]
    pub(crate) fn each(&self, within: &[u64], mut see: impl FnMut(u32, u32)) {
        const WORDS: usize = CHUNK / 64;
        for (index, words) in within.chunks(WORDS).enumerate() {
            let start = (index * CHUNK) as u32;
            let mut array = [NONE; CHUNK];
            let cells = match self.chunks.get(index) {
                Some(Chunk::Array(cells)) => cells,
                Some(Chunk::List(list)) => {
                    list.iter().for_each(|(place, cell)| array[*place as usize] = *cell);
                    &array
                }
                None => &array,
            };
            for (word_index, word) in words.iter().enumerate() {
                let cells = &cells[word_index * 64..word_index * 64 + 64];
                let start = start + word_index as u32 * 64;
                if *word == u64::MAX {
                    for (bit, cell) in cells.iter().enumerate() {
                        see(start + bit as u32, *cell);
                    }
                } else {
                    let mut rest = *word;
                    while rest != 0 {
                        let bit = rest.trailing_zeros();
                        see(start + bit, cells[bit as usize]);
                        rest &= rest - 1;
                    }
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        const COUNTERS: usize = 2 * size_of::<usize>();
        let own = |chunk: &Chunk| match chunk {
            Chunk::List(list) => COUNTERS + size_of::<Vec<(u16, u32)>>() + list.capacity() * size_of::<(u16, u32)>(),
            Chunk::Array(_) => COUNTERS + CHUNK * size_of::<u32>(),
        };
        self.chunks.iter().map(own).sum::<usize>() + self.chunks.capacity() * size_of::<Chunk>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_a_map(changes in proptest::collection::vec((0_u32..3_000, proptest::option::of(0_u32..9)), 0..900), dense in any::<bool>()) {
            let (mut cells, mut expected) = (Cells::default(), BTreeMap::new());
            let before = cells.clone();
            for (slot, cell) in changes {
                let slot = if dense { slot % 700 } else { slot };
                cells.set(slot, cell.unwrap_or(NONE));
                match cell {
                    Some(cell) => expected.insert(slot, cell),
                    None => expected.remove(&slot),
                };
            }
            let mut all = Vec::new();
            cells.each(&[u64::MAX; 47], |slot, cell| if cell != NONE { all.push((slot, cell)) });
            prop_assert_eq!(all, expected.iter().map(|(slot, cell)| (*slot, *cell)).collect::<Vec<_>>());
            let mut some = Vec::new();
            cells.each(&[0b1001; 47], |slot, cell| some.push((slot, cell)));
            let cell = |slot: u32| expected.get(&slot).copied().unwrap_or(NONE);
            prop_assert_eq!(some, (0..47 * 64).filter(|slot| [0, 3].contains(&(slot % 64))).map(|slot| (slot, cell(slot))).collect::<Vec<_>>());
            prop_assert!((0..3_100).all(|slot| cells.get(slot) == cell(slot) && before.get(slot) == NONE));
        }
    }
}
