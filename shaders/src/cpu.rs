//! Runs plans on the CPU: weights packed once for the instruction set, working memory planned once, one group of items on
//! each thread.
//!
//! Pictures go through the plan one at a time, so that a picture's tensors stay in cache. Texts go in groups whose tokens lie
//! one after the other, without padding: each weight is then read once for a group instead of once for each short text.

pub(crate) mod arena;

use crate::executor::{Executor, Input, Program, RunError};
use crate::kernels::attention::{self, attention};
use crate::kernels::depthwise::{Depthwise, depthwise};
use crate::kernels::elementwise::pairwise;
use crate::kernels::embed::embed;
use crate::kernels::gemm::{Product, Weights, gemm};
use crate::kernels::layernorm::layernorm;
use crate::kernels::normalize::normalize;
use crate::kernels::pool::mean;
use crate::kernels::stem::{self, Stem, stem};
use crate::plan::{Constant, ConstantId, Plan, PlanError, Shape, Step, TensorId};
use crate::simd::Isa;
use arena::{Arena, Layout};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens of one group of texts, unless a single text is longer: enough to read each weight seldom, few enough for the cache.
const GROUP_TOKENS: usize = 192;

/// The executor that is always there.
#[derive(Clone, Copy, Debug)]
pub struct CpuExecutor {
    isa: Isa,
    threads: usize,
}

impl CpuExecutor {
    /// Uses the best instruction set of this machine and at most `threads` threads a run (at least one).
    #[must_use]
    pub fn new(threads: usize) -> CpuExecutor {
        CpuExecutor::with_isa(Isa::best(), threads)
    }

    /// Uses a chosen instruction set: for tests and comparisons.
    #[must_use]
    pub fn with_isa(isa: Isa, threads: usize) -> CpuExecutor {
        CpuExecutor { isa, threads: threads.max(1) }
    }
}

impl Executor for CpuExecutor {
    fn describe(&self) -> String {
        format!("CPU, {}, {} thread{}", self.isa.name(), self.threads, if self.threads == 1 { "" } else { "s" })
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        if plan.outputs().is_empty() {
            return Err(PlanError::Plan { name: plan.name().to_owned(), reason: "it has no output".into() });
        }
        let (shapes, mut constants, steps, outputs) = plan.into_parts();
        let layout = Layout::new(&shapes, &steps, &outputs);
        let vocabulary = steps.iter().find_map(|step| match step {
            Step::Embed { words, .. } => Some(constants[words.index()].shape[0]),
            _ => None,
        });
        let mut uses = vec![0; constants.len()];
        steps.iter().flat_map(Step::constants).flatten().for_each(|id| uses[id.index()] += 1);
        let kernels = steps.into_iter().map(|step| Kernel::prepare(self.isa, step, &mut constants, &mut uses)).collect();
        Ok(Arc::new(CpuProgram {
            isa: self.isa,
            threads: self.threads,
            shapes,
            constants,
            kernels,
            outputs,
            layout,
            vocabulary,
            arenas: Mutex::default(),
        }))
    }
}

/// A step with its weights in the layout of the instruction set.
struct Kernel {
    step: Step,
    weights: Option<Weights>,
    /// Of a stem.
    table: Option<Box<[f32; 256]>>,
}

impl Kernel {
    /// Packs the step's weights. Numbers that only packed steps use are freed as soon as the last of them has its copy.
    fn prepare(isa: Isa, step: Step, constants: &mut [Constant], uses: &mut [usize]) -> Kernel {
        let (weight, bias, table) = match &step {
            Step::Gemm { weight, bias, .. } => (*weight, *bias, None),
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
}

struct CpuProgram {
    isa: Isa,
    threads: usize,
    shapes: Vec<Shape>,
    constants: Vec<Constant>,
    kernels: Vec<Kernel>,
    outputs: Vec<TensorId>,
    layout: Layout,
    vocabulary: Option<usize>,
    /// Working memory of threads that are not running: never more than have run at once.
    arenas: Mutex<Vec<Arena>>,
}

/// Items that one thread takes through the plan together, and where their results go.
struct Group<'o> {
    items: Range<usize>,
    outputs: Vec<&'o mut [f32]>,
}

/// The input of one group.
#[derive(Clone, Copy)]
enum GroupInput<'a> {
    Picture(&'a [u8]),
    Texts(&'a [&'a [u32]]),
}

