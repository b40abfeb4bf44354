//! The working memory of searches on a device: what goes there for each search, and the lists that come back.

use super::resident::PIECE;
use super::source::{SHAPES, WORKGROUP};
use super::{Hit, K_MAX};
use crate::gpu::device::{Device, GpuError};
use std::sync::{Arc, OnceLock};

/// Queries that share each reading of the rows.
pub(super) const BATCH_MAX: usize = 64;

/// Workgroups of one dispatch: enough to fill a large GPU, few enough that their lists are merged in no time.
pub(super) const WORKGROUPS_MAX: usize = 2048;

/// Bytes of one pass's parameters, as far apart as every device allows.
pub(super) const PARAMS_STRIDE: usize = 256;

/// Bytes of one result: its score and its row.
const ENTRY_BYTES: usize = 8;

const _: () = {
    let mut index = 0;
    while index < SHAPES.len() {
        assert!(BATCH_MAX.is_multiple_of(SHAPES[index].queries), "the lists of a full batch are those of whole groups");
        index += 1;
    }
};

/// Buffers that a search fills and reads; one search at a time.
pub(super) struct Work {
    pub(super) params: wgpu::Buffer,
    queries: wgpu::Buffer,
    allow: wgpu::Buffer,
    partial: wgpu::Buffer,
    best: wgpu::Buffer,
    results: wgpu::Buffer,
}

impl Work {
    pub(super) fn new(device: &Device, pieces: usize) -> Result<Work, GpuError> {
        let copy = wgpu::BufferUsages::COPY_DST;
        let lists = SHAPES.iter().map(|shape| shape.queries * shape.k_max).max().unwrap_or(0) * WORKGROUPS_MAX;
        let results = BATCH_MAX * K_MAX * ENTRY_BYTES;
        let storage = copy | wgpu::BufferUsages::STORAGE;
        Ok(Work {
            params: device.buffer("params", PARAMS_STRIDE, copy | wgpu::BufferUsages::UNIFORM)?,
            queries: device.buffer("queries", BATCH_MAX * pieces * PIECE * size_of::<f32>(), storage)?,
            allow: device.buffer("allow", 2 * size_of::<u32>(), storage)?,
            partial: device.buffer("partial", lists * ENTRY_BYTES, storage)?,
            best: device.buffer("best", results, storage | wgpu::BufferUsages::COPY_SRC)?,
            results: device.buffer("results", results, copy | wgpu::BufferUsages::MAP_READ)?,
        })
    }

    /// Makes room for as many passes and rows.
    pub(super) fn reserve(&mut self, device: &Device, passes: usize, rows: usize) -> Result<(), GpuError> {
        for (place, size) in [(&mut self.params, passes * PARAMS_STRIDE), (&mut self.allow, allow_words(rows) * size_of::<u32>())] {
            if place.size() < size as u64 {
                *place = device.buffer("work", size, place.usage())?;
            }
        }
        Ok(())
    }

    /// Puts a request's bits there; those beyond `rows` are 0.
    pub(super) fn write_allow(&self, device: &Device, rows: usize, allow: &[u32]) {
        let mut words = vec![0u32; allow_words(rows)];
        let count = allow.len().min(words.len());
        words[..count].copy_from_slice(&allow[..count]);
        device.queue.write_buffer(&self.allow, 0, bytemuck::cast_slice(&words));
    }

    /// Puts queries (`[batch, dim]`, at most [`BATCH_MAX`]) there in groups of `group`, and a list without results for each.
    pub(super) fn write_queries(&self, device: &Device, dim: usize, group: usize, queries: &[f32], k: usize) {
        let count = queries.len() / dim;
        device.queue.write_buffer(&self.queries, 0, bytemuck::cast_slice(&interleave(dim, group, queries)));
        device.queue.write_buffer(&self.best, 0, &first_lists(count, count.next_multiple_of(group), k));
    }

    /// Records that the lists of `count` queries are to be brought to where they can be read.
    pub(super) fn collect(&self, encoder: &mut wgpu::CommandEncoder, count: usize, k: usize) {
        encoder.copy_buffer_to_buffer(&self.best, 0, &self.results, 0, (count * k * ENTRY_BYTES) as u64);
    }

    /// What the shader calls group 1.
    pub(super) fn bind(&self, device: &Device, layout: &wgpu::BindGroupLayout) -> wgpu::BindGroup {
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

    /// Waits for the submissions and reads what [`Work::collect`] has brought.
    pub(super) fn read(
        &self,
        device: &Device,
        submissions: Vec<wgpu::SubmissionIndex>,
        count: usize,
        k: usize,
    ) -> Result<Vec<Vec<Hit>>, GpuError> {
        let mapped = Arc::new(OnceLock::new());
        let seen = Arc::clone(&mapped);
        let list_bytes = k * ENTRY_BYTES;
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

/// The lists before the first pass: empty, and for the queries that only fill up a group, such that nothing enters them.
fn first_lists(queries: usize, lists: usize, k: usize) -> Vec<u8> {
    let nothing_enters = Hit { score: f32::MAX, row: 0 };
    let hits = (0..lists * k).map(|index| if index < queries * k { Hit::NONE } else { nothing_enters });
    hits.flat_map(|hit| [hit.score.to_bits().to_ne_bytes(), hit.row.to_ne_bytes()]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_interleaved_by_group_and_piece() {
        let (dim, group, count) = (5, 4, 6);
        let queries: Vec<f32> = (0..count * dim).map(|i| i as f32 + 1.0).collect();
        let out = interleave(dim, group, &queries);
        assert_eq!(out.len(), 2 * 2 * group * PIECE);
        for (at, value) in out.iter().enumerate() {
            let (query, piece) = (at / (2 * group * PIECE) * group + at / PIECE % group, at / (group * PIECE) % 2);
            let column = piece * PIECE + at % PIECE;
            let want = if query < count && column < dim { queries[query * dim + column] } else { 0.0 };
            assert_eq!(*value, want, "query {query} column {column}");
        }
    }

    #[test]
    fn words_cover_whole_blocks() {
        assert_eq!([0, 1, 64, 65].map(allow_words), [0, 2, 2, 4]);
    }
}
