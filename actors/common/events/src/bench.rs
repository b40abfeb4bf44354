//! How fast the log is on this machine: durable events a second with followers reading, sealing, and reading back; beside Redis.

mod redis;
mod synthetic;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use store::StoreError;
use tokio::task::JoinSet;

use self::redis::Redis;
pub use self::synthetic::Synthetic;
use crate::{Config, EventLog};

/// Records that a follower asks for at once.
const FOLLOWER_RECORDS_MAX: usize = 1024;
const REBUILD_RECORDS_MAX: usize = 4096;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events in one append, and in one pipeline of Redis.
    pub batch: usize,
    /// Appenders at the same time, and clients of Redis.
    pub appenders: usize,
    /// Followers that read along.
    pub followers: usize,
    /// Events of one turn.
    pub events: usize,
    /// Turns; each side has one, then the other.
    pub turns: usize,
    /// Whether Redis takes turns too.
    pub redis: bool,
    /// Where the folders are made: the disk that is measured. The system's temporary folder where none is named.
    pub folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 100, appenders: 8, followers: 2, events: 200_000, turns: 3, redis: false, folder: None }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Events in one append.
    pub batch: usize,
    /// Appenders.
    pub appenders: usize,
    /// Followers.
    pub followers: usize,
    /// Durable events a second, turn by turn.
    pub events_per_second: Vec<f64>,
    /// Durable events for each second of processor time, appenders and followers included: what other work on the machine leaves
    /// alone.
    pub events_per_processor_second: f64,
    /// Time from an append to its acknowledgement: median and 99th percentile, milliseconds, over all turns.
    pub append_ms: [f64; 2],
    /// The longest time until all followers had read all events after the last acknowledgement, milliseconds.
    pub followers_behind_ms: f64,
    /// Durable entries a second of Redis (`XADD`, `appendfsync always`), turn by turn.
    pub redis_per_second: Vec<f64>,
    /// Entries for each second of processor time of Redis' server, its clients not included.
    pub redis_per_processor_second: Option<f64>,
    /// Ours to Redis', of the medians.
    pub ratio: Option<f64>,
    /// Records sealed a second.
    pub sealed_per_second: f64,
    /// Parquet bytes of one event.
    pub parquet_bytes_per_event: f64,
    /// Journal bytes of one event.
    pub journal_bytes_per_event: f64,
    /// Records read back a second from the journal, from offset 0.
    pub journal_read_per_second: f64,
    /// Records read back a second from the files, from offset 0.
    pub parquet_read_per_second: f64,
}

/// Measures. Blocks; makes and removes folders.
pub fn measure(options: &Options) -> Result<Report, StoreError> {
    let failed = |error| StoreError::io("the bench", error);
    let folder = match &options.folder {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    }
    .map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let log = EventLog::open(&folder.path().join("events"), &Config::default(), Vec::new())?;
    let mut redis = if options.redis { Some(Redis::start(&folder.path().join("redis"))?) } else { None };
    let mut report = Report { batch: options.batch, appenders: options.appenders, followers: options.followers, ..Report::default() };
    let mut latencies = Vec::new();
    let mut processor_seconds = 0.0;
    for turn in 0..options.turns {
        let batches = Synthetic::new(turn as u64).batches(options.events, options.batch);
        if let Some(redis) = &mut redis {
            report.redis_per_second.push(redis.turn(&batches, options.appenders)?);
        }
        let before = processor_time("self");
        let (rate, behind) = runtime.block_on(turn_of(&log, batches, options, &mut latencies))?;
        processor_seconds += processor_time("self") - before;
        report.events_per_second.push(rate);
        report.followers_behind_ms = report.followers_behind_ms.max(behind.as_secs_f64() * 1e3);
    }
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len().saturating_sub(1) * share / 100).map_or(0.0, Duration::as_secs_f64) * 1e3;
    report.append_ms = [at(50), at(99)];
    let count = (options.turns * options.events) as f64;
    report.events_per_processor_second = count / processor_seconds;
    if let Some(redis) = &redis {
        report.redis_per_processor_second = Some(count / processor_time(&redis.pid().to_string()));
        report.ratio = Some(median(&report.events_per_second) / median(&report.redis_per_second));
    }
    drop(redis);
    rest(log, &mut report)?;
    Ok(report)
}

