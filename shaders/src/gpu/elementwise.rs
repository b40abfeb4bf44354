//! `wgsl/elementwise.wgsl`: two tensors, number by number. The twin on the CPU is `kernels::elementwise`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source};
use crate::Pairwise;
use crate::plan::TensorId;

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision, function: Pairwise) -> String {
    let operator = match function {
        Pairwise::Add => "+",
        Pairwise::Multiply => "*",
    };
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP)])
        .part(&format!("fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {{ return a {operator} b; }}\n"))
        .part(include_str!("../../wgsl/elementwise.wgsl"))
        .finish()
}

/// Lowers a sum or a product of two tensors.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    [left, right]: [TensorId; 2],
    function: Pairwise,
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(output);
    let quads = padded(shape.channels()) / QUAD;
    let launch = move |extent: &Extent| {
        let quads = extent.positions(shape) * quads;
        Launch::new([quads], quads.div_ceil(WORKGROUP))
    };
    let operands = [Operand::Tensor(left), Operand::Tensor(right), Operand::Nothing, Operand::Nothing, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.positions(shape) * shape.channels()) as f64;
    lowering.fixed("pairwise", source(lowering.engine.precision, function), operands, launch, operations)
}
