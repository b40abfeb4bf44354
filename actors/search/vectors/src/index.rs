//! The index of one space: one writer, many readers, a folder that is always at one moment.
//!
//! Rows enter the mutable tail and are searchable when `set` returns. In the background a full tail becomes a segment, small segments
//! become one, and segments with many dead rows are written anew; searches and writes go on meanwhile. What searches read is one
//! atomically swapped list of segments and tails; what they share with the writer are bits that only go from alive to dead, and the
//! word that says where an owner's rows stand.
//!
//! What the folder keeps are segments; rows of the tail are lost in a crash. So after `open` the caller compares the stamp of every
//! owner with what it should be, and sets what differs. That is also how damage heals.

mod belongings;
mod best;
mod fold;
mod ids;
mod maintainer;
mod open;
mod options;
mod policy;
mod reader;
mod recall;
mod save;
mod search;
pub(crate) mod top;
mod unit;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use fold::Maintenance;
pub use maintainer::Maintainer;
pub use options::{
    FINGERPRINT_BYTES_MAX, ID_BYTES_MAX, IndexError, LIMIT_MAX, OWNER_ROWS_MAX, OpenReport, Options, TAIL_ROWS_MAX, THREADS_MAX,
};
pub use reader::{Background, Hit, Outcome, Query, Reader};
pub use recall::RecallSeen;

use crate::codes::{Metric, Projection};
use crate::file::Folder;
pub use crate::owners::OWNERS_MAX;
use crate::owners::{Owners, Place};
use crate::tail::Tail;
use recall::RecallCheck;
use unit::{Stored, Unit};

/// Rows of a tail without a projection: its exact rows are scanned.
const FIRST_TAIL_ROWS: usize = 2048;
/// A projection that was learned from fewer rows says too little of the next ones.
const PROJECTION_ROWS_MIN: usize = 1024;
/// The largest number in a vector where its length counts.
const NUMBER_MAX: f32 = 1e15;
/// Full tails that may wait to become segments; beyond, `set` folds them itself.
const SEALED_TAILS_MAX: usize = 4;

/// The one writer. Cheap to share behind an `Arc`; every method takes `&self` and calls of `set` and `remove` queue for each other.
#[derive(Debug)]
pub struct Index {
    shared: Arc<Shared>,
}

/// What the writer, the readers and the background have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) owners: Owners,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) folder: Option<Folder>,
    /// Held for the moment of a write.
    writer: Mutex<Writer>,
    /// Held while tails become a segment.
    pub(crate) folding: Mutex<()>,
    /// Held while segments become one.
    pub(crate) merging: Mutex<()>,
    /// Held while files are written or removed.
    pub(crate) saving: Mutex<save::Saving>,
    /// Asks a build to end early.
    pub(crate) stopping: AtomicBool,
    /// Changes whenever a row comes or goes.
    pub(crate) version: AtomicU64,
    pub(crate) recall: RecallCheck,
    pub(crate) signal: maintainer::Signal,
}

#[derive(Debug)]
struct Writer {
    /// The next segment's or tail's number.
    next_number: u32,
}

/// What searches read: segments, then full tails, then the tail that grows.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) units: Vec<Unit>,
}

impl Snapshot {
    /// The tail that grows; there always is one.
    pub(crate) fn tail(&self) -> Option<&Arc<Tail>> {
        match self.units.last() {
            Some(Unit::Tail(tail)) => Some(tail),
            _ => None,
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.units.iter().filter_map(|unit| match unit {
            Unit::Segment(segment) => Some(segment),
            Unit::Tail(_) => None,
        })
    }

    pub(crate) fn tails(&self) -> impl Iterator<Item = &Arc<Tail>> {
        self.units.iter().filter_map(|unit| match unit {
            Unit::Tail(tail) => Some(tail),
            Unit::Segment(_) => None,
        })
    }

    pub(crate) fn unit(&self, number: u32) -> Option<(usize, &Unit)> {
        self.units.iter().enumerate().find(|(_, unit)| unit.number() == number)
    }

    /// The projection for new rows: the newest segment's, unless it was learned from next to nothing.
    pub(crate) fn projection(&self) -> Option<Arc<Projection>> {
        self.segments().last().filter(|stored| stored.projection_rows >= PROJECTION_ROWS_MIN).map(|stored| stored.projection())
    }
}

/// The size of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Owners that have vectors.
    pub owners: usize,
    /// Rows that are alive.
    pub rows: usize,
    /// Rows of removed or replaced vectors that still take memory.
    pub dead_rows: usize,
    /// Segments, with and without a graph.
    pub segments: usize,
    /// Of those, how many have a graph.
    pub graph_segments: usize,
    /// Rows in tails.
    pub tail_rows: usize,
    /// Memory that searches need, in bytes.
    pub hot_bytes: usize,
    /// Exact rows that are mapped from files, in bytes.
    pub mapped_bytes: usize,
}

