//! What a device is and does: for people who choose one, and for those who make the kernels faster.

use super::device::GpuError;
use super::executor::GpuExecutor;
use super::lower::{Dispatch, Extent, Kernel, Operand};
use super::probe::{self, Peak};
use super::program::{GpuProgram, Part, record};
use super::self_test::Finding;
use super::source::Precision;
use super::timing::Timer;
use super::{AdapterInfo, tune};
use crate::executor::{Input, Program, RunError};
use crate::plan::{Plan, Shape};
use crate::synthetic::numbers;
use std::fmt;
use std::time::Instant;

/// Tokens of the titles that rates are measured with.
const TITLE_TOKENS: usize = 16;
/// Passes over a plan, of which the fastest counts for each kernel.
const PASSES: usize = 3;

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceReport {
    /// As its driver describes it.
    pub adapter: AdapterInfo,
    /// The precision in use.
    pub precision: Precision,
    /// What the kernels can use of what not every device has.
    pub features: Vec<&'static str>,
    /// The limits that matter here.
    pub limits: Vec<(&'static str, u64)>,
    /// What the start-up test found.
    pub findings: Vec<Finding>,
    /// Measured: bytes a second of copying (read and written), operations a second of arithmetic.
    pub peaks: Vec<Peak>,
}

/// The variant chosen for one kind of product.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Rows, numbers of a row of the left side, columns.
    pub size: [usize; 3],
    /// The variant's name.
    pub variant: String,
    /// Whether it was measured, not chosen by rule.
    pub measured: bool,
}

/// How long one dispatch of a plan takes.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel, and for products their size and variant.
    pub name: &'static str,
    /// For products their size and variant.
    pub detail: String,
    /// On the device.
    pub seconds: f64,
    /// Additions and multiplications.
    pub operations: f64,
    /// Bytes of what it reads and writes, each once.
    pub bytes: f64,
}

/// End to end: upload, compute and reading back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Pictures, or titles, of a batch.
    pub items: usize,
    /// Threads that each run such batches.
    pub threads: usize,
    /// Of a batch, as the caller sees it.
    pub seconds: f64,
    /// Over all threads.
    pub items_per_second: f64,
}

/// What a plan costs on a device.
#[derive(Clone, Debug)]
pub struct PlanReport {
    /// The plan's.
    pub name: String,
    /// Of preparing: upload, compilation and measurements.
    pub prepare_seconds: f64,
    /// On the device, after the runs.
    pub memory_bytes: u64,
    /// Most items, or tokens of texts, that are run at once.
    pub batch_max: usize,
    /// The variants of the products.
    pub choices: Vec<Choice>,
    /// For some sizes of batch, each dispatch in order; empty where the device has no clock.
    pub kernels: Vec<(usize, Vec<KernelTime>)>,
    /// End to end.
    pub rates: Vec<Rate>,
}

/// Describes a device and measures its peaks.
///
/// # Errors
/// When the device fails.
pub fn report_device(executor: &GpuExecutor) -> Result<DeviceReport, GpuError> {
    let device = &executor.engine.device;
    let (has, limits) = (device.device.features(), device.device.limits());
    let known = [
        ("f16", has.contains(wgpu::Features::SHADER_F16)),
        ("subgroups", device.subgroup.is_some()),
        ("timestamps", has.contains(wgpu::Features::TIMESTAMP_QUERY)),
        ("pipeline cache", has.contains(wgpu::Features::PIPELINE_CACHE)),
        ("cooperative matrices", device.cooperative),
    ];
    Ok(DeviceReport {
        adapter: device.info.clone(),
        precision: executor.engine.precision,
        features: known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect(),
        limits: vec![
            ("bytes of a storage binding", limits.max_storage_buffer_binding_size),
            ("bytes of a buffer", limits.max_buffer_size),
            ("bytes of workgroup memory", u64::from(limits.max_compute_workgroup_storage_size)),
            ("invocations of a workgroup", u64::from(limits.max_compute_invocations_per_workgroup)),
            ("workgroups along an axis", u64::from(limits.max_compute_workgroups_per_dimension)),
            ("invocations of a subgroup", device.subgroup.unwrap_or(0) as u64),
        ],
        findings: executor.findings().to_vec(),
        peaks: probe::peaks(&executor.engine)?,
    })
}

/// A batch of synthetic pictures or titles.
struct Batch {
    pixels: Vec<u8>,
    titles: Vec<Vec<u32>>,
}

