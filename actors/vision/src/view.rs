//! What readers see of Nightwing, and what its own threads share: vectors of every release's models, thumbnails, counts. Reads need no
//! actor. Which release is live is looked up with every read, so that a promotion is in force at once.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::{ContentHash, ProductId};
use protocol::releases::ReleaseReader;
use protocol::vision::{Build, Embedding, EngineStatus, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};
use store::{Keyspace, Record as _, Store};

use crate::effects::thumbnails::Thumbnails;
use crate::embedder::ModelSource;
use crate::logic::backlog::Backlog;
use crate::records::ProductVectors;
use crate::threads::Threads;
use crate::vectors::VectorFile;

/// One product in so many may lack its vectors where all the others have theirs: pictures that were there once, and are gone.
const FAILED_SHARE: u64 = 100;
/// Records read at a time while an index is filled.
const PAGE_RECORDS_MAX: usize = 1024;

/// A model, the vectors that it made, and what it is still to look at.
#[derive(Debug)]
pub(crate) struct SpaceFile {
    pub(crate) model: ModelInfo,
    /// The model's, as embeddings carry it.
    pub(crate) fingerprint: Arc<str>,
    pub(crate) file: VectorFile,
    backlog: Mutex<Backlog>,
    is_loaded: AtomicBool,
}

/// Nightwing's view. Opened once, before the actor starts; vectors can be read from then on, whether or not a model is loaded.
pub struct View {
    store: Arc<dyn Store>,
    vectors_dir: PathBuf,
    thumbnails: Thumbnails,
    releases: Arc<dyn ReleaseReader>,
    models: Arc<dyn ModelSource>,
    catalog_len: AtomicU64,
    /// One for each model of any release.
    files: ArcSwap<Vec<Arc<SpaceFile>>>,
    counts: Counts,
    threads: ArcSwapOption<Threads>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) images_embedded: AtomicU64,
    pub(crate) texts_embedded: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) rejected: AtomicU64,
}

impl View {
    /// Opens the vectors of the releases' installed models in `vectors_dir` and the thumbnails in `pictures_dir`. Reads every vector
    /// once.
    pub fn open(
        vectors_dir: &Path,
        pictures_dir: &Path,
        store: Arc<dyn Store>,
        releases: Arc<dyn ReleaseReader>,
        models: Arc<dyn ModelSource>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(vectors_dir)?;
        let view = Self {
            store,
            vectors_dir: vectors_dir.to_owned(),
            thumbnails: Thumbnails::open(pictures_dir)?,
            releases,
            models,
            catalog_len: AtomicU64::new(0),
            files: ArcSwap::default(),
            counts: Counts::default(),
            threads: ArcSwapOption::empty(),
        };
        for model in view.releases.ledger().models().into_iter().filter(|model| view.models.is_installed(model)) {
            view.use_model(model)?;
        }
        Ok(view)
    }

    /// The vectors that `model` made are kept and can be read from now on.
    pub(crate) fn use_model(&self, model: &ModelInfo) -> io::Result<Arc<SpaceFile>> {
        if let Some(known) = self.file(model) {
            return Ok(known);
        }
        let opened = Arc::new(SpaceFile {
            model: model.clone(),
            fingerprint: model.fingerprint.as_str().into(),
            file: VectorFile::open(&self.vectors_dir, model)?,
            backlog: Mutex::new(Backlog::new()),
            is_loaded: AtomicBool::new(false),
        });
        self.files.rcu(|files| files.iter().chain([&opened]).cloned().collect::<Vec<_>>());
        Ok(opened)
    }

    /// No release has the model any more: its vectors are deleted.
    pub(crate) fn forget_model(&self, model: &ModelInfo) {
        self.files.rcu(|files| files.iter().filter(|file| file.model != *model).cloned().collect::<Vec<_>>());
        match VectorFile::delete(&self.vectors_dir, model) {
            Ok(()) => tracing::info!(model = model.name, fingerprint = model.fingerprint, "the vectors of a retired release are gone"),
            Err(error) => tracing::warn!(%error, model = model.name, "the vectors of a retired release are left on disk"),
        }
    }

