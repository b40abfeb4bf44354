//! `wgsl/embed.wgsl`: word embeddings. The twin on the CPU is `kernels::embed`, which also does the work where the table is too
//! large for one binding.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Form, Gathered, Launch, Lowering, Operand, padded};
use super::source::{Precision, QUAD, Source};
use crate::plan::{ConstantId, TensorId};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// The whole shader.
pub(crate) fn source(precision: Precision) -> String {
    Source::new(precision).constants([("WORKGROUP", WORKGROUP)]).part(include_str!("../../wgsl/embed.wgsl")).finish()
}

fn forms(lowering: &Lowering<'_>, words: ConstantId, positions: ConstantId) -> [Form; 2] {
    let rows = |id| lowering.constant(id).shape[0];
    let channels = lowering.constant(words).shape[1];
    [Form::rows(rows(words), channels, lowering.engine.precision), Form::rows(rows(positions), channels, Precision::F32)]
}

/// What the CPU needs for the work, where the device cannot bind the table.
pub(crate) fn gathered(lowering: &Lowering<'_>, words: ConstantId, positions: ConstantId, output: TensorId) -> Option<Gathered> {
    let fits = forms(lowering, words, positions).iter().all(|form| form.bytes() <= lowering.engine.binding_bytes_max);
    (!fits).then(|| Gathered {
        words: lowering.constant(words).data.clone(),
        positions: lowering.constant(positions).data.numbers().into(),
        channels: lowering.constant(words).shape[1],
        output,
    })
}

/// Lowers word embeddings.
pub(crate) fn dispatch(
    lowering: &mut Lowering<'_>,
    words: ConstantId,
    positions: ConstantId,
    output: TensorId,
) -> Result<Dispatch, GpuError> {
    let [words_form, positions_form] = forms(lowering, words, positions);
    let words = lowering.weights(words, words_form)?;
    let positions = lowering.weights(positions, positions_form)?;
    let channels = lowering.shape(output).channels();
    let quads = padded(channels) / QUAD;
    let launch = move |extent: &Extent| Launch::new([extent.tokens * quads, quads], (extent.tokens * quads).div_ceil(WORKGROUP));
    let operands = [Operand::Input, Operand::Nothing, words, positions, Operand::Tensor(output)];
    let operations = move |extent: &Extent| (extent.tokens * channels) as f64;
    lowering.fixed("embed", source(lowering.engine.precision), operands, launch, operations)
}
