//! One step of a plan made ready for an instruction set, and how it is run on one group.
#![allow(unsafe_code, reason = "threads write one tensor, each in columns of its own")]

use super::fuse::Unit;
use super::group::GroupInput;
use crate::crew::Crew;
use crate::kernels::arrange::arrange;
use crate::kernels::attend::{self, attend};
use crate::kernels::attention::{self, Attention, attention};
use crate::kernels::chain::{self, Chain, Dense, chain};
use crate::kernels::conv::{self, Conv, conv};
use crate::kernels::depthwise::{Depthwise, depthwise};
use crate::kernels::elementwise::pairwise;
use crate::kernels::embed::{embed, embed_data};
use crate::kernels::gemm::{Product, gemm, gemm_columns, panel_columns};
use crate::kernels::layernorm::layernorm;
use crate::kernels::normalize::normalize;
use crate::kernels::number::{Numbers, Storage};
use crate::kernels::pool::mean;
use crate::kernels::scale::scale;
use crate::kernels::stem::{self, Stem, Table, stem};
use crate::kernels::take::take;
use crate::kernels::target::Target;
use crate::kernels::weights::{Slab, Weights, halves, slab_len};
use crate::plan::{Constant, ConstantId, Data, Shape, Step, TensorId};
use crate::simd::Isa;
use std::ops::Range;

/// A step, or several that run together, with the constants in the layout of the instruction set.
pub(super) struct Kernel {
    pub(super) unit: Unit,
    prepared: Prepared,
}

/// What a step has beside the plan's constants.
enum Prepared {
    Nothing,
    Product(Weights),
    Stem(Weights, Box<Table>),
    /// Word embeddings that are not kept as the plan has them.
    Words(Numbers),
    /// The products around a filter.
    Chain(Option<Weights>, Weights),
}

/// Parts of a step for each thread: more than one, so that a thread that is slower or comes later leaves some to the others.
const PARTS_PER_THREAD: usize = 2;

/// Rows of one part of a product are a multiple of this, so that tiles are full.
const ROWS_STEP: usize = 8;

