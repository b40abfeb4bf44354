//! Sets of slots as dense bits: bit `slot % 64` of word `slot / 64`; words that are not there are zero.

/// A set of slots.
pub type Bitset = Vec<u64>;

/// Whether a slot is in the set.
pub fn contains(words: &[u64], slot: u32) -> bool {
    words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
}

/// How many slots are in the set.
pub fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// The slots in ascending order.
pub fn slots(words: &[u64]) -> impl Iterator<Item = u32> {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some(index as u32 * 64 + bit)
        })
    })
}

pub(crate) fn insert(words: &mut Bitset, slot: u32) {
    let index = slot as usize / 64;
    if index >= words.len() {
        words.resize(index + 1, 0);
    }
    words[index] |= 1 << (slot % 64);
}

pub(crate) fn remove(words: &mut [u64], slot: u32) {
    if let Some(word) = words.get_mut(slot as usize / 64) {
        *word &= !(1 << (slot % 64));
    }
}

/// Keeps what is in the other too.
pub(crate) fn and(words: &mut [u64], other: &[u64]) {
    let shared = words.len().min(other.len());
    words[..shared].iter_mut().zip(other).for_each(|(word, other)| *word &= other);
    words[shared..].fill(0);
}

/// Keeps what is not in the other.
pub(crate) fn and_not(words: &mut [u64], other: &[u64]) {
    words.iter_mut().zip(other).for_each(|(word, other)| *word &= !other);
}

/// Adds what is in the other, as far as there are words.
pub(crate) fn or(words: &mut [u64], other: &[u64]) {
    words.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_by_table() {
        let mut set = Bitset::new();
        for slot in [0, 63, 64, 200] {
            insert(&mut set, slot);
        }
        assert_eq!(slots(&set).collect::<Vec<_>>(), [0, 63, 64, 200]);
        remove(&mut set, 63);
        remove(&mut set, 10_000);
        assert_eq!((count(&set), contains(&set, 64), contains(&set, 63), contains(&set, 9_999)), (3, true, false, false));
        let mut other = set.clone();
        and(&mut other, &[1]);
        assert_eq!(slots(&other).collect::<Vec<_>>(), [0]);
        and_not(&mut set, &other);
        or(&mut set, &[2]);
        assert_eq!(slots(&set).collect::<Vec<_>>(), [1, 64, 200]);
    }
}
