//! The journal: an append-only, checksummed log in segment files; the spine that every derived state follows.
//!
//! One thread appends in groups: one flush a group, then its records become visible and are acknowledged. Readers see
//! durable records only. An append stands whole or not at all. When a journal is opened, an interrupted write at the very end
//! is cut off; anything else that does not check out is an error that names the file and the place.

mod frame;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::watch;

use self::frame::RECORD_BYTES_MAX;
use self::segment::{Budget, Segment};
use self::writer::{Append, Writer};
use crate::ack::Ack;
use crate::files;
use crate::poison::Poison;
use crate::queue::{GroupQueue, QueueBounds};
use crate::store::StoreError;

/// The largest append, in bytes of all its bodies.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of appends that wait for the writer.
const QUEUE_BYTES_MAX: usize = 2 * APPEND_BYTES_MAX;
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bounds of the journal.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// A segment file is closed when it is larger than this.
    pub segment_bytes_max: u64,
    /// Appends that wait for the writer.
    pub queue_max: usize,
    /// Consumers that hold trimming back from the start, before they have told how far they have come.
    pub consumers: Vec<&'static str>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { segment_bytes_max: 64 * 1024 * 1024, queue_max: 1024, consumers: Vec::new() }
    }
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What it is: the body's `Record::KIND`.
    pub kind: u16,
    /// A sealed record (with an empty key).
    pub body: Vec<u8>,
}

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its place: dense, from 0.
    pub offset: u64,
    /// What it is.
    pub kind: u16,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_at_ms: i64,
    /// A sealed record (with an empty key).
    pub body: Bytes,
}

/// Records that have been made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Their offsets.
    pub offsets: Range<u64>,
    /// When they were written, in milliseconds since the Unix epoch: what [`JournalEntry::written_at_ms`] says of each.
    pub written_at_ms: i64,
}

/// What vouches for records that the journal need not keep: they stand, checked and durable, somewhere else too.
pub trait TrimProof {
    /// The first record that it does not vouch for.
    fn journal_offset(&self) -> u64;
}

/// The journal; clones share it. The last one to go writes what waits and closes the files.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer share.
struct Shared {
    dir: PathBuf,
    config: JournalConfig,
    queue: GroupQueue<Append>,
    poison: Poison,
    end: watch::Sender<u64>,
    /// In offset order, never empty; the last one is being written.
    segments: RwLock<Vec<Arc<Segment>>>,
    consumers: Mutex<BTreeMap<&'static str, u64>>,
    _lock: File,
}

