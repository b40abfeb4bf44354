//! What readers see of Nightwing, and what its own threads share: vectors, thumbnails, counts. Reads need no actor.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use domain::{ContentHash, ProductId};
use protocol::vision::{Embedding, EngineStatus, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};
use store::{Keyspace, Record as _, Store};

use crate::effects::thumbnails::Thumbnails;
use crate::embedder::ModelSource;
use crate::records::ProductVectors;
use crate::threads::Threads;
use crate::vectors::VectorFile;

/// Records read at a time while an index is filled.
const PAGE_RECORDS_MAX: usize = 1024;

/// A model and the vectors that it made.
#[derive(Debug)]
pub(crate) struct SpaceFile {
    pub(crate) model: ModelInfo,
    pub(crate) file: VectorFile,
}

/// Nightwing's view. Opened once, before the actor starts; vectors can be read from then on, whether or not a model is loaded.
pub struct View {
    store: Arc<dyn Store>,
    vectors_dir: PathBuf,
    thumbnails: Thumbnails,
    image: ArcSwapOption<SpaceFile>,
    text: ArcSwapOption<SpaceFile>,
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
    /// Opens the vectors of the installed models in `vectors_dir` and the thumbnails in `pictures_dir`. Reads every vector once.
    pub fn open(vectors_dir: &Path, pictures_dir: &Path, store: Arc<dyn Store>, models: &dyn ModelSource) -> io::Result<Self> {
        std::fs::create_dir_all(vectors_dir)?;
        let view = Self {
            store,
            vectors_dir: vectors_dir.to_owned(),
            thumbnails: Thumbnails::open(pictures_dir)?,
            image: ArcSwapOption::empty(),
            text: ArcSwapOption::empty(),
            counts: Counts::default(),
            threads: ArcSwapOption::empty(),
        };
        for model in Space::ALL.into_iter().filter_map(|space| models.installed(space)) {
            view.use_model(&model)?;
        }
        Ok(view)
    }

    /// The vectors that `model` made are those of its space from now on.
    pub(crate) fn use_model(&self, model: &ModelInfo) -> io::Result<Arc<SpaceFile>> {
        if let Some(current) = self.space(model.space).filter(|current| current.model == *model) {
            return Ok(current);
        }
        let file = VectorFile::open(&self.vectors_dir, model)?;
        let space = Arc::new(SpaceFile { model: model.clone(), file });
        self.slot(model.space).store(Some(Arc::clone(&space)));
        Ok(space)
    }

    /// Shows how the models on these threads do.
    pub(crate) fn show(&self, threads: &Arc<Threads>) {
        self.threads.store(Some(Arc::clone(threads)));
    }

    pub(crate) fn space(&self, space: Space) -> Option<Arc<SpaceFile>> {
        self.slot(space).load_full()
    }

    pub(crate) fn thumbnails(&self) -> &Thumbnails {
        &self.thumbnails
    }

    pub(crate) fn counters(&self) -> &Counts {
        &self.counts
    }

    fn slot(&self, space: Space) -> &ArcSwapOption<SpaceFile> {
        match space {
            Space::Image => &self.image,
            Space::Text => &self.text,
        }
    }

    fn record(&self, space: Space, product: &str) -> Option<ProductVectors> {
        let key = ProductVectors::key(space, product);
        let bytes = self.store.get(Keyspace::Embeddings, &key).inspect_err(|error| tracing::warn!(%error, "vectors not read")).ok()??;
        ProductVectors::unseal(&key, &bytes).inspect_err(|error| tracing::warn!(%error, "a record of vectors is damaged")).ok()
    }
}

impl SpaceFile {
    /// The vectors that a record names and that are there, each content once.
    fn vectors(&self, record: &ProductVectors) -> Vec<Embedding> {
        if record.fingerprint != self.model.fingerprint {
            return Vec::new();
        }
        self.read(record.contents.iter().flatten().copied())
    }

    /// The vectors of contents, each once, in order.
    pub(crate) fn read(&self, contents: impl Iterator<Item = ContentHash>) -> Vec<Embedding> {
        let mut found: Vec<Embedding> = Vec::new();
        for content in contents {
            if found.iter().any(|embedding| embedding.content == content) {
                continue;
            }
            match self.file.get(content) {
                Ok(Some(vector)) => found.push(Embedding { vector, content }),
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

    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail> {
        let content = (*self.record(Space::Image, product)?.contents.get(index)?)?;
        let jpeg = self.thumbnails.read(content).inspect_err(|error| tracing::warn!(%error, "a thumbnail was not read")).ok()??;
        Some(Thumbnail { jpeg: jpeg.into(), content })
    }

    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding> {
        let (Some(file), Some(record)) = (self.space(space), self.record(space, product)) else { return Vec::new() };
        file.vectors(&record)
    }

    fn embedded(&self, space: Space, after: Option<&str>, limit: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        let Some(file) = self.space(space) else { return Vec::new() };
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
