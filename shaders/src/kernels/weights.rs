//! The packed weights of a program, all in one piece of memory: what is freed while a model is loaded then leaves no holes.

use super::gemm::{Panels, pack, packed_len};
use super::number::{Number, Numbers, Storage, View};
use crate::simd::Isa;
use half::f16;

/// Numbers to which each matrix is aligned: a cache line in either precision.
const ALIGNMENT: usize = 32;

/// The memory of all packed weights.
pub(crate) struct Slab {
    numbers: Numbers,
    used: usize,
}

/// Numbers of a slab that the packed form of a `[depth, columns]` matrix takes.
pub(crate) fn slab_len(isa: Isa, depth: usize, columns: usize) -> usize {
    packed_len(isa, depth, columns).next_multiple_of(ALIGNMENT)
}

impl Slab {
    /// Room for `length` numbers, the sum of [`slab_len`] of all matrices; `None` where there is not so much memory.
    pub(crate) fn new(storage: Storage, length: usize) -> Option<Slab> {
        // Filled matrix by matrix, so that memory is used only as the plan's own copies are freed.
        fn room<T: Number>(length: usize) -> Option<(Vec<T>, usize)> {
            let mut numbers: Vec<T> = Vec::new();
            numbers.try_reserve_exact(length.checked_add(ALIGNMENT)?).ok()?;
            let skip = numbers.as_ptr().align_offset(ALIGNMENT * size_of::<T>()).min(ALIGNMENT);
            Some((numbers, skip))
        }
        Some(match storage {
            Storage::F32 => {
                let (numbers, used) = room(length)?;
                Slab { numbers: Numbers::F32(numbers), used }
            }
            Storage::F16 => {
                let (numbers, used) = room(length)?;
                Slab { numbers: Numbers::F16(numbers), used }
            }
        })
    }

    /// Packs `weight` (`[depth, columns]`, row-major; as many columns as `bias` has numbers) for `isa`.
    pub(crate) fn add(&mut self, isa: Isa, weight: &[f32], bias: &[f32]) -> Weights {
        let (columns, depth) = (bias.len(), weight.len() / bias.len());
        let at = self.used;
        let end = at + packed_len(isa, depth, columns);
        let element = |k: usize, column: usize| weight[k * columns + column];
        fn fill<T: Number>(numbers: &mut Vec<T>, [at, end]: [usize; 2], pack: impl FnOnce(&mut [T])) {
            numbers.resize(end, T::default());
            pack(&mut numbers[at..]);
        }
        match &mut self.numbers {
            Numbers::F32(numbers) => fill(numbers, [at, end], |part| pack(isa.width(), depth, columns, part, element)),
            Numbers::F16(numbers) => fill(numbers, [at, end], |part| pack(isa.width(), depth, columns, part, element)),
        }
        self.used = at + slab_len(isa, depth, columns);
        Weights { depth, columns, at, end, bias: bias.to_vec() }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.numbers.memory_bytes()
    }
}

/// One matrix in a slab, with its bias.
pub(crate) struct Weights {
    depth: usize,
    columns: usize,
    at: usize,
    end: usize,
    bias: Vec<f32>,
}

impl Weights {
    /// The matrix, in the slab that it was added to.
    pub(crate) fn panels<'a>(&self, slab: &'a Slab) -> Panels<'a> {
        let data = match slab.numbers.view() {
            View::F32(numbers) => View::F32(&numbers[self.at..self.end]),
            View::F16(numbers) => View::F16(&numbers[self.at..self.end]),
        };
        Panels { depth: self.depth, columns: self.columns, data }
    }

    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }
}

/// The numbers of a table in half precision.
pub(crate) fn halves(numbers: &[f32]) -> Numbers {
    Numbers::F16(numbers.iter().map(|number| <f16 as Number>::from_f32(*number)).collect())
}

/// One matrix in a slab of its own, for tests.
#[cfg(test)]
pub(crate) fn alone(isa: Isa, storage: Storage, weight: &[f32], bias: &[f32]) -> (Slab, Weights) {
    let mut slab = Slab::new(storage, slab_len(isa, weight.len() / bias.len(), bias.len())).expect("fits");
    let weights = slab.add(isa, weight, bias);
    (slab, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_memory_is_refused() {
        for storage in [Storage::F32, Storage::F16] {
            assert!(Slab::new(storage, usize::MAX / 16).is_none() && Slab::new(storage, usize::MAX).is_none());
        }
    }

    #[test]
    fn matrices_lie_side_by_side() {
        for (storage, isa) in [(Storage::F32, Isa::SCALAR), (Storage::F16, Isa::best())] {
            let mut slab = Slab::new(storage, slab_len(isa, 2, 3) + slab_len(isa, 1, 1)).expect("fits");
            let first = slab.add(isa, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0.0; 3]);
            let second = slab.add(isa, &[7.0], &[8.0]);
            let row = 3usize.next_multiple_of(isa.width());
            assert_eq!([0, 2, row].map(|at| first.panels(&slab).data.at(at)), [1.0, 3.0, 4.0]);
            assert_eq!((second.panels(&slab).data.at(0), second.bias()), (7.0, &[8.0][..]));
            assert!(slab.memory_bytes() > 0);
        }
    }
}
