//! One attribute: its values, and which of them each product has.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::cells::{Cells, NONE};
use crate::chunked::Chunked;
use crate::dictionary::Dictionary;
use crate::index::Index;
use crate::posting::Posting;

/// A cell with this bit is the number of a set of codes, one without is a code.
const SET: u32 = 1 << 31;

/// Codes that occur together, and in how many products.
#[derive(Clone, Debug)]
struct CodeSet {
    codes: Arc<[u32]>,
    products: u32,
}

/// What the values of an attribute are, beside texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Identifiers and names: never numbers.
    Name,
    /// Whatever the texts are.
    Plain,
    /// Steps from the widest to the narrowest; every beginning of a path is a value too.
    Path,
}

/// Between the steps of a path's key; no folded text contains it.
pub(crate) const STEP: char = '\u{1f}';

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) shape: Shape,
    pub(crate) dictionary: Dictionary,
    cells: Cells,
    sets: Chunked<CodeSet>,
    set_index: Index,
    set_free: Chunked<u32>,
    hasher: RandomState,
    /// Products with a value.
    pub(crate) exists: Posting,
    /// Products with a value that is not held: one too many for the bounds. Values too long for any filter are not held either,
    /// but nothing can be asked of them beside their being there.
    pub(crate) unheld: Posting,
}

/// One value of a product: folded, and as shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) spelling: String,
}

/// How large a column may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Different values.
    pub(crate) values_max: usize,
    /// Of one value.
    pub(crate) value_bytes_max: usize,
    /// Of all values together.
    pub(crate) text_bytes_max: usize,
}

