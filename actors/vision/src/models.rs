//! Model files to plans: which files make which model, and the two kinds of model that the house runs.
//!
//! A loaded model is shared between threads; each call takes its working memory from the program's pool.

mod bert;
mod efficientnet_lite;
mod pickle;
mod tensors;
mod tokenizer;

#[cfg(test)]
mod tests;

use shaders::{CpuExecutor, Executor, Input, PlanError, Program, RunError};
use std::sync::Arc;
use tokenizer::TextTokenizer;

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

/// How a picture becomes a model's input; part of the model's contract, since other choices give other vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// Side of the square input.
    pub side: usize,
    /// Side of the centre crop, as a part of the picture's shorter side: `floor(crop * shorter)`.
    pub crop: f64,
    /// The `a` of the cubic convolution that resizes the crop (antialiased, rounded to 8 bits).
    pub cubic: f64,
}

/// An image model: 8-bit RGB pictures to features.
pub struct ImageModel {
    program: Arc<dyn Program>,
    preprocessing: Preprocessing,
    dimensions: usize,
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
        let picture = self.preprocessing.side * self.preprocessing.side * 3;
        if picture.checked_mul(pictures) != Some(pixels.len()) {
            return Err(RunError::Pixels { bytes: pixels.len(), picture }.into());
        }
        Ok(self.program.run(Input::Pixels(pixels))?.swap_remove(0))
    }
}

/// A text model: texts to vectors of length 1.
pub struct TextModel {
    program: Arc<dyn Program>,
    tokenizer: TextTokenizer,
    dimensions: usize,
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
        bert::LENGTH_MAX
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

/// Loads the default image model, EfficientNet-Lite0, from the bytes of its `.pth` file, for one thread a call.
///
/// # Errors
/// When the bytes are not that model.
pub fn load_image_model(weights: &[u8]) -> Result<ImageModel, ModelError> {
    load_image_model_on(&CpuExecutor::new(1), weights)
}

/// As [`load_image_model`], on a chosen executor.
///
/// # Errors
/// When the bytes are not that model, or the executor cannot run it.
pub fn load_image_model_on(executor: &dyn Executor, weights: &[u8]) -> Result<ImageModel, ModelError> {
    let plan = efficientnet_lite::plan(&efficientnet_lite::LITE0, pickle::read(weights)?)?;
    let dimensions = output_width(&plan);
    Ok(ImageModel { program: executor.prepare(plan)?, preprocessing: efficientnet_lite::LITE0.preprocessing, dimensions })
}

/// Loads the default text model, all-MiniLM-L6-v2, from the bytes of `model.safetensors` and `tokenizer.json`, for one thread
/// a call.
///
/// # Errors
/// When the bytes are not that model.
pub fn load_text_model(weights: &[u8], tokenizer_json: &[u8]) -> Result<TextModel, ModelError> {
    load_text_model_on(&CpuExecutor::new(1), weights, tokenizer_json)
}

/// As [`load_text_model`], on a chosen executor.
///
/// # Errors
/// When the bytes are not that model, or the executor cannot run it.
pub fn load_text_model_on(executor: &dyn Executor, weights: &[u8], tokenizer_json: &[u8]) -> Result<TextModel, ModelError> {
    let tokenizer = TextTokenizer::new(tokenizer_json, bert::LENGTH_MAX)?;
    let plan = bert::plan(&bert::MINI_LM_L6, tensors::from_safetensors(weights)?)?;
    let dimensions = output_width(&plan);
    Ok(TextModel { program: executor.prepare(plan)?, tokenizer, dimensions })
}

fn output_width(plan: &shaders::Plan) -> usize {
    plan.tensors()[plan.outputs()[0].index()].channels()
}
