//! `wgsl/arrange.wgsl`: positions for a transformer. The twin on the CPU is `kernels::arrange`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Launch, Lowering, Operand, item_positions, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::{Around, ConstantId, TensorId};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision, [front, behind]: [usize; 2], places: bool) -> String {
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP), ("FRONT", front), ("BEHIND", behind)])
        .part(&format!("const PLACES = {places};\n"))
        .part(include_str!("../../wgsl/arrange.wgsl"))
        .finish()
}

/// Lowers the arrangement of positions.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    input: TensorId,
    around: Option<Around>,
    places: Option<ConstantId>,
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let shape = lowering.shape(output);
    let (channels, positions) = (shape.channels(), item_positions(shape));
    let quads = padded(channels) / QUAD;
    let (mut counts, mut rows_around) = ([0, 0], Operand::Nothing);
    if let Some(Around { rows, front }) = around {
        let count = lowering.constant(rows).shape[0];
        counts = [front, count - front];
        rows_around = lowering.weights(rows, Form::rows(count, channels, Precision::F32))?;
    }
    let text = source(lowering.engine.precision, counts, places.is_some());
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
    let operands = [Operand::Tensor(input), tokens, rows_around, places, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.positions(shape) * channels) as f64;
    lowering.fixed("arrange", text, operands, launch, operations)
}
