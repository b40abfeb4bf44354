//! Plans on a graphics device: what adapters this machine offers, and the executor that runs WGSL on one of them.
//!
//! Each kernel is a file in `wgsl/`, its host code a file here and its twin on the CPU a file in `kernels/`, all of one name.
//! A program records a batch as one compute pass; which variant of a kernel it uses has been measured. wgpu loads Vulkan at run time, so a machine without it simply has no adapters.

mod arrange;
mod attend;
mod attention;
mod choices;
mod depthwise;
pub(crate) mod device;
mod elementwise;
mod embed;
mod engine;
mod executor;
mod gemm;
mod guard;
mod layernorm;
mod layout;
mod lower;
mod normalize;
mod pool;
mod probe;
mod program;
mod report;
mod scale;
mod self_test;
mod slot;
mod source;
mod staging;
mod stem;
mod store;
mod take;
mod timing;
mod tune;
mod unchecked;

pub use device::{AdapterChoice, GpuError};
pub use executor::{Budget, GpuExecutor, GpuOptions};
pub use probe::Peak;
pub use report::{Choice, DeviceReport, KernelTime, PlanReport, Rate, report_device, report_plan};
pub use self_test::Finding;
pub use source::Precision;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The driver interface in use.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN;

/// One adapter, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The adapter's name.
    pub name: String,
    /// The interface it is reached through, such as `vulkan`.
    pub backend: String,
    /// Discrete, integrated, virtual or software.
    pub device_type: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether it is a GPU rather than a program on the CPU.
    pub hardware: bool,
}

/// All adapters; empty where there is no Vulkan. Takes up to a second, since it loads drivers.
#[must_use]
pub fn adapters() -> Vec<AdapterInfo> {
    open_adapters().iter().map(|adapter| describe(adapter.get_info())).collect()
}

/// The adapters themselves.
pub(crate) fn open_adapters() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = BACKENDS;
    ready(wgpu::Instance::new(descriptor).enumerate_adapters(BACKENDS)).unwrap_or_default()
}

/// The result of a future of wgpu: outside a browser the work is done while it is asked for, so one poll is enough.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub(crate) fn describe(info: wgpu::AdapterInfo) -> AdapterInfo {
    AdapterInfo {
        name: info.name,
        backend: info.backend.to_string(),
        device_type: format!("{:?}", info.device_type),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        hardware: info.device_type != wgpu::DeviceType::Cpu,
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod listing_tests {
    #[test]
    fn listing_never_panics_and_names_what_it_finds() {
        for adapter in super::adapters() {
            assert!(!adapter.name.is_empty() && adapter.backend == "vulkan", "{adapter:?}");
        }
    }
}
