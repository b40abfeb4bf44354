//! `wgsl/scale.wgsl`: a map times a vector. The twin on the CPU is `kernels::scale`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::TensorId;

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision) -> String {
    Source::new(precision).constants([("WORKGROUP", WORKGROUP)]).part(include_str!("../../wgsl/scale.wgsl")).finish()
}

/// Lowers a product of a map with a vector.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, input: TensorId, factors: TensorId, output: TensorId) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(output);
    let quads = padded(shape.channels()) / QUAD;
    let launch = move |extent: &Extent| {
        let all = extent.positions(shape) * quads;
        Launch::new([all, quads, shape.positions()], all.div_ceil(WORKGROUP))
    };
    let operands = [Operand::Tensor(input), Operand::Tensor(factors), Operand::Nothing, Operand::Nothing, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.positions(shape) * shape.channels()) as f64;
    lowering.fixed("scale", source(lowering.engine.precision), operands, launch, operations)
}
