//! Memory of the host that stays mapped between runs, through which large inputs reach the device: a new one for each run would
//! cost more than the copy.

use super::device::{Device, GpuError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Inputs below this size take the queue's own way.
pub(crate) const BYTES_MIN: usize = 256 << 10;

/// A buffer that is mapped while no run reads it.
pub(crate) struct Staging {
    buffer: wgpu::Buffer,
    mapped: Arc<AtomicBool>,
}

impl Staging {
    pub(crate) fn new(device: &Device, bytes: usize) -> Result<Staging, GpuError> {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some("staging"), size: bytes as u64, usage, mapped_at_creation: true };
        let buffer = device.attempt(|| Ok(device.device.create_buffer(&descriptor)))?;
        Ok(Staging { buffer, mapped: Arc::new(AtomicBool::new(true)) })
    }

    pub(crate) fn size(&self) -> u64 {
        self.buffer.size()
    }

    /// Records that `bytes` (whole words) go to the beginning of `target`; says no where it is not mapped, or too small.
    pub(crate) fn send(&self, bytes: &[u8], target: &wgpu::Buffer, encoder: &mut wgpu::CommandEncoder) -> bool {
        let size = bytes.len() as u64;
        if size > self.buffer.size() || !self.mapped.load(Ordering::Acquire) {
            return false;
        }
        let Ok(mut view) = self.buffer.slice(..size).get_mapped_range_mut() else { return false };
        view.copy_from_slice(bytes);
        drop(view);
        self.mapped.store(false, Ordering::Release);
        self.buffer.unmap();
        encoder.copy_buffer_to_buffer(&self.buffer, 0, target, 0, size);
        true
    }

    /// Asks for the mapping once more, when no run reads it; it is there after a later poll of the device.
    pub(crate) fn take_back(&self) {
        if self.mapped.load(Ordering::Acquire) {
            return;
        }
        let mapped = Arc::clone(&self.mapped);
        self.buffer.slice(..).map_async(wgpu::MapMode::Write, move |result| mapped.store(result.is_ok(), Ordering::Release));
    }
}
