//! File habits that survive a power cut: flush a folder after its entries change, publish by rename, lock by `flock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::store::StoreError;

/// Flushes a folder's entries: a created, renamed or removed file stays so.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Flushes a file's bytes and its length. The feature `no_fsync` leaves it out, to show that the power-cut test would notice.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    if cfg!(feature = "no_fsync") { Ok(()) } else { file.sync_data() }
}

/// Creates a folder, and its parents, so that it stays. One that is there already is flushed all the same: an interruption may have come
/// between.
pub fn create_dir(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|error| StoreError::io(dir.display(), error))?;
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), sync_dir)
        .map_err(|error| StoreError::io(dir.display(), error))
}

/// Writes a file under a temporary name, flushes it, and gives it its name: after a crash it is there whole or not at all.
/// The file that `write` was given is returned, open for reading and writing. After an error the old file is in force, or the new one
/// where only the last step, flushing the folder, failed.
pub fn publish<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T, StoreError>) -> Result<(File, T), StoreError> {
    let failed = |error: io::Error| StoreError::io(path.display(), error);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::io(path.display(), "names no file"));
    };
    let mut temporary = name.to_os_string();
    temporary.push(TEMPORARY);
    let temporary = dir.join(temporary);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary).map_err(failed)?;
    let published = write(&mut file).and_then(|written| {
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        sync_dir(dir).map_err(failed)?;
        Ok(written)
    });
    match published {
        Ok(written) => Ok((file, written)),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// The suffix of files that [`publish`] has not finished; one left by a crash is rubbish.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Takes the exclusive lock on `path`, held until the returned file is dropped or the process ends.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| StoreError::io(path.display(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.display().to_string().into())),
        Err(TryLockError::Error(error)) => Err(StoreError::io(path.display(), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_rubbish() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("file");
        let put = |bytes: &'static [u8], fails: bool| {
            publish(&path, |file| {
                file.write_all(bytes).map_err(|error| StoreError::io("test", error))?;
                if fails { Err(StoreError::Stopped) } else { Ok(()) }
            })
        };
        assert!(put(b"one", false).is_ok());
        assert!(put(b"two", true).is_err());
        assert_eq!(fs::read(&path).ok(), Some(b"one".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).map(Iterator::count).ok(), Some(1));
    }

    #[test]
    fn a_lock_is_exclusive_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("LOCK");
        let held = lock(&path).expect("the first lock");
        assert!(matches!(lock(&path), Err(StoreError::Locked(_))));
        drop(held);
        assert!(lock(&path).is_ok());
    }
}
