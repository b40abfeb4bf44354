//! The three calls of wgpu that are unsafe, each with the reason why it is sound here.
#![allow(unsafe_code, reason = "wgpu asks for promises that its types cannot express")]

/// Leave to use cooperative matrices.
pub(crate) fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the only experimental feature asked for is the cooperative matrix, used by one shader whose every load and store
    // lies within arrays of constant length; a variant that computes wrongly is found by the self-test and not used.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// A shader without the checks that wgpu adds to each index and loop: they cost half of the speed.
pub(crate) fn shader(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: all shaders come from `wgsl/`. Indices into workgroup memory are bounded by constants asserted beside them, every
    // loop counts towards a bound, no divisor is zero; accesses to buffers are still checked by the driver (robust access).
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

/// A cache of compiled shaders, filled with what an earlier one gave.
pub(crate) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("kernels"), data, fallback: true };
    // SAFETY: the data was written by `PipelineCache::get_data` of the same adapter and driver, whose names and a checksum
    // stand in its file; wgpu checks its header besides.
    unsafe { device.create_pipeline_cache(&descriptor) }
}
