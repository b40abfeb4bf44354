//! Where each tensor lies in a run's memory: as on the CPU, tensors that are never alive together share their place. There are
//! several buffers, since a dispatch may not read and write the same one.

use crate::cpu::arena::{lives, pack, uses};
use crate::plan::{Step, TensorId};
use std::ops::Range;

/// A dispatch reads at most two tensors and writes one, so a third buffer is always free for the result.
pub(crate) const BUFFERS: usize = 3;

/// The buffer of each tensor; a step's result is never in one that the step reads.
pub(crate) fn buffers(tensors: usize, steps: &[Step]) -> Vec<usize> {
    let mut buffers = vec![0; tensors];
    for step in steps {
        let read: Vec<usize> = step.inputs().into_iter().flatten().map(|tensor| buffers[tensor.index()]).collect();
        buffers[step.output().index()] = (0..BUFFERS).find(|buffer| !read.contains(buffer)).unwrap_or(0);
    }
    buffers
}

/// The places of all tensors for one size of run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes, within the tensor's buffer.
    pub(crate) places: Vec<Range<usize>>,
    /// Bytes of each buffer.
    pub(crate) sizes: [usize; BUFFERS],
}

impl Layout {
    /// Places tensors of so many `bytes` (0: none), which are whole multiples of the alignment that bindings need.
    pub(crate) fn new(bytes: &[usize], buffers: &[usize], steps: &[Step], outputs: &[TensorId]) -> Layout {
        let lives = lives(bytes.len(), &uses(steps), outputs);
        let mut layout = Layout { places: vec![0..0; bytes.len()], sizes: [0; BUFFERS] };
        for (buffer, size) in layout.sizes.iter_mut().enumerate() {
            let members: Vec<usize> = (0..bytes.len()).filter(|tensor| buffers[*tensor] == buffer && bytes[*tensor] > 0).collect();
            let lengths: Vec<usize> = members.iter().map(|tensor| bytes[*tensor]).collect();
            let lives: Vec<Range<usize>> = members.iter().map(|tensor| lives[*tensor].clone()).collect();
            for (tensor, place) in members.iter().zip(pack(&lengths, &lives)) {
                *size = (*size).max(place.end);
                layout.places[*tensor] = place;
            }
        }
        layout
    }
}
