//! Churn: what searches feel while products come and go. Fills an index, measures, writes and deletes at a steady rate while one
//! thread searches, measures again, and restarts from the folder.

mod synthetic;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::codes::Metric;
use crate::index::{Hit, Index, IndexError, Maintenance, Query};
use crate::planner::Effort;
pub use synthetic::Synthetic;

/// Hits asked for and counted.
const HITS: usize = 10;
/// Queries whose recall is measured in each phase.
const RECALL_QUERIES: usize = 200;
/// Two scores this close are the same.
const TOLERANCE: f32 = 1e-5;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows at the beginning, one an owner.
    pub rows: usize,
    /// Numbers in a vector; even.
    pub dimensions: usize,
    /// Seed of the vectors: see [`Synthetic`].
    pub seed: u64,
    /// Rows set a second while searches are measured; half of them are new, half replace older ones.
    pub upserts_per_second: u32,
    /// Owners removed a second.
    pub deletes_per_second: u32,
    /// How long that goes on, in seconds.
    pub seconds: f64,
    /// Searches before and after.
    pub searches: usize,
    /// How thorough they are.
    pub effort: Effort,
    /// Where the index is kept; `None` measures one that lives in memory and no restart.
    pub folder: Option<PathBuf>,
    /// Threads that build segments.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows: 100_000,
            dimensions: 384,
            seed: 43,
            upserts_per_second: 1000,
            deletes_per_second: 100,
            seconds: 30.0,
            searches: 2000,
            effort: Effort::Good,
            folder: None,
            threads: 2,
        }
    }
}

/// Searches of one phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phase {
    /// Searches measured.
    pub searches: usize,
    /// Share of the exact answer's ten that was found, over a sample of the searches.
    pub recall: f64,
    /// Median time of a search, in microseconds.
    pub p50_microseconds: f64,
    /// The same of the slowest in a hundred.
    pub p99_microseconds: f64,
    /// Processor time of the slowest in a hundred: what is left when other processes take no processor away.
    pub p99_processor_microseconds: f64,
    /// Rows set a second.
    pub upserts_per_second: f64,
    /// Owners removed a second.
    pub deletes_per_second: f64,
    /// The longest that one `set` took, in microseconds.
    pub set_microseconds_max: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Rows at the beginning.
    pub rows: usize,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Rows a second that were set at the beginning, by one thread, with segments made on the side.
    pub fill_rows_per_second: f64,
    /// Processor time of one such `set`, in microseconds.
    pub fill_processor_microseconds: f64,
    /// Seconds from the last row to the end of the background work.
    pub settle_seconds: f64,
    /// Memory that searches need, in bytes for 100,000 rows.
    pub hot_bytes_per_100k: usize,
    /// Exact rows mapped from files, in bytes for 100,000 rows.
    pub mapped_bytes_per_100k: usize,
    /// Before.
    pub before: Phase,
    /// While rows come and go.
    pub during: Phase,
    /// After the background work has ended.
    pub after: Phase,
    /// Seconds from a closed folder to an index that serves; none without a folder.
    pub restart_seconds: Option<f64>,
}

/// Measures.
///
/// # Errors
/// What the index or the disk said.
pub fn measure(options: &Options) -> Result<Report, IndexError> {
    let extra = (f64::from(options.upserts_per_second) * options.seconds) as usize + options.searches;
    let set = Synthetic::new(options.dimensions, options.rows + extra, options.seed);
    let open = || {
        let index_options =
            crate::index::Options { threads: options.threads, ..crate::index::Options::new(options.dimensions, Metric::Cosine, "syn-v1") };
        Index::open(options.folder.as_deref(), index_options, &mut |id| id.parse().ok())
    };
    let (index, _) = open()?;
    let mut report = Report { rows: options.rows, dimensions: options.dimensions, ..Report::default() };
    fill(&index, &set, options, &mut report)?;
    let stats = index.stats();
    let per_100k = |bytes: usize| (bytes as f64 * 1e5 / stats.rows.max(1) as f64) as usize;
    (report.hot_bytes_per_100k, report.mapped_bytes_per_100k) = (per_100k(stats.hot_bytes), per_100k(stats.mapped_bytes));
    let queries = rows_of(&set, options.rows + extra - options.searches, options.searches);
    report.before = search_all(&index, &queries, options)?;
    report.during = search_while_writing(&index, &set, &queries, options)?;
    settle(&index)?;
    report.after = search_all(&index, &queries, options)?;
    if options.folder.is_some() {
        index.flush()?;
        drop(index);
        let started = Instant::now();
        let (index, _) = open()?;
        // The first answer counts: a part of the work could hide behind it.
        Watch::new(&index, options).search(&queries[..options.dimensions.min(queries.len())], false)?;
        report.restart_seconds = Some(started.elapsed().as_secs_f64());
    }
    Ok(report)
}

