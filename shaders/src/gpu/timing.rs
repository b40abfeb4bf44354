//! How long passes take on the device: by its own clock where it has one, otherwise from submission to end.

use super::device::{Device, GpuError};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Passes whose times are taken together.
pub(crate) struct Timer {
    clock: Option<Clock>,
    passes: usize,
}

struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

impl Timer {
    /// For at most so many passes at a time.
    pub(crate) fn new(device: &Device, passes_max: usize) -> Result<Timer, GpuError> {
        if !device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(Timer { clock: None, passes: 0 });
        }
        let bytes = passes_max * 16;
        let resolved = device.buffer("times", bytes, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC)?;
        let readable = device.buffer("times", bytes, wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ)?;
        let queries = device.attempt(|| {
            let descriptor =
                wgpu::QuerySetDescriptor { label: Some("times"), ty: wgpu::QueryType::Timestamp, count: 2 * passes_max as u32 };
            Ok(device.device.create_query_set(&descriptor))
        })?;
        let period = f64::from(device.queue.get_timestamp_period()) * 1e-9;
        Ok(Timer { clock: Some(Clock { queries, resolved, readable, period }), passes: 0 })
    }

    /// Whether each pass has its own time.
    pub(crate) fn by_device(&self) -> bool {
        self.clock.is_some()
    }

    /// Begins the pass of this number; they are begun in order, from 0.
    pub(crate) fn begin<'e>(&mut self, encoder: &'e mut wgpu::CommandEncoder, pass: usize) -> wgpu::ComputePass<'e> {
        self.passes = pass + 1;
        let timestamp_writes = self.clock.as_ref().map(|clock| wgpu::ComputePassTimestampWrites {
            query_set: &clock.queries,
            beginning_of_pass_write_index: Some(2 * pass as u32),
            end_of_pass_write_index: Some(2 * pass as u32 + 1),
        });
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes })
    }

    /// Submits, waits, and gives the seconds of each pass; without a clock one number for all of them.
    pub(crate) fn finish(&self, device: &Device, mut encoder: wgpu::CommandEncoder) -> Result<Vec<f64>, GpuError> {
        let Some(clock) = &self.clock else {
            let started = Instant::now();
            device.wait(device.queue.submit([encoder.finish()]))?;
            return Ok(vec![started.elapsed().as_secs_f64()]);
        };
        let bytes = self.passes as u64 * 16;
        encoder.resolve_query_set(&clock.queries, 0..2 * self.passes as u32, &clock.resolved, 0);
        encoder.copy_buffer_to_buffer(&clock.resolved, 0, &clock.readable, 0, bytes);
        let submission = device.queue.submit([encoder.finish()]);
        let mapped = Arc::new(OnceLock::new());
        let seen = Arc::clone(&mapped);
        let slice = clock.readable.slice(..bytes);
        slice.map_async(wgpu::MapMode::Read, move |result| _ = seen.set(result));
        device.wait(submission)?;
        super::slot::arrived(device, &mapped)?;
        let view = slice.get_mapped_range().map_err(|error| GpuError::Failed(error.to_string()))?;
        let ticks: Vec<u64> = view.chunks_exact(8).map(|bytes| u64::from_ne_bytes(std::array::from_fn(|index| bytes[index]))).collect();
        drop(view);
        clock.readable.unmap();
        Ok(ticks.chunks_exact(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * clock.period).collect())
    }
}
