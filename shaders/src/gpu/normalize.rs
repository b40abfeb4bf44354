//! `wgsl/normalize.wgsl`: each row to length 1. The twin on the CPU is `kernels::normalize`.

use super::device::GpuError;
use super::layernorm::{with_reduction, workgroups};
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::TensorId;

/// The whole shader.
pub(crate) fn source(precision: Precision, subgroup: Option<usize>) -> String {
    with_reduction(Source::new(precision), subgroup).part(include_str!("../../wgsl/normalize.wgsl")).finish()
}

/// Lowers an L2 normalisation.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, input: TensorId, output: TensorId) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(input);
    let channels = shape.channels();
    let subgroup = lowering.engine.subgroup();
    let launch = move |extent: &Extent| {
        let rows = extent.positions(shape);
        Launch::new([rows, padded(channels) / QUAD, channels], workgroups(rows, subgroup))
    };
    let operands = [Operand::Tensor(input), Operand::Nothing, Operand::Nothing, Operand::Nothing, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (3 * extent.positions(shape) * channels) as f64;
    lowering.fixed("normalize", source(lowering.engine.precision, subgroup), operands, launch, operations)
}