/// `[count, dimensions]`
fn rows_of(set: &Synthetic, first: usize, count: usize) -> Vec<f32> {
    let mut rows = vec![0.0; count * set.dimensions()];
    for (at, row) in rows.chunks_exact_mut(set.dimensions()).enumerate() {
        set.row(first + at, row);
    }
    rows
}

fn set_row(index: &Index, owner: u32, version: u64, vector: &[f32]) -> Result<bool, IndexError> {
    index.set(owner, &owner.to_string(), version, &[vector])
}

fn fill(index: &Index, set: &Synthetic, options: &Options, report: &mut Report) -> Result<(), IndexError> {
    const CHUNK: usize = 10_000;
    let maintainer = index.spawn_maintainer().map_err(|error| IndexError::Build(error.to_string()))?;
    let (mut setting, mut processor) = (Duration::ZERO, 0.0);
    for first in (0..options.rows).step_by(CHUNK) {
        // Making the vectors is not what is measured.
        let rows = rows_of(set, first, CHUNK.min(options.rows - first));
        let (started, from) = (Instant::now(), processor_microseconds());
        for (at, row) in rows.chunks_exact(options.dimensions).enumerate() {
            set_row(index, (first + at) as u32, 0, row)?;
        }
        setting += started.elapsed();
        processor += processor_microseconds() - from;
    }
    report.fill_processor_microseconds = processor / options.rows.max(1) as f64;
    report.fill_rows_per_second = options.rows as f64 / setting.as_secs_f64().max(1e-9);
    let started = Instant::now();
    drop(maintainer);
    settle(index)?;
    report.settle_seconds = started.elapsed().as_secs_f64();
    Ok(())
}

fn settle(index: &Index) -> Result<(), IndexError> {
    while index.maintain()? != Maintenance::Idle {}
    Ok(())
}

/// The times of searches, and how much they find.
struct Watch<'a> {
    options: &'a Options,
    reader: crate::index::Reader,
    hits: Vec<Hit>,
    exact: Vec<Hit>,
    microseconds: Vec<f64>,
    processor_microseconds: Vec<f64>,
    found: usize,
    wanted: usize,
}

impl<'a> Watch<'a> {
    fn new(index: &Index, options: &'a Options) -> Self {
        Self {
            options,
            reader: index.reader(),
            hits: Vec::new(),
            exact: Vec::new(),
            microseconds: Vec::new(),
            processor_microseconds: Vec::new(),
            found: 0,
            wanted: 0,
        }
    }

    fn search(&mut self, vector: &[f32], compare: bool) -> Result<(), IndexError> {
        let query = Query { vector, limit: HITS, allow: None, exclude: &[], effort: self.options.effort, is_late: &|| false };
        let (started, processor) = (Instant::now(), processor_microseconds());
        self.reader.search(&query, &mut self.hits)?;
        self.microseconds.push(started.elapsed().as_secs_f64() * 1e6);
        self.processor_microseconds.push(processor_microseconds() - processor);
        if compare {
            self.reader.search(&Query { effort: Effort::Exact, ..query }, &mut self.exact)?;
            let worst = self.exact.last().map_or(f32::INFINITY, |hit| hit.score);
            self.found += self.hits.iter().filter(|hit| hit.score >= worst - TOLERANCE).count().min(self.exact.len());
            self.wanted += self.exact.len();
        }
        Ok(())
    }

    fn phase(mut self) -> Phase {
        let mut at = |times: fn(&mut Self) -> &mut Vec<f64>, part: f64| {
            let times = times(&mut self);
            times.sort_unstable_by(f64::total_cmp);
            times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0.0)
        };
        Phase {
            p50_microseconds: at(|watch| &mut watch.microseconds, 0.5),
            p99_microseconds: at(|watch| &mut watch.microseconds, 0.99),
            p99_processor_microseconds: at(|watch| &mut watch.processor_microseconds, 0.99),
            searches: self.microseconds.len(),
            recall: if self.wanted == 0 { 1.0 } else { self.found as f64 / self.wanted as f64 },
            ..Phase::default()
        }
    }
}

/// Processor time of this thread; 0 where the system does not tell.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no processor time")]
fn processor_microseconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure that it is given and nothing else.
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
    }
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(not(unix))]
fn processor_microseconds() -> f64 {
    0.0
}

fn search_all(index: &Index, queries: &[f32], options: &Options) -> Result<Phase, IndexError> {
    let mut watch = Watch::new(index, options);
    let count = queries.len() / options.dimensions;
    for (at, vector) in queries.chunks_exact(options.dimensions).enumerate() {
        watch.search(vector, at % (count / RECALL_QUERIES).max(1) == 0)?;
    }
    Ok(watch.phase())
}

