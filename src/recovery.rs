//! Opening the store, and building it anew where it cannot be read: from the newest export that checks out and the journal
//! behind it. What lay there is moved aside, never deleted.

use std::path::PathBuf;

use store::{DataDir, Journal, SledConfig, SledStore, StoreError, VerifiedExport};

/// Opens the store of a data folder, rebuilding it if it is damaged.
///
/// # Errors
/// The store's own error when it is in use or newer than this program, or when neither an export nor a whole journal is there
/// to rebuild it from.
pub fn open_store(data: &DataDir, config: SledConfig, journal: &Journal) -> Result<SledStore, StoreError> {
    let error = match SledStore::open(&data.store(), config.clone()) {
        Err(error @ (StoreError::Damaged(_) | StoreError::Io(_))) => error,
        opened => return opened,
    };
    tracing::error!(%error, "the store cannot be read: looking for something to rebuild it from");
    let export = newest_export(data, journal);
    if export.is_none() && journal.start() > 0 {
        return Err(error);
    }
    let (store, replaced) = SledStore::rebuild(&data.store(), config, export.as_ref())?;
    let from = export.map_or_else(|| "the whole journal".to_owned(), |export| export.path().display().to_string());
    tracing::error!(from, replaced = %replaced.display(), "the store was rebuilt");
    Ok(store)
}

/// The newest export that checks out and behind which the journal still has every record.
fn newest_export(data: &DataDir, journal: &Journal) -> Option<VerifiedExport> {
    let entries = std::fs::read_dir(data.exports()).ok()?;
    // Their names grow with the journal.
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let sound = paths.iter().rev().filter_map(|path| {
        VerifiedExport::open(path).inspect_err(|error| tracing::warn!(%error, path = %path.display(), "not an export to rebuild from")).ok()
    });
    sound.into_iter().find(|export| (journal.start()..=journal.end()).contains(&export.journal_offset()))
}
