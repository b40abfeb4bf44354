//! `wgsl/pool.wgsl`: the mean over positions. The twin on the CPU is `kernels::pool`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, item_positions, padded};
use super::source::{Precision, QUAD, SHARED_BYTES_MAX, Source};
use crate::plan::TensorId;

/// Invocations of a workgroup, and how many of them lie along the channels.
const WORKGROUP: usize = 128;
const LANES: usize = 16;

const _: () = assert!((WORKGROUP / LANES).is_power_of_two() && WORKGROUP.is_multiple_of(LANES) && WORKGROUP * 16 <= SHARED_BYTES_MAX);

/// The whole shader.
pub(crate) fn source(precision: Precision) -> String {
    Source::new(precision).constants([("WORKGROUP", WORKGROUP), ("LANES", LANES)]).part(include_str!("../../wgsl/pool.wgsl")).finish()
}

/// Lowers a mean.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, input: TensorId, output: TensorId) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(input);
    let (channels, positions) = (shape.channels(), item_positions(shape));
    let quads = padded(channels) / QUAD;
    let groups = quads.div_ceil(LANES);
    let launch = move |extent: &Extent| Launch::new([extent.items, quads, groups, positions], extent.items * groups);
    let segments = if positions == 0 { Operand::Segments } else { Operand::Nothing };
    let operands = [Operand::Tensor(input), segments, Operand::Nothing, Operand::Nothing, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.positions(shape) * channels) as f64;
    lowering.fixed("mean", source(lowering.engine.precision), operands, launch, operations)
}