/// Appends all batches with several appenders while followers read along: events a second until the last is acknowledged, and how
/// long the followers took from there.
async fn turn_of(
    log: &EventLog,
    batches: Vec<Vec<domain::Event>>,
    options: &Options,
    latencies: &mut Vec<Duration>,
) -> Result<(f64, Duration), StoreError> {
    let (from, count) = (log.end(), batches.iter().map(Vec::len).sum::<usize>());
    let goal = from + count as u64;
    let mut followers = JoinSet::new();
    for _ in 0..options.followers {
        followers.spawn(follow(log.clone(), from, goal));
    }
    let mut shares: Vec<Vec<Vec<domain::Event>>> = vec![Vec::new(); options.appenders.max(1)];
    let appenders = shares.len();
    batches.into_iter().enumerate().for_each(|(index, batch)| shares[index % appenders].push(batch));
    let started = Instant::now();
    let mut appenders = JoinSet::new();
    for share in shares {
        let log = log.clone();
        appenders.spawn(async move {
            let mut latencies = Vec::with_capacity(share.len());
            for batch in share {
                let started = Instant::now();
                log.append(batch).await?;
                latencies.push(started.elapsed());
            }
            Ok::<_, StoreError>(latencies)
        });
    }
    while let Some(done) = appenders.join_next().await {
        latencies.extend(done.map_err(|error| StoreError::io("an appender", error))??);
    }
    let took = started.elapsed();
    while let Some(done) = followers.join_next().await {
        done.map_err(|error| StoreError::io("a follower", error))??;
    }
    Ok((count as f64 / took.as_secs_f64(), started.elapsed() - took))
}

async fn follow(log: EventLog, from: u64, goal: u64) -> Result<(), StoreError> {
    let (mut next, mut end) = (from, log.watch());
    while next < goal {
        if end.wait_for(|end| *end > next).await.is_err() {
            return Err(StoreError::Stopped);
        }
        for entry in log.read(next, FOLLOWER_RECORDS_MAX)? {
            if entry.offset != next {
                return Err(StoreError::Damaged("a follower saw a gap".into()));
            }
            next += 1;
        }
    }
    Ok(())
}

/// Sealing and reading back.
fn rest(log: EventLog, report: &mut Report) -> Result<(), StoreError> {
    let count = log.end().max(1) as f64;
    report.journal_bytes_per_event = log.parts().journal.bytes() as f64 / count;
    log.parts().tail.clear_before(log.end());
    report.journal_read_per_second = count / read_all(&log)?.as_secs_f64();
    let started = Instant::now();
    let sealed = log.seal(log.end())?;
    report.sealed_per_second = count / started.elapsed().as_secs_f64();
    report.parquet_bytes_per_event = sealed.bytes as f64 / count;
    let closed = log.parts().journal.close_segment()?;
    log.parts().journal.purge(&crate::warehouse::Sealed(closed))?;
    log.parts().tail.clear_before(closed);
    report.parquet_read_per_second = count / read_all(&log)?.as_secs_f64();
    Ok(())
}

fn read_all(log: &EventLog) -> Result<Duration, StoreError> {
    let started = Instant::now();
    let mut next = 0;
    while next < log.end() {
        let entries = log.read(next, REBUILD_RECORDS_MAX)?;
        next += entries.len() as u64;
    }
    Ok(started.elapsed())
}

/// Seconds of processor time that a process has taken, by `proc_pid_stat(5)`: fields 14 and 15, in hundredths.
fn processor_time(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Counted behind the name, which may hold anything.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ");
        writeln!(
            f,
            "{} appenders, batches of {}, {} followers: {} durable events/s (median {:.0}); append p50 {:.2} ms, p99 {:.2} ms",
            self.appenders,
            self.batch,
            self.followers,
            rates(&self.events_per_second),
            median(&self.events_per_second),
            self.append_ms[0],
            self.append_ms[1],
        )?;
        writeln!(f, "{:.0} events for each second of processor time", self.events_per_processor_second)?;
        writeln!(f, "followers had read all {:.2} ms after the last acknowledgement at the latest", self.followers_behind_ms)?;
        if let Some(ratio) = self.ratio {
            writeln!(
                f,
                "redis, XADD, appendfsync always: {} durable entries/s (median {:.0}); ratio {ratio:.2}; {:.0} for each second of its own \
                 processor time",
                rates(&self.redis_per_second),
                median(&self.redis_per_second),
                self.redis_per_processor_second.unwrap_or_default(),
            )?;
        }
        writeln!(
            f,
            "sealing {:.0} records/s; {:.0} bytes an event in the journal, {:.0} in Parquet",
            self.sealed_per_second, self.journal_bytes_per_event, self.parquet_bytes_per_event,
        )?;
        write!(
            f,
            "reading from offset 0: {:.0} records/s from the journal, {:.0} from Parquet",
            self.journal_read_per_second, self.parquet_read_per_second,
        )
    }
}
