//! Vectors on their way into the index: checked, given their product's slot, set. Runs on the indexer's thread.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use domain::{ContentHash, ProductId};
use protocol::catalog::CatalogReader;
use protocol::releases::{IndexSettings, ReleaseReader};
use protocol::search::{SearchError, UPSERT_VECTORS_MAX, VectorEntry};
use protocol::vision::{ModelInfo, Space, VisionReader};
use vectors::codes::Metric;
use vectors::file::FileError;
use vectors::index::{Index, IndexError, OWNER_ROWS_MAX, Options};

use crate::config::Config;
use crate::logic::{Slot, unit};
use crate::view::{IndexKey, Live, Shared, SpaceIndex};

/// The most numbers in a vector.
const DIMENSIONS_MAX: usize = vectors::codes::DIMENSION_MAX;
/// Ends the names of folders that are moved aside.
const UNREADABLE: &str = "unreadable";
/// Products that are taken from Nightwing at a time when a space is filled.
const FILL_PAGE: usize = 256;
/// The shape of indexes whose folders name none.
const PLAIN_SHAPE: [u32; 2] = [48, 50_000];

/// The indexes that the releases want, the live one's first, each once.
pub(crate) fn wanted(releases: &dyn ReleaseReader, vision: &dyn VisionReader) -> Vec<(ModelInfo, IndexSettings)> {
    let (ledger, kept) = (releases.ledger(), vision.kept());
    let (live, others): (Vec<_>, Vec<_>) =
        ledger.releases.iter().partition(|release| ledger.commissioner().is_some_and(|live| live.name == release.name));
    let mut all: Vec<(ModelInfo, IndexSettings)> = Vec::new();
    for definition in live.into_iter().chain(others).map(|release| &release.definition) {
        for model in definition.models().filter(|model| kept.contains(model)) {
            let settings = definition.settings.index;
            if !all.iter().any(|(known, other)| known == model && other.shape() == settings.shape()) {
                all.push((model.clone(), settings));
            }
        }
    }
    all
}

/// What the live release asks with and by.
pub(crate) fn live(releases: &dyn ReleaseReader, vision: &dyn VisionReader) -> Live {
    let settings = releases.ledger().commissioner().map(|live| live.definition.settings.clone()).unwrap_or_default();
    Live { models: vision.models(), index: settings.index, rules: settings.rules }
}

/// Which index a model's vectors are in, for a release of these settings.
pub(crate) fn key(model: &ModelInfo, settings: &IndexSettings) -> IndexKey {
    (model.space, model.fingerprint.clone(), settings.shape())
}

/// The writer of all indexes: one for each space, model and shape, side by side, so that the vectors of two models never meet.
pub(crate) struct Spaces {
    pub(crate) config: Config,
    /// A folder for each of them below it.
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) catalog: Arc<dyn CatalogReader>,
    pub(crate) vision: Arc<dyn VisionReader>,
    pub(crate) releases: Arc<dyn ReleaseReader>,
}

impl Spaces {
    /// Sets the vectors of products that are in the catalog, in every index of their model; all or, when one does not check out, none.
    pub(crate) fn upsert(&self, space: Space, fingerprint: &str, entries: &[VectorEntry]) -> Result<(), SearchError> {
        let most = entries.iter().map(|entry| entry.vectors.len()).max().unwrap_or(0);
        if entries.len() > UPSERT_VECTORS_MAX || most > OWNER_ROWS_MAX {
            return Err(SearchError::TooMany(most.max(entries.len())));
        }
        let Some(first) = entries.iter().find_map(|entry| entry.vectors.first()) else {
            let indexes = self.shared.indexes();
            let mut own = indexes.iter().filter(|index| index.space == space && *index.fingerprint == *fingerprint);
            return own.try_for_each(|index| self.set(index, entries, &[]));
        };
        let dimensions = first.len();
        if dimensions == 0 || dimensions > DIMENSIONS_MAX {
            return Err(SearchError::Dimensions { space, expected: DIMENSIONS_MAX, got: dimensions });
        }
        let checked = entries.iter().map(|entry| units(space, dimensions, &entry.vectors)).collect::<Result<Vec<_>, _>>()?;
        let wanted = wanted(self.releases.as_ref(), self.vision.as_ref());
        let own = wanted.iter().filter(|(model, _)| model.space == space && model.fingerprint == fingerprint);
        let mut shapes: Vec<[u32; 2]> = own.map(|(_, settings)| settings.shape()).collect();
        if shapes.is_empty() {
            shapes.push(self.shared.live().index.shape());
        }
        shapes
            .into_iter()
            .try_for_each(|shape| self.set(&*self.open((space, fingerprint.to_owned(), shape), dimensions)?, entries, &checked))
    }

