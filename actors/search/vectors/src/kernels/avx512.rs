//! Kernels for AVX-512 with VNNI.

use std::arch::x86_64::*;

use super::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// The horizontal sums of four vectors of i32.
#[inline(always)]
unsafe fn sum4(sums: [__m512i; 4]) -> __m128i {
    let half = [
        _mm256_add_epi32(_mm512_castsi512_si256(sums[0]), _mm512_extracti64x4_epi64::<1>(sums[0])),
        _mm256_add_epi32(_mm512_castsi512_si256(sums[1]), _mm512_extracti64x4_epi64::<1>(sums[1])),
        _mm256_add_epi32(_mm512_castsi512_si256(sums[2]), _mm512_extracti64x4_epi64::<1>(sums[2])),
        _mm256_add_epi32(_mm512_castsi512_si256(sums[3]), _mm512_extracti64x4_epi64::<1>(sums[3])),
    ];
    let all = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
    _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all))
}

/// Sums the four 128-bit lanes of 16-bit counters into eight 32-bit ones.
#[inline(always)]
unsafe fn fold_lanes(counters: __m512i) -> __m256i {
    let low = _mm256_add_epi32(
        _mm256_cvtepu16_epi32(_mm512_castsi512_si128(counters)),
        _mm256_cvtepu16_epi32(_mm512_extracti32x4_epi32::<1>(counters)),
    );
    let high = _mm256_add_epi32(
        _mm256_cvtepu16_epi32(_mm512_extracti32x4_epi32::<2>(counters)),
        _mm256_cvtepu16_epi32(_mm512_extracti32x4_epi32::<3>(counters)),
    );
    _mm256_add_epi32(low, high)
}

/// Writes the sums of 16 rows: `all` counts even rows plus 256 times the odd ones, `odd` the odd rows.
#[inline(always)]
unsafe fn store_rows(all: __m512i, odd: __m512i, out: *mut i32) {
    let even = fold_lanes(_mm512_sub_epi16(all, _mm512_slli_epi16::<8>(odd)));
    let odd = fold_lanes(odd);
    let (low, high) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
    _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
    _mm256_storeu_si256(out.add(8).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
}

impl Kernels for Avx512 {
    #[inline(always)]
    unsafe fn dot4(rows: [*const u8; 4], query: *const i8, offset: i32, len: usize) -> [i32; 4] {
        let mut sums = [_mm512_setzero_si512(); 4];
        let mut at = 0;
        while at < len {
            let values = _mm512_loadu_si512(query.add(at).cast());
            sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_loadu_si512(rows[0].add(at).cast()), values);
            sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_loadu_si512(rows[1].add(at).cast()), values);
            sums[2] = _mm512_dpbusd_epi32(sums[2], _mm512_loadu_si512(rows[2].add(at).cast()), values);
            sums[3] = _mm512_dpbusd_epi32(sums[3], _mm512_loadu_si512(rows[3].add(at).cast()), values);
            at += 64;
        }
        let mut out = [0i32; 4];
        _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_sub_epi32(sum4(sums), _mm_set1_epi32(offset)));
        out
    }

    #[inline(always)]
    unsafe fn dot_f32(a: *const f32, b: *const f32, len: usize) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        let mut at = 0;
        while at + 64 <= len {
            sums[0] = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(at)), _mm512_loadu_ps(b.add(at)), sums[0]);
            sums[1] = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(at + 16)), _mm512_loadu_ps(b.add(at + 16)), sums[1]);
            sums[2] = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(at + 32)), _mm512_loadu_ps(b.add(at + 32)), sums[2]);
            sums[3] = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(at + 48)), _mm512_loadu_ps(b.add(at + 48)), sums[3]);
            at += 64;
        }
        while at < len {
            let mask = ((1u32 << (len - at).min(16)) - 1) as u16;
            sums[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a.add(at)), _mm512_maskz_loadu_ps(mask, b.add(at)), sums[0]);
            at += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
    }

    #[inline(always)]
    unsafe fn dot_i16(row: *const i16, query: *const f32, len: usize) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        let mut at = 0;
        while at + 64 <= len {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let wide = _mm512_cvtepi16_epi32(_mm256_loadu_si256(row.add(at + 16 * lane).cast()));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), _mm512_loadu_ps(query.add(at + 16 * lane)), *sum);
            }
            at += 64;
        }
        while at < len {
            let mask = ((1u32 << (len - at).min(16)) - 1) as u16;
            let wide = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, row.add(at)));
            sums[0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), _mm512_maskz_loadu_ps(mask, query.add(at)), sums[0]);
            at += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
    }

    #[inline(always)]
    unsafe fn tile(a: [*const f32; 4], b: [*const f32; 4], len: usize) -> [[f32; 4]; 4] {
        let mut sums = [[_mm512_setzero_ps(); 4]; 4];
        let mut at = 0;
        while at < len {
            let columns = [
                _mm512_loadu_ps(b[0].add(at)),
                _mm512_loadu_ps(b[1].add(at)),
                _mm512_loadu_ps(b[2].add(at)),
                _mm512_loadu_ps(b[3].add(at)),
            ];
            for row in 0..4 {
                let values = _mm512_loadu_ps(a[row].add(at));
                for column in 0..4 {
                    sums[row][column] = _mm512_fmadd_ps(values, columns[column], sums[row][column]);
                }
            }
            at += 16;
        }
        let mut out = [[0f32; 4]; 4];
        for row in 0..4 {
            for column in 0..4 {
                out[row][column] = _mm512_reduce_add_ps(sums[row][column]);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn fast_scan(codes: *const u8, tables: *const u8, groups: usize, sums: &mut [i32; BLOCK_ROWS]) {
        let nibble = _mm512_set1_epi8(15);
        let zero = _mm512_setzero_si512();
        let (mut low, mut low_odd, mut high, mut high_odd) = (zero, zero, zero, zero);
        for group in 0..groups {
            let code = _mm512_loadu_si512(codes.add(group * GROUP_BYTES).cast());
            let table = _mm512_loadu_si512(tables.add(group * GROUP_BYTES).cast());
            let first = _mm512_shuffle_epi8(table, _mm512_and_si512(code, nibble));
            let second = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble));
            low = _mm512_add_epi16(low, first);
            low_odd = _mm512_add_epi16(low_odd, _mm512_srli_epi16::<8>(first));
            high = _mm512_add_epi16(high, second);
            high_odd = _mm512_add_epi16(high_odd, _mm512_srli_epi16::<8>(second));
        }
        store_rows(low, low_odd, sums.as_mut_ptr());
        store_rows(high, high_odd, sums.as_mut_ptr().add(16));
    }
}
