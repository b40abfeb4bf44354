//! A model's file of weights, mapped: what is read of it is brought in page by page and given back to the system as soon as it has
//! been copied, so that the file is never in memory as a whole.

use memmap2::{Mmap, UncheckedAdvice};
use shaders::plan::Bytes;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The bytes of one file. Clones are the same file.
///
/// Tables of words stay mapped while a model is in memory. A model's files are therefore replaced only by giving another file
/// their name, as [`crate::packages`] does after it has compared the hash: the mapping keeps the file that it was made of. One that is
/// cut short in its place takes the process with it when a missing page is touched.
#[derive(Clone)]
pub struct WeightFile(Arc<Content>);

enum Content {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        match self {
            Content::Mapped(map) => map,
            Content::Held(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for WeightFile {
    fn from(bytes: Vec<u8>) -> WeightFile {
        WeightFile(Arc::new(Content::Held(bytes)))
    }
}

impl std::fmt::Debug for WeightFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a file of {} bytes", self.bytes().len())
    }
}

impl WeightFile {
    /// Maps a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<WeightFile> {
        WeightFile::of(&File::open(path)?)
    }

    /// Maps a file that is open.
    #[allow(unsafe_code, reason = "mmap")]
    pub(super) fn of(file: &File) -> std::io::Result<WeightFile> {
        if file.metadata()?.len() == 0 {
            return Ok(Vec::new().into());
        }
        // SAFETY: the files of an installed model are never written again once they have their name, see the type's text.
        let map = unsafe { Mmap::map(file) }?;
        Ok(WeightFile(Arc::new(Content::Mapped(map))))
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }

    /// The same bytes, for a plan that reads a part of them while it runs.
    pub(super) fn shared(&self) -> Bytes {
        self.0.clone()
    }

    /// Gives the pages of a range back, those at its edges included: they are read again when they are touched.
    #[allow(unsafe_code, reason = "advice that is destructive for other kinds of mappings")]
    pub(super) fn forget(&self, range: Range<usize>) {
        if let Content::Mapped(map) = &*self.0 {
            // SAFETY: the mapping is of a file and never written to, so that a page that is touched again holds what it held. Where
            // the system refuses, the pages stay.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
    }

    /// Gives all pages back.
    pub(super) fn forget_all(&self) {
        self.forget(0..self.bytes().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_stays_what_it_was_when_another_takes_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("w"), folder.path().join("other"));
        let first: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        std::fs::write(&path, &first).expect("written");
        std::fs::write(&other, b"short").expect("written");
        let file = WeightFile::open(&path).expect("mapped");
        assert_eq!(file.bytes(), first);
        std::fs::rename(&other, &path).expect("renamed");
        file.forget(5000..90_000);
        assert_eq!(file.bytes(), first);
        file.forget_all();
        assert_eq!(file.bytes(), first);
        assert_eq!(WeightFile::open(&path).expect("mapped").bytes(), b"short");
    }

    #[test]
    fn empty_and_missing_files() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("empty"), b"").expect("written");
        assert!(WeightFile::open(&folder.path().join("empty")).expect("opened").bytes().is_empty());
        assert!(WeightFile::open(&folder.path().join("none")).is_err());
        let held = WeightFile::from(vec![1, 2, 3]);
        held.forget_all();
        assert_eq!(held.bytes(), [1, 2, 3]);
    }
}
