//! Kernels for NEON, which every aarch64 has.

use std::arch::aarch64::*;

use super::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// Every aarch64.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Kernels for Neon {
    #[inline(always)]
    unsafe fn dot4(rows: [*const u8; 4], query: *const i8, _offset: i32, len: usize) -> [i32; 4] {
        let flip = vdupq_n_u8(0x80);
        let mut sums = [vdupq_n_s32(0); 4];
        let mut at = 0;
        while at < len {
            let values = vld1q_s8(query.add(at));
            for lane in 0..4 {
                let row = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(rows[lane].add(at)), flip));
                sums[lane] = vpadalq_s16(sums[lane], vmull_s8(vget_low_s8(row), vget_low_s8(values)));
                sums[lane] = vpadalq_s16(sums[lane], vmull_high_s8(row, values));
            }
            at += 16;
        }
        [vaddvq_s32(sums[0]), vaddvq_s32(sums[1]), vaddvq_s32(sums[2]), vaddvq_s32(sums[3])]
    }

    #[inline(always)]
    unsafe fn dot_f32(a: *const f32, b: *const f32, len: usize) -> f32 {
        let mut sums = [vdupq_n_f32(0.0); 4];
        let mut at = 0;
        while at + 16 <= len {
            for lane in 0..4 {
                sums[lane] = vfmaq_f32(sums[lane], vld1q_f32(a.add(at + 4 * lane)), vld1q_f32(b.add(at + 4 * lane)));
            }
            at += 16;
        }
        let mut total = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
        while at < len {
            total += *a.add(at) * *b.add(at);
            at += 1;
        }
        total
    }

    #[inline(always)]
    unsafe fn dot_i16(row: *const i16, query: *const f32, len: usize) -> f32 {
        let mut sums = [vdupq_n_f32(0.0); 4];
        let mut at = 0;
        while at + 16 <= len {
            for lane in 0..4 {
                let wide = vcvtq_f32_s32(vmovl_s16(vld1_s16(row.add(at + 4 * lane))));
                sums[lane] = vfmaq_f32(sums[lane], wide, vld1q_f32(query.add(at + 4 * lane)));
            }
            at += 16;
        }
        let mut total = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
        while at < len {
            total += f32::from(*row.add(at)) * *query.add(at);
            at += 1;
        }
        total
    }

    #[inline(always)]
    unsafe fn tile(a: [*const f32; 4], b: [*const f32; 4], len: usize) -> [[f32; 4]; 4] {
        let mut sums = [[vdupq_n_f32(0.0); 4]; 4];
        let mut at = 0;
        while at < len {
            for row in 0..4 {
                let values = vld1q_f32(a[row].add(at));
                for column in 0..4 {
                    sums[row][column] = vfmaq_f32(sums[row][column], values, vld1q_f32(b[column].add(at)));
                }
            }
            at += 4;
        }
        let mut out = [[0f32; 4]; 4];
        for row in 0..4 {
            for column in 0..4 {
                out[row][column] = vaddvq_f32(sums[row][column]);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn fast_scan(codes: *const u8, tables: *const u8, groups: usize, sums: &mut [i32; BLOCK_ROWS]) {
        let nibble = vdupq_n_u8(15);
        // Eight 16-bit counters each for rows 0-7, 8-15, 16-23, 24-31; one table adds at most 255, 257 tables fit 16 bits.
        let mut wide = [[vdupq_n_u32(0); 2]; 4];
        for group in 0..groups {
            let mut counters = [vdupq_n_u16(0); 4];
            for table in 0..4 {
                let at = group * GROUP_BYTES + 16 * table;
                let code = vld1q_u8(codes.add(at));
                let values = vld1q_u8(tables.add(at));
                let first = vqtbl1q_u8(values, vandq_u8(code, nibble));
                let second = vqtbl1q_u8(values, vshrq_n_u8::<4>(code));
                counters[0] = vaddw_u8(counters[0], vget_low_u8(first));
                counters[1] = vaddw_high_u8(counters[1], first);
                counters[2] = vaddw_u8(counters[2], vget_low_u8(second));
                counters[3] = vaddw_high_u8(counters[3], second);
            }
            for part in 0..4 {
                wide[part][0] = vaddw_u16(wide[part][0], vget_low_u16(counters[part]));
                wide[part][1] = vaddw_high_u16(wide[part][1], counters[part]);
            }
        }
        for part in 0..4 {
            vst1q_s32(sums.as_mut_ptr().add(8 * part), vreinterpretq_s32_u32(wide[part][0]));
            vst1q_s32(sums.as_mut_ptr().add(8 * part + 4), vreinterpretq_s32_u32(wide[part][1]));
        }
    }
}
