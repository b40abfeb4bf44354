//! `wgsl/depthwise.wgsl`: each channel under its own window. The twin on the CPU is `kernels::depthwise`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source, range};
use crate::plan::{Shape, Step};
use crate::{Activation, Window};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;
/// Widest line of a window whose numbers an invocation holds in registers.
const SPAN_MAX: usize = 32;

/// Output positions of an invocation: as many as share most of their windows.
fn positions(kernel: usize, stride: usize) -> usize {
    match (kernel, stride) {
        (1..=7, 1) => 4,
        (1..=7, 2) => 2,
        _ => 1,
    }
}

/// The whole shader.
pub(crate) fn source(precision: Precision, kernel: usize, stride: usize, activation: Activation) -> String {
    let positions = positions(kernel, stride);
    let span = (positions - 1) * stride + kernel;
    let stride_text = stride.to_string();
    Source::new(precision)
        .activation(activation)
        .constants([("WORKGROUP", WORKGROUP), ("KERNEL", kernel), ("STRIDE", stride), ("POSITIONS", positions)])
        .body(
            include_str!("../../wgsl/depthwise.wgsl"),
            &[("p", range(positions)), ("t", range(kernel)), ("s", range(span)), ("stride", &[stride_text.as_str()])],
        )
        .finish()
}

/// Lowers a depthwise convolution.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, step: &Step) -> Result<Dispatch, GpuError> {
    let Step::Depthwise { input, weight, bias, window, activation, output } = step else {
        return Err(GpuError::Failed("not a depthwise convolution".to_owned()));
    };
    let (Shape::Map { height, width, channels }, Shape::Map { height: output_height, width: output_width, .. }) =
        (lowering.shape(*input), lowering.shape(*output))
    else {
        return Err(GpuError::Failed("depthwise reads a map only".to_owned()));
    };
    let Window { kernel, stride, .. } = *window;
    if kernel > SPAN_MAX {
        return Err(GpuError::Limit { what: "the side of a window", need: kernel as u64, have: SPAN_MAX as u64 });
    }
    let precision = lowering.engine.precision;
    let weight = lowering.weights(*weight, Form::rows(kernel * kernel, channels, precision))?;
    let bias = lowering.weights(*bias, Form::vector(channels))?;
    let (top, left, quads) = (window.before(height), window.before(width), padded(channels) / QUAD);
    let groups = output_width.div_ceil(positions(kernel, stride));
    let launch = move |extent: &Extent| {
        let invocations = extent.items * output_height * groups * quads;
        let parameters = [invocations, quads, height, width, output_height, output_width, groups, top, left];
        Launch::new(parameters, invocations.div_ceil(WORKGROUP))
    };
    let operands = [Operand::Tensor(*input), Operand::Nothing, weight, bias, Operand::Tensor(*output)];
    let operations = move |extent: &Extent| (2 * extent.items * output_height * output_width * kernel * kernel * channels) as f64;
    lowering.fixed("depthwise", source(precision, kernel, stride, *activation), operands, launch, operations)
}
