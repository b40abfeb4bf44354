//! The catalog: which Parquet files hold which offsets. What it does not name is no part of the log.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::StoreError;

use super::schema::Table;

/// The catalog's file name.
pub(crate) const CATALOG: &str = "catalog.json";
/// The version of the catalog's own form.
const VERSION: u32 = 1;

/// All sealed ranges. They follow each other without a gap from offset 0, and each is held whole by its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    version: u32,
    /// Where the files lie: as `Config::warehouse_url`; empty for this folder.
    pub(crate) url: String,
    /// As `Config::warehouse_endpoint`.
    pub(crate) endpoint: String,
    /// How many erasures have rewritten files: part of the names of the files that the next one writes.
    pub(crate) rewrites: u64,
    /// Records before this offset must not stand in the journal any more.
    pub(crate) purge_before: u64,
    pub(crate) seals: Vec<Seal>,
}

/// A sealed range of offsets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seal {
    pub(crate) first: u64,
    /// Behind its last offset.
    pub(crate) end: u64,
    pub(crate) files: Vec<SealedFile>,
}

/// A Parquet file of the warehouse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedFile {
    /// Its name below the warehouse's folder: `day=2026-11-26/events-….parquet`.
    pub path: String,
    /// What its rows are.
    pub table: Table,
    /// The day of its rows, UTC.
    pub day: String,
    /// The offset of its first row.
    pub first: u64,
    /// The offset of its last row; offsets between belong to other files of the range too.
    pub last: u64,
    /// Rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: String,
    /// The version of its columns.
    pub schema: u32,
    /// Erasures in it that are not carried out yet.
    pub pending: u64,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { version: VERSION, url: String::new(), endpoint: String::new(), rewrites: 0, purge_before: 0, seals: Vec::new() }
    }
}

impl Catalog {
    /// Reads the catalog of a folder; an empty one where there is none yet.
    pub(crate) fn load(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(CATALOG);
        let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", path.display()).into());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(StoreError::io(path.display(), error)),
        };
        let catalog: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if catalog.version > VERSION {
            let path = path.display().to_string().into();
            return Err(StoreError::Newer { path, found: catalog.version, known: VERSION });
        }
        let mut next = 0;
        for seal in &catalog.seals {
            let rows: u64 = seal.files.iter().map(|file| file.rows).sum();
            if seal.first != next || seal.end <= seal.first || rows != seal.end - seal.first {
                return Err(damaged(format!("the range {}..{} with {rows} rows does not follow {next}", seal.first, seal.end)));
            }
            next = seal.end;
        }
        Ok(catalog)
    }

    /// The catalog as it is stored.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::io(CATALOG, error))
    }

    /// The offset behind the last sealed record.
    pub(crate) fn end(&self) -> u64 {
        self.seals.last().map_or(0, |seal| seal.end)
    }

    /// The sealed range that holds an offset.
    pub(crate) fn seal_of(&self, offset: u64) -> Option<&Seal> {
        self.seals.get(self.seals.partition_point(|seal| seal.end <= offset))
    }

    /// All files, in the order of their ranges.
    pub(crate) fn files(&self) -> impl Iterator<Item = &SealedFile> {
        self.seals.iter().flat_map(|seal| &seal.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(first: u64, end: u64) -> Seal {
        let file = SealedFile {
            path: format!("day=1970-01-01/events-{first}.parquet"),
            table: Table::Events,
            day: "1970-01-01".into(),
            first,
            last: end.saturating_sub(1),
            rows: end.saturating_sub(first),
            bytes: 1,
            blake3: String::new(),
            schema: 1,
            pending: 0,
        };
        Seal { first, end, files: vec![file] }
    }

    #[test]
    fn a_catalog_comes_back_and_one_with_a_hole_or_a_double_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |seals: Vec<Seal>| {
            let catalog = Catalog { seals, ..Catalog::default() };
            fs::write(dir.path().join(CATALOG), catalog.to_bytes().expect("bytes")).expect("written");
            Catalog::load(dir.path())
        };
        assert_eq!(Catalog::load(dir.path()).ok(), Some(Catalog::default()));
        let catalog = put(vec![seal(0, 3), seal(3, 7)]).expect("a catalog");
        assert_eq!((catalog.end(), catalog.seal_of(3).map(|seal| seal.first), catalog.seal_of(7)), (7, Some(3), None));
        for wrong in [vec![seal(1, 3)], vec![seal(0, 3), seal(4, 7)], vec![seal(0, 3), seal(2, 7)], vec![seal(0, 0)]] {
            assert!(matches!(put(wrong), Err(StoreError::Damaged(_))));
        }
        fs::write(dir.path().join(CATALOG), r#"{"version":2,"url":"","endpoint":"","rewrites":0,"purge_before":0,"seals":[]}"#)
            .expect("written");
        assert!(matches!(Catalog::load(dir.path()), Err(StoreError::Newer { found: 2, .. })));
    }
}