impl Column {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            dictionary: Dictionary::new(shape == Shape::Plain),
            cells: Cells::default(),
            sets: Chunked::default(),
            set_index: Index::default(),
            set_free: Chunked::default(),
            hasher: RandomState::new(),
            exists: Posting::default(),
            unheld: Posting::default(),
        }
    }

    /// The codes of a cell.
    pub(crate) fn expand<'a>(&'a self, cell: &'a u32) -> &'a [u32] {
        match *cell {
            NONE => &[],
            code if code & SET == 0 => std::slice::from_ref(cell),
            set => self.set_codes((set & !SET) as usize),
        }
    }

    pub(crate) fn cell(&self, slot: u32) -> u32 {
        self.cells.get(slot)
    }

    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The number of sets a cell may name.
    pub(crate) fn set_count(&self) -> usize {
        self.sets.len()
    }

    /// The set of a cell that names one.
    pub(crate) fn set_of(cell: u32) -> Option<usize> {
        (cell != NONE && cell & SET != 0).then_some((cell & !SET) as usize)
    }

    pub(crate) fn set_codes(&self, set: usize) -> &[u32] {
        self.sets.get(set).map_or(&[], |set| &set.codes)
    }

    /// Whether a product has just these values. May say no where it is so after all: for values that are not held.
    pub(crate) fn has(&self, slot: u32, entries: &[Entry]) -> bool {
        let cell = self.cells.get(slot);
        let codes = self.expand(&cell);
        let has = |entry: &Entry| self.dictionary.code(&entry.key, &entry.spelling).is_some_and(|code| codes.contains(&code));
        let is_there = self.exists.contains(slot);
        codes.len() == entries.len() && is_there != entries.is_empty() && entries.iter().all(has)
    }

    /// Gives a product these values instead of those it had.
    pub(crate) fn set(&mut self, slot: u32, entries: &[Entry], bounds: Bounds) {
        let old_cell = self.cells.get(slot);
        let old: Vec<u32> = self.expand(&old_cell).to_vec();
        let mut unheld = false;
        let mut new = Vec::with_capacity(entries.len());
        for entry in entries {
            let is_long = entry.key.len() > bounds.value_bytes_max || entry.spelling.len() > bounds.value_bytes_max;
            if is_long {
                continue;
            }
            match self.dictionary.intern(&entry.key, &entry.spelling, bounds) {
                Some(code) => new.push(code),
                None => unheld = true,
            }
        }
        new.sort_unstable();
        new.dedup();
        if new != old {
            self.recode(slot, old_cell, &old, &new);
        }
        put(&mut self.exists, slot, !entries.is_empty());
        put(&mut self.unheld, slot, unheld);
    }

    fn recode(&mut self, slot: u32, old_cell: u32, old: &[u32], new: &[u32]) {
        let heads = |codes: &[u32], dictionary: &Dictionary| {
            let mut heads: Vec<u32> = codes.iter().map(|code| dictionary.head(*code)).collect();
            heads.sort_unstable();
            heads.dedup();
            heads
        };
        let (old_heads, new_heads) = (heads(old, &self.dictionary), heads(new, &self.dictionary));
        for code in new.iter().filter(|code| old.binary_search(code).is_err()) {
            self.dictionary.count(*code, true);
        }
        for head in new_heads.iter().filter(|head| old_heads.binary_search(head).is_err()) {
            if let Some(posting) = self.dictionary.posting_mut(*head) {
                posting.insert(slot);
            }
        }
        for head in old_heads.iter().filter(|head| new_heads.binary_search(head).is_err()) {
            if let Some(posting) = self.dictionary.posting_mut(*head) {
                posting.remove(slot);
            }
        }
        let cell = match new {
            [] => NONE,
            [only] => *only,
            codes => SET | self.intern_set(codes),
        };
        self.cells.set(slot, cell);
        if let Some(set) = Self::set_of(old_cell) {
            self.release_set(set as u32);
        }
        for code in old.iter().filter(|code| new.binary_search(code).is_err()) {
            self.dictionary.count(*code, false);
            self.dictionary.release(*code);
        }
    }

    fn intern_set(&mut self, codes: &[u32]) -> u32 {
        let hash = self.hasher.hash_one(codes);
        let found = self.set_index.candidates(hash).find(|set| *self.set_codes(*set as usize) == *codes);
        if let Some(set) = found {
            if let Some(set) = self.sets.get_mut(set as usize) {
                set.products += 1;
            }
            return set;
        }
        let set = self.set_free.pop().unwrap_or(self.sets.len() as u32);
        let value = CodeSet { codes: codes.into(), products: 1 };
        match self.sets.get_mut(set as usize) {
            Some(slot) => *slot = value,
            None => self.sets.push(value),
        }
        let mut index = std::mem::take(&mut self.set_index);
        index.insert(hash, set, |set| self.hasher.hash_one(self.set_codes(set as usize)));
        self.set_index = index;
        set
    }

    fn release_set(&mut self, set: u32) {
        let Some(entry) = self.sets.get_mut(set as usize) else { return };
        entry.products = entry.products.saturating_sub(1);
        if entry.products > 0 {
            return;
        }
        let hash = self.hasher.hash_one(self.set_codes(set as usize));
        let mut index = std::mem::take(&mut self.set_index);
        index.remove(hash, set, |set| self.hasher.hash_one(self.set_codes(set as usize)));
        self.set_index = index;
        if let Some(entry) = self.sets.get_mut(set as usize) {
            entry.codes = Arc::new([]);
        }
        self.set_free.push(set);
    }

    pub(crate) fn bytes(&self) -> usize {
        let codes: usize = self.sets.iter().map(|set| size_of_val(&*set.codes) + 2 * size_of::<usize>()).sum();
        let sets = codes + self.sets.bytes() + self.set_index.bytes() + self.set_free.bytes();
        sets + self.dictionary.bytes() + self.cells.bytes() + self.exists.bytes() + self.unheld.bytes()
    }
}

fn put(posting: &mut Posting, slot: u32, is_in: bool) {
    if is_in { posting.insert(slot) } else { posting.remove(slot) }
}

impl Column {
    /// What the values are, in words; by what most of them are.
    pub(crate) fn kind(&self) -> &'static str {
        let [numbers, times, places] = self.dictionary.facts.counts;
        let half = self.dictionary.groups / 2;
        match self.shape {
            Shape::Path => "path",
            Shape::Name => "text",
            Shape::Plain if self.dictionary.groups == 0 => "text",
            Shape::Plain if numbers > half => "number",
            Shape::Plain if times > half => "time",
            Shape::Plain if places > half => "place",
            Shape::Plain if self.is_boolean() => "boolean",
            Shape::Plain => "text",
        }
    }

    fn is_boolean(&self) -> bool {
        (1..=2).contains(&self.dictionary.groups) && self.dictionary.heads().all(|(_, value)| matches!(&*value.key, "true" | "false"))
    }
}
