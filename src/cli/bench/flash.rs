//! `gotham bench flash`: look-ups and writes of sessions and offers in process, beside Redis over a socket where that is
//! installed. The first is a function call in one process, the second a request to another: the comparison says what it saves to
//! keep them at hand, not that one map is faster than another.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use session::figures::{Figure, Options, measure};

use crate::cli::{Common, Outcome};

#[derive(Clone, Args)]
pub(in crate::cli) struct FlashArgs {
    /// Products with an offer
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    products: u32,
    /// Sessions, each of another shopper
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// Items in each history
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200))]
    items: u32,
    /// Threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Seconds for each figure
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Leave Redis out
    #[arg(long)]
    no_redis: bool,
}

/// What `redis-benchmark` measured of one command.
#[derive(Serialize)]
struct RedisFigure {
    command: String,
    /// Requests that a connection sends before it waits for the answers.
    pipeline: u32,
    per_second: f64,
}

#[derive(Serialize)]
struct Report {
    in_process: Vec<Figure>,
    redis_over_socket: Vec<RedisFigure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_missing: Option<String>,
}

pub(super) fn flash(common: &Common, args: &FlashArgs) -> Outcome {
    let options = Options {
        products: args.products as usize,
        sessions: args.sessions as usize,
        items: args.items as usize,
        threads: args.threads as usize,
        duration: Duration::from_secs(u64::from(args.seconds)),
    };
    let in_process = measure(&options)?;
    let redis = if args.no_redis { Err("left out".to_owned()) } else { Redis::start().and_then(|redis| redis.measure()) };
    let (redis_over_socket, redis_missing) = redis.map_or_else(|reason| (Vec::new(), Some(reason)), |figures| (figures, None));
    let report = Report { in_process, redis_over_socket, redis_missing };
    common.output().result(&report, || table(&report));
    Ok(())
}

fn table(report: &Report) -> String {
    let mut lines = vec!["in this process, a function call:".to_owned()];
    lines.extend(report.in_process.iter().map(|figure| {
        let Figure { what, threads, per_second, nanoseconds } = figure;
        format!("  {what:<40} {threads} thread(s) {per_second:>13.0}/s {nanoseconds:>8.0} ns each")
    }));
    match &report.redis_missing {
        Some(reason) => lines.push(format!("no Redis beside it: {reason}")),
        None => lines.push("redis-server over a Unix socket, another process, by redis-benchmark with 50 connections:".to_owned()),
    }
    lines.extend(report.redis_over_socket.iter().map(|figure| {
        let RedisFigure { command, pipeline, per_second } = figure;
        format!("  {command:<40} {pipeline:>2} in a row  {per_second:>13.0}/s")
    }));
    lines.join("\n")
}

/// A server of its own, without persistence, reachable by a socket in a folder of its own alone; ends with this value.
struct Redis {
    server: Child,
    folder: PathBuf,
}

/// Requests of each measurement.
const REQUESTS: &str = "200000";
/// Looks at the socket before the server counts as not started, 50 ms apart.
const LOOKS_MAX: u32 = 100;

impl Redis {
    fn start() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("gotham-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let socket = socket(&folder);
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}"))?;
        let redis = Self { server, folder };
        for _ in 0..LOOKS_MAX {
            if UnixStream::connect(&socket).is_ok() {
                return Ok(redis);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("redis-server does not open its socket".to_owned())
    }

    fn measure(&self) -> Result<Vec<RedisFigure>, String> {
        let mut figures = Vec::new();
        for pipeline in [1, 16] {
            let in_a_row = pipeline.to_string();
            let output = Command::new("redis-benchmark")
                .args([
                    "--csv",
                    "-t",
                    "set,get,lpush,lrange_100",
                    "-n",
                    REQUESTS,
                    "-r",
                    "20000",
                    "-d",
                    "100",
                    "-P",
                    in_a_row.as_str(),
                    "-s",
                ])
                .arg(socket(&self.folder))
                .output()
                .map_err(|error| format!("redis-benchmark: {error}"))?;
            if !output.status.success() {
                return Err(format!("redis-benchmark: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
            figures.extend(parse(&String::from_utf8_lossy(&output.stdout), pipeline));
        }
        Ok(figures)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It keeps nothing, so it need not be asked to end; a folder that stays is the system's to clean.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// `"GET","123456.7",...`: newer versions have more columns and a line of titles.
fn parse(csv: &str, pipeline: u32) -> Vec<RedisFigure> {
    let figure = |line: &str| {
        let mut fields = line.split("\",\"").map(|field| field.trim_matches('"'));
        let command = fields.next()?.to_owned();
        Some(RedisFigure { command, pipeline, per_second: fields.next()?.trim_matches('"').parse().ok()? })
    };
    csv.lines().filter_map(figure).filter(|figure| !figure.command.contains("needed to benchmark")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_both_forms() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"GET\",\"123456.78\",\"0.2\"\n\"LPUSH (needed to benchmark LRANGE)\",\"1.00\"\nrubbish\n\"SET\",\"5.5\"\n";
        let figures: Vec<(String, f64)> = parse(csv, 1).into_iter().map(|figure| (figure.command, figure.per_second)).collect();
        assert_eq!(figures, [("GET".to_owned(), 123_456.78), ("SET".to_owned(), 5.5)]);
    }
}
