//! Where each owner's rows stand, by its dense number: one word an owner, read by searches without a lock while the one writer
//! changes it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Owners that are allocated together.
const CHUNK_OWNERS: usize = 1 << 16;
const CHUNKS_MAX: usize = 1 << 10;
/// An owner's number is below this: 67 million.
pub const OWNERS_MAX: u32 = (CHUNKS_MAX * CHUNK_OWNERS) as u32;
const WORDS: usize = CHUNK_OWNERS / 64;

/// The first row of an owner. `unit` is the number of a segment or tail, never 0 and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) unit: u32,
    pub(crate) row: u32,
}

impl Place {
    fn word(self) -> u64 {
        u64::from(self.unit) << 32 | u64::from(self.row)
    }

    fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { unit: (word >> 32) as u32, row: word as u32 })
    }
}

#[derive(Debug)]
struct Chunk {
    places: Box<[AtomicU64]>,
    stamps: Box<[AtomicU64]>,
    /// One bit an owner that has rows.
    present: Box<[AtomicU64]>,
}

impl Chunk {
    fn new() -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { places: zeros(CHUNK_OWNERS), stamps: zeros(CHUNK_OWNERS), present: zeros(WORDS) }
    }
}

/// All owners. Every method may be called at any time from any thread; `set`, `relocate` and `remove` only by the writer.
#[derive(Debug)]
pub(crate) struct Owners {
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    count: AtomicUsize,
}

impl Default for Owners {
    fn default() -> Self {
        Self { chunks: (0..CHUNKS_MAX).map(|_| OnceLock::new()).collect(), count: AtomicUsize::new(0) }
    }
}

impl Owners {
    /// Owners that have rows.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn place(&self, owner: u32) -> Option<Place> {
        let chunk = self.chunk(owner)?;
        Place::from_word(chunk.places[owner as usize % CHUNK_OWNERS].load(Ordering::Acquire))
    }

    /// The stamp that came with the owner's rows.
    pub(crate) fn stamp(&self, owner: u32) -> Option<u64> {
        self.place(owner)?;
        Some(self.chunk(owner)?.stamps[owner as usize % CHUNK_OWNERS].load(Ordering::Relaxed))
    }

    /// Puts an owner's rows at `place`. `owner` is below `OWNERS_MAX`.
    pub(crate) fn set(&self, owner: u32, place: Place, stamp: u64) {
        let chunk = self.chunks[owner as usize / CHUNK_OWNERS].get_or_init(|| Box::new(Chunk::new()));
        let at = owner as usize % CHUNK_OWNERS;
        chunk.stamps[at].store(stamp, Ordering::Relaxed);
        if chunk.places[at].swap(place.word(), Ordering::AcqRel) == 0 {
            chunk.present[at / 64].fetch_or(1 << (at % 64), Ordering::AcqRel);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The owner's rows, unchanged, stand elsewhere now.
    pub(crate) fn relocate(&self, owner: u32, to: Place) {
        if let Some(chunk) = self.chunk(owner) {
            chunk.places[owner as usize % CHUNK_OWNERS].store(to.word(), Ordering::Release);
        }
    }

    pub(crate) fn remove(&self, owner: u32) -> Option<Place> {
        let chunk = self.chunk(owner)?;
        let at = owner as usize % CHUNK_OWNERS;
        let place = Place::from_word(chunk.places[at].swap(0, Ordering::AcqRel))?;
        chunk.present[at / 64].fetch_and(!(1 << (at % 64)), Ordering::AcqRel);
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(place)
    }

    /// How many owners of the set have rows. Bit `owner % 64` of word `owner / 64` tells membership; missing words are 0.
    pub(crate) fn count_in(&self, set: &[u64]) -> usize {
        self.words_in(set).map(|(_, word)| word.count_ones() as usize).sum()
    }

    /// The owners of the set that have rows, ascending.
    pub(crate) fn iter_in<'a>(&'a self, set: &'a [u64]) -> impl Iterator<Item = u32> + 'a {
        self.words_in(set).flat_map(|(first, word)| bits(word).map(move |bit| first + bit))
    }

    /// All owners that have rows, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = (0..CHUNKS_MAX * WORDS).map(|index| (index, self.present(index / WORDS, index % WORDS)));
        words.filter(|(_, word)| *word != 0).flat_map(|(index, word)| bits(word).map(move |bit| index as u32 * 64 + bit))
    }

    fn words_in<'a>(&'a self, set: &'a [u64]) -> impl Iterator<Item = (u32, u64)> + 'a {
        set.chunks(WORDS)
            .take(CHUNKS_MAX)
            .enumerate()
            .filter_map(|(index, words)| Some((index, words, self.chunks[index].get()?)))
            .flat_map(|(index, words, chunk)| {
                let first = (index * CHUNK_OWNERS) as u32;
                let pairs = words.iter().zip(&chunk.present).enumerate();
                pairs.map(move |(word, (allowed, present))| (first + word as u32 * 64, allowed & present.load(Ordering::Acquire)))
            })
    }

    fn present(&self, chunk: usize, word: usize) -> u64 {
        self.chunks[chunk].get().map_or(0, |chunk| chunk.present[word].load(Ordering::Acquire))
    }

    fn chunk(&self, owner: u32) -> Option<&Chunk> {
        self.chunks.get(owner as usize / CHUNK_OWNERS)?.get().map(Box::as_ref)
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        chunks * (2 * CHUNK_OWNERS + WORDS) * size_of::<u64>() + CHUNKS_MAX * size_of::<OnceLock<Box<Chunk>>>()
    }
}

