//! What runs plans: the contract that the CPU executor fulfils and a GPU executor can fulfil beside it.

use crate::plan::{Plan, PlanError};
use std::sync::Arc;

/// A device, or a way of using one, that plans can be prepared for.
pub trait Executor: Send + Sync {
    /// What it runs on, for logs and reports.
    fn describe(&self) -> String;

    /// Lays out the constants for this device and plans the memory. The plan is consumed, so that constants which the
    /// device keeps in another layout are freed one by one; a clone of a plan shares its constants.
    ///
    /// # Errors
    /// When the plan has no output, or needs what the device does not have.
    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError>;
}

/// A plan made ready for one device. Threads share it; each run takes its own working memory from a pool.
pub trait Program: Send + Sync {
    /// Runs a batch: one buffer for each of the plan's outputs, `[items, channels]` for a vector and
    /// `[items, height * width * channels]` for a map.
    ///
    /// # Errors
    /// When the input is not what the plan was made for, or the device fails; after an error the program can be run again.
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError>;

    /// Whether the numbers of the model turned out to exceed half precision, so that it runs in single precision although its device
    /// would do without.
    fn has_left_half_precision(&self) -> bool {
        false
    }

    /// Bytes that it holds on its device between runs: the weights, and working memory kept for the next run.
    fn memory_bytes(&self) -> u64;
}

/// The items of one batch.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `[items, height, width, 3]`.
    Pixels(&'a [u8]),
    /// One slice of token ids for each item, none empty.
    Tokens(&'a [&'a [u32]]),
}

/// Why a run was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Tokens for an image model, or pixels for a text model.
    #[error("the model does not read this kind of input")]
    Kind,
    /// Pixels that are not a whole number of pictures.
    #[error("{bytes} bytes are not a whole number of pictures of {picture} bytes")]
    Pixels {
        /// Given.
        bytes: usize,
        /// Of one picture.
        picture: usize,
    },
    /// A text without tokens, or with more than the model takes.
    #[error("text {item} has {length} tokens, not 1 to {length_max}")]
    Length {
        /// Its place in the batch.
        item: usize,
        /// Its tokens.
        length: usize,
        /// The model's limit.
        length_max: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("text {item} has token {token}, beyond the vocabulary of {vocabulary}")]
    Token {
        /// Its text's place in the batch.
        item: usize,
        /// The id.
        token: u32,
        /// Ids are below this.
        vocabulary: usize,
    },
    /// The working memory of this batch could not be had; a smaller batch may fit.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device is well, but cannot run this plan.
    #[error("the device cannot run the model: {0}")]
    Unfit(String),
    /// The device failed; the same plan on another executor may succeed.
    #[error("the device failed: {0}")]
    Device(String),
}
