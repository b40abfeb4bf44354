//! Reading the log out of the files: the rows of all files of a range, in the order of offsets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::PoisonError;

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use store::StoreError;

use super::Warehouse;
use super::catalog::{Catalog, SealedFile};
use super::decode::decode;
use super::encode::Row;
use super::scan::damaged;

/// Readers that are remembered, so that the next read goes on where the last one ended.
const CURSORS_MAX: usize = 8;
/// Rows that a cursor holds decoded, of all its files together.
const ROWS_MAX: usize = 2048;
/// The fewest rows decoded at once.
const ROWS_MIN: usize = 16;
/// How often a read begins anew because an erasure has rewritten files meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// A place in a sealed range.
pub(super) struct Cursor {
    /// What the catalog said of rewritings when it was opened.
    rewrites: u64,
    next: u64,
    end: u64,
    sources: Vec<Source>,
    /// The next offset of each source that has one.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
}

/// One file of the range.
struct Source {
    file: SealedFile,
    reader: ParquetRecordBatchReader,
    rows: std::iter::Peekable<std::vec::IntoIter<Row>>,
}

impl Warehouse {
    /// Sealed records from `from` on: at most `records_max` and about `bytes_max` bytes, at least one.
    pub(crate) fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<Row>, StoreError> {
        self.unrewritten(|catalog| self.read_by(catalog, from, records_max, bytes_max))
    }

    /// What is read while no erasure rewrites files: read anew, a few times, where one does meanwhile.
    pub(crate) fn unrewritten<T>(&self, mut read: impl FnMut(&Catalog) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut attempts = 1;
        loop {
            let catalog = self.catalog();
            let read = read(&catalog);
            if attempts == ATTEMPTS_MAX || self.catalog().rewrites == catalog.rewrites {
                return read;
            }
            attempts += 1;
        }
    }

    fn read_by(&self, catalog: &Catalog, from: u64, records_max: usize, mut bytes_left: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut cursor = match self.remembered(catalog.rewrites, from) {
            Some(cursor) => cursor,
            None => self.cursor(catalog, from)?,
        };
        while rows.len() < records_max {
            if cursor.next == cursor.end {
                if catalog.end() == cursor.end {
                    break;
                }
                cursor = self.cursor(catalog, cursor.end)?;
            }
            let row = cursor.next()?;
            let bytes = row.content.bytes();
            rows.push(row);
            // The row is read already and cannot be put back: the bound holds within one row.
            match bytes_left.checked_sub(bytes) {
                Some(left) => bytes_left = left,
                None => break,
            }
        }
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.push(cursor);
        if cursors.len() > CURSORS_MAX {
            cursors.remove(0);
        }
        Ok(rows)
    }

    /// Lets go of all places: files are removed.
    pub(super) fn forget_cursors(&self) {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn remembered(&self, rewrites: u64, from: u64) -> Option<Cursor> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.retain(|cursor| cursor.rewrites == rewrites);
        let at = cursors.iter().position(|cursor| cursor.next == from && cursor.next < cursor.end)?;
        Some(cursors.swap_remove(at))
    }

    fn cursor(&self, catalog: &Catalog, from: u64) -> Result<Cursor, StoreError> {
        let seal = catalog.seal_of(from).ok_or_else(|| {
            StoreError::Damaged(format!("the files end at offset {}, but offset {from} is asked for", catalog.end()).into())
        })?;
        let files: Vec<&SealedFile> = seal.files.iter().filter(|file| file.last >= from).collect();
        let rows = (ROWS_MAX / files.len().max(1)).max(ROWS_MIN);
        let mut cursor = Cursor { rewrites: catalog.rewrites, next: from, end: seal.end, sources: Vec::new(), heads: BinaryHeap::new() };
        for (index, file) in files.into_iter().enumerate() {
            let reader = self.open_rows(file, from, rows)?;
            let mut source = Source { file: file.clone(), reader, rows: Vec::new().into_iter().peekable() };
            while let Some(offset) = source.peek()? {
                if offset >= from {
                    cursor.heads.push(Reverse((offset, index)));
                    break;
                }
                source.rows.next();
            }
            cursor.sources.push(source);
        }
        Ok(cursor)
    }
}

impl Cursor {
    /// The record at `next`.
    fn next(&mut self) -> Result<Row, StoreError> {
        let missing = |next| StoreError::Damaged(format!("no file holds offset {next} of the event log").into());
        let Some(Reverse((offset, index))) = self.heads.pop() else { return Err(missing(self.next)) };
        if offset != self.next {
            return Err(missing(self.next));
        }
        let source = &mut self.sources[index];
        let row = source.rows.next().ok_or_else(|| missing(offset))?;
        if let Some(offset) = source.peek()? {
            self.heads.push(Reverse((offset, index)));
        }
        self.next += 1;
        Ok(row)
    }
}

impl Source {
    /// The offset of the next row.
    fn peek(&mut self) -> Result<Option<u64>, StoreError> {
        while self.rows.peek().is_none() {
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| damaged(&self.file, error))?;
            self.rows = decode(self.file.table, &batch)?.into_iter().peekable();
        }
        Ok(self.rows.peek().map(|row| row.offset))
    }
}
