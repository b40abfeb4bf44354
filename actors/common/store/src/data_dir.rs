//! The data folder: one process at a time, a format version, and a folder for each kind of data.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::files;
use crate::store::StoreError;

/// The version of everything in the data folder. A change that older programs cannot read raises it.
pub const FORMAT_VERSION: u32 = 1;

/// An open data folder, locked for as long as this lives. Keep it until the process ends.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

macro_rules! folders {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        const FOLDERS: &[&str] = &[$(stringify!($name)),*];

        impl DataDir {
            $($(#[$doc])*
            pub fn $name(&self) -> PathBuf {
                self.root.join(stringify!($name))
            })*
        }
    };
}

folders! {
    /// The store.
    store,
    /// The journal's segments.
    journal,
    /// The segments of the event log.
    events,
    /// Sealed ranges of the event log, as Parquet files.
    warehouse,
    /// Superman's and Two Face's state, written now and then: can be made anew from the event log.
    recommend,
    /// Vectors as computed.
    vectors,
    /// Thumbnails, by content hash.
    pictures,
    /// The keyword index.
    keywords,
    /// The vector indexes: can be made anew from the vectors.
    spaces,
    /// Uploads that are being received.
    spool,
    /// Files that callers may name.
    inbox,
    /// Models.
    models,
    /// Exports.
    exports,
}

impl DataDir {
    /// Opens or creates the data folder. Refuses one that another process uses, one that a newer program has written, and
    /// one that holds data without saying which version it has.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        files::create_dir(root)?;
        let lock = files::lock(&root.join("LOCK"))?;
        check_format(root)?;
        for folder in FOLDERS {
            files::create_dir(&root.join(folder))?;
        }
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Reads the format version; a new folder is given the present one.
fn check_format(root: &Path) -> Result<(), StoreError> {
    let path = root.join("FORMAT");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return create_format(root, &path),
        Err(error) => return Err(StoreError::io(path.display(), error)),
    };
    match text.trim().parse() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(found) if found > FORMAT_VERSION => {
            Err(StoreError::Newer { path: root.display().to_string().into(), found, known: FORMAT_VERSION })
        }
        _ => Err(StoreError::Damaged(format!("{} states no format version", path.display()).into())),
    }
}

fn create_format(root: &Path, path: &Path) -> Result<(), StoreError> {
    if ["store", "journal"].iter().any(|folder| root.join(folder).exists()) {
        return Err(StoreError::Damaged(format!("{} holds data, but its FORMAT file is missing", root.display()).into()));
    }
    let written = files::publish(path, |file| writeln!(file, "{FORMAT_VERSION}").map_err(|error| StoreError::io(path.display(), error)));
    written.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_gets_its_version_and_its_folders() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().join("deep/data");
        for _ in 0..2 {
            let data = DataDir::open(&root).expect("a data folder");
            assert!(FOLDERS.iter().all(|folder| root.join(folder).is_dir()));
            assert_eq!((data.root(), data.keywords()), (root.as_path(), root.join("keywords")));
            assert_eq!(fs::read_to_string(root.join("FORMAT")).ok(), Some(format!("{FORMAT_VERSION}\n")));
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let held = DataDir::open(dir.path()).expect("a data folder");
        let refused = DataDir::open(dir.path()).expect_err("it is locked");
        assert!(refused.to_string().contains("in use by another process"), "{refused}");
        drop(held);
        assert!(DataDir::open(dir.path()).is_ok());
    }

    #[test]
    fn other_versions_are_refused_with_a_reason() {
        let cases = [("2\n", "version 2"), ("999999", "version 999999"), ("0", "states no"), ("", "states no"), ("one", "states no")];
        for (text, reason) in cases {
            let dir = tempfile::tempdir().expect("a temporary folder");
            fs::write(dir.path().join("FORMAT"), text).expect("a written file");
            let refused = DataDir::open(dir.path()).expect_err("another version");
            assert!(refused.to_string().contains(reason), "{text:?}: {refused}");
            assert!(!dir.path().join("store").exists(), "nothing is touched");
        }
    }

    #[test]
    fn data_without_a_version_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        drop(DataDir::open(dir.path()).expect("a data folder"));
        fs::remove_file(dir.path().join("FORMAT")).expect("a removed file");
        assert!(matches!(DataDir::open(dir.path()), Err(StoreError::Damaged(_))));
    }
}
