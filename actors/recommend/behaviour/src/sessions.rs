//! Visits: those under way, and an index of those that ended, from which the ones like a running visit are found.

use std::collections::VecDeque;

use crate::history::{Entry, insert_by_time};
use crate::keys::Key;
use crate::recency::Slab;
use crate::save::{Input, LoadError, Output, Saved};
use crate::settings::Sessions as Settings;

/// Visits of one segment of the index. Old visits leave by the segment, so nothing is ever moved.
const SEGMENT_VISITS: usize = 4_096;
/// Visits that one event may end, so that no event takes long.
const ENDED_MAX: usize = 4;

/// A visit under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    pub(crate) shopper: u32,
    /// Of the visit's name, if it has one.
    pub(crate) key: Option<Key>,
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
}

impl Visit {
    fn last_ms(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.at_ms())
    }

    fn first_ms(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.at_ms())
    }
}

impl Saved for Visit {
    fn save(&self, output: &mut Output<'_>) {
        output.u32(self.shopper);
        output.u8(u8::from(self.key.is_some()));
        self.key.unwrap_or_default().save(output);
        output.all::<Entry>(self.entries.iter());
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let (shopper, named, key) = (input.u32()?, input.u8()?, Key::load(input)?);
        Ok(Self { shopper, key: (named == 1).then_some(key), entries: input.all()? })
    }
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// To the shopper's visit under way.
    Running,
    /// To a new one.
    New,
    /// To one that is over.
    Past,
}

/// All visits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits {
    open: Slab<Visit>,
    pub(crate) index: Index,
}

impl Visits {
    pub(crate) fn get(&self, slot: u32) -> Option<&Visit> {
        self.open.get(slot).filter(|_| self.open.is_used(slot))
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Visit> {
        self.open.get_mut(slot)
    }

    /// To which visit an event of this time belongs, given the shopper's visit under way.
    pub(crate) fn belongs(&self, slot: u32, key: Option<Key>, at_ms: u64, gap_ms: u64) -> Belongs {
        let Some(visit) = self.get(slot) else { return Belongs::New };
        let same_name = key.is_none() || visit.key.is_none() || visit.key == key;
        let near = at_ms <= visit.last_ms().saturating_add(gap_ms) && at_ms.saturating_add(gap_ms) >= visit.first_ms();
        let is_named = key.is_some() && visit.key == key;
        match (same_name && near) || is_named {
            true => Belongs::Running,
            false if at_ms >= visit.last_ms() => Belongs::New,
            false => Belongs::Past,
        }
    }

    /// Begins a visit. Returns its slot, and the shopper whose visit was ended to make room.
    pub(crate) fn begin(&mut self, shopper: u32, key: Option<Key>, settings: &Settings) -> (u32, Option<u32>) {
        let ended = (self.open.len() >= settings.open_max).then(|| self.open.oldest()).flatten().and_then(|slot| self.end(slot, settings));
        (self.open.insert(Visit { shopper, key, entries: Vec::new() }), ended)
    }

    /// Adds to a visit.
    pub(crate) fn add(&mut self, slot: u32, entry: Entry, settings: &Settings) {
        self.open.touch(slot);
        if let Some(visit) = self.open.get_mut(slot) {
            insert_by_time(&mut visit.entries, entry, settings.items_max);
        }
    }

    /// Something happened in a visit that adds no entry to it.
    pub(crate) fn touch(&mut self, slot: u32) {
        self.open.touch(slot);
    }

    /// Ends a visit: it moves into the index. Returns its shopper.
    pub(crate) fn end(&mut self, slot: u32, settings: &Settings) -> Option<u32> {
        let visit = self.open.remove(slot)?;
        let items: Vec<u32> = visit.entries.iter().map(|entry| entry.item()).collect();
        self.index.add(&items, settings);
        Some(visit.shopper)
    }

    /// Forgets a visit.
    pub(crate) fn forget(&mut self, slot: u32) -> Option<Visit> {
        self.open.remove(slot)
    }

    /// Ends a few of the visits that have paused for too long; returns their shoppers.
    pub(crate) fn end_idle(&mut self, now_ms: u64, settings: &Settings) -> [Option<u32>; ENDED_MAX] {
        let mut shoppers = [None; ENDED_MAX];
        for shopper in &mut shoppers {
            let Some(slot) = self.open.oldest() else { break };
            let idle = self.open.get(slot).is_some_and(|visit| visit.last_ms().saturating_add(settings.gap_ms) < now_ms);
            if !idle {
                break;
            }
            *shopper = self.end(slot, settings);
        }
        shoppers
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.open.oldest()
    }

    /// Visits under way, the longest idle first.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, &Visit)> {
        self.open.iter()
    }

