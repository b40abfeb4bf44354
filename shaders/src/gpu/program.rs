//! A plan made ready for the device: a batch becomes one compute pass, or several where it is too large for one.

use super::device::GpuError;
use super::engine::{ALIGNMENT, Engine, PARAMETERS_STRIDE, grid};
use super::layout::{Layout, buffers};
use super::lower::{Dispatch, Extent, Gathered, Launch, Lowered, lower, padded};
use super::slot::{self, Recording, Slot};
use super::{Budget, attention};
use crate::executor::{Input, Program, RunError};
use crate::kernels::stem::COLOURS;
use crate::plan::{Plan, PlanError, Shape, Step, TensorId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Runs whose memory lies on the device at a time: while one is computed, the next is sent.
const SLOTS_MAX: usize = 2;
/// Most texts of a submission: that many items have their rows in tables.
const TEXTS_MAX: usize = 8192;

/// Fewest pictures of a batch that is halved: half of them still fill a large device.
const HALVED_MIN: usize = 64;

/// A plan on a device.
pub(crate) struct GpuProgram {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) outputs: Vec<TensorId>,
    pub(crate) dispatches: Vec<Dispatch>,
    pub(crate) weights: Vec<wgpu::Buffer>,
    pub(crate) gathered: Option<Gathered>,
    /// The buffer of each tensor.
    pub(crate) buffers: Vec<usize>,
    steps: Vec<Step>,
    vocabulary: usize,
    /// Most items of a submission, or most tokens for texts.
    rows_max: usize,
    pool: Mutex<Pool>,
    given_back: Condvar,
}

#[derive(Default)]
struct Pool {
    free: Vec<Slot>,
    /// Slots there are, free or in use.
    made: usize,
    /// Bytes of the slots in use when they were last free.
    bytes_in_use: u64,
}

/// The items of one submission.
pub(crate) enum Part<'a> {
    /// Whole pictures.
    Pixels {
        /// Their bytes.
        pixels: &'a [u8],
        /// How many.
        items: usize,
    },
    /// Texts.
    Texts(&'a [&'a [u32]]),
}

impl Part<'_> {
    pub(crate) fn extent(&self) -> Extent {
        match self {
            Part::Pixels { items, .. } => Extent { items: *items, tokens: 0, tiles: 0, longest: 0 },
            Part::Texts(texts) => Extent {
                items: texts.len(),
                tokens: texts.iter().map(|text| text.len()).sum(),
                tiles: texts.iter().map(|text| text.len().div_ceil(attention::QUERIES)).sum(),
                longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
            },
        }
    }
}

impl Extent {
    /// The size whose memory and bindings a run of this size uses.
    pub(crate) fn bucket(&self) -> Extent {
        let up = |count: usize| if count == 0 { 0 } else { count.next_power_of_two() };
        Extent { items: up(self.items), tokens: up(self.tokens), tiles: up(self.tiles), longest: 0 }
    }
}

impl GpuProgram {
    /// Brings the weights to the device and compiles the shaders.
    pub(crate) fn new(engine: Arc<Engine>, plan: Plan, budget: Budget) -> Result<GpuProgram, PlanError> {
        let name = plan.name().to_owned();
        let refused = |reason: String| PlanError::Plan { name: name.clone(), reason };
        if plan.outputs().is_empty() {
            return Err(refused("it has no output".into()));
        }
        let (shapes, constants, steps, outputs) = plan.into_parts();
        let vocabulary = steps.iter().find_map(|step| match step {
            Step::Embed { words, .. } => Some(constants[words.index()].shape[0]),
            _ => None,
        });
        let Lowered { dispatches, weights, gathered } =
            lower(&engine, &shapes, &constants, &steps).map_err(|error| refused(error.to_string()))?;
        let mut program = GpuProgram {
            buffers: buffers(shapes.len(), &steps),
            engine,
            shapes,
            outputs,
            dispatches,
            weights,
            gathered,
            steps,
            vocabulary: vocabulary.unwrap_or(0),
            rows_max: 0,
            pool: Mutex::default(),
            given_back: Condvar::new(),
        };
        program.rows_max = program.rows_max(budget).ok_or_else(|| refused("one item is too large for the graphics device".into()))?;
        Ok(program)
    }

