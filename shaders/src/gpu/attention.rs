//! `wgsl/attention.wgsl`: self-attention, its softmax computed along the way. The twin on the CPU is `kernels::attention`.

use super::device::GpuError;
use super::lower::{Dispatch, Extent, Launch, Lowering, Operand, item_positions, padded};
use super::source::{COMPONENTS, Precision, QUAD, Source, range};
use crate::plan::Step;

/// Queries of a workgroup.
pub(crate) const QUERIES: usize = 32;
/// Keys that are scored at a time.
const CHUNK: usize = 8;
/// Most keys in workgroup memory at a time.
const KEYS_MAX: usize = 32;
/// Quads of a query that one invocation holds in registers.
const LANE_QUADS_MAX: usize = 16;
/// Most invocations that share a query.
const LANES_MAX: usize = 8;

const _: () = assert!(KEYS_MAX.is_multiple_of(CHUNK) && QUERIES * LANES_MAX <= super::source::WORKGROUP_MAX);

/// How a head is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// Invocations of a query.
    pub(crate) lanes: usize,
    /// Quads of each of them.
    pub(crate) lane_quads: usize,
    /// Keys in workgroup memory at a time.
    pub(crate) keys: usize,
}

impl Division {
    /// For heads of so many numbers and so many bytes of workgroup memory; `None` where they do not fit.
    pub(crate) fn new(head_width: usize, shared_bytes: usize) -> Option<Division> {
        let quads = head_width.div_ceil(QUAD);
        let lanes = quads.div_ceil(LANE_QUADS_MAX).next_power_of_two();
        let lane_quads = quads.div_ceil(lanes);
        let bytes = |keys: usize| keys * lanes * lane_quads * 2 * 16 + if lanes > 1 { CHUNK * QUERIES * lanes * 4 } else { 4 };
        let keys = [KEYS_MAX, KEYS_MAX / 2, CHUNK].into_iter().find(|keys| bytes(*keys) <= shared_bytes)?;
        (lanes <= LANES_MAX).then_some(Division { lanes, lane_quads, keys })
    }
}

/// The whole shader.
pub(crate) fn source(precision: Precision, shape: Division, whole_quads: bool, causal: bool) -> String {
    let workgroup = QUERIES * shape.lanes;
    let accesses =
        if whole_quads { include_str!("../../wgsl/attention_quads.wgsl") } else { include_str!("../../wgsl/attention_scalars.wgsl") };
    let placeholders: &[(&str, &[&str])] = &[("n", range(shape.lane_quads)), ("k", range(CHUNK)), ("c", COMPONENTS)];
    Source::new(precision)
        .constants([("CHOOSE_x", 0), ("CHOOSE_y", 1), ("CHOOSE_z", 2), ("CHOOSE_w", 3)])
        .constants([
            ("WORKGROUP", workgroup),
            ("QUERIES", QUERIES),
            ("LANES", shape.lanes),
            ("LANE_QUADS", shape.lane_quads),
            ("HEAD_QUADS", shape.lanes * shape.lane_quads),
            ("KEYS", shape.keys),
            ("CHUNK", CHUNK),
            ("SHARED_SCORES", if shape.lanes > 1 { CHUNK * workgroup } else { 1 }),
        ])
        .part(&format!("const CAUSAL = {causal};\n"))
        .body(include_str!("../../wgsl/attention.wgsl"), placeholders)
        .body(accesses, placeholders)
        .finish()
}

/// Lowers self-attention.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, step: &Step) -> Result<Dispatch, GpuError> {
    let Step::Attention { input, heads, causal, output } = step else {
        return Err(GpuError::Failed("not attention".to_owned()));
    };
    let (heads, causal) = (*heads, *causal);
    let (from, to) = (lowering.shape(*input), lowering.shape(*output));
    let (width, positions) = (to.channels(), item_positions(from));
    let head_width = width / heads;
    let shared_bytes = lowering.engine.shared_bytes();
    let Some(shape) = Division::new(head_width, shared_bytes) else {
        let need = (head_width * CHUNK * 8) as u64;
        return Err(GpuError::Limit { what: "bytes of workgroup memory for a head", need, have: shared_bytes as u64 });
    };
    let item_tiles = positions.div_ceil(QUERIES);
    let launch = move |extent: &Extent| {
        let tiles = if positions == 0 { extent.tiles } else { extent.items * item_tiles };
        let strides = [padded(from.channels()), padded(width)];
        let parameters = [tiles, heads, positions, item_tiles, width, strides[0], strides[1], head_width];
        Launch::new(parameters, tiles * heads).with_numbers(8, [1.0 / (head_width as f32).sqrt()])
    };
    let tiles = if positions == 0 { Operand::Tiles } else { Operand::Nothing };
    let operands = [Operand::Tensor(*input), tiles, Operand::Nothing, Operand::Nothing, Operand::Tensor(*output)];
    let text = source(lowering.engine.precision, shape, head_width.is_multiple_of(QUAD), causal);
    let operations = move |extent: &Extent| {
        // For texts as if all were of the mean length.
        let length = extent.positions(from) as f64 / extent.items.max(1) as f64;
        4.0 * extent.positions(from) as f64 * length * width as f64
    };
    lowering.fixed("attention", text, operands, launch, operations)
}