impl Journal {
    /// Opens (or creates) the journal in `dir`; a torn tail is cut off.
    pub fn open(dir: &Path, config: JournalConfig) -> Result<Self, StoreError> {
        files::create_dir(dir)?;
        let lock = files::lock(&dir.join("LOCK"))?;
        let (segments, file) = open_segments(dir)?;
        let last = segments[segments.len() - 1].clone();
        let start = segments[0].first;
        let bounds = QueueBounds { items_max: config.queue_max, bytes_max: QUEUE_BYTES_MAX, group_bytes_max: GROUP_BYTES_MAX };
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            queue: GroupQueue::new(bounds),
            poison: Poison::new("journal"),
            end: watch::Sender::new(last.extent().end),
            segments: RwLock::new(segments),
            consumers: Mutex::new(config.consumers.iter().map(|name| (*name, start)).collect()),
            config,
            _lock: lock,
        });
        let writer = Writer::new(shared.clone(), last, file);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(|| writer.run());
        let thread = thread.map_err(|error| StoreError::io("the journal's thread", error))?;
        Ok(Self(Arc::new(Handle { shared, writer: Some(thread) })))
    }

    /// Appends all records or none. Resolves to their offsets when they are durable.
    pub fn append(&self, records: Vec<NewRecord>) -> Ack<Range<u64>> {
        let (done, ack) = Ack::channel();
        match self.submit(records, move |written| drop(done.send(written.map(|written| written.offsets)))) {
            Ok(()) => ack,
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// Appends all records or none, and calls `done` on the writer's thread: in the order of the offsets, after they are durable
    /// and before a later append is answered. `done` must be quick and must not hold the journal. Refused appends are an error here,
    /// and `done` is dropped.
    pub fn submit(
        &self,
        records: Vec<NewRecord>,
        done: impl FnOnce(Result<Written, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let shared = &self.0.shared;
        let bytes = shared.poison.check().and_then(|()| bytes_of(&records))?;
        let append = Append { records, closes: false, done: Box::new(done) };
        shared.queue.push(append, bytes).map_err(|(_, error)| error)
    }

    /// Closes the segment that is being written, so that everything before the returned offset can be trimmed. Blocks until it is
    /// done.
    pub fn close_segment(&self) -> Result<u64, StoreError> {
        let shared = &self.0.shared;
        shared.poison.check()?;
        let (done, ack) = Ack::channel();
        let append = Append { records: Vec::new(), closes: true, done: Box::new(move |written| drop(done.send(written))) };
        shared.queue.push(append, 0).map_err(|(_, error)| error)?;
        ack.wait()?;
        let segments = shared.segments();
        Ok(segments[segments.len() - 1].first)
    }

    /// Durable records from offset `from` on: at most `records_max` and about `bytes_max` bytes, at least one if there is one.
    /// Offsets before [`Journal::start`] are an error, and so are offsets behind [`Journal::end`]: whoever has seen such a
    /// record follows another journal.
    pub fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<JournalEntry>, StoreError> {
        let end = self.end();
        if from > end {
            return Err(StoreError::Damaged(format!("the journal ends at offset {end}, but offset {from} is asked for").into()));
        }
        let mut entries = Vec::new();
        let mut budget = Budget { records: records_max, bytes: bytes_max };
        let mut next = from;
        while next < end && budget.records > 0 {
            match self.0.shared.segment_of(next)?.read(next, &mut budget, &mut entries) {
                // It was trimmed after it had been found.
                Err(_) if next < self.start() => return Err(StoreError::Trimmed { offset: next, start: self.start() }),
                read => read?,
            }
            next = entries.last().map_or(next, |entry: &JournalEntry| entry.offset + 1);
        }
        Ok(entries)
    }

    /// Reads all durable records and checks them; gives their number.
    pub fn verify(&self) -> Result<u64, StoreError> {
        let segments = self.0.shared.segments().clone();
        segments.iter().map(|segment| segment.verify()).sum()
    }

    /// The first offset still kept.
    pub fn start(&self) -> u64 {
        self.0.shared.segments()[0].first
    }

    /// The offset behind the last durable record.
    pub fn end(&self) -> u64 {
        *self.0.shared.end.borrow()
    }

    /// Follows [`Journal::end`].
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.shared.end.subscribe()
    }

    /// A consumer tells how far it has come (durably, by itself): nothing behind the slowest consumer is trimmed.
    pub fn consumer_at(&self, name: &'static str, offset: u64) {
        self.0.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).insert(name, offset);
        metrics::gauge!("gotham_journal_consumer_offset", "consumer" => name).set(offset as f64);
    }

    /// Removes the segments that lie wholly behind both what the proof vouches for and the slowest consumer, and gives the bytes
    /// it freed.
    pub fn trim(&self, proof: &impl TrimProof) -> Result<u64, StoreError> {
        let slowest = self.consumers().into_iter().map(|(_, offset)| offset).min();
        self.remove_before(proof.journal_offset().min(slowest.unwrap_or(u64::MAX)))
    }

    /// Like [`Journal::trim`], and waits for no consumer: for records that must not be kept, where consumers read on elsewhere.
    pub fn purge(&self, proof: &impl TrimProof) -> Result<u64, StoreError> {
        self.remove_before(proof.journal_offset())
    }

    fn remove_before(&self, keep_from: u64) -> Result<u64, StoreError> {
        let removed: Vec<Arc<Segment>> = {
            let mut segments = self.0.shared.segments_mut();
            let behind = segments.iter().skip(1).take_while(|next| next.first <= keep_from).count();
            segments.drain(..behind).collect()
        };
        let failed = |error| StoreError::io("trimming the journal", error);
        let mut bytes = 0;
        // Oldest first, so that what an interruption leaves has no gap.
        for segment in removed {
            fs::remove_file(&segment.path).map_err(failed)?;
            bytes += segment.extent().bytes;
        }
        files::sync_dir(&self.0.shared.dir).map_err(failed)?;
        Ok(bytes)
    }

    /// Consumers and their offsets.
    pub fn consumers(&self) -> Vec<(&'static str, u64)> {
        let consumers = self.0.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        consumers.iter().map(|(name, offset)| (*name, *offset)).collect()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.0.shared.segments().iter().map(|segment| segment.extent().bytes).sum()
    }

    /// Appends that wait for the writer.
    pub fn queue_depth(&self) -> usize {
        self.0.shared.queue.len()
    }

    /// Why nothing can be appended any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        self.0.shared.poison.reason().map(ToString::to_string)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        if self.writer.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Shared {
    fn segments(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that holds `offset`.
    fn segment_of(&self, offset: u64) -> Result<Arc<Segment>, StoreError> {
        let segments = self.segments();
        let behind = segments.partition_point(|segment| segment.first <= offset);
        let index = behind.checked_sub(1).ok_or(StoreError::Trimmed { offset, start: segments[0].first })?;
        Ok(segments[index].clone())
    }
}

/// Checks the bounds of an append and gives its size.
fn bytes_of(records: &[NewRecord]) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for record in records {
        StoreError::bounded("record", record.body.len(), RECORD_BYTES_MAX)?;
        bytes += record.body.len();
    }
    StoreError::bounded("append", bytes, APPEND_BYTES_MAX)?;
    Ok(bytes)
}

/// Opens all segments of a folder, or creates the first, and the file of the last for writing.
fn open_segments(dir: &Path) -> Result<(Vec<Arc<Segment>>, File), StoreError> {
    let failed = |error| StoreError::io(dir.display(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(files::TEMPORARY) {
            fs::remove_file(entry.path()).map_err(failed)?;
        } else if let Some(first) = Segment::offset_of(&name) {
            found.push((first, entry.path()));
        }
    }
    found.sort_unstable();
    let Some((first, path)) = found.pop() else {
        let (segment, file) = Segment::create(dir, 0)?;
        return Ok((vec![Arc::new(segment)], file));
    };
    let (last, file) = Segment::open_last(path, first)?;
    let ends: Vec<u64> = found.iter().skip(1).map(|(first, _)| *first).chain([first]).collect();
    let mut segments = Vec::with_capacity(found.len() + 1);
    for ((first, path), end) in found.into_iter().zip(ends) {
        segments.push(Arc::new(Segment::open_closed(path, first, end)?));
    }
    segments.push(Arc::new(last));
    Ok((segments, file))
}
