//! One step of a plan made ready for an instruction set, and how it is run on one group.
#![allow(unsafe_code, reason = "threads write one tensor, each in columns of its own")]

use super::group::GroupInput;
use crate::crew::Crew;
use crate::kernels::arrange::arrange;
use crate::kernels::attend::{self, attend};
use crate::kernels::attention::{self, Attention, attention};
use crate::kernels::conv::{self, Conv, conv};
use crate::kernels::depthwise::{Depthwise, depthwise};
use crate::kernels::elementwise::pairwise;
use crate::kernels::embed::embed;
use crate::kernels::gemm::{Product, gemm, gemm_columns, panel_columns};
use crate::kernels::layernorm::layernorm;
use crate::kernels::normalize::normalize;
use crate::kernels::number::{Numbers, Storage, View};
use crate::kernels::pool::mean;
use crate::kernels::scale::scale;
use crate::kernels::stem::{self, Stem, Table, stem};
use crate::kernels::take::take;
use crate::kernels::target::Target;
use crate::kernels::weights::{Slab, Weights, halves, slab_len};
use crate::plan::{Constant, ConstantId, Shape, Step, TensorId};
use crate::simd::Isa;
use std::ops::Range;
use std::sync::Arc;

/// A step with its constants in the layout of the instruction set.
pub(super) struct Kernel {
    pub(super) step: Step,
    prepared: Prepared,
}

/// What a step has beside the plan's constants.
enum Prepared {
    Nothing,
    Product(Weights),
    Stem(Weights, Box<Table>),
    /// Word embeddings that are not kept as the plan has them.
    Words(Numbers),
}

/// Parts of a step for each thread: more than one, so that a thread that is slower or comes later leaves some to the others.
const PARTS_PER_THREAD: usize = 2;

/// Rows of one part of a product are a multiple of this, so that tiles are full.
const ROWS_STEP: usize = 8;

/// What the kernels of one program share.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) isa: Isa,
    pub(super) crew: &'a Crew<'a>,
    pub(super) shapes: &'a [Shape],
    pub(super) constants: &'a [Constant],
    pub(super) slab: &'a Slab,
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

    /// Rows of one part of `rows`, a multiple of `step`.
    fn part_rows(self, rows: usize, step: usize) -> usize {
        let parts = if self.crew.threads() == 1 { 1 } else { self.crew.threads() * PARTS_PER_THREAD };
        rows.div_ceil(parts).next_multiple_of(step).max(step)
    }

    /// Cuts what is written into parts of whole rows of `width` numbers and calls `each(range of numbers, part)` for each.
    fn rows(self, width: usize, step: usize, written: &mut [f32], each: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        let length = self.part_rows(written.len() / width, step) * width;
        self.crew.chunks(written, length, &mut [], |first, part, _| each(first..first + part.len(), part));
    }
}

impl Kernel {
    /// The length of slab that the step's weights need.
    pub(super) fn slab_len(isa: Isa, step: &Step, constants: &[Constant]) -> usize {
        match step {
            Step::Gemm { weight, bias, .. } | Step::Conv { weight, bias, .. } | Step::Stem { weight, bias, .. } => {
                let columns = constants[bias.index()].data.len();
                slab_len(isa, constants[weight.index()].data.len() / columns, columns)
            }
            _ => 0,
        }
    }

    /// Packs the step's weights. Numbers that only packed steps use are freed as soon as the last of them has its copy.
    pub(super) fn prepare(
        isa: Isa,
        storage: Storage,
        step: Step,
        constants: &mut [Constant],
        uses: &mut [usize],
        slab: &mut Slab,
    ) -> Kernel {
        let mut weights =
            |weight: ConstantId, bias: ConstantId| slab.add(isa, &constants[weight.index()].data, &constants[bias.index()].data);
        let (prepared, replaced) = match &step {
            Step::Gemm { weight, bias, .. } | Step::Conv { weight, bias, .. } => {
                (Prepared::Product(weights(*weight, *bias)), [Some(*weight), Some(*bias)])
            }
            Step::Stem { weight, bias, normalisation, .. } => {
                (Prepared::Stem(weights(*weight, *bias), Box::new(normalisation.table())), [Some(*weight), Some(*bias)])
            }
            Step::Embed { words, .. } if storage == Storage::F16 && uses[words.index()] == 1 => {
                (Prepared::Words(halves(&constants[words.index()].data)), [Some(*words), None])
            }
            _ => (Prepared::Nothing, [None, None]),
        };
        for id in replaced.into_iter().flatten() {
            uses[id.index()] -= 1;
            if uses[id.index()] == 0 {
                constants[id.index()].data = Arc::default();
            }
        }
        Kernel { step, prepared }
    }

