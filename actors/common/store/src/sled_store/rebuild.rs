//! A store made anew from an export: the way out when sled does not open or verify, and the way to give disk space back,
//! which sled never does by itself.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{SledConfig, SledStore};
use crate::files;
use crate::store::StoreError;
use crate::verified_export::VerifiedExport;

impl SledStore {
    /// Builds a store from the export (an empty one without), moves what is in `dir` aside, and takes its place. Gives the
    /// new store and where the old one lies. The consumers' offsets come out of the export with their effects, so each goes
    /// on in the journal by itself; without an export the journal has to start at 0. Until the new store is complete the
    /// old one is not touched.
    pub fn rebuild(dir: &Path, config: SledConfig, export: Option<&VerifiedExport>) -> Result<(Self, PathBuf), StoreError> {
        let failed = |error| StoreError::io(dir.display(), error);
        let fresh = beside(dir, "rebuilding");
        match fs::remove_dir_all(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let store = Self::open(&fresh, config.clone())?;
        export.map(|export| export.restore(&store)).transpose()?;
        drop(store);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let old = beside(dir, &format!("replaced-{now_ms}"));
        fs::rename(dir, &old).map_err(failed)?;
        fs::rename(&fresh, dir).map_err(failed)?;
        dir.parent().map_or(Ok(()), files::sync_dir).map_err(failed)?;
        Ok((Self::open(dir, config)?, old))
    }
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(suffix);
    dir.with_file_name(name)
}
