//! The kinds of kernel that a plan is made of.

use super::{ConstantId, TensorId};
use crate::{Activation, Normalisation, Pairwise, Position, Window};

/// Learned positions around those of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// All of them, `[rows, channels]`.
    pub rows: ConstantId,
    /// How many stand in front of the map's positions; the others stand behind.
    pub front: usize,
}

/// One kernel and what it reads and writes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are named like the arguments of the method of `Plan` that adds the step, and told there")]
pub enum Step {
    /// See [`Plan::stem`].
    Stem {
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        normalisation: Normalisation,
        activation: Activation,
        output: TensorId,
    },
    /// See [`Plan::gemm`].
    Gemm { input: TensorId, weight: ConstantId, bias: ConstantId, activation: Activation, residual: Option<TensorId>, output: TensorId },
    /// See [`Plan::conv`].
    Conv { input: TensorId, weight: ConstantId, bias: ConstantId, window: Window, activation: Activation, output: TensorId },
    /// See [`Plan::depthwise`].
    Depthwise { input: TensorId, weight: ConstantId, bias: ConstantId, window: Window, activation: Activation, output: TensorId },
    /// See [`Plan::layernorm`].
    LayerNorm { input: TensorId, gain: ConstantId, shift: ConstantId, epsilon: f32, output: TensorId },
    /// See [`Plan::attention`].
    Attention { input: TensorId, heads: usize, causal: bool, output: TensorId },
    /// See [`Plan::attend`].
    Attend { input: TensorId, query: ConstantId, heads: usize, output: TensorId },
    /// See [`Plan::arrange`].
    Arrange { input: TensorId, around: Option<Around>, positions: Option<ConstantId>, output: TensorId },
    /// See [`Plan::embed`].
    Embed { input: TensorId, words: ConstantId, positions: ConstantId, output: TensorId },
    /// See [`Plan::mean`].
    Mean { input: TensorId, output: TensorId },
    /// See [`Plan::take`].
    Take { input: TensorId, position: Position, output: TensorId },
    /// See [`Plan::normalize`].
    Normalize { input: TensorId, output: TensorId },
    /// See [`Plan::pairwise`].
    Pairwise { left: TensorId, right: TensorId, function: Pairwise, output: TensorId },
    /// See [`Plan::scale`].
    Scale { input: TensorId, factors: TensorId, output: TensorId },
}

impl Step {
    /// The kernel's name.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        match self {
            Step::Stem { .. } => "stem",
            Step::Gemm { .. } => "gemm",
            Step::Conv { .. } => "conv",
            Step::Depthwise { .. } => "depthwise",
            Step::LayerNorm { .. } => "layernorm",
            Step::Attention { .. } => "attention",
            Step::Attend { .. } => "attend",
            Step::Arrange { .. } => "arrange",
            Step::Embed { .. } => "embed",
            Step::Mean { .. } => "mean",
            Step::Take { .. } => "take",
            Step::Normalize { .. } => "normalize",
            Step::Pairwise { .. } => "pairwise",
            Step::Scale { .. } => "scale",
        }
    }

    /// The tensor it writes.
    #[must_use]
    pub fn output(&self) -> TensorId {
        match self {
            Step::Stem { output, .. }
            | Step::Gemm { output, .. }
            | Step::Conv { output, .. }
            | Step::Depthwise { output, .. }
            | Step::LayerNorm { output, .. }
            | Step::Attention { output, .. }
            | Step::Attend { output, .. }
            | Step::Arrange { output, .. }
            | Step::Embed { output, .. }
            | Step::Mean { output, .. }
            | Step::Take { output, .. }
            | Step::Normalize { output, .. }
            | Step::Pairwise { output, .. }
            | Step::Scale { output, .. } => *output,
        }
    }

    /// The constants it reads.
    #[must_use]
    pub fn constants(&self) -> [Option<ConstantId>; 2] {
        match self {
            Step::Stem { weight, bias, .. }
            | Step::Gemm { weight, bias, .. }
            | Step::Conv { weight, bias, .. }
            | Step::Depthwise { weight, bias, .. } => [Some(*weight), Some(*bias)],
            Step::LayerNorm { gain, shift, .. } => [Some(*gain), Some(*shift)],
            Step::Embed { words, positions, .. } => [Some(*words), Some(*positions)],
            Step::Arrange { around, positions, .. } => [around.map(|around| around.rows), *positions],
            Step::Attend { query, .. } => [Some(*query), None],
            Step::Attention { .. }
            | Step::Mean { .. }
            | Step::Take { .. }
            | Step::Normalize { .. }
            | Step::Pairwise { .. }
            | Step::Scale { .. } => [None, None],
        }
    }

    /// The tensors it reads.
    #[must_use]
    pub fn inputs(&self) -> [Option<TensorId>; 2] {
        match self {
            Step::Gemm { input, residual, .. } => [Some(*input), *residual],
            Step::Pairwise { left, right, .. } => [Some(*left), Some(*right)],
            Step::Scale { input, factors, .. } => [Some(*input), Some(*factors)],
            Step::Stem { input, .. }
            | Step::Conv { input, .. }
            | Step::Depthwise { input, .. }
            | Step::LayerNorm { input, .. }
            | Step::Attention { input, .. }
            | Step::Attend { input, .. }
            | Step::Arrange { input, .. }
            | Step::Embed { input, .. }
            | Step::Mean { input, .. }
            | Step::Take { input, .. }
            | Step::Normalize { input, .. } => [Some(*input), None],
        }
    }
}