    /// Bytes of what is prepared, beside the slab.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.prepared {
            Prepared::Nothing => 0,
            Prepared::Product(weights) => size_of_val(weights.bias()),
            Prepared::Stem(weights, table) => size_of_val(weights.bias()) + size_of_val(&**table),
            Prepared::Words(words) => words.memory_bytes(),
        }
    }

    /// Floats of scratch that each thread needs for a group.
    pub(super) fn scratch(&self, context: Context<'_>) -> usize {
        match &self.step {
            Step::Stem { window, .. } => stem::scratch_len(*window),
            Step::Conv { window, input, .. } => conv::patch_scratch_len(window.kernel * window.kernel * context.channels(*input)),
            Step::Attention { heads, output, .. } => {
                let longest = context.input.positions_max(context.shape(*output));
                attention::scratch_len(context.isa, longest, context.channels(*output) / heads)
            }
            Step::Attend { input, .. } => attend::scratch_len(context.input.positions_max(context.shape(*input))),
            _ => 0,
        }
    }

    pub(super) fn run(&self, context: Context<'_>, tensors: Tensors<'_>, scratch: &mut [f32]) {
        match &self.prepared {
            Prepared::Product(weights) | Prepared::Stem(weights, _) => self.run_product(context, weights, tensors, scratch),
            Prepared::Nothing | Prepared::Words(_) => self.run_plain(context, tensors, scratch),
        }
    }

    fn run_product(&self, context: Context<'_>, weights: &Weights, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let Context { isa, crew, .. } = context;
        let Tensors { read, also, written } = tensors;
        let (panels, bias) = (weights.panels(context.slab), weights.bias());
        match &self.step {
            Step::Gemm { activation, residual, .. } => {
                run_gemm(context, Product::rows_of(read, panels, bias, *activation, residual.map(|_| also)), written);
            }
            Step::Conv { input, window, activation, .. } => {
                let Shape::Map { height, width, channels } = context.shape(*input) else {
                    unreachable!("the plan checks that conv reads a map")
                };
                let job = Conv { input: read, height, width, channels, window: *window, panels, bias, activation: *activation };
                conv(isa, crew, job, scratch, written);
            }
            Step::Stem { window, activation, .. } => {
                let (GroupInput::Picture(pixels), Shape::Pixels { height, width }, Prepared::Stem(_, table)) =
                    (context.input, context.shapes[0], &self.prepared)
                else {
                    unreachable!("the plan checks that a stem reads pixels");
                };
                let job = Stem { pixels, height, width, table, window: *window, panels, bias, activation: *activation };
                stem(isa, crew, job, scratch, written);
            }
            step => unreachable!("{} has no packed weights", step.kernel()),
        }
    }

    fn run_plain(&self, context: Context<'_>, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let Context { isa, .. } = context;
        let Tensors { read, also, .. } = tensors;
        match &self.step {
            Step::Depthwise { input, weight, bias, window, activation, .. } => {
                let Shape::Map { height, width, channels } = context.shape(*input) else {
                    unreachable!("the plan checks that depthwise reads a map")
                };
                let (weight, bias) = (context.constant(*weight), context.constant(*bias));
                let job = Depthwise { input: read, height, width, channels, window: *window, weight, bias, activation: *activation };
                let row = window.output(width) * channels;
                context.rows(row, 1, tensors.written, |numbers, part| depthwise(isa, job, numbers.start / row, part));
            }
            Step::LayerNorm { gain, shift, epsilon, .. } => {
                let (gain, shift) = (context.constant(*gain), context.constant(*shift));
                context.rows(gain.len(), 1, tensors.written, |numbers, part| layernorm(isa, &read[numbers], gain, shift, *epsilon, part));
            }
            Step::Attention { input, heads, causal, output } => {
                run_attention(context, [*input, *output], *heads, *causal, tensors, scratch);
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
                let positions = context.constant(*positions);
                let words = match &self.prepared {
                    Prepared::Words(words) => words.view(),
                    _ => View::F32(context.constant(*words)),
                };
                for (text, segment) in texts.iter().zip(context.input.segments(shape)) {
                    embed(isa, text, words, positions, width, &mut tensors.written[segment.start * width..segment.end * width]);
                }
            }
            Step::Mean { input, output } => context.items([*input, *output], tensors, |read, written| mean(isa, read, written)),
            Step::Take { input, position, output } => {
                context.items([*input, *output], tensors, |read, written| take(read, *position, written));
            }
            Step::Normalize { output, .. } => normalize(isa, read, context.channels(*output), tensors.written),
            Step::Pairwise { function, output, .. } => context.rows(context.channels(*output), 1, tensors.written, |numbers, part| {
                pairwise(isa, *function, &read[numbers.clone()], &also[numbers], part);
            }),
            Step::Scale { input, output, .. } => {
                let mut factors = also.chunks_exact(context.channels(*output));
                context.items([*input, *output], tensors, |read, written| {
                    let factors = factors.next().unwrap_or(&[]);
                    context.rows(factors.len(), 1, written, |numbers, part| scale(isa, &read[numbers], factors, part));
                });
            }
            step => unreachable!("prepare packs the weights of {}", step.kernel()),
        }
    }
}

