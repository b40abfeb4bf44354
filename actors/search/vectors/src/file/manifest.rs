//! Which segment files live, and which of their rows. Replaced as a whole by rename: the folder is always at one moment.

use serde::{Deserialize, Serialize};

use super::{FileError, Folder, SectionFile};

/// A segment that lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestSegment {
    /// Its file in the folder.
    pub(crate) name: String,
    /// Its rows, alive and dead.
    pub(crate) rows: usize,
    /// One bit a row that is alive, `[rows / 64 rounded up]`.
    #[serde(skip)]
    pub(crate) alive: Vec<u64>,
}

/// The state of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The model that made the vectors.
    pub(crate) fingerprint: String,
    pub(crate) dimensions: usize,
    /// The live segments, oldest first.
    pub(crate) segments: Vec<ManifestSegment>,
}

impl Manifest {
    /// Its file in the folder.
    pub(crate) const NAME: &str = "manifest";

    /// Replaces the folder's manifest.
    pub(crate) fn write(&self, folder: &Folder) -> Result<(), FileError> {
        let path = folder.path_of(Self::NAME);
        let header = serde_json::to_vec(self).map_err(|error| FileError::damaged(&path, error.to_string()))?;
        let bytes: Vec<Vec<u8>> =
            self.segments.iter().map(|segment| segment.alive.iter().flat_map(|word| word.to_le_bytes()).collect()).collect();
        let sections: Vec<(u32, &[u8])> = bytes.iter().enumerate().map(|(index, bytes)| (index as u32, bytes.as_slice())).collect();
        folder.stage(Self::NAME, &header, &sections)?.commit()
    }

    /// The folder's manifest; `None` when it has none.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, FileError> {
        let path = folder.path_of(Self::NAME);
        let file = match SectionFile::open(&path) {
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut manifest: Self =
            serde_json::from_slice(file.header()).map_err(|error| FileError::damaged(&path, format!("header: {error}")))?;
        for (index, segment) in manifest.segments.iter_mut().enumerate() {
            let bytes = file.read(index as u32)?;
            segment.alive = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
            if segment.alive.len() != segment.rows.div_ceil(64) {
                return Err(FileError::damaged(&path, format!("{} has {} words of bits", segment.name, segment.alive.len())));
            }
        }
        Ok(Some(manifest))
    }

    /// Moves a damaged manifest out of the way.
    pub(crate) fn set_aside(folder: &Folder) -> Result<std::path::PathBuf, FileError> {
        folder.set_aside(Self::NAME)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn manifest(rows: usize) -> Manifest {
        let segment = |number: usize| ManifestSegment {
            name: format!("{number}.vectors"),
            rows: rows + number,
            alive: vec![0xA5; (rows + number).div_ceil(64)],
        };
        Manifest { fingerprint: "m".into(), dimensions: 384, segments: (0..3).map(segment).collect() }
    }

    #[test]
    fn a_manifest_comes_back_and_the_newer_one_takes_its_place() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("open");
        assert_eq!(Manifest::read(&folder).expect("no error"), None);
        for rows in [1, 64, 100_000] {
            manifest(rows).write(&folder).expect("written");
            assert_eq!(Manifest::read(&folder).expect("whole"), Some(manifest(rows)));
        }
    }

    #[test]
    fn a_damaged_manifest_is_an_error_wherever_the_bit_flips() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("open");
        manifest(100).write(&folder).expect("written");
        let path = folder.path_of(Manifest::NAME);
        let whole = fs::read(&path).expect("bytes");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).expect("written");
            if let Ok(read) = Manifest::read(&folder) {
                assert_eq!(read, Some(manifest(100)), "a flip at {at} that is not seen changes nothing");
            }
        }
        assert!(Manifest::set_aside(&folder).expect("aside").ends_with("manifest.damaged"));
        assert_eq!(Manifest::read(&folder).expect("no error"), None);
    }
}