    fn set(&self, index: &SpaceIndex, entries: &[VectorEntry], checked: &[Vec<Vec<f32>>]) -> Result<(), SearchError> {
        let products = self.catalog.snapshot();
        let mut is_changed = false;
        for (at, entry) in entries.iter().enumerate() {
            is_changed |= match products.get(entry.product.as_str()) {
                Some(known) => match self.slot_of(&known.product) {
                    Some(slot) => set_vectors(index, slot, &entry.product, checked.get(at).map_or(&[], Vec::as_slice))?,
                    None => false,
                },
                None => self.shared.columns().slot(entry.product.as_str()).is_some_and(|slot| index.index.remove(slot)),
            };
        }
        if is_changed {
            self.shared.changed();
        }
        Ok(())
    }

    /// The slot of a product of the catalog, which the follower may not have come to yet.
    fn slot_of(&self, product: &domain::Product) -> Option<Slot> {
        if let Some(slot) = self.shared.columns().slot(product.id.as_str()) {
            return Some(slot);
        }
        let mut seat = self.shared.column_seat.take();
        let slot = seat.set(product);
        self.shared.publish_columns(seat.columns());
        slot
    }

    /// Makes an index what Nightwing's store and the catalog say: sets what is missing or other, takes out what is too much.
    pub(crate) fn fill(&self, model: &ModelInfo, settings: &IndexSettings) -> Result<(), SearchError> {
        let (space, started) = (model.space, Instant::now());
        let index = self.open(key(model, settings), model.dimensions)?;
        let mut surplus: HashSet<Slot> = index.index.owners().collect();
        let mut changed = 0u64;
        let mut after: Option<ProductId> = None;
        loop {
            let page = self.vision.embedded(model, after.as_ref().map(ProductId::as_str), FILL_PAGE);
            let Some((last, _)) = page.last() else { break };
            let products = self.catalog.snapshot();
            after = Some(last.clone());
            for (product, vectors) in &page {
                let Some(known) = products.get(product.as_str()) else { continue };
                let Some(slot) = self.slot_of(&known.product) else { continue };
                match units(space, model.dimensions, vectors) {
                    Ok(vectors) => {
                        changed += u64::from(set_vectors(&index, slot, product, &vectors)?);
                        surplus.remove(&slot);
                    }
                    Err(error) => tracing::warn!(space = space.as_str(), %error, "stored vectors of a product are left out"),
                }
            }
        }
        for slot in surplus {
            changed += u64::from(index.index.remove(slot));
        }
        if !index.is_filled.swap(true, Ordering::AcqRel) || changed > 0 {
            self.shared.changed();
        }
        if changed > 0 {
            tracing::info!(
                space = space.as_str(),
                fingerprint = model.fingerprint,
                shape = ?index.shape,
                changed,
                seconds = started.elapsed().as_secs_f64(),
                "the vectors are as stored"
            );
        }
        Ok(())
    }

