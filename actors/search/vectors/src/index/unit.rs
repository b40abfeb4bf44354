//! A segment with what belongs to it, or a tail: what a search visits one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::belongings::Belongings;
use crate::calibration::Calibration;
use crate::codes::Projection;
use crate::file::SectionFile;
use crate::owners::AliveBits;
use crate::segment::{SectionKind, Segment};
use crate::tail::Tail;

/// A segment, whose its rows are, and its file.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The number that owners' places name it by.
    pub(crate) number: u32,
    pub(crate) segment: Segment,
    pub(crate) belongings: Arc<Belongings>,
    pub(crate) calibration: Calibration,
    /// How many rows the projection's sample was drawn from.
    pub(crate) projection_rows: usize,
    /// The file that it was read from or written to; none when the disk refused or there is no folder.
    pub(crate) file: Option<SectionFile>,
    /// Blocks of exact rows that have been compared with their checksums.
    pub(crate) checked: AtomicUsize,
}

impl Stored {
    pub(crate) fn projection(&self) -> Arc<Projection> {
        Arc::clone(self.segment.projection())
    }

    pub(crate) fn has_graph(&self) -> bool {
        self.segment.has_graph()
    }

    pub(crate) fn rows(&self) -> usize {
        self.belongings.rows()
    }

    /// Blocks of exact rows that have not been compared with their checksums since the file was opened.
    pub(crate) fn unchecked_blocks(&self) -> usize {
        let blocks = self.file.as_ref().map_or(0, |file| file.blocks(SectionKind::Exact as u32));
        blocks.saturating_sub(self.checked.load(Ordering::Relaxed))
    }

    /// Memory in bytes: all but exact rows that are mapped.
    pub(crate) fn hot_bytes(&self) -> usize {
        let bytes = self.segment.bytes();
        bytes.hot() + self.belongings.bytes() + if self.file.is_some() { 0 } else { bytes.cold() }
    }

    /// Exact rows that are mapped from the file, in bytes.
    pub(crate) fn mapped_bytes(&self) -> usize {
        if self.file.is_some() { self.segment.bytes().cold() } else { 0 }
    }
}

/// What a search visits.
#[derive(Clone, Debug)]
pub(crate) enum Unit {
    Segment(Arc<Stored>),
    Tail(Arc<Tail>),
}

impl Unit {
    pub(crate) fn number(&self) -> u32 {
        match self {
            Self::Segment(stored) => stored.number,
            Self::Tail(tail) => tail.number,
        }
    }

    /// Rows that are there, alive and dead.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Segment(stored) => stored.rows(),
            Self::Tail(tail) => tail.len(),
        }
    }

    pub(crate) fn alive(&self) -> &AliveBits {
        match self {
            Self::Segment(stored) => &stored.belongings.alive,
            Self::Tail(tail) => &tail.alive,
        }
    }

    pub(crate) fn owner(&self, row: u32) -> u32 {
        match self {
            Self::Segment(stored) => stored.belongings.owner(row),
            Self::Tail(tail) => tail.owners()[row as usize],
        }
    }

    pub(crate) fn stamp(&self, row: u32) -> u64 {
        match self {
            Self::Segment(stored) => stored.belongings.stamp(row),
            Self::Tail(tail) => tail.stamps()[row as usize],
        }
    }

    pub(crate) fn id(&self, row: u32) -> &str {
        match self {
            Self::Segment(stored) => stored.belongings.id(row),
            Self::Tail(tail) => tail.id(row),
        }
    }

    /// Calls `each` for all rows of the owner whose first row is `row`.
    pub(crate) fn for_sisters(&self, row: u32, mut each: impl FnMut(u32)) {
        match self {
            Self::Segment(stored) => stored.belongings.sisters(row).for_each(each),
            Self::Tail(tail) => tail.sisters(row).for_each(&mut each),
        }
    }

    /// Kills the rows of the owner whose first row is `row`.
    pub(crate) fn kill(&self, row: u32) {
        self.for_sisters(row, |row| {
            self.alive().kill(row);
        });
    }

    /// The vector that a row was made from.
    pub(crate) fn vector(&self, row: u32, out: &mut [f32]) {
        match self {
            Self::Segment(stored) => stored.segment.read(row, out),
            Self::Tail(tail) => tail.vector(row, out),
        }
    }

    /// The rows that are alive, ascending.
    pub(crate) fn alive_rows(&self) -> impl Iterator<Item = u32> + '_ {
        let rows = self.rows() as u32;
        self.alive().iter().take_while(move |row| *row < rows)
    }

    /// Memory that searches need, in bytes.
    pub(crate) fn hot_bytes(&self) -> usize {
        match self {
            Self::Segment(stored) => stored.hot_bytes(),
            Self::Tail(tail) => tail.bytes(),
        }
    }
}
