//! The memory of one run on the device, kept from run to run, with the bindings for each size of run that has come by.

use super::device::{Device, GpuError};
use super::engine::{ALIGNMENT, OPERANDS, PARAMETERS_STRIDE};
use super::layout::{BUFFERS, Layout};
use super::lower::{Dispatch, Extent, Launch, Operand, padded, write_numbers};
use super::program::{GpuProgram, Part};
use super::source::{PARAMETERS, Precision};
use super::staging::{self, Staging};
use crate::kernels::embed::embed_data;
use crate::kernels::stem::COLOURS;
use crate::plan::Shape;
use crate::simd::Isa;
use half::f16;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Sizes of run whose bindings are kept.
const RECORDINGS_MAX: usize = 64;

/// The buffers of one run.
pub(crate) struct Slot {
    parameters: wgpu::Buffer,
    input: Option<wgpu::Buffer>,
    tensors: [Option<wgpu::Buffer>; BUFFERS],
    results: Option<wgpu::Buffer>,
    staging: Option<Staging>,
    recordings: HashMap<Extent, Arc<Recording>>,
}

/// What one size of run needs to know.
pub(crate) struct Recording {
    pub(crate) layout: Layout,
    sections: Sections,
    pub(crate) groups: Vec<wgpu::BindGroup>,
}

/// Parts of the input's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    /// Pictures, or tokens.
    input: Range<usize>,
    segments: Range<usize>,
    tiles: Range<usize>,
}

impl Sections {
    pub(crate) fn new(input: Shape, extent: &Extent) -> Sections {
        let bytes = match input {
            Shape::Pixels { height, width } => extent.items * height * width * COLOURS,
            _ => extent.tokens * 8,
        };
        let segments = bytes.next_multiple_of(ALIGNMENT);
        let texts = if matches!(input, Shape::Pixels { .. }) { 0 } else { extent.items * 8 };
        let tiles = segments + texts.next_multiple_of(ALIGNMENT);
        Sections { input: 0..segments, segments: segments..tiles, tiles: tiles..tiles + (extent.tiles * 16).next_multiple_of(ALIGNMENT) }
    }

    fn bytes(&self) -> usize {
        self.tiles.end
    }

    /// Bytes of the longest.
    pub(crate) fn largest(&self) -> usize {
        [&self.input, &self.segments, &self.tiles].into_iter().map(Range::len).max().unwrap_or(0)
    }
}

/// Bytes that all buffers of a run of this size take.
pub(crate) fn bytes(program: &GpuProgram, bucket: &Extent) -> usize {
    let layout = program.layout(bucket);
    layout.sizes.iter().sum::<usize>() + Sections::new(program.shapes[0], bucket).bytes() + program.result_bytes(bucket)
}

