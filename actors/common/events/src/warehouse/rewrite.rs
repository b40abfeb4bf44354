//! Rewriting: files that name a forgotten shopper are replaced, all of them by one change of the catalog.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::Erasure;
use store::StoreError;

use super::Warehouse;
use super::catalog::SealedFile;
use super::decode::decode;
use super::encode::{Content, Row};
use super::scan::damaged;
use super::schema::Table;
use super::write::Writing;
use crate::forget::Erased;

/// Rows decoded at once.
const ROWS_MAX: usize = 1024;

/// What a rewriting amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// Records that named the shopper.
    pub(crate) records: u64,
    /// Files replaced.
    pub(crate) files: u64,
}

impl Warehouse {
    /// Replaces all files that name the shopper. From then on the journal must hold nothing before `purge_before`. A replaced file that
    /// cannot be removed is left to [`Warehouse::sweep`]: the rewriting is in force. For whoever holds [`Warehouse::work`].
    pub(crate) fn rewrite(&self, erased: &mut Erased, purge_before: u64) -> Result<Rewritten, StoreError> {
        self.is_littered.store(true, Ordering::Relaxed);
        let offset = erased.offset();
        let mut catalog = (*self.catalog()).clone();
        for file in catalog.files().filter(|file| file.first <= offset) {
            self.names(file, |named| erased.learn(&named))?;
        }
        catalog.rewrites += 1;
        catalog.purge_before = catalog.purge_before.max(purge_before);
        let suffix = format!("-r{}", catalog.rewrites);
        let mut rewritten = Rewritten::default();
        let mut replaced = Vec::new();
        for file in catalog.seals.iter_mut().flat_map(|seal| &mut seal.files).filter(|file| file.first <= offset) {
            if self.is_named_in(file, erased)? {
                let (new, records) = self.rewrite_file(file, erased, &suffix)?;
                replaced.push(std::mem::replace(file, new).path);
                rewritten.records += records;
                rewritten.files += 1;
            }
        }
        self.commit(catalog)?;
        self.forget_cursors();
        let mut is_littered = false;
        for name in replaced {
            if let Err(error) = self.step("a replaced file is removed").and_then(|()| self.files.remove(&name)) {
                tracing::warn!(%error, name, "a replaced file could not be removed; it is tried again");
                is_littered = true;
            }
        }
        self.is_littered.store(is_littered, Ordering::Relaxed);
        Ok(rewritten)
    }

    /// All erasures in the files: offset, record, and whether it is carried out.
    pub(crate) fn erasures(&self, only_pending: bool) -> Result<Vec<(u64, Arc<Erasure>, bool)>, StoreError> {
        let mut erasures = Vec::new();
        for file in self.catalog().files().filter(|file| file.table == Table::Erasures && (file.pending > 0 || !only_pending)) {
            self.each_row(file, |row| {
                if let Content::Erasure { erasure, carried_out } = row.content
                    && !(only_pending && carried_out)
                {
                    erasures.push((row.offset, erasure, carried_out));
                }
                Ok(())
            })?;
        }
        erasures.sort_by_key(|(offset, ..)| *offset);
        Ok(erasures)
    }

    fn is_named_in(&self, file: &SealedFile, erased: &mut Erased) -> Result<bool, StoreError> {
        let mut is_named = false;
        match file.table {
            Table::Events | Table::Served => self.names(file, |named| is_named |= erased.names(&named))?,
            // Few and small.
            Table::Erasures | Table::Records => self.each_row(file, |mut row| {
                is_named |= erased.apply(&mut row)?;
                Ok(())
            })?,
        }
        Ok(is_named)
    }

    fn rewrite_file(&self, file: &SealedFile, erased: &mut Erased, suffix: &str) -> Result<(SealedFile, u64), StoreError> {
        let mut writing = Writing::new(self, suffix.to_owned());
        let mut records = 0;
        self.each_row(file, |mut row| {
            records += u64::from(erased.apply(&mut row)?);
            writing.push(row)
        })?;
        match <[SealedFile; 1]>::try_from(writing.finish()?) {
            Ok([new]) if (new.first, new.last, new.rows) == (file.first, file.last, file.rows) => Ok((new, records)),
            _ => Err(damaged(file, "it was not rewritten as it is")),
        }
    }

    fn each_row(&self, file: &SealedFile, mut take: impl FnMut(Row) -> Result<(), StoreError>) -> Result<(), StoreError> {
        for batch in self.open_rows(file, 0, ROWS_MAX)? {
            let batch = batch.map_err(|error| damaged(file, error))?;
            decode(file.table, &batch)?.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }
}
