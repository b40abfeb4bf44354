//! A file of vectors by content: one for each space and model. Appended to and flushed before anything refers to a vector; a torn
//! tail is cut off, a damaged record is passed over and its content embedded again.
//!
//! Layout, little-endian: a header of 64 bytes (magic 8, version 4, dimensions 4, fingerprint 32 padded with zeros, zeros 12,
//! CRC-32C of all before 4), then records of one size (content hash 16, CRC-32C of hash and vector 4, vector).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use domain::ContentHash;
use protocol::vision::ModelInfo;

const MAGIC: [u8; 8] = *b"GOTHVECT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const FINGERPRINT_BYTES_MAX: usize = 32;
const HASH_BYTES: usize = 16;
const PREFIX_BYTES: usize = HASH_BYTES + 4;
/// More would be no embedding: keeps a damaged header from asking for memory.
const DIMENSIONS_MAX: usize = 65_536;

/// Vectors by content hash, on disk.
#[derive(Debug)]
pub struct VectorFile {
    path: PathBuf,
    file: File,
    dimensions: usize,
    rows: RwLock<HashMap<ContentHash, u32>>,
    end: Mutex<End>,
}

/// Where the next record goes. An append that failed leaves the file in an unknown state: nothing more is written to it.
#[derive(Debug)]
struct End {
    rows: u32,
    failed: Option<String>,
}

impl VectorFile {
    /// Opens the file of a space and model in `folder`, or creates it. Reads it once from end to end.
    pub fn open(folder: &Path, model: &ModelInfo) -> io::Result<Self> {
        let header = header(model)?;
        let path = path_of(folder, model);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut found = [0; HEADER_BYTES];
        let bytes = file.metadata()?.len();
        if bytes < HEADER_BYTES as u64 {
            // New, or its creation broke off.
            file.set_len(0)?;
            io::Write::write_all(&mut file, &header)?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
        } else {
            file.read_exact_at(&mut found, 0)?;
            if found != header {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is no file of these vectors", path.display())));
            }
        }
        let (rows, count) = scan(&mut file, model)?;
        let whole = HEADER_BYTES as u64 + u64::from(count) * record_bytes(model.dimensions) as u64;
        if file.metadata()?.len() > whole {
            tracing::warn!(space = model.space.as_str(), "cut a torn record off the end of the vectors");
            file.set_len(whole)?;
            file.sync_all()?;
        }
        let end = Mutex::new(End { rows: count, failed: None });
        Ok(Self { path, file, dimensions: model.dimensions, rows: RwLock::new(rows), end })
    }

    /// Deletes the file of a space and model; whoever has it open reads on until the end.
    pub fn delete(folder: &Path, model: &ModelInfo) -> io::Result<()> {
        header(model)?;
        std::fs::remove_file(path_of(folder, model))?;
        File::open(folder)?.sync_all()
    }