    /// Where the tensors of a run of this size lie.
    pub(crate) fn layout(&self, bucket: &Extent) -> Layout {
        let bytes: Vec<usize> =
            (0..self.shapes.len()).map(|tensor| self.tensor_bytes(tensor, bucket).next_multiple_of(ALIGNMENT)).collect();
        Layout::new(&bytes, &self.buffers, &self.steps, &self.outputs)
    }

    /// Bytes that a tensor fills in a run of this size.
    pub(crate) fn tensor_bytes(&self, tensor: usize, extent: &Extent) -> usize {
        let shape = self.shapes[tensor];
        extent.positions(shape) * padded(shape.channels()) * self.engine.precision.bytes()
    }

    /// Bytes of all outputs of a run of this size.
    pub(crate) fn result_bytes(&self, extent: &Extent) -> usize {
        self.outputs.iter().map(|output| self.tensor_bytes(output.index(), extent)).sum()
    }

    /// Most pictures, or tokens of texts, of one submission.
    pub(crate) fn batch_max(&self) -> usize {
        self.rows_max
    }

    /// The largest size, a power of two, that the device's limits and the budget leave.
    fn rows_max(&self, budget: Budget) -> Option<usize> {
        let (least, most) = match self.shapes[0] {
            Shape::Tokens { length_max } => (length_max.next_power_of_two(), budget.tokens_max),
            _ => (1, budget.pictures_max),
        };
        let limits = self.engine.device.device.limits();
        let binding_max = self.engine.binding_bytes_max;
        let fits = |rows: usize| {
            let bucket = match self.shapes[0] {
                Shape::Tokens { .. } => Extent { items: rows.min(TEXTS_MAX), tokens: rows, tiles: rows, longest: 0 },
                _ => Extent { items: rows, tokens: 0, tiles: 0, longest: 0 },
            };
            let layout = self.layout(&bucket);
            let sections = slot::Sections::new(self.shapes[0], &bucket);
            let total = slot::bytes(self, &bucket) as u64;
            layout.places.iter().all(|place| place.len() <= binding_max)
                && sections.largest() <= binding_max
                && layout.sizes.iter().all(|size| *size as u64 <= limits.max_buffer_size)
                && self.result_bytes(&bucket) as u64 <= limits.max_buffer_size
                && total * SLOTS_MAX as u64 <= budget.memory_bytes_max
        };
        let sizes = std::iter::successors(Some(least), |rows| Some(rows * 2)).take_while(|rows| *rows <= most.max(least));
        sizes.take_while(|rows| fits(*rows)).last()
    }