    pub(crate) fn bytes(&self) -> usize {
        let open: usize = self.open.iter().map(|(_, visit)| size_of::<Visit>() + visit.entries.capacity() * size_of::<Entry>()).sum();
        let segments = self.index.segments.iter().map(|segment| 4 * (segment.ends.capacity() + segment.items.capacity())).sum::<usize>();
        let rings: usize = self.index.rings.iter().map(|ring| 4 * ring.visits.capacity()).sum();
        open + segments + rings + self.index.rings.capacity() * size_of::<Ring>()
    }

    pub(crate) fn open_len(&self) -> usize {
        self.open.len()
    }
}

impl Saved for Visits {
    fn save(&self, output: &mut Output<'_>) {
        self.open.save(output);
        self.index.save(output);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        Ok(Self { open: Slab::load(input)?, index: Index::load(input)? })
    }
}

/// Visits that ended: the items of each, and for each item the latest visits it was in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    segments: VecDeque<Segment>,
    /// The number of the first visit of the first segment.
    first: u32,
    /// The number that the next visit gets.
    next: u32,
    rings: Vec<Ring>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    ends: Vec<u32>,
    items: Vec<u32>,
}

/// The latest visits of one item, written round.
#[derive(Clone, Debug, Default)]
struct Ring {
    visits: Vec<u32>,
    head: u32,
    /// Visits ever.
    count: u32,
}

impl Index {
    /// Visits ever indexed.
    pub(crate) fn count(&self) -> u32 {
        self.next
    }

    /// The number of the oldest visit that is kept.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Visits ever that had an item.
    pub(crate) fn count_of(&self, item: u32) -> u32 {
        self.rings.get(item as usize).map_or(0, |ring| ring.count)
    }

    /// The latest visits of an item that are still kept, in no order.
    pub(crate) fn visits_of(&self, item: u32) -> impl Iterator<Item = u32> + '_ {
        let visits = self.rings.get(item as usize).map_or(&[][..], |ring| &ring.visits);
        visits.iter().copied().filter(|visit| *visit >= self.first)
    }

    /// The items of a visit, in their order.
    pub(crate) fn items(&self, visit: u32) -> &[u32] {
        let Some(offset) = visit.checked_sub(self.first) else { return &[] };
        let (segment, place) = (offset as usize / SEGMENT_VISITS, offset as usize % SEGMENT_VISITS);
        let Some(segment) = self.segments.get(segment) else { return &[] };
        let Some(end) = segment.ends.get(place) else { return &[] };
        let start = place.checked_sub(1).map_or(0, |before| segment.ends[before] as usize);
        &segment.items[start..*end as usize]
    }

    /// Adds a visit; one of a single item says nothing.
    pub(crate) fn add(&mut self, items: &[u32], settings: &Settings) {
        if items.len() < 2 || self.next == u32::MAX {
            return;
        }
        let visit = self.next;
        self.next += 1;
        if self.segments.back().is_none_or(|segment| segment.ends.len() >= SEGMENT_VISITS) {
            if self.segments.len() * SEGMENT_VISITS >= settings.indexed_max.max(SEGMENT_VISITS) {
                self.segments.pop_front();
                self.first += SEGMENT_VISITS as u32;
            }
            self.segments.push_back(Segment::default());
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.items.extend_from_slice(items);
            segment.ends.push(segment.items.len() as u32);
            if segment.ends.len() == SEGMENT_VISITS {
                segment.items.shrink_to_fit();
            }
        }
        for (place, item) in items.iter().enumerate() {
            if !items[..place].contains(item) {
                self.add_to_ring(*item, visit, settings.ring_max);
            }
        }
    }

    fn add_to_ring(&mut self, item: u32, visit: u32, ring_max: usize) {
        if item as usize >= self.rings.len() {
            self.rings.resize_with(item as usize + 1, Ring::default);
        }
        let ring = &mut self.rings[item as usize];
        ring.count = ring.count.saturating_add(1);
        if ring.visits.len() < ring_max {
            if ring.visits.len() == ring.visits.capacity() {
                ring.visits.reserve_exact((ring.visits.len() / 2).max(4).min(ring_max - ring.visits.len()));
            }
            ring.visits.push(visit);
        } else if let Some(oldest) = ring.visits.get_mut(ring.head as usize) {
            *oldest = visit;
            ring.head = (ring.head + 1) % ring.visits.len() as u32;
        }
    }

    /// The latest visits, oldest first.
    pub(crate) fn latest(&self, visits_max: usize) -> impl Iterator<Item = &[u32]> {
        let kept = self.next - self.first;
        let first = self.next - kept.min(u32::try_from(visits_max).unwrap_or(u32::MAX));
        (first..self.next).map(|visit| self.items(visit))
    }

    /// Whether it names only items below a number.
    pub(crate) fn is_within(&self, items: usize) -> bool {
        self.rings.len() <= items && self.segments.iter().all(|segment| segment.items.iter().all(|item| (*item as usize) < items))
    }
}

