//! The rows on the device: several buffers, since one binding has a limit, each in the order in which the shader reads.

use super::source::WORKGROUP;
use crate::gpu::device::{Device, GpuError};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Numbers that one invocation reads at once.
pub(super) const PIECE: usize = 4;
const PIECE_BYTES: usize = PIECE * size_of::<f16>();

/// Bytes on their way to the device at one time.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// One buffer of rows with their biases, bound together.
pub(super) struct Chunk {
    values: wgpu::Buffer,
    bias: wgpu::Buffer,
    rows_max: usize,
    pub(super) group: wgpu::BindGroup,
}

/// All rows.
pub(super) struct Resident {
    layout: wgpu::BindGroupLayout,
    dim: usize,
    /// Rows of a full chunk.
    chunk_rows: usize,
    pub(super) rows: usize,
    pub(super) chunks: Vec<Chunk>,
}

impl Resident {
    /// No rows yet; no buffer will exceed `chunk_bytes_max` or the device's limits.
    pub(super) fn new(device: &Device, layout: wgpu::BindGroupLayout, dim: usize, chunk_bytes_max: u64) -> Result<Resident, GpuError> {
        let limits = device.device.limits();
        let have = chunk_bytes_max.min(limits.max_buffer_size).min(limits.max_storage_buffer_binding_size);
        let block_bytes = block_bytes(dim) as u64;
        let blocks = usize::try_from(have / block_bytes).unwrap_or(usize::MAX / WORKGROUP);
        if blocks == 0 {
            return Err(GpuError::Limit { what: "bytes of a storage buffer", need: block_bytes, have });
        }
        Ok(Resident { layout, dim, chunk_rows: blocks * WORKGROUP, rows: 0, chunks: Vec::new() })
    }

    pub(super) fn pieces(&self) -> usize {
        self.dim.div_ceil(PIECE)
    }

    /// The first row and the count of rows of each chunk that has any.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Chunk, usize, usize)> {
        self.chunks.iter().enumerate().filter_map(|(index, chunk)| {
            let first = index * self.chunk_rows;
            (first < self.rows).then(|| (chunk, first, self.chunk_rows.min(self.rows - first)))
        })
    }

    /// Puts rows in place of those from `first` on, a multiple of [`WORKGROUP`]; `total` rows are there afterwards.
    pub(super) fn write(
        &mut self,
        device: &Device,
        first: usize,
        total: usize,
        rows: &[f16],
        bias: Option<&[f32]>,
    ) -> Result<(), GpuError> {
        let count = rows.len() / self.dim;
        let step = (WRITE_BYTES_MAX / block_bytes(self.dim)).max(1) * WORKGROUP;
        let mut staging = Vec::new();
        let mut done = 0;
        while done < count {
            let row = first + done;
            let (index, inside) = (row / self.chunk_rows, row % self.chunk_rows);
            let part = step.min(count - done).min(self.chunk_rows - inside);
            self.reserve(device, index, self.chunk_rows.min(total - index * self.chunk_rows))?;
            let chunk = &self.chunks[index];
            interleave(self.dim, &rows[done * self.dim..][..part * self.dim], &mut staging);
            let block_at = inside / WORKGROUP * block_bytes(self.dim);
            device.queue.write_buffer(&chunk.values, block_at as u64, bytemuck::cast_slice(&staging));
            let zeros;
            let bias = match bias {
                Some(bias) => &bias[done..][..part],
                None => {
                    zeros = vec![0.0; part];
                    &zeros
                }
            };
            device.queue.write_buffer(&chunk.bias, (inside * size_of::<f32>()) as u64, bytemuck::cast_slice(bias));
            // What is on its way takes memory until it has arrived.
            device.wait(device.queue.submit([]))?;
            done += part;
        }
        self.rows = total;
        Ok(())
    }

    /// Makes chunk `index` hold `rows` rows, of which those already there stay.
    fn reserve(&mut self, device: &Device, index: usize, rows: usize) -> Result<(), GpuError> {
        let old = self.chunks.get(index);
        let had = old.map_or(0, |chunk| chunk.rows_max);
        if rows <= had {
            return Ok(());
        }
        // Doubling keeps the copying of a growing chunk linear.
        let rows_max = rows.max(2 * had).next_multiple_of(WORKGROUP).min(self.chunk_rows);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let values = device.buffer("rows", rows_max / WORKGROUP * block_bytes(self.dim), usage)?;
        let bias = device.buffer("bias", rows_max * size_of::<f32>(), usage)?;
        if let Some(old) = old {
            let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&old.values, 0, &values, 0, old.values.size());
            encoder.copy_buffer_to_buffer(&old.bias, 0, &bias, 0, old.bias.size());
            device.wait(device.queue.submit([encoder.finish()]))?;
        }
        let group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("chunk"),
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: values.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: bias.as_entire_binding() },
            ],
        });
        let chunk = Chunk { values, bias, rows_max, group };
        match self.chunks.get_mut(index) {
            Some(place) => *place = chunk,
            None => self.chunks.push(chunk),
        }
        Ok(())
    }

    /// Forgets the rows from `rows` on and frees the chunks that are empty then.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.chunks.truncate(self.rows.div_ceil(self.chunk_rows));
    }
}

fn block_bytes(dim: usize) -> usize {
    dim.div_ceil(PIECE) * PIECE_BYTES * WORKGROUP
}

/// Brings rows (`[rows, dim]`) into the order `[block, piece, row of the block]`; what is missing in the last piece of a row
/// and in the last block is 0.
fn interleave(dim: usize, rows: &[f16], out: &mut Vec<u16>) {
    let pieces = dim.div_ceil(PIECE);
    let blocks = (rows.len() / dim).div_ceil(WORKGROUP);
    out.clear();
    out.resize(blocks * pieces * WORKGROUP * PIECE, 0);
    for (index, row) in rows.reinterpret_cast().chunks_exact(dim).enumerate() {
        let (block, lane) = (index / WORKGROUP, index % WORKGROUP);
        for (piece, values) in row.chunks(PIECE).enumerate() {
            out[((block * pieces + piece) * WORKGROUP + lane) * PIECE..][..values.len()].copy_from_slice(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_interleaved_by_piece_and_padded_with_zeros() {
        let (dim, count) = (6, WORKGROUP + 1);
        let rows: Vec<f16> = (0..dim * count).map(|i| f16::from_f32(i as f32 + 1.0)).collect();
        let mut out = vec![7; 3];
        interleave(dim, &rows, &mut out);
        assert_eq!(out.len() * 2, 2 * block_bytes(dim));
        for (at, bits) in out.iter().enumerate() {
            let (block, piece) = (at / (2 * WORKGROUP * PIECE), at / (WORKGROUP * PIECE) % 2);
            let (row, column) = (block * WORKGROUP + at / PIECE % WORKGROUP, piece * PIECE + at % PIECE);
            let want = if row < count && column < dim { rows[row * dim + column] } else { f16::ZERO };
            assert_eq!(*bits, want.to_bits(), "row {row} column {column}");
        }
    }
}
