//! The values of one attribute, each under a code: what they are called, what products have them, what number, time or place
//! they stand for.
//!
//! A code belongs to a spelling. Spellings that fold to the same key form a group whose first member, the head, holds the
//! products of all; people are shown the spelling that most products use.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::chunked::Chunked;
use crate::column::Bounds;
use crate::index::Index;
use crate::measure::{self, Measure};
use crate::posting::Posting;

/// One spelling of a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Value {
    /// Folded; shared by the group.
    pub(crate) key: Arc<str>,
    /// As shown.
    pub(crate) spelling: Arc<str>,
    /// The code of the group's head; its own for the head.
    pub(crate) head: u32,
    /// Products with exactly this spelling.
    pub(crate) products: u32,
    /// Of the head: products with any spelling of the group.
    pub(crate) posting: Posting,
}

/// What values stand for, by the code of the head; a column is there once a value needs it. Read from the folded text, so that
/// all spellings of a group stand for the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// NaN for none.
    pub(crate) numbers: Option<Chunked<f64>>,
    /// Place in `unit_names`, 0 for none.
    pub(crate) units: Option<Chunked<u8>>,
    /// Milliseconds since the epoch, `i64::MIN` for none.
    pub(crate) times: Option<Chunked<i64>>,
    /// Degrees north and east, NaN for none.
    pub(crate) places: Option<Chunked<(f64, f64)>>,
    /// Each unit with how many values have it; the first is none.
    unit_names: Vec<(Arc<str>, u32)>,
    /// How many values are a number, a time, a place.
    pub(crate) counts: [usize; 3],
}

/// Units of one attribute; a value in yet another one is a text.
const UNITS_MAX: usize = 200;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Dictionary {
    pub(crate) values: Chunked<Value>,
    pub(crate) facts: Facts,
    /// The first eight bytes of each key, for telling most pairs of texts apart without following them.
    beginnings: Chunked<u64>,
    index: Index,
    free: Chunked<u32>,
    /// Groups in use.
    pub(crate) groups: usize,
    /// Bytes of keys and spellings.
    text_bytes: usize,
    hasher: RandomState,
    reads_facts: bool,
}

impl Dictionary {
    /// `reads_facts`: whether texts may stand for numbers, times and places (those of identifiers and names do not).
    pub(crate) fn new(reads_facts: bool) -> Self {
        Self {
            values: Chunked::default(),
            facts: Facts::default(),
            beginnings: Chunked::default(),
            index: Index::default(),
            free: Chunked::default(),
            groups: 0,
            text_bytes: 0,
            hasher: RandomState::new(),
            reads_facts,
        }
    }

    pub(crate) fn value(&self, code: u32) -> Option<&Value> {
        self.values.get(code as usize)
    }

    pub(crate) fn key(&self, code: u32) -> &str {
        self.value(code).map_or("", |value| &value.key)
    }

    /// The first eight bytes of the key, in the order of texts.
    #[inline]
    pub(crate) fn beginning(&self, code: u32) -> u64 {
        self.beginnings.get(code as usize).copied().unwrap_or(0)
    }

    pub(crate) fn head(&self, code: u32) -> u32 {
        self.value(code).map_or(code, |value| value.head)
    }

    fn hash_of(&self, code: u32) -> u64 {
        self.hasher.hash_one(self.key(code))
    }

    fn group(&self, key: &str) -> impl Iterator<Item = (u32, &Value)> {
        let candidates = self.index.candidates(self.hasher.hash_one(key));
        candidates.filter_map(|code| self.value(code).map(|value| (code, value))).filter(move |(_, value)| *value.key == *key)
    }

