//! `wgsl/scan_topk.wgsl` on a device: its pipelines, its working memory, and the order of its dispatches.

use super::resident::{Chunk, Resident};
use super::source::{RowType, SHAPES, Shape, WORKGROUP, source};
use super::work::{BATCH_MAX, PARAMS_STRIDE, WORKGROUPS_MAX, Work};
use super::{Hit, ROWS_MAX, Request, ScanError, check_dim, check_place, check_rows, self_test};
use crate::gpu::AdapterInfo;
use crate::gpu::device::{AdapterChoice, Device, GpuError};
use half::f16;
use std::sync::{Mutex, PoisonError};

/// Blocks of the first pass over the rows.
const FIRST_BLOCKS: usize = 64;

/// Blocks that a workgroup reads at least in the later passes, so that sorting its lists is a small part of its work.
const SPAN_BLOCKS_MIN: usize = 8;

/// Which device to use, and how.
#[derive(Clone, Copy, Debug)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Whether the shader may use the device's own f16 type, where it has one.
    pub native_f16: bool,
    /// Most bytes of one buffer of rows; the device's limits apply besides. It also bounds how long one submission takes.
    pub chunk_bytes_max: u64,
}

impl Default for GpuOptions {
    fn default() -> GpuOptions {
        GpuOptions { adapter: AdapterChoice::Hardware, native_f16: true, chunk_bytes_max: 128 << 20 }
    }
}

/// The shader for one shape.
struct Pipelines {
    shape: Shape,
    scan: wgpu::ComputePipeline,
    merge: wgpu::ComputePipeline,
}

/// Rows on a GPU, searched exactly. Searches from several threads run one after another.
pub struct GpuScan {
    dim: usize,
    rows_max: usize,
    row_type: RowType,
    pipelines: Vec<Pipelines>,
    work_layout: wgpu::BindGroupLayout,
    work: Mutex<Work>,
    resident: Resident,
    device: Device,
}

impl std::fmt::Debug for GpuScan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GpuScan").field("device", &self.device).field("dim", &self.dim).finish_non_exhaustive()
    }
}

impl GpuScan {
    /// Opens a device for rows of `dim` numbers, compiles the shaders and tests them against the CPU; takes up to some seconds.
    ///
    /// # Errors
    /// When no row can have `dim` numbers, there is no such adapter, or it cannot be used.
    pub fn open(dim: usize, options: &GpuOptions) -> Result<GpuScan, ScanError> {
        check_dim(dim)?;
        let wanted = if options.native_f16 { wgpu::Features::SHADER_F16 } else { wgpu::Features::empty() };
        let device = Device::open(options.adapter, wanted)?;
        let row_type = if device.device.features().contains(wgpu::Features::SHADER_F16) { RowType::Native } else { RowType::Packed };
        let (pipelines, work_layout, work, resident) = device.attempt(|| {
            let rows_layout = layout(&device, "chunk", &[read(0), read(1)]);
            let params = wgpu::BufferBindingType::Uniform;
            let work_layout = layout(&device, "work", &[entry(0, params, true), read(1), read(2), write(3), write(4)]);
            let pipelines = SHAPES.iter().map(|shape| compile(&device, *shape, row_type, &rows_layout, &work_layout)).collect();
            let resident = Resident::new(&device, rows_layout, dim, options.chunk_bytes_max)?;
            let work = Work::new(&device, resident.pieces())?;
            Ok((pipelines, work_layout, Mutex::new(work), resident))
        })?;
        // The bits of all rows, in whole blocks, are bound at once.
        let blocks_max = 8 * device.device.limits().max_storage_buffer_binding_size / WORKGROUP as u64;
        let rows_max = usize::try_from(blocks_max).unwrap_or(ROWS_MAX).saturating_mul(WORKGROUP).min(ROWS_MAX);
        let mut scan = GpuScan { dim, rows_max, row_type, pipelines, work_layout, work, resident, device };
        self_test::run(&mut scan)?;
        Ok(scan)
    }

    /// The adapter in use.
    #[must_use]
    pub fn adapter(&self) -> &AdapterInfo {
        &self.device.info
    }

    /// Whether the shader uses the device's own f16 type.
    #[must_use]
    pub fn native_f16(&self) -> bool {
        self.row_type == RowType::Native
    }