/// What a damaged file cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Their vectors have to be set again.
    pub owners: Vec<u32>,
    /// The damaged files, where they are now, and what was wrong.
    pub files: Vec<(PathBuf, String)>,
}

impl Index {
    /// Opens the index in `place`, or one without a folder that lives in memory alone. `owner_of` gives the number that this run has
    /// for an owner's id, or nothing when the owner is no more.
    ///
    /// # Errors
    /// Bad options, a folder that cannot be read or written, a file of another format version. Damaged files are no error: they are
    /// moved aside and named in the report.
    pub fn open(
        place: Option<&Path>,
        options: Options,
        owner_of: &mut dyn FnMut(&str) -> Option<u32>,
    ) -> Result<(Self, OpenReport), IndexError> {
        let (shared, report) = open::open(place, options, owner_of)?;
        Ok((Self { shared: Arc::new(shared) }, report))
    }

    /// A reader; as many as there are threads that search.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Sets the vectors of an owner in place of those it had; none removes it. `stamp` tells this content from any other (a prefix of
    /// its hash): setting what is there already does nothing and gives `false`. The vectors are searchable when this returns.
    ///
    /// # Errors
    /// A vector of other dimensions, with a number that is not finite, or without direction where the metric asks for one; too many
    /// vectors; an owner's number or id out of bounds. Nothing has changed then.
    pub fn set(&self, owner: u32, id: &str, stamp: u64, vectors: &[&[f32]]) -> Result<bool, IndexError> {
        let rows = self.checked(owner, id, vectors)?;
        if rows.is_empty() {
            return Ok(self.remove(owner));
        }
        let shared = &*self.shared;
        let mut writer = shared.writer();
        if shared.owners.stamp(owner) == Some(stamp) && shared.has_id(owner, id) {
            return Ok(false);
        }
        let (tail, row) = loop {
            let snapshot = shared.snapshot.load_full();
            let appended = snapshot.tail().and_then(|tail| tail.append(owner, id, stamp, &rows).map(|row| (tail.number, row)));
            match appended {
                Some(place) => break place,
                None => writer = self.make_room(writer)?,
            }
        };
        let before = shared.owners.place(owner);
        shared.owners.set(owner, Place { unit: tail, row }, stamp);
        if let Some(before) = before {
            shared.kill(before);
        }
        shared.version.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Takes an owner out. `false` when it was not there.
    pub fn remove(&self, owner: u32) -> bool {
        let shared = &*self.shared;
        let _writer = shared.writer();
        let Some(place) = shared.owners.remove(owner) else { return false };
        shared.kill(place);
        shared.version.fetch_add(1, Ordering::Release);
        true
    }

    /// The owners that have vectors, ascending.
    pub fn owners(&self) -> impl Iterator<Item = u32> + '_ {
        self.shared.owners.iter()
    }

    /// The stamp that an owner's vectors came with.
    #[must_use]
    pub fn stamp_of(&self, owner: u32) -> Option<u64> {
        self.shared.owners.stamp(owner)
    }

    /// How the index was set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Its size now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Does the most urgent piece of background work and tells what it was; `Maintenance::Idle` when there is none. Searches and writes
    /// go on meanwhile.
    ///
    /// # Errors
    /// What the disk said. The index goes on serving from memory, and the work is tried again by the next call.
    pub fn maintain(&self) -> Result<Maintenance, IndexError> {
        fold::maintain(&self.shared)
    }

    /// Puts everything that is searchable into the folder.
    ///
    /// # Errors
    /// What the disk said.
    pub fn flush(&self) -> Result<(), IndexError> {
        fold::flush(&self.shared)
    }

    /// Starts threads that do the background work by themselves, merges with lower priority, until what is given is dropped.
    ///
    /// # Errors
    /// What the system said when it refused a thread.
    pub fn spawn_maintainer(&self) -> std::io::Result<Maintainer> {
        Maintainer::spawn(&self.shared)
    }

    /// What was lost since this was last asked: owners whose vectors stood in a file that turned out to be damaged. They are not found
    /// any more until they are set again.
    #[must_use]
    pub fn take_lost(&self) -> Lost {
        let mut saving = fold::locked(&self.shared.saving);
        Lost { owners: std::mem::take(&mut saving.lost), files: std::mem::take(&mut saving.damaged) }
    }

