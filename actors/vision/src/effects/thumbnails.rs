//! Scaled-down pictures as files named by the content that they were made from: `<2 hex digits>/<32 hex digits>.jpg`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use domain::ContentHash;

/// The folder of thumbnails.
#[derive(Clone, Debug)]
pub(crate) struct Thumbnails {
    folder: PathBuf,
}

impl Thumbnails {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(crate) fn contains(&self, content: ContentHash) -> bool {
        self.path(content).is_file()
    }

    pub(crate) fn read(&self, content: ContentHash) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(content)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Keeps a thumbnail: there whole, or not at all.
    pub(crate) fn write(&self, content: ContentHash, jpeg: &[u8]) -> io::Result<()> {
        let path = self.path(content);
        let folder = path.parent().unwrap_or(&self.folder);
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            File::open(&self.folder)?.sync_all()?;
        }
        let mut temporary = tempfile::Builder::new().prefix(".thumbnail-").tempfile_in(folder)?;
        temporary.write_all(jpeg)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn path(&self, content: ContentHash) -> PathBuf {
        let name = content.to_hex();
        self.folder.join(&name[..2]).join(format!("{name}.jpg"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_is_kept_by_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let thumbnails = Thumbnails::open(folder.path()).expect("opened");
        let content = ContentHash([0xab; 16]);
        assert!(!thumbnails.contains(content));
        assert_eq!(thumbnails.read(content).expect("read"), None);
        thumbnails.write(content, b"one").expect("written");
        thumbnails.write(content, b"two").expect("written again");
        assert!(thumbnails.contains(content));
        assert_eq!(thumbnails.read(content).expect("read"), Some(b"two".to_vec()));
        let files = fs::read_dir(folder.path().join("ab")).expect("the folder").count();
        assert_eq!(files, 1, "no temporary file is left");
    }
}
