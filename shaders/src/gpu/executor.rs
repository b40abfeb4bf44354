//! The executor of a graphics device: opens it, finds out what it can do and which precision it may use, and prepares plans.

use super::device::{AdapterChoice, Device, GpuError};
use super::engine::Engine;
use super::program::GpuProgram;
use super::source::Precision;
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
    /// Whether variants are chosen by measurement; otherwise, and where a measurement is missing, by rule.
    pub measure: bool,
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
        GpuOptions { adapter: AdapterChoice::Hardware, precision: None, cache_dir: None, measure: true, budget: Budget::default() }
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
}

impl std::fmt::Debug for GpuExecutor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GpuExecutor").field("device", &self.engine.device).field("options", &self.options).finish_non_exhaustive()
    }
}

impl GpuExecutor {
    /// Opens the device. Takes up to some seconds.
    ///
    /// # Errors
    /// When there is no such adapter, or it cannot be used.
    pub fn open(options: GpuOptions) -> Result<GpuExecutor, GpuError> {
        let device = Arc::new(Device::open(options.adapter, FEATURES)?);
        let halves = device.device.features().contains(wgpu::Features::SHADER_F16);
        let precision = options.precision.unwrap_or(if halves { Precision::F16 } else { Precision::F32 });
        let engine = Arc::new(Engine::new(device, precision, None)?);
        Ok(GpuExecutor { engine, options })
    }

    /// The precision in use.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.engine.precision
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
        Ok(Arc::new(self.program(plan)?))
    }
}
