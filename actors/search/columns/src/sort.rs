//! Ordering products by their values.

use std::cmp::Ordering;

use domain::facet::SORT_KEYS_MAX;
use domain::{FilterBound, FilterError, SortKey};

use crate::column::Column;
use crate::numbers::{NumberReader, Pick};
use crate::offers::AVAILABILITIES;
use crate::snapshot::{Field, Snapshot};

/// How one key reads a product.
struct Key<'a> {
    reader: Reader<'a>,
    is_descending: bool,
}

enum Reader<'a> {
    Number(NumberReader<'a>),
    Text(&'a Column),
    Id(&'a Snapshot),
    Availability(&'a Snapshot),
    Currency(&'a Snapshot),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Read<'a> {
    Number(f64),
    Text(&'a str),
    Missing,
}

/// A candidate with what its keys read.
struct Candidate<'a> {
    slot: u32,
    score: f32,
    /// Of the first key; see [`Key::rank`].
    rank: u64,
    reads: [Read<'a>; SORT_KEYS_MAX],
}

impl Snapshot {
    /// The first `limit` of some products, each with a score, in the order of the keys: numbers and times by size, texts by their
    /// folded form, availability from what can be had soonest. Of several values of a product the one that comes first counts.
    /// Products without a value come last either way; equal ones stand by descending score, then by id. Without keys that alone
    /// is the order.
    pub fn top(
        &self,
        keys: &[SortKey],
        candidates: impl IntoIterator<Item = (u32, f32)>,
        limit: usize,
    ) -> Result<Vec<(u32, f32)>, FilterError> {
        if keys.len() > SORT_KEYS_MAX {
            return Err(FilterError::Bound(FilterBound::SortKeys));
        }
        let keys = keys.iter().map(|key| self.key(key)).collect::<Result<Vec<_>, _>>()?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let compare = |a: &Candidate<'_>, b: &Candidate<'_>| {
            let by_keys = keys.iter().enumerate().map(|(index, key)| key.compare(a.reads[index], b.reads[index]));
            let by_keys = by_keys.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            by_keys.then_with(|| b.score.total_cmp(&a.score)).then_with(|| self.id(a.slot).cmp(&self.id(b.slot)))
        };
        // Twice as many as wanted are gathered before the worse half goes: a comparison or two for most candidates, no full sort.
        let room = limit.saturating_mul(2).max(64);
        let mut best: Vec<Candidate<'_>> = Vec::new();
        let mut is_cut = false;
        for (slot, score) in candidates {
            // After a cut the worst of the best stands at `limit - 1`.
            let worst = if is_cut { best.get(limit - 1) } else { None };
            let rank = keys.first().map_or(0, |key| key.rank(slot));
            if worst.is_some_and(|worst| rank > worst.rank) {
                continue;
            }
            let first = keys.first().map_or(Read::Missing, |key| key.read(slot));
            if let (Some(key), Some(worst)) = (keys.first(), worst)
                && key.compare(first, worst.reads[0]).is_gt()
            {
                continue;
            }
            let mut candidate = Candidate { slot, score, rank, reads: [Read::Missing; SORT_KEYS_MAX] };
            candidate.reads[0] = first;
            keys.iter().enumerate().skip(1).for_each(|(index, key)| candidate.reads[index] = key.read(slot));
            if worst.is_some_and(|worst| compare(&candidate, worst).is_gt()) {
                continue;
            }
            best.push(candidate);
            if best.len() >= room {
                best.select_nth_unstable_by(limit - 1, compare);
                best.truncate(limit);
                is_cut = true;
            }
        }
        best.sort_unstable_by(compare);
        best.truncate(limit);
        Ok(best.into_iter().map(|candidate| (candidate.slot, candidate.score)).collect())
    }

    fn key<'a>(&'a self, key: &SortKey) -> Result<Key<'a>, FilterError> {
        let field = self.field(&key.attribute)?;
        let reader = match field {
            Field::Id => Reader::Id(self),
            Field::Availability => Reader::Availability(self),
            Field::Currency => Reader::Currency(self),
            Field::Column(column) => {
                if !column.unheld.is_empty() {
                    let reason = "it has too many different values to be sorted by".to_owned();
                    return Err(FilterError::NotFilterable { attribute: key.attribute.clone(), reason });
                }
                match (column.kind(), NumberReader::new(self, field)) {
                    ("number" | "time", Some(reader)) => Reader::Number(reader),
                    _ => Reader::Text(column),
                }
            }
            Field::Number(field) => Reader::Number(NumberReader::Offer(self, field)),
        };
        Ok(Key { reader, is_descending: key.is_descending })
    }
}

impl<'a> Key<'a> {
    /// A number that is never greater for a product that comes first: the whole of a number, the beginning of a text. Most
    /// candidates are told by it.
    #[inline]
    fn rank(&self, slot: u32) -> u64 {
        let rank = match &self.reader {
            Reader::Number(reader) => {
                let pick = if self.is_descending { Pick::Greatest } else { Pick::Least };
                reader.of_slot(slot, pick).map(ordered_bits)
            }
            Reader::Text(column) => {
                let cell = column.cell(slot);
                let beginnings = column.expand(&cell).iter().map(|code| column.dictionary.beginning(*code));
                if self.is_descending { beginnings.max() } else { beginnings.min() }
            }
            _ => return 0,
        };
        rank.map_or(u64::MAX, |rank| if self.is_descending { !rank } else { rank })
    }

    fn read(&self, slot: u32) -> Read<'a> {
        match &self.reader {
            Reader::Number(reader) => {
                let pick = if self.is_descending { Pick::Greatest } else { Pick::Least };
                reader.of_slot(slot, pick).map_or(Read::Missing, Read::Number)
            }
            Reader::Text(column) => {
                let cell = column.cell(slot);
                let keys = column.expand(&cell).iter().map(|code| column.dictionary.key(*code));
                let key = if self.is_descending { keys.max() } else { keys.min() };
                key.map_or(Read::Missing, Read::Text)
            }
            Reader::Id(snapshot) => snapshot.id(slot).map_or(Read::Missing, |id| Read::Text(id.as_str())),
            Reader::Availability(snapshot) => {
                let place = snapshot.offers.availability(slot);
                if (place as usize) < AVAILABILITIES.len() { Read::Number(f64::from(place)) } else { Read::Missing }
            }
            Reader::Currency(snapshot) => {
                // The letters stand from the highest byte on: their number sorts as they do.
                let letters = snapshot.offers.currency(slot);
                if letters == 0 { Read::Missing } else { Read::Number(f64::from(letters)) }
            }
        }
    }

    #[inline]
    fn compare(&self, a: Read<'_>, b: Read<'_>) -> Ordering {
        let order = match (a, b) {
            (Read::Number(a), Read::Number(b)) => a.total_cmp(&b),
            (Read::Text(a), Read::Text(b)) => a.cmp(b),
            (Read::Missing, Read::Missing) => return Ordering::Equal,
            (Read::Missing, _) => return Ordering::Greater,
            (_, Read::Missing) => return Ordering::Less,
            // One key reads all candidates alike.
            (Read::Number(_), Read::Text(_)) => Ordering::Less,
            (Read::Text(_), Read::Number(_)) => Ordering::Greater,
        };
        if self.is_descending { order.reverse() } else { order }
    }
}

/// A number whose order is the total order of floats.
fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}
