//! Where a constant's numbers are: in memory of their own, or still in the model's file.

use crate::kernels::number::View;
use half::slice::HalfBitsSliceExt as _;
use half::{bf16, f16};
use std::borrow::Cow;
use std::sync::Arc;

/// How a file writes floats, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl Floats {
    /// Of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        if self == Floats::F32 { 4 } else { 2 }
    }

    /// The numbers of `bytes`; what is left over is passed by.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Vec<f32> {
        let mut numbers = vec![0.0; bytes.len() / self.bytes()];
        self.read_into(bytes, &mut numbers);
        numbers
    }

    /// Fills `numbers` from the beginning of `bytes`.
    fn read_into(self, bytes: &[u8], numbers: &mut [f32]) {
        let halves = bytes.as_chunks().0;
        match self {
            Floats::F32 => numbers.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, from)| *to = f32::from_le_bytes(*from)),
            Floats::F16 => numbers.iter_mut().zip(halves).for_each(|(to, from)| *to = f16::from_le_bytes(*from).to_f32()),
            Floats::Bf16 => numbers.iter_mut().zip(halves).for_each(|(to, from)| *to = bf16::from_le_bytes(*from).to_f32()),
        }
    }
}

/// The bytes of a file, in memory or mapped.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Numbers that stay where a model's file has them: of a large table of which a run reads few rows, only these rows are ever
/// brought into memory, and the system may take them back.
#[derive(Clone)]
pub struct Stored {
    bytes: Bytes,
    start: usize,
    count: usize,
    floats: Floats,
}

impl Stored {
    /// `count` numbers of `bytes` from byte `start` on; `None` where there are not so many.
    #[must_use]
    pub fn new(bytes: Bytes, start: usize, count: usize, floats: Floats) -> Option<Stored> {
        let end = count.checked_mul(floats.bytes())?.checked_add(start)?;
        (end <= (*bytes).as_ref().len()).then_some(Stored { bytes, start, count, floats })
    }

    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        const CHUNK: usize = 4096;
        let mut numbers = [0.0; CHUNK];
        self.raw().chunks(CHUNK * self.floats.bytes()).all(|bytes| {
            let numbers = &mut numbers[..bytes.len() / self.floats.bytes()];
            self.floats.read_into(bytes, numbers);
            numbers.iter().all(|number| number.is_finite())
        })
    }

    fn raw(&self) -> &[u8] {
        &(*self.bytes).as_ref()[self.start..][..self.count * self.floats.bytes()]
    }

    /// As registers can load them: where they are aligned, and of a kind that has a kernel.
    fn view(&self) -> Option<View<'_>> {
        match self.floats {
            _ if cfg!(target_endian = "big") => None,
            Floats::F32 => bytemuck::try_cast_slice(self.raw()).ok().map(View::F32),
            Floats::F16 => bytemuck::try_cast_slice::<u8, u16>(self.raw()).ok().map(|bits| View::F16(bits.reinterpret_cast())),
            Floats::Bf16 => None,
        }
    }
}

/// Where a constant's numbers are.
#[derive(Clone)]
pub enum Data {
    /// In memory that all clones of the plan share.
    Held(Arc<[f32]>),
    /// In the model's file.
    Stored(Stored),
}

impl std::fmt::Debug for Data {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if matches!(self, Data::Held(_)) { "held" } else { "stored" };
        write!(formatter, "{} numbers, {place}", self.len())
    }
}

impl Default for Data {
    fn default() -> Data {
        Data::Held(Arc::default())
    }
}

impl From<Vec<f32>> for Data {
    fn from(numbers: Vec<f32>) -> Data {
        Data::Held(numbers.into())
    }
}

impl From<Stored> for Data {
    fn from(stored: Stored) -> Data {
        Data::Stored(stored)
    }
}

impl Data {
    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Data::Held(numbers) => numbers.len(),
            Data::Stored(stored) => stored.count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them; what is stored is read.
    #[must_use]
    pub fn numbers(&self) -> Cow<'_, [f32]> {
        match self {
            Data::Held(numbers) => Cow::Borrowed(numbers),
            Data::Stored(stored) => Cow::Owned(stored.floats.read(stored.raw())),
        }
    }

    /// Bytes of memory of their own.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Data::Held(numbers) => size_of_val(&numbers[..]),
            Data::Stored(_) => 0,
        }
    }

    /// Brings them into memory.
    pub(crate) fn hold(&mut self) {
        if let Data::Stored(_) = self {
            *self = Data::from(self.numbers().into_owned());
        }
    }

    /// As registers can load them, if they can.
    pub(crate) fn view(&self) -> Option<View<'_>> {
        match self {
            Data::Held(numbers) => Some(View::F32(numbers)),
            Data::Stored(stored) => stored.view(),
        }
    }

    /// Fills `row` with the numbers from `first` on.
    ///
    /// # Panics
    /// When there are not so many.
    pub(crate) fn read_row(&self, first: usize, row: &mut [f32]) {
        match self {
            Data::Held(numbers) => row.copy_from_slice(&numbers[first..first + row.len()]),
            Data::Stored(stored) => {
                let width = stored.floats.bytes();
                stored.floats.read_into(&stored.raw()[first * width..(first + row.len()) * width], row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(floats: Floats, numbers: &[f32]) -> Vec<u8> {
        let bytes = |number: &f32| match floats {
            Floats::F32 => number.to_le_bytes().to_vec(),
            Floats::F16 => f16::from_f32(*number).to_le_bytes().to_vec(),
            Floats::Bf16 => bf16::from_f32(*number).to_le_bytes().to_vec(),
        };
        numbers.iter().flat_map(bytes).collect()
    }

    #[test]
    fn stored_numbers_are_those_of_the_file_at_any_byte() {
        let numbers = [1.5, -2.0, 0.25, 1024.0, -0.5, 3.0];
        for floats in [Floats::F32, Floats::F16, Floats::Bf16] {
            for skip in 0..5 {
                let bytes: Vec<u8> = vec![7; skip].into_iter().chain(written(floats, &numbers)).collect();
                let stored = |start, count| Stored::new(Arc::new(bytes.clone()), start, count, floats);
                let data = Data::from(stored(skip, 6).expect("fits"));
                assert_eq!((data.len(), data.memory_bytes(), &data.numbers()[..]), (6, 0, &numbers[..]));
                let mut row = [0.0; 2];
                data.read_row(3, &mut row);
                assert_eq!(row, [1024.0, -0.5]);
                if let Some(view) = data.view() {
                    assert_eq!((0..6).map(|at| view.at(at)).collect::<Vec<_>>(), numbers);
                }
                let mut held = data.clone();
                held.hold();
                assert!(matches!(&held, Data::Held(held) if held[..] == numbers));
                assert!(stored(skip, 7).is_none() && stored(skip + 1, 6).is_none() && stored(0, usize::MAX).is_none());
                assert!(stored(usize::MAX, 1).is_none() && stored(bytes.len(), 0).is_some());
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_found_wherever_they_are() {
        for floats in [Floats::F32, Floats::F16, Floats::Bf16] {
            for (at, wrong) in [(0, f32::NAN), (5000, f32::INFINITY), (9999, f32::NEG_INFINITY)] {
                let mut numbers = vec![1.0; 10_000];
                let stored = |numbers: &[f32]| Stored::new(Arc::new(written(floats, numbers)), 0, 10_000, floats).expect("fits");
                assert!(stored(&numbers).is_finite());
                numbers[at] = wrong;
                assert!(!stored(&numbers).is_finite());
            }
        }
    }
}
