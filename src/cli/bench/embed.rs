//! `gotham bench embed`: pictures and titles a second of the installed default models on the processor and on the GPU, their
//! latency and their memory; beside them the same models under onnxruntime, in turn and on the same inputs, where its library is
//! given.

mod contender;
mod onnxruntime;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use shaders::gpu::{AdapterChoice, GpuError, GpuExecutor, GpuOptions};
use shaders::{CpuExecutor, Executor, Storage};

use self::contender::{Batch, Contender, Ours, Run, Theirs};
use self::onnxruntime::Runtime;
use super::super::{Common, Failure, Outcome};

/// Seconds that a contender runs in one round, unless a single batch takes longer.
const TURN_SECONDS: f64 = 0.1;
/// Seconds that each batch size is run before memory is read: allocators give back what loading left only after a while.
const MEMORY_SECONDS: f64 = 1.5;
/// Batches of one turn.
const TURN_BATCHES_MAX: usize = 100;

#[derive(Clone, Args)]
pub(in crate::cli) struct EmbedArgs {
    /// Threads of the processor, one measurement for each number [default: 1 and all cores]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Vec<u32>,
    /// Pictures or titles in a batch
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32], value_parser = clap::value_parser!(u32).range(1..=1_024))]
    batches: Vec<u32>,
    /// Rounds; in each of them every contender has its turn
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Keep the weights in half precision
    #[arg(long)]
    half: bool,
    /// Take a software driver for a GPU: says nothing about speed
    #[arg(long)]
    software: bool,
    /// Measure only one kind of model
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Run the same models by this library of onnxruntime too (libonnxruntime.so)
    #[arg(long, value_name = "LIBRARY")]
    onnxruntime: Option<PathBuf>,
    /// The image model as ONNX: one input of floats [batch, 3, side, side]
    #[arg(long, value_name = "FILE", requires = "onnxruntime")]
    onnx_image: Option<PathBuf>,
    /// The text model as ONNX: token ids, attention mask, and where it wants them token types
    #[arg(long, value_name = "FILE", requires = "onnxruntime")]
    onnx_text: Option<PathBuf>,
    /// Only load and run one contender and print the memory of this process
    #[arg(long, value_enum, hide = true)]
    memory_of: Option<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Image,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Side {
    Gotham,
    Onnxruntime,
}

/// One contender's speed.
#[derive(Serialize)]
struct Speed {
    kind: Kind,
    engine: String,
    /// Of the processor; 0 on a GPU.
    threads: u32,
    batch: u32,
    /// By the median.
    items_per_second: f64,
    p50_ms: f64,
    /// Of the fastest batch: what the engine can do when nothing else runs.
    best_ms: f64,
    batches_run: usize,
    /// Items a second as a multiple of onnxruntime's, by the medians and by the fastest batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    times_onnxruntime: Option<[f64; 2]>,
    /// Least cosine between the vectors of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine_with_onnxruntime: Option<f64>,
}

/// What one contender adds to a process of its own that loads it and runs the batches, one thread.
#[derive(Serialize)]
struct Memory {
    kind: Kind,
    engine: Side,
    #[serde(flatten)]
    bytes: MemoryBytes,
}

#[derive(Serialize, Deserialize)]
struct MemoryBytes {
    /// Of the whole process while it was loaded and run.
    peak_bytes: u64,
    /// Of the whole process afterwards.
    resident_bytes: u64,
    /// Of the process before the model.
    before_bytes: u64,
    /// What of the resident bytes is the process's own, afterwards and before; the rest are pages of files, which the system takes
    /// back where it needs them.
    anonymous_bytes: u64,
    anonymous_before_bytes: u64,
}

impl MemoryBytes {
    /// What has come since `before`, the resident and the anonymous bytes of then.
    fn since([before_bytes, anonymous_before_bytes]: [u64; 2]) -> Result<MemoryBytes, Failure> {
        let [resident_bytes, anonymous_bytes] = resident()?;
        Ok(MemoryBytes { peak_bytes: process_bytes("VmHWM:")?, resident_bytes, before_bytes, anonymous_bytes, anonymous_before_bytes })
    }
}

/// Resident bytes of the process, and those of them that are its own.
fn resident() -> Result<[u64; 2], Failure> {
    Ok([process_bytes("VmRSS:")?, process_bytes("RssAnon:")?])
}

#[derive(Serialize)]
struct Report {
    processor: String,
    /// The GPU, or why there is none.
    graphics: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    onnxruntime: Option<String>,
    speed: Vec<Speed>,
    memory: Vec<Memory>,
}

impl EmbedArgs {
    fn storage(&self) -> Storage {
        if self.half { Storage::F16 } else { Storage::F32 }
    }

    fn kinds(&self) -> Vec<Kind> {
        self.only.map_or_else(|| vec![Kind::Image, Kind::Text], |kind| vec![kind])
    }

