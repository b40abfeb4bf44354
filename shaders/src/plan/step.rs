//! The kinds of kernel that a plan is made of.

use super::{ConstantId, TensorId};
use crate::{Activation, Normalisation, Pairwise, Window};

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
    /// See [`Plan::depthwise`].
    Depthwise { input: TensorId, weight: ConstantId, bias: ConstantId, window: Window, activation: Activation, output: TensorId },
    /// See [`Plan::layernorm`].
    LayerNorm { input: TensorId, gain: ConstantId, shift: ConstantId, epsilon: f32, output: TensorId },
    /// See [`Plan::attention`].
    Attention { input: TensorId, heads: usize, output: TensorId },
    /// See [`Plan::embed`].
    Embed { input: TensorId, words: ConstantId, positions: ConstantId, output: TensorId },
    /// See [`Plan::mean`].
    Mean { input: TensorId, output: TensorId },
    /// See [`Plan::normalize`].
    Normalize { input: TensorId, output: TensorId },
    /// See [`Plan::pairwise`].
    Pairwise { left: TensorId, right: TensorId, function: Pairwise, output: TensorId },
}

impl Step {
    /// The tensor it writes.
    #[must_use]
    pub fn output(&self) -> TensorId {
        match self {
            Step::Stem { output, .. }
            | Step::Gemm { output, .. }
            | Step::Depthwise { output, .. }
            | Step::LayerNorm { output, .. }
            | Step::Attention { output, .. }
            | Step::Embed { output, .. }
            | Step::Mean { output, .. }
            | Step::Normalize { output, .. }
            | Step::Pairwise { output, .. } => *output,
        }
    }

    /// The constants it reads.
    #[must_use]
    pub fn constants(&self) -> [Option<ConstantId>; 2] {
        match self {
            Step::Stem { weight, bias, .. } | Step::Gemm { weight, bias, .. } | Step::Depthwise { weight, bias, .. } => {
                [Some(*weight), Some(*bias)]
            }
            Step::LayerNorm { gain, shift, .. } => [Some(*gain), Some(*shift)],
            Step::Embed { words, positions, .. } => [Some(*words), Some(*positions)],
            Step::Attention { .. } | Step::Mean { .. } | Step::Normalize { .. } | Step::Pairwise { .. } => [None, None],
        }
    }

    /// The tensors it reads.
    #[must_use]
    pub fn inputs(&self) -> [Option<TensorId>; 2] {
        match self {
            Step::Gemm { input, residual, .. } => [Some(*input), *residual],
            Step::Pairwise { left, right, .. } => [Some(*left), Some(*right)],
            Step::Stem { input, .. }
            | Step::Depthwise { input, .. }
            | Step::LayerNorm { input, .. }
            | Step::Attention { input, .. }
            | Step::Embed { input, .. }
            | Step::Mean { input, .. }
            | Step::Normalize { input, .. } => [Some(*input), None],
        }
    }
}