    /// Checks the input, and cuts it into submissions.
    fn parts<'a>(&self, input: Input<'a>) -> Result<Vec<Part<'a>>, RunError> {
        match (self.shapes[0], input) {
            (Shape::Pixels { height, width }, Input::Pixels(pixels)) => {
                let picture = height * width * COLOURS;
                if !pixels.len().is_multiple_of(picture) {
                    return Err(RunError::Pixels { bytes: pixels.len(), picture });
                }
                let at_once = pictures_at_once(pixels.len() / picture, self.rows_max);
                Ok(pixels.chunks(picture * at_once).map(|pixels| Part::Pixels { pixels, items: pixels.len() / picture }).collect())
            }
            (Shape::Tokens { length_max }, Input::Tokens(texts)) => {
                for (item, text) in texts.iter().enumerate() {
                    if text.is_empty() || text.len() > length_max {
                        return Err(RunError::Length { item, length: text.len(), length_max });
                    }
                    if let Some(token) = text.iter().find(|token| **token as usize >= self.vocabulary) {
                        return Err(RunError::Token { item, token: *token, vocabulary: self.vocabulary });
                    }
                }
                Ok(cut(texts, self.rows_max))
            }
            _ => Err(RunError::Kind),
        }
    }

    /// A slot; where all are in use and `wait` is not, none.
    fn take_slot(&self, wait: bool) -> Result<Option<Slot>, GpuError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(slot) = pool.free.pop() {
                pool.bytes_in_use += slot.bytes();
                return Ok(Some(slot));
            }
            if pool.made < SLOTS_MAX {
                pool.made += 1;
                drop(pool);
                return Slot::new(self).map(Some).inspect_err(|_| self.lose_slot(0));
            }
            if !wait {
                return Ok(None);
            }
            pool = self.given_back.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, slot: Slot, bytes_before: u64) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.bytes_in_use = pool.bytes_in_use.saturating_sub(bytes_before);
        pool.free.push(slot);
        drop(pool);
        self.given_back.notify_one();
    }

    /// After a failure nobody knows what the slot's buffers are doing: it is not used again.
    fn lose_slot(&self, bytes_before: u64) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.bytes_in_use = pool.bytes_in_use.saturating_sub(bytes_before);
        pool.made -= 1;
        drop(pool);
        self.given_back.notify_one();
    }

    /// Sends one submission.
    fn submit(&self, slot: &mut Slot, part: &Part<'_>) -> Result<wgpu::SubmissionIndex, GpuError> {
        let extent = part.extent();
        let recording = slot.reserve(self, extent.bucket())?;
        let launches = self.launches(&extent)?;
        let device = &self.engine.device;
        device.attempt(|| {
            let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            slot.upload(self, &recording, part, &launches, &mut encoder);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (index, launch) in launches.iter().enumerate() {
                record(&mut pass, &recording, launch, index);
            }
            drop(pass);
            slot.copy_results(self, &recording, &extent, &mut encoder);
            Ok(device.queue.submit([encoder.finish()]))
        })
    }

    /// The pipelines and launches of all dispatches.
    pub(crate) fn launches(&self, extent: &Extent) -> Result<Vec<(wgpu::ComputePipeline, Launch)>, GpuError> {
        self.dispatches.iter().map(|dispatch| dispatch.launch(&self.engine, extent)).collect()
    }

    /// As [`Program::run`], with the device's own error.
    pub(crate) fn run_on_device(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, GpuError> {
        let parts = self.parts(input).map_err(|error| GpuError::Failed(error.to_string()))?;
        self.run_parts(&parts)
    }

    /// Runs all parts; the next is sent while the last is computed.
    fn run_parts(&self, parts: &[Part<'_>]) -> Result<Vec<Vec<f32>>, GpuError> {
        let mut results: Vec<Vec<f32>> = vec![Vec::new(); self.outputs.len()];
        let mut running: VecDeque<(Running<'_>, Extent, wgpu::SubmissionIndex)> = VecDeque::new();
        let finish = |(mut running, extent, submission): (Running<'_>, Extent, wgpu::SubmissionIndex), results: &mut Vec<Vec<f32>>| {
            let outputs = self.engine.device.attempt(|| running.slot()?.read(self, &extent, submission))?;
            running.succeeded();
            results.iter_mut().zip(outputs).for_each(|(result, output)| result.extend(output));
            Ok::<(), GpuError>(())
        };
        for part in parts {
            // Who holds a slot never waits for another, so that two threads cannot wait for each other.
            let slot = loop {
                match self.take_slot(running.is_empty())? {
                    Some(slot) => break slot,
                    None => {
                        if let Some(first) = running.pop_front() {
                            finish(first, &mut results)?;
                        }
                    }
                }
            };
            let mut slot = Running { program: self, bytes_before: slot.bytes(), slot: Some(slot), succeeded: false };
            let submission = self.submit(slot.slot_mut()?, part)?;
            running.push_back((slot, part.extent(), submission));
        }
        while let Some(first) = running.pop_front() {
            finish(first, &mut results)?;
        }
        Ok(results)
    }

    /// Runs one part with a slot that is the caller's alone.
    pub(crate) fn with_slot<T>(&self, work: impl FnOnce(&mut Slot) -> Result<T, GpuError>) -> Result<T, GpuError> {
        let slot = self.take_slot(true)?.ok_or_else(|| GpuError::Failed("no slot".to_owned()))?;
        let mut running = Running { program: self, bytes_before: slot.bytes(), slot: Some(slot), succeeded: false };
        let result = work(running.slot_mut()?)?;
        running.succeeded();
        Ok(result)
    }
}

/// Records one dispatch, of this number.
pub(crate) fn record(pass: &mut wgpu::ComputePass<'_>, recording: &Recording, launch: &(wgpu::ComputePipeline, Launch), index: usize) {
    let (pipeline, launch) = launch;
    let [x, y, z] = grid(launch.workgroups);
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, &recording.groups[index], &[(index * PARAMETERS_STRIDE) as u32]);
    pass.dispatch_workgroups(x, y, z);
}

/// A slot in use: given back after success, lost after a failure.
struct Running<'a> {
    program: &'a GpuProgram,
    slot: Option<Slot>,
    bytes_before: u64,
    succeeded: bool,
}

