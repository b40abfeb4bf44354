//! What all programs on one device share: the pipelines, compiled once, and which variants may be used.

use super::choices::Choices;
use super::device::{Device, GpuError};
use super::gemm::Variant;
use super::source::{PARAMETERS, Precision};
use super::unchecked;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes between the parameters of two dispatches: what every device takes as an offset.
pub(crate) const PARAMETERS_STRIDE: usize = 256;
/// Buffers that a dispatch names besides its parameters: two that are read, two of weights, one that is written.
pub(crate) const OPERANDS: usize = 5;
/// To which the places in a buffer are aligned, in bytes: what every device takes as a binding's offset.
pub(crate) const ALIGNMENT: usize = 256;
/// Most workgroups along one axis.
const AXIS_MAX: usize = 65_535;

const _: () = assert!(PARAMETERS * 4 <= PARAMETERS_STRIDE);

/// The device in one precision.
pub(crate) struct Engine {
    pub(crate) device: Arc<Device>,
    pub(crate) precision: Precision,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// Stands where a dispatch has no operand.
    pub(crate) nothing: wgpu::Buffer,
    pub(crate) choices: Mutex<Choices>,
    pipeline_layout: wgpu::PipelineLayout,
    pipelines: Mutex<HashMap<String, wgpu::ComputePipeline>>,
    cache: Option<Arc<wgpu::PipelineCache>>,
}

impl Engine {
    /// Nothing is compiled yet.
    pub(crate) fn new(device: Arc<Device>, precision: Precision, cache: Option<Arc<wgpu::PipelineCache>>) -> Result<Engine, GpuError> {
        let limits = device.device.limits();
        let need = [
            ("storage buffers of a shader", OPERANDS as u64, u64::from(limits.max_storage_buffers_per_shader_stage)),
            ("invocations of a workgroup", super::source::WORKGROUP_MAX as u64, u64::from(limits.max_compute_invocations_per_workgroup)),
            ("bytes of workgroup memory", super::source::SHARED_BYTES_MAX as u64, u64::from(limits.max_compute_workgroup_storage_size)),
            ("workgroups along an axis", AXIS_MAX as u64, u64::from(limits.max_compute_workgroups_per_dimension)),
        ];
        if let Some((what, need, have)) = need.into_iter().find(|(_, need, have)| have < need) {
            return Err(GpuError::Limit { what, need, have });
        }
        let (layout, pipeline_layout) = device.attempt(|| {
            let storage = |binding: usize| {
                let ty = wgpu::BufferBindingType::Storage { read_only: binding < OPERANDS };
                entry(binding as u32, ty, false)
            };
            let entries: Vec<wgpu::BindGroupLayoutEntry> =
                std::iter::once(entry(0, wgpu::BufferBindingType::Uniform, true)).chain((1..=OPERANDS).map(storage)).collect();
            let layout =
                device.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("kernel"), entries: &entries });
            let pipeline_layout = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("kernel"),
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            Ok((layout, pipeline_layout))
        })?;
        let nothing = device.buffer("nothing", ALIGNMENT, wgpu::BufferUsages::STORAGE)?;
        let choices = Mutex::new(Choices::new(&device, precision));
        Ok(Engine { device, precision, layout, nothing, choices, pipeline_layout, pipelines: Mutex::default(), cache })
    }

    /// The pipeline of a shader, compiled when it is asked for first.
    pub(crate) fn pipeline(&self, label: &str, text: String) -> Result<wgpu::ComputePipeline, GpuError> {
        if let Some(pipeline) = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return Ok(pipeline.clone());
        }
        // Compiled outside of the lock, since it takes long; what two threads compile at once is the same.
        let pipeline = self.device.attempt(|| {
            let source = wgpu::ShaderSource::Wgsl(text.as_str().into());
            let module = unchecked::shader(&self.device.device, wgpu::ShaderModuleDescriptor { label: Some(label), source });
            Ok(self.device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&self.pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                // The shaders initialise what they read.
                compilation_options: wgpu::PipelineCompilationOptions { zero_initialize_workgroup_memory: false, ..Default::default() },
                cache: self.cache.as_deref(),
            }))
        })?;
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(text, pipeline.clone());
        Ok(pipeline)
    }

    /// The variant for a product.
    pub(crate) fn variant(&self, rows: usize, depth: usize, columns: usize) -> Variant {
        self.choices.lock().unwrap_or_else(PoisonError::into_inner).variant(rows, depth, columns)
    }

    /// Invocations that share a row in a reduction by subgroup operations; `None`: through workgroup memory.
    pub(crate) fn subgroup(&self) -> Option<usize> {
        self.choices.lock().unwrap_or_else(PoisonError::into_inner).subgroup
    }

    /// What the driver has compiled, for the next start.
    pub(crate) fn pipeline_data(&self) -> Option<Vec<u8>> {
        self.cache.as_ref()?.get_data()
    }

    /// Bytes of workgroup memory that a shader may use.
    pub(crate) fn shared_bytes(&self) -> usize {
        self.device.device.limits().max_compute_workgroup_storage_size as usize
    }

    /// Most bytes of one binding.
    pub(crate) fn binding_bytes_max(&self) -> usize {
        let limits = self.device.device.limits();
        usize::try_from(limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)).unwrap_or(usize::MAX) / ALIGNMENT * ALIGNMENT
    }
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    let ty = wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None };
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

/// So many workgroups as a grid: the shaders count along the first axis, then the second, and leave out what is too many.
pub(crate) fn grid(workgroups: usize) -> [u32; 3] {
    let across = workgroups.clamp(1, AXIS_MAX);
    [across as u32, workgroups.div_ceil(across) as u32, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_all_workgroups() {
        for workgroups in [1, 2, AXIS_MAX, AXIS_MAX + 1, 10 * AXIS_MAX + 7] {
            let [x, y, z] = grid(workgroups).map(|axis| axis as usize);
            assert!(x <= AXIS_MAX && y <= AXIS_MAX && z == 1 && x * y >= workgroups && x * (y - 1) < workgroups);
        }
        assert_eq!(grid(0), [1, 0, 1]);
    }
}