    /// Vectors that can be read.
    pub fn len(&self) -> usize {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the content has a vector.
    pub fn contains(&self, content: ContentHash) -> bool {
        self.row(content).is_some()
    }

    /// The vector of a content: `[dimensions]`. `None` when it has none, or a damaged one, which then counts as none.
    pub fn get(&self, content: ContentHash) -> io::Result<Option<Arc<[f32]>>> {
        let Some(row) = self.row(content) else { return Ok(None) };
        let size = record_bytes(self.dimensions);
        let mut record = vec![0; size];
        self.file.read_exact_at(&mut record, HEADER_BYTES as u64 + u64::from(row) * size as u64)?;
        if key_of(&record) != Some(content) {
            tracing::warn!(file = %self.path.display(), row, "a vector is damaged and will be made again");
            self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(&content);
            return Ok(None);
        }
        Ok(Some(record[PREFIX_BYTES..].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    /// Adds vectors; when it returns they are on disk. Blocks.
    pub fn append(&self, vectors: &[(ContentHash, Arc<[f32]>)]) -> io::Result<()> {
        if vectors.is_empty() {
            return Ok(());
        }
        let mut records = Vec::with_capacity(vectors.len() * record_bytes(self.dimensions));
        for (content, vector) in vectors {
            if vector.len() != self.dimensions {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} numbers, not {}", vector.len(), self.dimensions)));
            }
            let from = records.len();
            records.extend_from_slice(&content.0);
            records.extend_from_slice(&[0; 4]);
            vector.iter().for_each(|number| records.extend_from_slice(&number.to_le_bytes()));
            let checksum = checksum(&records[from..]);
            records[from + HASH_BYTES..from + PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
        }
        let mut end = self.end();
        if let Some(failure) = &end.failed {
            return Err(io::Error::other(format!("an earlier write failed: {failure}")));
        }
        let written = io::Write::write_all(&mut &self.file, &records).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            end.failed = Some(error.to_string());
            return Err(error);
        }
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (content, _) in vectors {
            rows.insert(*content, end.rows);
            end.rows += 1;
        }
        Ok(())
    }

    fn row(&self, content: ContentHash) -> Option<u32> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).get(&content).copied()
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path_of(folder: &Path, model: &ModelInfo) -> PathBuf {
    folder.join(format!("{}-{}.vec", model.space.as_str(), model.fingerprint))
}

/// Fails for a model whose fingerprint is no plain name.
fn header(model: &ModelInfo) -> io::Result<[u8; HEADER_BYTES]> {
    let name = model.fingerprint.as_bytes();
    if name.is_empty()
        || name.len() > FINGERPRINT_BYTES_MAX
        || !name.iter().all(u8::is_ascii_alphanumeric)
        || model.dimensions > DIMENSIONS_MAX
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a fingerprint is 1 to 32 letters and digits"));
    }
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(model.dimensions as u32).to_le_bytes());
    header[16..16 + name.len()].copy_from_slice(name);
    let checksum = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    Ok(header)
}

/// Every sound record's row, and how many whole rows there are. Rows that do not check out at the very end were being written
/// when the power went: they do not count.
fn scan(file: &mut File, model: &ModelInfo) -> io::Result<(HashMap<ContentHash, u32>, u32)> {
    let size = record_bytes(model.dimensions);
    let total = (file.metadata()?.len() - HEADER_BYTES as u64) / size as u64;
    let total = u32::try_from(total).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "too many vectors"))?;
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut rows, mut sound_end, mut record) = (HashMap::new(), 0, vec![0; size]);
    let mut damaged = 0_u32;
    for row in 0..total {
        reader.read_exact(&mut record)?;
        if let Some(content) = key_of(&record) {
            rows.insert(content, row);
            sound_end = row + 1;
        } else {
            damaged += 1;
        }
    }
    let passed_over = damaged - (total - sound_end);
    if passed_over > 0 {
        tracing::warn!(space = model.space.as_str(), passed_over, "damaged vectors are passed over and made again");
    }
    Ok((rows, sound_end))
}

/// A record's content hash, if the record checks out.
fn key_of(record: &[u8]) -> Option<ContentHash> {
    let stored = record[HASH_BYTES..PREFIX_BYTES].try_into().map(u32::from_le_bytes).ok()?;
    let content = record[..HASH_BYTES].try_into().ok()?;
    (checksum(record) == stored).then_some(ContentHash(content))
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..HASH_BYTES]), &record[PREFIX_BYTES..])
}

