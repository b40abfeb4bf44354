//! Vectors on their way into the index: checked, given their product's slot, set. Runs on the indexer's thread.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use domain::{ContentHash, ProductId};
use protocol::catalog::CatalogReader;
use protocol::search::{SearchError, UPSERT_VECTORS_MAX, VectorEntry};
use protocol::vision::{Space, VisionReader};
use vectors::codes::Metric;
use vectors::file::FileError;
use vectors::index::{Index, IndexError, OWNER_ROWS_MAX, Options};

use crate::config::Config;
use crate::logic::{Slot, unit};
use crate::view::{Shared, SpaceIndex};

/// The most numbers in a vector.
const DIMENSIONS_MAX: usize = vectors::codes::DIMENSION_MAX;
/// Products that are taken from Nightwing at a time when a space is filled.
const FILL_PAGE: usize = 256;

/// The writer of all spaces.
pub(crate) struct Spaces {
    pub(crate) config: Config,
    /// A folder for each space below it.
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) catalog: Arc<dyn CatalogReader>,
    pub(crate) vision: Arc<dyn VisionReader>,
}

impl Spaces {
    /// Sets the vectors of products that are in the catalog; all or, when one does not check out, none.
    pub(crate) fn upsert(&self, space: Space, fingerprint: &str, entries: &[VectorEntry]) -> Result<(), SearchError> {
        let most = entries.iter().map(|entry| entry.vectors.len()).max().unwrap_or(0);
        if entries.len() > UPSERT_VECTORS_MAX || most > OWNER_ROWS_MAX {
            return Err(SearchError::TooMany(most.max(entries.len())));
        }
        let Some(first) = entries.iter().find_map(|entry| entry.vectors.first()) else {
            return self.set(self.shared.space(space).as_deref(), entries, &[]);
        };
        let dimensions = first.len();
        if dimensions == 0 || dimensions > DIMENSIONS_MAX {
            return Err(SearchError::Dimensions { space, expected: DIMENSIONS_MAX, got: dimensions });
        }
        let checked = entries.iter().map(|entry| units(space, dimensions, &entry.vectors)).collect::<Result<Vec<_>, _>>()?;
        let index = self.open(space, fingerprint, dimensions)?;
        self.set(Some(&*index), entries, &checked)
    }

    fn set(&self, index: Option<&SpaceIndex>, entries: &[VectorEntry], checked: &[Vec<Vec<f32>>]) -> Result<(), SearchError> {
        let Some(index) = index else { return Ok(()) };
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

    /// Makes a space what Nightwing's store and the catalog say: sets what is missing or other, takes out what is too much. `false`
    /// while the space's model is not known.
    pub(crate) fn fill(&self, space: Space) -> Result<bool, SearchError> {
        let Some(model) = self.vision.models().into_iter().find(|model| model.space == space) else { return Ok(false) };
        let started = Instant::now();
        let index = self.open(space, &model.fingerprint, model.dimensions)?;
        let products = self.catalog.snapshot();
        let mut surplus: HashSet<Slot> = index.index.owners().collect();
        let mut changed = 0u64;
        let mut after: Option<ProductId> = None;
        loop {
            let page = self.vision.embedded(space, after.as_ref().map(ProductId::as_str), FILL_PAGE);
            let Some((last, _)) = page.last() else { break };
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
        if changed > 0 {
            self.shared.changed();
            tracing::info!(space = space.as_str(), changed, seconds = started.elapsed().as_secs_f64(), "the vectors are as stored");
        }
        Ok(true)
    }

    /// The index of a space for the vectors of one model. Those of another model than before, or of other dimensions, empty it.
    fn open(&self, space: Space, fingerprint: &str, dimensions: usize) -> Result<Arc<SpaceIndex>, SearchError> {
        if let Some(index) = self.shared.space(space) {
            if &*index.fingerprint == fingerprint && index.dimensions == dimensions {
                return Ok(index);
            }
            tracing::info!(space = space.as_str(), fingerprint, "another model: the space starts empty");
            self.shared.publish_space(space, None);
        }
        let options = Options {
            threads: self.config.index_threads(),
            dead_ratio_max: self.config.dead_ratio_max,
            recall_sample: self.config.recall_sample,
            ..Options::new(dimensions, Metric::Cosine, fingerprint)
        };
        let index = self.open_or_start_anew(&self.dir.join(space.as_str()), &options).map_err(index_error)?;
        let maintainer = index.spawn_maintainer().map_err(|error| SearchError::Index(error.to_string()))?;
        let reader = index.reader();
        let opened = Arc::new(SpaceIndex { fingerprint: fingerprint.into(), dimensions, index, reader, _maintainer: maintainer });
        self.shared.publish_space(space, Some(Arc::clone(&opened)));
        Ok(opened)
    }

    /// Opens a folder; one that this version cannot read is moved aside, since everything in it can be had again.
    fn open_or_start_anew(&self, dir: &Path, options: &Options) -> Result<Index, IndexError> {
        let columns = self.shared.columns();
        let mut slot_of = |id: &str| columns.slot(id);
        let opened = Index::open(Some(dir), options.clone(), &mut slot_of).or_else(|error| {
            let aside = dir.with_extension("unreadable");
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
