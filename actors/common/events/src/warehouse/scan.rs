//! Reading one file: all its rows from an offset on, or only whose they are.

use std::fs::File;
use std::sync::PoisonError;

use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use store::StoreError;

use super::Warehouse;
use super::catalog::SealedFile;
use super::decode::Columns;
use super::schema::{SCHEMA, Table};
use super::write::checksum;

/// Rows decoded at once where only names are read.
const NAMES_ROWS_MAX: usize = 8192;

/// Whose a row is: the names in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) offset: u64,
    pub(crate) user: Option<&'a str>,
    pub(crate) visitor: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// The names of a served list, which tells of its shopper by one key.
    pub(crate) fn of_served(offset: u64, shopper: Option<&'a str>, session: Option<&'a str>) -> Self {
        let named = Self { offset, session, ..Self::default() };
        match shopper.and_then(|key| key.split_once(':')) {
            Some(("u", user)) => Self { user: Some(user), ..named },
            Some(("v", visitor)) => Self { visitor: Some(visitor), ..named },
            Some(("s", session)) => Self { session: Some(session), ..named },
            _ => named,
        }
    }
}

impl Warehouse {
    /// Opens a file, and checks its checksum the first time.
    fn open_file(&self, file: &SealedFile) -> Result<File, StoreError> {
        if file.schema > SCHEMA {
            return Err(StoreError::Newer { path: file.path.as_str().into(), found: file.schema, known: SCHEMA });
        }
        let opened = self.files.open_file(&file.path, file.bytes)?;
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is not held while a file is read through: readers of other files would wait for it.
        if !checked().contains(&file.path) {
            let failed = |error| StoreError::io(&file.path, error);
            let found = opened.try_clone().and_then(checksum).map_err(failed)?;
            if found != file.blake3 {
                return Err(damaged(file, "its checksum does not fit"));
            }
            checked().insert(file.path.clone());
        }
        Ok(opened)
    }

    /// The rows of a file from the row group on that holds `from`, in batches of `rows`.
    pub(super) fn open_rows(&self, file: &SealedFile, from: u64, rows: usize) -> Result<ParquetRecordBatchReader, StoreError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(self.open_file(file)?).map_err(|error| damaged(file, error))?;
        if builder.schema().fields() != file.table.schema().fields() {
            return Err(damaged(file, "its columns are others"));
        }
        let groups = builder.metadata().row_groups();
        let first = groups.iter().position(|group| last_offset(group).is_none_or(|last| last >= from)).unwrap_or(groups.len());
        let wanted = (first..groups.len()).collect();
        builder.with_row_groups(wanted).with_batch_size(rows).build().map_err(|error| damaged(file, error))
    }

    /// Tells the names in each row of a file of events or served lists.
    pub(crate) fn names(&self, file: &SealedFile, mut tell: impl FnMut(Named<'_>)) -> Result<(), StoreError> {
        let wanted: &[&str] = match file.table {
            Table::Events => &["offset", "user", "visitor", "session"],
            Table::Served => &["offset", "shopper", "session"],
            Table::Erasures | Table::Records => return Ok(()),
        };
        self.columns(file, wanted, |columns, rows| {
            let offsets = columns.numbers::<Int64Type>("offset")?;
            let sessions = columns.text("session")?;
            let [users, visitors] = match file.table {
                Table::Served => [columns.text("shopper")?; 2],
                _ => [columns.text("user")?, columns.text("visitor")?],
            };
            for row in 0..rows {
                let offset = offsets.value(row) as u64;
                let [user, visitor, session] = [users, visitors, sessions].map(|texts| texts.is_valid(row).then(|| texts.value(row)));
                tell(match file.table {
                    Table::Served => Named::of_served(offset, user, session),
                    _ => Named { offset, user, visitor, session },
                });
            }
            Ok(())
        })
    }

    /// Tells the ids of the events of a file, with their offsets.
    pub(crate) fn ids(&self, file: &SealedFile, mut tell: impl FnMut(u64, &str)) -> Result<(), StoreError> {
        self.columns(file, &["offset", "id"], |columns, rows| {
            let (offsets, ids) = (columns.numbers::<Int64Type>("offset")?, columns.text("id")?);
            (0..rows).for_each(|row| tell(offsets.value(row) as u64, ids.value(row)));
            Ok(())
        })
    }

    /// Reads some columns of a file, batch by batch.
    fn columns(
        &self,
        file: &SealedFile,
        wanted: &[&str],
        mut take: impl FnMut(&Columns<'_>, usize) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(self.open_file(file)?).map_err(|error| damaged(file, error))?;
        let roots = wanted.iter().filter_map(|name| builder.schema().index_of(name).ok());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(NAMES_ROWS_MAX).build().map_err(|error| damaged(file, error))?;
        for batch in reader {
            let batch: RecordBatch = batch.map_err(|error| damaged(file, error))?;
            take(&Columns::of_batch(file.table, &batch), batch.num_rows())?;
        }
        Ok(())
    }
}

/// The offset of the last row of a row group, where its statistics tell.
fn last_offset(group: &RowGroupMetaData) -> Option<u64> {
    match group.column(0).statistics() {
        Some(Statistics::Int64(statistics)) => statistics.max_opt().and_then(|last| u64::try_from(*last).ok()),
        _ => None,
    }
}

pub(super) fn damaged(file: &SealedFile, what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{}: {what}", file.path).into())
}
