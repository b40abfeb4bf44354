//! One segment file: records from its first offset on, and a sparse index in memory that leads near any of them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::JournalEntry;
use super::frame::{SEGMENT_HEADER_BYTES, read_segment_header, segment_header};
use super::scan::{ScanError, Scanner, is_blank, was_durable};
use crate::files;
use crate::store::StoreError;

const SUFFIX: &str = ".journal";
/// Bytes between two marks of the index: what a reader skips at most before it reaches its record.
const MARK_BYTES: u64 = 64 * 1024;
const START: u64 = SEGMENT_HEADER_BYTES as u64;

/// A segment; the file is opened for each read, so that a long journal holds no descriptors.
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    extent: Mutex<Extent>,
}

/// The durable part of a segment.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    /// The offset behind the last record.
    pub(super) end: u64,
    /// The position behind the last record.
    pub(super) bytes: u64,
    /// Offsets and positions in ascending order; `None` until the first read of a segment that was closed at start.
    marks: Option<Vec<(u64, u64)>>,
}

/// What a read may still take.
pub(super) struct Budget {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Extent {
    fn empty(first: u64) -> Self {
        Self { end: first, bytes: START, marks: Some(Vec::new()) }
    }

    /// Adds a record that starts at `position`.
    pub(super) fn record(&mut self, offset: u64, position: u64) {
        self.end = offset + 1;
        let marks = self.marks.get_or_insert_default();
        if marks.last().is_none_or(|(_, mark)| position >= mark + MARK_BYTES) {
            marks.push((offset, position));
        }
    }

    /// An offset and its position, at or before `offset`.
    fn before(&self, first: u64, offset: u64) -> (u64, u64) {
        let marks = self.marks.as_deref().unwrap_or_default();
        marks[..marks.partition_point(|(mark, _)| *mark <= offset)].last().copied().unwrap_or((first, START))
    }
}

impl Segment {
    /// Creates an empty segment in a durable way and gives the file to write to.
    pub(super) fn create(dir: &Path, first: u64) -> Result<(Self, File), StoreError> {
        let path = dir.join(format!("{first:020}{SUFFIX}"));
        let header = segment_header(first);
        let (file, ()) =
            files::publish(&path, |file| file.write_all_at(&header, 0).map_err(|error| StoreError::io(path.display(), error)))?;
        Ok((Self { first, path, extent: Mutex::new(Extent::empty(first)) }, file))
    }

    /// The first offset that a file name of a segment states.
    pub(super) fn offset_of(name: &str) -> Option<u64> {
        name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok())
    }

    /// Opens a segment that is followed by another, which starts at `end`. Its records are checked when they are read.
    pub(super) fn open_closed(path: PathBuf, first: u64, end: u64) -> Result<Self, StoreError> {
        let file = File::open(&path).map_err(|error| StoreError::io(path.display(), error))?;
        let bytes = check_header(&file, &path, first)?;
        Ok(Self { first, path, extent: Mutex::new(Extent { end, bytes, marks: None }) })
    }