/// One product on the crew's threads: cut into rows or, where reading the weights costs more than reading the input, into
/// columns.
fn run_gemm(context: Context<'_>, product: Product<'_>, written: &mut [f32]) {
    let Context { isa, crew, .. } = context;
    let (depth, columns, panel) = (product.panels.depth, product.panels.columns, panel_columns(isa));
    if crew.threads() == 1 || columns <= product.rows || columns <= panel {
        return context.rows(columns, ROWS_STEP, written, |numbers, part| {
            let rows = numbers.start / columns..numbers.end / columns;
            let input = &product.input[rows.start * depth..rows.end * depth];
            gemm(isa, Product { rows: rows.len(), input, residual: product.residual.map(|residual| &residual[numbers]), ..product }, part);
        });
    }
    let length = context.part_rows(columns.div_ceil(panel), 1) * panel;
    let target = Target::new(written);
    crew.run(columns.div_ceil(length), &|part, _| {
        // SAFETY: each part is other columns.
        let target = unsafe { target.copy() };
        gemm_columns(isa, product, [part * length, ((part + 1) * length).min(columns)], target);
    });
}

/// Each head of each item is a part of its own.
fn run_attention(
    context: Context<'_>,
    [from, to]: [TensorId; 2],
    heads: usize,
    is_causal: bool,
    tensors: Tensors<'_>,
    scratch: &mut [f32],
) {
    let (from_width, width) = (context.channels(from), context.channels(to));
    let room = scratch.len() / context.crew.threads();
    let scratch = Target::new(scratch);
    for segment in context.input.segments(context.shape(from)) {
        let queries_keys_values = &tensors.read[segment.start * from_width..segment.end * from_width];
        let job = Attention { queries_keys_values, heads, head_width: width / heads, is_causal };
        let target = Target::new(&mut tensors.written[segment.start * width..segment.end * width]);
        context.crew.run(heads, &|head, worker| {
            // SAFETY: each head writes columns of its own, each worker has room of its own.
            let (target, mut room) = unsafe { (target.copy(), scratch.copy().skip(worker * room).take(room)) };
            attention(context.isa, job, head, room.as_mut_slice(), target);
        });
    }
}
