//! The curve of a segment: recall against speed for every strategy, on vectors from files.
//!
//! Files are those of the big-ann benchmarks, little-endian: `.fbin` is u32 rows, u32 dimension, f32 numbers; the truth's `.ibin` is u32
//! queries, u32 k, u32 ids, and optionally f32 scores or distances of the same shape.

mod files;
mod report;

pub use files::{Matrix, Truth};
pub use report::{Point, Report};

use std::path::PathBuf;
use std::time::Instant;

use crate::codes::{DIMENSION_MAX, Metric, Prepared};
use crate::parallel::{Random, SharedRows, for_each_chunk};
use crate::segment::{Budget, Rows, Scratch, Segment, SegmentParams};

/// Hits asked for and counted.
pub const HITS: usize = 10;

/// Queries that share one time in the median.
const CHUNK_QUERIES: usize = 25;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows.
    pub base: PathBuf,
    /// Queries.
    pub queries: PathBuf,
    /// Their nearest rows.
    pub truth: PathBuf,
    /// `None` finds the one under which the truth is in order.
    pub metric: Option<Metric>,
    /// Share of rows that a random filter lets through; the truth is then computed here.
    pub filter: Option<f64>,
    /// Rounds over the queries; the fastest time of a query counts for the percentiles, all for the median.
    pub rounds: usize,
    /// Threads of the build; searches use one.
    pub threads: usize,
    /// Changes to the parameters of the build.
    pub params: Option<SegmentParams>,
    /// Strategies to measure, by name; all when empty.
    pub strategies: Vec<String>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum CurveError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The files do not belong together.
    #[error("{0}")]
    Mismatch(String),
}

/// Reads the files, builds a segment and measures every strategy.
///
/// # Errors
/// [`CurveError`] where the files cannot be read or do not belong together.
pub fn measure(options: &Options) -> Result<Report, CurveError> {
    let base = Matrix::read(&options.base)?;
    let queries = Matrix::read(&options.queries)?;
    let truth = Truth::read(&options.truth)?;
    check(&base, &queries, &truth)?;
    let metric = options.metric.unwrap_or_else(|| guess(&base, &queries, &truth));
    let allowed = options.filter.map(|share| allowed(base.rows, share));
    let params = options.params.clone().unwrap_or_else(|| SegmentParams::new(metric, base.dimension));
    let params = SegmentParams { metric, dimension: base.dimension, ..params };
    let started = Instant::now();
    let Some(built) = Segment::build(params, None, &base, options.threads, &|| false) else {
        return Err(CurveError::Mismatch("the build was stopped".to_owned()));
    };
    let build_seconds = started.elapsed().as_secs_f64();
    let least = match (&allowed, metric) {
        (None, _) if truth.k >= HITS => (0..queries.rows)
            .map(|query| score(metric, base.row(truth.ids[query * truth.k + HITS - 1] as usize), queries.row(query)))
            .collect(),
        (allowed, _) => scan(metric, &base, &queries, allowed.as_deref(), options.threads),
    };
    let bench = Bench { metric, base: &base, queries: &queries, least, order: &built.order, allowed, segment: &built.segment, options };
    let mut points = bench.points();
    points.retain(|point| options.strategies.is_empty() || options.strategies.contains(&point.strategy));
    Ok(Report {
        rows: base.rows,
        dimension: base.dimension,
        metric,
        lean: built.segment.projection().lean(),
        filter: options.filter,
        build_seconds,
        build_threads: options.threads,
        hot_bytes_per_row: built.segment.bytes().hot() as f64 / base.rows as f64,
        cold_bytes_per_row: built.segment.bytes().cold() as f64 / base.rows as f64,
        bytes: built.segment.bytes(),
        points,
    })
}

fn check(base: &Matrix, queries: &Matrix, truth: &Truth) -> Result<(), CurveError> {
    let wrong = |what: String| Err(CurveError::Mismatch(what));
    if base.rows < HITS || queries.rows == 0 || !(1..=DIMENSION_MAX).contains(&base.dimension) {
        return wrong(format!("{} rows of {} numbers and {} queries", base.rows, base.dimension, queries.rows));
    }
    if base.dimension != queries.dimension {
        return wrong(format!("rows of {} numbers, queries of {}", base.dimension, queries.dimension));
    }
    if truth.queries < queries.rows || truth.k < HITS || truth.ids.iter().any(|id| *id as usize >= base.rows) {
        return wrong(format!("a truth of {} queries with {} ids", truth.queries, truth.k));
    }
    Ok(())
}

