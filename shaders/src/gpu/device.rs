//! An open device, and how its failures become errors: nothing that a driver does may end the process.

use super::{AdapterInfo, describe, open_adapters, ready, unchecked};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the device may take for one submission: its users bound the work of each.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Which adapter to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// The best GPU; a program on the CPU does not count as one.
    #[default]
    Hardware,
    /// A program on the CPU that behaves like a GPU: for tests.
    Software,
}

/// Why the GPU cannot be used, or no longer. After any of these the CPU answers; opening anew may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// No adapter of the kind asked for.
    #[error("no suitable graphics adapter")]
    NoAdapter,
    /// The driver refused to open it.
    #[error("the graphics device cannot be opened: {0}")]
    Open(String),
    /// The adapter is too small.
    #[error("the graphics device has {have} of {what}, {need} are needed")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Needed.
        need: u64,
        /// There.
        have: u64,
    },
    /// Its memory is full.
    #[error("the graphics device is out of memory: {0}")]
    OutOfMemory(String),
    /// It is gone: removed, reset, or its driver has failed.
    #[error("the graphics device is lost: {0}")]
    Lost(String),
    /// It did not finish in time.
    #[error("the graphics device did not answer within {0:?}")]
    Timeout(Duration),
    /// It computes wrongly.
    #[error("the graphics device failed its self-test: {0}")]
    SelfTest(String),
    /// It refused a command.
    #[error("the graphics device failed: {0}")]
    Failed(String),
}

/// An open device. Once it has failed it stays failed.
pub(crate) struct Device {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: AdapterInfo,
    /// Invocations of a subgroup, where all subgroups have the same number of them.
    pub(crate) subgroup: Option<usize>,
    /// Whether 16 x 16 matrices of f16 can be multiplied into sums in f32 by a whole subgroup.
    pub(crate) cooperative: bool,
    failure: Arc<Mutex<Option<GpuError>>>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Device").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Device {
    /// Opens the best adapter of the kind asked for, with `features` as far as it has them.
    pub(crate) fn open(choice: AdapterChoice, features: wgpu::Features) -> Result<Device, GpuError> {
        let failure = Arc::new(Mutex::new(None));
        let (device, queue, info, subgroup, cooperative) = catching(|| {
            let adapter = best_adapter(choice).ok_or(GpuError::NoAdapter)?;
            let mut features = features & adapter.features();
            let cooperative = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) && multiplies_halves(&adapter);
            if !cooperative {
                features.remove(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
            }
            let descriptor = wgpu::DeviceDescriptor {
                label: Some("gotham"),
                required_features: features,
                required_limits: adapter.limits(),
                experimental_features: if cooperative { unchecked::experimental() } else { wgpu::ExperimentalFeatures::disabled() },
                ..Default::default()
            };
            let opened =
                ready(adapter.request_device(&descriptor)).ok_or_else(|| GpuError::Open("the driver does not answer".to_owned()))?;
            let (device, queue) = opened.map_err(|error| GpuError::Open(error.to_string()))?;
            let info = adapter.get_info();
            let uniform = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
            let subgroup = uniform.then_some(info.subgroup_min_size as usize);
            Ok((device, queue, describe(info), subgroup, cooperative))
        })??;
        let seen = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error| note(&seen, classify(error))));
        let seen = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, text| note(&seen, GpuError::Lost(format!("{reason:?} {text}").trim().to_owned())));
        Ok(Device { device, queue, info, subgroup, cooperative, failure })
    }

    /// Whether it still works, as far as is known.
    pub(crate) fn check(&self) -> Result<(), GpuError> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Runs `work` on the device. Whatever goes wrong in it comes back as an error and marks the device as failed, except for
    /// full memory, after which the device still works.
    pub(crate) fn attempt<T>(&self, work: impl FnOnce() -> Result<T, GpuError>) -> Result<T, GpuError> {
        self.check()?;
        // Scopes belong to this thread, so other threads' errors do not end up here.
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = catching(|| {
            let result = work();
            // The loss of the device is told during a poll only.
            self.device.poll(wgpu::PollType::Poll).map_err(|error| GpuError::Failed(error.to_string()))?;
            result
        });
        let result = result.and_then(|result| result);
        // Full memory is the cause of the others, and so is asked for last.
        let caught = [ready(validation.pop()), ready(internal.pop()), ready(memory.pop())];
        let error = caught.into_iter().flatten().flatten().last().map(classify).or_else(|| self.failure());
        let result = match error {
            Some(error) => Err(error),
            None => result,
        };
        if let Err(error) = &result
            && !matches!(error, GpuError::OutOfMemory(_))
        {
            note(&self.failure, error.clone());
        }
        result
    }

    /// A buffer, whose memory is there when this returns.
    pub(crate) fn buffer(&self, label: &str, size: usize, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, GpuError> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: size as u64, usage, mapped_at_creation: false };
        self.attempt(|| Ok(self.device.create_buffer(&descriptor)))
    }

    /// Waits for a submission.
    pub(crate) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), GpuError> {
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(WAIT_MAX) };
        match self.device.poll(wait) {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(GpuError::Timeout(WAIT_MAX)),
            Err(error) => Err(GpuError::Failed(error.to_string())),
        }
    }

    fn failure(&self) -> Option<GpuError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the adapter has the one kind of cooperative matrix that a shader here uses.