impl Slot {
    pub(crate) fn new(program: &GpuProgram) -> Result<Slot, GpuError> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let parameters = program.engine.device.buffer("parameters", program.dispatches.len().max(1) * PARAMETERS_STRIDE, usage)?;
        Ok(Slot { parameters, input: None, tensors: [None, None, None], results: None, staging: None, recordings: HashMap::new() })
    }

    /// Bytes of its buffers.
    pub(crate) fn bytes(&self) -> u64 {
        let optional = [&self.input, &self.results].into_iter().chain(&self.tensors).flatten().map(wgpu::Buffer::size);
        self.parameters.size() + optional.sum::<u64>() + self.staging.as_ref().map_or(0, Staging::size)
    }

    /// Makes room for a run of this size, and gives its bindings.
    pub(crate) fn reserve(&mut self, program: &GpuProgram, bucket: Extent) -> Result<Arc<Recording>, GpuError> {
        if let Some(recording) = self.recordings.get(&bucket) {
            return Ok(Arc::clone(recording));
        }
        let (layout, sections) = (program.layout(&bucket), Sections::new(program.shapes[0], &bucket));
        let device = &program.engine.device;
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let mut grown = grow(device, &mut self.input, "input", sections.bytes(), storage)?;
        for (buffer, size) in self.tensors.iter_mut().zip(layout.sizes) {
            grown |= grow(device, buffer, "tensors", size, storage | wgpu::BufferUsages::COPY_SRC)?;
        }
        if matches!(program.shapes[0], Shape::Pixels { .. }) && sections.bytes() >= staging::BYTES_MIN {
            let known = self.staging.as_ref().is_some_and(|staging| staging.size() >= sections.bytes() as u64);
            if !known {
                self.staging = None;
                self.staging = Some(Staging::new(device, sections.bytes())?);
            }
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        grow(device, &mut self.results, "results", program.result_bytes(&bucket), usage)?;
        if grown || self.recordings.len() >= RECORDINGS_MAX {
            self.recordings.clear();
        }
        let groups = device.attempt(|| {
            Ok(program.dispatches.iter().map(|dispatch| self.bind(program, dispatch, &layout, &sections)).collect::<Option<Vec<_>>>())
        })?;
        let groups = groups.ok_or_else(|| GpuError::Failed("a dispatch names a tensor that has no place".to_owned()))?;
        let recording = Arc::new(Recording { layout, sections, groups });
        self.recordings.insert(bucket, Arc::clone(&recording));
        Ok(recording)
    }

    fn bind(&self, program: &GpuProgram, dispatch: &Dispatch, layout: &Layout, sections: &Sections) -> Option<wgpu::BindGroup> {
        let part = |buffer, range: &Range<usize>| {
            let size = wgpu::BufferSize::new(range.len() as u64)?;
            Some(wgpu::BufferBinding { buffer, offset: range.start as u64, size: Some(size) })
        };
        let whole = |buffer| Some(wgpu::BufferBinding { buffer, offset: 0, size: None });
        let resource = |operand: Operand| match operand {
            Operand::Nothing => whole(&program.engine.nothing),
            Operand::Weights(index) => whole(&program.weights[index]),
            Operand::Tensor(tensor) => part(self.tensors[program.buffers[tensor.index()]].as_ref()?, &layout.places[tensor.index()]),
            Operand::Input => part(self.input.as_ref()?, &sections.input),
            Operand::Segments => part(self.input.as_ref()?, &sections.segments),
            Operand::Tiles => part(self.input.as_ref()?, &sections.tiles),
        };
        let parameters = wgpu::BufferBinding { buffer: &self.parameters, offset: 0, size: wgpu::BufferSize::new(PARAMETERS_STRIDE as u64) };
        let mut entries = Vec::with_capacity(OPERANDS + 1);
        entries.push(wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(parameters) });
        for (index, operand) in dispatch.operands.iter().enumerate() {
            let resource = wgpu::BindingResource::Buffer(resource(*operand)?);
            entries.push(wgpu::BindGroupEntry { binding: index as u32 + 1, resource });
        }
        let descriptor = wgpu::BindGroupDescriptor { label: Some(dispatch.name), layout: &program.engine.layout, entries: &entries };
        Some(program.engine.device.device.create_bind_group(&descriptor))
    }

    /// Sends the input of a run, and the parameters of its dispatches.
    pub(crate) fn upload(
        &self,
        program: &GpuProgram,
        recording: &Recording,
        part: &Part<'_>,
        launches: &[(wgpu::ComputePipeline, Launch)],
        encoder: &mut wgpu::CommandEncoder,
    ) {
        let queue = &program.engine.device.queue;
        let mut parameters = vec![0u32; launches.len() * PARAMETERS_STRIDE / 4];
        for ((_, launch), place) in launches.iter().zip(parameters.chunks_exact_mut(PARAMETERS_STRIDE / 4)) {
            place[..PARAMETERS].copy_from_slice(&launch.parameters);
        }
        queue.write_buffer(&self.parameters, 0, bytemuck::cast_slice(&parameters));
        let Some(input) = &self.input else { return };
        match part {
            Part::Pixels { pixels, .. } => {
                let (words, rest) = pixels.split_at(pixels.len() / 4 * 4);
                let sent = self.staging.as_ref().is_some_and(|staging| staging.send(words, input, encoder));
                if !sent {
                    queue.write_buffer(input, 0, words);
                }
                if !rest.is_empty() {
                    let last: [u8; 4] = std::array::from_fn(|index| rest.get(index).copied().unwrap_or(0));
                    queue.write_buffer(input, words.len() as u64, &last);
                }
            }
            Part::Texts(texts) => {
                let tables = Tables::new(texts);
                queue.write_buffer(input, 0, bytemuck::cast_slice(&tables.tokens));
                queue.write_buffer(input, recording.sections.segments.start as u64, bytemuck::cast_slice(&tables.segments));
                queue.write_buffer(input, recording.sections.tiles.start as u64, bytemuck::cast_slice(&tables.tiles));
                self.upload_gathered(program, recording, texts);
            }
        }
    }

    /// Sends the parameters of one dispatch.
    pub(crate) fn upload_parameters(&self, program: &GpuProgram, index: usize, launch: &Launch) {
        let place = (index * PARAMETERS_STRIDE) as u64;
        program.engine.device.queue.write_buffer(&self.parameters, place, bytemuck::cast_slice(&launch.parameters));
    }

    fn upload_gathered(&self, program: &GpuProgram, recording: &Recording, texts: &[&[u32]]) {
        let Some(gathered) = &program.gathered else { return };
        let (index, stride) = (gathered.output.index(), padded(gathered.channels));
        let Some(buffer) = &self.tensors[program.buffers[index]] else { return };
        let precision = program.engine.precision;
        let tokens: usize = texts.iter().map(|text| text.len()).sum();
        let mut bytes = vec![0; tokens * stride * precision.bytes()];
        let mut rows = bytes.chunks_exact_mut(stride * precision.bytes());
        for text in texts {
            let mut numbers = vec![0.0; text.len() * gathered.channels];
            embed_data(Isa::best(), text, &gathered.words, &gathered.positions, gathered.channels, &mut numbers);
            for (row, place) in numbers.chunks_exact(gathered.channels).zip(&mut rows) {
                write_numbers(precision, row, place);
            }
        }
        program.engine.device.queue.write_buffer(buffer, recording.layout.places[index].start as u64, &bytes);
    }

    /// Records that the outputs of so many items are to be brought to where they can be read.
    pub(crate) fn copy_results(&self, program: &GpuProgram, recording: &Recording, extent: &Extent, encoder: &mut wgpu::CommandEncoder) {
        let Some(results) = &self.results else { return };
        let mut at = 0;
        for output in &program.outputs {
            let index = output.index();
            let bytes = program.tensor_bytes(index, extent) as u64;
            if let Some(buffer) = &self.tensors[program.buffers[index]] {
                encoder.copy_buffer_to_buffer(buffer, recording.layout.places[index].start as u64, results, at, bytes);
            }
            at += bytes;
        }
    }

    /// After a submission has ended: its input may be written anew.
    pub(crate) fn take_back(&self) {
        if let Some(staging) = &self.staging {
            staging.take_back();
        }
    }

    /// Waits for a submission and reads its results.
    pub(crate) fn read(&self, program: &GpuProgram, extent: &Extent, submission: wgpu::SubmissionIndex) -> Result<Vec<Vec<f32>>, GpuError> {
        let device = &program.engine.device;
        let Some(results) = &self.results else { return Ok(Vec::new()) };
        let lengths: Vec<usize> = program.outputs.iter().map(|output| program.tensor_bytes(output.index(), extent)).collect();
        let slice = results.slice(..lengths.iter().sum::<usize>() as u64);
        device.map(slice, wgpu::MapMode::Read, submission)?;
        let view = slice.get_mapped_range().map_err(|error| GpuError::Failed(error.to_string()))?;
        let mut rest = &view[..];
        let mut outputs = Vec::with_capacity(lengths.len());
        for (output, length) in program.outputs.iter().zip(lengths) {
            let (bytes, left) = rest.split_at(length);
            rest = left;
            outputs.push(read_numbers(program.engine.precision, program.shapes[output.index()].channels(), bytes));
        }
        drop(view);
        results.unmap();
        self.take_back();
        Ok(outputs)
    }
}

