//! An executor that answers whatever happens to the graphics device: a failure moves the same call to the CPU, the device is
//! opened again after a pause, and a batch that does not fit its memory is halved, until after a pause more is tried again.
//!
//! The weights stay in memory as the plan has them, so that either side can be prepared when it is needed; the CPU's packed
//! copy is made at the first failure.

use crate::executor::{Executor, Input, Program, RunError};
use crate::gpu::{GpuError, GpuExecutor, GpuOptions};
use crate::plan::{Plan, PlanError, Shape};
use crate::{CpuExecutor, kernels::stem::COLOURS};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Until the device is opened again after a failure; doubles with each failure that follows without success.
pub const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Which side runs plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The graphics device.
    Gpu,
    /// The CPU: there is no device, or it has failed.
    Cpu,
}

/// What happened, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The device has failed, or could not be opened; the CPU answers.
    ToCpu {
        /// What the device said.
        error: String,
    },
    /// The device is in use, for the first time or again.
    ToGpu {
        /// What it is.
        device: String,
    },
    /// A batch did not fit the device's memory; this many items are run at once from now on, 0: the plan does not fit at all.
    LessMemory {
        /// The plan's name.
        plan: String,
        /// Most items at once.
        items_max: usize,
    },
    /// After a pause this many items are tried at once again.
    MoreMemory {
        /// The plan's name.
        plan: String,
        /// Most items at once; `usize::MAX`: any number.
        items_max: usize,
    },
    /// The plan's numbers exceed half precision: on this device it runs in single precision from now on.
    SinglePrecision {
        /// The plan's name.
        plan: String,
    },
    /// The device cannot run this plan; the CPU does.
    Unfit {
        /// The plan's name.
        plan: String,
        /// Why.
        error: String,
    },
}

/// A snapshot, for metrics and health pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverState {
    /// Which side runs plans now.
    pub backend: Backend,
    /// What it runs on.
    pub device: String,
    /// Times the CPU had to take over.
    pub failures: u64,
    /// Times a batch did not fit the device's memory.
    pub memory_shortages: u64,
    /// The last failure.
    pub last_error: Option<String>,
    /// Until the next attempt to open the device; `None` where none is planned.
    pub retry_after: Option<Duration>,
}

type Open = dyn Fn() -> Result<Arc<dyn Executor>, GpuError> + Send + Sync;
type Clock = dyn Fn() -> Duration + Send + Sync;
type Listener = dyn Fn(&Notice) + Send + Sync;

/// See the module's text.
#[derive(Clone)]
pub struct Failover {
    shared: Arc<Shared>,
}

struct Shared {
    cpu: Arc<dyn Executor>,
    open: Box<Open>,
    clock: Box<Clock>,
    listener: Box<Listener>,
    device: Mutex<Device>,
}

/// The device, or when to look for it.
struct Device {
    executor: Option<Arc<dyn Executor>>,
    /// Counts openings: programs of an earlier one are of no use.
    generation: u64,
    retry_at: Option<Duration>,
    pause: Duration,
    opening: Option<JoinHandle<()>>,
    failures: u64,
    memory_shortages: u64,
    last_error: Option<String>,
}

impl Failover {
    /// Opens the device at once. `clock` tells the time since any fixed moment; `listener` hears of each change once.
    pub fn new(
        cpu: Arc<dyn Executor>,
        open: impl Fn() -> Result<Arc<dyn Executor>, GpuError> + Send + Sync + 'static,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
        listener: impl Fn(&Notice) + Send + Sync + 'static,
    ) -> Failover {
        let device = Device {
            executor: None,
            generation: 0,
            retry_at: None,
            pause: PAUSE,
            opening: None,
            failures: 0,
            memory_shortages: 0,
            last_error: None,
        };
        let (open, clock, listener) = (Box::new(open), Box::new(clock), Box::new(listener));
        let shared = Arc::new(Shared { cpu, open, clock, listener, device: Mutex::new(device) });
        shared.open_device();
        Failover { shared }
    }

