//! Nightwing: pictures and words to embeddings.

use std::sync::Arc;

use domain::{ContentHash, ProductId};
use kit::Reply;
use serde::{Deserialize, Serialize};

/// The runtime name.
pub const NAME: &str = "nightwing";

/// The most texts or pictures in one message.
pub const EMBED_BATCH_MAX: usize = 64;

/// Which vectors can be compared with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Of pictures.
    Image,
    /// Of texts.
    Text,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 2] = [Self::Image, Self::Text];

    /// The name in metrics and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// From `data/models.toml`: `efficientnet-lite0`.
    pub name: String,
    /// What it embeds.
    pub space: Space,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Hash of weights and preprocessing: vectors of two fingerprints never mix.
    pub fingerprint: String,
    /// Whether it gives texts a place in its space: every text model, and an image model that was trained on pictures and
    /// their captions.
    pub reads_texts: bool,
}

/// A rectangle of a picture as it is looked at (upright), in shares of its width and height from the left and from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// The left edge, 0 to 1.
    pub x: f32,
    /// The upper edge, 0 to 1.
    pub y: f32,
    /// Greater than 0; `x + width` is at most 1.
    pub width: f32,
    /// Greater than 0; `y + height` is at most 1.
    pub height: f32,
}

/// A picture to embed, or what a rectangle of it shows.
#[derive(Clone, Debug)]
pub struct PictureQuery {
    /// JPEG, PNG, WebP or GIF.
    pub bytes: bytes::Bytes,
    /// Only this part of it.
    pub crop: Option<Crop>,
}

/// An L2-normalised embedding and what made it.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[dimensions]`, L2 norm 1.
    pub vector: Arc<[f32]>,
    /// Of the picture's bytes (and the crop, where there is one) or the text.
    pub content: ContentHash,
    /// Of the model that made it.
    pub fingerprint: Arc<str>,
}

/// What a model sees in a picture.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Of the whole picture.
    pub embedding: Embedding,
    /// Where it looked; `None` where the model has no such map.
    pub activations: Option<ActivationMap>,
}