/// Makes a buffer at least so large; says whether it is another one now. The old one is given up first.
fn grow(device: &Device, buffer: &mut Option<wgpu::Buffer>, label: &str, size: usize, usage: wgpu::BufferUsages) -> Result<bool, GpuError> {
    if size == 0 || buffer.as_ref().is_some_and(|buffer| buffer.size() >= size as u64) {
        return Ok(false);
    }
    *buffer = None;
    *buffer = Some(device.buffer(label, size.next_multiple_of(ALIGNMENT), usage)?);
    Ok(true)
}

/// Rows without their padding.
fn read_numbers(precision: Precision, channels: usize, bytes: &[u8]) -> Vec<f32> {
    let width = precision.bytes();
    let mut numbers = Vec::with_capacity(bytes.len() / width);
    for row in bytes.chunks_exact(padded(channels) * width) {
        let values = row[..channels * width].chunks_exact(width);
        numbers.extend(values.map(|value| match precision {
            Precision::F32 => f32::from_ne_bytes(std::array::from_fn(|index| value[index])),
            Precision::F16 => f16::from_ne_bytes(std::array::from_fn(|index| value[index])).to_f32(),
        }));
    }
    numbers
}

/// What the shaders need to know of a batch of texts.
struct Tables {
    /// Id and place of each token.
    tokens: Vec<[u32; 2]>,
    /// First token and length of each text.
    segments: Vec<[u32; 2]>,
    /// First token and length of the text, first query.
    tiles: Vec<[u32; 4]>,
}

