//! Parts that transformers over texts and over pictures share, from tensors named as Hugging Face names them.

use super::ModelError;
use super::tensors::{Tensors, transpose};
use shaders::{Activation, ConstantId, Plan, TensorId};

/// A plan that grows, and the tensors that it takes.
pub(super) struct Builder {
    pub(super) plan: Plan,
    pub(super) tensors: Tensors,
}

/// What all blocks of one encoder have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f32,
    /// Whether a token looks only back.
    pub(super) causal: bool,
}

/// Greatest number of blocks.
const LAYERS_MAX: usize = 256;

impl Sizes {
    /// Whether the heads share the channels evenly and there are not too many blocks.
    pub(super) fn checked(self) -> Result<Sizes, ModelError> {
        let fits = self.heads > 0 && self.hidden.is_multiple_of(self.heads) && (1..=LAYERS_MAX).contains(&self.layers);
        let reason = format!("{} heads of {} channels in {} layers", self.heads, self.hidden, self.layers);
        if fits { Ok(self) } else { Err(ModelError::File { name: "config.json".to_owned(), reason }) }
    }
}

/// The activation that a configuration names.
pub(super) fn activation(name: &str) -> Result<Activation, ModelError> {
    Ok(match name {
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "quick_gelu" => Activation::QuickGelu,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        _ => return Err(ModelError::File { name: "config.json".to_owned(), reason: format!("activation {name:?} is not known") }),
    })
}

impl Builder {
    /// `NAME.weight` (`[to, from]`) and `NAME.bias`, where there is one.
    pub(super) fn linear(
        &mut self,
        x: TensorId,
        name: &str,
        [from, to]: [usize; 2],
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, ModelError> {
        let weight = self.tensors.take(&format!("{name}.weight"), &[to, from])?;
        let weight = self.plan.constant(format!("{name}.weight"), &[from, to], transpose(&weight, to, from))?;
        let bias = self.vector(&format!("{name}.bias"), to, 0.0)?;
        Ok(self.plan.gemm(x, weight, bias, activation, residual)?)
    }

    /// A tensor of one axis, or the same number everywhere where it is not in the file.
    pub(super) fn vector(&mut self, name: &str, length: usize, other: f32) -> Result<ConstantId, ModelError> {
        let numbers = if self.tensors.has(name) { self.tensors.take(name, &[length])? } else { vec![other; length] };
        Ok(self.plan.constant(name, &[length], numbers)?)
    }

    /// `NAME.weight` and `NAME.bias`.
    pub(super) fn layernorm(&mut self, x: TensorId, name: &str, sizes: &Sizes) -> Result<TensorId, ModelError> {
        let mut constant = |part: &str| {
            let name = format!("{name}.{part}");
            let data = self.tensors.take(&name, &[sizes.hidden])?;
            Ok::<_, ModelError>(self.plan.constant(name, &[sizes.hidden], data)?)
        };
        let (gain, shift) = (constant("weight")?, constant("bias")?);
        Ok(self.plan.layernorm(x, gain, shift, sizes.epsilon)?)
    }

    /// Attention over `x`, before its output is projected: the projections of all `parts` in one product. `PREFIX.in_proj_weight`
    /// holds all of them where an exporter has joined them.
    pub(super) fn attention(&mut self, x: TensorId, prefix: &str, parts: [&str; 3], sizes: &Sizes) -> Result<TensorId, ModelError> {
        let hidden = sizes.hidden;
        let (weights, biases) = self.projections(prefix, &parts, hidden)?;
        let weight = self.plan.constant(format!("{prefix}.weight"), &[hidden, 3 * hidden], transpose(&weights, 3 * hidden, hidden))?;
        let bias = self.plan.constant(format!("{prefix}.bias"), &[3 * hidden], biases)?;
        let all = self.plan.gemm(x, weight, bias, Activation::None, None)?;
        Ok(self.plan.attention(all, sizes.heads, sizes.causal)?)
    }

    /// Weights `[3 * hidden, hidden]` and biases of queries, keys and values, one after the other.
    pub(super) fn projections(&mut self, prefix: &str, parts: &[&str; 3], hidden: usize) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let joined = format!("{prefix}.in_proj_weight");
        if self.tensors.has(&joined) {
            let weights = self.tensors.take(&joined, &[3 * hidden, hidden])?;
            return Ok((weights, self.tensors.take(&format!("{prefix}.in_proj_bias"), &[3 * hidden])?));
        }
        let (mut weights, mut biases) = (Vec::with_capacity(3 * hidden * hidden), Vec::with_capacity(3 * hidden));
        for part in parts {
            weights.extend(self.tensors.take(&format!("{prefix}.{part}.weight"), &[hidden, hidden])?);
            biases.extend(self.tensors.take(&format!("{prefix}.{part}.bias"), &[hidden])?);
        }
        Ok((weights, biases))
    }
}
