//! The saved form: one versioned stream with a checksum, the same bytes for the same state.
//!
//! `magic, version, state, BLAKE3 of all before`. Numbers are little-endian. A reader trusts no number in it: memory grows only with
//! bytes that were really there, and every index is checked before it is used.

use std::io::{self, Read, Write};

use thiserror::Error;

/// The first bytes of a saved state.
const MAGIC: [u8; 8] = *b"GOTHbehv";
/// The version that is written; others are refused.
const VERSION: u32 = 2;
/// Bytes read or written at a time.
const PIECE_BYTES: usize = 1 << 16;

/// Why a saved state cannot be taken.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The bytes could not be read.
    #[error("reading: {0}")]
    Io(#[from] io::Error),
    /// Another kind of file.
    #[error("not a saved state")]
    Magic,
    /// Written by another version.
    #[error("version {0} is not known here")]
    Version(u32),
    /// The checksum is another one: damaged.
    #[error("the checksum does not match")]
    Checksum,
    /// A number that cannot be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// What can be saved and loaded.
pub(crate) trait Saved: Sized {
    fn save(&self, output: &mut Output<'_>);
    fn load(input: &mut Input<'_>) -> Result<Self, LoadError>;
}

/// Where a state is written to; the first failure is kept and told at the end.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn Write,
    hasher: blake3::Hasher,
    piece: Vec<u8>,
    failed: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// Begins a stream.
    pub(crate) fn new(sink: &'a mut dyn Write) -> Self {
        let mut output = Self { sink, hasher: blake3::Hasher::new(), piece: Vec::with_capacity(PIECE_BYTES + 16), failed: None };
        output.bytes_bare(&MAGIC);
        output.u32(VERSION);
        output
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes_bare(&[value]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes_bare(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes_bare(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.u32(value.to_bits());
    }

    pub(crate) fn bytes_bare(&mut self, bytes: &[u8]) {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    pub(crate) fn u32s_bare(&mut self, values: &[u32]) {
        self.words(values, |value| *value);
    }

    /// Words in one go: a loop over slices of known length becomes a copy.
    fn words<T>(&mut self, values: &[T], word: impl Fn(&T) -> u32) {
        for values in values.chunks(PIECE_BYTES / 4) {
            let start = self.piece.len();
            self.piece.resize(start + 4 * values.len(), 0);
            for (bytes, value) in self.piece[start..].chunks_exact_mut(4).zip(values) {
                bytes.copy_from_slice(&word(value).to_le_bytes());
            }
            if self.piece.len() >= PIECE_BYTES {
                self.flush();
            }
        }
    }

    /// A sequence with its length before it.
    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.u64(values.len() as u64);
        self.u32s_bare(values);
    }

    /// A sequence with its length before it.
    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.u64(values.len() as u64);
        self.words(values, |value| value.to_bits());
    }

    /// A sequence with its length before it.
    pub(crate) fn all<T: Saved>(&mut self, values: impl ExactSizeIterator<Item = impl std::borrow::Borrow<T>>) {
        self.u64(values.len() as u64);
        values.for_each(|value| value.borrow().save(self));
    }

    fn flush(&mut self) {
        self.hasher.update(&self.piece);
        if self.failed.is_none() {
            self.failed = self.sink.write_all(&self.piece).err();
        }
        self.piece.clear();
    }

    /// Ends the stream with its checksum, which is returned.
    pub(crate) fn finish(mut self) -> io::Result<[u8; 32]> {
        self.flush();
        let digest = *self.hasher.finalize().as_bytes();
        match self.failed {
            Some(error) => Err(error),
            None => self.sink.write_all(&digest).map(|()| digest),
        }
    }
}

/// Where a state is read from.
pub(crate) struct Input<'a> {
    source: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl<'a> Input<'a> {
    /// Begins a stream.
    ///
    /// # Errors
    /// `Magic` and `Version`: this is no saved state, or one of another version.
    pub(crate) fn new(source: &'a mut dyn Read) -> Result<Self, LoadError> {
        let mut input = Self { source, hasher: blake3::Hasher::new() };
        if input.array::<8>()? != MAGIC {
            return Err(LoadError::Magic);
        }
        match input.u32()? {
            VERSION => Ok(input),
            version => Err(LoadError::Version(version)),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), LoadError> {
        self.source.read_exact(buffer)?;
        self.hasher.update(buffer);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, LoadError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number that is not negative, not endless and not NaN.
    pub(crate) fn f32(&mut self) -> Result<f32, LoadError> {
        let value = f32::from_bits(self.u32()?);
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(LoadError::Malformed("a number")) }
    }

    /// A length that the caller reads item by item, so that memory follows the bytes.
    pub(crate) fn len(&mut self) -> Result<usize, LoadError> {
        usize::try_from(self.u64()?).map_err(|_| LoadError::Malformed("a length"))
    }

    pub(crate) fn bytes_bare(&mut self, len: usize) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::with_capacity(len.min(PIECE_BYTES));
        while bytes.len() < len {
            let start = bytes.len();
            bytes.resize(start + (len - start).min(PIECE_BYTES), 0);
            self.fill(&mut bytes[start..])?;
        }
        Ok(bytes)
    }

    pub(crate) fn u32s_bare(&mut self, len: usize) -> Result<Vec<u32>, LoadError> {
        let mut values = Vec::with_capacity(len.min(PIECE_BYTES / 4));
        let mut piece = [0u8; 4096];
        while values.len() < len {
            let bytes = (len - values.len()).saturating_mul(4).min(piece.len());
            self.fill(&mut piece[..bytes])?;
            values.extend(piece[..bytes].chunks_exact(4).map(|chunk| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])));
        }
        Ok(values)
    }

    pub(crate) fn u32s(&mut self) -> Result<Vec<u32>, LoadError> {
        let len = self.len()?;
        self.u32s_bare(len)
    }

    pub(crate) fn f32s(&mut self) -> Result<Vec<f32>, LoadError> {
        let values = self.u32s()?;
        let values: Vec<f32> = values.into_iter().map(f32::from_bits).collect();
        let sound = values.iter().all(|value| value.is_finite() && *value >= 0.0);
        if sound { Ok(values) } else { Err(LoadError::Malformed("a number")) }
    }

    pub(crate) fn all<T: Saved>(&mut self) -> Result<Vec<T>, LoadError> {
        let len = self.len()?;
        let mut values = Vec::with_capacity(len.min(PIECE_BYTES / size_of::<T>().max(1)));
        for _ in 0..len {
            values.push(T::load(self)?);
        }
        Ok(values)
    }

    /// Ends the stream: compares the checksum, which is returned.
    pub(crate) fn finish(self) -> Result<[u8; 32], LoadError> {
        let digest = *self.hasher.finalize().as_bytes();
        let mut kept = [0; 32];
        self.source.read_exact(&mut kept)?;
        if kept == digest { Ok(digest) } else { Err(LoadError::Checksum) }
    }
}