impl Tables {
    fn new(texts: &[&[u32]]) -> Tables {
        let mut tables = Tables { tokens: Vec::new(), segments: Vec::with_capacity(texts.len()), tiles: Vec::new() };
        for text in texts {
            let (first, length) = (tables.tokens.len() as u32, text.len() as u32);
            tables.segments.push([first, length]);
            tables.tiles.extend((0..length).step_by(super::attention::QUERIES).map(|query| [first, length, query, 0]));
            tables.tokens.extend((0..).zip(text.iter()).map(|(place, token)| [*token, place]));
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lie_one_after_the_other() {
        let long = [7u32; 40];
        let tables = Tables::new(&[&[5, 6], &long]);
        assert_eq!(tables.segments, [[0, 2], [2, 40]]);
        assert_eq!(tables.tiles, [[0, 2, 0, 0], [2, 40, 0, 0], [2, 40, 32, 0]]);
        assert_eq!((tables.tokens.len(), tables.tokens[1], tables.tokens[3]), (42, [6, 1], [7, 1]));
    }

    #[test]
    fn sections_are_aligned_and_apart() {
        let extent = Extent { items: 3, tokens: 70, tiles: 5, longest: 40 };
        let Sections { input, segments, tiles } = Sections::new(Shape::Tokens { length_max: 40 }, &extent);
        assert_eq!((input.clone(), segments.clone(), tiles.clone()), (0..768, 768..1024, 1024..1280));
        let extent = Extent { items: 2, tokens: 0, tiles: 0, longest: 0 };
        assert_eq!(Sections::new(Shape::Pixels { height: 9, width: 13 }, &extent).bytes(), 768);
    }

    #[test]
    fn padding_is_left_out() {
        let bytes: Vec<u8> = (0..16).flat_map(|value| (value as f32).to_ne_bytes()).collect();
        assert_eq!(read_numbers(Precision::F32, 3, &bytes), [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]);
    }
}
