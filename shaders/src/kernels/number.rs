//! How weights lie in memory: single or half precision. Whatever they are, sums are made in single precision.
#![allow(unsafe_code, reason = "SIMD loads through raw pointers")]

use crate::simd::Lanes;
use half::f16;

/// How the CPU keeps the large constants of a plan: matrices and word embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Storage {
    /// As they are.
    #[default]
    F32,
    /// In half precision: half of the memory, vectors that differ from the exact ones by a cosine of about 1 - 2e-6.
    F16,
}

/// A number as it is stored.
pub(crate) trait Number: Copy + Default + Send + Sync {
    fn from_f32(value: f32) -> Self;
    fn to_f32(self) -> f32;
    /// Loads one register of numbers.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn load<S: Lanes>(from: *const Self) -> S;
}

impl Number for f32 {
    fn from_f32(value: f32) -> f32 {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<S: Lanes>(from: *const f32) -> S {
        // SAFETY: passed on from the caller.
        unsafe { S::load(from) }
    }
}

impl Number for f16 {
    fn from_f32(value: f32) -> f16 {
        // What is beyond half precision's range becomes its greatest number, not infinity.
        f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
    }

    fn to_f32(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Lanes>(from: *const f16) -> S {
        // SAFETY: passed on from the caller; `f16` is its 16 bits.
        unsafe { S::load_half(from.cast()) }
    }
}

/// Numbers in memory of their own.
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Numbers {
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Numbers::F32(data) => View::F32(data),
            Numbers::F16(data) => View::F16(data),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Numbers::F32(data) => size_of_val(&data[..]),
            Numbers::F16(data) => size_of_val(&data[..]),
        }
    }
}

/// Numbers, borrowed.
#[derive(Clone, Copy)]
pub(crate) enum View<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl View<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            View::F32(data) => data.len(),
            View::F16(data) => data.len(),
        }
    }

    /// One number: for references and tails.
    pub(crate) fn at(self, index: usize) -> f32 {
        match self {
            View::F32(data) => data[index],
            View::F16(data) => data[index].to_f32(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_stay_finite_and_close() {
        for (value, want) in [(0.0, 0.0), (1.0, 1.0), (-0.1, -0.099_975_586), (1e9, 65504.0), (-1e9, -65504.0), (1e-9, 0.0)] {
            assert_eq!(Number::to_f32(<f16 as Number>::from_f32(value)), want);
        }
    }
}
