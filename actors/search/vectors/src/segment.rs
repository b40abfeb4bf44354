//! A segment: an immutable set of rows in one order, in columns, and the strategies that search it.
//!
//! | column | bytes a row | read by |
//! | --- | --- | --- |
//! | lean rows | 64, 128, 192, ... | walk, gather, second pass of scans |
//! | 1-bit blocks, twice with second assignments | (stride / 8 + 12) each | flat scan, lists |
//! | neighbours | 4 x degree | walk |
//! | exact rows | 2 x dimension + 8 | last rerank, exact scan; may stay mapped |
//!
//! Scores are "higher is better": cosine, inner product, or minus the squared distance. Every hit carries its exact score.

mod build;
mod search;
mod sections;
#[cfg(test)]
mod tests;

pub use build::{Built, Rows};
pub use sections::{SectionKind, SegmentError};

use std::sync::Arc;

use crate::codes::{Metric, Projection};
use crate::graph::{Graph, WalkScratch};
use crate::lists::Lists;
use crate::memory::Column;

/// How a segment is built.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SegmentParams {
    /// How rows are compared.
    pub metric: Metric,
    /// Numbers of a vector, 1 to 2048.
    pub dimension: usize,
    /// Seeds samples, orders and the projection.
    pub seed: u64,
    /// Share of the variance that a projection learned here keeps.
    pub share: f32,
    /// Neighbours a row, at most 96; 0 builds no graph.
    pub degree: usize,
    /// Candidates that a row's neighbours are chosen from.
    pub build_breadth: usize,
    /// Pruning factor on squared distances; above 1 keeps longer edges.
    pub alpha: f32,
    /// Entry points of a walk, at most 96.
    pub entries: usize,
    /// Lists; 0 chooses by the number of rows, 1 makes none.
    pub lists: usize,
}

impl SegmentParams {
    /// The measured defaults.
    #[must_use]
    pub fn new(metric: Metric, dimension: usize) -> Self {
        Self {
            metric,
            dimension,
            seed: 1,
            share: crate::codes::projection::SHARE,
            degree: 48,
            build_breadth: 200,
            alpha: 1.2,
            entries: 64,
            lists: 0,
        }
    }
}

/// What a segment is, beside its columns; stored in the file's header.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Meta {
    /// How it was built.
    pub params: SegmentParams,
    /// Number of rows.
    pub rows: usize,
}

/// How much a search may look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Hits wanted.
    pub hits: usize,
    /// Candidates that a graph walk expands, or lists probed.
    pub breadth: usize,
    /// Best 1-bit estimates that are scored by their lean rows.
    pub candidates: usize,
    /// Best lean scores that are scored exactly; a walk keeps as many, whether or not it expands them.
    pub rerank: usize,
    /// Share of the rows that `allow` lets through, 0 to 1; decides how a walk treats the others.
    pub share: f32,
}

/// A row and its exact score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Higher is better.
    pub score: f32,
    /// Row of the segment.
    pub row: u32,
}

/// Memory of a search, used again by the next: no strategy allocates once it has grown.
#[derive(Default)]
pub struct Scratch {
    pub(crate) walk: WalkScratch,
    pub(crate) nearest: Vec<u64>,
    pub(crate) found: Vec<u64>,
    pub(crate) seen: Vec<u64>,
    /// Hits of the last search, best first.
    pub hits: Vec<Hit>,
}

impl Scratch {
    /// An empty scratch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Bytes of a segment's columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bytes {
    /// Lean rows.
    pub lean: usize,
    /// 1-bit blocks with factors, rows and centroids.
    pub binary: usize,
    /// Neighbours and entry points.
    pub graph: usize,
    /// Exact rows: cold.
    pub exact: usize,
}

impl Bytes {
    /// What must be in memory for speed.
    #[must_use]
    pub fn hot(&self) -> usize {
        self.lean + self.binary + self.graph
    }

    /// What may stay on disk, mapped.
    #[must_use]
    pub fn cold(&self) -> usize {
        self.exact
    }
}

/// Immutable rows and their columns; cheap to clone.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(crate) meta: Meta,
    pub(crate) projection: Arc<Projection>,
    pub(crate) lean: Column<u8>,
    pub(crate) exact: Column<u8>,
    pub(crate) lists: Lists,
    pub(crate) graph: Option<Graph>,
}

impl Segment {
    /// What the segment is.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meta.rows
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meta.rows == 0
    }

    /// The projection of its codes; give it to the next build, so that queries are projected once.
    #[must_use]
    pub fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    /// True when [`Self::graph`] may be called.
    #[must_use]
    pub fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// Number of lists; 1 when there are none to probe.
    #[must_use]
    pub fn lists_len(&self) -> usize {
        self.lists.len()
    }

    /// Bytes by column.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let lists = &self.lists;
        Bytes {
            lean: self.lean.bytes(),
            binary: lists.codes.bytes()
                + lists.factors.bytes()
                + lists.rows.bytes()
                + lists.centroids.bytes()
                + lists.centroid_codes.bytes(),
            graph: self.graph.as_ref().map_or(0, |graph| graph.neighbours.bytes() + graph.entries.bytes()),
            exact: self.exact.bytes(),
        }
    }

    /// Writes the vector of `row`, normalised by the metric, into `out`: exact to a part in 65,000 of its largest number.
    ///
    /// # Panics
    /// Where there is no such row or `out` is shorter than a vector.
    pub fn read(&self, row: u32, out: &mut [f32]) {
        let stride = crate::codes::exact::stride(self.meta.params.dimension);
        let at = row as usize * stride;
        let out = &mut out[..self.meta.params.dimension];
        crate::codes::exact::read(&self.exact[at..at + stride], self.projection.mean(), out);
    }
}