impl Running<'_> {
    fn slot(&mut self) -> Result<&Slot, GpuError> {
        self.slot.as_ref().ok_or_else(|| GpuError::Failed("no slot".to_owned()))
    }

    fn slot_mut(&mut self) -> Result<&mut Slot, GpuError> {
        self.slot.as_mut().ok_or_else(|| GpuError::Failed("no slot".to_owned()))
    }

    fn succeeded(&mut self) {
        self.succeeded = true;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        match self.slot.take() {
            Some(slot) if self.succeeded => self.program.give_back(slot, self.bytes_before),
            _ => self.program.lose_slot(self.bytes_before),
        }
    }
}

impl Program for GpuProgram {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let parts = self.parts(input)?;
        self.run_parts(&parts).map_err(RunError::from)
    }

    fn memory_bytes(&self) -> u64 {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let weights: u64 = self.weights.iter().map(wgpu::Buffer::size).sum();
        weights + pool.bytes_in_use + pool.free.iter().map(Slot::bytes).sum::<u64>()
    }
}

impl From<GpuError> for RunError {
    fn from(error: GpuError) -> RunError {
        match error {
            GpuError::OutOfMemory(text) => RunError::OutOfMemory(text),
            other => RunError::Device(other.to_string()),
        }
    }
}

/// Pictures of one submission: a large batch that would fit into one is halved, so that the second half is sent while the first
/// is computed.
fn pictures_at_once(items: usize, items_max: usize) -> usize {
    if (HALVED_MIN..=items_max).contains(&items) { items.div_ceil(2) } else { items_max }
}

/// Cuts texts into consecutive runs of at most so many tokens; a text that alone is longer than that stands alone.
fn cut<'a>(texts: &'a [&'a [u32]], tokens_max: usize) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        if index > first && (tokens + text.len() > tokens_max || index - first >= TEXTS_MAX) {
            parts.push(Part::Texts(&texts[first..index]));
            (first, tokens) = (index, 0);
        }
        tokens += text.len();
    }
    if first < texts.len() {
        parts.push(Part::Texts(&texts[first..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_batches_are_halved_and_small_ones_are_not() {
        for (items, items_max, at_once) in
            [(1, 128, 128), (63, 128, 128), (64, 128, 64 / 2), (127, 128, 64), (128, 128, 64), (300, 128, 128)]
        {
            assert_eq!(pictures_at_once(items, items_max), at_once, "{items} of {items_max}");
        }
    }

    #[test]
    fn texts_are_cut_between_texts() {
        let (short, long) = ([1u32; 3], [1u32; 10]);
        let texts: [&[u32]; 5] = [&short, &short, &long, &short, &long];
        let sizes: Vec<usize> = cut(&texts, 7).iter().map(|part| part.extent().items).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
        assert!(cut(&[], 7).is_empty());
        assert_eq!(cut(&[&short[..]; TEXTS_MAX + 1], usize::MAX).len(), 2);
    }
}
