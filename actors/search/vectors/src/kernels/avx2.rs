//! Kernels for AVX2 with FMA.

use std::arch::x86_64::*;

use super::{BLOCK_ROWS, GROUP_BYTES, Kernels};

/// x86-64 with AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

#[inline(always)]
unsafe fn sum_f32(sums: [__m256; 4]) -> f32 {
    let all = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let half = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
}

/// Sums the two 128-bit lanes of 16-bit counters into eight 32-bit ones.
#[inline(always)]
unsafe fn fold_lanes(counters: __m256i) -> __m256i {
    _mm256_add_epi32(
        _mm256_cvtepu16_epi32(_mm256_castsi256_si128(counters)),
        _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(counters)),
    )
}

#[inline(always)]
unsafe fn store_rows(all: __m256i, odd: __m256i, out: *mut i32) {
    let even = fold_lanes(_mm256_sub_epi16(all, _mm256_slli_epi16::<8>(odd)));
    let odd = fold_lanes(odd);
    let (low, high) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
    _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
    _mm256_storeu_si256(out.add(8).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
}

impl Kernels for Avx2 {
    #[inline(always)]
    unsafe fn dot4(rows: [*const u8; 4], query: *const i8, _offset: i32, len: usize) -> [i32; 4] {
        let flip = _mm256_set1_epi8(-128);
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_si256(); 4];
        let mut at = 0;
        while at < len {
            let values = _mm256_loadu_si256(query.add(at).cast());
            let magnitude = _mm256_abs_epi8(values);
            for (lane, sum) in sums.iter_mut().enumerate() {
                // |q| <= 127 and |row| <= 127, so a pair sums to at most 32,258: the 16-bit sum cannot saturate.
                let row = _mm256_xor_si256(_mm256_loadu_si256(rows[lane].add(at).cast()), flip);
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(row, values));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
            at += 32;
        }
        let all = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
        let mut out = [0i32; 4];
        let total = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
        _mm_storeu_si128(out.as_mut_ptr().cast(), total);
        out
    }

    #[inline(always)]
    unsafe fn dot_f32(a: *const f32, b: *const f32, len: usize) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut at = 0;
        while at + 32 <= len {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let (x, y) = (_mm256_loadu_ps(a.add(at + 8 * lane)), _mm256_loadu_ps(b.add(at + 8 * lane)));
                *sum = _mm256_fmadd_ps(x, y, *sum);
            }
            at += 32;
        }
        let mut total = sum_f32(sums);
        while at < len {
            total += *a.add(at) * *b.add(at);
            at += 1;
        }
        total
    }

    #[inline(always)]
    unsafe fn dot_i16(row: *const i16, query: *const f32, len: usize) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut at = 0;
        while at + 32 <= len {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let wide = _mm256_cvtepi16_epi32(_mm_loadu_si128(row.add(at + 8 * lane).cast()));
                *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), _mm256_loadu_ps(query.add(at + 8 * lane)), *sum);
            }
            at += 32;
        }
        let mut total = sum_f32(sums);
        while at < len {
            total += f32::from(*row.add(at)) * *query.add(at);
            at += 1;
        }
        total
    }

    #[inline(always)]
    unsafe fn tile(a: [*const f32; 4], b: [*const f32; 4], len: usize) -> [[f32; 4]; 4] {
        let mut out = [[0f32; 4]; 4];
        // Two rows at a time: eight sums, four columns and two rows fit the sixteen registers.
        for row in [0, 2] {
            let mut sums = [[_mm256_setzero_ps(); 4]; 2];
            let mut at = 0;
            while at < len {
                let (first, second) = (_mm256_loadu_ps(a[row].add(at)), _mm256_loadu_ps(a[row + 1].add(at)));
                for column in 0..4 {
                    let values = _mm256_loadu_ps(b[column].add(at));
                    sums[0][column] = _mm256_fmadd_ps(first, values, sums[0][column]);
                    sums[1][column] = _mm256_fmadd_ps(second, values, sums[1][column]);
                }
                at += 8;
            }
            let zero = _mm256_setzero_ps();
            for column in 0..4 {
                out[row][column] = sum_f32([sums[0][column], zero, zero, zero]);
                out[row + 1][column] = sum_f32([sums[1][column], zero, zero, zero]);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn fast_scan(codes: *const u8, tables: *const u8, groups: usize, sums: &mut [i32; BLOCK_ROWS]) {
        let nibble = _mm256_set1_epi8(15);
        let zero = _mm256_setzero_si256();
        let (mut low, mut low_odd, mut high, mut high_odd) = (zero, zero, zero, zero);
        // A 16-bit lane takes two bytes a group: 128 groups of at most 2 * 255 fit.
        let mut at = 0;
        while at < groups * GROUP_BYTES {
            let code = _mm256_loadu_si256(codes.add(at).cast());
            let table = _mm256_loadu_si256(tables.add(at).cast());
            let first = _mm256_shuffle_epi8(table, _mm256_and_si256(code, nibble));
            let second = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble));
            low = _mm256_add_epi16(low, first);
            low_odd = _mm256_add_epi16(low_odd, _mm256_srli_epi16::<8>(first));
            high = _mm256_add_epi16(high, second);
            high_odd = _mm256_add_epi16(high_odd, _mm256_srli_epi16::<8>(second));
            at += 32;
        }
        store_rows(low, low_odd, sums.as_mut_ptr());
        store_rows(high, high_odd, sums.as_mut_ptr().add(16));
    }
}