    /// A model's file, if it is kept.
    pub(crate) fn file(&self, model: &ModelInfo) -> Option<Arc<SpaceFile>> {
        self.files.load().iter().find(|file| file.model == *model).cloned()
    }

    /// The file of a space's model of this fingerprint.
    pub(crate) fn named(&self, space: Space, fingerprint: &str) -> Option<Arc<SpaceFile>> {
        self.files.load().iter().find(|file| file.model.space == space && *file.fingerprint == *fingerprint).cloned()
    }

    /// Shows how the models on these threads do.
    pub(crate) fn show(&self, threads: &Arc<Threads>) {
        self.threads.store(Some(Arc::clone(threads)));
    }

    /// The file of the live release's model.
    pub(crate) fn space(&self, space: Space) -> Option<Arc<SpaceFile>> {
        self.file(self.releases.ledger().commissioner()?.definition.model(space)?)
    }

    /// Whether the live release has the model.
    pub(crate) fn is_live(&self, model: &ModelInfo) -> bool {
        self.releases.ledger().commissioner().is_some_and(|release| release.definition.model(model.space) == Some(model))
    }

    /// The releases as they are now.
    pub(crate) fn releases(&self) -> &dyn ReleaseReader {
        self.releases.as_ref()
    }

    /// Every kept file.
    pub(crate) fn files(&self) -> Arc<Vec<Arc<SpaceFile>>> {
        self.files.load_full()
    }

    /// Products of the catalog, for progress.
    pub(crate) fn set_catalog_len(&self, products: usize) {
        self.catalog_len.store(products as u64, Ordering::Relaxed);
    }

    /// The live model has new vectors of these products; the others have to look at them.
    pub(crate) fn touch_others(&self, live: &ModelInfo, products: impl Iterator<Item = ProductId> + Clone) {
        for file in self.files.load().iter().filter(|file| file.model.space == live.space && file.model != *live) {
            file.backlog().touch(products.clone());
        }
    }

    pub(crate) fn thumbnails(&self) -> &Thumbnails {
        &self.thumbnails
    }

    pub(crate) fn counters(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn record(&self, space: Space, product: &str) -> Option<ProductVectors> {
        let key = ProductVectors::key(space, product);
        let bytes = self.store.get(Keyspace::Embeddings, &key).inspect_err(|error| tracing::warn!(%error, "vectors not read")).ok()??;
        ProductVectors::unseal(&key, &bytes).inspect_err(|error| tracing::warn!(%error, "a record of vectors is damaged")).ok()
    }
}

impl SpaceFile {
    /// The vectors of the contents that a record names, as far as this model has made them, each content once. What a product's
    /// pictures hold is the same for every model, so one record serves them all.
    pub(crate) fn vectors(&self, record: &ProductVectors) -> Vec<Embedding> {
        self.read(record.contents.iter().flatten().copied())
    }

    /// Whether a content of the record has no vector yet.
    pub(crate) fn lacks(&self, record: &ProductVectors) -> bool {
        record.contents.iter().flatten().any(|content| !self.file.contains(*content))
    }

    /// What is still to be looked at.
    pub(crate) fn backlog(&self) -> std::sync::MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the model is in memory.
    pub(crate) fn set_loaded(&self, is_loaded: bool) {
        self.is_loaded.store(is_loaded, Ordering::Relaxed);
    }

