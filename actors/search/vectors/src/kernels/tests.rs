//! Every instruction set against the portable one.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{BLOCK_ROWS, GROUP_BYTES, Isa, Kernels, Task};

struct Dot4<'a> {
    rows: [&'a [u8]; 4],
    query: &'a [i8],
}

impl Task for Dot4<'_> {
    type Output = [i32; 4];

    #[inline(always)]
    fn run<K: Kernels>(self) -> [i32; 4] {
        let offset = 128 * self.query.iter().map(|value| i32::from(*value)).sum::<i32>();
        // SAFETY: rows and query have the same length.
        unsafe { K::dot4(self.rows.map(<[u8]>::as_ptr), self.query.as_ptr(), offset, self.query.len()) }
    }
}

struct Floats<'a> {
    a: &'a [f32],
    b: &'a [f32],
    words: &'a [i16],
}

impl Task for Floats<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<K: Kernels>(self) -> [f32; 2] {
        // SAFETY: all three have the same length.
        unsafe {
            [K::dot_f32(self.a.as_ptr(), self.b.as_ptr(), self.b.len()), K::dot_i16(self.words.as_ptr(), self.b.as_ptr(), self.b.len())]
        }
    }
}

struct Tile<'a> {
    rows: [&'a [f32]; 8],
}

impl Task for Tile<'_> {
    type Output = [[f32; 4]; 4];

    #[inline(always)]
    fn run<K: Kernels>(self) -> [[f32; 4]; 4] {
        let pointers = self.rows.map(<[f32]>::as_ptr);
        let (a, b) = ([pointers[0], pointers[1], pointers[2], pointers[3]], [pointers[4], pointers[5], pointers[6], pointers[7]]);
        // SAFETY: all eight rows have the same length.
        unsafe { K::tile(a, b, self.rows[0].len()) }
    }
}

struct FastScan<'a> {
    codes: &'a [u8],
    tables: &'a [u8],
}

impl Task for FastScan<'_> {
    type Output = [i32; BLOCK_ROWS];

    #[inline(always)]
    fn run<K: Kernels>(self) -> [i32; BLOCK_ROWS] {
        let mut sums = [0; BLOCK_ROWS];
        // SAFETY: codes and tables have the same whole number of groups.
        unsafe { K::fast_scan(self.codes.as_ptr(), self.tables.as_ptr(), self.codes.len() / GROUP_BYTES, &mut sums) };
        sums
    }
}

/// A tolerance for sums of `len` products of numbers up to `scale`, in another order.
fn close(a: f32, b: f32, len: usize, scale: f32) -> bool {
    (a - b).abs() <= scale * len as f32 * 1e-6 + 1e-6
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn eight_bit_dots_agree(groups in 1usize..=32, seed in vec(1u8..=255, 5 * 2048)) {
        let len = 64 * groups;
        let query: Vec<i8> = seed[..len].iter().map(|byte| (i32::from(*byte) - 128) as i8).collect();
        let rows = [1, 2, 3, 4].map(|row| &seed[row * 2048..row * 2048 + len]);
        let expected = Isa::Scalar.run(Dot4 { rows, query: &query });
        for isa in Isa::available() {
            prop_assert_eq!(isa.run(Dot4 { rows, query: &query }), expected, "{:?}", isa);
        }
    }

    #[test]
    fn float_dots_agree_at_any_length(a in vec(-1f32..1.0, 0..300), seed in any::<u16>()) {
        let b: Vec<f32> = a.iter().enumerate().map(|(index, value)| value * 0.5 - (index % 7) as f32 * 0.1).collect();
        let words: Vec<i16> = a.iter().map(|value| (value * 32_767.0) as i16 ^ (seed & 0xff) as i16).collect();
        let expected = Isa::Scalar.run(Floats { a: &a, b: &b, words: &words });
        for isa in Isa::available() {
            let found = isa.run(Floats { a: &a, b: &b, words: &words });
            prop_assert!(close(found[0], expected[0], a.len(), 1.0), "{:?} f32 {:?} {:?}", isa, found, expected);
            prop_assert!(close(found[1], expected[1], a.len(), 32_768.0), "{:?} i16 {:?} {:?}", isa, found, expected);
        }
    }

    #[test]
    fn tiles_agree(groups in 1usize..=20, seed in vec(-1f32..1.0, 8 * 320)) {
        let len = 16 * groups;
        let rows = [0, 1, 2, 3, 4, 5, 6, 7].map(|row| &seed[row * 320..row * 320 + len]);
        let expected = Isa::Scalar.run(Tile { rows });
        for isa in Isa::available() {
            let found = isa.run(Tile { rows });
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                prop_assert!(close(*found, *expected, len, 1.0), "{:?} {} {}", isa, found, expected);
            }
        }
    }

    #[test]
    fn fast_scans_agree(groups in 1usize..=128, codes in vec(any::<u8>(), 128 * 64), tables in vec(any::<u8>(), 128 * 64)) {
        let len = groups * GROUP_BYTES;
        let expected = Isa::Scalar.run(FastScan { codes: &codes[..len], tables: &tables[..len] });
        for isa in Isa::available() {
            prop_assert_eq!(isa.run(FastScan { codes: &codes[..len], tables: &tables[..len] }), expected, "{:?}", isa);
        }
    }
}

#[test]
fn the_largest_values_overflow_nowhere() {
    let (codes, tables) = ([0xffu8; 128 * GROUP_BYTES], [255u8; 128 * GROUP_BYTES]);
    let rows = [[255u8; 2048], [1; 2048], [128; 2048], [255; 2048]];
    for isa in Isa::available() {
        assert_eq!(isa.run(FastScan { codes: &codes, tables: &tables }), [128 * 4 * 255; BLOCK_ROWS], "{isa:?}");
        for query in [[127i8; 2048], [-127; 2048]] {
            let rows = [0, 1, 2, 3].map(|row| &rows[row][..]);
            let expected = [127, -127, 0, 127].map(|row| row * i32::from(query[0]) * 2048);
            assert_eq!(isa.run(Dot4 { rows, query: &query }), expected, "{isa:?}");
        }
    }
}