const fn record_bytes(dimensions: usize) -> usize {
    PREFIX_BYTES + 4 * dimensions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::vision::Space;

    use super::*;

    fn model(space: Space, dimensions: usize) -> ModelInfo {
        ModelInfo {
            name: "fake".to_owned(),
            space,
            dimensions,
            fingerprint: format!("fake{dimensions}"),
            reads_texts: space == Space::Text,
        }
    }

    const DIMENSIONS: usize = 3;

    fn entry(seed: u8) -> (ContentHash, Arc<[f32]>) {
        (ContentHash([seed; 16]), [f32::from(seed), -1.5, f32::MIN_POSITIVE].into())
    }

    fn open(folder: &Path) -> VectorFile {
        VectorFile::open(folder, &model(Space::Image, DIMENSIONS)).expect("the file opens")
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("image-fake3.vec")
    }

    #[test]
    fn vectors_come_back_also_after_reopening() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = open(folder.path());
        assert!(file.is_empty());
        file.append(&[entry(1), entry(2)]).expect("appended");
        file.append(&[entry(3)]).expect("appended");
        for file in [file, open(folder.path())] {
            assert_eq!(file.len(), 3);
            for seed in 1..=3 {
                assert_eq!(file.get(entry(seed).0).expect("read"), Some(entry(seed).1));
            }
            assert_eq!(file.get(entry(4).0).expect("read"), None);
        }
    }

    #[test]
    fn a_damaged_record_is_passed_over_and_can_be_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        open(folder.path()).append(&[entry(1), entry(2), entry(3)]).expect("appended");
        let mut bytes = std::fs::read(path(folder.path())).expect("the file");
        bytes[HEADER_BYTES + record_bytes(DIMENSIONS) + PREFIX_BYTES] ^= 1;
        std::fs::write(path(folder.path()), &bytes).expect("written");
        let file = open(folder.path());
        assert_eq!((file.len(), file.contains(entry(2).0)), (2, false));
        file.append(&[entry(2)]).expect("appended");
        assert_eq!(open(folder.path()).get(entry(2).0).expect("read"), Some(entry(2).1));
    }

    #[test]
    fn damage_while_it_is_open_shows_when_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = open(folder.path());
        file.append(&[entry(1)]).expect("appended");
        let other = OpenOptions::new().write(true).open(path(folder.path())).expect("the file");
        other.write_all_at(&[0xff], HEADER_BYTES as u64 + PREFIX_BYTES as u64).expect("written");
        assert_eq!(file.get(entry(1).0).expect("read"), None);
        assert!(!file.contains(entry(1).0), "it will be embedded again");
    }

    #[test]
    fn files_of_other_models_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        open(folder.path());
        let mut bytes = std::fs::read(path(folder.path())).expect("the file");
        bytes[12] ^= 1;
        std::fs::write(path(folder.path()), &bytes).expect("written");
        assert!(VectorFile::open(folder.path(), &model(Space::Image, DIMENSIONS)).is_err());
        let nameless = ModelInfo { fingerprint: "../x".into(), ..model(Space::Image, DIMENSIONS) };
        assert!(VectorFile::open(folder.path(), &nameless).is_err());
        let file = VectorFile::open(folder.path(), &model(Space::Image, 4)).expect("another file");
        assert!(file.append(&[entry(1)]).is_err(), "a vector of another length");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whatever_is_cut_off_or_torn_at_the_end_what_stands_before_it_stays(count in 0_u8..6, cut in 0_usize..80, junk in proptest::collection::vec(any::<u8>(), 0..70)) {
            let folder = tempfile::tempdir().expect("a folder");
            let entries: Vec<_> = (0..count).map(entry).collect();
            open(folder.path()).append(&entries).expect("appended");
            let mut bytes = std::fs::read(path(folder.path())).expect("the file");
            bytes.truncate(bytes.len().saturating_sub(cut).max(HEADER_BYTES));
            let whole = (bytes.len() - HEADER_BYTES) / record_bytes(DIMENSIONS);
            bytes.truncate(HEADER_BYTES + whole * record_bytes(DIMENSIONS));
            bytes.extend_from_slice(&junk);
            std::fs::write(path(folder.path()), &bytes).expect("written");
            let file = open(folder.path());
            prop_assert_eq!(file.len(), whole);
            file.append(&[entry(99)]).expect("appended");
            let again = open(folder.path());
            prop_assert_eq!(again.len(), whole + 1);
            prop_assert_eq!(again.get(entry(99).0).expect("read"), Some(entry(99).1));
        }
    }
}
