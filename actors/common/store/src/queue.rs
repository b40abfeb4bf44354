//! The line in front of a writer thread: bounded in items and in bytes, taken in groups so that one flush serves many.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::StoreError;

/// Bounds of a [`GroupQueue`] and of the groups that leave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueBounds {
    /// Items that wait.
    pub(crate) items_max: usize,
    /// Bytes that wait. One item is taken into an empty line whatever its size.
    pub(crate) bytes_max: usize,
    /// Bytes of one group; a larger item makes a group of its own.
    pub(crate) group_bytes_max: usize,
}

/// Many threads push, one thread takes groups.
pub(crate) struct GroupQueue<T> {
    bounds: QueueBounds,
    line: Mutex<Line<T>>,
    arrived: Condvar,
}

/// What [`GroupQueue::next_group`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// At least one item.
    Group(Vec<T>),
    /// Nothing came while there was patience.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

struct Line<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

impl<T> GroupQueue<T> {
    pub(crate) fn new(bounds: QueueBounds) -> Self {
        let line = Mutex::new(Line { items: VecDeque::new(), bytes: 0, closed: false });
        Self { bounds, line, arrived: Condvar::new() }
    }

    /// Never blocks: a full line is the caller's to know.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), (T, StoreError)> {
        let mut line = self.lock();
        if line.closed {
            return Err((item, StoreError::Stopped));
        }
        let full = line.items.len() >= self.bounds.items_max || line.bytes + bytes > self.bounds.bytes_max;
        if full && !line.items.is_empty() {
            return Err((item, StoreError::Overloaded { waiting: line.items.len() }));
        }
        line.bytes += bytes;
        line.items.push_back((item, bytes));
        self.arrived.notify_one();
        Ok(())
    }

    /// Blocks until something waits, or the patience ends, or the line is closed and empty.
    pub(crate) fn next_group(&self, patience: Duration) -> Taken<T> {
        let is_quiet = |line: &mut Line<T>| line.items.is_empty() && !line.closed;
        let (mut line, _) = self.arrived.wait_timeout_while(self.lock(), patience, is_quiet).unwrap_or_else(PoisonError::into_inner);
        let mut group = Vec::new();
        let mut group_bytes = 0;
        while let Some((item, bytes)) =
            line.items.pop_front_if(|(_, bytes)| group.is_empty() || group_bytes + *bytes <= self.bounds.group_bytes_max)
        {
            line.bytes -= bytes;
            group_bytes += bytes;
            group.push(item);
        }
        match group.is_empty() {
            false => Taken::Group(group),
            true if line.closed => Taken::Closed,
            true => Taken::Nothing,
        }
    }

    /// Refuses new items; those that wait are still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// No code panics while holding this lock, and the line is consistent between statements.
    fn lock(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { items_max: 3, bytes_max: 10, group_bytes_max: 6 };

    #[test]
    fn groups_keep_the_order_and_their_bound() {
        let queue = GroupQueue::new(BOUNDS);
        for (item, bytes) in [("a", 3), ("b", 3), ("c", 4)] {
            assert!(queue.push(item, bytes).is_ok());
        }
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Group(vec!["a", "b"]));
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Group(vec!["c"]));
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Nothing);
        queue.close();
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Closed);
    }

    #[test]
    fn a_full_line_refuses_by_items_and_by_bytes() {
        let queue = GroupQueue::new(BOUNDS);
        for item in 0..3 {
            assert!(queue.push(item, 1).is_ok());
        }
        assert!(matches!(queue.push(3, 1), Err((3, StoreError::Overloaded { waiting: 3 }))));
        let queue = GroupQueue::new(BOUNDS);
        assert!(queue.push(0, 9).is_ok());
        assert!(matches!(queue.push(1, 2), Err((1, StoreError::Overloaded { waiting: 1 }))));
    }

    #[test]
    fn an_oversized_item_enters_an_empty_line_and_goes_alone() {
        let queue = GroupQueue::new(BOUNDS);
        assert!(queue.push("big", 100).is_ok());
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Group(vec!["big"]));
    }

    #[test]
    fn a_closed_line_serves_what_waits_and_takes_nothing() {
        let queue = GroupQueue::new(BOUNDS);
        assert!(queue.push(1, 1).is_ok());
        queue.close();
        assert!(matches!(queue.push(2, 1), Err((2, StoreError::Stopped))));
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Group(vec![1]));
        assert_eq!(queue.next_group(Duration::ZERO), Taken::Closed);
    }
}
