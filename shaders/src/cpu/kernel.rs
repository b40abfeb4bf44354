//! One step of a plan made ready for an instruction set, and how it is run on one group.

use super::group::GroupInput;
use crate::kernels::arrange::arrange;
use crate::kernels::attend::{self, attend};
use crate::kernels::attention::{self, attention};
use crate::kernels::conv::{self, Conv, conv};
use crate::kernels::depthwise::{Depthwise, depthwise};
use crate::kernels::elementwise::pairwise;
use crate::kernels::embed::embed;
use crate::kernels::gemm::{Product, Weights, gemm};
use crate::kernels::layernorm::layernorm;
use crate::kernels::normalize::normalize;
use crate::kernels::pool::mean;
use crate::kernels::scale::scale;
use crate::kernels::stem::{self, Stem, Table, stem};
use crate::kernels::take::take;
use crate::plan::{Constant, ConstantId, Shape, Step, TensorId};
use crate::simd::Isa;
use std::sync::Arc;

/// A step with its weights in the layout of the instruction set.
pub(super) struct Kernel {
    pub(super) step: Step,
    weights: Option<Weights>,
    /// Of a stem.
    table: Option<Box<Table>>,
}

/// What the kernels of one program share.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) isa: Isa,
    pub(super) shapes: &'a [Shape],
    pub(super) constants: &'a [Constant],
    pub(super) input: GroupInput<'a>,
}

/// The tensors of one step: empty where the step has none.
pub(super) struct Tensors<'a> {
    pub(super) read: &'a [f32],
    pub(super) also: &'a [f32],
    pub(super) written: &'a mut [f32],
}

impl<'a> Context<'a> {
    fn shape(self, tensor: TensorId) -> Shape {
        self.shapes[tensor.index()]
    }

    fn channels(self, tensor: TensorId) -> usize {
        self.shape(tensor).channels()
    }

    fn constant(self, id: ConstantId) -> &'a [f32] {
        &self.constants[id.index()].data
    }

    /// Calls `each` with the numbers that every item has in the tensor read and in the one written.
    fn items(self, [from, to]: [TensorId; 2], tensors: Tensors<'_>, mut each: impl FnMut(&[f32], &mut [f32])) {
        let (from, to) = (self.shape(from), self.shape(to));
        for (read, written) in self.input.segments(from).zip(self.input.segments(to)) {
            let read = &tensors.read[read.start * from.channels()..read.end * from.channels()];
            each(read, &mut tensors.written[written.start * to.channels()..written.end * to.channels()]);
        }
    }
}

impl Kernel {
    /// Packs the step's weights. Numbers that only packed steps use are freed as soon as the last of them has its copy.
    pub(super) fn prepare(isa: Isa, step: Step, constants: &mut [Constant], uses: &mut [usize]) -> Kernel {
        let (weight, bias, table) = match &step {
            Step::Gemm { weight, bias, .. } | Step::Conv { weight, bias, .. } => (*weight, *bias, None),
            Step::Stem { weight, bias, normalisation, .. } => (*weight, *bias, Some(Box::new(normalisation.table()))),
            _ => return Kernel { step, weights: None, table: None },
        };
        let (matrix, offsets) = (&constants[weight.index()].data, &constants[bias.index()].data);
        let weights = Weights::new(isa, matrix, matrix.len() / offsets.len(), offsets);
        for id in [weight, bias] {
            uses[id.index()] -= 1;
            if uses[id.index()] == 0 {
                constants[id.index()].data = Arc::default();
            }
        }
        Kernel { step, weights: Some(weights), table }
    }

    /// Bytes of the packed weights.
    pub(super) fn memory_bytes(&self) -> usize {
        self.weights.as_ref().map_or(0, Weights::memory_bytes)
    }

    /// Floats of scratch that the kernel needs for a group.
    pub(super) fn scratch(&self, context: Context<'_>) -> usize {
        match &self.step {
            Step::Stem { window, .. } => stem::scratch_len(*window),
            Step::Conv { .. } => self.weights.as_ref().map_or(0, |weights| conv::patch_scratch_len(weights.panels().depth)),
            Step::Attention { heads, output, .. } => {
                let longest = context.input.positions_max(context.shape(*output));
                attention::scratch_len(context.isa, longest, context.channels(*output) / heads)
            }
            Step::Attend { input, .. } => attend::scratch_len(context.input.positions_max(context.shape(*input))),
            _ => 0,
        }
    }

