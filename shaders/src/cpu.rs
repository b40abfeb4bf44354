//! Runs plans on the CPU: weights packed once for the instruction set, working memory planned once, one group of items on
//! each thread.
//!
//! Pictures go through the plan one at a time, so that a picture's tensors stay in cache. Texts go in groups whose tokens lie
//! one after the other, without padding: each weight is then read once for a group instead of once for each short text.

mod arena;
mod group;
mod kernel;

use crate::executor::{Executor, Input, Program, RunError};
use crate::kernels::stem;
use crate::plan::{Constant, Plan, PlanError, Shape, Step, TensorId};
use crate::simd::Isa;
use arena::{Arena, Layout, zeros};
use group::{Group, GroupInput, group_sizes};
use kernel::{Context, Kernel, Tensors};
use std::sync::{Arc, Mutex, PoisonError};

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

impl Program for CpuProgram {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let sizes = self.sizes(input)?;
        let items: usize = sizes.iter().sum();
        let mut results =
            self.outputs.iter().map(|output| zeros(items * self.item_floats(*output))).collect::<Result<Vec<_>, RunError>>()?;
        let groups = self.groups(&sizes, &mut results);
        let threads = self.threads.min(groups.len());
        let queue = Mutex::new(groups.into_iter());
        let failure = Mutex::new(None);
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
                if let Err(error) = self.run_group(part, &mut arena, &mut group.outputs) {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
            self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(results)
    }

    fn memory_bytes(&self) -> u64 {
        let constants: usize = self.constants.iter().map(|constant| size_of_val(&constant.data[..])).sum();
        let packed: usize = self.kernels.iter().map(Kernel::memory_bytes).sum();
        let arenas: usize = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Arena::memory_bytes).sum();
        (constants + packed + arenas) as u64
    }
}

impl CpuProgram {
    /// Numbers of one item in an output.
    fn item_floats(&self, output: TensorId) -> usize {
        let shape = self.shapes[output.index()];
        shape.positions() * shape.channels()
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
                    let (part, left) = std::mem::take(rest).split_at_mut(size * self.item_floats(*output));
                    *rest = left;
                    part
                });
                Group { items, outputs: outputs.collect() }
            })
            .collect()
    }

    fn run_group(&self, input: GroupInput<'_>, arena: &mut Arena, outputs: &mut [&mut [f32]]) -> Result<(), RunError> {
        let rows = input.rows();
        let context = Context { isa: self.isa, shapes: &self.shapes, constants: &self.constants, input };
        let scratch = self.kernels.iter().map(|kernel| kernel.scratch(context)).max().unwrap_or(0);
        let (memory, scratch) = arena.reserve(self.layout.floats(rows), scratch)?;
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
            kernel.run(context, Tensors { read, also, written }, scratch);
        }
        for (result, output) in outputs.iter_mut().zip(&self.outputs) {
            result.copy_from_slice(&memory[place(*output)]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
