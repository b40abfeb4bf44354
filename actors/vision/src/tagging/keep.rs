//! What was learned, in files for each image model, vocabulary and precision: `teacher-<of these>.state`, a length, the mark's sealed record,
//! the state; and `words-<of these>.state`, directions of words as checked on labelled products.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use attributes::{Taught, Vocabulary, ZeroShot};
use domain::ContentHash;
use store::{Record as _, StoreError, files};

use super::records::TeacherMark;
use super::shared::{Making, Shared, Teacher};
use super::words::Words;

/// Files of a kind that are kept: a release that comes back finds what was learned for it.
const FILES_MAX: usize = 8;
/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// First parts of files' names.
const TEACHER: &str = "teacher-";
const WORDS: &str = "words-";

fn path(shared: &Shared, kind: &str, making: &Making) -> PathBuf {
    let Making { model, vocabulary, precision } = making;
    let name = ContentHash::of(format!("{model}/{vocabulary}/{precision}").as_bytes());
    shared.dir.join(format!("{kind}{}.state", name.to_hex()))
}

/// Writes directions of words: there whole or not at all.
pub(crate) fn save_words(shared: &Shared, making: &Making, words: &Words) -> Result<(), StoreError> {
    files::create_dir(&shared.dir)?;
    let path = path(shared, WORDS, making);
    let failed = |error: std::io::Error| StoreError::Io(format!("{}: {error}", path.display()).into());
    files::publish(&path, |file| file.write_all(&words.zero_shot.save()).map_err(failed))?;
    prune(shared, WORDS);
    Ok(())
}

/// The directions of the vocabulary's words in a model's space, if they are there and whole.
pub(crate) fn load_words(shared: &Shared, making: &Making) -> Option<Words> {
    let bytes = read(&path(shared, WORDS, making))?;
    let zero_shot =
        ZeroShot::load(&bytes).inspect_err(|error| tracing::warn!(%error, "words are damaged; they are asked for again")).ok()?;
    Some(Words::new(zero_shot))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.len() > FILE_BYTES_MAX {
        return None;
    }
    fs::read(path).inspect_err(|error| tracing::warn!(%error, "what was learned cannot be read")).ok()
}

/// Writes what was learned: there whole or not at all.
pub(crate) fn save(shared: &Shared, making: &Making, mark: &TeacherMark, state: &[u8]) -> Result<(), StoreError> {
    files::create_dir(&shared.dir)?;
    let path = path(shared, TEACHER, making);
    let failed = |error: &dyn std::fmt::Display| StoreError::Io(format!("{}: {error}", path.display()).into());
    let sealed = mark.seal(TeacherMark::KEY).map_err(|error| failed(&error))?;
    files::publish(&path, |file| {
        let parts = [&(sealed.len() as u32).to_le_bytes()[..], &sealed, state];
        parts.into_iter().try_for_each(|part| file.write_all(part)).map_err(|error| failed(&error))
    })?;
    prune(shared, TEACHER);
    Ok(())
}

/// What was learned so, if it is there and whole.
pub(crate) fn load(shared: &Shared, making: &Making, vocabulary: &Vocabulary) -> Option<Arc<Teacher>> {
    let bytes = read(&path(shared, TEACHER, making))?;
    match parse(&bytes) {
        Ok((mark, taught)) if mark.model == making.model && mark.vocabulary == vocabulary.fingerprint() => {
            tracing::info!(rows = mark.rows, attributes = mark.lessons.len(), "what was learned before is in force");
            Some(Arc::new(Teacher { taught, mark }))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(error, "what was learned is damaged; it is learned again");
            None
        }
    }
}

fn parse(bytes: &[u8]) -> Result<(TeacherMark, Taught), String> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("it breaks off")?;
    let (sealed, state) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("it breaks off")?;
    let mark = TeacherMark::unseal(TeacherMark::KEY, sealed).map_err(|error| error.to_string())?;
    if ContentHash::of(state).0 != mark.state {
        return Err("the state is another one".to_owned());
    }
    let taught = Taught::load(state).map_err(|error| error.to_string())?;
    Ok((mark, taught))
}

/// Removes all but the newest files of a kind.
fn prune(shared: &Shared, kind: &str) {
    let Ok(entries) = fs::read_dir(&shared.dir) else { return };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_of_kind = entry.file_name().to_str().is_some_and(|name| name.starts_with(kind) && name.ends_with(".state"));
            Some((entry.metadata().ok()?.modified().ok()?, entry.path())).filter(|_| is_of_kind)
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    for (_, path) in found.into_iter().skip(FILES_MAX) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, "an old state of the teacher stays");
        }
    }
}