/// Fewest positions of a map of which every thread takes a band.
const BAND_ROWS_MIN: usize = 32;

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
        match &self.constants[id.index()].data {
            Data::Held(numbers) => numbers,
            Data::Stored(_) => unreachable!("prepare holds all but tables of words"),
        }
    }

    /// Calls `each` with the numbers that every item has in the tensor read and in the one written.
    fn items(self, [from, to]: [TensorId; 2], tensors: Tensors<'_>, mut each: impl FnMut(&[f32], &mut [f32])) {
        let (from, to) = (self.shape(from), self.shape(to));
        for (read, written) in self.input.segments(from).zip(self.input.segments(to)) {
            let read = &tensors.read[read.start * from.channels()..read.end * from.channels()];
            each(read, &mut tensors.written[written.start * to.channels()..written.end * to.channels()]);
        }
    }

    /// Into how many parts a step is cut.
    fn parts(self) -> usize {
        if self.crew.threads() == 1 { 1 } else { self.crew.threads() * PARTS_PER_THREAD }
    }

    /// Cuts what is written into parts of whole rows of `width` numbers, a multiple of `step` of them, and calls
    /// `each(range of numbers, part)` for each.
    fn rows(self, width: usize, step: usize, written: &mut [f32], each: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        self.crew.pieces(written, width * step, self.parts(), &mut [], |first, part, _| each(first..first + part.len(), part));
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
        unit: Unit,
        constants: &mut [Constant],
        uses: &mut [usize],
        slab: &mut Slab,
    ) -> Kernel {
        let mut replaced = Vec::new();
        let mut product = |step: &Step| match step {
            Step::Gemm { weight, bias, .. } | Step::Conv { weight, bias, .. } | Step::Stem { weight, bias, .. } => {
                replaced.extend([*weight, *bias]);
                slab.add(isa, &constants[weight.index()].data.numbers(), &constants[bias.index()].data.numbers())
            }
            step => unreachable!("{} is no product", step.kernel()),
        };
        let prepared = match &unit {
            Unit::Chain { expand, project, .. } => {
                let expand = expand.as_ref().map(&mut product);
                Prepared::Chain(expand, product(project))
            }
            Unit::One(step @ (Step::Gemm { .. } | Step::Conv { .. })) => Prepared::Product(product(step)),
            Unit::One(step @ Step::Stem { normalisation, .. }) => Prepared::Stem(product(step), Box::new(normalisation.table())),
            Unit::One(Step::Embed { words, .. })
                if storage == Storage::F16 && uses[words.index()] == 1 && matches!(constants[words.index()].data, Data::Held(_)) =>
            {
                replaced.push(*words);
                Prepared::Words(halves(&constants[words.index()].data.numbers()))
            }
            Unit::One(_) => Prepared::Nothing,
        };
        for id in replaced {
            uses[id.index()] -= 1;
            if uses[id.index()] == 0 {
                constants[id.index()].data = Data::default();
            }
        }
        Kernel { unit, prepared }
    }

    /// Bytes of what is prepared, beside the slab.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.prepared {
            Prepared::Nothing => 0,
            Prepared::Product(weights) => size_of_val(weights.bias()),
            Prepared::Stem(weights, table) => size_of_val(weights.bias()) + size_of_val(&**table),
            Prepared::Words(words) => words.memory_bytes(),
            Prepared::Chain(expand, project) => expand.iter().chain([project]).map(|weights| size_of_val(weights.bias())).sum(),
        }
    }

    /// Floats of scratch that each thread needs for a group.
    pub(super) fn scratch(&self, context: Context<'_>) -> usize {
        let step = match &self.unit {
            Unit::Chain { expand, filter, .. } => return scratch_of_chain(context, filter, expand.is_some()),
            Unit::One(step) => step,
        };
        match step {
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
        match (&self.unit, &self.prepared) {
            (Unit::Chain { expand, filter, project }, Prepared::Chain(first, last)) => {
                run_chain(context, expand.as_ref().zip(first.as_ref()), filter, (project, last), tensors, scratch);
            }
            (Unit::One(step), Prepared::Product(weights) | Prepared::Stem(weights, _)) => {
                self.run_product(context, step, weights, tensors, scratch);
            }
            (Unit::One(step), _) => self.run_plain(context, step, tensors, scratch),
            (Unit::Chain { .. }, _) => unreachable!("prepare packs the weights of a chain"),
        }
    }

    fn run_product(&self, context: Context<'_>, step: &Step, weights: &Weights, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let Context { isa, crew, .. } = context;
        let Tensors { read, also, written } = tensors;
        let (panels, bias) = (weights.panels(context.slab), weights.bias());
        match step {
            Step::Gemm { activation, residual, output, .. } => {
                let product = Product::rows_of(read, panels, bias, *activation, residual.map(|_| also));
                run_gemm(context, context.shape(*output), product, written);
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

    fn run_plain(&self, context: Context<'_>, step: &Step, tensors: Tensors<'_>, scratch: &mut [f32]) {
        let Context { isa, .. } = context;
        let Tensors { read, also, .. } = tensors;
        match step {
            Step::Depthwise { input, weight, bias, window, activation, .. } => {
                let Shape::Map { height, width, channels } = context.shape(*input) else {
                    unreachable!("the plan checks that depthwise reads a map")
                };
                let (weight, bias) = (context.constant(*weight), context.constant(*bias));
                let job =
                    Depthwise { input: read, first: 0, height, width, channels, window: *window, weight, bias, activation: *activation };
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
            Step::Arrange { input, around, positions, output } => {
                let channels = context.channels(*output);
                let around = around.map(|around| context.constant(around.rows).split_at(around.front * channels));
                let positions = positions.map(|id| context.constant(id));
                context
                    .items([*input, *output], tensors, |read, written| arrange(isa, read, around.unwrap_or_default(), positions, written));
            }
            Step::Embed { words, positions, output, .. } => {
                let GroupInput::Texts(texts) = context.input else { unreachable!("the plan checks that embed reads tokens") };
                let (width, shape) = (context.channels(*output), context.shape(*output));
                let positions = context.constant(*positions);
                let table = &context.constants[words.index()].data;
                for (text, segment) in texts.iter().zip(context.input.segments(shape)) {
                    let written = &mut tensors.written[segment.start * width..segment.end * width];
                    match &self.prepared {
                        Prepared::Words(words) => embed(isa, text, words.view(), positions, width, written),
                        _ => embed_data(isa, text, table, positions, width, written),
                    }
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

/// The map that a filter reads.
fn filtered(context: Context<'_>, filter: &Step) -> [usize; 3] {
    match filter {
        Step::Depthwise { input, .. } => match context.shape(*input) {
            Shape::Map { height, width, channels } => [height, width, channels],
            shape => unreachable!("the plan checks that depthwise reads a map, not {shape:?}"),
        },
        step => unreachable!("{} is no filter", step.kernel()),
    }
}

fn scratch_of_chain(context: Context<'_>, filter: &Step, expands: bool) -> usize {
    let (Step::Depthwise { window, .. }, [height, width, wide]) = (filter, filtered(context, filter)) else { return 0 };
    chain::scratch_len([height, width], wide, *window, expands)
}

fn run_chain(
    context: Context<'_>,
    expand: Option<(&Step, &Weights)>,
    filter: &Step,
    project: (&Step, &Weights),
    tensors: Tensors<'_>,
    scratch: &mut [f32],
) {
    let dense = |(step, weights): (&Step, &Weights)| match step {
        Step::Gemm { activation, residual, .. } => (weights.panels(context.slab), *activation, *residual),
        step => unreachable!("{} is no product", step.kernel()),
    };
    let (Step::Depthwise { input, weight, bias, window, activation, .. }, [height, width, _]) = (filter, filtered(context, filter)) else {
        return;
    };
    let first = match expand {
        Some((Step::Gemm { input, .. }, _)) => *input,
        _ => *input,
    };
    let (panels, curve, residual) = dense(project);
    let (read, also) = (tensors.read, tensors.also);
    let job = Chain {
        input: read,
        height,
        width,
        expand: expand.map(|expand| {
            let (panels, activation, _) = dense(expand);
            Dense { panels, bias: expand.1.bias(), activation }
        }),
        window: *window,
        weight: context.constant(*weight),
        bias: context.constant(*bias),
        activation: *activation,
        project: Dense { panels, bias: project.1.bias(), activation: curve },
        residual: residual.map(|residual| if residual == first { read } else { also }),
    };
    // Where the wide map is made on the way, the rows at the edge of each band are made twice.
    let parts = if expand.is_some() { context.crew.threads() } else { context.parts() };
    chain(context.isa, context.crew, job, parts, scratch, tensors.written);
}

/// One product on the crew's threads: cut into rows or, where reading the weights costs more than reading the input, into
/// columns.
fn run_gemm(context: Context<'_>, shape: Shape, product: Product<'_>, written: &mut [f32]) {
    let Context { isa, crew, .. } = context;
    let (depth, columns, panel) = (product.panels.depth, product.panels.columns, panel_columns(isa));
    // A map stays in bands, each in one core's cache from step to step.
    let is_cut_into_rows = if matches!(shape, Shape::Map { .. }) { product.rows >= BAND_ROWS_MIN } else { columns <= product.rows };
    if crew.threads() == 1 || columns <= panel || is_cut_into_rows {
        return context.rows(columns, ROWS_STEP, written, |numbers, part| {
            let rows = numbers.start / columns..numbers.end / columns;
            let input = &product.input[rows.start * depth..rows.end * depth];
            gemm(isa, Product { rows: rows.len(), input, residual: product.residual.map(|residual| &residual[numbers]), ..product }, part);
        });
    }
    let panels = columns.div_ceil(panel);
    let parts = context.parts().min(panels);
    let first = |part: usize| (part * panels / parts * panel).min(columns);
    let target = Target::new(written);
    crew.run(parts, &|part, _| {
        // SAFETY: each part is other columns.
        let target = unsafe { target.copy() };
        gemm_columns(isa, product, [first(part), first(part + 1)], target);
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