    /// The head of the group with this folded text.
    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        self.group(key).next().map(|(_, value)| value.head)
    }

    /// The spelling that most products of the value's group use; of equal ones the first in order.
    pub(crate) fn shown(&self, code: u32) -> &str {
        let spellings = self.group(self.key(code)).map(|(_, value)| (std::cmp::Reverse(value.products), &*value.spelling));
        spellings.min().map_or("", |(_, spelling)| spelling)
    }

    /// The heads of all groups.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (u32, &Value)> {
        let numbered = self.values.iter().zip(0_u32..);
        numbered.filter(|(value, code)| value.head == *code && !value.posting.is_empty()).map(|(value, code)| (code, value))
    }

    /// The code of a spelling.
    pub(crate) fn code(&self, key: &str, spelling: &str) -> Option<u32> {
        self.group(key).find(|(_, value)| *value.spelling == *spelling).map(|(code, _)| code)
    }

    /// The code of a spelling, made where it is new; `None` when it would be one too many.
    pub(crate) fn intern(&mut self, key: &str, spelling: &str, bounds: Bounds) -> Option<u32> {
        let found = self.code(key, spelling);
        if found.is_some() {
            return found;
        }
        let sibling = self.group(key).next().map(|(_, value)| (value.head, Arc::clone(&value.key)));
        let is_over = sibling.is_none() && self.groups >= bounds.values_max;
        if is_over || self.text_bytes + key.len() + spelling.len() > bounds.text_bytes_max {
            return None;
        }
        let code = self.free.pop().unwrap_or(self.values.len() as u32);
        self.groups += usize::from(sibling.is_none());
        let (head, key) = sibling.unwrap_or_else(|| (code, key.into()));
        let is_same = *key == *spelling;
        let spelling: Arc<str> = if is_same { Arc::clone(&key) } else { spelling.into() };
        self.text_bytes += text_bytes(&key, &spelling, head == code);
        let hash = self.hasher.hash_one(&*key);
        let value = Value { key, spelling, head, products: 0, posting: Posting::default() };
        if self.reads_facts && head == code {
            self.facts.set(code, &value.key);
        }
        self.beginnings.resize(code as usize + 1, 0);
        if let Some(beginning) = self.beginnings.get_mut(code as usize) {
            *beginning = beginning_of(&value.key);
        }
        match self.values.get_mut(code as usize) {
            Some(slot) => *slot = value,
            None => self.values.push(value),
        }
        // Taken out for the call: the hashes of what is there come from the values beside it.
        let mut index = std::mem::take(&mut self.index);
        index.insert(hash, code, |code| self.hash_of(code));
        self.index = index;
        Some(code)
    }

    /// One product more or less with exactly this spelling.
    pub(crate) fn count(&mut self, code: u32, is_more: bool) {
        if let Some(value) = self.values.get_mut(code as usize) {
            value.products = if is_more { value.products + 1 } else { value.products.saturating_sub(1) };
        }
    }

    pub(crate) fn posting_mut(&mut self, head: u32) -> Option<&mut Posting> {
        self.values.get_mut(head as usize).map(|value| &mut value.posting)
    }

    /// Forgets a spelling that no product has, and its head when the group is empty.
    pub(crate) fn release(&mut self, code: u32) {
        let Some(value) = self.value(code) else { return };
        let head = value.head;
        if code != head && value.products == 0 {
            self.forget(code);
        }
        if self.value(head).is_some_and(|head| head.products == 0 && head.posting.is_empty()) && self.head(head) == head {
            self.forget(head);
            self.groups -= 1;
        }
    }

    fn forget(&mut self, code: u32) {
        let hash = self.hash_of(code);
        let mut index = std::mem::take(&mut self.index);
        index.remove(hash, code, |code| self.hash_of(code));
        self.index = index;
        if self.reads_facts {
            self.facts.clear(code);
        }
        if let Some(value) = self.values.get_mut(code as usize) {
            let text_bytes = text_bytes(&value.key, &value.spelling, value.head == code);
            *value = Value { head: u32::MAX, ..Value::default() };
            self.text_bytes -= text_bytes;
        }
        self.free.push(code);
    }

    pub(crate) fn bytes(&self) -> usize {
        let postings: usize = self.values.iter().map(|value| value.posting.bytes()).sum();
        self.values.bytes()
            + postings
            + self.text_bytes
            + self.index.bytes()
            + self.free.bytes()
            + self.facts.bytes()
            + self.beginnings.bytes()
    }
}

fn beginning_of(key: &str) -> u64 {
    key.bytes().chain(std::iter::repeat(0)).take(8).fold(0, |beginning, byte| beginning << 8 | u64::from(byte))
}

/// A text and the two counters before it; a spelling equal to its key shares the key's.
fn text_bytes(key: &Arc<str>, spelling: &Arc<str>, is_head: bool) -> usize {
    const COUNTERS: usize = 2 * size_of::<usize>();
    let own = if Arc::ptr_eq(key, spelling) { 0 } else { spelling.len() + COUNTERS };
    own + if is_head { key.len() + COUNTERS } else { 0 }
}

/// The element under a code, the column made or lengthened for it.
fn element<T: Clone>(column: &mut Option<Chunked<T>>, code: u32, none: T) -> Option<&mut T> {
    let column = column.get_or_insert_default();
    column.resize(code as usize + 1, none);
    column.get_mut(code as usize)
}