    pub(super) fn run(&self, context: Context<'_>, tensors: Tensors<'_>, scratch: &mut [f32]) {
        match &self.weights {
            Some(weights) => self.run_product(context, weights, tensors, scratch),
            None => self.run_plain(context, tensors, scratch),
        }
    }

    fn run_product(&self, context: Context<'_>, weights: &Weights, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let isa = context.isa;
        let Tensors { read, also, written } = tensors;
        match &self.step {
            Step::Gemm { activation, residual, .. } => {
                let panels = weights.panels();
                let product = Product {
                    rows: read.len() / panels.depth,
                    input: read,
                    input_stride: panels.depth,
                    panels,
                    bias: weights.bias(),
                    activation: *activation,
                    residual: residual.map(|_| also),
                    output_stride: panels.columns,
                };
                gemm(isa, product, written);
            }
            Step::Conv { input, window, activation, .. } => {
                let Shape::Map { height, width, channels } = context.shape(*input) else {
                    unreachable!("the plan checks that conv reads a map")
                };
                let job = Conv { input: read, height, width, channels, window: *window, weights, activation: *activation };
                conv(isa, job, scratch, written);
            }
            Step::Stem { window, activation, .. } => {
                let (GroupInput::Picture(pixels), Shape::Pixels { height, width }, Some(table)) =
                    (context.input, context.shapes[0], &self.table)
                else {
                    unreachable!("the plan checks that a stem reads pixels");
                };
                let job = Stem { pixels, height, width, table, window: *window, weights, activation: *activation };
                stem(isa, job, scratch, written);
            }
            step => unreachable!("{} has no packed weights", step.kernel()),
        }
    }

    fn run_plain(&self, context: Context<'_>, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let isa = context.isa;
        match &self.step {
            Step::Depthwise { input, weight, bias, window, activation, .. } => {
                let Shape::Map { height, width, channels } = context.shape(*input) else {
                    unreachable!("the plan checks that depthwise reads a map")
                };
                let (weight, bias) = (context.constant(*weight), context.constant(*bias));
                let job =
                    Depthwise { input: tensors.read, height, width, channels, window: *window, weight, bias, activation: *activation };
                depthwise(isa, job, tensors.written);
            }
            Step::LayerNorm { gain, shift, epsilon, .. } => {
                layernorm(isa, tensors.read, context.constant(*gain), context.constant(*shift), *epsilon, tensors.written);
            }
            Step::Attention { input, heads, causal, output } => {
                let head_width = context.channels(*output) / heads;
                context.items([*input, *output], tensors, |read, written| {
                    attention(isa, read, *heads, head_width, *causal, scratch, written);
                });
            }
            Step::Attend { input, query, heads, output } => context.items([*input, *output], tensors, |read, written| {
                attend(isa, read, context.constant(*query), *heads, scratch, written);
            }),
            Step::Arrange { input, first, positions, output } => context.items([*input, *output], tensors, |read, written| {
                arrange(isa, read, first.map(|id| context.constant(id)), positions.map(|id| context.constant(id)), written);
            }),
            Step::Embed { words, positions, output, .. } => {
                let GroupInput::Texts(texts) = context.input else { unreachable!("the plan checks that embed reads tokens") };
                let (width, shape) = (context.channels(*output), context.shape(*output));
                let (words, positions) = (context.constant(*words), context.constant(*positions));
                for (text, segment) in texts.iter().zip(context.input.segments(shape)) {
                    embed(isa, text, words, positions, width, &mut tensors.written[segment.start * width..segment.end * width]);
                }
            }
            Step::Mean { input, output } => context.items([*input, *output], tensors, |read, written| mean(isa, read, written)),
            Step::Take { input, position, output } => {
                context.items([*input, *output], tensors, |read, written| take(read, *position, written));
            }
            Step::Normalize { output, .. } => normalize(isa, tensors.read, context.channels(*output), tensors.written),
            Step::Pairwise { function, .. } => pairwise(isa, *function, tensors.read, tensors.also, tensors.written),
            Step::Scale { input, output, .. } => {
                let mut factors = tensors.also.chunks_exact(context.channels(*output));
                context.items([*input, *output], Tensors { also: &[], ..tensors }, |read, written| {
                    scale(isa, read, factors.next().unwrap_or(&[]), written);
                });
            }
            step => unreachable!("prepare packs the weights of {}", step.kernel()),
        }
    }
}