    fn threads(&self) -> Vec<u32> {
        if !self.threads.is_empty() {
            return self.threads.clone();
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        if cores == 1 { vec![1] } else { vec![1, cores] }
    }

    fn onnx(&self, kind: Kind) -> Option<&PathBuf> {
        match kind {
            Kind::Image => self.onnx_image.as_ref(),
            Kind::Text => self.onnx_text.as_ref(),
        }
    }

    fn batch_max(&self) -> u32 {
        self.batches.iter().copied().max().unwrap_or(1)
    }
}

pub(super) fn embed(common: &Common, args: &EmbedArgs) -> Outcome {
    if let Some(side) = args.memory_of {
        let bytes = memory_of(common, args, side)?;
        common.output().result(&bytes, || format!("{} MB", bytes.peak_bytes >> 20));
        return Ok(());
    }
    let runtime = args.onnxruntime.as_deref().map(Runtime::open).transpose().map_err(|error| Failure::new(Failure::USAGE, error))?;
    let graphics = graphics(args)?;
    let mut speed = Vec::new();
    for kind in args.kinds() {
        for threads in args.threads() {
            let executor = CpuExecutor::new(threads as usize).with_storage(args.storage());
            speed.extend(speeds(common, args, kind, threads, &executor, runtime.as_ref())?);
        }
        if let Ok(executor) = &graphics {
            speed.extend(speeds(common, args, kind, 0, executor, None)?);
        }
    }
    let report = Report {
        processor: CpuExecutor::new(1).describe(),
        graphics: graphics.map_or_else(|error| error.to_string(), |executor| executor.describe()),
        onnxruntime: runtime.as_ref().map(|runtime| runtime.version().to_owned()),
        speed,
        memory: memories(args)?,
    };
    common.output().result(&report, || table(&report));
    Ok(())
}

/// The GPU, opened; where none can be, that is told in its place, and only a software driver that was asked for must be there.
fn graphics(args: &EmbedArgs) -> Result<Result<GpuExecutor, GpuError>, Failure> {
    let adapter = if args.software { AdapterChoice::Software } else { AdapterChoice::Hardware };
    match GpuExecutor::open(GpuOptions { adapter, ..GpuOptions::default() }) {
        Err(error) if args.software => Err(Failure::new(Failure::FAILED, format!("GPU: {error}"))),
        opened => Ok(opened),
    }
}

/// The model on one executor beside onnxruntime, for every batch size.
fn speeds(
    common: &Common,
    args: &EmbedArgs,
    kind: Kind,
    threads: u32,
    executor: &dyn Executor,
    runtime: Option<&Runtime>,
) -> Result<Vec<Speed>, Failure> {
    let ours = Ours::load(executor, kind, &common.models_dir())?;
    let theirs = match (runtime, args.onnx(kind)) {
        (Some(runtime), Some(model)) => Some(Theirs::load(runtime, kind, model, threads as usize)?),
        _ => None,
    };
    let mut contenders: Vec<(String, &dyn Contender)> = vec![(format!("gotham, {}", executor.describe()), &ours)];
    if let Some(theirs) = &theirs {
        contenders.push((format!("onnxruntime, {threads} thread{}", if threads == 1 { "" } else { "s" }), theirs));
    }
    let mut speeds = Vec::new();
    for batch_size in &args.batches {
        let batch = ours.batch(*batch_size as usize)?;
        let (times, cosine) = rounds(&contenders, &batch, args.rounds)?;
        let speed = |((engine, _), mut times): (&(String, &dyn Contender), Vec<f64>)| {
            times.sort_by(f64::total_cmp);
            let (best, median) = (times[0], times[times.len() / 2]);
            Speed {
                kind,
                engine: engine.clone(),
                threads,
                batch: *batch_size,
                items_per_second: f64::from(*batch_size) / median,
                p50_ms: median * 1e3,
                best_ms: best * 1e3,
                batches_run: times.len(),
                times_onnxruntime: None,
                cosine_with_onnxruntime: None,
            }
        };
        let mut of_batch: Vec<Speed> = contenders.iter().zip(times).map(speed).collect();
        if let [ours, theirs] = &mut of_batch[..] {
            ours.times_onnxruntime = Some([theirs.p50_ms / ours.p50_ms, theirs.best_ms / ours.best_ms]);
            ours.cosine_with_onnxruntime = cosine;
        }
        speeds.extend(of_batch);
    }
    Ok(speeds)
}

/// Seconds of every batch of each contender, in turn, after one that is not counted; and the least cosine between the vectors of
/// the first two.
fn rounds(contenders: &[(String, &dyn Contender)], batch: &Batch, rounds: u32) -> Result<(Vec<Vec<f64>>, Option<f64>), Failure> {
    let timed = |run: &mut Run<'_>| {
        let started = Instant::now();
        let vectors = run()?;
        Ok::<_, Failure>((started.elapsed().as_secs_f64(), vectors))
    };
    let mut runs: Vec<Run<'_>> = contenders.iter().map(|(_, contender)| contender.prepare(batch)).collect();
    let mut turns = Vec::new();
    let mut vectors = Vec::new();
    for run in &mut runs {
        vectors.push(timed(run)?.1);
        let (seconds, _) = timed(run)?;
        turns.push(((TURN_SECONDS / seconds.max(1e-6)) as usize).clamp(1, TURN_BATCHES_MAX));
    }
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((run, times), turns) in runs.iter_mut().zip(&mut times).zip(&turns) {
            for _ in 0..*turns {
                times.push(timed(run)?.0);
            }
        }
    }
    let cosine = match &vectors[..] {
        [ours, theirs, ..] => Some(contender::cosine_min(ours, theirs, batch.items())?),
        _ => None,
    };
    Ok((times, cosine))
}

