//! The bytes of a segment: a header, then records in frames. All numbers are little-endian.
//!
//! ```text
//! segment  magic 8 "GOTHJRNL" | version 4 | CRC-32C 4 over magic, version and first offset | first offset 8
//! frame    magic 4 "GJF1" | CRC-32C 4 over all that follows | body length 4 | kind 2 | flags 2 | offset 8
//!          | written at, ms since the Unix epoch 8 | position that was durable when the frame was written 8 | body
//! ```
//!
//! Flag bit 0 says that the next record belongs to the same append, so that an append stands whole or not at all. The
//! durable position tells a torn tail from damage: a frame is written only after everything before its durable position
//! has been flushed, so an invalid byte before it cannot come from an interrupted write.

use crate::record;

/// The largest record body: a sealed record of the largest size.
pub(crate) const RECORD_BYTES_MAX: usize = record::HEADER_BYTES + record::BODY_BYTES_MAX;

pub(super) const SEGMENT_HEADER_BYTES: usize = 24;
pub(super) const FRAME_HEADER_BYTES: usize = 40;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"GJF1";

const SEGMENT_MAGIC: [u8; 8] = *b"GOTHJRNL";
const SEGMENT_VERSION: u32 = 1;
const FLAG_MORE: u16 = 1;

/// What stands before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) offset: u64,
    pub(super) kind: u16,
    pub(super) written_at_ms: i64,
    /// The next record belongs to the same append.
    pub(super) more: bool,
    /// Everything in the segment before this position was durable when the frame was written.
    pub(super) durable_position: u64,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// The frame needs this many bytes in all.
    Short(usize),
    /// It can never become a frame.
    Invalid(&'static str),
}

/// The first bytes of a segment.
pub(super) fn segment_header(first_offset: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
    header[16..].copy_from_slice(&first_offset.to_le_bytes());
    let checksum = segment_checksum(&header);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Checks a segment's first bytes and gives its first offset.
pub(super) fn read_segment_header(header: &[u8; SEGMENT_HEADER_BYTES]) -> Result<u64, String> {
    if header[..8] != SEGMENT_MAGIC {
        return Err("no journal segment (wrong magic)".into());
    }
    if word(header, 12) != segment_checksum(header) {
        return Err("its header does not check out".into());
    }
    match word(header, 8) {
        SEGMENT_VERSION => Ok(long(header, 16)),
        version => Err(format!("format version {version} is not known to this program (it knows {SEGMENT_VERSION})")),
    }
}

fn segment_checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

impl FrameHeader {
    /// Appends the frame to `out`. The body is at most [`RECORD_BYTES_MAX`] bytes.
    pub(super) fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&(if self.more { FLAG_MORE } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.written_at_ms.to_le_bytes());
        out.extend_from_slice(&self.durable_position.to_le_bytes());
        out.extend_from_slice(body);
        let checksum = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the frame at the start of `bytes` and its body.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let header = bytes.get(..FRAME_HEADER_BYTES).ok_or(FrameError::Short(FRAME_HEADER_BYTES))?;
        if header[..4] != FRAME_MAGIC {
            return Err(FrameError::Invalid("no record starts here"));
        }
        let body_bytes = word(header, 8) as usize;
        if body_bytes > RECORD_BYTES_MAX {
            return Err(FrameError::Invalid("a record's length is over the limit"));
        }
        let frame = bytes.get(..FRAME_HEADER_BYTES + body_bytes).ok_or(FrameError::Short(FRAME_HEADER_BYTES + body_bytes))?;
        if word(header, 4) != crc32c::crc32c(&frame[8..]) {
            return Err(FrameError::Invalid("a record's checksum does not fit"));
        }
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let read = Self {
            offset: long(header, 16),
            kind: half(12),
            written_at_ms: long(header, 24) as i64,
            more: half(14) & FLAG_MORE != 0,
            durable_position: long(header, 32),
        };
        Ok((read, &frame[FRAME_HEADER_BYTES..]))
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> FrameHeader {
        FrameHeader { offset: 7, kind: 1, written_at_ms: -5, more: true, durable_position: 24 }
    }

    #[test]
    fn a_frame_comes_back_and_no_flipped_bit_does() {
        let mut bytes = Vec::new();
        header().write(b"body", &mut bytes);
        assert_eq!(FrameHeader::read(&bytes), Ok((header(), &b"body"[..])));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::read(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_segment_header_comes_back_and_no_flipped_bit_does() {
        let mut bytes = segment_header(42);
        assert_eq!(read_segment_header(&bytes), Ok(42));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_segment_header(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_segment_version_is_refused_by_name() {
        let mut bytes = segment_header(0);
        bytes[8] = 2;
        let checksum = segment_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert!(read_segment_header(&bytes).is_err_and(|error| error.contains("version 2")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in any::<u32>()) {
            let _ = FrameHeader::read(&bytes);
            let mut framed = FRAME_MAGIC.to_vec();
            framed.extend_from_slice(&[0; 4]);
            framed.extend_from_slice(&length.to_le_bytes());
            framed.extend_from_slice(&bytes);
            if let Err(FrameError::Short(needed)) = FrameHeader::read(&framed) {
                prop_assert!(needed <= FRAME_HEADER_BYTES + RECORD_BYTES_MAX);
            }
        }
    }
}
