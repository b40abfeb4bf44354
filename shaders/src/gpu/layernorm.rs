//! `wgsl/layernorm.wgsl`: each row to mean 0 and variance 1. The twin on the CPU is `kernels::layernorm`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::{ConstantId, TensorId};

/// Invocations of a workgroup.
pub(crate) const WORKGROUP: usize = 128;
/// Invocations that share a row, without subgroups.
const LANES: usize = 32;

const _: () = assert!(LANES.is_power_of_two() && WORKGROUP.is_multiple_of(LANES));

/// Adds the reduction over the invocations that share a row: `subgroup` of them, or through workgroup memory.
pub(crate) fn with_reduction(source: Source, subgroup: Option<usize>) -> Source {
    let source = source.constants([("WORKGROUP", WORKGROUP), ("LANES", subgroup.unwrap_or(LANES))]);
    source.part(if subgroup.is_some() {
        include_str!("../../wgsl/reduce_subgroup.wgsl")
    } else {
        include_str!("../../wgsl/reduce_shared.wgsl")
    })
}

/// Workgroups for so many rows.
pub(crate) fn workgroups(rows: usize, subgroup: Option<usize>) -> usize {
    rows.div_ceil(WORKGROUP / subgroup.unwrap_or(LANES))
}

/// The whole shader.
pub(crate) fn source(precision: Precision, subgroup: Option<usize>) -> String {
    with_reduction(Source::new(precision), subgroup).part(include_str!("../../wgsl/layernorm.wgsl")).finish()
}

/// Lowers a layer normalisation.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    input: TensorId,
    [gain, shift]: [ConstantId; 2],
    epsilon: f32,
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(input);
    let channels = shape.channels();
    let gain = lowering.weights(gain, Form::vector(channels))?;
    let shift = lowering.weights(shift, Form::vector(channels))?;
    let subgroup = lowering.engine.subgroup();
    let launch = move |extent: &Extent| {
        let rows = extent.positions(shape);
        Launch::new([rows, padded(channels) / QUAD, channels], workgroups(rows, subgroup)).with_numbers(3, [epsilon])
    };
    let operands = [Operand::Tensor(input), Operand::Nothing, gain, shift, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (8 * extent.positions(shape) * channels) as f64;
    lowering.fixed("layernorm", source(lowering.engine.precision, subgroup), operands, launch, operations)
}
