//! A follower's state in a file: what it had learned when it stood at an offset, `<name>-<offset>.state`. A file appears whole or not
//! at all; what is in it is the follower's business, checksum included.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::files;
use crate::store::StoreError;

const SUFFIX: &str = ".state";

/// The files of one follower in a folder that it may share with others.
#[derive(Clone, Debug)]
pub struct StateFiles {
    dir: PathBuf,
    name: &'static str,
}

impl StateFiles {
    /// The files of `name` in `dir`; the folder is made when it is not there.
    pub fn new(dir: &Path, name: &'static str) -> Result<Self, StoreError> {
        files::create_dir(dir)?;
        Ok(Self { dir: dir.to_path_buf(), name })
    }

    /// Where the file of an offset lies.
    pub fn path(&self, offset: u64) -> PathBuf {
        self.dir.join(format!("{}-{offset:020}{SUFFIX}", self.name))
    }

    /// The offsets of all files, the newest first; what an interrupted write left is removed.
    pub fn offsets(&self) -> Result<Vec<u64>, StoreError> {
        let failed = |error| StoreError::io(self.dir.display(), error);
        let mut offsets: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-')) else { continue };
            if rest.ends_with(files::TEMPORARY) {
                fs::remove_file(entry.path()).map_err(failed)?;
            } else if let Some(offset) = rest.strip_suffix(SUFFIX).and_then(|offset| offset.parse().ok()) {
                offsets.push(offset);
            }
        }
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        Ok(offsets)
    }

    /// Opens the file of an offset.
    pub fn open(&self, offset: u64) -> Result<File, StoreError> {
        let path = self.path(offset);
        File::open(&path).map_err(|error| StoreError::io(path.display(), error))
    }

    /// Writes the state of an offset; durable when it returns.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(offset);
        let written = files::publish(&path, |file| file.write_all(bytes).map_err(|error| StoreError::io(path.display(), error)));
        written.map(|_| ())
    }

    /// Removes every file but those of these offsets.
    pub fn keep(&self, kept: &[u64]) -> Result<(), StoreError> {
        for offset in self.offsets()?.into_iter().filter(|offset| !kept.contains(offset)) {
            let path = self.path(offset);
            fs::remove_file(&path).map_err(|error| StoreError::io(path.display(), error))?;
        }
        files::sync_dir(&self.dir).map_err(|error| StoreError::io(self.dir.display(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_newest_first_and_rubbish_is_swept() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = StateFiles::new(dir.path(), "superman").expect("a folder");
        let other = StateFiles::new(dir.path(), "superman-two").expect("a folder");
        for offset in [3, 100, 20] {
            files.write(offset, b"state").expect("written");
        }
        other.write(7, b"other").expect("written");
        fs::write(dir.path().join("superman-5.state.tmp"), b"half").expect("written");
        assert_eq!(files.offsets().expect("readable"), [100, 20, 3]);
        assert!(!dir.path().join("superman-5.state.tmp").exists());
        files.keep(&[100]).expect("removed");
        assert_eq!((files.offsets().expect("readable"), other.offsets().expect("readable")), (vec![100], vec![7]));
        assert_eq!(fs::read(files.path(100)).expect("readable"), b"state");
    }
}