    /// With the graphics device that `options` describe, beside this many threads of the CPU.
    pub fn on_gpu(options: GpuOptions, threads: usize, listener: impl Fn(&Notice) + Send + Sync + 'static) -> Failover {
        let started = Instant::now();
        let open = move || Ok(Arc::new(GpuExecutor::open(options.clone())?) as Arc<dyn Executor>);
        Failover::new(Arc::new(CpuExecutor::new(threads)), open, move || started.elapsed(), listener)
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> FailoverState {
        let device = self.shared.device();
        let now = (self.shared.clock)();
        FailoverState {
            backend: if device.executor.is_some() { Backend::Gpu } else { Backend::Cpu },
            device: device.executor.as_ref().unwrap_or(&self.shared.cpu).describe(),
            failures: device.failures,
            memory_shortages: device.memory_shortages,
            last_error: device.last_error.clone(),
            retry_after: device.retry_at.map(|at| at.saturating_sub(now)),
        }
    }

    /// Waits for an opening that is under way.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        let opening = self.shared.device().opening.take();
        if let Some(opening) = opening {
            opening.join().expect("opening does not panic");
        }
    }
}

impl Shared {
    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the device, which takes long, without the lock.
    fn open_device(&self) {
        let opened = (self.open)();
        let notice = {
            let mut device = self.device();
            match opened {
                Ok(executor) => {
                    device.generation += 1;
                    device.retry_at = None;
                    let notice = Notice::ToGpu { device: executor.describe() };
                    device.executor = Some(executor);
                    Some(notice)
                }
                // A machine without an adapter will not grow one.
                Err(GpuError::NoAdapter) => {
                    device.retry_at = None;
                    device.last_error = Some(GpuError::NoAdapter.to_string());
                    None
                }
                Err(error) => {
                    let first = device.generation == 0 && device.last_error.is_none();
                    self.postpone(&mut device);
                    device.last_error = Some(error.to_string());
                    first.then(|| Notice::ToCpu { error: error.to_string() })
                }
            }
        };
        if let Some(notice) = notice {
            (self.listener)(&notice);
        }
    }

    fn postpone(&self, device: &mut Device) {
        device.retry_at = Some((self.clock)() + device.pause);
        device.pause = (device.pause * 2).min(PAUSE_MAX);
    }

    /// The device of this moment; where its pause is over, another thread begins to open it.
    fn executor(self: &Arc<Shared>) -> Option<(u64, Arc<dyn Executor>)> {
        let mut device = self.device();
        if let Some(executor) = &device.executor {
            return Some((device.generation, Arc::clone(executor)));
        }
        if device.retry_at.is_some_and(|at| at <= (self.clock)()) {
            device.retry_at = None;
            let shared = Arc::clone(self);
            // Where no thread can be had, the next call tries again.
            match std::thread::Builder::new().name("gpu-open".to_owned()).spawn(move || shared.open_device()) {
                Ok(opening) => device.opening = Some(opening),
                Err(_) => self.postpone(&mut device),
            }
        }
        None
    }

    /// Gives a device up, unless that has been done already.
    fn failed(&self, generation: u64, error: &str) {
        let mut device = self.device();
        if device.generation != generation || device.executor.is_none() {
            return;
        }
        device.executor = None;
        device.failures += 1;
        device.last_error = Some(error.to_owned());
        self.postpone(&mut device);
        drop(device);
        (self.listener)(&Notice::ToCpu { error: error.to_owned() });
    }

    fn succeeded(&self, generation: u64) {
        let mut device = self.device();
        if device.generation == generation {
            device.pause = PAUSE;
        }
    }
}

impl Executor for Failover {
    fn describe(&self) -> String {
        self.state().device
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        if plan.outputs().is_empty() {
            return Err(PlanError::Plan { name: plan.name().to_owned(), reason: "it has no output".into() });
        }
        let program = FailoverProgram {
            shared: Arc::clone(&self.shared),
            plan,
            cpu: OnceLock::new(),
            gpu: Mutex::new(Prepared::Not),
            room: Mutex::new(Room::ANY),
            has_told_precision: AtomicBool::new(false),
        };
        // Prepared now, so that the first call finds it ready.
        if program.gpu().is_none() {
            program.cpu()?;
        }
        Ok(Arc::new(program))
    }
}

