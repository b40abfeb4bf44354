//! Kernels: the inner loops over codes, once for each instruction set, chosen at run time.
//!
//! A hot loop is a [`Task`], written once and generic over [`Kernels`]. [`Isa::run`] enters it through a function compiled for
//! the machine's instruction set, so that the kernels are inlined into the loop: one branch a search, none in the loop.
//!
//! | set | needs | 8-bit dot product |
//! | --- | --- | --- |
//! | AVX-512 | F, BW, DQ, VL, VNNI | `vpdpbusd`, 64 products an instruction |
//! | AVX2 | AVX2, FMA | `vpmaddubsw` on magnitudes and signs, which cannot saturate |
//! | NEON | aarch64 | `smull` + `sadalp` |
//! | scalar | nothing | the definition that the others are tested against |
#![allow(unsafe_code, reason = "SIMD intrinsics on raw rows")]
#![allow(unsafe_op_in_unsafe_fn, reason = "every function here is one unsafe operation over the pointers it is given")]

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

/// Rows of one block of 1-bit codes.
pub const BLOCK_ROWS: usize = 32;

/// Bytes of one group of a block, and of its four lookup tables.
pub(crate) const GROUP_BYTES: usize = 64;

/// An instruction set that the kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Portable code.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Every aarch64.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The best set of this machine, looked up once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::Scalar))
    }

    /// Every set that this machine can run, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                {
                    sets.push(Self::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self::Neon);
        sets
    }

    /// Runs `task` with the kernels of this set.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Self::Scalar => task.run::<scalar::Scalar>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` offers the set only where the machine has it.
            Self::Avx2 => unsafe { run_avx2(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { run_avx512(task) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => task.run::<neon::Neon>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<T: Task>(task: T) -> T::Output {
    task.run::<avx2::Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn run_avx512<T: Task>(task: T) -> T::Output {
    task.run::<avx512::Avx512>()
}

/// A loop over kernels. `run` must be `#[inline(always)]`, so that it is compiled for the set it runs on.
pub(crate) trait Task {
    /// What the loop returns.
    type Output;

    /// The loop.
    fn run<K: Kernels>(self) -> Self::Output;
}

/// The inner loops. Every pointer must be readable for the length given; alignment is not required.
///
/// An implementation may only be used by [`Isa::run`], on a machine that has its instructions.
pub(crate) trait Kernels: Copy + 'static {
    /// Dot products of four rows of 8-bit codes (a byte `b` stands for `b - 128`, and is at least 1) with one query:
    /// `sum((row[i] - 128) * query[i])`. `offset` is `128 * sum(query)`, `len` a multiple of 64, `query[i] >= -127`.
    unsafe fn dot4(rows: [*const u8; 4], query: *const i8, offset: i32, len: usize) -> [i32; 4];

    /// Dot product of two f32 rows of any length.
    unsafe fn dot_f32(a: *const f32, b: *const f32, len: usize) -> f32;

    /// Dot product of an i16 row with an f32 query of any length.
    unsafe fn dot_i16(row: *const i16, query: *const f32, len: usize) -> f32;

    /// All dot products of four f32 rows with four others, `len` a multiple of 16: the tile of a matrix product.
    unsafe fn tile(a: [*const f32; 4], b: [*const f32; 4], len: usize) -> [[f32; 4]; 4];

    /// FastScan (André, Kermarrec, Le Scouarnec, VLDB 2015) over one block of 32 1-bit codes: `groups` times 64 bytes. Each
    /// group has four tables of 16 bytes; byte `16 * t + v` of a group holds the nibble of table `t` for row `v` (low) and row
    /// `v + 16` (high). `groups` is at most 128 (2,048 dimensions), so that no 16-bit sum overflows.
    unsafe fn fast_scan(codes: *const u8, tables: *const u8, groups: usize, sums: &mut [i32; BLOCK_ROWS]);

    /// Asks for the cache lines of `bytes` bytes at `pointer`; any address is fine.
    #[inline(always)]
    unsafe fn prefetch(pointer: *const u8, bytes: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            let mut at = 0;
            while at < bytes {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.wrapping_add(at).cast());
                at += 64;
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let mut at = 0;
            while at < bytes {
                std::arch::asm!("prfm pldl1keep, [{}]", in(reg) pointer.wrapping_add(at), options(nostack, readonly, preserves_flags));
                at += 64;
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = (pointer, bytes);
    }
}
