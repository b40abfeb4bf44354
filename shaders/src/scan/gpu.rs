//! `wgsl/scan_topk.wgsl` on a device: its pipelines, its working memory, and the order of its dispatches.

use super::device::{AdapterChoice, Device, GpuError};
use super::resident::{Chunk, PIECE, Resident};
use super::source::{RowType, SHAPES, Shape, WORKGROUP, source};
use super::{Hit, K_MAX, ROWS_MAX, Request, ScanError, check_dim, check_place, check_rows, self_test};
use crate::gpu::AdapterInfo;
use half::f16;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Queries that share each reading of the rows.
pub(super) const BATCH_MAX: usize = 64;

/// Workgroups of one dispatch: enough to fill a large GPU, few enough that their lists are merged in no time.
const WORKGROUPS_MAX: usize = 2048;

/// Blocks of the first pass over the rows.
const FIRST_BLOCKS: usize = 64;

/// Blocks that a workgroup reads at least in the later passes, so that sorting its lists is a small part of its work.
const SPAN_BLOCKS_MIN: usize = 8;

/// Bytes of one pass's parameters, as far apart as every device allows.
const PARAMS_STRIDE: usize = 256;

const ENTRY_BYTES: usize = 8;

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

/// Buffers that a search fills and reads; one search at a time.
struct Work {
    params: wgpu::Buffer,
    queries: wgpu::Buffer,
    allow: wgpu::Buffer,
    partial: wgpu::Buffer,
    best: wgpu::Buffer,
    results: wgpu::Buffer,
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
            let work = Work::new(&device, resident.pieces());
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
        let query_count = request.queries.len() / self.dim;
        if self.rows() == 0 || query_count == 0 {
            return Ok(vec![Vec::new(); query_count]);
        }
        let Some(pipelines) = self.pipelines.iter().find(|pipelines| request.k <= pipelines.shape.k_max) else {
            return Err(ScanError::Results { k: request.k });
        };
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.device.attempt(|| {
            work.reserve(&self.device, self.chunks() + 1, self.rows());
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
        let list_bytes = request.k * ENTRY_BYTES;
        queue.write_buffer(&work.queries, 0, bytemuck::cast_slice(&interleave(self.dim, pipelines.shape.queries, request.queries)));
        queue.write_buffer(&work.best, 0, &first_lists(query_count, groups * pipelines.shape.queries, request.k));
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
                encoder.copy_buffer_to_buffer(&work.best, 0, &work.results, 0, (query_count * list_bytes) as u64);
            }
            // One submission each, so that none runs into the driver's watchdog.
            submissions.push(queue.submit([encoder.finish()]));
        }
        work.read(&self.device, submissions, query_count, list_bytes)
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

impl Work {
    fn new(device: &Device, pieces: usize) -> Work {
        let copy = wgpu::BufferUsages::COPY_DST;
        let lists = SHAPES.iter().map(|shape| shape.queries * shape.k_max).max().unwrap_or(0) * WORKGROUPS_MAX;
        let results = BATCH_MAX * K_MAX * ENTRY_BYTES;
        let storage = copy | wgpu::BufferUsages::STORAGE;
        Work {
            params: buffer(device, "params", PARAMS_STRIDE, copy | wgpu::BufferUsages::UNIFORM),
            queries: buffer(device, "queries", BATCH_MAX * pieces * PIECE * size_of::<f32>(), storage),
            allow: buffer(device, "allow", 2 * size_of::<u32>(), storage),
            partial: buffer(device, "partial", lists * ENTRY_BYTES, storage),
            best: buffer(device, "best", results, storage | wgpu::BufferUsages::COPY_SRC),
            results: buffer(device, "results", results, copy | wgpu::BufferUsages::MAP_READ),
        }
    }

    /// Makes room for as many passes and rows.
    fn reserve(&mut self, device: &Device, passes: usize, rows: usize) {
        for (place, size) in [(&mut self.params, passes * PARAMS_STRIDE), (&mut self.allow, allow_words(rows) * size_of::<u32>())] {
            if place.size() < size as u64 {
                *place = buffer(device, "work", size, place.usage());
            }
        }
    }

