//! An export file that has been read back: the only proof on which the journal is trimmed and a store is filled.
//!
//! The file is a header (magic 8 "GOTHBACK", version 4, CRC-32C 4 over magic, version and offset, journal offset 8) and then an
//! export.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Bound::Unbounded;
use std::path::{Path, PathBuf};

use crate::export;
use crate::files;
use crate::journal::{Journal, TrimProof};
use crate::record;
use crate::store::{Durability, ExportSummary, Keyspace, Op, Store, StoreError};

const MAGIC: [u8; 8] = *b"GOTHBACK";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes of one commit while a store is filled.
const RESTORE_COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// An export whose every byte and every record has been checked on disk.
#[derive(Clone, Debug)]
pub struct VerifiedExport {
    path: PathBuf,
    journal_offset: u64,
    summary: ExportSummary,
}

impl VerifiedExport {
    /// Exports the store to a file and reads it back. The file appears under its name whole or not at all. It stands for the
    /// slowest consumer of the journal: all effects of records before that offset are in it, and from there on the journal
    /// makes up for the rest. Blocks for as long as it takes to write and read the store.
    pub fn write(store: &dyn Store, journal: &Journal, path: &Path) -> Result<Self, StoreError> {
        let slowest = journal.consumers().into_iter().map(|(_, offset)| offset).min();
        let journal_offset = slowest.unwrap_or_else(|| journal.start());
        // What consumers have only applied so far becomes durable before the journal's copy of it may go.
        store.commit(Vec::new(), Durability::Flushed).wait()?;
        files::publish(path, |file| {
            let mut to = BufWriter::with_capacity(BUFFER_BYTES, file);
            to.write_all(&header(journal_offset)).map_err(|error| StoreError::io(path.display(), error))?;
            store.export(&mut to)
        })?;
        Self::open(path)
    }

    /// Reads an export file and checks it: its structure, its checksum, and every record's envelope.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (journal_offset, mut from) = open(path)?;
        let summary = export::read(&mut from, |space, key, value| check(space, &key, &value))?;
        Ok(Self { path: path.to_path_buf(), journal_offset, summary })
    }

    /// Fills an empty store. A failure leaves it partly filled, to be thrown away.
    pub fn restore(&self, store: &dyn Store) -> Result<ExportSummary, StoreError> {
        for space in Keyspace::ALL {
            if !store.range(space, (Unbounded, Unbounded), 1)?.entries.is_empty() {
                return Err(StoreError::io("restore", "the store is not empty"));
            }
        }
        let (_, mut from) = open(&self.path)?;
        let mut ops = Vec::new();
        let mut bytes = 0;
        let summary = export::read(&mut from, |space, key, value| {
            check(space, &key, &value)?;
            bytes += key.len() + value.len();
            ops.push(Op::Put { space, key, value });
            if bytes >= RESTORE_COMMIT_BYTES_MAX {
                bytes = 0;
                store.commit(std::mem::take(&mut ops), Durability::Applied).wait()?;
            }
            Ok(())
        })?;
        store.commit(ops, Durability::Flushed).wait()?;
        Ok(summary)
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first journal record whose effects may be missing in it.
    pub fn journal_offset(&self) -> u64 {
        self.journal_offset
    }

    /// Its size.
    pub fn summary(&self) -> ExportSummary {
        self.summary
    }
}

impl TrimProof for VerifiedExport {
    fn journal_offset(&self) -> u64 {
        self.journal_offset
    }
}

fn header(journal_offset: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..].copy_from_slice(&journal_offset.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Opens an export file and gives its journal offset and the reader of the export in it.
fn open(path: &Path) -> Result<(u64, impl Read), StoreError> {
    let file = File::open(path).map_err(|error| StoreError::io(path.display(), error))?;
    let mut from = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut found = [0; HEADER_BYTES];
    from.read_exact(&mut found).map_err(|error| StoreError::io(path.display(), error))?;
    let offset = found[16..].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if found != header(offset) {
        return Err(StoreError::Damaged(format!("{} is no export of this program's version", path.display()).into()));
    }
    Ok((offset, from))
}

fn check(space: Keyspace, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let checked = record::check(key, value).map(|_| ());
    checked.map_err(|error| StoreError::Damaged(format!("export: {space:?} {}: {error}", record::hex(key)).into()))
}