/// The score of a row for a query in the metric, in double precision.
fn score(metric: Metric, row: &[f32], query: &[f32]) -> f64 {
    let pairs = || row.iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    match metric {
        Metric::Dot => pairs().map(|(a, b)| a * b).sum(),
        Metric::L2 => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
        Metric::Cosine => {
            let (dot, a, b) = pairs().fold((0.0, 0.0, 0.0), |(dot, x, y), (a, b)| (dot + a * b, x + a * a, y + b * b));
            if a > 0.0 && b > 0.0 { dot / (a * b).sqrt() } else { 0.0 }
        }
    }
}

/// A returned row counts when its score is the tenth best less this.
fn tolerance(metric: Metric, least: f64) -> f64 {
    match metric {
        Metric::Cosine => 1e-6,
        Metric::Dot | Metric::L2 => 1e-6 * least.abs().max(1.0),
    }
}

/// The metric under which the truth's ids come in the best order; cosine before dot before L2 where they agree.
fn guess(base: &Matrix, queries: &Matrix, truth: &Truth) -> Metric {
    let disorder = |metric: Metric| -> usize {
        (0..queries.rows.min(50))
            .map(|query| {
                let ids = &truth.ids[query * truth.k..(query + 1) * truth.k];
                let scores: Vec<f64> = ids.iter().map(|id| score(metric, base.row(*id as usize), queries.row(query))).collect();
                scores.windows(2).filter(|pair| pair[1] > pair[0] + 1e-5 * pair[0].abs()).count()
            })
            .sum()
    };
    let metrics = [Metric::Cosine, Metric::Dot, Metric::L2];
    metrics.into_iter().min_by_key(|metric| disorder(*metric)).unwrap_or(Metric::Cosine)
}

/// A random bitset of the rows that count.
fn allowed(rows: usize, share: f64) -> Vec<u64> {
    let mut random = Random::new(99);
    let mut bits = vec![0u64; rows.div_ceil(64)];
    for row in 0..rows {
        if random.unit() < share {
            bits[row / 64] |= 1 << (row % 64);
        }
    }
    bits
}

fn is_set(bits: Option<&[u64]>, row: usize) -> bool {
    bits.is_none_or(|bits| bits[row / 64] >> (row % 64) & 1 == 1)
}

/// The tenth best score of every query among the rows that count, by a full scan.
fn scan(metric: Metric, base: &Matrix, queries: &Matrix, allowed: Option<&[u64]>, threads: usize) -> Vec<f64> {
    let mut least = vec![f64::NEG_INFINITY; queries.rows];
    let out = SharedRows::new(&mut least, 1);
    for_each_chunk(queries.rows, 4, threads, &|| false, Vec::new, |best: &mut Vec<f64>, range| {
        for query in range {
            best.clear();
            for row in (0..base.rows).filter(|row| is_set(allowed, *row)) {
                let score = score(metric, base.row(row), queries.row(query));
                if best.len() < HITS || score > best[HITS - 1] {
                    let place = best.partition_point(|other| *other >= score);
                    best.insert(place, score);
                    best.truncate(HITS);
                }
            }
            #[allow(unsafe_code, reason = "every query belongs to one chunk")]
            // SAFETY: every query belongs to one chunk.
            unsafe {
                out.row(query)[0] = best.last().copied().unwrap_or(f64::NEG_INFINITY);
            }
        }
    });
    least
}

impl Rows for Matrix {
    fn len(&self) -> usize {
        self.rows
    }

    fn read(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(self.row(index));
    }
}

struct Bench<'a> {
    metric: Metric,
    base: &'a Matrix,
    queries: &'a Matrix,
    /// The tenth best score of every query.
    least: Vec<f64>,
    order: &'a [u32],
    allowed: Option<Vec<u64>>,
    segment: &'a Segment,
    options: &'a Options,
}