    /// The vectors of contents, each once, in order.
    pub(crate) fn read(&self, contents: impl Iterator<Item = ContentHash>) -> Vec<Embedding> {
        let mut found: Vec<Embedding> = Vec::new();
        for content in contents {
            if found.iter().any(|embedding| embedding.content == content) {
                continue;
            }
            match self.file.get(content) {
                Ok(Some(vector)) => found.push(Embedding { vector, content, fingerprint: Arc::clone(&self.fingerprint) }),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a vector was not read"),
            }
        }
        found
    }
}

impl VisionReader for View {
    fn models(&self) -> Vec<ModelInfo> {
        Space::ALL.into_iter().filter_map(|space| Some(self.space(space)?.model.clone())).collect()
    }

    fn kept(&self) -> Vec<ModelInfo> {
        let ledger = self.releases.ledger();
        let files = self.files.load();
        files.iter().map(|file| &file.model).filter(|model| ledger.models().contains(model)).cloned().collect()
    }

    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail> {
        let content = (*self.record(Space::Image, product)?.contents.get(index)?)?;
        let jpeg = self.thumbnails.read(content).inspect_err(|error| tracing::warn!(%error, "a thumbnail was not read")).ok()??;
        Some(Thumbnail { jpeg: jpeg.into(), content })
    }

    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        let (Some(file), Some(record)) = (self.space(space), self.record(space, product)) else { return Vec::new() };
        file.vectors(&record)
    }

    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let (Some(file), Some(record)) = (self.file(model), self.record(model.space, product)) else { return Vec::new() };
        file.vectors(&record)
    }

    fn known(&self) -> Vec<(ModelInfo, bool)> {
        self.models.known().into_iter().map(|model| (model.clone(), self.models.is_installed(&model))).collect()
    }

    fn builds(&self) -> Vec<Build> {
        let total = self.catalog_len.load(Ordering::Relaxed);
        let build = |file: &Arc<SpaceFile>| {
            let (done, behind, failed, is_complete) = file.backlog().progress();
            let is_loaded = file.is_loaded.load(Ordering::Relaxed);
            let is_complete = is_complete && failed <= total / FAILED_SHARE;
            Build { model: file.model.clone(), is_loaded, done, total, behind, failed, is_complete }
        };
        self.files.load().iter().map(build).collect()
    }

    fn embedded(&self, model: &ModelInfo, after: Option<&str>, limit: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        let Some(file) = self.file(model) else { return Vec::new() };
        let space = model.space;
        let mut found = Vec::new();
        let mut last_key = ProductVectors::key(space, after.unwrap_or_default());
        let end = ProductVectors::end_key(space);
        // A page may hold nothing but products of another model: go on until there is something to give, or nothing left.
        while found.len() < limit {
            let bounds = (Bound::Excluded(last_key.as_slice()), Bound::Excluded(end.as_slice()));
            let page = match self.store.range(Keyspace::Embeddings, bounds, (limit - found.len()).min(PAGE_RECORDS_MAX)) {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "vectors not listed");
                    break;
                }
            };
            for (key, value) in &page.entries {
                let id = std::str::from_utf8(&key[1..]).ok().and_then(|id| id.parse::<ProductId>().ok());
                let (Some(id), Ok(record)) = (id, ProductVectors::unseal(key, value)) else { continue };
                let vectors: Vec<_> = file.vectors(&record).into_iter().map(|embedding| embedding.vector).collect();
                if !vectors.is_empty() {
                    found.push((id, vectors));
                }
            }
            match page.entries.into_iter().next_back() {
                Some((key, _)) if page.has_more => last_key = key,
                _ => break,
            }
        }
        found
    }

    fn engines(&self) -> Vec<EngineStatus> {
        self.threads.load().as_ref().map_or_else(Vec::new, |threads| threads.engines())
    }

    fn counts(&self) -> VisionCounts {
        let Counts { images_embedded, texts_embedded, reused, rejected } = &self.counts;
        let [images_embedded, texts_embedded, reused, rejected] =
            [images_embedded, texts_embedded, reused, rejected].map(|count| count.load(Ordering::Relaxed));
        VisionCounts { images_embedded, texts_embedded, reused, rejected }
    }
}
