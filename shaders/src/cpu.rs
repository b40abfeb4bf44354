//! Runs plans on the CPU: weights packed once for the instruction set, working memory planned once, one group of items on
//! each thread, and all threads on one group where there are fewer groups than threads.
//!
//! Pictures go through the plan one at a time, so that a picture's tensors stay in cache; of a picture that several threads share each
//! keeps a band from step to step, and maps too large for the cache are never made as a whole (see [`fuse`]). Texts go in groups whose tokens lie
//! one after the other, without padding: each weight is then read once for a group instead of once for each short text.

pub(crate) mod arena;
mod fuse;
mod group;
mod kernel;

use crate::crew::{Crew, Team};
use crate::executor::{Executor, Input, Program, RunError};
use crate::kernels::number::Storage;
use crate::kernels::stem;
use crate::kernels::weights::Slab;
use crate::plan::{Constant, Plan, PlanError, Shape, Step, TensorId};
use crate::simd::Isa;
use arena::{Arena, Layout, zeros};
use group::{Group, GroupInput, group_sizes};
use kernel::{Context, Kernel, Tensors};
use std::sync::{Arc, Mutex, PoisonError};

/// The executor that is always there. Its programs share its threads; clones are the same executor.
#[derive(Clone, Debug)]
pub struct CpuExecutor {
    isa: Isa,
    storage: Storage,
    team: Arc<Team>,
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
        CpuExecutor { isa, storage: Storage::F32, team: Arc::new(Team::new(threads)) }
    }

    /// Keeps the weights of the programs that it prepares from now on in `storage`; they share the threads of this executor.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> CpuExecutor {
        CpuExecutor { storage, ..self }
    }
}

impl Executor for CpuExecutor {
    fn describe(&self) -> String {
        let threads = self.team.threads();
        format!("CPU, {}, {threads} thread{}", self.isa.name(), if threads == 1 { "" } else { "s" })
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        if plan.outputs().is_empty() {
            return Err(PlanError::Plan { name: plan.name().to_owned(), reason: "it has no output".into() });
        }
        let name = plan.name().to_owned();
        let (shapes, mut constants, steps, outputs) = plan.into_parts();
        let vocabulary = steps.iter().find_map(|step| match step {
            Step::Embed { words, .. } => Some(constants[words.index()].shape[0]),
            _ => None,
        });
        let mut uses = vec![0; constants.len()];
        steps.iter().flat_map(Step::constants).flatten().for_each(|id| uses[id.index()] += 1);
        let length = steps.iter().map(|step| Kernel::slab_len(self.isa, step, &constants)).sum();
        let mut slab =
            Slab::new(self.storage, length).ok_or_else(|| PlanError::Plan { name, reason: format!("no memory for {length} weights") })?;
        // Only tables of words are read where the model's file has them.
        let tables: Vec<usize> =
            steps.iter().filter_map(|step| if let Step::Embed { words, .. } = step { Some(words.index()) } else { None }).collect();
        let is_table = |at: usize| tables.contains(&at);
        let units = fuse::fuse(&shapes, steps, &outputs);
        let layout = Layout::new(&shapes, &units.iter().map(|unit| (unit.inputs(), unit.output())).collect::<Vec<_>>(), &outputs);
        let prepare = |unit| Kernel::prepare(self.isa, self.storage, unit, &mut constants, &mut uses, &mut slab);
        let kernels: Vec<Kernel> = units.into_iter().map(prepare).collect();
        constants.iter_mut().enumerate().filter(|(at, _)| !is_table(*at)).for_each(|(_, constant)| constant.data.hold());
        Ok(Arc::new(CpuProgram {
            isa: self.isa,
            team: self.team.clone(),
            shapes,
            constants,
            slab,
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
    team: Arc<Team>,
    shapes: Vec<Shape>,
    constants: Vec<Constant>,
    slab: Slab,
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
        let groups: Vec<Mutex<Group<'_>>> = self.groups(&sizes, &mut results).into_iter().map(Mutex::new).collect();
        let failure = Mutex::new(None);
        let work = |index: usize, crew: &Crew<'_>| {
            let Group { items: range, outputs } = &mut *groups[index].lock().unwrap_or_else(PoisonError::into_inner);
            let part = match input {
                Input::Pixels(pixels) => {
                    let picture = pixels.len() / items;
                    GroupInput::Picture(&pixels[range.start * picture..][..picture])
                }
                Input::Tokens(texts) => GroupInput::Texts(&texts[range.clone()]),
            };
            if let Err(error) = self.run_group(part, crew, outputs) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let crew = self.team.crew();
        // As long as every thread has a group of its own they do not wait for each other; the last groups are shared step by step.
        let apart = groups.len() / crew.threads() * crew.threads();
        crew.run(apart, &|index, _| work(index, &Crew::alone()));
        (apart..groups.len()).for_each(|index| work(index, &crew));
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(results)
    }

    fn memory_bytes(&self) -> u64 {
        let constants: usize = self.constants.iter().map(|constant| constant.data.memory_bytes()).sum();
        let packed: usize = self.kernels.iter().map(Kernel::memory_bytes).sum();
        let arenas: usize = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Arena::memory_bytes).sum();
        (constants + self.slab.memory_bytes() + packed + arenas) as u64
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
                Ok(group_sizes(texts, self.team.threads()))
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

    fn run_group(&self, input: GroupInput<'_>, crew: &Crew<'_>, outputs: &mut [&mut [f32]]) -> Result<(), RunError> {
        let mut arena = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let rows = input.rows();
        let context = Context { isa: self.isa, crew, shapes: &self.shapes, constants: &self.constants, slab: &self.slab, input };
        let scratch = self.kernels.iter().map(|kernel| kernel.scratch(context)).max().unwrap_or(0);
        let (memory, scratch) = arena.reserve(self.layout.floats(rows), scratch * crew.threads())?;
        let place = |tensor: TensorId| {
            let shape = self.shapes[tensor.index()];
            let positions = input.segments(shape).last().map_or(0, |segment| segment.end);
            self.layout.place(tensor, rows, positions * shape.channels())
        };
        for kernel in &self.kernels {
            let [read, also] = kernel.unit.inputs().map(|tensor| tensor.filter(|tensor| tensor.index() > 0).map_or(0..0, place));
            let written = place(kernel.unit.output());
            // Empty ranges stand for tensors that a step does not have; they overlap nothing.
            let tensors = memory.get_disjoint_mut([read, also, written]).expect("a step's tensors are alive together, so they lie apart");
            let [read, also, written] = tensors;
            kernel.run(context, Tensors { read, also, written }, scratch);
        }
        for (result, output) in outputs.iter_mut().zip(&self.outputs) {
            result.copy_from_slice(&memory[place(*output)]);
        }
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
