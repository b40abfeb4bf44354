//! From the steps of a plan to the dispatches of a device: which shader, which buffers, and what depends on the batch.

use super::device::GpuError;
use super::engine::{Engine, OPERANDS};
use super::source::{PADDING, PARAMETERS, Precision};
use super::{arrange, attend, attention, depthwise, elementwise, embed, gemm, layernorm, normalize, pool, scale, take};
use crate::plan::{Constant, ConstantId, Data, Shape, Step, TensorId};
use half::f16;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The size of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Extent {
    /// Pictures or texts.
    pub(crate) items: usize,
    /// Tokens of all texts.
    pub(crate) tokens: usize,
    /// Tiles of [`attention::QUERIES`] tokens, each within one text.
    pub(crate) tiles: usize,
    /// Tokens of the longest text.
    pub(crate) longest: usize,
}

impl Extent {
    /// Positions of a tensor.
    pub(crate) fn positions(&self, shape: Shape) -> usize {
        match shape {
            Shape::Map { height, width, .. } => self.items * height * width,
            Shape::Sequence { .. } => self.tokens,
            _ => self.items,
        }
    }
}

/// Positions of each item; 0 where each item has its own number of them.
pub(crate) fn item_positions(shape: Shape) -> usize {
    match shape {
        Shape::Map { height, width, .. } => height * width,
        Shape::Sequence { .. } => 0,
        _ => 1,
    }
}

/// Numbers of a position as they lie in memory.
pub(crate) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(PADDING)
}

/// What a dispatch finds at a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Nothing that it reads.
    Nothing,
    /// A tensor of the run.
    Tensor(TensorId),
    /// Weights, by their place in [`Lowered::weights`].
    Weights(usize),
    /// The pictures, or the tokens with their places.
    Input,
    /// First token and length of each text.
    Segments,
    /// The tiles of the texts: first token, length, first query.
    Tiles,
}

/// The parameters of a shader, in the order of its `Params`, and how many workgroups run it.
pub(crate) struct Launch {
    pub(crate) parameters: [u32; PARAMETERS],
    pub(crate) workgroups: usize,
}

impl Launch {
    pub(crate) fn new<const N: usize>(parameters: [usize; N], workgroups: usize) -> Launch {
        const { assert!(N <= PARAMETERS) };
        let mut words = [0; PARAMETERS];
        words.iter_mut().zip(parameters).for_each(|(word, value)| *word = value as u32);
        Launch { parameters: words, workgroups }
    }

    /// Puts numbers behind the first `at` parameters.
    pub(crate) fn with_numbers<const N: usize>(mut self, at: usize, numbers: [f32; N]) -> Launch {
        self.parameters[at..].iter_mut().zip(numbers).for_each(|(word, value)| *word = value.to_bits());
        self
    }
}

/// A shader with what it needs to know of a run's size.
pub(crate) enum Kernel {
    /// One shader for all sizes.
    Fixed(wgpu::ComputePipeline, Box<dyn Fn(&Extent) -> Launch + Send + Sync>),
    /// The first shader that takes texts as long as the longest.
    ByLength(Vec<(usize, wgpu::ComputePipeline)>, Box<dyn Fn(&Extent) -> Launch + Send + Sync>),
    /// The variant depends on the size.
    Product(Box<gemm::Product>),
}

/// One dispatch of a plan.
pub(crate) struct Dispatch {
    /// The kernel's name.
    pub(crate) name: &'static str,
    /// What is at bindings 1 to 5; the last is written.
    pub(crate) operands: [Operand; OPERANDS],
    pub(crate) kernel: Kernel,
    /// Multiply-adds or the like for so large a run.
    pub(crate) operations: Box<dyn Fn(&Extent) -> f64 + Send + Sync>,
}

impl Dispatch {
    /// The pipeline and launch for one size of run.
    pub(crate) fn launch(&self, engine: &Engine, extent: &Extent) -> Result<(wgpu::ComputePipeline, Launch), GpuError> {
        match &self.kernel {
            Kernel::Fixed(pipeline, launch) => Ok((pipeline.clone(), launch(extent))),
            Kernel::ByLength(pipelines, launch) => {
                let fitting = pipelines.iter().find(|(length, _)| extent.longest <= *length);
                let (_, pipeline) = fitting.ok_or_else(|| GpuError::Failed(format!("{} has no shader for this length", self.name)))?;
                Ok((pipeline.clone(), launch(extent)))
            }
            Kernel::Product(product) => product.launch(engine, extent),
        }
    }
}

/// How a constant lies in the device's memory: `[outer, inner, columns]` with the last two axes padded by zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    outer: usize,
    inner: usize,
    inner_padded: usize,
    columns: usize,
    precision: Precision,
}

impl Form {
    /// Rows whose number stays.
    pub(crate) fn rows(rows: usize, columns: usize, precision: Precision) -> Form {
        Form { outer: rows, inner: 1, inner_padded: 1, columns, precision }
    }

    /// A vector, always in single precision.
    pub(crate) fn vector(columns: usize) -> Form {
        Form::rows(1, columns, Precision::F32)
    }

    /// Weights of a product whose left side consists of `taps` runs of `inner` numbers, each padded.
    pub(crate) fn product(taps: usize, inner: usize, columns: usize, precision: Precision) -> Form {
        Form { outer: taps, inner, inner_padded: padded(inner), columns, precision }
    }

    /// Bytes in the device's memory.
    pub(crate) fn bytes(&self) -> usize {
        self.outer * self.inner_padded * padded(self.columns) * self.precision.bytes()
    }