    /// Frees the indexes that no release wants any more, and their folders, also those that a crash left over.
    pub(crate) fn drop_others(&self, kept: &BTreeSet<IndexKey>) {
        // A space without any model is one whose models are not known yet.
        let is_gone = |key: &IndexKey| kept.iter().any(|(space, ..)| *space == key.0) && !kept.contains(key);
        for index in self.shared.indexes().iter().filter(|index| is_gone(&index.key())) {
            self.shared.withdraw_index(index);
        }
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !key_of(&name).is_some_and(|key| is_gone(&key)) {
                continue;
            }
            match std::fs::remove_dir_all(entry.path()) {
                Ok(()) => {
                    tracing::info!(name, "the index of a retired release is gone");
                    self.shared.changed();
                }
                Err(error) => tracing::warn!(%error, name, "the index of a retired release is left on disk"),
            }
        }
    }

    fn folder(&self, (space, fingerprint, shape): &IndexKey) -> PathBuf {
        let name = format!("{}-{fingerprint}", space.as_str());
        let [degree, rows] = shape;
        self.dir.join(if *shape == PLAIN_SHAPE { name } else { format!("{name}-{degree}-{rows}") })
    }

    /// An index. Of other dimensions than before, it starts empty.
    fn open(&self, key: IndexKey, dimensions: usize) -> Result<Arc<SpaceIndex>, SearchError> {
        let (space, ref fingerprint, shape) = key;
        if fingerprint.is_empty() || !fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(SearchError::Index("a fingerprint has letters and digits".into()));
        }
        if let Some(index) = self.shared.exactly(&key) {
            if index.dimensions == dimensions {
                return Ok(index);
            }
            tracing::info!(space = space.as_str(), fingerprint, "other dimensions: the index starts empty");
            self.shared.withdraw_index(&index);
        }
        let folder = self.folder(&key);
        // Where one index a space was kept: it says itself whose vectors it holds, and starts empty when they are another model's.
        let before = self.dir.join(space.as_str());
        if before.exists() && !folder.exists() && std::fs::rename(&before, &folder).is_ok() {
            tracing::info!(space = space.as_str(), fingerprint, "the space's folder belongs to its model now");
        }
        let options = Options {
            threads: self.config.index_threads(),
            dead_ratio_max: self.config.dead_ratio_max,
            recall_sample: self.config.recall_sample,
            graph_degree: shape[0] as usize,
            flat_rows_max: shape[1] as usize,
            ..Options::new(dimensions, Metric::Cosine, fingerprint)
        };
        let index = self.open_or_start_anew(&folder, &options).map_err(index_error)?;
        let maintainer = index.spawn_maintainer().map_err(|error| SearchError::Index(error.to_string()))?;
        let reader = index.reader();
        let fingerprint = fingerprint.as_str().into();
        let opened = Arc::new(SpaceIndex {
            space,
            fingerprint,
            shape,
            dimensions,
            is_filled: AtomicBool::new(false),
            index,
            reader,
            _maintainer: maintainer,
        });
        self.shared.publish_index(&opened);
        Ok(opened)
    }

    /// Opens a folder; one that this version cannot read is moved aside, since everything in it can be had again.
    fn open_or_start_anew(&self, dir: &Path, options: &Options) -> Result<Index, IndexError> {
        let columns = self.shared.columns();
        let mut slot_of = |id: &str| columns.slot(id);
        let opened = Index::open(Some(dir), options.clone(), &mut slot_of).or_else(|error| {
            let aside = dir.with_extension(UNREADABLE);
            tracing::warn!(%error, aside = %aside.display(), "a vector index does not open and is made anew");
            let failed = |source| FileError::Io { path: dir.to_path_buf(), source };
            if aside.exists() {
                std::fs::remove_dir_all(&aside).map_err(failed)?;
            }
            std::fs::rename(dir, &aside).map_err(failed)?;
            Index::open(Some(dir), options.clone(), &mut slot_of)
        });
        let (index, report) = opened?;
        if !report.damaged.is_empty() {
            metrics::counter!("gotham_search_damaged_files_total").increment(report.damaged.len() as u64);
            tracing::warn!(?report, "damaged files of a vector index were moved aside; what was in them is set again");
        }
        Ok(index)
    }
}

/// Which index a folder holds, by its name.
fn key_of(folder: &str) -> Option<IndexKey> {
    let mut parts = folder.split('.').next()?.split('-');
    let (space, fingerprint) = (parts.next()?, parts.next()?);
    let space = Space::ALL.into_iter().find(|known| known.as_str() == space)?;
    let shape = match parts.next() {
        Some(degree) => [degree.parse().ok()?, parts.next()?.parse().ok()?],
        None => PLAIN_SHAPE,
    };
    Some((space, fingerprint.to_owned(), shape))
}

fn set_vectors(index: &SpaceIndex, slot: Slot, product: &ProductId, vectors: &[Vec<f32>]) -> Result<bool, SearchError> {
    let rows: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    index.index.set(slot, product.as_str(), stamp(vectors), &rows).map_err(index_error)
}

/// Tells a product's vectors from any other: the start of the hash of their numbers.
fn stamp(vectors: &[Vec<f32>]) -> u64 {
    let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let hash = ContentHash::of(&bytes).0;
    hash[..8].iter().fold(0, |stamp, byte| stamp << 8 | u64::from(*byte))
}

/// What an index says, in the words of the protocol.
pub(crate) fn index_error(error: IndexError) -> SearchError {
    match error {
        IndexError::NotFinite => SearchError::NotFinite,
        IndexError::TooManyVectors(count) | IndexError::Limit(count) => SearchError::TooMany(count),
        other => SearchError::Index(other.to_string()),
    }
}

fn units(space: Space, expected: usize, vectors: &[Arc<[f32]>]) -> Result<Vec<Vec<f32>>, SearchError> {
    let check = |vector: &Arc<[f32]>| {
        if vector.is_empty() || vector.len() != expected {
            return Err(SearchError::Dimensions { space, expected, got: vector.len() });
        }
        unit(vector).ok_or(SearchError::NotFinite)
    };
    vectors.iter().map(check).collect()
}