impl Batch {
    fn new(shape: Shape, items: usize) -> Batch {
        match shape {
            Shape::Pixels { height, width } => {
                let pixels = numbers(9, items * height * width * 3).into_iter().map(|value| (value * 127.0 + 128.0) as u8).collect();
                Batch { pixels, titles: Vec::new() }
            }
            Shape::Tokens { length_max } => {
                let length = TITLE_TOKENS.min(length_max);
                // Ids that every vocabulary of a model has; what they mean does not matter.
                let title = |item: usize| (0..length).map(|place| (item * 7 + place * 3) as u32 % 1000).collect();
                Batch { pixels: Vec::new(), titles: (0..items).map(title).collect() }
            }
            _ => Batch { pixels: Vec::new(), titles: Vec::new() },
        }
    }

    fn slices(&self) -> Vec<&[u32]> {
        self.titles.iter().map(Vec::as_slice).collect()
    }

    fn part<'a>(&'a self, titles: &'a [&'a [u32]], items: usize) -> Part<'a> {
        if self.titles.is_empty() { Part::Pixels { pixels: &self.pixels, items } } else { Part::Texts(titles) }
    }

    fn input<'a>(&'a self, titles: &'a [&'a [u32]]) -> Input<'a> {
        if self.titles.is_empty() { Input::Pixels(&self.pixels) } else { Input::Tokens(titles) }
    }
}

/// Prepares a plan and measures it: for each of these sizes of batch its kernels, and its rate over so many seconds, with one
/// thread and with two.
///
/// # Errors
/// When the plan does not fit the device, or the device fails.
pub fn report_plan(executor: &GpuExecutor, plan: Plan, batches: &[usize], seconds: f64) -> Result<PlanReport, GpuError> {
    let started = Instant::now();
    let (name, shape) = (plan.name().to_owned(), plan.input());
    let program = executor.prepare_program(plan).map_err(|error| GpuError::Failed(error.to_string()))?;
    let prepare_seconds = started.elapsed().as_secs_f64();
    let (mut rates, mut kernels) = (Vec::new(), Vec::new());
    for items in batches {
        let batch = Batch::new(shape, *items);
        for threads in [1, 2] {
            rates.push(rate(&program, &batch, *items, threads, seconds)?);
        }
        if *items <= program.batch_max() {
            kernels.push((*items, profile(&program, &batch, *items)?));
        }
    }
    let choices = choices(&program);
    Ok(PlanReport { name, prepare_seconds, memory_bytes: program.memory_bytes(), batch_max: program.batch_max(), choices, kernels, rates })
}

fn rate(program: &GpuProgram, batch: &Batch, items: usize, threads: usize, seconds: f64) -> Result<Rate, GpuError> {
    let titles = batch.slices();
    let run = || program.run(batch.input(&titles)).map_err(|error: RunError| GpuError::Failed(error.to_string()));
    // The first runs compile and allocate.
    run()?;
    run()?;
    let started = Instant::now();
    let counts: Vec<Result<usize, GpuError>> = std::thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while count == 0 || started.elapsed().as_secs_f64() < seconds {
                run()?;
                count += 1;
            }
            Ok(count)
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, _>| handle.join().unwrap_or(Err(GpuError::Failed("a thread gave up".into())));
        handles.into_iter().map(join).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let runs = counts.into_iter().sum::<Result<usize, GpuError>>()? as f64;
    Ok(Rate { items, threads, seconds: elapsed * threads as f64 / runs, items_per_second: runs * items as f64 / elapsed })
}

/// The device's time of each dispatch.
fn profile(program: &GpuProgram, batch: &Batch, items: usize) -> Result<Vec<KernelTime>, GpuError> {
    let titles = batch.slices();
    let part = batch.part(&titles, items);
    let extent = part.extent();
    let device = &program.engine.device;
    let mut timer = Timer::new(device, program.dispatches.len())?;
    if !timer.by_device() {
        return Ok(Vec::new());
    }
    let launches = program.launches(&extent)?;
    let mut fastest = vec![f64::INFINITY; launches.len()];
    program.with_slot(|slot| {
        let recording = slot.reserve(program, extent.bucket())?;
        for _ in 0..PASSES {
            let seconds = device.attempt(|| {
                slot.upload(program, &recording, &part, &launches);
                let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                for (index, launch) in launches.iter().enumerate() {
                    record(&mut timer.begin(&mut encoder, index), &recording, launch, index);
                }
                timer.finish(device, encoder)
            })?;
            fastest.iter_mut().zip(seconds).for_each(|(fastest, seconds)| *fastest = fastest.min(seconds));
        }
        Ok(())
    })?;
    let time = |(dispatch, seconds): (&Dispatch, f64)| KernelTime {
        name: dispatch.name,
        detail: detail(program, dispatch, &extent),
        seconds,
        operations: (dispatch.operations)(&extent),
        bytes: bytes(program, dispatch, &extent),
    };
    Ok(program.dispatches.iter().zip(fastest).map(time).collect())
}