impl Saved for Index {
    fn save(&self, output: &mut Output<'_>) {
        output.u32(self.first);
        output.u32(self.next);
        output.all::<Segment>(self.segments.iter());
        output.all::<Ring>(self.rings.iter());
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let (first, next) = (input.u32()?, input.u32()?);
        let (segments, rings) = (VecDeque::from(input.all::<Segment>()?), input.all::<Ring>()?);
        let index = Self { segments, first, next, rings };
        let full = index.segments.iter().rev().skip(1).all(|segment| segment.ends.len() == SEGMENT_VISITS);
        let visits: usize = index.segments.iter().map(|segment| segment.ends.len()).sum();
        let sound = full
            && next.checked_sub(first).is_some_and(|kept| kept as usize == visits)
            && index.segments.iter().all(|segment| !segment.ends.is_empty() && segment.ends.len() <= SEGMENT_VISITS)
            && index.rings.iter().all(|ring| ring.visits.iter().all(|visit| *visit < next));
        if sound { Ok(index) } else { Err(LoadError::Malformed("an index of visits")) }
    }
}

impl Saved for Segment {
    fn save(&self, output: &mut Output<'_>) {
        output.u32s(&self.ends);
        output.u32s(&self.items);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let segment = Self { ends: input.u32s()?, items: input.u32s()? };
        let sound = segment.ends.is_sorted() && segment.ends.last().is_none_or(|end| *end as usize == segment.items.len());
        if sound { Ok(segment) } else { Err(LoadError::Malformed("a segment of visits")) }
    }
}

impl Saved for Ring {
    fn save(&self, output: &mut Output<'_>) {
        output.u32(self.head);
        output.u32(self.count);
        output.u32s(&self.visits);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let ring = Self { head: input.u32()?, count: input.u32()?, visits: input.u32s()? };
        let sound = ring.head as usize <= ring.visits.len();
        if sound { Ok(ring) } else { Err(LoadError::Malformed("the visits of an item")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_visits_leave_and_rings_are_bounded() {
        let settings = Settings { ring_max: 3, indexed_max: SEGMENT_VISITS, ..Settings::default() };
        let mut index = Index::default();
        for visit in 0..SEGMENT_VISITS as u32 + 2 {
            index.add(&[0, 1 + visit % 2, 0], &settings);
        }
        assert_eq!((index.first(), index.count()), (SEGMENT_VISITS as u32, SEGMENT_VISITS as u32 + 2));
        assert_eq!(index.items(SEGMENT_VISITS as u32 + 1), [0, 2, 0]);
        assert!(index.items(0).is_empty() && index.items(u32::MAX).is_empty());
        let mut visits: Vec<u32> = index.visits_of(0).collect();
        visits.sort_unstable();
        assert_eq!(visits, [SEGMENT_VISITS as u32, SEGMENT_VISITS as u32 + 1]);
        assert_eq!((index.count_of(0), index.count_of(2)), (SEGMENT_VISITS as u32 + 2, SEGMENT_VISITS as u32 / 2 + 1));
    }
}