impl Bench<'_> {
    fn points(&self) -> Vec<Point> {
        let share = self.options.filter.unwrap_or(1.0) as f32;
        let rows: Vec<u32> = (0..self.segment.len() as u32).filter(|row| self.counts(*row)).collect();
        // The filter in the order of the segment's rows, as alive and attribute bits are there.
        let mut bits = vec![0u64; self.segment.len().div_ceil(64)];
        rows.iter().for_each(|row| bits[*row as usize / 64] |= 1 << (row % 64));
        let allow = |row: u32| bits[row as usize / 64] >> (row % 64) & 1 == 1;
        let unfiltered = self.allowed.is_none();
        let mut points = Vec::new();
        let budget = |breadth, candidates, rerank| Budget { hits: HITS, breadth, candidates, rerank, share };
        let wants = |strategy: &str| self.options.strategies.is_empty() || self.options.strategies.iter().any(|wanted| wanted == strategy);
        if wants("graph") && self.segment.has_graph() {
            for (breadth, rerank) in GRAPH {
                let budget = budget(breadth, 0, rerank);
                points.push(self.point("graph", breadth, rerank, |query, scratch| {
                    if unfiltered {
                        self.segment.graph(query, &budget, |_| true, scratch);
                    } else {
                        self.segment.graph(query, &budget, allow, scratch);
                    }
                }));
            }
        }
        if wants("lists") && self.segment.lists_len() > 1 {
            for (probes, candidates) in LISTS {
                let budget = budget(probes, candidates, 40);
                points.push(self.point("lists", probes, candidates, |query, scratch| self.segment.lists(query, &budget, allow, scratch)));
            }
        }
        if wants("flat") {
            for candidates in FLAT {
                let budget = budget(0, candidates, candidates.min(50));
                points.push(self.point("flat", 0, candidates, |query, scratch| self.segment.flat(query, &budget, allow, scratch)));
            }
        }
        if wants("gather") && (share < 0.3 || self.segment.len() < 20_000) {
            for rerank in [16, 30, 60] {
                let budget = budget(0, 0, rerank);
                points.push(self.point("gather", 0, rerank, |query, scratch| {
                    self.segment.gather(query, &budget, rows.iter().copied(), scratch);
                }));
            }
        }
        if wants("exact") {
            points.push(self.point("exact", 0, HITS, |query, scratch| self.segment.exact(query, HITS, allow, scratch)));
        }
        points
    }

    fn counts(&self, row: u32) -> bool {
        is_set(self.allowed.as_deref(), self.order[row as usize] as usize)
    }

    /// Times one setting and counts what it finds.
    fn point(&self, strategy: &str, effort: usize, rerank: usize, search: impl Fn(&mut Prepared, &mut Scratch)) -> Point {
        let mut query = Prepared::new(self.metric, self.base.dimension);
        let mut scratch = Scratch::new();
        let mut fastest = vec![f64::MAX; self.queries.rows];
        let mut chunks = Vec::new();
        let (mut found, mut wanted) = (0usize, 0usize);
        for round in 0..self.options.rounds.max(1) {
            let mut times = Vec::with_capacity(self.queries.rows);
            for (index, fastest) in fastest.iter_mut().enumerate() {
                let started = Instant::now();
                let is_asked = query.set(self.queries.row(index)).is_ok();
                if is_asked {
                    search(&mut query, &mut scratch);
                }
                let time = started.elapsed().as_secs_f64();
                times.push(time);
                *fastest = fastest.min(time);
                if round == 0 {
                    wanted += HITS;
                    found += if is_asked { self.count(index, &scratch) } else { 0 };
                }
            }
            chunks.extend(times.chunks(CHUNK_QUERIES).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64));
        }
        chunks.sort_by(f64::total_cmp);
        fastest.sort_by(f64::total_cmp);
        let percentile = |share: f64| 1e6 * fastest[((fastest.len() - 1) as f64 * share) as usize];
        Point {
            strategy: strategy.to_owned(),
            effort,
            rerank,
            recall: found as f64 / wanted as f64,
            queries_per_second: 1.0 / chunks[chunks.len() / 2],
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
        }
    }

    fn count(&self, query: usize, scratch: &Scratch) -> usize {
        let least = self.least[query] - tolerance(self.metric, self.least[query]);
        let rows = scratch.hits.iter().take(HITS).map(|hit| self.order[hit.row as usize] as usize);
        let good = rows
            .filter(|row| is_set(self.allowed.as_deref(), *row))
            .filter(|row| score(self.metric, self.base.row(*row), self.queries.row(query)) >= least);
        good.count()
    }
}

/// Breadth and rerank of the graph's points.
const GRAPH: [(usize, usize); 14] = [
    (5, 20),
    (7, 20),
    (10, 20),
    (10, 30),
    (13, 30),
    (16, 30),
    (20, 30),
    (24, 40),
    (32, 40),
    (48, 60),
    (64, 80),
    (96, 100),
    (128, 150),
    (256, 256),
];
/// Probes and candidates of the lists' points.
const LISTS: [(usize, usize); 9] = [(4, 100), (8, 100), (8, 200), (16, 200), (24, 200), (32, 300), (48, 300), (64, 400), (128, 500)];
/// Candidates of the flat scan's points.
const FLAT: [usize; 6] = [50, 100, 200, 500, 1000, 2000];