/// A plan on the device of one generation.
enum Prepared {
    Not,
    Ready(u64, Arc<dyn Program>),
    /// The device of this generation cannot run it.
    Unfit(u64),
}

struct FailoverProgram {
    shared: Arc<Shared>,
    plan: Plan,
    cpu: OnceLock<Arc<dyn Program>>,
    gpu: Mutex<Prepared>,
    room: Mutex<Room>,
    has_told_precision: AtomicBool,
}

/// How many items a plan's runs may have.
#[derive(Clone, Copy)]
struct Room {
    items_max: usize,
    /// When twice as many are tried.
    more_at: Duration,
    /// Between two such attempts; doubles whenever more was too much.
    pause: Duration,
    /// Whether this number is more than what was too many before, and has not yet stood a pause.
    is_trial: bool,
}

impl Room {
    const ANY: Room = Room { items_max: usize::MAX, more_at: Duration::ZERO, pause: PAUSE, is_trial: false };

    /// More than before.
    fn more(self, wanted: usize, now: Duration) -> Room {
        let doubled = self.items_max.saturating_mul(2);
        // What was tried before has stood the pause.
        let pause = if self.is_trial { PAUSE } else { self.pause };
        let items_max = if doubled < wanted { doubled } else { usize::MAX };
        Room { items_max, more_at: now + pause, pause, is_trial: true }
    }

    /// Half of what was too many.
    fn less(self, items: usize, now: Duration) -> Room {
        let pause = if self.is_trial { (self.pause * 2).min(PAUSE_MAX) } else { self.pause };
        Room { items_max: items / 2, more_at: now + pause, pause, is_trial: false }
    }
}

impl FailoverProgram {
    fn cpu(&self) -> Result<&Arc<dyn Program>, PlanError> {
        if let Some(program) = self.cpu.get() {
            return Ok(program);
        }
        let program = self.shared.cpu.prepare(self.plan.clone())?;
        Ok(self.cpu.get_or_init(|| program))
    }

    /// The program on the device of this moment.
    fn gpu(&self) -> Option<(u64, Arc<dyn Program>)> {
        let (generation, executor) = self.shared.executor()?;
        let mut prepared = self.gpu.lock().unwrap_or_else(PoisonError::into_inner);
        match &*prepared {
            Prepared::Ready(of, program) if *of == generation => return Some((generation, Arc::clone(program))),
            Prepared::Unfit(of) if *of == generation => return None,
            _ => {}
        }
        // What lay on a device that is gone is given up first.
        *prepared = Prepared::Not;
        match executor.prepare(self.plan.clone()) {
            Ok(program) => {
                *prepared = Prepared::Ready(generation, Arc::clone(&program));
                Some((generation, program))
            }
            Err(error) => {
                drop(prepared);
                self.unfit(generation, error.to_string());
                None
            }
        }
    }

    /// The device of this generation cannot run the plan.
    fn unfit(&self, generation: u64, error: String) {
        *self.gpu.lock().unwrap_or_else(PoisonError::into_inner) = Prepared::Unfit(generation);
        (self.shared.listener)(&Notice::Unfit { plan: self.plan.name().to_owned(), error });
    }

