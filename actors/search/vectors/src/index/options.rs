//! What an index is told when it is opened, and what it says when it cannot.

use std::path::PathBuf;

use crate::codes::{DIMENSION_MAX, Metric};
use crate::file::FileError;
use crate::graph::DEGREE_MAX;
use crate::owners::OWNERS_MAX;

/// The most vectors of one owner.
pub const OWNER_ROWS_MAX: usize = 256;
/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 1024;
/// The longest fingerprint, in bytes.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;
/// The longest tail.
pub const TAIL_ROWS_MAX: usize = 1 << 20;
/// The most threads that build a segment.
pub const THREADS_MAX: usize = 64;
/// 8-bit codes that a tail usually holds, in bytes: they are scanned in about 0.3 ms.
const TAIL_CODE_BYTES: usize = 8 << 20;
/// The most hits that a search gives.
pub const LIMIT_MAX: usize = 10_000;

/// How an index is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers in a vector, 1 to [`DIMENSION_MAX`].
    pub dimensions: usize,
    /// What makes two vectors near.
    pub metric: Metric,
    /// The model that made the vectors: a folder with those of another one starts empty.
    pub fingerprint: String,
    /// Rows of the mutable tail. When it is full it becomes a segment. [`OWNER_ROWS_MAX`] to [`TAIL_ROWS_MAX`].
    pub tail_rows_max: usize,
    /// Rows that are searched by a flat scan of their 1-bit codes; when more are waiting they become a segment with a graph.
    /// A flat scan of 50,000 rows takes about 0.2 ms.
    pub flat_rows_max: usize,
    /// Neighbours of a row in a graph, 1 to 96.
    pub graph_degree: usize,
    /// A segment with a larger share of dead rows is rewritten; above 0, at most 1.
    pub dead_ratio_max: f32,
    /// Threads that build a segment, 1 to [`THREADS_MAX`].
    pub threads: usize,
    /// One of so many searches is repeated in the background by the exact scan, to see what recall is reached; 0 is none.
    pub recall_sample: u32,
}

impl Options {
    /// The usual set-up for the vectors of a model.
    #[must_use]
    pub fn new(dimensions: usize, metric: Metric, fingerprint: &str) -> Self {
        Self {
            dimensions,
            metric,
            fingerprint: fingerprint.to_owned(),
            tail_rows_max: (TAIL_CODE_BYTES / dimensions.max(1)).clamp(1024, 16_384),
            flat_rows_max: 50_000,
            graph_degree: 48,
            dead_ratio_max: 0.125,
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get().min(THREADS_MAX)),
            recall_sample: 1000,
        }
    }

    pub(crate) fn check(&self) -> Result<(), IndexError> {
        let wrong = |what: &'static str| Err(IndexError::Options(what));
        if !(1..=DIMENSION_MAX).contains(&self.dimensions) {
            return wrong("dimensions: 1 to 2048");
        }
        if self.fingerprint.is_empty() || self.fingerprint.len() > FINGERPRINT_BYTES_MAX {
            return wrong("fingerprint: 1 to 1024 bytes");
        }
        if !(OWNER_ROWS_MAX..=TAIL_ROWS_MAX).contains(&self.tail_rows_max) {
            return wrong("tail_rows_max: 256 to 1048576");
        }
        if !(1..=DEGREE_MAX).contains(&self.graph_degree) {
            return wrong("graph_degree: 1 to 96");
        }
        if !(self.dead_ratio_max > 0.0 && self.dead_ratio_max <= 1.0) {
            return wrong("dead_ratio_max: above 0, at most 1");
        }
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return wrong("threads: 1 to 64");
        }
        Ok(())
    }
}

/// Why an index refuses.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// An option is out of its bounds.
    #[error("index options: {0}")]
    Options(&'static str),
    /// A vector has another number of dimensions.
    #[error("a vector has {found} dimensions, the index {expected}")]
    Dimensions {
        /// What the index has.
        expected: usize,
        /// What the vector has.
        found: usize,
    },
    /// A vector holds something that is no finite number, or is zero where an angle is asked for.
    #[error("a vector holds a number that is not finite, or only zeros")]
    NotFinite,
    /// An owner's number is too large.
    #[error("owner {0} is not below {OWNERS_MAX}")]
    Owner(u32),
    /// An id is too long.
    #[error("an id of {0} bytes is longer than {ID_BYTES_MAX}")]
    Id(usize),
    /// An owner has too many vectors.
    #[error("{0} vectors of one owner are more than {OWNER_ROWS_MAX}")]
    TooManyVectors(usize),
    /// Too many hits are asked for.
    #[error("{0} hits are more than {LIMIT_MAX}")]
    Limit(usize),
    /// A segment cannot be built.
    #[error("a segment cannot be built: {0}")]
    Build(String),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was found when an index was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenReport {
    /// Owners that have vectors.
    pub owners: usize,
    /// Rows that are alive.
    pub rows: usize,
    /// Segments that were read.
    pub segments: usize,
    /// Owners whose rows were dropped because the caller does not know them any more.
    pub unknown_owners: usize,
    /// Files that were damaged, where they are now, and what was wrong. The vectors in them have to be set again.
    pub damaged: Vec<(PathBuf, String)>,
    /// The folder held the vectors of another model or shape; they were removed.
    pub other_model: bool,
    /// Seconds that opening took.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Options);

    #[test]
    fn options_by_table() {
        let good = Options::new(384, Metric::Cosine, "m");
        assert!(good.check().is_ok());
        let cases: [(&str, Change); 10] = [
            ("no dimensions", |options| options.dimensions = 0),
            ("too many dimensions", |options| options.dimensions = 2049),
            ("no fingerprint", |options| options.fingerprint.clear()),
            ("long fingerprint", |options| options.fingerprint = "x".repeat(1025)),
            ("a tail shorter than one owner", |options| options.tail_rows_max = 255),
            ("a long tail", |options| options.tail_rows_max = 1 << 21),
            ("too many neighbours", |options| options.graph_degree = 97),
            ("no dead rows", |options| options.dead_ratio_max = 0.0),
            ("no number", |options| options.dead_ratio_max = f32::NAN),
            ("no threads", |options| options.threads = 0),
        ];
        for (name, change) in cases {
            let mut options = good.clone();
            change(&mut options);
            assert!(matches!(options.check(), Err(IndexError::Options(_))), "{name}");
        }
    }
}