fn detail(program: &GpuProgram, dispatch: &Dispatch, extent: &Extent) -> String {
    let Kernel::Product(product) = &dispatch.kernel else { return String::new() };
    let [depth, columns, rows] = product.size(extent);
    format!("{rows} x {depth} x {columns}, {}", program.engine.variant(rows, depth, columns).name())
}

fn bytes(program: &GpuProgram, dispatch: &Dispatch, extent: &Extent) -> f64 {
    let operand = |operand: &Operand| match operand {
        Operand::Tensor(tensor) => program.tensor_bytes(tensor.index(), extent) as f64,
        // Of word embeddings only the rows that occur are read.
        Operand::Weights(_) if dispatch.name == "embed" => 0.0,
        Operand::Weights(index) => program.weights[*index].size() as f64,
        Operand::Input => match program.shapes[0] {
            Shape::Pixels { height, width } => (extent.items * height * width * 3) as f64,
            _ => (extent.tokens * 8) as f64,
        },
        Operand::Nothing | Operand::Segments | Operand::Tiles => 0.0,
    };
    dispatch.operands.iter().map(operand).sum()
}

fn choices(program: &GpuProgram) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for extent in tune::extents(program) {
        for dispatch in &program.dispatches {
            let Kernel::Product(product) = &dispatch.kernel else { continue };
            let [depth, columns, rows] = product.size(&extent);
            let class = super::choices::Class::new(rows, depth, columns);
            let measured = program.engine.choices().measured.contains_key(&class);
            let variant = program.engine.variant(rows, depth, columns).name();
            let choice = Choice { size: [rows, depth, columns], variant, measured };
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
    }
    choices
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdapterInfo { name, backend, device_type, driver, .. } = &self.adapter;
        writeln!(formatter, "{name} ({device_type}, {backend}, {driver}), {}", self.precision.name())?;
        writeln!(formatter, "  has {}", self.features.join(", "))?;
        for (what, limit) in &self.limits {
            writeln!(formatter, "  {limit:>14} {what}")?;
        }
        for Finding { name, error, passed } in &self.findings {
            writeln!(formatter, "  self-test {name}: difference {error:.1e}{}", if *passed { "" } else { ", FAILED and is not used" })?;
        }
        for Peak { name, per_second } in &self.peaks {
            let unit = if *name == "copy" { "GB/s" } else { "GFLOP/s" };
            writeln!(formatter, "  measured {name}: {:.0} {unit}", per_second / 1e9)?;
        }
        Ok(())
    }
}

impl PlanReport {
    /// As text; with `detail` each dispatch, otherwise each kind of kernel.
    #[must_use]
    pub fn text(&self, detail: bool) -> String {
        let mut text = format!(
            "{}: prepared in {:.1} s, {:.0} MB, at most {} at once\n",
            self.name,
            self.prepare_seconds,
            self.memory_bytes as f64 / 1e6,
            self.batch_max
        );
        for Choice { size: [rows, depth, columns], variant, measured } in &self.choices {
            text += &format!("  {rows} x {depth} x {columns}: {variant}{}\n", if *measured { "" } else { " (by rule)" });
        }
        for (items, kernels) in &self.kernels {
            let total: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
            text += &format!("  batch {items}: {:.0} us in {} dispatches\n", total * 1e6, kernels.len());
            let rows = if detail { kernels.clone() } else { grouped(kernels) };
            for KernelTime { name, detail, seconds, operations, bytes } in rows {
                let (us, flops, rate) = (seconds * 1e6, operations / seconds / 1e9, bytes / seconds / 1e9);
                text += &format!("    {us:>9.1} us {flops:>9.1} GFLOP/s {rate:>7.1} GB/s  {name} {detail}\n");
            }
        }
        for Rate { items, threads, seconds, items_per_second } in &self.rates {
            text += &format!("  {threads} x batches of {items}: {items_per_second:.0}/s, {:.2} ms a batch\n", seconds * 1e3);
        }
        text
    }
}

/// The sum over each kind of kernel.
fn grouped(kernels: &[KernelTime]) -> Vec<KernelTime> {
    let mut groups: Vec<KernelTime> = Vec::new();
    for kernel in kernels {
        match groups.iter_mut().find(|group| group.name == kernel.name) {
            Some(group) => {
                group.seconds += kernel.seconds;
                group.operations += kernel.operations;
                group.bytes += kernel.bytes;
            }
            None => groups.push(KernelTime { detail: String::new(), ..kernel.clone() }),
        }
    }
    groups.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    groups
}
