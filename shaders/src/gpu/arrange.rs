//! `wgsl/arrange.wgsl`: positions for a transformer. The twin on the CPU is `kernels::arrange`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Launch, Lowering, Operand, item_positions, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::{ConstantId, TensorId};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision, first: bool, places: bool) -> String {
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP), ("FIRST", usize::from(first))])
        .part(&format!("const PLACES = {places};\n"))
        .part(include_str!("../../wgsl/arrange.wgsl"))
        .finish()
}

/// Lowers the arrangement of positions.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    input: TensorId,
    [first, places]: [Option<ConstantId>; 2],
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(output);
    let (channels, positions) = (shape.channels(), item_positions(shape));
    let quads = padded(channels) / QUAD;
    let text = source(lowering.engine.precision, first.is_some(), places.is_some());
    let first = first.map_or(Ok(Operand::Nothing), |first| lowering.weights(first, Form::vector(channels)))?;
    let places = match places {
        Some(places) => {
            let rows = lowering.constant(places).shape[0];
            lowering.weights(places, Form::rows(rows, channels, Precision::F32))?
        }
        None => Operand::Nothing,
    };
    let launch = move |extent: &Extent| {
        let all = extent.positions(shape) * quads;
        Launch::new([all, quads, positions], all.div_ceil(WORKGROUP))
    };
    let tokens = if positions == 0 { Operand::Input } else { Operand::Nothing };
    let operands = [Operand::Tensor(input), tokens, first, places, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.positions(shape) * channels) as f64;
    lowering.fixed("arrange", text, operands, launch, operations)
}
