//! Builds a segment: learn, encode, order by lists, encode what needs the order, link the graph.
#![allow(unsafe_code, reason = "rows of one column go to different threads")]

use std::sync::Arc;

use super::{Meta, Segment, SegmentParams};
use crate::codes::lean::Encoder;
use crate::codes::projection::SAMPLE_ROWS_MAX;
use crate::codes::{DIMENSION_MAX, Projection, exact, padded};
use crate::graph::{self, BuildParams};
use crate::lists::{self, Clustering, Points};
use crate::memory::Buffer;
use crate::parallel::{Random, SharedRows, ShouldStop, for_each_chunk};

/// Rows per list, about, and the bounds of the number of lists.
const LIST_ROWS_MIN: usize = 64;
const LISTS_MAX: usize = 8192;

/// Rows encoded together.
const CHUNK_ROWS: usize = 64;

/// Where the rows of a new segment come from; read several times, by several threads.
pub trait Rows: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// True without rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes row `index` into `out`, which has the dimension's length. Numbers must be finite.
    fn read(&self, index: usize, out: &mut [f32]);
}

impl Rows for Vec<Vec<f32>> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn read(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(&self[index]);
    }
}

/// A new segment and where its rows came from.
pub struct Built {
    /// The segment.
    pub segment: Segment,
    /// The index in the source of every row.
    pub order: Vec<u32>,
}

impl Segment {
    /// Builds a segment from `rows` on `threads` threads, with `projection` or one learned from the rows.
    ///
    /// Returns `None` when `should_stop` said so.
    ///
    /// # Panics
    /// Where the dimension is out of bounds or the projection is of another space: both are the caller's own constants.
    #[must_use]
    pub fn build(
        params: SegmentParams,
        projection: Option<Arc<Projection>>,
        rows: &dyn Rows,
        threads: usize,
        should_stop: ShouldStop<'_>,
    ) -> Option<Built> {
        assert!((1..=DIMENSION_MAX).contains(&params.dimension), "dimension {}", params.dimension);
        assert!(rows.len() < graph::ROWS_MAX, "{} rows", rows.len());
        let projection = match projection {
            Some(projection) => projection,
            None => Arc::new(learn(&params, rows, threads, should_stop)?),
        };
        assert!(projection.dimension() == params.dimension && projection.metric() == params.metric, "a projection of the rows' space");
        let (stride, lean, step) = (projection.stride(), projection.lean(), projection.step());
        let unordered = encode_lean(&projection, rows, threads, should_stop)?;
        let count = if params.lists == 0 { lists_for(rows.len()) } else { params.lists };
        let mut assignment = {
            let points = Points { codes: &unordered, stride, lean, step };
            let clustering = Clustering { lists: count, seed: params.seed, threads };
            lists::assign(points, clustering, should_stop)?
        };
        let order = lists::order(&assignment);
        assignment.first = order.iter().map(|row| assignment.first[*row as usize]).collect();
        if !assignment.second.is_empty() {
            assignment.second = order.iter().map(|row| assignment.second[*row as usize]).collect();
        }
        let mut codes = Buffer::<u8>::zeroed(unordered.len());
        for (line, row) in codes.chunks_exact_mut(stride).zip(&order) {
            line.copy_from_slice(&unordered[*row as usize * stride..(*row as usize + 1) * stride]);
        }
        drop(unordered);
        let lists = lists::pack(Points { codes: &codes, stride, lean, step }, &assignment, threads, should_stop)?;
        let exact = encode_exact(&projection, rows, &order, threads, should_stop)?;
        let graph =
            if params.degree == 0 { None } else { Some(graph::build(&codes, stride, build_params(&params, threads), should_stop)?) };
        let meta = Meta { params, rows: order.len() };
        let segment = Self { meta, projection, lean: codes.into(), exact: exact.into(), lists, graph };
        Some(Built { segment, order })
    }

    /// The segment with a graph in which no edge leads to or from a dead row; the rows stay. `None` when stopped.
    #[must_use]
    pub fn repair(&self, is_alive: &(dyn Fn(u32) -> bool + Sync), threads: usize, should_stop: ShouldStop<'_>) -> Option<Self> {
        let graph = match &self.graph {
            Some(graph) if !self.is_empty() => {
                let params = build_params(&self.meta.params, threads);
                Some(graph::repair(graph, &self.lean, self.projection.stride(), params, is_alive, should_stop)?)
            }
            other => other.clone(),
        };
        Some(Self { graph, ..self.clone() })
    }
}

fn build_params(params: &SegmentParams, threads: usize) -> BuildParams {
    BuildParams {
        degree: params.degree,
        breadth: params.build_breadth,
        alpha: params.alpha,
        entries: params.entries,
        seed: params.seed,
        threads,
    }
}

/// About twice the square root of the rows, lists of at least [`LIST_ROWS_MIN`].
fn lists_for(rows: usize) -> usize {
    (2 * rows.isqrt()).min(rows / LIST_ROWS_MIN).clamp(1, LISTS_MAX)
}

/// Learns a projection from a sample of the rows.
fn learn(params: &SegmentParams, rows: &dyn Rows, threads: usize, should_stop: ShouldStop<'_>) -> Option<Projection> {
    let width = padded(params.dimension);
    let sample = Random::new(params.seed).sample(rows.len(), SAMPLE_ROWS_MAX);
    let mut values = vec![0f32; sample.len() * width];
    for (row, values) in sample.iter().zip(values.chunks_exact_mut(width)) {
        rows.read(*row as usize, &mut values[..params.dimension]);
        params.metric.normalise(&mut values[..params.dimension]);
    }
    Projection::learn(params.metric, params.dimension, values, params.share, params.seed, threads, should_stop)
}

/// Lean rows in the order of the source.
fn encode_lean(projection: &Projection, rows: &dyn Rows, threads: usize, should_stop: ShouldStop<'_>) -> Option<Buffer<u8>> {
    let mut codes = Buffer::<u8>::zeroed(rows.len() * projection.stride());
    let lines = SharedRows::new(&mut codes, projection.stride());
    for_each_chunk(
        rows.len(),
        CHUNK_ROWS,
        threads,
        should_stop,
        || Encoder::new(projection),
        |encoder, range| {
            encoder.clear();
            range.clone().for_each(|row| encoder.push(|out| rows.read(row, out)));
            encoder.project();
            for (index, row) in range.enumerate() {
                // SAFETY: every row belongs to one chunk.
                encoder.write_lean(index, unsafe { lines.row(row) });
            }
        },
    )
    .then_some(codes)
}

/// Exact rows in the order of the segment.
fn encode_exact(
    projection: &Projection,
    rows: &dyn Rows,
    order: &[u32],
    threads: usize,
    should_stop: ShouldStop<'_>,
) -> Option<Buffer<u8>> {
    let stride = exact::stride(projection.dimension());
    let mut codes = Buffer::<u8>::zeroed(rows.len() * stride);
    let lines = SharedRows::new(&mut codes, stride);
    for_each_chunk(
        order.len(),
        CHUNK_ROWS,
        threads,
        should_stop,
        || Encoder::new(projection),
        |encoder, range| {
            encoder.clear();
            order[range.clone()].iter().for_each(|row| encoder.push(|out| rows.read(*row as usize, out)));
            for (index, row) in range.enumerate() {
                // SAFETY: every row belongs to one chunk.
                encoder.write_exact(index, unsafe { lines.row(row) });
            }
        },
    )
    .then_some(codes)
}
