//! Vector lanes: one generic kernel body per operation, instantiated for AVX-512, AVX2 and NEON, chosen at run time.
#![allow(unsafe_code, reason = "the intrinsics load and store through raw pointers")]

/// The instruction set a kernel runs on. A value of this type is proof that this machine has it: only [`Isa::available`],
/// [`Isa::best`] and [`Isa::SCALAR`] make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// Plain Rust, present everywhere: the reference that all other variants are tested against.
    pub const SCALAR: Isa = Isa(Level::Scalar);

    /// The instruction sets of this machine, slowest first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut, reason = "other architectures add nothing")]
        let mut found = vec![Isa::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("f16c") {
                found.push(Isa(Level::Avx2));
            }
            if std::is_x86_feature_detected!("avx512f") {
                found.push(Isa(Level::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Isa(Level::Neon));
        }
        found
    }

    /// The fastest instruction set of this machine, looked up once.
    #[must_use]
    pub fn best() -> Isa {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Isa::available().pop().unwrap_or(Isa::SCALAR))
    }

    /// Its usual name, for logs and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2+FMA",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "NEON",
        }
    }

    /// Floats in one vector register (1 for the scalar reference).
    #[must_use]
    pub fn width(self) -> usize {
        match self.0 {
            Level::Scalar => 1,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => 16,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => 4,
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

/// One vector register of f32.
///
/// # Safety
/// Every method may be called only where the CPU has the implementor's instruction set, that is, below a function that
/// [`dispatch!`] made for it. Loads and stores touch exactly the floats named; `count <= WIDTH`.
pub(crate) trait Lanes: Copy {
    /// Floats in one register.
    const WIDTH: usize;
    /// Rows of a gemm tile of three columns of registers: accumulators, weights and one broadcast fill the register file.
    const TILE_ROWS: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Loads numbers of half precision.
    unsafe fn load_half(from: *const u16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Loads `count` floats, the other lanes are 0.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;
    unsafe fn store_part(self, to: *mut f32, count: usize);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * factor + term` in one rounding.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// Nearest whole number, ties to even.
    unsafe fn round(self) -> Self;
    /// `2^self` for whole numbers in -126..=127.
    unsafe fn exp2_whole(self) -> Self;
    unsafe fn sum(self) -> f32;
    unsafe fn max_lane(self) -> f32;
}

/// Defines `fn name(isa, args..)` that runs the scalar reference or the generic body for the instruction set asked for.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?; $scalar:ident, $lanes:ident) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for, and only entered on, CPUs with AVX2 and FMA.
                unsafe { $lanes::<$crate::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for, and only entered on, CPUs with AVX-512F.
                unsafe { $lanes::<$crate::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for, and only entered on, CPUs with NEON.
                unsafe { $lanes::<$crate::simd::Neon>($($arg),*) }
            }
            match isa.level() {
                $crate::simd::Level::Scalar => $scalar($($arg),*),
                // SAFETY: an `Isa` of this level exists only where the feature was detected.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::simd::Level::Neon => unsafe { neon($($arg),*) },
            }
        }
    };
}
pub(crate) use dispatch;

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    unsafe fn lanes<S: Lanes>(from: &[f32; 16], count: usize, to: &mut [f32; 16]) -> [f32; 2] {
        assert!(S::WIDTH <= 16);
        let count = count.min(S::WIDTH);
        // SAFETY: 16 floats are at least one register; the caller is compiled for S.
        unsafe {
            let v = S::load_part(from.as_ptr(), count);
            v.round().exp2_whole().store_part(to.as_mut_ptr(), count);
            [v.sum(), S::load(from.as_ptr()).max_lane()]
        }
    }

    fn scalar(from: &[f32; 16], count: usize, to: &mut [f32; 16]) -> [f32; 2] {
        for i in 0..count {
            to[i] = from[i].round_ties_even().exp2();
        }
        [from[..count].iter().sum(), from.iter().copied().fold(f32::MIN, f32::max)]
    }

    dispatch! { fn probe(from: &[f32; 16], count: usize, to: &mut [f32; 16]) -> [f32; 2]; scalar, lanes }

    #[inline(always)]
    unsafe fn halves_lanes<S: Lanes>(from: &[u16; 16], to: &mut [f32; 16]) {
        // SAFETY: 16 numbers are at least one register; the caller is compiled for S.
        unsafe { S::load_half(from.as_ptr()).store(to.as_mut_ptr()) }
    }

    fn halves_scalar(from: &[u16; 16], to: &mut [f32; 16]) {
        *to = from.map(|bits| half::f16::from_bits(bits).to_f32());
    }

    dispatch! { fn halves(from: &[u16; 16], to: &mut [f32; 16]); halves_scalar, halves_lanes }

    #[test]
    fn every_half_is_read_exactly() {
        for isa in Isa::available() {
            for bits in (0..=u16::MAX).filter(|bits| !half::f16::from_bits(*bits).is_nan()) {
                let (mut got, from) = ([0.0; 16], [bits, 1, 0x3c00, 0xbc01, 0, 0, 0, 0, bits, 0, 0, 0, 0, 0, 0, 0]);
                halves(isa, &from, &mut got);
                let want = from.map(|bits| half::f16::from_bits(bits).to_f32());
                let count = if isa.width() == 1 { 16 } else { isa.width() };
                assert_eq!(got[..count], want[..count], "{} {bits:#06x}", isa.name());
            }
        }
    }

    #[test]
    fn parts_touch_only_their_lanes_and_reductions_agree() {
        let from: [f32; 16] = std::array::from_fn(|i| [9.4, -3.6, 2.5, 0.5][i % 4] - i as f32 / 8.0);
        for isa in Isa::available().into_iter().filter(|isa| isa.width() > 1) {
            for count in 0..=isa.width() {
                let (mut want, mut got) = ([-1.0; 16], [-1.0; 16]);
                let [sum, _] = scalar(&from, count, &mut want);
                let [got_sum, got_max] = probe(isa, &from, count, &mut got);
                assert_eq!(want, got, "{} {count}", isa.name());
                assert!((sum - got_sum).abs() < 1e-4);
                assert_eq!(got_max, from[..isa.width()].iter().copied().fold(f32::MIN, f32::max));
            }
        }
        assert_eq!(Isa::best(), *Isa::available().last().expect("scalar is always there"));
    }
}
