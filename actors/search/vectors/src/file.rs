//! One file on disk: a header and sections, each checked block by block, written to the end before it gets its name.
//!
//! All numbers are little-endian. Layout:
//! | bytes | what |
//! | --- | --- |
//! | 64 | preamble: magic, format version, header bytes, sections, blocks, file bytes, CRC-32C of head, CRC-32C of preamble |
//! | head | header (JSON), section table (32 bytes each), CRC-32C of every block of every section (4 bytes each) |
//! | rest | the sections, each at a multiple of 64 bytes |
//!
//! A block is 1 MiB of one section, the last one shorter. Bytes between sections belong to nothing and mean nothing.

mod manifest;

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::Mmap;

use crate::memory::Column;

pub(crate) use manifest::{Manifest, ManifestSegment};

/// The version of the layout. A reader refuses every other one.
pub(crate) const FORMAT_VERSION: u32 = 1;
const _: () = assert!(cfg!(target_endian = "little"), "sections are written as they stand in memory");
/// Bytes that share one checksum.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
const MAGIC: [u8; 8] = *b"GVECTORS";
const PREAMBLE_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const ALIGNMENT: u64 = 64;
/// Bounds that keep a damaged head from asking for much memory: a head of 64 MiB has room for the blocks of a file of 8 TiB.
const SECTIONS_MAX: usize = 4096;
const HEAD_BYTES_MAX: u64 = 64 << 20;
/// Files kept aside for a look at what damaged them.
const DAMAGED_FILES_MAX: usize = 4;
/// Larger sections are read by several threads.
const PARALLEL_BYTES: usize = 8 << 20;
const TEMPORARY: &str = "writing";
const DAMAGED: &str = "damaged";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Written by another version of this program.
    #[error("{}: format version {found}, this program reads version {FORMAT_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The bytes are not those that were written.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        what: String,
    },
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// A folder of such files. Every write goes through a temporary name.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Bytes until the disk is full.
    #[cfg(test)]
    pub(crate) room_bytes: std::sync::atomic::AtomicU64,
}

/// A complete file that does not have its name yet.
#[derive(Debug)]
#[must_use = "a staged file is not there until it is committed"]
pub(crate) struct Staged<'a> {
    folder: &'a Folder,
    name: String,
}

impl Folder {
    /// The folder, made when it is not there. What an interrupted write left is removed.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(path).map_err(FileError::io(path))?;
        let folder = Self {
            path: path.to_owned(),
            #[cfg(test)]
            room_bytes: u64::MAX.into(),
        };
        for name in folder.names(TEMPORARY)? {
            folder.remove(&name)?;
        }
        Ok(folder)
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Names of the folder's files that end in `.extension`, sorted.
    pub(crate) fn names(&self, extension: &str) -> Result<Vec<String>, FileError> {
        let entries = fs::read_dir(&self.path).map_err(FileError::io(&self.path))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(FileError::io(&self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.rsplit_once('.').is_some_and(|(_, found)| found == extension) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::Io { path, source: error }),
            _ => Ok(()),
        }
    }

    /// Moves a damaged file out of the way; only the last few are kept.
    pub(crate) fn set_aside(&self, name: &str) -> Result<PathBuf, FileError> {
        let (path, aside) = (self.path_of(name), self.path_of(&format!("{name}.{DAMAGED}")));
        fs::rename(&path, &aside).map_err(FileError::io(&path))?;
        let kept = self.names(DAMAGED)?;
        for name in &kept[..kept.len().saturating_sub(DAMAGED_FILES_MAX)] {
            self.remove(name)?;
        }
        Ok(aside)
    }

