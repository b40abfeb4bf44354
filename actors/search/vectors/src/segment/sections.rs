//! A segment as named byte sections, and back.

use std::sync::Arc;

use super::{Meta, Segment};
use crate::codes::projection::ProjectionError;
use crate::codes::{DIMENSION_MAX, Projection, exact};
use crate::graph::{DEGREE_MAX, Graph, ROWS_MAX};
use crate::lists::Lists;
use crate::memory::Column;

/// What a section holds. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum SectionKind {
    /// The projection: header, mean, basis.
    Projection = 1,
    /// Lean rows.
    Lean = 2,
    /// Exact rows: cold, may stay mapped.
    Exact = 3,
    /// f32 centroids of the lists.
    Centroids = 4,
    /// The centroids as lean rows.
    CentroidCodes = 5,
    /// u32 first blocks of the lists.
    FirstBlocks = 6,
    /// u32 first blocks of the second assignments.
    SecondBlocks = 7,
    /// 1-bit codes in blocks of 32.
    BlockCodes = 8,
    /// f32 factors of the blocks.
    BlockFactors = 9,
    /// u32 rows of the blocks.
    BlockRows = 10,
    /// u32 neighbours.
    Neighbours = 11,
    /// u32 entry points.
    Entries = 12,
}

impl SectionKind {
    /// Every kind, in the order of [`Segment::sections`].
    pub const ALL: [Self; 12] = [
        Self::Projection,
        Self::Lean,
        Self::Exact,
        Self::Centroids,
        Self::CentroidCodes,
        Self::FirstBlocks,
        Self::SecondBlocks,
        Self::BlockCodes,
        Self::BlockFactors,
        Self::BlockRows,
        Self::Neighbours,
        Self::Entries,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }

    /// True for columns that a search reads only for its last few rows, so that they may stay on disk.
    #[must_use]
    pub fn is_cold(self) -> bool {
        self == Self::Exact
    }
}

/// Why sections are not a segment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SegmentError {
    /// A section is missing.
    #[error("section {0:?} is missing")]
    Missing(SectionKind),
    /// A section's length does not suit its elements or the number of rows.
    #[error("section {0:?} has the wrong length")]
    Length(SectionKind),
    /// Rows, dimension or degree out of bounds, or of another projection.
    #[error("the header is out of bounds")]
    Meta,
    /// An id or range of the lists leaves its column.
    #[error("the lists point outside the segment")]
    Lists,
    /// An id of the graph is not a row.
    #[error("the graph points outside the segment")]
    Graph,
    /// The projection is not one.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

impl Segment {
    /// The segment as bytes to be written; [`Self::from_sections`] reads them back. Without a graph its sections are absent.
    #[must_use]
    pub fn sections(&self) -> Vec<(SectionKind, &[u8])> {
        let lists = &self.lists;
        let mut sections: Vec<(SectionKind, &[u8])> = vec![
            (SectionKind::Projection, self.projection.bytes()),
            (SectionKind::Lean, &self.lean),
            (SectionKind::Exact, &self.exact),
            (SectionKind::Centroids, bytemuck::cast_slice(&lists.centroids)),
            (SectionKind::CentroidCodes, &lists.centroid_codes),
            (SectionKind::FirstBlocks, bytemuck::cast_slice(&lists.first)),
            (SectionKind::SecondBlocks, bytemuck::cast_slice(&lists.second)),
            (SectionKind::BlockCodes, &lists.codes),
            (SectionKind::BlockFactors, bytemuck::cast_slice(&lists.factors)),
            (SectionKind::BlockRows, bytemuck::cast_slice(&lists.rows)),
        ];
        if let Some(graph) = &self.graph {
            sections.push((SectionKind::Neighbours, bytemuck::cast_slice(&graph.neighbours)));
            sections.push((SectionKind::Entries, bytemuck::cast_slice(&graph.entries)));
        }
        sections
    }

    /// A segment of sections, which may be owned memory or mapped. `known` are projections already in memory: an equal one is
    /// shared, so that a query is projected once for all segments.
    ///
    /// Every length, range and id is checked, so that no bytes whatever can make a search read outside the columns.
    ///
    /// # Errors
    /// [`SegmentError`] where the sections are not a segment.
    pub fn from_sections(meta: Meta, sections: &[(SectionKind, Column<u8>)], known: &[Arc<Projection>]) -> Result<Self, SegmentError> {
        let find = |kind| sections.iter().find(|(found, _)| *found == kind).map(|(_, column)| column.clone());
        let get = |kind| find(kind).ok_or(SegmentError::Missing(kind));
        let numbers = |kind| get(kind)?.cast::<f32>().map_err(|_| SegmentError::Length(kind));
        let ids = |kind| get(kind)?.cast::<u32>().map_err(|_| SegmentError::Length(kind));
        let (rows, dimension) = (meta.rows, meta.params.dimension);
        if rows >= ROWS_MAX || !(1..=DIMENSION_MAX).contains(&dimension) || meta.params.degree > DEGREE_MAX {
            return Err(SegmentError::Meta);
        }
        let projection = Projection::from_bytes(get(SectionKind::Projection)?)?;
        if projection.dimension() != dimension || projection.metric() != meta.params.metric {
            return Err(SegmentError::Meta);
        }
        let projection = known.iter().find(|other| other.id() == projection.id()).cloned().unwrap_or_else(|| Arc::new(projection));
        let sized = |kind, stride: usize| match get(kind)? {
            column if Some(column.len()) == rows.checked_mul(stride) => Ok(column),
            _ => Err(SegmentError::Length(kind)),
        };
        let lists = Lists {
            centroids: numbers(SectionKind::Centroids)?,
            centroid_codes: get(SectionKind::CentroidCodes)?,
            first: ids(SectionKind::FirstBlocks)?,
            second: ids(SectionKind::SecondBlocks)?,
            codes: get(SectionKind::BlockCodes)?,
            factors: numbers(SectionKind::BlockFactors)?,
            rows: ids(SectionKind::BlockRows)?,
        };
        if !lists.is_valid(rows, projection.stride()) {
            return Err(SegmentError::Lists);
        }
        let graph = match find(SectionKind::Neighbours) {
            Some(_) => {
                Some(Graph { neighbours: ids(SectionKind::Neighbours)?, degree: meta.params.degree, entries: ids(SectionKind::Entries)? })
            }
            None => None,
        };
        if graph.as_ref().is_some_and(|graph| !graph.is_valid(rows)) {
            return Err(SegmentError::Graph);
        }
        let lean = sized(SectionKind::Lean, projection.stride())?;
        let exact = sized(SectionKind::Exact, exact::stride(dimension))?;
        Ok(Self { meta, projection, lean, exact, lists, graph })
    }
}
