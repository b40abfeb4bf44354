//! What runs the models: chosen when the first one is loaded, by setting and by what the machine has.
//!
//! On a GPU, programs go over to the CPU while the device fails, and come back ([`shaders::failover`]). Every run on the CPU takes one
//! thread, so that runs stand side by side on the threads of the schedule and no more are busy than there are cores.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use shaders::gpu::{GpuError, GpuOptions};
use shaders::{Backend, CpuExecutor, Executor, Failover, Notice, Plan, PlanError, Program};

use crate::logic::schedule::Place;

/// Which device is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceSetting {
    /// A GPU where there is one, and else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU; the CPU while there is none.
    Gpu,
}

/// A device as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// What runs the models now.
    pub name: String,
    /// Why that is not the GPU that should.
    pub fallback: Option<String>,
    /// How often the device halved a batch by itself for lack of memory.
    pub memory_shortages: u64,
}

/// Something that models run on.
pub(crate) trait Device: Send + Sync {
    /// Prepares plans.
    fn executor(&self) -> &dyn Executor;
    /// Where the next run is done.
    fn place(&self) -> Place;
    /// For people.
    fn state(&self) -> DeviceState;
}

/// The device that models are loaded for; clones share it.
#[derive(Clone)]
pub struct Devices(Arc<Lazy>);

struct Lazy {
    setting: DeviceSetting,
    cache_dir: Option<PathBuf>,
    device: OnceLock<Arc<dyn Device>>,
}

impl Devices {
    /// The CPU.
    pub fn cpu() -> Self {
        Self::new(DeviceSetting::Cpu, None)
    }

    /// The device of a setting, which is looked for when the first model is loaded. `cache_dir` keeps what was measured on a GPU, and its
    /// compiled shaders.
    pub fn new(setting: DeviceSetting, cache_dir: Option<PathBuf>) -> Self {
        Self(Arc::new(Lazy { setting, cache_dir, device: OnceLock::new() }))
    }

    /// Opens the device at the first call, which can take seconds.
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        self.0.device.get_or_init(|| open(self.0.setting, self.0.cache_dir.clone()))
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Devices").field(&self.0.setting).finish()
    }
}

fn open(setting: DeviceSetting, cache_dir: Option<PathBuf>) -> Arc<dyn Device> {
    let cpu = |missing| Arc::new(Cpu { executor: CpuExecutor::new(1), missing }) as Arc<dyn Device>;
    if setting == DeviceSetting::Cpu {
        return cpu(None);
    }
    let failover = Failover::on_gpu(GpuOptions { cache_dir, ..GpuOptions::default() }, 1, note);
    let no_adapter = GpuError::NoAdapter.to_string();
    if failover.state().last_error.as_ref() != Some(&no_adapter) {
        return Arc::new(Gpu { failover });
    }
    // Nothing will come of it: the CPU alone needs less memory.
    if setting == DeviceSetting::Auto {
        return cpu(None);
    }
    tracing::error!(reason = no_adapter, "models run on the CPU although a GPU is asked for");
    cpu(Some(no_adapter))
}

/// What happens to a GPU is logged once.
pub(crate) fn note(notice: &Notice) {
    match notice {
        Notice::ToCpu { error } => tracing::warn!(error, "the GPU has failed: models run on the CPU until it is back"),
        Notice::ToGpu { device } => tracing::info!(device, "models run on the GPU"),
        Notice::LessMemory { plan, items_max } => {
            metrics::counter!("gotham_vision_retries_total", "reason" => "out_of_memory").increment(1);
            tracing::warn!(model = plan, items_max, "the GPU ran out of memory: its batches are smaller from now on");
        }
        Notice::MoreMemory { plan, items_max } => tracing::info!(model = plan, items_max, "larger batches are tried on the GPU again"),
        Notice::SinglePrecision { plan } => {
            metrics::counter!("gotham_vision_single_precision_total").increment(1);
            tracing::warn!(model = plan, "the numbers of this model exceed half precision: it runs in single precision on the GPU");
        }
        Notice::Unfit { plan, error } => tracing::warn!(model = plan, error, "the GPU cannot run this model: the CPU does"),
    }
}

struct Cpu {
    executor: CpuExecutor,
    missing: Option<String>,
}

impl Device for Cpu {
    fn executor(&self) -> &dyn Executor {
        &self.executor
    }

    fn place(&self) -> Place {
        Place::Cpu
    }

