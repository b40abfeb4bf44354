//! Sealed ranges of the log, as Parquet files beside a catalog that names them.
//!
//! A file counts once the catalog names it, and the catalog changes by one rename: a range is in the journal, or in the files, or in
//! both, whatever is interrupted where. Files that the catalog does not name are rubbish of an interruption and are removed.

mod catalog;
mod cursor;
mod day;
mod decode;
mod encode;
mod files;
mod rewrite;
mod scan;
mod schema;
mod seal;
mod write;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use store::{StoreError, TrimProof};

pub use self::catalog::SealedFile;
use self::catalog::{CATALOG, Catalog};
use self::cursor::Cursor;
pub(crate) use self::encode::{Content, Row};
use self::files::Files;
pub(crate) use self::scan::Named;
pub use self::schema::{Column, SCHEMA, Table, columns};
pub use self::seal::SealReport;
use crate::Config;

/// The warehouse of one log. Reads go on while one thread seals or rewrites.
pub(crate) struct Warehouse {
    files: Files,
    catalog: RwLock<Arc<Catalog>>,
    cursors: Mutex<Vec<Cursor>>,
    /// Files whose checksum this process has found right.
    checked: Mutex<HashSet<String>>,
    /// One sealing or rewriting at a time.
    work: Mutex<()>,
    /// There may be files that the catalog does not name.
    is_littered: AtomicBool,
    /// The catalog on disk may be one that this process does not follow, and not durably so.
    is_in_doubt: AtomicBool,
    /// How many steps are done before the next one fails.
    #[cfg(test)]
    pub(crate) steps_left: Mutex<Option<usize>>,
}

/// What the files hold need not stand in the journal.
pub(crate) struct Sealed(pub(crate) u64);

impl TrimProof for Sealed {
    fn journal_offset(&self) -> u64 {
        self.0
    }
}

impl Warehouse {
    pub(crate) fn open(dir: &Path, config: &Config) -> Result<Self, StoreError> {
        let (url, endpoint) = (&config.warehouse_url, &config.warehouse_endpoint);
        let mut catalog = Catalog::load(dir)?;
        if catalog.end() > 0 && catalog.url != *url {
            let what = format!("{url:?}, but {} says that the files lie at {:?}", dir.join(CATALOG).display(), catalog.url);
            return Err(StoreError::io("warehouse_url", what));
        }
        (catalog.url, catalog.endpoint) = (url.clone(), endpoint.clone());
        let warehouse = Self::with(Files::open(dir, url, endpoint)?, catalog);
        warehouse.files.create_dirs()?;
        // Looking through another store may take long: that waits for the first work.
        if url.is_empty() {
            warehouse.sweep()?;
        }
        Ok(warehouse)
    }

    /// A warehouse that another process may be writing.
    pub(crate) fn open_for_reading(dir: &Path) -> Result<Self, StoreError> {
        if !dir.is_dir() {
            return Err(StoreError::io(dir.display(), "there is no such folder"));
        }
        let catalog = Catalog::load(dir)?;
        Ok(Self::with(Files::open(dir, &catalog.url, &catalog.endpoint)?, catalog))
    }

    /// Where the files lie: a folder, or an address.
    pub(crate) fn location(&self) -> String {
        let url = self.catalog().url.clone();
        if url.is_empty() { self.files.dir().display().to_string() } else { url }
    }

    /// A warehouse with its files in another store, whatever it is.
    #[cfg(test)]
    pub(crate) fn elsewhere(dir: &Path, store: Arc<dyn object_store::ObjectStore>) -> Result<Self, StoreError> {
        let warehouse = Self::with(Files::elsewhere(dir, store)?, Catalog::load(dir)?);
        warehouse.files.create_dirs()?;
        Ok(warehouse)
    }

    /// A warehouse over these files.
    fn with(files: Files, catalog: Catalog) -> Self {
        Self {
            files,
            catalog: RwLock::new(Arc::new(catalog)),
            cursors: Mutex::default(),
            checked: Mutex::default(),
            work: Mutex::default(),
            is_littered: AtomicBool::new(true),
            is_in_doubt: AtomicBool::new(false),
            #[cfg(test)]
            steps_left: Mutex::default(),
        }
    }

    /// The offset behind the last sealed record.
    pub(crate) fn end(&self) -> u64 {
        self.catalog().end()
    }

    /// Records before this offset must not stand in the journal.
    pub(crate) fn purge_before(&self) -> u64 {
        self.catalog().purge_before
    }

    /// All files, in the order of their ranges.
    pub(crate) fn sealed_files(&self) -> Vec<SealedFile> {
        self.catalog().files().cloned().collect()
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Held by whoever seals or rewrites.
    pub(crate) fn work(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a catalog the one in force, durably. Where it stands on disk after an error, a power cut may leave either: then nothing is
    /// written or removed any more.
    fn commit(&self, catalog: Catalog) -> Result<(), StoreError> {
        self.step("the catalog changes")?;
        let published = self.files.publish(CATALOG, &catalog.to_bytes()?).and_then(|()| self.step("the catalog's change is durable"));
        if let Err(error) = published {
            let is_old = Catalog::load(self.files.dir()).is_ok_and(|found| found != catalog);
            self.is_in_doubt.store(!is_old, Ordering::Relaxed);
            return Err(error);
        }
        metrics::gauge!("gotham_events_sealed_offset").set(catalog.end() as f64);
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        Ok(())
    }

    /// Removes what an interruption has left, and what a rewriting has replaced and could not remove. For whoever holds
    /// [`Warehouse::work`], before anything else.
    pub(crate) fn sweep(&self) -> Result<(), StoreError> {
        if self.is_in_doubt.load(Ordering::Relaxed) {
            return Err(StoreError::io(
                CATALOG,
                "it was replaced and perhaps not durably: nothing is sealed or forgotten before a restart",
            ));
        }
        if !self.is_littered.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.files.clear_staging()?;
        let catalog = self.catalog();
        let named: HashSet<&str> = catalog.files().map(|file| file.path.as_str()).collect();
        for name in self.files.list()?.iter().filter(|name| !named.contains(name.as_str())) {
            self.step("an unnamed file is removed")?;
            self.files.remove(name)?;
            tracing::warn!(name, "removed a file of an interrupted sealing or rewriting");
        }
        self.is_littered.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A place between two steps, where tests interrupt.
    fn step(&self, what: &str) -> Result<(), StoreError> {
        #[cfg(test)]
        if let Some(left) = self.steps_left.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *left = left.checked_sub(1).ok_or_else(|| StoreError::io("interrupted before", what))?;
        }
        let _ = what;
        Ok(())
    }
}
