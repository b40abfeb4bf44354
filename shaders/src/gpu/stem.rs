//! `wgsl/stem_direct.wgsl`: the first convolution where windows are small; large windows are products of gathered rows, see
//! `gemm`. The twin on the CPU is `kernels::stem`.

use super::source::{Precision, QUAD, SHARED_BYTES_MAX, Source, range};
use crate::Activation;
use crate::kernels::stem::COLOURS;

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;
/// Quads of channels of an invocation.
const QUADS_MAX: usize = 8;
/// Side of the largest window that counts as small.
const KERNEL_MAX: usize = 5;

const _: () = assert!(KERNEL_MAX * KERNEL_MAX * COLOURS * QUADS_MAX * QUAD * 4 <= SHARED_BYTES_MAX);

/// Whether windows of this side are small.
pub(crate) fn is_small(kernel: usize) -> bool {
    kernel <= KERNEL_MAX
}

fn quads(columns: usize) -> usize {
    (columns / QUAD).clamp(1, QUADS_MAX)
}

/// Workgroups for so many windows and padded channels, and how many of them lie side by side.
pub(crate) fn tiles(rows: usize, columns: usize) -> [usize; 2] {
    let across = (columns / QUAD).div_ceil(quads(columns));
    [rows.div_ceil(WORKGROUP) * across, across]
}

/// The whole shader.
pub(crate) fn source(precision: Precision, kernel: usize, stride: usize, columns: usize, activation: Activation) -> String {
    let quads = quads(columns);
    Source::new(precision)
        .activation(activation)
        .part("const RESIDUAL = false;\n")
        .constants([("WORKGROUP", WORKGROUP), ("KERNEL", kernel), ("STRIDE", stride), ("QUADS", quads)])
        .part(include_str!("../../wgsl/gemm_product.wgsl"))
        .body(include_str!("../../wgsl/stem_direct.wgsl"), &[("j", range(quads))])
        .finish()
}
