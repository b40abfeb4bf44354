//! `gotham bench`: speed on this machine, of one part at a time. Peers are run beside it by `tests/bench/search_peers.py`.

mod embed;
mod events;
mod flash;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use shaders::scan::{AdapterChoice, GpuOptions, GpuScan, Load};
use vectors::codes::Metric;
use vectors::curve::{Options, measure};

use super::{Common, Outcome};

/// What can be measured.
#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// Vector search: recall, queries a second, percentiles, build time and memory for each point of the curve
    Search(SearchArgs),
    /// What searches feel while products come and go: recall and percentiles before, during and after, and the restart
    Churn(ChurnArgs),
    /// Exact search by brute force: the GPU beside its twin on the processor
    Scan(ScanArgs),
    /// The models: pictures and titles a second, latency and memory, beside onnxruntime where its library is given
    Embed(embed::EmbedArgs),
    /// The event log: durable events a second with followers reading, sealing and reading back
    Events(events::EventsArgs),
    /// Sessions, carts and offers in memory: look-ups and writes a second, beside Redis where that is installed
    Flash(flash::FlashArgs),
}

#[derive(Clone, Args)]
pub(super) struct ChurnArgs {
    /// Rows at the beginning (synthetic, seeded)
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    rows: u32,
    /// Numbers in a vector
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(8..=2_048))]
    dimensions: u32,
    /// Rows set a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    upserts: u32,
    /// Products removed a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    deletes: u32,
    /// How long that goes on
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Keep the index here and measure a restart too
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Clone, Args)]
pub(super) struct ScanArgs {
    /// Numbers in a vector
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    dimensions: u32,
    /// Rows
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(64..=5_000_000))]
    rows: u32,
    /// Queries answered together
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    batch: u32,
    /// Take a software driver for a GPU: says nothing about speed
    #[arg(long)]
    software: bool,
}

#[derive(Clone, Args)]
pub(super) struct SearchArgs {
    /// Rows (.fbin: u32 rows, u32 dimensions, f32 numbers, little-endian)
    #[arg(long, value_name = "FBIN")]
    base: PathBuf,
    /// Queries
    #[arg(long, value_name = "FBIN")]
    queries: PathBuf,
    /// The queries' nearest rows (.ibin: u32 queries, u32 k, u32 ids, optionally f32 scores)
    #[arg(long, value_name = "IBIN")]
    truth: PathBuf,
    /// How vectors are compared; `auto` takes the measure under which the truth is in order
    #[arg(long, value_enum, default_value_t = MetricChoice::Auto)]
    metric: MetricChoice,
    /// Let a random part of the rows through, 0 to 1, and compute the truth for it
    #[arg(long, value_name = "SELECTIVITY", value_parser = parse_share)]
    filter: Option<f64>,
    /// Strategies to measure [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds over the queries
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Threads that build; searches use one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum MetricChoice {
    Auto,
    Cosine,
    Dot,
    L2,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err(format!("{share} is not above 0 and at most 1")) }
}

pub(super) fn bench(common: &Common, command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Search(args) => search(common, args.clone()),
        BenchCommand::Churn(args) => churn(common, args.clone()),
        BenchCommand::Scan(args) => scan(common, args),
        BenchCommand::Embed(args) => embed::embed(common, args),
        BenchCommand::Events(args) => events::events(common, args),
        BenchCommand::Flash(args) => flash::flash(common, args),
    }
}

fn search(common: &Common, args: SearchArgs) -> Outcome {
    let metric = match args.metric {
        MetricChoice::Auto => None,
        MetricChoice::Cosine => Some(Metric::Cosine),
        MetricChoice::Dot => Some(Metric::Dot),
        MetricChoice::L2 => Some(Metric::L2),
    };
    let report = measure(&Options {
        base: args.base,
        queries: args.queries,
        truth: args.truth,
        metric,
        filter: args.filter,
        rounds: args.rounds as usize,
        threads: args.threads as usize,
        params: None,
        strategies: args.only,
    })?;
    common.output().result(&report, || report.to_string());
    Ok(())
}

fn churn(common: &Common, args: ChurnArgs) -> Outcome {
    let report = vectors::churn::measure(&vectors::churn::Options {
        rows: args.rows as usize,
        // The generator makes numbers in pairs.
        dimensions: args.dimensions.next_multiple_of(2) as usize,
        upserts_per_second: args.upserts,
        deletes_per_second: args.deletes,
        seconds: f64::from(args.seconds),
        folder: args.folder,
        ..vectors::churn::Options::default()
    })?;
    common.output().result(&report, || report.table());
    Ok(())
}

fn scan(common: &Common, args: &ScanArgs) -> Outcome {
    let adapter = if args.software { AdapterChoice::Software } else { AdapterChoice::Hardware };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut gpu = GpuScan::open(args.dimensions as usize, &GpuOptions { adapter, ..GpuOptions::default() })?;
    let load = Load { rows: args.rows as usize, batch: args.batch as usize, ..Load::small(args.dimensions as usize) };
    let measured = shaders::scan::measure(&mut gpu, &load, threads)?;
    let ([gpu_rows, cpu_rows], [gpu_bytes, cpu_bytes]) = (measured.rows_per_second(), measured.bytes_per_second());
    let json = serde_json::json!({
        "adapter": gpu.adapter().name, "dimensions": args.dimensions, "rows": args.rows, "batch": args.batch, "threads": threads,
        "gpu_rows_per_second": gpu_rows, "cpu_rows_per_second": cpu_rows,
        "gpu_bytes_per_second": gpu_bytes, "cpu_bytes_per_second": cpu_bytes, "ratio": gpu_rows / cpu_rows,
    });
    common.output().result(&json, || {
        let name = &gpu.adapter().name;
        format!("{name}: {gpu_rows:.3e} rows/s; processor, {threads} threads: {cpu_rows:.3e} rows/s; ratio {:.2}", gpu_rows / cpu_rows)
    });
    Ok(())
}