    /// Writes a whole file under a temporary name and makes it durable. `sections` are (kind, bytes); a kind stands once.
    pub(crate) fn stage(&self, name: &str, header: &[u8], sections: &[(u32, &[u8])]) -> Result<Staged<'_>, FileError> {
        let path = self.path_of(&format!("{name}.{TEMPORARY}"));
        let written = self.write(&path, header, sections);
        if let Err(source) = written {
            let _ = fs::remove_file(&path);
            return Err(FileError::Io { path, source });
        }
        Ok(Staged { folder: self, name: name.to_owned() })
    }

    fn write(&self, path: &Path, header: &[u8], sections: &[(u32, &[u8])]) -> io::Result<()> {
        let blocks: usize = sections.iter().map(|(_, bytes)| bytes.len().div_ceil(BLOCK_BYTES)).sum();
        let head_bytes = (header.len() + sections.len() * ENTRY_BYTES + blocks * 4) as u64;
        if sections.len() > SECTIONS_MAX || head_bytes > HEAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more sections or blocks than a file may have"));
        }
        let mut file = File::create(path)?;
        let (mut table, mut checksums) = (Vec::new(), Vec::new());
        let mut at = (PREAMBLE_BYTES as u64 + head_bytes).next_multiple_of(ALIGNMENT);
        for (kind, bytes) in sections {
            file.seek(SeekFrom::Start(at))?;
            table.extend_from_slice(&kind.to_le_bytes());
            table.extend_from_slice(&((checksums.len() / 4) as u32).to_le_bytes());
            table.extend_from_slice(&at.to_le_bytes());
            table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            table.extend_from_slice(&[0; 8]);
            for block in bytes.chunks(BLOCK_BYTES) {
                self.take_room(block.len())?;
                checksums.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
                file.write_all(block)?;
            }
            at = (at + bytes.len() as u64).next_multiple_of(ALIGNMENT);
        }
        let head = [header, &table, &checksums].concat();
        let mut preamble = Vec::with_capacity(PREAMBLE_BYTES);
        preamble.extend_from_slice(&MAGIC);
        for number in [FORMAT_VERSION, header.len() as u32, sections.len() as u32, blocks as u32] {
            preamble.extend_from_slice(&number.to_le_bytes());
        }
        preamble.extend_from_slice(&at.to_le_bytes());
        preamble.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
        preamble.resize(PREAMBLE_BYTES - 4, 0);
        preamble.extend_from_slice(&crc32c::crc32c(&preamble).to_le_bytes());
        self.take_room(head.len())?;
        file.set_len(at)?;
        file.write_all_at(&preamble, 0)?;
        file.write_all_at(&head, PREAMBLE_BYTES as u64)?;
        file.sync_all()
    }

    #[cfg(not(test))]
    fn take_room(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn take_room(&self, bytes: usize) -> io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        let taken = self.room_bytes.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(bytes as u64));
        taken.map(drop).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl Staged<'_> {
    /// Gives the file its name, in place of the one that had it, and makes that durable.
    pub(crate) fn commit(self) -> Result<(), FileError> {
        let Folder { path, .. } = self.folder;
        let (from, to) = (self.folder.path_of(&format!("{}.{TEMPORARY}", self.name)), self.folder.path_of(&self.name));
        fs::rename(&from, &to).map_err(FileError::io(&from))?;
        File::open(path).and_then(|folder| folder.sync_all()).map_err(FileError::io(path))
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u32,
    first_checksum: usize,
    at: u64,
    bytes: usize,
}

/// An open file: its head is checked, its sections are checked as they are read.
#[derive(Debug)]
pub(crate) struct SectionFile {
    path: PathBuf,
    file: File,
    header: Vec<u8>,
    entries: Vec<Entry>,
    checksums: Vec<u32>,
}

impl SectionFile {
    /// Opens a file and checks its head.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let io = || FileError::io(path);
        let damaged = |what: &str| FileError::damaged(path, what);
        let file = File::open(path).map_err(io())?;
        let length = file.metadata().map_err(io())?.len();
        if length < PREAMBLE_BYTES as u64 {
            return Err(damaged("shorter than a preamble"));
        }
        let mut preamble = [0; PREAMBLE_BYTES];
        file.read_exact_at(&mut preamble, 0).map_err(io())?;
        let checked = &preamble[..PREAMBLE_BYTES - 4];
        if preamble[..8] != MAGIC || crc32c::crc32c(checked) != u32_at(&preamble, PREAMBLE_BYTES - 4) {
            return Err(damaged("preamble"));
        }
        let version = u32_at(&preamble, 8);
        if version != FORMAT_VERSION {
            return Err(FileError::Version { path: path.to_owned(), found: version });
        }
        let [header_bytes, sections, blocks] = [12, 16, 20].map(|at| u32_at(&preamble, at) as usize);
        let head_bytes = header_bytes as u64 + (sections * ENTRY_BYTES) as u64 + blocks as u64 * 4;
        if u64_at(&preamble, 24) != length || head_bytes > length - PREAMBLE_BYTES as u64 || head_bytes > HEAD_BYTES_MAX {
            return Err(damaged("another length than was written"));
        }
        let mut head = vec![0; head_bytes as usize];
        file.read_exact_at(&mut head, PREAMBLE_BYTES as u64).map_err(io())?;
        if crc32c::crc32c(&head) != u32_at(&preamble, 32) {
            return Err(damaged("head"));
        }
        let (header, rest) = head.split_at(header_bytes);
        let (table, checksums) = rest.split_at(sections * ENTRY_BYTES);
        let entry = |bytes: &[u8]| Entry {
            kind: u32_at(bytes, 0),
            first_checksum: u32_at(bytes, 4) as usize,
            at: u64_at(bytes, 8),
            bytes: u64_at(bytes, 16) as usize,
        };
        let entries: Vec<Entry> = table.chunks_exact(ENTRY_BYTES).map(entry).collect();
        let is_inside = |entry: &Entry| {
            entry.at.checked_add(entry.bytes as u64).is_some_and(|end| end <= length)
                && entry.at.is_multiple_of(ALIGNMENT)
                && entry.first_checksum + entry.bytes.div_ceil(BLOCK_BYTES) <= blocks
        };
        if !entries.iter().all(is_inside) {
            return Err(damaged("section table"));
        }
        let checksums = checksums.chunks_exact(4).map(|bytes| u32_at(bytes, 0)).collect();
        Ok(Self { path: path.to_owned(), file, header: header.to_owned(), entries, checksums })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Bytes of a section; one that is not there has none.
    pub(crate) fn section_bytes(&self, kind: u32) -> usize {
        self.entry(kind).map_or(0, |entry| entry.bytes)
    }

