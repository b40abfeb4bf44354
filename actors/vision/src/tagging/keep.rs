//! What was learned, in a file for each image model, vocabulary and precision: `teacher-<model>.state`, a length, the mark's sealed record, the state.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use attributes::{Taught, Vocabulary};
use domain::ContentHash;
use store::{Record as _, StoreError, files};

use super::records::TeacherMark;
use super::shared::{Making, Shared, Teacher};

/// Files that are kept: a release that comes back finds what was learned for it.
const FILES_MAX: usize = 8;
/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

fn path(shared: &Shared, making: &Making) -> PathBuf {
    let Making { model, vocabulary, precision } = making;
    let name = ContentHash::of(format!("{model}/{vocabulary}/{precision}").as_bytes());
    shared.dir.join(format!("teacher-{}.state", name.to_hex()))
}

/// Writes what was learned: there whole or not at all.
pub(crate) fn save(shared: &Shared, making: &Making, mark: &TeacherMark, state: &[u8]) -> Result<(), StoreError> {
    files::create_dir(&shared.dir)?;
    let path = path(shared, making);
    let failed = |error: &dyn std::fmt::Display| StoreError::Io(format!("{}: {error}", path.display()).into());
    let sealed = mark.seal(TeacherMark::KEY).map_err(|error| failed(&error))?;
    files::publish(&path, |file| {
        let parts = [&(sealed.len() as u32).to_le_bytes()[..], &sealed, state];
        parts.into_iter().try_for_each(|part| file.write_all(part)).map_err(|error| failed(&error))
    })?;
    prune(shared);
    Ok(())
}

/// What was learned so, if it is there and whole.
pub(crate) fn load(shared: &Shared, making: &Making, vocabulary: &Vocabulary) -> Option<Arc<Teacher>> {
    let path = path(shared, making);
    let metadata = fs::metadata(&path).ok()?;
    if metadata.len() > FILE_BYTES_MAX {
        return None;
    }
    let bytes = fs::read(&path).inspect_err(|error| tracing::warn!(%error, "what was learned cannot be read")).ok()?;
    match parse(&bytes) {
        Ok((mark, taught)) if mark.model == making.model && mark.vocabulary == vocabulary.fingerprint() => {
            tracing::info!(rows = mark.rows, attributes = mark.lessons.len(), "what was learned before is in force");
            Some(Arc::new(Teacher::new(taught, mark)))
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

/// Removes all but the newest files.
fn prune(shared: &Shared) {
    let Ok(entries) = fs::read_dir(&shared.dir) else { return };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_state = entry.path().extension().is_some_and(|ending| ending == "state");
            Some((entry.metadata().ok()?.modified().ok()?, entry.path())).filter(|_| is_state)
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    for (_, path) in found.into_iter().skip(FILES_MAX) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, "an old state of the teacher stays");
        }
    }
}