/// The numbers of the bits that are set, ascending.
pub(crate) fn bits(word: u64) -> impl Iterator<Item = u32> {
    let next = |word: &u64| Some(word & word.wrapping_sub(1)).filter(|left| *left != 0);
    std::iter::successors(Some(word).filter(|word| *word != 0), next).map(u64::trailing_zeros)
}

/// Membership of `member` in a dense bitset; absent words are 0.
#[inline]
pub(crate) fn contains(set: &[u64], member: u32) -> bool {
    set.get(member as usize / 64).is_some_and(|word| word >> (member % 64) & 1 == 1)
}

/// A bitset of fixed length whose bits are cleared by the writer while others read.
#[derive(Debug)]
pub(crate) struct AliveBits {
    words: Box<[AtomicU64]>,
    dead: AtomicUsize,
}

impl AliveBits {
    /// Of the words of another one; bits beyond `rows` are ignored.
    pub(crate) fn from_words(rows: usize, word: impl Fn(usize) -> u64) -> Self {
        let mask = |index: usize| if (index + 1) * 64 <= rows { u64::MAX } else { (1 << (rows - index * 64)) - 1 };
        let words: Box<[AtomicU64]> = (0..rows.div_ceil(64)).map(|index| AtomicU64::new(word(index) & mask(index))).collect();
        let alive: usize = words.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum();
        Self { words, dead: AtomicUsize::new(rows - alive) }
    }

    #[inline]
    pub(crate) fn contains(&self, row: u32) -> bool {
        self.words[row as usize / 64].load(Ordering::Relaxed) >> (row % 64) & 1 == 1
    }

    /// Clears a bit; `false` when it was clear.
    pub(crate) fn kill(&self, row: u32) -> bool {
        let bit = 1 << (row % 64);
        let was_alive = self.words[row as usize / 64].fetch_and(!bit, Ordering::Release) & bit != 0;
        self.dead.fetch_add(usize::from(was_alive), Ordering::Relaxed);
        was_alive
    }

    pub(crate) fn dead(&self) -> usize {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().map(|word| word.load(Ordering::Acquire))
    }

    /// The rows that are alive, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words().enumerate().flat_map(|(index, word)| bits(word).map(move |bit| index as u32 * 64 + bit))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Near a word's, a chunk's and the table's end.
    fn owner() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..200, CHUNK_OWNERS as u32 - 70..CHUNK_OWNERS as u32 + 70, OWNERS_MAX - 3..OWNERS_MAX]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn owners_like_a_map(
            steps in prop::collection::vec((owner(), prop::option::of((1u32..5, 0u32..9, any::<u64>()))), 1..200),
            set in prop::collection::vec(any::<u64>(), 0..1100),
        ) {
            let (owners, mut model) = (Owners::default(), BTreeMap::new());
            for (owner, step) in steps {
                match step {
                    Some((unit, row, stamp)) => {
                        owners.set(owner, Place { unit, row }, stamp);
                        model.insert(owner, (Place { unit, row }, stamp));
                    }
                    None => prop_assert_eq!(owners.remove(owner), model.remove(&owner).map(|(place, _)| place)),
                }
                prop_assert_eq!(owners.place(owner), model.get(&owner).map(|(place, _)| *place));
                prop_assert_eq!(owners.stamp(owner), model.get(&owner).map(|(_, stamp)| *stamp));
            }
            prop_assert_eq!(owners.count(), model.len());
            prop_assert_eq!(owners.iter().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            let inside: Vec<u32> = model.keys().copied().filter(|owner| contains(&set, *owner)).collect();
            prop_assert_eq!(owners.count_in(&set), inside.len());
            prop_assert_eq!(owners.iter_in(&set).collect::<Vec<_>>(), inside);
        }

        #[test]
        fn alive_bits_like_a_set(rows in 1usize..300, kills in prop::collection::vec(any::<prop::sample::Index>(), 0..100)) {
            let alive = AliveBits::from_words(rows, |_| u64::MAX);
            let mut model: std::collections::BTreeSet<u32> = (0..rows as u32).collect();
            for kill in kills {
                let row = kill.index(rows) as u32;
                prop_assert_eq!(alive.kill(row), model.remove(&row));
            }
            prop_assert_eq!(alive.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(alive.dead(), rows - model.len());
            let words: Vec<u64> = alive.words().collect();
            let copy = AliveBits::from_words(rows, |index| words[index]);
            prop_assert_eq!(copy.dead(), alive.dead());
        }
    }

    #[test]
    fn numbers_beyond_the_table_are_in_no_set() {
        let owners = Owners::default();
        assert_eq!((owners.place(OWNERS_MAX), owners.stamp(u32::MAX), owners.remove(u32::MAX)), (None, None, None));
    }
}