    fn lay_out(&self, data: &[f32]) -> Vec<u8> {
        let stride = padded(self.columns);
        let mut bytes = vec![0; self.bytes()];
        let width = self.precision.bytes();
        for (index, row) in data.chunks_exact(self.columns).enumerate() {
            let place = (index / self.inner * self.inner_padded + index % self.inner) * stride * width;
            write_numbers(self.precision, row, &mut bytes[place..place + row.len() * width]);
        }
        bytes
    }
}

/// Writes numbers in one precision; `bytes` is as long as they are then.
pub(crate) fn write_numbers(precision: Precision, numbers: &[f32], bytes: &mut [u8]) {
    for (number, place) in numbers.iter().zip(bytes.chunks_exact_mut(precision.bytes())) {
        match precision {
            Precision::F32 => place.copy_from_slice(&number.to_ne_bytes()),
            Precision::F16 => place.copy_from_slice(&f16::from_f32(*number).to_ne_bytes()),
        }
    }
}

/// Word embeddings that are too large for one binding: the rows are gathered on the CPU and sent with each batch.
pub(crate) struct Gathered {
    pub(crate) words: Data,
    pub(crate) positions: Arc<[f32]>,
    pub(crate) channels: usize,
    pub(crate) output: TensorId,
}

/// A plan as dispatches.
pub(crate) struct Lowered {
    pub(crate) dispatches: Vec<Dispatch>,
    pub(crate) weights: Vec<wgpu::Buffer>,
    pub(crate) gathered: Option<Gathered>,
}

/// A plan on its way.
pub(crate) struct Lowering<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) shapes: &'a [Shape],
    constants: &'a [Constant],
    weights: Vec<wgpu::Buffer>,
    known: HashMap<(ConstantId, Form), usize>,
}

impl Lowering<'_> {
    pub(crate) fn shape(&self, tensor: TensorId) -> Shape {
        self.shapes[tensor.index()]
    }

    pub(crate) fn constant(&self, id: ConstantId) -> &Constant {
        &self.constants[id.index()]
    }

    /// Brings a constant to the device, once for each form.
    pub(crate) fn weights(&mut self, id: ConstantId, form: Form) -> Result<Operand, GpuError> {
        if let Some(index) = self.known.get(&(id, form)) {
            return Ok(Operand::Weights(*index));
        }
        let (have, need) = (self.engine.binding_bytes_max as u64, form.bytes() as u64);
        if need > have {
            return Err(GpuError::Limit { what: "bytes of a storage buffer", need, have });
        }
        let device = &self.engine.device;
        let bytes = form.lay_out(&self.constant(id).data.numbers());
        let buffer = device.buffer("weights", bytes.len(), wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)?;
        device.attempt(|| {
            device.queue.write_buffer(&buffer, 0, &bytes);
            // Sent at once, so that staging memory does not pile up to the size of the model.
            device.queue.submit([]);
            Ok(())
        })?;
        self.weights.push(buffer);
        self.known.insert((id, form), self.weights.len() - 1);
        Ok(Operand::Weights(self.weights.len() - 1))
    }

    /// A dispatch with one shader for all sizes.
    pub(crate) fn fixed(
        &self,
        name: &'static str,
        text: String,
        operands: [Operand; OPERANDS],
        launch: impl Fn(&Extent) -> Launch + Send + Sync + 'static,
        operations: impl Fn(&Extent) -> f64 + Send + Sync + 'static,
    ) -> Result<Dispatch, GpuError> {
        let kernel = Kernel::Fixed(self.engine.pipeline(name, text)?, Box::new(launch));
        Ok(Dispatch { name, operands, kernel, operations: Box::new(operations) })
    }
}

/// Lowers all steps; the weights go to the device.
pub(crate) fn lower(engine: &Engine, shapes: &[Shape], constants: &[Constant], steps: &[Step]) -> Result<Lowered, GpuError> {
    let mut lowering = Lowering { engine, shapes, constants, weights: Vec::new(), known: HashMap::new() };
    let mut dispatches = Vec::with_capacity(steps.len());
    let mut gathered = None;
    for step in steps {
        if let Step::Embed { words, positions, output, .. } = step
            && let Some(on_cpu) = embed::gathered(&lowering, *words, *positions, *output)
        {
            gathered = Some(on_cpu);
            continue;
        }
        dispatches.push(dispatch(&mut lowering, step)?);
    }
    Ok(Lowered { dispatches, weights: lowering.weights, gathered })
}

fn dispatch(lowering: &mut Lowering<'_>, step: &Step) -> Result<Dispatch, GpuError> {
    match step {
        Step::Gemm { .. } | Step::Stem { .. } | Step::Conv { .. } => gemm::dispatch(lowering, step),
        Step::Depthwise { .. } => depthwise::dispatch(lowering, step),
        Step::LayerNorm { input, gain, shift, epsilon, output } => {
            layernorm::dispatch(lowering, *input, [*gain, *shift], *epsilon, *output)
        }
        Step::Attention { .. } => attention::dispatch(lowering, step),
        Step::Embed { words, positions, output, .. } => embed::dispatch(lowering, *words, *positions, *output),
        Step::Attend { input, query, heads, output } => attend::dispatch(lowering, *input, *query, *heads, *output),
        Step::Arrange { input, around, positions, output } => arrange::dispatch(lowering, *input, *around, *positions, *output),
        Step::Take { input, position, output } => take::dispatch(lowering, *input, *position, *output),
        Step::Scale { input, factors, output } => scale::dispatch(lowering, *input, *factors, *output),
        Step::Mean { input, output } => pool::dispatch(lowering, *input, *output),
        Step::Normalize { input, output } => normalize::dispatch(lowering, *input, *output),
        Step::Pairwise { left, right, function, output } => elementwise::dispatch(lowering, [*left, *right], *function, *output),
    }
}

/// A pipeline that is compiled when it is first asked for.
pub(crate) type LazyPipeline = OnceLock<wgpu::ComputePipeline>;