    fn run_on_cpu(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        self.cpu().map_err(|error| RunError::Device(error.to_string()))?.run(input)
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most items of a run now; more than before where that is what keeps `wanted` apart and the pause is over.
    fn items_max(&self, wanted: usize) -> usize {
        let now = (self.shared.clock)();
        let mut room = self.room();
        if wanted <= room.items_max || now < room.more_at {
            return room.items_max;
        }
        *room = room.more(wanted, now);
        let items_max = room.items_max;
        drop(room);
        (self.shared.listener)(&Notice::MoreMemory { plan: self.plan.name().to_owned(), items_max });
        items_max
    }

    /// A run of so many items had not enough memory.
    fn too_many(&self, items: usize) {
        let now = (self.shared.clock)();
        let mut room = self.room();
        // Another thread may have learned more in the meantime.
        if room.items_max <= items / 2 {
            return;
        }
        *room = room.less(items, now);
        drop(room);
        (self.shared.listener)(&Notice::LessMemory { plan: self.plan.name().to_owned(), items_max: items / 2 });
    }

    /// Runs in batches that fit the device's memory, as far as that is known; learns.
    fn run_on_gpu(&self, program: &dyn Program, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        loop {
            let items_max = self.items_max(count(self.plan.input(), input));
            let error = match run_parts(program, self.plan.input(), input, items_max) {
                Err(RunError::OutOfMemory(error)) => error,
                other => return other,
            };
            let items = items_max.min(count(self.plan.input(), input));
            self.shared.device().memory_shortages += 1;
            if items < 2 {
                return Err(RunError::OutOfMemory(error));
            }
            self.too_many(items);
        }
    }
}

impl Program for FailoverProgram {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let Some((generation, program)) = self.gpu() else { return self.run_on_cpu(input) };
        match self.run_on_gpu(program.as_ref(), input) {
            Ok(results) => {
                self.shared.succeeded(generation);
                if program.has_left_half_precision() && !self.has_told_precision.swap(true, Ordering::Relaxed) {
                    (self.shared.listener)(&Notice::SinglePrecision { plan: self.plan.name().to_owned() });
                }
                Ok(results)
            }
            Err(RunError::Device(error)) => {
                self.shared.failed(generation, &error);
                self.run_on_cpu(input)
            }
            Err(RunError::Unfit(error)) => {
                self.unfit(generation, error);
                self.run_on_cpu(input)
            }
            // Not even one item fits: the device is left as it is, since others may use it well.
            Err(RunError::OutOfMemory(_)) => self.run_on_cpu(input),
            Err(refused) => Err(refused),
        }
    }

    fn has_left_half_precision(&self) -> bool {
        match &*self.gpu.lock().unwrap_or_else(PoisonError::into_inner) {
            Prepared::Ready(_, program) => program.has_left_half_precision(),
            _ => false,
        }
    }

    fn memory_bytes(&self) -> u64 {
        let gpu = match &*self.gpu.lock().unwrap_or_else(PoisonError::into_inner) {
            Prepared::Ready(_, program) => program.memory_bytes(),
            _ => 0,
        };
        gpu + self.cpu.get().map_or(0, |program| program.memory_bytes())
    }
}

/// Items of an input; whole pictures only.
fn count(shape: Shape, input: Input<'_>) -> usize {
    match (shape, input) {
        (Shape::Pixels { height, width }, Input::Pixels(pixels)) => pixels.len() / (height * width * COLOURS),
        (_, Input::Pixels(_)) => 0,
        (_, Input::Tokens(texts)) => texts.len(),
    }
}

/// Runs at most so many items at once.
fn run_parts(program: &dyn Program, shape: Shape, input: Input<'_>, items_max: usize) -> Result<Vec<Vec<f32>>, RunError> {
    if count(shape, input) <= items_max {
        return program.run(input);
    }
    let parts: Vec<Input<'_>> = match (shape, input) {
        (Shape::Pixels { height, width }, Input::Pixels(pixels)) => {
            pixels.chunks(height * width * COLOURS * items_max).map(Input::Pixels).collect()
        }
        (_, Input::Tokens(texts)) => texts.chunks(items_max).map(Input::Tokens).collect(),
        (_, Input::Pixels(_)) => return program.run(input),
    };
    let mut results: Vec<Vec<f32>> = Vec::new();
    for part in parts {
        let outputs = program.run(part)?;
        results.resize(outputs.len(), Vec::new());
        results.iter_mut().zip(outputs).for_each(|(result, output)| result.extend(output));
    }
    Ok(results)
}

#[cfg(test)]
mod tests;