    fn checked(&self, owner: u32, id: &str, vectors: &[&[f32]]) -> Result<Vec<Vec<f32>>, IndexError> {
        let Options { dimensions, metric, .. } = self.shared.options;
        if owner >= OWNERS_MAX {
            return Err(IndexError::Owner(owner));
        }
        if id.len() > ID_BYTES_MAX {
            return Err(IndexError::Id(id.len()));
        }
        if vectors.len() > OWNER_ROWS_MAX {
            return Err(IndexError::TooManyVectors(vectors.len()));
        }
        vectors.iter().map(|vector| normalised(metric, dimensions, vector)).collect()
    }

    /// Seals the full tail, and folds when too many wait.
    fn make_room<'a>(&'a self, mut writer: MutexGuard<'a, Writer>) -> Result<MutexGuard<'a, Writer>, IndexError> {
        self.shared.seal(&mut writer);
        if self.shared.snapshot.load().tails().count() <= SEALED_TAILS_MAX + 1 {
            return Ok(writer);
        }
        drop(writer);
        // Another thread may have folded them by the time this one's turn comes.
        match fold::fold_sealed(&self.shared, SEALED_TAILS_MAX) {
            // The rows are in memory; the disk is tried again in the background.
            Err(IndexError::File(error)) => tracing::warn!(%error, "a segment of vectors could not be written"),
            other => drop(other?),
        }
        Ok(self.shared.writer())
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a panicking writer leaves is whole: a place is set after its rows are published.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an empty tail behind the one that grows.
    fn seal(&self, writer: &mut Writer) {
        let snapshot = self.snapshot.load_full();
        if snapshot.tail().is_some_and(|tail| tail.len() == 0) {
            return;
        }
        let mut units = snapshot.units.clone();
        units.push(Unit::Tail(Arc::new(new_tail(&self.options, writer.number(), snapshot.projection()))));
        self.snapshot.store(Arc::new(Snapshot { units }));
        self.signal.notify();
    }

    /// Kills the rows of one owner at `place`. The writer is held.
    fn kill(&self, place: Place) {
        let snapshot = self.snapshot.load();
        if let Some((_, unit)) = snapshot.unit(place.unit) {
            unit.kill(place.row);
        }
    }

    fn has_id(&self, owner: u32, id: &str) -> bool {
        let snapshot = self.snapshot.load();
        self.owners.place(owner).and_then(|place| Some(snapshot.unit(place.unit)?.1.id(place.row) == id)).unwrap_or(false)
    }

    fn stats(&self) -> Stats {
        let snapshot = self.snapshot.load();
        let mut stats = Stats { owners: self.owners.count(), hot_bytes: self.owners.bytes(), ..Stats::default() };
        for unit in &snapshot.units {
            let dead = unit.alive().dead();
            stats.rows += unit.rows() - dead;
            stats.dead_rows += dead;
            stats.hot_bytes += unit.hot_bytes();
            match unit {
                Unit::Segment(segment) => {
                    stats.segments += 1;
                    stats.graph_segments += usize::from(segment.has_graph());
                    stats.mapped_bytes += segment.mapped_bytes();
                }
                Unit::Tail(tail) => stats.tail_rows += tail.len(),
            }
        }
        stats
    }
}

impl Writer {
    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }
}

fn new_tail(options: &Options, number: u32, projection: Option<Arc<Projection>>) -> Tail {
    let rows = if projection.is_some() { options.tail_rows_max } else { options.tail_rows_max.min(FIRST_TAIL_ROWS) };
    Tail::new(number, options.metric, options.dimensions, rows, projection)
}

/// A vector as it is stored: of the right size, finite, and of unit length where only the direction counts.
pub(crate) fn normalised(metric: Metric, dimensions: usize, vector: &[f32]) -> Result<Vec<f32>, IndexError> {
    if vector.len() != dimensions {
        return Err(IndexError::Dimensions { expected: dimensions, found: vector.len() });
    }
    let mut vector = vector.to_vec();
    metric.normalise(&mut vector);
    // Larger numbers would overflow in a sum of squares; only zeros have no direction.
    let is_fit = vector.iter().all(|value| value.abs() <= NUMBER_MAX);
    if !is_fit || metric == Metric::Cosine && vector.iter().all(|value| *value == 0.0) {
        return Err(IndexError::NotFinite);
    }
    Ok(vector)
}

#[cfg(test)]
mod tests;
