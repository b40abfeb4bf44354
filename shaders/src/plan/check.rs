//! What has to hold before a step is added.

use super::{CHANNELS_MAX, ConstantId, Plan, PlanError, SIDE_MAX, Shape, TensorId};
use crate::kernels::window::Window;

/// The checks of one step that is about to be added.
pub(super) struct Check<'a> {
    pub(super) plan: &'a Plan,
    pub(super) kernel: &'static str,
}

impl Check<'_> {
    pub(super) fn error(&self, reason: impl Into<String>) -> PlanError {
        PlanError::Step { step: self.plan.steps.len(), kernel: self.kernel, reason: reason.into() }
    }

    pub(super) fn that(&self, holds: bool, reason: impl FnOnce() -> String) -> Result<(), PlanError> {
        if holds { Ok(()) } else { Err(self.error(reason())) }
    }

    pub(super) fn tensor(&self, id: TensorId) -> Result<Shape, PlanError> {
        self.plan.tensors.get(id.index()).copied().ok_or_else(|| self.error(format!("tensor {} is of another plan", id.0)))
    }

    /// The shape of a tensor that holds numbers.
    pub(super) fn numbers(&self, id: TensorId) -> Result<Shape, PlanError> {
        let shape = self.tensor(id)?;
        self.that(shape.channels() > 0, || format!("cannot read {shape:?}"))?;
        Ok(shape)
    }

    pub(super) fn shape(&self, id: ConstantId) -> Result<&[usize], PlanError> {
        self.plan.constants.get(id.index()).map(|constant| &constant.shape[..]).ok_or_else(|| self.error("a constant is of another plan"))
    }

    pub(super) fn constant(&self, id: ConstantId, want: &[usize]) -> Result<(), PlanError> {
        let shape = self.shape(id)?;
        self.that(shape == want, || format!("{} is {shape:?}, not {want:?}", self.plan.constants[id.index()].name))
    }

    /// The length of a constant of one axis, within the bound on channels.
    pub(super) fn vector(&self, id: ConstantId) -> Result<usize, PlanError> {
        match self.shape(id)? {
            [channels] if (1..=CHANNELS_MAX).contains(channels) => Ok(*channels),
            shape => Err(self.error(format!("a bias cannot be {shape:?}"))),
        }
    }

    /// That `id` is `[length_max or more, channels]`.
    pub(super) fn positions(&self, id: ConstantId, length_max: usize, channels: usize) -> Result<(), PlanError> {
        let rows = self.shape(id)?.first().copied().unwrap_or(0);
        self.that(rows >= length_max, || format!("{rows} positions for texts of up to {length_max} tokens"))?;
        self.constant(id, &[rows, channels])
    }

    /// The map that a window makes of `[height, width]` positions.
    pub(super) fn window(&self, window: Window, [height, width]: [usize; 2], channels: usize) -> Result<Shape, PlanError> {
        self.that(window.is_valid(), || format!("{window:?} is out of range"))?;
        let (height, width) = (window.output(height), window.output(width));
        self.that(height > 0 && width > 0, || format!("{window:?} is larger than the map"))?;
        self.that(height <= SIDE_MAX && width <= SIDE_MAX, || format!("a map of {height} x {width} is too large"))?;
        Ok(Shape::Map { height, width, channels })
    }

    /// The channels of a map or a sequence.
    pub(super) fn positioned(&self, id: TensorId) -> Result<usize, PlanError> {
        match self.tensor(id)? {
            Shape::Map { channels, .. } | Shape::Sequence { channels } => Ok(channels),
            shape => Err(self.error(format!("reads a map or a sequence, not {shape:?}"))),
        }
    }
}
