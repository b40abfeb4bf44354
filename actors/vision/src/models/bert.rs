//! BERT encoders with mean pooling as a plan (Devlin et al. 2018; sentence vectors as Reimers and Gurevych 2019).

use super::ModelError;
use super::tensors::{Tensors, transpose};
use shaders::{Activation, ConstantId, Plan, Shape, TensorId};

/// Tokens of a text that are read, marks of beginning and end included; what the sentence model was trained with, less than
/// its table of positions would allow.
pub(super) const LENGTH_MAX: usize = 256;

/// The sizes of one encoder.
pub(super) struct Architecture {
    name: &'static str,
    vocabulary: usize,
    positions: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    inner: usize,
    epsilon: f32,
}

/// all-MiniLM-L6-v2: 384 numbers a text.
pub(super) const MINI_LM_L6: Architecture = Architecture {
    name: "all-minilm-l6-v2",
    vocabulary: 30_522,
    positions: 512,
    hidden: 384,
    layers: 6,
    heads: 12,
    inner: 1536,
    epsilon: 1e-12,
};

const _: () = assert!(LENGTH_MAX <= MINI_LM_L6.positions && MINI_LM_L6.hidden.is_multiple_of(MINI_LM_L6.heads));

/// Builds the plan: tokens to vectors of length 1.
pub(super) fn plan(architecture: &Architecture, tensors: Tensors) -> Result<Plan, ModelError> {
    let (plan, tokens) = Plan::new(architecture.name, Shape::Tokens { length_max: LENGTH_MAX })?;
    let mut builder = Builder { plan, tensors, sizes: architecture };
    let mut x = builder.embeddings(tokens)?;
    for layer in 0..architecture.layers {
        x = builder.layer(x, layer)?;
    }
    let mean = builder.plan.mean(x)?;
    let unit = builder.plan.normalize(mean)?;
    builder.plan.output(unit)?;
    Ok(builder.plan)
}

struct Builder<'a> {
    plan: Plan,
    tensors: Tensors,
    sizes: &'a Architecture,
}

impl Builder<'_> {
    /// Words, positions and the type of the first sentence, which is the same for every token and so part of the positions.
    fn embeddings(&mut self, tokens: TensorId) -> Result<TensorId, ModelError> {
        let hidden = self.sizes.hidden;
        let words = self.tensors.take("embeddings.word_embeddings.weight", &[self.sizes.vocabulary, hidden])?;
        let mut positions = self.tensors.take("embeddings.position_embeddings.weight", &[self.sizes.positions, hidden])?;
        let types = self.tensors.take("embeddings.token_type_embeddings.weight", &[2, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(position, kind)| *position += kind);
        }
        let words = self.plan.constant("embeddings.word_embeddings.weight", &[self.sizes.vocabulary, hidden], words)?;
        let positions = self.plan.constant("embeddings.position_embeddings.weight", &[self.sizes.positions, hidden], positions)?;
        let x = self.plan.embed(tokens, words, positions)?;
        self.layernorm(x, "embeddings.LayerNorm")
    }

    fn layer(&mut self, x: TensorId, layer: usize) -> Result<TensorId, ModelError> {
        let (hidden, inner) = (self.sizes.hidden, self.sizes.inner);
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let (weight, bias) = self.queries_keys_values(&name("attention.self"))?;
        let all = self.plan.gemm(x, weight, bias, Activation::None, None)?;
        let mixed = self.plan.attention(all, self.sizes.heads, false)?;
        let mixed = self.linear(mixed, &name("attention.output.dense"), [hidden, hidden], Activation::None, Some(x))?;
        let x = self.layernorm(mixed, &name("attention.output.LayerNorm"))?;
        let wide = self.linear(x, &name("intermediate.dense"), [hidden, inner], Activation::Gelu, None)?;
        let narrow = self.linear(wide, &name("output.dense"), [inner, hidden], Activation::None, Some(x))?;
        self.layernorm(narrow, &name("output.LayerNorm"))
    }

    /// The three projections side by side, so that one product makes all of them.
    fn queries_keys_values(&mut self, prefix: &str) -> Result<(ConstantId, ConstantId), ModelError> {
        let hidden = self.sizes.hidden;
        let (mut weights, mut biases) = (Vec::with_capacity(3 * hidden * hidden), Vec::with_capacity(3 * hidden));
        for part in ["query", "key", "value"] {
            weights.extend(self.tensors.take(&format!("{prefix}.{part}.weight"), &[hidden, hidden])?);
            biases.extend(self.tensors.take(&format!("{prefix}.{part}.bias"), &[hidden])?);
        }
        let weight = self.plan.constant(format!("{prefix}.weight"), &[hidden, 3 * hidden], transpose(&weights, 3 * hidden, hidden))?;
        Ok((weight, self.plan.constant(format!("{prefix}.bias"), &[3 * hidden], biases)?))
    }

    fn linear(
        &mut self,
        x: TensorId,
        name: &str,
        [from, to]: [usize; 2],
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, ModelError> {
        let weight = self.tensors.take(&format!("{name}.weight"), &[to, from])?;
        let weight = self.plan.constant(format!("{name}.weight"), &[from, to], transpose(&weight, to, from))?;
        let bias = self.tensors.take(&format!("{name}.bias"), &[to])?;
        let bias = self.plan.constant(format!("{name}.bias"), &[to], bias)?;
        Ok(self.plan.gemm(x, weight, bias, activation, residual)?)
    }

    fn layernorm(&mut self, x: TensorId, name: &str) -> Result<TensorId, ModelError> {
        let width = self.sizes.hidden;
        let mut constant = |part: &str| {
            let name = format!("{name}.{part}");
            let data = self.tensors.take(&name, &[width])?;
            Ok::<_, ModelError>(self.plan.constant(name, &[width], data)?)
        };
        let (gain, shift) = (constant("weight")?, constant("bias")?);
        Ok(self.plan.layernorm(x, gain, shift, self.sizes.epsilon)?)
    }
}