fn multiplies_halves(adapter: &wgpu::Adapter) -> bool {
    adapter.cooperative_matrix_properties().iter().any(|kind| {
        [kind.m_size, kind.n_size, kind.k_size] == [16; 3]
            && kind.ab_type == wgpu::CooperativeScalarType::F16
            && kind.cr_type == wgpu::CooperativeScalarType::F32
            && !kind.saturating_accumulation
    })
}

/// The library panics where a driver's failure leaves it no other way, such as a device lost during a wait.
fn catching<T>(work: impl FnOnce() -> T) -> Result<T, GpuError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        GpuError::Lost(text.unwrap_or_else(|| "the driver interface gave up".to_owned()))
    })
}

fn best_adapter(choice: AdapterChoice) -> Option<wgpu::Adapter> {
    let rank = |adapter: &wgpu::Adapter| match (choice, adapter.get_info().device_type) {
        (AdapterChoice::Software, wgpu::DeviceType::Cpu) => Some(0),
        (AdapterChoice::Software, _) | (AdapterChoice::Hardware, wgpu::DeviceType::Cpu) => None,
        (AdapterChoice::Hardware, wgpu::DeviceType::DiscreteGpu) => Some(0),
        (AdapterChoice::Hardware, wgpu::DeviceType::IntegratedGpu) => Some(1),
        (AdapterChoice::Hardware, _) => Some(2),
    };
    open_adapters()
        .into_iter()
        .filter_map(|adapter| Some((rank(&adapter)?, adapter)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, adapter)| adapter)
}

/// The first failure is the cause of those that follow.
fn note(failure: &Mutex<Option<GpuError>>, error: GpuError) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

fn classify(error: wgpu::Error) -> GpuError {
    match error {
        wgpu::Error::OutOfMemory { source } => GpuError::OutOfMemory(source.to_string()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => GpuError::Failed(description),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn software() -> Option<Device> {
        match Device::open(AdapterChoice::Software, wgpu::Features::empty()) {
            Ok(device) => Some(device),
            Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
                eprintln!("no software Vulkan driver: failures are not tested here");
                None
            }
            Err(error) => panic!("the software driver is needed: {error}"),
        }
    }

    #[test]
    fn a_refused_command_is_an_error_and_stays_one() {
        let Some(device) = software() else { return };
        assert_eq!(device.attempt(|| Ok(1)), Ok(1));
        let refused = device.buffer("no such usage", 16, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE);
        assert!(matches!(refused, Err(GpuError::Failed(_))), "{refused:?}");
        assert!(matches!(device.attempt(|| Ok(1)), Err(GpuError::Failed(_))));
    }

    #[test]
    fn a_panic_of_the_library_is_a_lost_device() {
        let Some(device) = software() else { return };
        let lost = GpuError::Lost("gone".to_owned());
        let result: Result<(), _> = device.attempt(|| std::panic::resume_unwind(Box::new("gone")));
        assert_eq!(result, Err(lost.clone()));
        assert_eq!(device.attempt(|| Ok(())), Err(lost));
    }

    #[test]
    fn a_destroyed_device_is_an_error() {
        let Some(device) = software() else { return };
        device.device.destroy();
        let buffer = device.buffer("too late", 16, wgpu::BufferUsages::COPY_DST);
        assert!(matches!(buffer, Err(GpuError::Lost(_) | GpuError::Failed(_))), "{buffer:?}");
    }

    #[test]
    fn full_memory_is_told_apart_and_passes() {
        let full = || wgpu::Error::OutOfMemory { source: "full".into() };
        assert_eq!(classify(full()), GpuError::OutOfMemory("full".to_owned()));
        let Some(device) = software() else { return };
        let result: Result<(), _> = device.attempt(|| Err(classify(full())));
        assert_eq!(result, Err(GpuError::OutOfMemory("full".to_owned())));
        assert_eq!(device.attempt(|| Ok(2)), Ok(2));
    }
}