/// Each contender in a process of its own, so that none counts the other's memory.
fn memories(args: &EmbedArgs) -> Result<Vec<Memory>, Failure> {
    let mut memories = Vec::new();
    for kind in args.kinds() {
        for side in [Side::Gotham, Side::Onnxruntime] {
            if side == Side::Onnxruntime && (args.onnxruntime.is_none() || args.onnx(kind).is_none()) {
                continue;
            }
            let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
                value().map_or_else(String::new, |value| value.get_name().to_owned())
            };
            let output = Command::new(std::env::current_exe()?)
                .args(std::env::args_os().skip(1).filter(|argument| argument != "--json"))
                .args(["--json", "--memory-of", &name(&|| side.to_possible_value())])
                .args(args.only.is_none().then(|| ["--only".to_owned(), name(&|| kind.to_possible_value())]).into_iter().flatten())
                .output()?;
            if !output.status.success() {
                return Err(Failure::new(Failure::FAILED, String::from_utf8_lossy(&output.stderr)));
            }
            memories.push(Memory { kind, engine: side, bytes: serde_json::from_slice(&output.stdout)? });
        }
    }
    Ok(memories)
}

/// Loads and runs one contender in this process.
fn memory_of(common: &Common, args: &EmbedArgs, side: Side) -> Result<MemoryBytes, Failure> {
    let kind = args.only.ok_or_else(|| Failure::new(Failure::USAGE, "--memory-of goes with --only"))?;
    let sizes = [1, args.batch_max() as usize];
    let before = resident()?;
    match side {
        Side::Gotham => {
            let executor = CpuExecutor::new(1).with_storage(args.storage());
            let ours = Ours::load(&executor, kind, &common.models_dir())?;
            for size in sizes {
                repeat(&mut ours.prepare(&ours.batch(size)?))?;
            }
            MemoryBytes::since(before)
        }
        Side::Onnxruntime => {
            let (Some(library), Some(model)) = (&args.onnxruntime, args.onnx(kind)) else {
                return Err(Failure::new(Failure::USAGE, "no model for onnxruntime"));
            };
            let runtime = Runtime::open(library).map_err(|error| Failure::new(Failure::USAGE, error))?;
            let theirs = Theirs::load(&runtime, kind, model, 1)?;
            for size in sizes {
                repeat(&mut theirs.prepare(&contender::plain_batch(kind, size)))?;
            }
            MemoryBytes::since(before)
        }
    }
}

/// Runs a batch again and again for [`MEMORY_SECONDS`].
fn repeat(run: &mut Run<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < MEMORY_SECONDS {
        run()?;
    }
    Ok(())
}

/// A line of `/proc/self/status`, in bytes.
fn process_bytes(line: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| Failure::new(Failure::FAILED, format!("the system does not tell {line}")))
}

fn table(report: &Report) -> String {
    let mut lines = vec![report.processor.clone(), report.graphics.clone()];
    for speed in &report.speed {
        let what = if speed.kind == Kind::Image { "pictures" } else { "titles" };
        let mut line = format!(
            "{what:<8} batch {:>3}: {:>8.1}/s, p50 {:>8.2} ms, best {:>8.2} ms  {}",
            speed.batch, speed.items_per_second, speed.p50_ms, speed.best_ms, speed.engine
        );
        if let (Some([median, best]), Some(cosine)) = (speed.times_onnxruntime, speed.cosine_with_onnxruntime) {
            line += &format!(": {median:.2} times onnxruntime (best {best:.2}), cosine 1 - {:.0e}", 1.0 - cosine);
        }
        lines.push(line);
    }
    for Memory { kind, engine, bytes } in &report.memory {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        lines.push(format!(
            "memory, {kind:?} under {engine:?}: {:.0} MB more than before while it runs ({:.0} MB its own, the rest pages of files), {:.0} \
             MB more at the peak (loading included)",
            megabytes(bytes.resident_bytes.saturating_sub(bytes.before_bytes)),
            megabytes(bytes.anonymous_bytes.saturating_sub(bytes.anonymous_before_bytes)),
            megabytes(bytes.peak_bytes.saturating_sub(bytes.before_bytes)),
        ));
    }
    lines.join("\n")
}