impl GroupInput<'_> {
    /// Rows of the run (see [`Layout`]).
    fn rows(self) -> usize {
        match self {
            GroupInput::Picture(_) => 1,
            GroupInput::Texts(texts) => texts.iter().map(|text| text.len()).sum(),
        }
    }

    fn items(self) -> usize {
        match self {
            GroupInput::Picture(_) => 1,
            GroupInput::Texts(texts) => texts.len(),
        }
    }

    /// The positions of each item within a tensor of `shape`, in order.
    fn segments(self, shape: Shape) -> impl Iterator<Item = Range<usize>> {
        let texts = match self {
            GroupInput::Picture(_) => None,
            GroupInput::Texts(texts) => Some(texts),
        };
        let mut end = 0;
        (0..self.items()).map(move |item| {
            let length = match shape {
                Shape::Map { height, width, .. } => height * width,
                Shape::Sequence { .. } => texts.map_or(0, |texts| texts[item].len()),
                _ => 1,
            };
            end += length;
            end - length..end
        })
    }
}

impl Program for CpuProgram {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let sizes = self.sizes(input)?;
        let items: usize = sizes.iter().sum();
        let mut results: Vec<Vec<f32>> = self.outputs.iter().map(|output| vec![0.0; items * self.channels(*output)]).collect();
        let groups = self.groups(&sizes, &mut results);
        let threads = self.threads.min(groups.len());
        let queue = Mutex::new(groups.into_iter());
        let work = || {
            let mut arena = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            loop {
                // The lock is released before the group is worked on.
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(mut group) = next else { break };
                let part = match input {
                    Input::Pixels(pixels) => {
                        let picture = pixels.len() / items;
                        GroupInput::Picture(&pixels[group.items.start * picture..][..picture])
                    }
                    Input::Tokens(texts) => GroupInput::Texts(&texts[group.items.clone()]),
                };
                self.run_group(part, &mut arena, &mut group.outputs);
            }
            self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        Ok(results)
    }
}

impl CpuProgram {
    fn channels(&self, tensor: TensorId) -> usize {
        self.shapes[tensor.index()].channels()
    }

    /// Checks the input; gives the number of items of each group.
    fn sizes(&self, input: Input<'_>) -> Result<Vec<usize>, RunError> {
        match (self.shapes[0], input) {
            (Shape::Pixels { height, width }, Input::Pixels(pixels)) => {
                let picture = height * width * stem::COLOURS;
                if !pixels.len().is_multiple_of(picture) {
                    return Err(RunError::Pixels { bytes: pixels.len(), picture });
                }
                Ok(vec![1; pixels.len() / picture])
            }
            (Shape::Tokens { length_max }, Input::Tokens(texts)) => {
                let vocabulary = self.vocabulary.unwrap_or(0);
                for (item, text) in texts.iter().enumerate() {
                    if text.is_empty() || text.len() > length_max {
                        return Err(RunError::Length { item, length: text.len(), length_max });
                    }
                    if let Some(token) = text.iter().find(|token| **token as usize >= vocabulary) {
                        return Err(RunError::Token { item, token: *token, vocabulary });
                    }
                }
                Ok(group_sizes(texts, self.threads))
            }
            _ => Err(RunError::Kind),
        }
    }