impl Facts {
    fn set(&mut self, code: u32, text: &str) {
        if let Some(Measure { number, unit }) = measure::parse_measure(text) {
            let Some(unit) = self.unit(&unit) else { return };
            if let Some(slot) = element(&mut self.numbers, code, f64::NAN) {
                *slot = number;
            }
            if (unit > 0 || self.units.is_some())
                && let Some(slot) = element(&mut self.units, code, 0)
            {
                *slot = unit;
            }
            self.unit_names[unit as usize].1 += 1;
            self.counts[0] += 1;
        } else if let Some((time, _)) = measure::parse_time(&text.to_uppercase()) {
            if let Some(slot) = element(&mut self.times, code, i64::MIN) {
                *slot = time;
            }
            self.counts[1] += 1;
        } else if let Some(place) = measure::parse_place(text) {
            if let Some(slot) = element(&mut self.places, code, (f64::NAN, f64::NAN)) {
                *slot = place;
            }
            self.counts[2] += 1;
        }
    }

    fn unit(&mut self, unit: &str) -> Option<u8> {
        if self.unit_names.is_empty() {
            self.unit_names.push(("".into(), 0));
        }
        let place = self.unit_names.iter().position(|(name, _)| **name == *unit);
        let place = place.or_else(|| (self.unit_names.len() < UNITS_MAX).then_some(self.unit_names.len()))?;
        if place == self.unit_names.len() {
            self.unit_names.push((unit.into(), 0));
        }
        u8::try_from(place).ok()
    }

    fn clear(&mut self, code: u32) {
        let at = code as usize;
        if self.numbers.as_ref().and_then(|numbers| numbers.get(at)).is_some_and(|number| !number.is_nan()) {
            let unit = self.units.as_ref().and_then(|units| units.get(at)).map_or(0, |unit| *unit as usize);
            self.unit_names[unit].1 -= 1;
            self.counts[0] -= 1;
            if let Some(number) = self.numbers.as_mut().and_then(|numbers| numbers.get_mut(at)) {
                *number = f64::NAN;
            }
            if let Some(unit) = self.units.as_mut().and_then(|units| units.get_mut(at)) {
                *unit = 0;
            }
        }
        if let Some(time) = self.times.as_mut().and_then(|times| times.get_mut(at)).filter(|time| **time != i64::MIN) {
            *time = i64::MIN;
            self.counts[1] -= 1;
        }
        if let Some(place) = self.places.as_mut().and_then(|places| places.get_mut(at)).filter(|place| !place.0.is_nan()) {
            *place = (f64::NAN, f64::NAN);
            self.counts[2] -= 1;
        }
    }

    /// The unit that most values with one have; empty for none.
    pub(crate) fn unit_shown(&self) -> &str {
        let named = self.unit_names.iter().skip(1).filter(|(_, values)| *values > 0);
        named.min_by_key(|(name, values)| (std::cmp::Reverse(*values), name)).map_or("", |(name, _)| name)
    }

    /// For each unit, what its numbers are multiplied with to be in the shown one; `None` for those that do not convert. A number
    /// without a unit is taken to be in the shown one.
    pub(crate) fn factors(&self) -> Vec<Option<f64>> {
        let shown = self.unit_shown();
        let factor = |(place, (name, _)): (usize, &(Arc<str>, u32))| if place == 0 { Some(1.0) } else { measure::conversion(name, shown) };
        self.unit_names.iter().enumerate().map(factor).collect()
    }

    /// The number of a value in the shown unit.
    pub(crate) fn number(&self, code: u32, factors: &[Option<f64>]) -> Option<f64> {
        let number = *self.numbers.as_ref()?.get(code as usize)?;
        if number.is_nan() {
            return None;
        }
        match self.units.as_ref().and_then(|units| units.get(code as usize)) {
            Some(unit) => Some(number * (*factors.get(*unit as usize)?)?),
            None => Some(number),
        }
    }

    pub(crate) fn time(&self, code: u32) -> Option<i64> {
        self.times.as_ref()?.get(code as usize).copied().filter(|time| *time != i64::MIN)
    }

    pub(crate) fn place(&self, code: u32) -> Option<(f64, f64)> {
        self.places.as_ref()?.get(code as usize).copied().filter(|place| !place.0.is_nan())
    }

    fn bytes(&self) -> usize {
        fn of<T: Clone>(column: &Option<Chunked<T>>) -> usize {
            column.as_ref().map_or(0, Chunked::bytes)
        }
        of(&self.numbers) + of(&self.units) + of(&self.times) + of(&self.places)
    }
}
