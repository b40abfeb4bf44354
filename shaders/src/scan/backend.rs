//! One set of calls for whatever does the work, and the measurement that says which should.

use super::cpu::CpuScan;
use super::gpu::{GpuOptions, GpuScan};
use super::self_test::{halves, numbers};
use super::work::BATCH_MAX;
use super::{Hit, Request, ScanError, check_dim};
use half::f16;
use std::time::{Duration, Instant};

/// Rows kept where they are searched: on a GPU, or in this process's memory.
#[derive(Debug)]
pub enum ScanBackend {
    /// On a GPU. When a call fails with [`ScanError::Gpu`], put the rows into a [`CpuScan`] instead.
    Gpu(Box<GpuScan>),
    /// In memory.
    Cpu(CpuScan),
}

/// What a measurement runs.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Rows searched.
    pub rows: usize,
    /// Queries of each search.
    pub batch: usize,
    /// Results of each query.
    pub k: usize,
    /// Searches, of which the fastest counts; at least 1.
    pub repeats: usize,
}

impl Load {
    /// What [`ScanBackend::choose`] measures with: 16 MiB of rows, a quarter of a full batch.
    #[must_use]
    pub fn small(dim: usize) -> Load {
        Load { rows: (8 << 20) / dim.max(1), batch: BATCH_MAX / 4, k: 10, repeats: 3 }
    }
}

/// The same searches on the GPU and on the CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// One search on the GPU, its queries and results carried there and back.
    pub gpu: Duration,
    /// One search on the CPU.
    pub cpu: Duration,
    /// Rows of a search.
    pub rows: usize,
    /// Bytes of these rows.
    pub bytes: usize,
}

impl Measurement {
    /// Rows that the GPU and the CPU pass a second, each row against the whole batch.
    #[must_use]
    pub fn rows_per_second(&self) -> [f64; 2] {
        [self.gpu, self.cpu].map(|time| self.rows as f64 / time.as_secs_f64())
    }

    /// The same in bytes of rows.
    #[must_use]
    pub fn bytes_per_second(&self) -> [f64; 2] {
        [self.gpu, self.cpu].map(|time| self.bytes as f64 / time.as_secs_f64())
    }

    /// Whether the GPU was faster.
    #[must_use]
    pub fn gpu_wins(&self) -> bool {
        self.gpu < self.cpu
    }
}

/// Why a backend was chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Both were measured, and the faster one taken.
    Measured(Measurement),
    /// The GPU cannot be used.
    NoGpu(super::GpuError),
}

impl ScanBackend {
    /// The GPU when there is one that works and is faster than `threads` threads of the CPU, else the CPU. Takes a second or two.
    ///
    /// # Errors
    /// When no row can have `dim` numbers.
    pub fn choose(dim: usize, options: &GpuOptions, threads: usize) -> Result<(ScanBackend, Reason), ScanError> {
        check_dim(dim)?;
        let measured = GpuScan::open(dim, options).and_then(|mut gpu| {
            let measurement = measure(&mut gpu, &Load::small(dim), threads)?;
            Ok((gpu, measurement))
        });
        match measured {
            Ok((gpu, measurement)) if measurement.gpu_wins() => Ok((ScanBackend::Gpu(Box::new(gpu)), Reason::Measured(measurement))),
            Ok((_, measurement)) => Ok((ScanBackend::Cpu(CpuScan::new(dim, threads)?), Reason::Measured(measurement))),
            Err(ScanError::Gpu(error)) => Ok((ScanBackend::Cpu(CpuScan::new(dim, threads)?), Reason::NoGpu(error))),
            Err(error) => Err(error),
        }
    }

    /// Numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            ScanBackend::Gpu(scan) => scan.dim(),
            ScanBackend::Cpu(scan) => scan.dim(),
        }
    }

    /// Rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            ScanBackend::Gpu(scan) => scan.rows(),
            ScanBackend::Cpu(scan) => scan.rows(),
        }
    }

    /// Puts rows (`[rows, dim]`) and their biases (`[rows]`; `None` is 0) in place of those from `first` on, beyond the end if
    /// need be. `first` is a multiple of [`WRITE_ROWS`](super::WRITE_ROWS) within the rows there are; the end is one too, or
    /// lies at or beyond their end.
    ///
    /// # Errors
    /// When the lengths or the place do not fit, a number is not finite, or the device fails.
    pub fn write(&mut self, first: usize, rows: &[f16], bias: Option<&[f32]>) -> Result<(), ScanError> {
        match self {
            ScanBackend::Gpu(scan) => scan.write(first, rows, bias),
            ScanBackend::Cpu(scan) => scan.write(first, rows, bias),
        }
    }

    /// Forgets the rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            ScanBackend::Gpu(scan) => scan.truncate(rows),
            ScanBackend::Cpu(scan) => scan.truncate(rows),
        }
    }

    /// The best rows for each query, in order.
    ///
    /// # Errors
    /// When the request does not fit the rows, or the device fails.
    pub fn search(&self, request: &Request<'_>) -> Result<Vec<Vec<Hit>>, ScanError> {
        match self {
            ScanBackend::Gpu(scan) => scan.search(request),
            ScanBackend::Cpu(scan) => scan.search(request),
        }
    }
}

/// Times the same searches on `gpu` and on the CPU. The rows of `gpu` are replaced, and forgotten afterwards.
///
/// # Errors
/// When the load does not fit, or the device fails.
pub fn measure(gpu: &mut GpuScan, load: &Load, threads: usize) -> Result<Measurement, ScanError> {
    let dim = gpu.dim();
    let rows = halves(1, load.rows.max(1) * dim);
    let queries = numbers(2, load.batch.max(1) * dim);
    let request = Request { queries: &queries, k: load.k, allow: None };
    let mut cpu = CpuScan::new(dim, threads)?;
    cpu.write(0, &rows, None)?;
    gpu.truncate(0);
    gpu.write(0, &rows, None)?;
    let mut measurement = Measurement { gpu: Duration::MAX, cpu: Duration::MAX, rows: cpu.rows(), bytes: size_of_val(rows.as_slice()) };
    // In turn, so that whatever else the machine does meets both.
    for _ in 0..load.repeats.max(1) {
        measurement.gpu = measurement.gpu.min(timed(|| gpu.search(&request))?);
        measurement.cpu = measurement.cpu.min(timed(|| cpu.search(&request))?);
    }
    gpu.truncate(0);
    Ok(measurement)
}

fn timed<T>(work: impl FnOnce() -> Result<T, ScanError>) -> Result<Duration, ScanError> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