    /// Opens the last segment: checks every record, cuts a torn tail and the zeros behind it off, and flushes what is left, since a killed process
    /// may have left records that were written but never flushed.
    pub(super) fn open_last(path: PathBuf, first: u64) -> Result<(Self, File), StoreError> {
        let failed = |error| StoreError::io(path.display(), error);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
        let bytes = check_header(&file, &path, first)?;
        let extent = whole_appends(&file, &path, first, bytes)?;
        if extent.bytes < bytes {
            if !is_blank(&file, extent.bytes, bytes).map_err(failed)? {
                tracing::warn!(path = %path.display(), cut_bytes = bytes - extent.bytes, "cut the torn tail of the journal");
            }
            file.set_len(extent.bytes).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        Ok((Self { first, path, extent: Mutex::new(extent) }, file))
    }

    /// The durable part.
    pub(super) fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends records from `from` on to `entries`, as far as the budget goes; the first entry of all is always taken.
    pub(super) fn read(&self, from: u64, budget: &mut Budget, entries: &mut Vec<JournalEntry>) -> Result<(), StoreError> {
        let file = File::open(&self.path).map_err(|error| StoreError::io(self.path.display(), error))?;
        let ((mut offset, position), end) = {
            let mut extent = self.extent();
            self.index(&file, &mut extent)?;
            (extent.before(self.first, from), extent.bytes)
        };
        let mut scanner = Scanner::new(&file, position, end);
        while budget.records > 0 {
            let start = scanner.position;
            let Some((header, body)) = scanner.next().map_err(|error| broken(&self.path, error))? else { break };
            in_order(&self.path, start, offset, header.offset)?;
            offset += 1;
            if header.offset < from {
                continue;
            }
            if body.len() > budget.bytes && !entries.is_empty() {
                budget.records = 0;
                break;
            }
            budget.records -= 1;
            budget.bytes = budget.bytes.saturating_sub(body.len());
            let (kind, written_at_ms) = (header.kind, header.written_at_ms);
            entries.push(JournalEntry { offset: header.offset, kind, written_at_ms, body: Bytes::copy_from_slice(body) });
        }
        Ok(())
    }

    /// Checks every durable record and gives their number.
    pub(super) fn verify(&self) -> Result<u64, StoreError> {
        let file = File::open(&self.path).map_err(|error| StoreError::io(self.path.display(), error))?;
        let (end, bytes) = {
            let extent = self.extent();
            (extent.end, extent.bytes)
        };
        self.scan(&file, end, bytes).map(|extent| extent.end - self.first)
    }

    /// Makes the index of a segment that was closed at start.
    fn index(&self, file: &File, extent: &mut Extent) -> Result<(), StoreError> {
        if extent.marks.is_none() {
            *extent = self.scan(file, extent.end, extent.bytes)?;
        }
        Ok(())
    }

    fn scan(&self, file: &File, end: u64, bytes: u64) -> Result<Extent, StoreError> {
        let mut extent = Extent::empty(self.first);
        let mut scanner = Scanner::new(file, START, bytes);
        loop {
            let start = scanner.position;
            let Some((header, _)) = scanner.next().map_err(|error| broken(&self.path, error))? else { break };
            in_order(&self.path, start, extent.end, header.offset)?;
            extent.record(header.offset, start);
        }
        extent.bytes = scanner.position;
        if extent.end == end {
            Ok(extent)
        } else {
            Err(damaged(&self.path, extent.bytes, &format!("records {} to {end} are missing", extent.end)))
        }
    }
}

/// Reads the last segment up to the end of its last whole append. An invalid record is a torn tail unless a later record
/// proves that it had been flushed.
fn whole_appends(file: &File, path: &Path, first: u64, bytes: u64) -> Result<Extent, StoreError> {
    let mut extent = Extent::empty(first);
    let mut whole = extent.clone();
    let mut scanner = Scanner::new(file, START, bytes);
    loop {
        let start = scanner.position;
        match scanner.next() {
            Ok(Some((header, _))) => {
                in_order(path, start, extent.end, header.offset)?;
                let is_whole = !header.more;
                extent.record(header.offset, start);
                extent.bytes = scanner.position;
                if is_whole {
                    (whole.end, whole.bytes) = (extent.end, extent.bytes);
                }
            }
            Ok(None) => break,
            Err(ScanError::Invalid { position, what }) => {
                if was_durable(file, position, bytes).map_err(|error| StoreError::io(path.display(), error))? {
                    return Err(damaged(path, position, what));
                }
                break;
            }
            Err(error) => return Err(broken(path, error)),
        }
    }
    whole.marks = extent.marks.map(|mut marks| {
        marks.retain(|(offset, _)| *offset < whole.end);
        marks
    });
    Ok(whole)
}

/// Checks the first bytes of a segment and gives its length.
fn check_header(file: &File, path: &Path, first: u64) -> Result<u64, StoreError> {
    let bytes = file.metadata().map_err(|error| StoreError::io(path.display(), error))?.len();
    if bytes < START {
        return Err(damaged(path, 0, "it is shorter than a segment's header"));
    }
    let mut header = [0; SEGMENT_HEADER_BYTES];
    file.read_exact_at(&mut header, 0).map_err(|error| StoreError::io(path.display(), error))?;
    match read_segment_header(&header) {
        Ok(stated) if stated == first => Ok(bytes),
        Ok(stated) => Err(damaged(path, 0, &format!("its header says that it starts at offset {stated}"))),
        Err(what) => Err(damaged(path, 0, &what)),
    }
}

fn in_order(path: &Path, position: u64, expected: u64, found: u64) -> Result<(), StoreError> {
    if expected == found { Ok(()) } else { Err(damaged(path, position, &format!("record {found} stands where {expected} belongs"))) }
}

fn broken(path: &Path, error: ScanError) -> StoreError {
    match error {
        ScanError::Io(error) => StoreError::io(path.display(), error),
        ScanError::Invalid { position, what } => damaged(path, position, what),
    }
}

fn damaged(path: &Path, position: u64, what: &str) -> StoreError {
    StoreError::Damaged(format!("journal segment {} at byte {position}: {what}", path.display()).into())
}
