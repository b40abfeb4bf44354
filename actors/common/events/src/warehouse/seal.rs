//! Sealing: records leave the journal for Parquet files.

use std::sync::atomic::Ordering;

use serde::Serialize;
use store::{Journal, StoreError};

use super::catalog::Seal;
use super::encode::{Content, Row};
use super::schema::Table;
use super::write::{FILES_MAX, Writing};
use super::{Sealed, Warehouse};
use crate::log::decode;

/// Records of one range, and so rows of one file.
const RANGE_RECORDS_MAX: u64 = 1_000_000;
const READ_RECORDS_MAX: usize = 4096;
const READ_BYTES_MAX: usize = 4 << 20;

/// What a sealing amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SealReport {
    /// The first offset that was sealed.
    pub first: u64,
    /// Behind the last one: everything before it is sealed.
    pub end: u64,
    /// Events among them.
    pub events: u64,
    /// Served lists among them.
    pub served: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of segments that the journal let go.
    pub trimmed_bytes: u64,
}

impl Warehouse {
    /// Seals everything before `up_to` and trims the journal behind it, as far as its consumers have come.
    pub(crate) fn seal(&self, journal: &Journal, up_to: u64) -> Result<SealReport, StoreError> {
        let _work = self.work();
        let mut report = self.seal_without_trimming(journal, up_to)?;
        self.step("the journal is trimmed")?;
        report.trimmed_bytes = journal.trim(&Sealed(self.end()))?;
        Ok(report)
    }

    /// For whoever holds [`Warehouse::work`].
    pub(crate) fn seal_without_trimming(&self, journal: &Journal, up_to: u64) -> Result<SealReport, StoreError> {
        self.sweep()?;
        let first = self.end();
        let mut report = SealReport { first, end: first, ..SealReport::default() };
        let up_to = up_to.min(journal.end());
        while report.end < up_to {
            self.is_littered.store(true, Ordering::Relaxed);
            let seal = self.write_range(journal, report.end, up_to)?;
            report.end = seal.end;
            report.files += seal.files.len() as u64;
            for file in &seal.files {
                report.bytes += file.bytes;
                match file.table {
                    Table::Events => report.events += file.rows,
                    Table::Served => report.served += file.rows,
                    Table::Erasures | Table::Records => {}
                }
            }
            let mut catalog = (*self.catalog()).clone();
            catalog.seals.push(seal);
            self.commit(catalog)?;
            self.is_littered.store(false, Ordering::Relaxed);
        }
        Ok(report)
    }

    /// Writes the files of the next range; nothing counts before the catalog names them.
    fn write_range(&self, journal: &Journal, first: u64, up_to: u64) -> Result<Seal, StoreError> {
        let up_to = up_to.min(first + RANGE_RECORDS_MAX);
        let mut writing = Writing::new(self, String::new());
        let mut next = first;
        while next < up_to && writing.len() < FILES_MAX {
            for entry in journal.read(next, READ_RECORDS_MAX.min((up_to - next) as usize), READ_BYTES_MAX)? {
                let body = decode(entry.offset, &entry.body);
                let content = Content::of(entry.kind, &entry.body, body);
                writing.push(Row { offset: entry.offset, written_at_ms: entry.written_at_ms, content })?;
                next = entry.offset + 1;
                if writing.len() >= FILES_MAX {
                    break;
                }
            }
        }
        Ok(Seal { first, end: next, files: writing.finish()? })
    }
}
