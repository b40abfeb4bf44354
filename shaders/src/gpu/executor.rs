//! The executor of a graphics device: opens it, finds out what it can do and which precision it may use, and prepares plans.

use super::device::{AdapterChoice, Device, GpuError};
use super::engine::Engine;
use super::guard::{Guarded, Single};
use super::program::GpuProgram;
use super::self_test::{self, Finding};
use super::source::Precision;
use super::store::Store;
use super::tune;
use crate::executor::{Executor, Program};
use crate::plan::{Plan, PlanError};
use std::path::PathBuf;
use std::sync::Arc;

/// Which device to use, and how.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// In which precision tensors and weights are kept; `None`: half, where the device has it and passes the test.
    pub precision: Option<Precision>,
    /// Where measurements and compiled shaders are kept; `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// How long preparing a plan may measure variants, in seconds; what has not been measured is chosen by rule, and so is all
    /// on a program on the CPU.
    pub measure_seconds_max: f64,
    /// What programs may take.
    pub budget: Budget,
}

/// What one program may take of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most pictures of one submission.
    pub pictures_max: usize,
    /// Most tokens of one submission; a longer text stands alone.
    pub tokens_max: usize,
    /// Most bytes of working memory, weights not counted.
    pub memory_bytes_max: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { pictures_max: 128, tokens_max: 16_384, memory_bytes_max: 4 << 30 }
    }
}

impl Default for GpuOptions {
    fn default() -> GpuOptions {
        GpuOptions {
            adapter: AdapterChoice::Hardware,
            precision: None,
            cache_dir: None,
            measure_seconds_max: 4.0,
            budget: Budget::default(),
        }
    }
}

/// The features that are used where the adapter has them.
pub(crate) const FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// Runs plans on a graphics device.
pub struct GpuExecutor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: GpuOptions,
    findings: Vec<Finding>,
    store: Option<Store>,
    /// Beside one in half precision.
    single: Arc<Single>,
}

impl std::fmt::Debug for GpuExecutor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GpuExecutor").field("device", &self.engine.device).field("options", &self.options).finish_non_exhaustive()
    }
}

impl GpuExecutor {
    /// Opens the device and tests it against the CPU. Takes some seconds where the shaders are not in the cache.
    ///
    /// # Errors
    /// When there is no such adapter, or it cannot be used.
    pub fn open(options: GpuOptions) -> Result<GpuExecutor, GpuError> {
        // What is new in drivers can take the device down with it; without it the device may still be good.
        let plain = FEATURES.difference(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        GpuExecutor::tested(&options, FEATURES).or_else(|error| match error {
            GpuError::NoAdapter | GpuError::Open(_) | GpuError::Limit { .. } => Err(error),
            _ => GpuExecutor::tested(&options, plain),
        })
    }

    fn tested(options: &GpuOptions, features: wgpu::Features) -> Result<GpuExecutor, GpuError> {
        let device = Arc::new(Device::open(options.adapter, features)?);
        let halves = device.device.features().contains(wgpu::Features::SHADER_F16);
        let precisions: &[Precision] = match options.precision {
            Some(Precision::F32) => &[Precision::F32],
            Some(Precision::F16) => &[Precision::F16],
            None if halves => &[Precision::F16, Precision::F32],
            None => &[Precision::F32],
        };
        let mut last = GpuError::SelfTest("nothing was tested".to_owned());
        for precision in precisions {
            match GpuExecutor::tested_in(Arc::clone(&device), *precision, options.clone()) {
                Err(error @ GpuError::Limit { .. }) => return Err(error),
                Err(error) => last = error,
                tested => return tested,
            }
        }
        Err(last)
    }

    /// On a device that is open, in one precision.
    fn tested_in(device: Arc<Device>, precision: Precision, options: GpuOptions) -> Result<GpuExecutor, GpuError> {
        let mut executor = GpuExecutor::untested(device, precision, options)?;
        executor.findings = self_test::run(&executor)?;
        Ok(executor)
    }

    /// On a device that is open, with whatever it can run.
    pub(crate) fn untested(device: Arc<Device>, precision: Precision, options: GpuOptions) -> Result<GpuExecutor, GpuError> {
        if precision == Precision::F16 && !device.device.features().contains(wgpu::Features::SHADER_F16) {
            return Err(GpuError::Limit { what: "the f16 type", need: 1, have: 0 });
        }
        let store = options.cache_dir.as_deref().map(|folder| Store::open(folder, &device));
        let cache = store.as_ref().and_then(|store| store.pipelines(&device)).map(Arc::new);
        let engine = Arc::new(Engine::new(device, precision, cache)?);
        if let Some(store) = &store {
            engine.choices().measured = store.measured(precision);
        }
        Ok(GpuExecutor { engine, options, findings: Vec::new(), store, single: Arc::default() })
    }

    /// What the start-up test found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The precision in use.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.engine.precision
    }

    /// Destroys the device, as a reset or a removal would.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.engine.device.device.destroy();
    }

    /// A program whose variants have been measured.
    pub(crate) fn prepare_program(&self, plan: Plan) -> Result<GpuProgram, PlanError> {
        let program = self.program(plan)?;
        // Without measurements the rules choose, so that their failure is none of the plan's.
        if self.engine.device.info.hardware
            && tune::measure(&program, self.options.measure_seconds_max).unwrap_or(false)
            && let Some(store) = &self.store
        {
            store.keep(&self.engine);
        }
        Ok(program)
    }

    pub(crate) fn program(&self, plan: Plan) -> Result<GpuProgram, PlanError> {
        GpuProgram::new(Arc::clone(&self.engine), plan, self.options.budget)
    }
}

impl Executor for GpuExecutor {
    fn describe(&self) -> String {
        let info = &self.engine.device.info;
        format!("GPU, {}, {}, {}", info.name, info.driver, self.engine.precision.name())
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        if self.engine.precision == Precision::F32 {
            return Ok(Arc::new(self.prepare_program(plan)?));
        }
        let program = self.prepare_program(plan.clone())?;
        let (device, options) = (Arc::clone(&self.engine.device), self.options.clone());
        let open = move || GpuExecutor::tested_in(Arc::clone(&device), Precision::F32, options.clone()).map_err(|error| error.to_string());
        Ok(Arc::new(Guarded::new(plan, program, Arc::clone(&self.single), open)))
    }
}
