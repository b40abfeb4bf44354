//! The newest records, decoded: what followers that keep up read, without a disk and without decoding.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use protocol::journal::LogBody;
use store::{StoreError, Written};
use tokio::sync::watch;

use crate::Entry;
use crate::ids::IdWindow;

/// What the journal's thread and the callers share. It holds no journal, for the journal's thread must not end up as its last owner.
pub(crate) struct Tail {
    ids: Mutex<IdWindow>,
    ring: RwLock<Ring>,
    end: watch::Sender<u64>,
}

/// Bounds of the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingBounds {
    pub(crate) records_max: usize,
    /// As stored.
    pub(crate) bytes_max: usize,
}

/// Records `next - entries.len()..next`, and each one's bytes as stored.
struct Ring {
    bounds: RingBounds,
    next: u64,
    bytes: usize,
    entries: VecDeque<(Entry, usize)>,
}

impl Tail {
    /// A tail of a log that ends at `end`.
    pub(crate) fn new(ids_max: usize, bounds: RingBounds, end: u64) -> Self {
        let ring = Ring { bounds, next: end, bytes: 0, entries: VecDeque::new() };
        Self { ids: Mutex::new(IdWindow::new(ids_max)), ring: RwLock::new(ring), end: watch::Sender::new(end) }
    }

    pub(crate) fn ids(&self) -> MutexGuard<'_, IdWindow> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an append, on the journal's thread: its records become readable here, then the log's end moves. `hashes` are the ids
    /// that it took in and gives back when it failed.
    pub(crate) fn answer(
        &self,
        written: Result<Written, StoreError>,
        bodies: Vec<(LogBody, usize)>,
        hashes: &[u128],
    ) -> Result<u64, StoreError> {
        match written {
            Ok(written) => {
                self.publish(&written, bodies);
                Ok(written.offsets.end)
            }
            Err(error) => {
                self.ids().remove(hashes);
                Err(error)
            }
        }
    }

    fn publish(&self, written: &Written, bodies: Vec<(LogBody, usize)>) {
        let entries = written
            .offsets
            .clone()
            .zip(bodies)
            .map(|(offset, (body, bytes))| (Entry { offset, written_at_ms: written.written_at_ms, body: Some(body) }, bytes));
        let evicted = self.ring.write().unwrap_or_else(PoisonError::into_inner).extend(written.offsets.start, entries);
        self.end.send_replace(written.offsets.end);
        // Freed after the lock is.
        drop(evicted);
    }

    /// Records from `from` on, if the ring reaches back that far: at most `records_max` and about `bytes_max` bytes, at least one
    /// if there is one.
    pub(crate) fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Option<Vec<Entry>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).read(from, records_max, bytes_max)
    }

    /// Lets go of everything before `offset`.
    pub(crate) fn clear_before(&self, offset: u64) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        while ring.entries.front().is_some_and(|(entry, _)| entry.offset < offset) {
            ring.evict();
        }
    }

    pub(crate) fn end(&self) -> u64 {
        *self.end.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
}

impl Ring {
    /// Takes records in that start at `first`, and gives those that had to go.
    fn extend(&mut self, first: u64, entries: impl Iterator<Item = (Entry, usize)>) -> Vec<Entry> {
        let mut evicted = Vec::new();
        if first != self.next {
            // Cannot be while one thread answers in order; a gap must not be readable in any case.
            evicted.extend(self.entries.drain(..).map(|(entry, _)| entry));
            (self.next, self.bytes) = (first, 0);
        }
        for (entry, bytes) in entries {
            self.next = entry.offset + 1;
            self.bytes += bytes;
            self.entries.push_back((entry, bytes));
        }
        while self.entries.len() > self.bounds.records_max || self.bytes > self.bounds.bytes_max {
            let Some(entry) = self.evict() else { break };
            evicted.push(entry);
        }
        evicted
    }

    fn evict(&mut self) -> Option<Entry> {
        let (entry, bytes) = self.entries.pop_front()?;
        self.bytes -= bytes;
        Some(entry)
    }

    fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.next - self.entries.len() as u64;
        if from < first || from > self.next {
            return None;
        }
        let mut bytes_left = bytes_max;
        let mut read = Vec::with_capacity(records_max.min((self.next - from) as usize));
        for (entry, bytes) in self.entries.range((from - first) as usize..).take(records_max) {
            if *bytes > bytes_left && !read.is_empty() {
                break;
            }
            bytes_left = bytes_left.saturating_sub(*bytes);
            read.push(entry.clone());
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offsets: std::ops::Range<u64>) -> Result<Written, StoreError> {
        Ok(Written { offsets, written_at_ms: 5 })
    }

    fn bodies(count: usize) -> Vec<(LogBody, usize)> {
        let erasure = domain::Erasure { shoppers: Vec::new(), at_ms: 1, receipt: "r".into() };
        vec![(LogBody::Erasure(erasure.into()), 10); count]
    }

    fn offsets(tail: &Tail, from: u64, records_max: usize, bytes_max: usize) -> Option<Vec<u64>> {
        tail.read(from, records_max, bytes_max).map(|entries| entries.iter().map(|entry| entry.offset).collect())
    }

    #[test]
    fn keeps_the_newest_within_both_bounds() {
        let tail = Tail::new(10, RingBounds { records_max: 3, bytes_max: 1000 }, 7);
        assert_eq!((offsets(&tail, 7, 9, 99), offsets(&tail, 6, 9, 99), offsets(&tail, 8, 9, 99)), (Some(vec![]), None, None));
        assert_eq!(tail.answer(written(7..9), bodies(2), &[]).ok(), Some(9));
        assert_eq!(tail.answer(written(9..11), bodies(2), &[]).ok(), Some(11));
        assert_eq!((tail.end(), offsets(&tail, 7, 9, 99), offsets(&tail, 8, 9, 99)), (11, None, Some(vec![8, 9, 10])));
        assert_eq!((offsets(&tail, 9, 1, 99), offsets(&tail, 9, 9, 15)), (Some(vec![9]), Some(vec![9])));
        tail.clear_before(10);
        assert_eq!((offsets(&tail, 9, 9, 99), offsets(&tail, 10, 9, 99)), (None, Some(vec![10])));
        let tail = Tail::new(10, RingBounds { records_max: 99, bytes_max: 25 }, 0);
        assert!(tail.answer(written(0..5), bodies(5), &[]).is_ok());
        assert_eq!((offsets(&tail, 2, 9, 99), offsets(&tail, 3, 9, 99)), (None, Some(vec![3, 4])));
    }

    #[test]
    fn a_failed_append_gives_its_ids_back() {
        let tail = Tail::new(10, RingBounds { records_max: 3, bytes_max: 1000 }, 0);
        assert!(tail.ids().insert(17));
        assert!(tail.answer(Err(StoreError::Stopped), bodies(1), &[17]).is_err());
        assert!(tail.ids().insert(17) && tail.end() == 0);
    }
}
