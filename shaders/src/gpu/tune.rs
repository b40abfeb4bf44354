//! Chooses variants by measurement: each kind of product of a plan, at the sizes of batch that occur, by every variant that may
//! do it.

use super::choices::{Class, Measured};
use super::device::GpuError;
use super::gemm::Product;
use super::lower::{Extent, Kernel};
use super::program::GpuProgram;
use super::slot::{Recording, Slot};
use super::timing::Timer;
use crate::plan::Shape;
use std::time::Instant;

/// Pictures of the runs that are measured.
const PICTURES: [usize; 4] = [1, 8, 32, 128];
/// Texts and their tokens of the runs that are measured.
const TEXTS: [[usize; 2]; 4] = [[1, 16], [8, 128], [32, 512], [256, 4096]];
/// Repetitions of a measurement, of which the fastest counts.
const ROUNDS: usize = 3;
/// How long a measurement should take, so that the clock's grain does not matter.
const ROUND_SECONDS: f64 = 2e-4;
/// Most dispatches of one measurement.
const DISPATCHES_MAX: usize = 64;
/// A variant so many times slower than the best is not measured again.
const HOPELESS: f64 = 2.0;

/// Sizes of run that are worth measuring for a program.
pub(crate) fn extents(program: &GpuProgram) -> Vec<Extent> {
    let texts = matches!(program.shapes[0], Shape::Tokens { .. });
    let sizes: Vec<Extent> = if texts {
        TEXTS.map(|[items, tokens]| Extent { items, tokens, tiles: items }).into()
    } else {
        PICTURES.map(|items| Extent { items, tokens: 0, tiles: 0 }).into()
    };
    sizes.into_iter().filter(|extent| extent.items.max(extent.tokens) <= program.batch_max()).collect()
}

/// Measures what is not known yet, most work first, for at most so many seconds. Says whether anything was learned.
pub(crate) fn measure(program: &GpuProgram, seconds_max: f64) -> Result<bool, GpuError> {
    let started = Instant::now();
    let engine = &program.engine;
    let mut jobs: Vec<(Class, usize, Extent, f64)> = Vec::new();
    for extent in extents(program) {
        for (index, dispatch) in program.dispatches.iter().enumerate() {
            let Kernel::Product(product) = &dispatch.kernel else { continue };
            let [depth, columns, rows] = product.size(&extent);
            let class = Class::new(rows, depth, columns);
            if !engine.choices().measured.contains_key(&class) && jobs.iter().all(|(other, ..)| *other != class) {
                jobs.push((class, index, extent, (dispatch.operations)(&extent)));
            }
        }
    }
    // Small batches are what queries are made of: they come first, and within a batch the largest product.
    jobs.sort_by(|a, b| a.2.items.cmp(&b.2.items).then(b.3.total_cmp(&a.3)));
    if jobs.is_empty() || seconds_max <= 0.0 {
        return Ok(false);
    }
    let mut timer = Timer::new(&engine.device, 2)?;
    program.with_slot(|slot| {
        for (class, index, extent, _) in jobs {
            if started.elapsed().as_secs_f64() > seconds_max {
                break;
            }
            let Kernel::Product(product) = &program.dispatches[index].kernel else { continue };
            let recording = slot.reserve(program, extent.bucket())?;
            let bench = Bench { program, slot, recording: &recording, index, product, rows: product.size(&extent)[2] };
            if let Some(measured) = bench.best(&mut timer)? {
                engine.choices().measured.insert(class, measured);
            }
        }
        Ok(true)
    })
}

/// One product at one size.
struct Bench<'a> {
    program: &'a GpuProgram,
    slot: &'a Slot,
    recording: &'a Recording,
    index: usize,
    product: &'a Product,
    rows: usize,
}

impl Bench<'_> {
    /// The fastest of the variants that suit.
    fn best(&self, timer: &mut Timer) -> Result<Option<Measured>, GpuError> {
        let engine = &self.program.engine;
        let variants = engine.choices().variants.clone();
        let mut best: Option<Measured> = None;
        for variant in variants.into_iter().filter(|variant| variant.suits(self.rows)) {
            let launch = self.product.launch_with(engine, variant, self.rows)?;
            let bound = best.map_or(f64::INFINITY, |best| best.seconds);
            // The first run compiles.
            let first = self.seconds(timer, &launch, 1)?.min(self.seconds(timer, &launch, 1)?);
            if first > HOPELESS * bound + ROUND_SECONDS {
                continue;
            }
            let count = ((ROUND_SECONDS / first.max(1e-7)) as usize).clamp(1, DISPATCHES_MAX);
            let mut seconds = f64::INFINITY;
            for _ in 0..ROUNDS {
                seconds = seconds.min(self.seconds(timer, &launch, count)?);
            }
            if seconds < bound {
                best = Some(Measured { variant, seconds });
            }
        }
        Ok(best)
    }

    /// Seconds of one of `count` dispatches in a row.
    fn seconds(&self, timer: &mut Timer, launch: &(wgpu::ComputePipeline, super::lower::Launch), count: usize) -> Result<f64, GpuError> {
        let device = &self.program.engine.device;
        let total = device.attempt(|| {
            self.slot.upload_parameters(self.program, self.index, &launch.1);
            let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = timer.begin(&mut encoder, 0);
            for _ in 0..count {
                super::program::record(&mut pass, self.recording, launch, self.index);
            }
            drop(pass);
            timer.finish(device, encoder)
        })?;
        Ok(total[0] / count as f64)
    }
}