    fn write_allow(&self, device: &Device, rows: usize, allow: &[u32]) {
        let mut words = vec![0u32; allow_words(rows)];
        let count = allow.len().min(words.len());
        words[..count].copy_from_slice(&allow[..count]);
        device.queue.write_buffer(&self.allow, 0, bytemuck::cast_slice(&words));
    }

    fn bind(&self, device: &Device, layout: &wgpu::BindGroupLayout) -> wgpu::BindGroup {
        let params = wgpu::BufferBinding { buffer: &self.params, offset: 0, size: wgpu::BufferSize::new(PARAMS_STRIDE as u64) };
        device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("work"),
            layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(params) },
                wgpu::BindGroupEntry { binding: 1, resource: self.queries.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 2, resource: self.allow.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 3, resource: self.partial.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 4, resource: self.best.as_entire_binding() },
            ],
        })
    }

    /// Waits for the submissions and reads the lists of `count` queries.
    fn read(
        &self,
        device: &Device,
        submissions: Vec<wgpu::SubmissionIndex>,
        count: usize,
        list_bytes: usize,
    ) -> Result<Vec<Vec<Hit>>, GpuError> {
        let mapped = std::sync::Arc::new(OnceLock::new());
        let seen = std::sync::Arc::clone(&mapped);
        let slice = self.results.slice(..(count * list_bytes) as u64);
        slice.map_async(wgpu::MapMode::Read, move |result| _ = seen.set(result));
        for submission in submissions {
            device.wait(submission)?;
        }
        match mapped.get() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(GpuError::Failed(error.to_string())),
            None => return Err(GpuError::Failed("results did not arrive".to_owned())),
        }
        let view = slice.get_mapped_range().map_err(|error| GpuError::Failed(error.to_string()))?;
        let word = |bytes: &[u8]| u32::from_ne_bytes(std::array::from_fn(|i| bytes[i]));
        let hits = |list: &[u8]| {
            let entries = list.chunks_exact(ENTRY_BYTES);
            let hits = entries.map(|entry| Hit { score: f32::from_bits(word(&entry[..4])), row: word(&entry[4..]) });
            hits.take_while(|hit| hit.row != Hit::NONE.row).collect()
        };
        let found = view.chunks_exact(list_bytes).map(hits).collect();
        drop(view);
        self.results.unmap();
        Ok(found)
    }
}

/// Words for the bits of whole blocks.
fn allow_words(rows: usize) -> usize {
    rows.div_ceil(WORKGROUP) * (WORKGROUP / 32)
}

/// Brings queries (`[batch, dim]`) into the order `[group, piece, query of the group]`; what is missing is 0.
fn interleave(dim: usize, group: usize, queries: &[f32]) -> Vec<f32> {
    let pieces = dim.div_ceil(PIECE);
    let groups = (queries.len() / dim).div_ceil(group);
    let mut out = vec![0.0; groups * pieces * group * PIECE];
    for (index, query) in queries.chunks_exact(dim).enumerate() {
        for (piece, values) in query.chunks(PIECE).enumerate() {
            let at = ((index / group * pieces + piece) * group + index % group) * PIECE;
            out[at..][..values.len()].copy_from_slice(values);
        }
    }
    out
}

/// The lists before the first chunk: empty, and for the queries that only fill up a group, such that nothing enters them.
fn first_lists(queries: usize, lists: usize, k: usize) -> Vec<u8> {
    let nothing_enters = Hit { score: f32::MAX, row: 0 };
    let hits = (0..lists * k).map(|index| if index < queries * k { Hit::NONE } else { nothing_enters });
    hits.flat_map(|hit| [hit.score.to_bits().to_ne_bytes(), hit.row.to_ne_bytes()]).flatten().collect()
}

fn buffer(device: &Device, label: &str, size: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size: size as u64, usage, mapped_at_creation: false })
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
