//! `wgsl/attend.wgsl`: attention pooling. The twin on the CPU is `kernels::attend`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Launch, Lowering, Operand, item_positions, padded};
use super::source::{PADDING, Precision, SHARED_BYTES_MAX, Source, range};
use crate::plan::{ConstantId, TensorId};

/// Invocations of a workgroup.
const WORKGROUP: usize = 128;
/// Widest head, in channels of an invocation.
const CHANNELS_MAX: usize = 8;

const _: () = assert!(WORKGROUP.is_power_of_two() && WORKGROUP * 8 <= SHARED_BYTES_MAX && PADDING <= WORKGROUP);

/// The whole shader.
pub(crate) fn source(precision: Precision, head_width: usize) -> String {
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP)])
        .body(include_str!("../../wgsl/attend.wgsl"), &[("n", range(head_width.div_ceil(WORKGROUP).clamp(1, CHANNELS_MAX)))])
        .finish()
}

/// Lowers attention pooling.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    input: TensorId,
    query: ConstantId,
    heads: usize,
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let (from, to) = (lowering.shape(input), lowering.shape(output));
    let (width, positions) = (to.channels(), item_positions(from));
    let head_width = width / heads;
    if head_width > WORKGROUP * CHANNELS_MAX {
        let have = (WORKGROUP * CHANNELS_MAX) as u64;
        return Err(GpuError::Limit { what: "channels of a head", need: head_width as u64, have });
    }
    let query = lowering.weights(query, Form::vector(width))?;
    let launch = move |extent: &Extent| {
        let strides = [padded(from.channels()), padded(width)];
        let parameters = [extent.items, heads, positions, width, strides[0], strides[1], head_width];
        Launch::new(parameters, extent.items * heads).with_numbers(7, [1.0 / (head_width as f32).sqrt()])
    };
    let segments = if positions == 0 { Operand::Segments } else { Operand::Nothing };
    let operands = [Operand::Tensor(input), segments, query, Operand::Nothing, Operand::Tensor(output)];
    let text = source(lowering.engine.precision, head_width);
    let operations = move |extent: &Extent| 4.0 * (extent.positions(from) * width) as f64;
    lowering.fixed("attend", text, operands, launch, operations)
}
