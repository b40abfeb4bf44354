//! A model as a list of fused kernels over numbered tensors: what every executor runs.
//!
//! A plan is valid by construction: [`Plan`] grows one step at a time, each step's shapes are checked when it is added, and
//! its fields cannot be changed afterwards. The batch, and for texts the length of each, are open until a run.

use crate::kernels::depthwise::Window;
use crate::kernels::elementwise::Pairwise;
use crate::kernels::gemm::Activation;
use crate::kernels::stem::{COLOURS, Normalisation};
use std::sync::Arc;

mod step;
pub use step::Step;

/// Greatest extent of a map's side.
pub const SIDE_MAX: usize = 4096;
/// Greatest number of channels of a tensor.
pub const CHANNELS_MAX: usize = 65_536;
/// Greatest number of tokens in a text.
pub const LENGTH_MAX: usize = 8192;
/// Greatest number of tensors (and so of steps) of a plan.
pub const TENSORS_MAX: usize = 65_536;
/// Greatest number of floats in one constant.
pub const CONSTANT_FLOATS_MAX: usize = 1 << 30;
const _: () = assert!(SIDE_MAX * SIDE_MAX * CHANNELS_MAX < usize::MAX / 16);

/// What one item of a batch looks like in a tensor; the batch is the leading axis of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 8-bit RGB, `[height, width, 3]`: an input only.
    Pixels {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Token ids, `[length]`, each item with its own length: an input only.
    Tokens {
        /// Greatest length.
        length_max: usize,
    },
    /// `[height, width, channels]`, channels last.
    Map {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Numbers at each position.
        channels: usize,
    },
    /// `[length, channels]`, each item with its own length.
    Sequence {
        /// Numbers for each token.
        channels: usize,
    },
    /// `[channels]`.
    Vector {
        /// Numbers of each item.
        channels: usize,
    },
}

impl Shape {
    /// Numbers at each position; 0 for an input.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Shape::Pixels { .. } | Shape::Tokens { .. } => 0,
            Shape::Map { channels, .. } | Shape::Sequence { channels } | Shape::Vector { channels } => channels,
        }
    }

    fn with_channels(self, channels: usize) -> Shape {
        match self {
            Shape::Map { height, width, .. } => Shape::Map { height, width, channels },
            Shape::Vector { .. } => Shape::Vector { channels },
            _ => Shape::Sequence { channels },
        }
    }
}

/// A tensor of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorId(u32);

/// A constant of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConstantId(u32);

impl TensorId {
    /// Its place in [`Plan::tensors`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ConstantId {
    /// Its place in [`Plan::constants`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named array of numbers that belongs to the model.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The name in the model's file.
    pub name: String,
    /// Row-major, outermost first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Arc<[f32]>,
}

