//! Portable kernels: the definition of each, and what runs where no other set fits.

use super::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// Portable code.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Kernels for Scalar {
    #[inline(always)]
    unsafe fn dot4(rows: [*const u8; 4], query: *const i8, _offset: i32, len: usize) -> [i32; 4] {
        let query = std::slice::from_raw_parts(query, len);
        rows.map(|row| {
            let row = std::slice::from_raw_parts(row, len);
            row.iter().zip(query).map(|(code, value)| (i32::from(*code) - 128) * i32::from(*value)).sum()
        })
    }

    #[inline(always)]
    unsafe fn dot_f32(a: *const f32, b: *const f32, len: usize) -> f32 {
        let (a, b) = (std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len));
        // Sixteen partial sums let the compiler use whatever vectors the target has.
        let mut sums = [0f32; 16];
        for (x, y) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
            for lane in 0..16 {
                sums[lane] += x[lane] * y[lane];
            }
        }
        let tail: f32 = a.chunks_exact(16).remainder().iter().zip(b.chunks_exact(16).remainder()).map(|(x, y)| x * y).sum();
        sums.iter().sum::<f32>() + tail
    }

    #[inline(always)]
    unsafe fn dot_i16(row: *const i16, query: *const f32, len: usize) -> f32 {
        let (row, query) = (std::slice::from_raw_parts(row, len), std::slice::from_raw_parts(query, len));
        let mut sums = [0f32; 16];
        for (x, y) in row.chunks_exact(16).zip(query.chunks_exact(16)) {
            for lane in 0..16 {
                sums[lane] += f32::from(x[lane]) * y[lane];
            }
        }
        let tails = row.chunks_exact(16).remainder().iter().zip(query.chunks_exact(16).remainder());
        sums.iter().sum::<f32>() + tails.map(|(x, y)| f32::from(*x) * y).sum::<f32>()
    }

    #[inline(always)]
    unsafe fn tile(a: [*const f32; 4], b: [*const f32; 4], len: usize) -> [[f32; 4]; 4] {
        a.map(|x| b.map(|y| Self::dot_f32(x, y, len)))
    }

    #[inline(always)]
    unsafe fn fast_scan(codes: *const u8, tables: *const u8, groups: usize, sums: &mut [i32; BLOCK_ROWS]) {
        let codes = std::slice::from_raw_parts(codes, groups * GROUP_BYTES);
        let tables = std::slice::from_raw_parts(tables, groups * GROUP_BYTES);
        *sums = [0; BLOCK_ROWS];
        for (codes, table) in codes.chunks_exact(16).zip(tables.chunks_exact(16)) {
            for (row, code) in codes.iter().enumerate() {
                sums[row] += i32::from(table[usize::from(code & 15)]);
                sums[row + 16] += i32::from(table[usize::from(code >> 4)]);
            }
        }
    }
}