    /// Cuts the results into the parts that each group writes.
    fn groups<'o>(&self, sizes: &[usize], results: &'o mut [Vec<f32>]) -> Vec<Group<'o>> {
        let mut rests: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        let mut first = 0;
        sizes
            .iter()
            .map(|size| {
                let items = first..first + size;
                first = items.end;
                let outputs = rests.iter_mut().zip(&self.outputs).map(|(rest, output)| {
                    let (part, left) = std::mem::take(rest).split_at_mut(size * self.channels(*output));
                    *rest = left;
                    part
                });
                Group { items, outputs: outputs.collect() }
            })
            .collect()
    }

    fn run_group(&self, input: GroupInput<'_>, arena: &mut Arena, outputs: &mut [&mut [f32]]) {
        let rows = input.rows();
        let scratch = self.kernels.iter().map(|kernel| self.scratch(kernel, input)).max().unwrap_or(0);
        let (memory, scratch) = arena.reserve(self.layout.floats(rows), scratch);
        let place = |tensor: TensorId| {
            let shape = self.shapes[tensor.index()];
            let positions = input.segments(shape).last().map_or(0, |segment| segment.end);
            self.layout.place(tensor, rows, positions * shape.channels())
        };
        for kernel in &self.kernels {
            let [read, also] = kernel.step.inputs().map(|tensor| tensor.filter(|tensor| tensor.index() > 0).map_or(0..0, place));
            let written = place(kernel.step.output());
            // Empty ranges stand for tensors that a step does not have; they overlap nothing.
            let tensors = memory.get_disjoint_mut([read, also, written]).expect("a step's tensors are alive together, so they lie apart");
            let [read, also, written] = tensors;
            self.run_kernel(kernel, input, read, also, written, scratch);
        }
        for (result, output) in outputs.iter_mut().zip(&self.outputs) {
            result.copy_from_slice(&memory[place(*output)]);
        }
    }

    fn scratch(&self, kernel: &Kernel, input: GroupInput<'_>) -> usize {
        match (&kernel.step, self.shapes[0], input) {
            (Step::Stem { window, .. }, Shape::Pixels { width, .. }, _) => stem::scratch_len(*window, width),
            (Step::Attention { heads, output, .. }, _, GroupInput::Texts(texts)) => {
                let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
                attention::scratch_len(self.isa, longest, self.channels(*output) / heads)
            }
            _ => 0,
        }
    }

    fn run_kernel(&self, kernel: &Kernel, input: GroupInput<'_>, read: &[f32], also: &[f32], written: &mut [f32], scratch: &mut [f32]) {
        let isa = self.isa;
        let constant = |id: ConstantId| &self.constants[id.index()].data[..];
        let shape = |tensor: TensorId| self.shapes[tensor.index()];
        match (&kernel.step, &kernel.weights) {
            (Step::Gemm { activation, residual, .. }, Some(weights)) => {
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
            (Step::Stem { window, activation, .. }, Some(weights)) => {
                let (GroupInput::Picture(pixels), Shape::Pixels { height, width }, Some(table)) = (input, self.shapes[0], &kernel.table)
                else {
                    unreachable!("the plan checks that a stem reads pixels");
                };
                let job = Stem { pixels, height, width, table, window: *window, weights, activation: *activation };
                stem(isa, job, scratch, written);
            }
            (Step::Depthwise { input: from, weight, bias, window, activation, .. }, _) => {
                let Shape::Map { height, width, channels } = shape(*from) else {
                    unreachable!("the plan checks that depthwise reads a map")
                };
                let (weight, bias) = (constant(*weight), constant(*bias));
                let job = Depthwise { input: read, height, width, channels, window: *window, weight, bias, activation: *activation };
                depthwise(isa, job, written);
            }
            (Step::LayerNorm { gain, shift, epsilon, .. }, _) => layernorm(isa, read, constant(*gain), constant(*shift), *epsilon, written),
            (Step::Attention { input: from, heads, output }, _) => {
                let (from_width, width) = (self.channels(*from), self.channels(*output));
                for segment in input.segments(shape(*from)) {
                    let queries_keys_values = &read[segment.start * from_width..segment.end * from_width];
                    attention(
                        isa,
                        queries_keys_values,
                        *heads,
                        width / heads,
                        scratch,
                        &mut written[segment.start * width..segment.end * width],
                    );
                }
            }
            (Step::Embed { words, positions, output, .. }, _) => {
                let GroupInput::Texts(texts) = input else { unreachable!("the plan checks that embed reads tokens") };
                let width = self.channels(*output);
                for (text, segment) in texts.iter().zip(input.segments(shape(*output))) {
                    embed(
                        isa,
                        text,
                        constant(*words),
                        constant(*positions),
                        width,
                        &mut written[segment.start * width..segment.end * width],
                    );
                }
            }
            (Step::Mean { input: from, output }, _) => {
                let width = self.channels(*output);
                for (segment, result) in input.segments(shape(*from)).zip(written.chunks_exact_mut(width)) {
                    mean(isa, &read[segment.start * width..segment.end * width], result);
                }
            }
            (Step::Normalize { output, .. }, _) => normalize(isa, read, self.channels(*output), written),
            (Step::Pairwise { function, .. }, _) => pairwise(isa, *function, read, also, written),
            (Step::Gemm { .. } | Step::Stem { .. }, None) => unreachable!("prepare packs the weights of both"),
        }
    }
}

/// Items of each group of texts: consecutive, up to [`GROUP_TOKENS`], and at least one group for each thread.
fn group_sizes(texts: &[&[u32]], threads: usize) -> Vec<usize> {
    let total: usize = texts.iter().map(|text| text.len()).sum();
    let aim = total.div_ceil(threads).clamp(1, GROUP_TOKENS);
    let mut sizes = Vec::new();
    let mut tokens = 0;
    for text in texts {
        match sizes.last_mut() {
            Some(size) if tokens + text.len() <= aim => *size += 1,
            _ => {
                sizes.push(1);
                tokens = 0;
            }
        }
        tokens += text.len();
    }
    sizes
}

#[cfg(test)]
mod tests;
