//! Names as numbers: items keep their text, shoppers, sessions and orders only a hash of it.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::save::{Input, LoadError, Output, Saved};

/// A name may be this long: 128 characters of 4 bytes each, behind two bytes that say of whom it is.
pub const KEY_BYTES_MAX: usize = 2 + 4 * 128;

/// 128 bits of BLAKE3 of a name: what is kept of shoppers, sessions and orders. It finds, and it cannot be read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u32; 4]);

impl Key {
    pub(crate) fn new(text: &str) -> Self {
        let digest = blake3::hash(text.as_bytes());
        let word = |at: usize| {
            u32::from_le_bytes([digest.as_bytes()[at], digest.as_bytes()[at + 1], digest.as_bytes()[at + 2], digest.as_bytes()[at + 3]])
        };
        Self([word(0), word(4), word(8), word(12)])
    }

    /// A part of the hash is a hash.
    pub(crate) fn hash(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }
}

impl Saved for Key {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s_bare(&self.0);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        Ok(Self([input.u32()?, input.u32()?, input.u32()?, input.u32()?]))
    }
}

/// Items by name, numbered in the order of their first appearance. A number stays an item's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items {
    text: Vec<u8>,
    /// Where each name ends in `text`.
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
}

impl Items {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.capacity() + 4 * (self.ends.capacity() + self.index.capacity())
    }

    pub(crate) fn name(&self, item: u32) -> Option<&str> {
        let end = *self.ends.get(item as usize)? as usize;
        let start = (item as usize).checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        std::str::from_utf8(&self.text[start..end]).ok()
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.index.find(self.hasher.hash_one(name), |item| self.name(*item) == Some(name)).copied()
    }

    /// The number of a name, a new one where it has none; `None` where no more fit.
    pub(crate) fn intern(&mut self, name: &str, items_max: usize) -> Option<u32> {
        if let Some(item) = self.find(name) {
            return Some(item);
        }
        let item = u32::try_from(self.len()).ok().filter(|_| self.len() < items_max)?;
        let end = u32::try_from(self.text.len() + name.len()).ok()?;
        self.text.extend_from_slice(name.as_bytes());
        self.ends.push(end);
        let Self { text, ends, index, hasher } = self;
        index.insert_unique(hasher.hash_one(name), item, |item| {
            let start = (*item as usize).checked_sub(1).map_or(0, |before| ends[before] as usize);
            hasher.hash_one(std::str::from_utf8(&text[start..ends[*item as usize] as usize]).unwrap_or_default())
        });
        Some(item)
    }
}

impl Saved for Items {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s(&self.ends);
        output.bytes_bare(&self.text);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let ends = input.u32s()?;
        if !ends.is_sorted() {
            return Err(LoadError::Malformed("names of items"));
        }
        let text = input.bytes_bare(ends.last().map_or(0, |end| *end as usize))?;
        let mut items = Self::default();
        let mut start = 0;
        for end in &ends {
            let name = std::str::from_utf8(&text[start..*end as usize]).map_err(|_| LoadError::Malformed("names of items"))?;
            start = *end as usize;
            // A name that stands twice would take the number of another.
            if items.intern(name, usize::MAX) != Some(items.len() as u32 - 1) || items.len() > ends.len() {
                return Err(LoadError::Malformed("names of items"));
            }
        }
        if items.len() == ends.len() { Ok(items) } else { Err(LoadError::Malformed("names of items")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_numbered_in_the_order_of_their_first_appearance() {
        let mut items = Items::default();
        let numbers: Vec<_> = ["b", "a", "b", "", "c"].iter().map(|name| items.intern(name, 3)).collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(0), Some(2), None]);
        assert_eq!((items.name(1), items.find("c"), items.name(9)), (Some("a"), None, None));
    }

    #[test]
    fn keys_differ_and_are_stable() {
        assert_eq!(Key::new("shopper-1"), Key::new("shopper-1"));
        assert_ne!(Key::new("shopper-1"), Key::new("shopper-2"));
    }
}
