//! Model files to plans: which files make which model, and the kinds of model that the house runs: of pictures, of texts, and
//! detectors.
//!
//! A loaded model is shared between threads; each call takes its working memory from the program's pool.

mod bert;
mod convnet;
mod detector;
mod efficientnet_lite;
mod encoder;
mod folder;
mod mobilenet;
mod onnx;
mod pickle;
mod preprocessor;
mod sight;
mod tensors;
mod tokenizer;
mod towers;
mod weights;

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;

use crate::logic::preprocessing::{Preprocessing, Retrieval};
pub use detector::{Detections, ObjectModel, load_detector};
pub use folder::{LoadedModel, ModelFiles, load};
use shaders::{Executor, Input, PlanError, Program, RunError};
pub use sight::Sight;
use std::sync::Arc;
use tokenizer::{Rules, TextTokenizer};
pub use weights::WeightFile;

/// Why a model's files make no model, or a model refused an input.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The bytes are not of the format.
    #[error("not a {format} file: {reason}")]
    Format {
        /// What was expected.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file is sound, but a tensor of the model is not in it, or not as the model needs it.
    #[error("tensor {name}: {reason}")]
    Tensor {
        /// Its name in the file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph of an ONNX file does something that no kernel can do.
    #[error("node {node} ({operator}): {reason}")]
    Graph {
        /// The operator's type.
        operator: String,
        /// The node's name.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of a model is missing, or says something that is not done here.
    #[error("{name}: {reason}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer refused a text.
    #[error("the text cannot be tokenized: {0}")]
    Tokenize(String),
    /// The model does not make a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The input does not fit the model, or the device failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// How the positions of a text or a picture become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all.
    Mean,
    /// The first one: the class token.
    First,
    /// The last one: the end of the text.
    Last,
}

/// An image model: 8-bit RGB pictures to features.
pub struct ImageModel {
    program: Arc<dyn Program>,
    preprocessing: Preprocessing,
    dimensions: usize,
    /// Whether its features are replaced by their signed square roots.
    is_rooted: bool,
    sight: Option<Sight>,
}

impl ImageModel {
    /// Numbers in each vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Side of the square input.
    #[must_use]
    pub fn input_side(&self) -> usize {
        self.preprocessing.side
    }

    /// How pictures are prepared.
    #[must_use]
    pub fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    /// The features of `pixels` (`[pictures, side, side, 3]`, RGB): `[pictures, dimensions]`, not normalised.
    ///
    /// # Errors
    /// When the bytes are not exactly that many pictures, or the device fails.
    pub fn embed(&self, pixels: &[u8], pictures: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.see(pixels, pictures)?.0)
    }

    /// The map that [`ImageModel::see`] gives of each picture, where the model has one.
    #[must_use]
    pub fn sight(&self) -> Option<Sight> {
        self.sight
    }

    /// The features of pictures, as [`ImageModel::embed`] gives them, and where the model looked: `[pictures, height, width, channels]`,
    /// empty where it has no map.
    ///
    /// # Errors
    /// As [`ImageModel::embed`].
    pub fn see(&self, pixels: &[u8], pictures: usize) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let picture = self.preprocessing.side * self.preprocessing.side * 3;
        if picture.checked_mul(pictures) != Some(pixels.len()) {
            return Err(RunError::Pixels { bytes: pixels.len(), picture }.into());
        }
        let mut outputs = self.program.run(Input::Pixels(pixels))?.into_iter();
        let mut features = outputs.next().unwrap_or_default();
        if self.is_rooted {
            features.iter_mut().for_each(|feature| *feature = feature.abs().sqrt().copysign(*feature));
        }
        Ok((features, outputs.next().unwrap_or_default()))
    }
}

/// A text model: texts to vectors of length 1.
pub struct TextModel {
    program: Arc<dyn Program>,
    tokenizer: TextTokenizer,
    dimensions: usize,
    length_max: usize,
}

impl TextModel {
    /// Numbers in each vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Greatest number of tokens of a text; longer ones are cut.
    #[must_use]
    pub fn length_max(&self) -> usize {
        self.length_max
    }

    /// The ids of a text's tokens, with the marks of beginning and end, cut to [`TextModel::length_max`].
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.ids(text)
    }

    /// The vectors of `texts`: `[texts, dimensions]`, each of length 1.
    ///
    /// # Errors
    /// When the tokenizer refuses a text, or the device fails.
    pub fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<f32>, ModelError> {
        let ids = texts.iter().map(|text| self.tokenize(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        self.embed_tokens(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The vectors of texts that are tokens already: `[texts, dimensions]`, each of length 1.
    ///
    /// # Errors
    /// When a text is empty or too long, a token is unknown, or the device fails.
    pub fn embed_tokens(&self, texts: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        Ok(self.program.run(Input::Tokens(texts))?.swap_remove(0))
    }
}

/// Tokens of a text that the default text model reads, marks of beginning and end included: what it was trained with, less than
/// its table of places would allow.
const MINI_LM_LENGTH_MAX: usize = 256;

/// How pictures are prepared for a model of the EfficientNet-Lite family, by its name.
pub(crate) fn preprocessing_of(name: &str) -> Option<Preprocessing> {
    efficientnet_lite::FAMILY.iter().find(|member| member.name == name).map(efficientnet_lite::Architecture::preprocessing)
}

/// Loads an image model of the EfficientNet-Lite family from its `.pth` file, as it was published.
///
/// # Errors
/// When the file is not that model, or the executor cannot run it.
pub fn load_image_model_on(executor: &dyn Executor, weights: &WeightFile) -> Result<ImageModel, ModelError> {
    load_image_model_for(executor, weights, None)
}

/// The same for comparing pictures, or as it was published.
///
/// # Errors
/// When the file is not that model, or the executor cannot run it.
pub fn load_image_model_for(executor: &dyn Executor, weights: &WeightFile, retrieval: Option<Retrieval>) -> Result<ImageModel, ModelError> {
    let tensors = pickle::read(weights)?;
    // A file of no member fails at the first tensor that it lacks.
    let member = efficientnet_lite::recognise(&tensors).unwrap_or(&efficientnet_lite::FAMILY[0]);
    let preprocessing = retrieval.map_or(member.preprocessing(), |retrieval| retrieval.preprocessing());
    let model = folder::image_model(executor, efficientnet_lite::plan(member, preprocessing.side, tensors)?, preprocessing)?;
    Ok(ImageModel { is_rooted: retrieval.is_some_and(|retrieval| retrieval.rooted), ..model })
}

/// Loads the default text model, all-MiniLM-L6-v2, from `model.safetensors` and the bytes of `tokenizer.json`.
///
/// # Errors
/// When the file is not that model, or the executor cannot run it.
pub fn load_text_model_on(executor: &dyn Executor, weights: &WeightFile, tokenizer_json: &[u8]) -> Result<TextModel, ModelError> {
    let tokenizer = TextTokenizer::new(tokenizer_json, Rules { length_max: MINI_LM_LENGTH_MAX, ..Rules::default() })?;
    let (plan, length_max) = bert::plan(&bert::Architecture::mini_lm_l6(), tensors::from_safetensors(weights)?, MINI_LM_LENGTH_MAX)?;
    let dimensions = output_width(&plan);
    Ok(TextModel { program: executor.prepare(plan)?, tokenizer, dimensions, length_max })
}

fn output_width(plan: &shaders::Plan) -> usize {
    plan.tensors()[plan.outputs()[0].index()].channels()
}
