//! Parquet files being written: one for each table and day, in the staging folder, with a bounded number of rows in memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use store::StoreError;

use super::Warehouse;
use super::catalog::SealedFile;
use super::day::day_of;
use super::encode::{Content, Row, encode};
use super::schema::{SCHEMA, Table};

/// Rows of one row group.
const GROUP_ROWS_MAX: usize = 16_384;
/// Bytes of rows, in memory, that wait for their row group; of all files together.
const WAITING_BYTES_MAX: usize = 48 << 20;
/// Files that are written at once: the days of one sealed range, over all tables.
pub(super) const FILES_MAX: usize = 400;

/// The files of one sealed range.
pub(super) struct Writing<'a> {
    warehouse: &'a Warehouse,
    files: BTreeMap<(Table, String), Part>,
    bytes: usize,
    /// Tells the files of a rewriting from those that they replace.
    suffix: String,
}

/// One file.
struct Part {
    waiting: Vec<Row>,
    bytes: usize,
    first: u64,
    last: u64,
    rows: u64,
    pending: u64,
    staged: PathBuf,
    writer: ArrowWriter<File>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(warehouse: &'a Warehouse, suffix: String) -> Self {
        Self { warehouse, files: BTreeMap::new(), bytes: 0, suffix }
    }

    /// Files so far.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Takes the next row, in the order of offsets.
    pub(super) fn push(&mut self, row: Row) -> Result<(), StoreError> {
        let (table, bytes) = (row.content.table(), row.content.bytes());
        let key = (table, day_of(row.content.at_ms().unwrap_or(row.written_at_ms)));
        if !self.files.contains_key(&key) {
            let staged = self.warehouse.files.staging().join(format!("{}-{}.parquet", key.1, table.name()));
            self.files.insert(key.clone(), Part::create(table, staged, row.offset)?);
        }
        let Some(part) = self.files.get_mut(&key) else { return Err(StoreError::Stopped) };
        part.last = row.offset;
        part.rows += 1;
        part.pending += u64::from(matches!(row.content, Content::Erasure { carried_out: false, .. }));
        part.waiting.push(row);
        part.bytes += bytes;
        self.bytes += bytes;
        if part.waiting.len() >= GROUP_ROWS_MAX {
            self.bytes -= part.bytes;
            part.flush(table)?;
        }
        while self.bytes > WAITING_BYTES_MAX {
            let Some(((table, _), part)) = self.files.iter_mut().max_by_key(|(_, part)| part.bytes) else { break };
            self.bytes -= part.bytes;
            part.flush(*table)?;
        }
        Ok(())
    }

    /// Ends the files and gives them their names; they are part of the log once the catalog names them.
    pub(super) fn finish(self) -> Result<Vec<SealedFile>, StoreError> {
        let mut sealed = Vec::with_capacity(self.files.len());
        for ((table, day), part) in self.files {
            let (first, last, rows, pending) = (part.first, part.last, part.rows, part.pending);
            self.warehouse.step("a file is ended")?;
            let (staged, bytes, blake3) = part.finish(table)?;
            let path = format!("day={day}/{}-{first:012}-{last:012}{}.parquet", table.name(), self.suffix);
            self.warehouse.step("a file gets its name")?;
            self.warehouse.files.put(&staged, &path)?;
            sealed.push(SealedFile { path, table, day, first, last, rows, bytes, blake3, schema: SCHEMA, pending });
        }
        sealed.sort_by_key(|file| file.first);
        Ok(sealed)
    }
}

impl Part {
    fn create(table: Table, staged: PathBuf, first: u64) -> Result<Self, StoreError> {
        let file = File::create(&staged).map_err(|error| StoreError::io(staged.display(), error))?;
        let writer = ArrowWriter::try_new(file, table.schema(), Some(properties(table)?));
        let writer = writer.map_err(|error| StoreError::io(staged.display(), error))?;
        Ok(Self { waiting: Vec::new(), bytes: 0, first, last: first, rows: 0, pending: 0, staged, writer })
    }

    /// Writes what waits as a row group.
    fn flush(&mut self, table: Table) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let batch = encode(table, &rows)?;
        let written = self.writer.write(&batch).and_then(|()| self.writer.flush());
        written.map_err(|error| StoreError::io(self.staged.display(), error))
    }

    /// Ends and flushes the file; gives its place, size and checksum.
    fn finish(mut self, table: Table) -> Result<(PathBuf, u64, String), StoreError> {
        self.flush(table)?;
        let staged = self.staged;
        let file = self.writer.into_inner().map_err(|error| StoreError::io(staged.display(), error))?;
        let failed = |error| StoreError::io(staged.display(), error);
        file.sync_all().map_err(failed)?;
        let bytes = fs::metadata(&staged).map_err(failed)?.len();
        let blake3 = checksum(File::open(&staged).map_err(failed)?).map_err(failed)?;
        Ok((staged, bytes, blake3))
    }
}

/// BLAKE3 of a file, in hexadecimal.
pub(super) fn checksum(file: File) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn properties(table: Table) -> Result<WriterProperties, StoreError> {
    let level = ZstdLevel::try_new(3).map_err(|error| StoreError::io("zstd", error))?;
    let schema = KeyValue::new("gotham.schema".into(), SCHEMA.to_string());
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by("gotham".into())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![schema]));
    // Nearly every value differs: a dictionary would only be thrown away.
    for column in ["id", "raw", "token", "request", "offset"].into_iter().filter(|name| table.schema().index_of(name).is_ok()) {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    Ok(properties.build())
}