    fn state(&self) -> DeviceState {
        DeviceState { name: self.executor.describe(), fallback: self.missing.clone(), memory_shortages: 0 }
    }
}

/// A GPU with the CPU behind it.
pub(crate) struct Gpu {
    pub(crate) failover: Failover,
}

impl Device for Gpu {
    fn executor(&self) -> &dyn Executor {
        &self.failover
    }

    fn place(&self) -> Place {
        match self.failover.state().backend {
            Backend::Gpu => Place::Gpu,
            Backend::Cpu => Place::Cpu,
        }
    }

    fn state(&self) -> DeviceState {
        let state = self.failover.state();
        let is_gpu = state.backend == Backend::Gpu;
        let fallback = (!is_gpu).then(|| state.last_error.unwrap_or_else(|| "the GPU is not open".to_owned()));
        DeviceState { name: state.device, fallback, memory_shortages: state.memory_shortages }
    }
}

/// Remembers the programs that a model was prepared into, to tell their memory.
pub(crate) struct Remembering<'d> {
    executor: &'d dyn Executor,
    programs: Mutex<Vec<Arc<dyn Program>>>,
}

impl<'d> Remembering<'d> {
    pub(crate) fn new(device: &'d dyn Device) -> Self {
        Self { executor: device.executor(), programs: Mutex::default() }
    }

    pub(crate) fn into_programs(self) -> Vec<Arc<dyn Program>> {
        self.programs.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor for Remembering<'_> {
    fn describe(&self) -> String {
        self.executor.describe()
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        let program = self.executor.prepare(plan)?;
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&program));
        Ok(program)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use shaders::{Input, RunError, Shape};

    use super::*;

    /// A GPU that fails when it is told to.
    struct Fragile {
        fails: Arc<AtomicBool>,
    }

    struct FragileProgram {
        fails: Arc<AtomicBool>,
    }

    impl Executor for Fragile {
        fn describe(&self) -> String {
            "a fragile GPU".to_owned()
        }

        fn prepare(&self, _: Plan) -> Result<Arc<dyn Program>, PlanError> {
            Ok(Arc::new(FragileProgram { fails: Arc::clone(&self.fails) }))
        }
    }

    impl Program for FragileProgram {
        fn run(&self, _: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
            if self.fails.load(Ordering::SeqCst) { Err(RunError::Device("lost".to_owned())) } else { Ok(vec![vec![7.0]]) }
        }

        fn memory_bytes(&self) -> u64 {
            5
        }
    }

    /// Token ids to the sum of their rows of a table.
    fn plan() -> Plan {
        let (mut plan, tokens) = Plan::new("mean", Shape::Tokens { length_max: 4 }).expect("valid");
        let table = plan.constant("table", &[4, 1], vec![1.0; 4]).expect("valid");
        let rows = plan.embed(tokens, table, table).expect("valid");
        let mean = plan.mean(rows).expect("valid");
        plan.output(mean).expect("valid");
        plan
    }

    #[test]
    fn a_gpu_that_fails_moves_to_the_cpu_and_says_why() {
        let fails = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&fails);
        let open = move || Ok(Arc::new(Fragile { fails: Arc::clone(&breaks) }) as Arc<dyn Executor>);
        let gpu = Gpu { failover: Failover::new(Arc::new(CpuExecutor::new(1)), open, || Duration::ZERO, note) };
        let remembering = Remembering::new(&gpu);
        let program = remembering.prepare(plan()).expect("prepared");
        assert_eq!(remembering.into_programs().iter().map(|program| program.memory_bytes()).sum::<u64>(), 5);
        let run = || program.run(Input::Tokens(&[&[1, 2]])).expect("run");
        assert_eq!((gpu.place(), gpu.state()), (Place::Gpu, DeviceState { name: "a fragile GPU".into(), ..DeviceState::default() }));
        assert_eq!(run(), [[7.0]]);
        fails.store(true, Ordering::SeqCst);
        assert_eq!(run(), [[2.0]], "the CPU answers the same call");
        let DeviceState { name, fallback, .. } = gpu.state();
        assert!(name.starts_with("CPU") && fallback.as_deref().is_some_and(|reason| reason.contains("lost")), "{name} {fallback:?}");
        assert_eq!(gpu.place(), Place::Cpu);
    }

    #[test]
    fn the_cpu_is_no_fallback_where_it_was_asked_for() {
        let device = Devices::cpu();
        assert_eq!((device.device().place(), device.device().state().fallback), (Place::Cpu, None));
    }
}
