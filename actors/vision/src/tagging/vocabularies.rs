//! Vocabularies by fingerprint, so that a release finds the one that it was made with: what is configured now, and in a folder what was
//! configured or given before. A file holds the built-in attributes and the shop's own as they were, and a hash of both.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use attributes::{Vocabulary, vocabulary};
use domain::ContentHash;
use store::{StoreError, files};

use super::config::TagConfig;

/// Vocabularies that are kept; those that no release has go first, the oldest before the others.
const KEPT_MAX: usize = 16;
const _: () = assert!(KEPT_MAX > protocol::releases::RELEASES_MAX, "there is always one that can go");
/// Bytes of a file: both texts, a length and a hash.
const FILE_BYTES_MAX: u64 = 2 * vocabulary::FILE_BYTES_MAX as u64 + 4 + 16;
const EXTENSION: &str = "vocabulary";

/// The vocabularies that releases can have.
pub struct Vocabularies {
    dir: PathBuf,
    configured: Arc<Vocabulary>,
    known: Mutex<HashMap<String, Arc<Vocabulary>>>,
}

impl Vocabularies {
    /// Reads what is configured, the built-in vocabulary with the shop's own file laid over it, and keeps it in `dir`.
    ///
    /// # Errors
    /// The shop's own file cannot be read, with everything that is wrong in it; or the folder cannot be written to.
    pub fn open(dir: &Path, config: &TagConfig) -> io::Result<Self> {
        let file = &config.vocabulary_file;
        let name = file.display().to_string();
        let invalid = |detail: String| io::Error::new(io::ErrorKind::InvalidData, format!("the vocabulary {name}: {detail}"));
        let own = if file.as_os_str().is_empty() {
            String::new()
        } else {
            fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?
        };
        Self::of(dir, vocabulary::COMPILED_IN, &own).map_err(invalid)
    }

    /// With these texts as what is configured.
    pub(crate) fn of(dir: &Path, built_in: &str, own: &str) -> Result<Self, String> {
        let configured = Arc::new(parse(built_in, own)?);
        let known = Mutex::new(HashMap::from([(configured.fingerprint().to_owned(), Arc::clone(&configured))]));
        let vocabularies = Self { dir: dir.to_owned(), configured, known };
        vocabularies.write(vocabularies.configured(), built_in, own).map_err(|error| error.to_string())?;
        Ok(vocabularies)
    }

    /// Fingerprint of what is configured.
    pub fn configured(&self) -> &str {
        self.configured.fingerprint()
    }

    /// Keeps the built-in vocabulary with a shop's own attributes (TOML) laid over it; the fingerprint under which it is found from now
    /// on, also after a restart. `used` are those of the releases. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with the text, or what the disk said.
    pub(crate) fn keep(&self, own: &str, used: &BTreeSet<String>) -> Result<String, Refused> {
        let vocabulary = parse(vocabulary::COMPILED_IN, own).map_err(Refused::Text)?;
        let fingerprint = vocabulary.fingerprint().to_owned();
        self.write(&fingerprint, vocabulary::COMPILED_IN, own).map_err(Refused::Disk)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint.clone(), Arc::new(vocabulary));
        let newest = fingerprint.clone();
        self.prune(&used.iter().cloned().chain([newest]).collect());
        Ok(fingerprint)
    }

    /// The vocabulary of this fingerprint. In the place of one that is lost stands what is configured.
    pub(crate) fn get(&self, fingerprint: &str) -> Arc<Vocabulary> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vocabulary) = known.get(fingerprint) {
            return Arc::clone(vocabulary);
        }
        let found = self.read(fingerprint).unwrap_or_else(|error| {
            tracing::error!(error, fingerprint, "a release's vocabulary cannot be read: the configured one stands in its place");
            Arc::clone(&self.configured)
        });
        known.insert(fingerprint.to_owned(), Arc::clone(&found));
        found
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join(fingerprint).with_extension(EXTENSION)
    }

    /// There whole or not at all.
    fn write(&self, fingerprint: &str, built_in: &str, own: &str) -> Result<(), StoreError> {
        if self.read(fingerprint).is_ok() {
            return Ok(());
        }
        files::create_dir(&self.dir)?;
        let path = self.path(fingerprint);
        let mut bytes = (built_in.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(built_in.as_bytes());
        bytes.extend_from_slice(own.as_bytes());
        bytes.extend_from_slice(&ContentHash::of(&bytes).0);
        files::publish(&path, |file| file.write_all(&bytes).map_err(|error| StoreError::io(path.display(), error))).map(drop)
    }

    fn read(&self, fingerprint: &str) -> Result<Arc<Vocabulary>, String> {
        if fingerprint.is_empty() || !fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("a fingerprint has letters and digits".to_owned());
        }
        let path = self.path(fingerprint);
        let said = |error: io::Error| error.to_string();
        if fs::metadata(&path).map_err(said)?.len() > FILE_BYTES_MAX {
            return Err("it is too long".to_owned());
        }
        let bytes = fs::read(&path).map_err(said)?;
        let (texts, hash) = bytes.split_last_chunk::<16>().ok_or("it breaks off")?;
        if ContentHash::of(texts).0 != *hash {
            return Err("it is damaged".to_owned());
        }
        let (length, texts) = texts.split_first_chunk::<4>().ok_or("it breaks off")?;
        let texts = std::str::from_utf8(texts).map_err(|error| error.to_string())?;
        let (built_in, own) = texts.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("it breaks off")?;
        parse(built_in, own).map(Arc::new)
    }

    /// Removes what is too much of what no release has.
    pub(crate) fn prune(&self, used: &BTreeSet<String>) {
        let mut all: Vec<(SystemTime, PathBuf, String)> = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let at = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                all.push((at, path, name));
            }
        }
        let surplus = all.len().saturating_sub(KEPT_MAX);
        all.sort();
        let can_go = |name: &str| name != self.configured() && !used.contains(name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, path, name) in all.into_iter().filter(|(_, _, name)| can_go(name)).take(surplus) {
            known.remove(&name);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "a vocabulary that no release has is left on disk");
            }
        }
    }
}