fn search_while_writing(index: &Index, set: &Synthetic, queries: &[f32], options: &Options) -> Result<Phase, IndexError> {
    let maintainer = index.spawn_maintainer().map_err(|error| IndexError::Build(error.to_string()))?;
    let over = AtomicBool::new(false);
    let slowest = AtomicU64::new(0);
    let mut phase = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = write(index, set, options, &slowest);
            over.store(true, Ordering::Release);
            written
        });
        let mut watch = Watch::new(index, options);
        // The exact scan is no part of the load: it is rare enough to take a twentieth of the time.
        let (mut comparing, started) = (Duration::ZERO, Instant::now());
        for vector in queries.chunks_exact(options.dimensions).cycle() {
            if over.load(Ordering::Acquire) {
                break;
            }
            let compare = comparing * 20 < started.elapsed();
            let from = Instant::now();
            watch.search(vector, compare)?;
            if compare {
                comparing += from.elapsed();
            }
        }
        let (upserts, deletes, seconds) = writer.join().map_err(|_| IndexError::Build("the writer panicked".into()))??;
        let rates = Phase { upserts_per_second: upserts as f64 / seconds, deletes_per_second: deletes as f64 / seconds, ..watch.phase() };
        Ok::<Phase, IndexError>(rates)
    })?;
    drop(maintainer);
    phase.set_microseconds_max = slowest.load(Ordering::Relaxed) as f64 / 1e3;
    Ok(phase)
}

/// Writes at the rate asked for: a hundred times a second what is due. Gives rows set, owners removed, and seconds.
fn write(index: &Index, set: &Synthetic, options: &Options, slowest: &AtomicU64) -> Result<(usize, usize, f64), IndexError> {
    const TICK: Duration = Duration::from_millis(10);
    let due = |rate: u32, elapsed: f64| (f64::from(rate) * elapsed) as usize;
    let count = due(options.upserts_per_second, options.seconds);
    // Making the vectors is not part of the load.
    let rows = rows_of(set, options.rows, count);
    let (mut upserts, mut deletes, started) = (0, 0, Instant::now());
    while upserts < count {
        let elapsed = started.elapsed().as_secs_f64();
        while upserts < due(options.upserts_per_second, elapsed).min(count) {
            let owner = if upserts % 2 == 0 { options.rows + upserts } else { upserts * 7919 % options.rows.max(1) };
            let from = Instant::now();
            set_row(index, owner as u32, 1 + upserts as u64, &rows[upserts * options.dimensions..][..options.dimensions])?;
            slowest.fetch_max(from.elapsed().as_nanos() as u64, Ordering::Relaxed);
            upserts += 1;
        }
        while deletes < due(options.deletes_per_second, elapsed) {
            index.remove((deletes * 6007 % options.rows.max(1)) as u32);
            deletes += 1;
        }
        std::thread::sleep(TICK);
    }
    Ok((upserts, deletes, started.elapsed().as_secs_f64()))
}

impl Report {
    /// As a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} rows x {}, set at {:.0} rows/s ({:.1} us of processor each), settled {:.1} s later; memory for 100,000 rows: {:.1} MB hot, {:.1} MB mapped\n",
            self.rows,
            self.dimensions,
            self.fill_rows_per_second,
            self.fill_processor_microseconds,
            self.settle_seconds,
            self.hot_bytes_per_100k as f64 / 1e6,
            self.mapped_bytes_per_100k as f64 / 1e6
        );
        let _ = writeln!(
            text,
            "{:>7} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
            "", "searches", "recall@10", "p50 us", "p99 us", "p99 cpu us", "upserts/s", "deletes/s", "set max us"
        );
        for (name, phase) in [("before", self.before), ("during", self.during), ("after", self.after)] {
            let _ = writeln!(
                text,
                "{name:>7} {:>9} {:>9.4} {:>10.1} {:>10.1} {:>10.1} {:>10.0} {:>10.0} {:>12.0}",
                phase.searches,
                phase.recall,
                phase.p50_microseconds,
                phase.p99_microseconds,
                phase.p99_processor_microseconds,
                phase.upserts_per_second,
                phase.deletes_per_second,
                phase.set_microseconds_max
            );
        }
        if let Some(seconds) = self.restart_seconds {
            let _ = writeln!(text, "restart from the folder: {seconds:.2} s");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_churn_keeps_its_recall_and_prints_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            rows: 3000,
            dimensions: 32,
            upserts_per_second: 50_000,
            deletes_per_second: 5000,
            seconds: 0.01,
            searches: 100,
            folder: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let report = measure(&options).expect("measured");
        // In the moment that the writes last there are only a few searches to judge by.
        for (phase, least) in [(report.before, 0.97), (report.during, 0.85), (report.after, 0.97)] {
            assert!(phase.searches > 0 && phase.recall >= least, "{phase:?}");
        }
        assert!(report.during.upserts_per_second > 0.0 && report.restart_seconds.is_some());
        assert!(report.table().contains("during") && report.table().contains("restart"));
        assert!(serde_json::to_string(&report).expect("JSON").contains("\"recall\""));
    }
}
