//! Nightwing: pictures and words to embeddings.

use std::sync::Arc;

use domain::{ContentHash, ProductId};
use kit::Reply;
use serde::Serialize;

/// The runtime name.
pub const NAME: &str = "nightwing";

/// The most texts or pictures in one message.
pub const EMBED_BATCH_MAX: usize = 64;

/// Which vectors can be compared with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

/// A model that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// Embed texts, ahead of any import.
    EmbedTexts {
        /// At most [`EMBED_BATCH_MAX`].
        texts: Vec<String>,
        /// Among which vectors they are to be compared; [`Space::Image`] only where the loaded model
        /// [reads texts](ModelInfo::reads_texts).
        space: Space,
        /// One answer a text.
        reply: Reply<Vec<Result<Embedding, VisionError>>>,
    },
    /// Embed pictures or parts of them, ahead of any import. Crops of one picture stand side by side: it is then decoded once.
    EmbedImages {
        /// At most [`EMBED_BATCH_MAX`].
        images: Vec<PictureQuery>,
        /// One answer a picture.
        reply: Reply<Vec<Result<Embedding, VisionError>>>,
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
    /// The loaded models.
    fn models(&self) -> Vec<ModelInfo>;
    /// The picture at `index` of a product's list, scaled down; `None` when there is none (yet). Reads a small file: call it
    /// off the async threads.
    fn thumbnail(&self, product: &str, index: usize) -> Option<Thumbnail>;
    /// The product's own vectors in a space, as computed: `[dimensions]` each.
    fn vectors(&self, product: &str, space: Space) -> Vec<Embedding>;
    /// Up to `limit` products that have vectors in a space, in id order behind `after`, each with all its vectors: how an index is
    /// filled after a start. Reads mapped files: call it off the async threads.
    fn embedded(&self, space: Space, after: Option<&str>, limit: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)>;
    /// Pictures and texts embedded since the start, and how many failed.
    fn counts(&self) -> VisionCounts;
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