/// How strongly the parts of a model answered to each part of a picture.
#[derive(Clone, Debug)]
pub struct ActivationMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[height, width, channels]`, one or more channels.
    pub values: Arc<[f32]>,
    /// Which part of the picture the map lies over.
    pub seen: Crop,
}

/// Why one picture or text has no embedding.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VisionError {
    /// No model of that kind is installed.
    #[error("no {} model is installed: run `gotham model pull`", .0.as_str())]
    NoModel(Space),
    /// The bytes are no picture, are damaged, too large or in a format that is not read.
    #[error("{code}: {detail}")]
    BadPicture {
        /// Stable, snake_case: `not_a_picture`, `too_many_pixels`, `too_many_bytes`, `damaged_picture`, `unsupported_format`,
        /// `crop_outside_picture`, `crop_too_small`.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// Too much work waiting, or out of time.
    #[error("{0}")]
    Busy(String),
    /// More than [`EMBED_BATCH_MAX`] at once.
    #[error("{0} inputs in one message, at most {EMBED_BATCH_MAX} are taken")]
    TooMany(usize),
    /// The engine failed.
    #[error("inference failed: {0}")]
    Engine(String),
}

/// What Nightwing is asked.
#[derive(Debug)]
pub enum VisionMsg {
    /// Embed texts, ahead of any import; at [`kit::Priority::Bulk`] among them.
    EmbedTexts {
        /// At most [`EMBED_BATCH_MAX`].
        texts: Vec<String>,
        /// Among which vectors they are to be compared; [`Space::Image`] only where the loaded model
        /// [reads texts](ModelInfo::reads_texts).
        space: Space,
        /// The model's fingerprint; the live release's model where none is named.
        model: Option<Arc<str>>,
        /// One answer a text.
        reply: Reply<Vec<Result<Embedding, VisionError>>>,
    },
    /// Embed pictures or parts of them, ahead of any import. Crops of one picture stand side by side: it is then decoded once.
    EmbedImages {
        /// At most [`EMBED_BATCH_MAX`].
        images: Vec<PictureQuery>,
        /// The model's fingerprint; the live release's model where none is named.
        model: Option<Arc<str>>,
        /// One answer a picture.
        reply: Reply<Vec<Result<Embedding, VisionError>>>,
    },
    /// Embed a picture and say where the model looked, as [`VisionMsg::EmbedImages`].
    LookAt {
        /// JPEG, PNG, WebP or GIF.
        picture: bytes::Bytes,
        /// The model's fingerprint; the live release's model where none is named.
        model: Option<Arc<str>>,
        /// The answer.
        reply: Reply<Result<Sight, VisionError>>,
    },
    /// For the actor's own use: look for work.
    Tick,
    /// For the actor's own threads: a batch of catalog work is done.
    BatchDone(BatchDone),
}

/// What the embedding threads tell the actor; opaque to everybody else.
pub struct BatchDone(pub Box<dyn std::any::Any + Send>);

impl std::fmt::Debug for BatchDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BatchDone")
    }
}

/// A product's picture as kept on this box, scaled down for pages.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// JPEG.
    pub jpeg: bytes::Bytes,
    /// Names the content: used as an HTTP entity tag.
    pub content: ContentHash,
}

/// What readers see of Nightwing.
pub trait VisionReader: Send + Sync {
    /// The installed models of the live release.
    fn models(&self) -> Vec<ModelInfo>;
    /// The installed models of all releases, each once: vectors are kept for each of them.
    fn kept(&self) -> Vec<ModelInfo> {
        self.models()
    }
    /// The picture at `index` of a product's list, scaled down; `None` when there is none (yet). Reads a small file: call it
    /// off the async threads.
    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail>;
    /// The product's own vectors in a space by the live release's model, as computed: `[dimensions]` each.
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding>;
    /// The product's own vectors by a model of any release.
    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let mut vectors = self.vectors(product, model.space);
        vectors.retain(|embedding| *embedding.fingerprint == *model.fingerprint);
        vectors
    }
    /// Up to `limit` products that have vectors by a model, in id order behind `after`, each with all its vectors: how an index is
    /// filled after a start. Reads mapped files: call it off the async threads.
    fn embedded(&self, model: &ModelInfo, after: Option<&str>, limit: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)>;
    /// Every model that a release can be made of, the default one of each space first, and whether its files are there. Looks at
    /// file sizes: call it off the async threads.
    fn known(&self) -> Vec<(ModelInfo, bool)> {
        self.models().into_iter().map(|model| (model, true)).collect()
    }
    /// How far the vectors of each kept model are.
    fn builds(&self) -> Vec<Build> {
        Vec::new()
    }
    /// Pictures and texts embedded since the start, and how many failed.
    fn counts(&self) -> VisionCounts;
    /// How the models that were used since the start do.
    fn engines(&self) -> Vec<EngineStatus> {
        Vec::new()
    }
}

/// How a model does, on what runs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineStatus {
    /// Its name.
    pub model: String,
    /// What it embeds.
    pub space: Space,
    /// As in [`ModelInfo`].
    pub fingerprint: String,
    /// What runs it now, for people.
    pub device: String,
    /// Why that is not the GPU that should.
    pub fallback: Option<String>,
    /// Memory of its weights.
    pub memory_bytes: u64,
    /// The most pictures (or short texts) that fit into one run.
    pub batch_max: usize,
    /// How often memory did not suffice for a run.
    pub out_of_memory: u64,
    /// Pictures or texts a second over the last minute.
    pub per_second: f64,
    /// Half of the last queries were answered within this time of being prepared, in milliseconds.
    pub query_p50_ms: Option<f64>,
    /// 99 of 100 of them were.
    pub query_p99_ms: Option<f64>,
}

/// How far the vectors of a model are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Whose vectors.
    #[serde(flatten)]
    pub model: ModelInfo,
    /// Whether the model is in memory.
    pub is_loaded: bool,
    /// Products of the catalog that were looked at since the start of the last look at all of them.
    pub done: u64,
    /// Products of the catalog.
    pub total: u64,
    /// Products that have changed since and wait for their turn.
    pub behind: u64,
    /// Products of which something could not be embedded for now; they are tried again.
    pub failed: u64,
    /// Whether all products were looked at and none but those behind lacks anything that can be had.
    pub is_complete: bool,
}

/// Work done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VisionCounts {
    /// Pictures embedded (not found in the store).
    pub images_embedded: u64,
    /// Texts embedded (not found in the store).
    pub texts_embedded: u64,
    /// Vectors taken from the store because their content was known.
    pub reused: u64,
    /// Pictures refused.
    pub rejected: u64,
}
