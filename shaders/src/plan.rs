//! A model as a list of fused kernels over numbered tensors: what every executor runs.
//!
//! A plan is valid by construction: [`Plan`] grows one step at a time, each step's shapes are checked when it is added, and
//! its fields cannot be changed afterwards. The batch, and for texts the length of each, are open until a run.

mod build;
mod check;
mod data;
mod step;
pub use data::{Bytes, Data, Floats, Stored};
pub use step::{Around, Step};

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
/// Greatest number of floats of one item in a tensor: 1 GiB.
pub const ITEM_FLOATS_MAX: usize = 1 << 28;
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

    /// Positions of one item; 0 where each item has its own number of them.
    #[must_use]
    pub fn positions(self) -> usize {
        match self {
            Shape::Pixels { height, width } | Shape::Map { height, width, .. } => height * width,
            Shape::Tokens { .. } | Shape::Sequence { .. } => 0,
            Shape::Vector { .. } => 1,
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
    pub data: Data,
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
        self.table(name, shape, data.into())
    }

    /// Adds a constant that may lie in the model's file: worth it for words, of which a run reads few. All others are read when the
    /// plan is prepared.
    ///
    /// # Errors
    /// As for [`Plan::constant`].
    pub fn table(&mut self, name: impl Into<String>, shape: &[usize], data: Data) -> Result<ConstantId, PlanError> {
        let name = name.into();
        let floats = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if floats != Some(data.len()) || data.is_empty() || data.len() > CONSTANT_FLOATS_MAX || self.constants.len() >= TENSORS_MAX {
            return Err(PlanError::Constant { name, shape: shape.to_vec(), floats: data.len() });
        }
        self.constants.push(Constant { name, shape: shape.to_vec(), data });
        Ok(ConstantId(self.constants.len() as u32 - 1))
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
        if shape.positions() * shape.channels() > ITEM_FLOATS_MAX || shape.channels() > CHANNELS_MAX {
            return Err(PlanError::Plan { name: self.name.clone(), reason: format!("a tensor of {shape:?} is too large") });
        }
        let output = TensorId(self.tensors.len() as u32);
        self.tensors.push(shape);
        self.steps.push(step(output));
        Ok(output)
    }
}

#[cfg(test)]
mod tests;