    /// Numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.resident.rows
    }

    /// Buffers that hold the rows.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.resident.chunks.len()
    }

    /// As [`ScanBackend::write`](super::ScanBackend::write). After a failure of the device the rows from `first` on are gone.
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, first: usize, rows: &[f16], bias: Option<&[f32]>) -> Result<(), ScanError> {
        let count = check_rows(self.dim, rows, bias)?;
        let total = check_place(self.rows(), first, count, self.rows_max)?;
        let (device, resident) = (&self.device, &mut self.resident);
        let written = device.attempt(|| resident.write(device, first, total, rows, bias));
        if written.is_err() {
            resident.truncate(first);
        }
        Ok(written?)
    }

    /// Forgets the rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.resident.truncate(rows);
    }

    /// The best rows for each query, in order.
    ///
    /// # Errors
    /// When the request does not fit the rows, or the device fails.
    pub fn search(&self, request: &Request<'_>) -> Result<Vec<Vec<Hit>>, ScanError> {
        request.check(self.dim)?;
        self.device.check()?;
        let query_count = request.queries.len() / self.dim;
        if self.rows() == 0 || query_count == 0 {
            return Ok(vec![Vec::new(); query_count]);
        }
        let Some(pipelines) = self.pipelines.iter().find(|pipelines| request.k <= pipelines.shape.k_max) else {
            return Err(ScanError::Results { k: request.k });
        };
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.device.attempt(|| {
            work.reserve(&self.device, self.chunks() + 1, self.rows())?;
            if let Some(allow) = request.allow {
                work.write_allow(&self.device, self.rows(), allow);
            }
            let mut found = Vec::with_capacity(query_count);
            for queries in request.queries.chunks(BATCH_MAX * self.dim) {
                found.extend(self.batch(&work, pipelines, &Request { queries, ..*request })?);
            }
            Ok(found)
        });
        Ok(found?)
    }

    /// At most [`BATCH_MAX`] queries over all chunks.
    fn batch(&self, work: &Work, pipelines: &Pipelines, request: &Request<'_>) -> Result<Vec<Vec<Hit>>, GpuError> {
        let Device { device, queue, .. } = &self.device;
        let query_count = request.queries.len() / self.dim;
        let groups = query_count.div_ceil(pipelines.shape.queries);
        work.write_queries(&self.device, self.dim, pipelines.shape.queries, request.queries, request.k);
        let passes_over = self.passes_over(groups);
        queue.write_buffer(&work.params, 0, &self.params(&passes_over, request));
        let bound = work.bind(&self.device, &self.work_layout);
        let mut submissions = Vec::with_capacity(passes_over.len());
        for (index, Pass { chunk, spans, .. }) in passes_over.iter().enumerate() {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(0, &chunk.group, &[]);
            pass.set_bind_group(1, &bound, &[(index * PARAMS_STRIDE) as u32]);
            pass.set_pipeline(&pipelines.scan);
            pass.dispatch_workgroups(groups as u32, *spans as u32, 1);
            pass.set_pipeline(&pipelines.merge);
            pass.dispatch_workgroups(groups as u32, 1, 1);
            drop(pass);
            if index + 1 == passes_over.len() {
                work.collect(&mut encoder, query_count, request.k);
            }
            // One submission each, so that none runs into the driver's watchdog.
            submissions.push(queue.submit([encoder.finish()]));
        }
        work.read(&self.device, submissions, query_count, request.k)
    }

    /// Destroys the device, as a reset or a removal would.
    #[cfg(test)]
    pub(super) fn lose(&self) {
        self.device.device.destroy();
    }

    /// How the rows are divided for so many groups of queries. The first pass is short: its results keep most of what follows
    /// out of the lists, and so save their sorting.
    fn passes_over(&self, groups: usize) -> Vec<Pass<'_>> {
        let mut passes = Vec::with_capacity(self.chunks() + 1);
        for (chunk, row_first, rows) in self.resident.spans() {
            let blocks = rows.div_ceil(WORKGROUP);
            let mut block_first = 0;
            while block_first < blocks {
                let (count, span_blocks) =
                    if passes.is_empty() { (FIRST_BLOCKS.min(blocks), 1) } else { (blocks - block_first, SPAN_BLOCKS_MIN) };
                let span_blocks = count.div_ceil((WORKGROUPS_MAX / groups).max(1)).max(span_blocks);
                let block_end = block_first + count;
                passes.push(Pass { chunk, row_first, rows, block_first, block_end, span_blocks, spans: count.div_ceil(span_blocks) });
                block_first = block_end;
            }
        }
        passes
    }

    /// The shader's `Params` of each pass.
    fn params(&self, passes: &[Pass<'_>], request: &Request<'_>) -> Vec<u8> {
        let mut params = vec![0u8; passes.len() * PARAMS_STRIDE];
        for (pass, params) in passes.iter().zip(params.chunks_exact_mut(PARAMS_STRIDE)) {
            let words = [
                self.resident.pieces(),
                pass.rows,
                pass.row_first,
                pass.block_first,
                pass.block_end,
                pass.span_blocks,
                pass.spans,
                request.k,
                usize::from(request.allow.is_some()),
            ];
            for (place, word) in params.chunks_exact_mut(size_of::<u32>()).zip(words) {
                place.copy_from_slice(&(word as u32).to_ne_bytes());
            }
        }
        params
    }
}

/// One pass of the shader over part of a chunk.
struct Pass<'a> {
    chunk: &'a Chunk,
    row_first: usize,
    rows: usize,
    block_first: usize,
    block_end: usize,
    span_blocks: usize,
    spans: usize,
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    let ty = wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None };
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

fn read(binding: u32) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Storage { read_only: true }, false)
}

fn write(binding: u32) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Storage { read_only: false }, false)
}

fn layout(device: &Device, label: &str, entries: &[wgpu::BindGroupLayoutEntry]) -> wgpu::BindGroupLayout {
    device.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
}

fn compile(
    device: &Device,
    shape: Shape,
    row_type: RowType,
    rows_layout: &wgpu::BindGroupLayout,
    work_layout: &wgpu::BindGroupLayout,
) -> Pipelines {
    let text = wgpu::ShaderSource::Wgsl(source(shape, row_type).into());
    let module = device.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("scan_topk"), source: text });
    let layout = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("scan_topk"),
        bind_group_layouts: &[Some(rows_layout), Some(work_layout)],
        ..Default::default()
    });
    let pipeline = |name| {
        device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(name),
            // The shader initialises what it reads.
            compilation_options: wgpu::PipelineCompilationOptions { zero_initialize_workgroup_memory: false, ..Default::default() },
            cache: None,
        })
    };
    Pipelines { shape, scan: pipeline("scan"), merge: pipeline("merge") }
}
