//! `wgsl/take.wgsl`: one position of each item. The twin on the CPU is `kernels::take`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, item_positions, padded};
use super::source::{Precision, QUAD, Source};
use crate::Position;
use crate::plan::TensorId;

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision, position: Position) -> String {
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP)])
        .part(&format!("const LAST = {};\n", position == Position::Last))
        .part(include_str!("../../wgsl/take.wgsl"))
        .finish()
}

/// Lowers the choice of a position.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, input: TensorId, position: Position, output: TensorId) -> Result<Dispatch, GpuError> {
    let positions = item_positions(lowering.shape(input));
    let channels = lowering.shape(output).channels();
    let quads = padded(channels) / QUAD;
    let launch = move |extent: &Extent| Launch::new([extent.items * quads, quads, positions], (extent.items * quads).div_ceil(WORKGROUP));
    let segments = if positions == 0 { Operand::Segments } else { Operand::Nothing };
    let operands = [Operand::Tensor(input), segments, Operand::Nothing, Operand::Nothing, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.items * channels) as f64;
    lowering.fixed("take", source(lowering.engine.precision, position), operands, launch, operations)
}
