//! Lists: the rows of a segment by nearest centroid, as blocks of 1-bit codes, each row also in a second list (SOAR).
//!
//! A flat scan reads the first block range of every list; a probe reads both ranges of the nearest ones. Second assignments follow
//! Sun et al., "SOAR" (NeurIPS 2023, arXiv 2404.00774): the second centroid is one whose residual is as orthogonal to the first
//! residual as it can be, so that a query for which the first list looks wrong still finds the row.

mod build;
mod scan;

pub(crate) use build::{Clustering, Points, assign, order, pack};
pub(crate) use scan::{Probe, Scan};

use crate::codes::binary::{BLOCK_FACTORS, block_bytes};
use crate::kernels::BLOCK_ROWS;
use crate::memory::Column;

/// Lane of a block that holds no row.
pub(crate) const EMPTY: u32 = u32::MAX;

/// The lists of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    /// `stride` f32 a list: coordinates of the centroids, zero behind the kept ones.
    pub(crate) centroids: Column<f32>,
    /// The same as lean rows, biased by minus half their square: the order of probes.
    pub(crate) centroid_codes: Column<u8>,
    /// First block of every list, and the number of first blocks.
    pub(crate) first: Column<u32>,
    /// First block of every list's second assignments, from the end of `first` on, and the number of all blocks.
    pub(crate) second: Column<u32>,
    pub(crate) codes: Column<u8>,
    pub(crate) factors: Column<f32>,
    /// 32 rows a block, [`EMPTY`] where there is none.
    pub(crate) rows: Column<u32>,
}

impl Lists {
    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        self.first.len().saturating_sub(1)
    }

    /// Checks that every range and id stays inside its column.
    pub(crate) fn is_valid(&self, rows: usize, stride: usize) -> bool {
        let (Some(&first_end), Some(&blocks)) = (self.first.last(), self.second.last()) else { return false };
        let rising = |offsets: &[u32]| offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        let (lists, blocks) = (self.len(), blocks as usize);
        self.second.len() == self.first.len()
            && self.first[0] == 0
            && self.second[0] == first_end
            && rising(&self.first)
            && rising(&self.second)
            && Some(self.centroids.len()) == lists.checked_mul(stride)
            && Some(self.centroid_codes.len()) == lists.checked_mul(stride)
            && Some(self.codes.len()) == blocks.checked_mul(block_bytes(stride))
            && Some(self.factors.len()) == blocks.checked_mul(BLOCK_FACTORS)
            && Some(self.rows.len()) == blocks.checked_mul(BLOCK_ROWS)
            && self.rows.iter().all(|row| *row == EMPTY || (*row as usize) < rows)
    }
}
