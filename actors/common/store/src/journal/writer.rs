//! The one thread that appends: takes what waits as a group, writes it, flushes once, and acknowledges all of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frame::FrameHeader;
use super::segment::Segment;
use super::{NewRecord, Shared, Written};
use crate::files;
use crate::queue::Taken;
use crate::store::StoreError;

/// The file is filled with zeros up to a multiple of this, ahead of its records: a flush that changes neither the file's length
/// nor its blocks need not wait for the file system's own log.
const FILL_BYTES: u64 = 512 * 1024;
/// A write buffer that a large group has grown beyond this is given back.
const BUFFER_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records that wait for the writer and whom to tell.
pub(super) struct Append {
    pub(super) records: Vec<NewRecord>,
    /// The segment is closed behind it.
    pub(super) closes: bool,
    pub(super) done: Box<dyn FnOnce(Result<Written, StoreError>) + Send>,
}

/// Owns the file of the last segment.
pub(super) struct Writer {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    file: File,
    /// Bytes of the file, the zeros ahead included.
    filled: u64,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, segment: Arc<Segment>, file: File) -> Self {
        let filled = segment.extent().bytes;
        Self { shared, segment, file, filled, buffer: Vec::new() }
    }

    /// Serves until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            match self.shared.queue.next_group(Duration::MAX) {
                Taken::Group(group) => self.serve(group),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
        }
        let closed = self.shared.poison.check().and_then(|()| self.cut_to_size());
        if let Err(error) = closed {
            tracing::error!(%error, "the journal was not closed properly");
        }
    }

    fn serve(&mut self, group: Vec<Append>) {
        let written = self.shared.poison.check().and_then(|()| {
            self.write(&group).inspect_err(|error| {
                self.shared.poison.set(&error.to_string());
            })
        });
        match written {
            Ok(written) => {
                for (append, written) in group.into_iter().zip(written) {
                    (append.done)(Ok(written));
                }
            }
            Err(error) => {
                for append in group {
                    (append.done)(Err(error.clone()));
                }
            }
        }
    }

    /// Makes a group durable, then visible.
    fn write(&mut self, group: &[Append]) -> Result<Vec<Written>, StoreError> {
        if self.segment.extent().bytes > self.shared.config.segment_bytes_max {
            self.rotate()?;
        }
        let started = Instant::now();
        let written_at_ms = now_ms();
        let mut extent = self.segment.extent().clone();
        let durable_position = extent.bytes;
        let mut all = Vec::with_capacity(group.len());
        self.buffer.clear();
        for append in group {
            let first = extent.end;
            for (index, record) in append.records.iter().enumerate() {
                let more = index + 1 < append.records.len();
                let header = FrameHeader { offset: extent.end, kind: record.kind, written_at_ms, more, durable_position };
                extent.record(header.offset, durable_position + self.buffer.len() as u64);
                header.write(&record.body, &mut self.buffer);
            }
            all.push(Written { offsets: first..extent.end, written_at_ms });
        }
        let written = self.buffer.len() as u64;
        extent.bytes += written;
        if extent.bytes > self.filled {
            self.filled = extent.bytes.next_multiple_of(FILL_BYTES);
            self.buffer.resize((self.filled - durable_position) as usize, 0);
        }
        let failed = |error| StoreError::io(self.segment.path.display(), error);
        self.file.write_all_at(&self.buffer, durable_position).map_err(failed)?;
        files::sync_data(&self.file).map_err(failed)?;
        let end = extent.end;
        *self.segment.extent() = extent;
        self.shared.end.send_replace(end);
        metrics::gauge!("gotham_journal_end_offset").set(end as f64);
        metrics::histogram!("gotham_journal_flush_seconds").record(started.elapsed());
        metrics::counter!("gotham_journal_bytes_total").increment(written);
        if self.buffer.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        if group.iter().any(|append| append.closes) {
            self.rotate()?;
        }
        Ok(all)
    }

    /// Closes the segment unless it is empty. The whole of it has been flushed, group by group.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let end = self.segment.extent().end;
        if end > self.segment.first {
            self.cut_to_size()?;
            let (segment, file) = Segment::create(&self.shared.dir, end)?;
            self.filled = segment.extent().bytes;
            self.segment = Arc::new(segment);
            self.file = file;
            self.shared.segments_mut().push(self.segment.clone());
        }
        Ok(())
    }

    /// Takes the zeros behind the last record away: a closed segment ends with its last record.
    fn cut_to_size(&mut self) -> Result<(), StoreError> {
        let bytes = self.segment.extent().bytes;
        let cut = self.file.set_len(bytes).and_then(|()| self.file.sync_all());
        self.filled = bytes;
        cut.map_err(|error| StoreError::io(self.segment.path.display(), error))
    }
}

/// The only clock of the journal.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