    /// Blocks of a section.
    pub(crate) fn blocks(&self, kind: u32) -> usize {
        self.section_bytes(kind).div_ceil(BLOCK_BYTES)
    }

    /// Reads a whole section into memory that is as long as it, checking every block.
    pub(crate) fn read_into(&self, kind: u32, target: &mut [u8]) -> Result<(), FileError> {
        if target.len() != self.section_bytes(kind) {
            return Err(FileError::damaged(&self.path, format!("section {kind} has {} bytes", self.section_bytes(kind))));
        }
        for (block, target) in target.chunks_mut(BLOCK_BYTES).enumerate() {
            self.read_block(kind, block, target)?;
        }
        Ok(())
    }

    /// As `read_into`, on several threads.
    pub(crate) fn read_into_by(&self, kind: u32, target: &mut [u8], threads: usize) -> Result<(), FileError> {
        if target.len() <= PARALLEL_BYTES || threads <= 1 || target.len() != self.section_bytes(kind) {
            return self.read_into(kind, target);
        }
        let blocks = Mutex::new(target.chunks_mut(BLOCK_BYTES).enumerate());
        let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let read = || std::iter::from_fn(next).try_for_each(|(block, target)| self.read_block(kind, block, target));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
            let panicked = || FileError::damaged(&self.path, "a reading thread panicked");
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(panicked())))
        })
    }

    /// A whole section, checked.
    pub(crate) fn read(&self, kind: u32) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; self.section_bytes(kind)];
        self.read_into(kind, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads one block of a section anew and checks it.
    pub(crate) fn check(&self, kind: u32, block: usize, buffer: &mut Vec<u8>) -> Result<(), FileError> {
        let bytes = self.section_bytes(kind).saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES);
        buffer.resize(bytes, 0);
        self.read_block(kind, block, buffer)
    }

    /// A section that stays on the disk and is paged in by the kernel when it is touched. Its blocks are not checked by this.
    #[allow(unsafe_code, reason = "mmap")]
    pub(crate) fn map(&self, kind: u32) -> Result<Column<u8>, FileError> {
        let Some(entry) = self.entry(kind) else { return Err(FileError::damaged(&self.path, format!("section {kind} is missing"))) };
        // SAFETY: these files are never written again once they have their name and are removed by unlinking, which leaves the mapping
        // whole; another process that cuts one short while it is mapped breaks the rule of the data folder, which is locked.
        let map = unsafe { Mmap::map(&self.file) }.map_err(FileError::io(&self.path))?;
        Column::mapped(Arc::new(map), entry.at as usize, entry.bytes).map_err(|error| FileError::damaged(&self.path, error.to_string()))
    }

    /// Where a section stands in the file: first byte, bytes.
    #[cfg(test)]
    pub(crate) fn place_of(&self, kind: u32) -> Option<(usize, usize)> {
        self.entry(kind).map(|entry| (entry.at as usize, entry.bytes))
    }

    fn entry(&self, kind: u32) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.kind == kind).copied()
    }

    fn read_block(&self, kind: u32, block: usize, target: &mut [u8]) -> Result<(), FileError> {
        let damaged = || FileError::damaged(&self.path, format!("section {kind}, block {block}"));
        let entry = self.entry(kind).ok_or_else(damaged)?;
        self.file.read_exact_at(target, entry.at + (block * BLOCK_BYTES) as u64).map_err(FileError::io(&self.path))?;
        let is_whole = self.checksums.get(entry.first_checksum + block) == Some(&crc32c::crc32c(target));
        is_whole.then_some(()).ok_or_else(damaged)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
