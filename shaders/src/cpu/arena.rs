//! Where each tensor lies in a run's working memory: planned once, tensors that are never alive together share their place.

use crate::executor::RunError;
use crate::plan::{Shape, Step, TensorId};
use std::ops::Range;

/// Floats to which every tensor is aligned: one cache line, one AVX-512 register.
const ALIGNMENT: usize = 16;

/// The places of all tensors, in floats for one row of a run: a run of `rows` rows multiplies everything by `rows`. For a
/// picture the row is the whole picture; for texts it is one token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    places: Vec<Range<usize>>,
    floats: usize,
}

impl Layout {
    /// Places all tensors that something reads or writes.
    pub(crate) fn new(shapes: &[Shape], uses: &[Use], outputs: &[TensorId]) -> Layout {
        let lives = lives(shapes.len(), uses, outputs);
        let lengths: Vec<usize> = shapes.iter().zip(&lives).map(|(shape, life)| if life.is_empty() { 0 } else { floats(*shape) }).collect();
        let places = pack(&lengths, &lives);
        Layout { floats: places.iter().map(|place| place.end).max().unwrap_or(0), places }
    }

    /// Floats that a run of `rows` rows works in.
    pub(crate) fn floats(&self, rows: usize) -> usize {
        self.floats * rows + ALIGNMENT
    }

    /// Where a tensor that uses `floats` floats of its place lies in a run of `rows` rows.
    pub(crate) fn place(&self, tensor: TensorId, rows: usize, floats: usize) -> Range<usize> {
        let place = &self.places[tensor.index()];
        debug_assert!(floats <= place.len() * rows);
        place.start * rows..place.start * rows + floats
    }
}

fn floats(shape: Shape) -> usize {
    // Of a sequence, the numbers of one token.
    (shape.positions().max(1) * shape.channels()).next_multiple_of(ALIGNMENT)
}

/// Places ranges of these lengths, the longest first, each at the lowest offset that is free during its whole life.
pub(crate) fn pack(lengths: &[usize], lives: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|index| lengths[*index] > 0).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut places = vec![0..0; lengths.len()];
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let mut taken: Vec<Range<usize>> =
            placed.iter().filter(|other| overlap(&lives[index], &lives[**other])).map(|other| places[*other].clone()).collect();
        taken.sort_by_key(|range| range.start);
        let length = lengths[index];
        let start = taken.iter().fold(0, |start, range| if start + length <= range.start { start } else { start.max(range.end) });
        places[index] = start..start + length;
        placed.push(index);
    }
    places
}

/// What one kernel reads, and what it writes.
pub(crate) type Use = ([Option<TensorId>; 2], TensorId);

/// What each step reads and writes.
pub(crate) fn uses(steps: &[Step]) -> Vec<Use> {
    steps.iter().map(|step| (step.inputs(), step.output())).collect()
}

/// From the kernel that writes a tensor to the last that reads it; outputs live to the end.
pub(crate) fn lives(tensors: usize, uses: &[Use], outputs: &[TensorId]) -> Vec<Range<usize>> {
    let mut lives = vec![0..0; tensors];
    for (index, (inputs, output)) in uses.iter().enumerate() {
        lives[output.index()] = index..index + 1;
        for input in inputs.iter().flatten() {
            lives[input.index()].end = index + 1;
        }
    }
    for output in outputs {
        lives[output.index()].end = uses.len() + 1;
    }
    lives
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The working memory of one run, kept from run to run.
#[derive(Default)]
pub(crate) struct Arena {
    tensors: Vec<f32>,
    /// For kernels that need room of their own.
    pub(crate) scratch: Vec<f32>,
}

impl Arena {
    /// Makes room; what was there is lost. Gives the aligned memory of the tensors, and the scratch.
    pub(crate) fn reserve(&mut self, tensors: usize, scratch: usize) -> Result<(&mut [f32], &mut [f32]), RunError> {
        for (buffer, floats) in [(&mut self.tensors, tensors), (&mut self.scratch, scratch)] {
            if buffer.len() < floats {
                // The old one goes first, so that both are never there together.
                *buffer = Vec::new();
                *buffer = zeros(floats)?;
            }
        }
        let skip = self.tensors.as_ptr().align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT);
        Ok((&mut self.tensors[skip..], &mut self.scratch))
    }

    /// Bytes that it keeps.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.tensors.capacity() + self.scratch.capacity()) * size_of::<f32>()
    }
}

/// So many zeros, or the error that they cannot be had.
pub(crate) fn zeros(floats: usize) -> Result<Vec<f32>, RunError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(floats).map_err(|_| RunError::OutOfMemory(format!("{floats} numbers of working memory")))?;
    buffer.resize(floats, 0.0);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation::Activation;
    use crate::plan::Plan;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A random chain of products with residuals from anywhere earlier of the same width.
        #[test]
        fn tensors_alive_together_never_share(widths in prop::collection::vec((1usize..50, any::<prop::sample::Index>()), 1..30)) {
            let (mut plan, tokens) = Plan::new("chain", Shape::Tokens { length_max: 4 }).expect("valid");
            let table = plan.constant("table", &[8, 3], vec![0.0; 24]).expect("valid");
            let mut all = vec![(plan.embed(tokens, table, table).expect("valid"), 3)];
            for (width, pick) in widths {
                let (from, depth) = all[pick.index(all.len())];
                let weight = plan.constant("weight", &[depth, width], vec![0.0; depth * width]).expect("valid");
                let bias = plan.constant("bias", &[width], vec![0.0; width]).expect("valid");
                let residual = all.iter().find(|(other, other_width)| *other_width == width && *other != from).map(|(other, _)| *other);
                all.push((plan.gemm(from, weight, bias, Activation::None, residual).expect("valid"), width));
            }
            let layout = Layout::new(plan.tensors(), &uses(plan.steps()), plan.outputs());
            for (index, step) in plan.steps().iter().enumerate() {
                let output = step.output().index();
                let later = &plan.steps()[index..];
                for tensor in 1..output {
                    let read_later = later.iter().any(|step| step.inputs().into_iter().flatten().any(|input| input.index() == tensor));
                    if read_later {
                        prop_assert!(!overlap(&layout.places[tensor], &layout.places[output]), "tensor {tensor} while {output} is written");
                    }
                }
            }
            prop_assert!(layout.floats <= plan.tensors().iter().map(|shape| floats(*shape)).sum());
        }
    }

    #[test]
    fn a_chain_needs_two_places() {
        let (mut plan, tokens) = Plan::new("chain", Shape::Tokens { length_max: 4 }).expect("valid");
        let table = plan.constant("table", &[8, 32], vec![0.0; 256]).expect("valid");
        let gain = plan.constant("gain", &[32], vec![0.0; 32]).expect("valid");
        let mut at = plan.embed(tokens, table, table).expect("valid");
        for _ in 0..9 {
            at = plan.layernorm(at, gain, gain, 0.0).expect("valid");
        }
        assert_eq!(Layout::new(plan.tensors(), &uses(plan.steps()), &[]).floats, 64);
    }

    #[test]
    fn more_than_the_memory_is_an_error_and_the_arena_stays_usable() {
        let mut arena = Arena::default();
        assert!(matches!(arena.reserve(usize::MAX / 8, 1), Err(RunError::OutOfMemory(_))));
        assert!(arena.reserve(64, 3).is_ok_and(|(tensors, scratch)| tensors.len() >= 48 && scratch.len() == 3));
    }
}
