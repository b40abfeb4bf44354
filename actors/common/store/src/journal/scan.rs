//! Reads frames one behind the other through positioned reads, so that many readers share one file without a cursor.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameError, FrameHeader};

const CHUNK_BYTES: usize = 64 * 1024;

/// Why a scan stopped.
#[derive(Debug)]
pub(super) enum ScanError {
    Io(io::Error),
    /// What stands there is no whole frame.
    Invalid {
        position: u64,
        what: &'static str,
    },
}

/// Frames from a position up to an end.
pub(super) struct Scanner<'a> {
    file: &'a File,
    /// Where the next frame starts.
    pub(super) position: u64,
    end: u64,
    /// Bytes of the file from `position - start` on.
    buffer: Vec<u8>,
    start: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &'a File, position: u64, end: u64) -> Self {
        Self { file, position, end, buffer: Vec::new(), start: 0 }
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(FrameHeader, &[u8])>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let invalid = |what| ScanError::Invalid { position: self.position, what };
        let mut needed = FRAME_HEADER_BYTES;
        let (header, body_bytes) = loop {
            let bytes = Self::fill(self.file, self.position, self.end, &mut self.buffer, &mut self.start, needed)?;
            match FrameHeader::read(bytes) {
                Ok((header, body)) => break (header, body.len()),
                Err(FrameError::Invalid(what)) => return Err(invalid(what)),
                Err(FrameError::Short(whole)) if whole > bytes.len() && whole > needed => needed = whole,
                Err(FrameError::Short(_)) => return Err(invalid("a record is cut off")),
            }
        };
        let body_start = self.start + FRAME_HEADER_BYTES;
        self.start = body_start + body_bytes;
        self.position += (FRAME_HEADER_BYTES + body_bytes) as u64;
        Ok(Some((header, &self.buffer[body_start..self.start])))
    }

    /// Bytes at `position`: at least `needed`, or all up to the end. An associated function, for its disjoint borrows.
    fn fill<'b>(
        file: &File,
        position: u64,
        end: u64,
        buffer: &'b mut Vec<u8>,
        start: &mut usize,
        needed: usize,
    ) -> Result<&'b [u8], ScanError> {
        let have = buffer.len() - *start;
        if have < needed {
            buffer.drain(..std::mem::take(start));
            let rest = usize::try_from(end - position).unwrap_or(usize::MAX);
            buffer.resize(rest.min(needed.max(CHUNK_BYTES)), 0);
            if have < buffer.len() {
                file.read_exact_at(&mut buffer[have..], position + have as u64).map_err(ScanError::Io)?;
            }
        }
        Ok(&buffer[*start..])
    }
}

/// Whether a frame somewhere between `position` and `end` says that the bytes at `position` had been flushed before it was
/// written: then what is wrong there is damage, not an interrupted write.
pub(super) fn was_durable(file: &File, position: u64, end: u64) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = position;
    while at + (FRAME_HEADER_BYTES as u64) <= end {
        let bytes = &mut chunk[..usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
        file.read_exact_at(bytes, at)?;
        for start in bytes.windows(FRAME_MAGIC.len()).enumerate().filter_map(|(start, window)| (window == FRAME_MAGIC).then_some(start)) {
            match Scanner::new(file, at + start as u64, end).next() {
                Ok(Some((header, _))) if header.durable_position > position => return Ok(true),
                Err(ScanError::Io(error)) => return Err(error),
                _ => {}
            }
        }
        // The overlap catches a magic that straddles two chunks.
        at += (bytes.len() - FRAME_MAGIC.len() + 1) as u64;
    }
    Ok(false)
}

/// Whether only zeros stand between `position` and `end`.
pub(super) fn is_blank(file: &File, position: u64, end: u64) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    for at in (position..end).step_by(CHUNK_BYTES) {
        let bytes = &mut chunk[..usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
        file.read_exact_at(bytes, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