/// Why a model does not make a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A constant's numbers do not fill its shape.
    #[error("constant {name}: {floats} numbers do not fill {shape:?}")]
    Constant {
        /// Of the constant.
        name: String,
        /// As given.
        shape: Vec<usize>,
        /// As given.
        floats: usize,
    },
    /// A step does not fit the tensors or constants it names.
    #[error("step {step} ({kernel}): {reason}")]
    Step {
        /// Its number, from 0.
        step: usize,
        /// The kernel's name.
        kernel: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The plan as a whole exceeds a bound or has no output.
    #[error("plan {name}: {reason}")]
    Plan {
        /// Of the plan.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// A model that any executor can prepare. See the module's text.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    tensors: Vec<Shape>,
    constants: Vec<Constant>,
    steps: Vec<Step>,
    outputs: Vec<TensorId>,
}

impl Plan {
    /// An empty plan, and its input.
    ///
    /// # Errors
    /// When `input` is not pixels or tokens, or exceeds a bound.
    pub fn new(name: impl Into<String>, input: Shape) -> Result<(Plan, TensorId), PlanError> {
        let name = name.into();
        let fits = match input {
            Shape::Pixels { height, width } => (1..=SIDE_MAX).contains(&height) && (1..=SIDE_MAX).contains(&width),
            Shape::Tokens { length_max } => (1..=LENGTH_MAX).contains(&length_max),
            _ => false,
        };
        if !fits {
            return Err(PlanError::Plan { name, reason: format!("the input cannot be {input:?}") });
        }
        Ok((Plan { name, tensors: vec![input], constants: vec![], steps: vec![], outputs: vec![] }, TensorId(0)))
    }

    /// Adds a constant.
    ///
    /// # Errors
    /// When `data` does not fill `shape` exactly, or is empty or too large.
    pub fn constant(&mut self, name: impl Into<String>, shape: &[usize], data: Vec<f32>) -> Result<ConstantId, PlanError> {
        let name = name.into();
        let floats = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if floats != Some(data.len()) || data.is_empty() || data.len() > CONSTANT_FLOATS_MAX || self.constants.len() >= TENSORS_MAX {
            return Err(PlanError::Constant { name, shape: shape.to_vec(), floats: data.len() });
        }
        self.constants.push(Constant { name, shape: shape.to_vec(), data: data.into() });
        Ok(ConstantId(self.constants.len() as u32 - 1))
    }

    /// First convolution over pixels: `activation(window(normalise(input)) + bias)`; `weight` `[kernel, kernel, 3, channels]`,
    /// `bias` `[channels]`. Gives a map.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn stem(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        normalisation: Normalisation,
        activation: Activation,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "stem" };
        let Shape::Pixels { height, width } = check.tensor(input)? else { return Err(check.error("reads pixels only")) };
        check.window(window)?;
        check.that(normalisation.mean.is_finite() && normalisation.deviation.is_normal(), || "normalisation must be finite".into())?;
        let channels = check.vector(bias)?;
        check.constant(weight, &[window.kernel, window.kernel, COLOURS, channels])?;
        let shape = Shape::Map { height: window.output(height), width: window.output(width), channels };
        self.push(shape, |output| Step::Stem { input, weight, bias, window, normalisation, activation, output })
    }

    /// At each position `activation(input * weight + bias) + residual`; `weight` `[depth, columns]`, `bias` `[columns]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn gemm(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "gemm" };
        let from = check.numbers(input)?;
        let columns = check.vector(bias)?;
        check.constant(weight, &[from.channels(), columns])?;
        let shape = from.with_channels(columns);
        if let Some(residual) = residual {
            check.that(check.tensor(residual)? == shape, || format!("the residual is not {shape:?}"))?;
            check.that(residual != input, || "the residual is the input".into())?;
        }
        self.push(shape, |output| Step::Gemm { input, weight, bias, activation, residual, output })
    }

    /// Each channel of a map under its own window: `activation(window(input) + bias)`; `weight` `[kernel, kernel, channels]`.
    ///
    /// # Errors
    /// When the shapes do not fit, or the activation is GELU.
    pub fn depthwise(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        activation: Activation,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "depthwise" };
        let Shape::Map { height, width, channels } = check.tensor(input)? else { return Err(check.error("reads a map only")) };
        check.window(window)?;
        check.that(activation != Activation::Gelu, || "GELU is not offered here".into())?;
        check.constant(weight, &[window.kernel, window.kernel, channels])?;
        check.constant(bias, &[channels])?;
        let shape = Shape::Map { height: window.output(height), width: window.output(width), channels };
        self.push(shape, |output| Step::Depthwise { input, weight, bias, window, activation, output })
    }

    /// At each position `(x - mean) / sqrt(variance + epsilon) * gain + shift`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn layernorm(&mut self, input: TensorId, gain: ConstantId, shift: ConstantId, epsilon: f32) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "layernorm" };
        let shape = check.numbers(input)?;
        check.that(epsilon.is_finite() && epsilon >= 0.0, || format!("epsilon {epsilon} is out of range"))?;
        check.constant(gain, &[shape.channels()])?;
        check.constant(shift, &[shape.channels()])?;
        self.push(shape, |output| Step::LayerNorm { input, gain, shift, epsilon, output })
    }

    /// Self-attention over the tokens of each text, `heads` heads; the input holds queries, keys and values side by side
    /// (`[length, 3 * channels]`).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn attention(&mut self, input: TensorId, heads: usize) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "attention" };
        let Shape::Sequence { channels } = check.tensor(input)? else { return Err(check.error("reads a sequence only")) };
        let whole = heads > 0 && channels.is_multiple_of(heads.saturating_mul(3));
        check.that(whole, || format!("{channels} channels are not queries, keys and values of {heads} heads"))?;
        self.push(Shape::Sequence { channels: channels / 3 }, |output| Step::Attention { input, heads, output })
    }

    /// For each token its row of `words` (`[vocabulary, channels]`) plus the row of its place (`positions`,
    /// `[length_max or more, channels]`).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn embed(&mut self, input: TensorId, words: ConstantId, positions: ConstantId) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "embed" };
        let Shape::Tokens { length_max } = check.tensor(input)? else { return Err(check.error("reads tokens only")) };
        let [vocabulary, channels] = check.shape(words)?[..] else { return Err(check.error("words is not a matrix")) };
        check.that(vocabulary <= u32::MAX as usize, || "the vocabulary is too large".into())?;
        let rows = check.shape(positions)?.first().copied().unwrap_or(0);
        check.that(rows >= length_max, || format!("{rows} positions for texts of up to {length_max} tokens"))?;
        check.constant(positions, &[rows, channels])?;
        self.push(Shape::Sequence { channels }, |output| Step::Embed { input, words, positions, output })
    }

    /// The mean over all positions of a map, or over the tokens of a text. Gives a vector.
    ///
    /// # Errors
    /// When the input has no positions.
    pub fn mean(&mut self, input: TensorId) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "mean" };
        let shape = check.numbers(input)?;
        check.that(!matches!(shape, Shape::Vector { .. }), || "a vector has no positions".into())?;
        self.push(Shape::Vector { channels: shape.channels() }, |output| Step::Mean { input, output })
    }

    /// Scales each position to length 1 (L2).
    ///
    /// # Errors
    /// When the input is pixels or tokens.
    pub fn normalize(&mut self, input: TensorId) -> Result<TensorId, PlanError> {
        let shape = Check { plan: self, kernel: "normalize" }.numbers(input)?;
        self.push(shape, |output| Step::Normalize { input, output })
    }

    /// Two tensors of one shape, number by number.
    ///
    /// # Errors
    /// When the shapes differ, or both are the same tensor.
    pub fn pairwise(&mut self, left: TensorId, right: TensorId, function: Pairwise) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "pairwise" };
        let shape = check.numbers(left)?;
        check.that(check.tensor(right)? == shape && left != right, || "needs two tensors of one shape".into())?;
        self.push(shape, |output| Step::Pairwise { left, right, function, output })
    }

    /// Names a vector as what a run gives back; outputs come in the order in which they are named.
    ///
    /// # Errors
    /// When the tensor is not a vector.
    pub fn output(&mut self, tensor: TensorId) -> Result<(), PlanError> {
        let check = Check { plan: self, kernel: "output" };
        check.that(matches!(check.tensor(tensor)?, Shape::Vector { .. }), || "only a vector can be given back".into())?;
        self.outputs.push(tensor);
        Ok(())
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shapes of all tensors; the first is the input.
    #[must_use]
    pub fn tensors(&self) -> &[Shape] {
        &self.tensors
    }

    /// The shape of the input.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.tensors[0]
    }

    /// All constants.
    #[must_use]
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The steps, each reading only what earlier ones wrote.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What a run gives back.
    #[must_use]
    pub fn outputs(&self) -> &[TensorId] {
        &self.outputs
    }

    /// Takes the plan apart, so that an executor can keep the constants without copying them.
    pub(crate) fn into_parts(self) -> (Vec<Shape>, Vec<Constant>, Vec<Step>, Vec<TensorId>) {
        (self.tensors, self.constants, self.steps, self.outputs)
    }

    fn push(&mut self, shape: Shape, step: impl FnOnce(TensorId) -> Step) -> Result<TensorId, PlanError> {
        if self.tensors.len() >= TENSORS_MAX {
            return Err(PlanError::Plan { name: self.name.clone(), reason: format!("more than {TENSORS_MAX} tensors") });
        }
        let output = TensorId(self.tensors.len() as u32);
        self.tensors.push(shape);
        self.steps.push(step(output));
        Ok(output)
    }
}