/// Why a vocabulary is not kept.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What is wrong with it.
    Text(String),
    /// The disk.
    Disk(StoreError),
}

fn parse(built_in: &str, own: &str) -> Result<Vocabulary, String> {
    let vocabulary = Vocabulary::parse(built_in, "attributes.toml").map_err(|problems| problems.to_string())?;
    if own.trim().is_empty() { Ok(vocabulary) } else { vocabulary.extended(own, "vocabulary").map_err(|problems| problems.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(number: usize) -> String {
        format!("[[attribute]]\nname = \"own_{number}\"\ntaught_by = [\"own\"]\n")
    }

    #[test]
    fn a_vocabulary_is_found_by_its_fingerprint_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |text: &str| Vocabularies::of(folder.path(), vocabulary::COMPILED_IN, text).expect("a vocabulary");
        let first = open("");
        assert_eq!(first.configured(), Vocabulary::compiled_in().fingerprint());
        let kept = first.keep(&own(1), &BTreeSet::new()).expect("kept");
        assert!(kept != first.configured() && first.get(&kept).attribute("own_1").is_some());
        let second = open(&own(2));
        assert!(second.get(&kept).attribute("own_1").is_some() && second.get(&kept).attribute("own_2").is_none());
        assert_eq!(second.get(first.configured()).fingerprint(), first.configured());
        let same = second.keep(&format!("# a note\n{}", own(1)), &BTreeSet::new()).expect("kept");
        assert_eq!(same, kept, "what it says counts, not how it is written");
    }

    #[test]
    fn nonsense_is_refused_and_what_is_lost_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let vocabularies = Vocabularies::of(folder.path(), vocabulary::COMPILED_IN, "").expect("a vocabulary");
        let refused = vocabularies.keep("[[attribute]]\nname = \"No Name\"\n", &BTreeSet::new());
        assert!(matches!(&refused, Err(Refused::Text(text)) if text.contains("vocabulary:2: attribute.name")), "{refused:?}");
        let kept = vocabularies.keep(&own(1), &BTreeSet::new()).expect("kept");
        let path = vocabularies.path(&kept);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[9] ^= 1;
        fs::write(&path, bytes).expect("written");
        let again = Vocabularies::of(folder.path(), vocabulary::COMPILED_IN, "").expect("a vocabulary");
        for lost in [kept.as_str(), "nowhere", "", "../../x"] {
            assert_eq!(again.get(lost).fingerprint(), again.configured(), "{lost}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_a_release_has_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let vocabularies = Vocabularies::of(folder.path(), vocabulary::COMPILED_IN, "").expect("a vocabulary");
        let used = BTreeSet::from([vocabularies.keep(&own(0), &BTreeSet::new()).expect("kept")]);
        for number in 1..40 {
            let kept = vocabularies.keep(&own(number), &used).expect("kept");
            assert!(vocabularies.read(&kept).is_ok(), "{number}");
            assert!(fs::read_dir(folder.path()).expect("readable").count() <= KEPT_MAX, "{number}");
        }
        assert!(used.iter().all(|name| vocabularies.read(name).is_ok()) && vocabularies.read(vocabularies.configured()).is_ok());
    }
}
