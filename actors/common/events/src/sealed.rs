//! The sealed part of a log, for reading only: beside a running service, without its lock.

use std::path::Path;

use store::StoreError;

use crate::Entry;
use crate::log::entry_of_row;
use crate::summary::Summary;
use crate::warehouse::{SealedFile, Warehouse};

const READ_RECORDS_MAX: usize = 4096;
const READ_BYTES_MAX: usize = 8 << 20;

/// The files that the catalog named when this was opened. An erasure may replace some of them meanwhile: then reading fails, and is
/// done again on one that is opened anew.
pub struct SealedLog(Warehouse);

impl SealedLog {
    /// Reads the catalog in the warehouse's folder; leaves nothing there.
    pub fn open(warehouse: &Path) -> Result<Self, StoreError> {
        Warehouse::open_for_reading(warehouse).map(Self)
    }

    /// Where the files lie: a folder, or `s3://bucket/prefix`.
    pub fn location(&self) -> String {
        self.0.location()
    }

    /// The files, in the order of their ranges.
    pub fn files(&self) -> Vec<SealedFile> {
        self.0.sealed_files()
    }

    /// The offset behind the last sealed record.
    pub fn end(&self) -> u64 {
        self.0.end()
    }

    /// Records from `from` on, at most `records_max`; none behind the end.
    pub fn read(&self, from: u64, records_max: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= self.end() || records_max == 0 {
            return Ok(Vec::new());
        }
        Ok(self.0.read(from, records_max, READ_BYTES_MAX)?.into_iter().map(entry_of_row).collect())
    }

    /// Counts and sums of all its records.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        let mut summary = Summary::default();
        while summary.end < self.end() {
            self.read(summary.end, READ_RECORDS_MAX)?.iter().for_each(|entry| summary.add(entry));
        }
        Ok(summary)
    }
}