/// The checks of one step that is about to be added.
struct Check<'a> {
    plan: &'a Plan,
    kernel: &'static str,
}

impl Check<'_> {
    fn error(&self, reason: impl Into<String>) -> PlanError {
        PlanError::Step { step: self.plan.steps.len(), kernel: self.kernel, reason: reason.into() }
    }

    fn that(&self, holds: bool, reason: impl FnOnce() -> String) -> Result<(), PlanError> {
        if holds { Ok(()) } else { Err(self.error(reason())) }
    }

    fn tensor(&self, id: TensorId) -> Result<Shape, PlanError> {
        self.plan.tensors.get(id.index()).copied().ok_or_else(|| self.error(format!("tensor {} is of another plan", id.0)))
    }

    /// The shape of a tensor that holds numbers.
    fn numbers(&self, id: TensorId) -> Result<Shape, PlanError> {
        let shape = self.tensor(id)?;
        self.that(shape.channels() > 0, || format!("cannot read {shape:?}"))?;
        Ok(shape)
    }

    fn shape(&self, id: ConstantId) -> Result<&[usize], PlanError> {
        self.plan.constants.get(id.index()).map(|constant| &constant.shape[..]).ok_or_else(|| self.error("a constant is of another plan"))
    }

    fn constant(&self, id: ConstantId, want: &[usize]) -> Result<(), PlanError> {
        let shape = self.shape(id)?;
        self.that(shape == want, || format!("{} is {shape:?}, not {want:?}", self.plan.constants[id.index()].name))
    }

    /// The length of a constant of one axis, within the bound on channels.
    fn vector(&self, id: ConstantId) -> Result<usize, PlanError> {
        match self.shape(id)? {
            [channels] if *channels <= CHANNELS_MAX => Ok(*channels),
            shape => Err(self.error(format!("a bias cannot be {shape:?}"))),
        }
    }

    fn window(&self, window: Window) -> Result<(), PlanError> {
        let fits = (1..=64).contains(&window.kernel) && (1..=64).contains(&window.stride);
        self.that(fits, || format!("{window:?} is out of range"))
    }
}

#[cfg(test)]
mod tests;
