//! Scans of 1-bit blocks: the best estimates of the rows that count.
#![allow(unsafe_code, reason = "kernels over blocks that were checked when the lists were made")]

use super::{EMPTY, Lists};
use crate::codes::binary::{BLOCK_FACTORS, block_bytes, estimate};
use crate::codes::query::{LeanQuery, Tables};
use crate::graph::{candidate, row_of, score_of};
use crate::kernels::{BLOCK_ROWS, Kernels, Task};

/// Orders the lists by their centroids' distance to the query and keeps the nearest `probes`, each with `<q, c>`.
pub(crate) struct Probe<'a> {
    pub(crate) lists: &'a Lists,
    pub(crate) query: &'a LeanQuery,
    pub(crate) probes: usize,
    pub(crate) nearest: &'a mut Vec<u64>,
}

impl Task for Probe<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { lists, query, probes, nearest } = self;
        let (count, stride) = (lists.len(), query.stride);
        nearest.clear();
        if probes >= count {
            nearest.extend(0..count as u64);
        } else {
            for list in (0..count).step_by(4) {
                let rows = [0, 1, 2, 3].map(|lane| lists.centroid_codes[(list + lane).min(count - 1) * stride..].as_ptr());
                // SAFETY: each is a row of `stride` codes.
                let dots = unsafe { K::dot4(rows, query.codes.as_ptr(), query.offset, stride) };
                for (lane, dot) in dots.iter().enumerate().take(count - list) {
                    let bias = crate::codes::lean::bias(&lists.centroid_codes[(list + lane) * stride..(list + lane + 1) * stride]);
                    nearest.push(candidate(*dot as f32 * query.unit + bias, (list + lane) as u32));
                }
            }
            nearest.select_nth_unstable(probes.max(1) - 1);
            nearest.truncate(probes.max(1));
            nearest.sort_unstable();
        }
        for entry in nearest.iter_mut() {
            let list = row_of(*entry);
            // SAFETY: the centroid has `stride` numbers, and so has the query.
            let along = unsafe { K::dot_f32(lists.centroids[list as usize * stride..].as_ptr(), query.coordinates.as_ptr(), stride) };
            *entry = candidate(along, list);
        }
    }
}

/// Scans the lists in `nearest` and leaves the best `keep` estimates in `found`, in no order.
pub(crate) struct Scan<'a, F> {
    pub(crate) lists: &'a Lists,
    pub(crate) tables: &'a Tables,
    pub(crate) stride: usize,
    pub(crate) nearest: &'a [u64],
    /// Reads the second assignments too; `seen` then has a bit for every row and is all zero.
    pub(crate) seen: Option<&'a mut [u64]>,
    pub(crate) keep: usize,
    pub(crate) allow: F,
    pub(crate) found: &'a mut Vec<u64>,
}

impl<F: Fn(u32) -> bool> Task for Scan<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(mut self) {
        self.found.clear();
        let mut threshold = f32::NEG_INFINITY;
        for entry in self.nearest {
            let (list, along) = (row_of(*entry) as usize, score_of(*entry));
            self.blocks::<K>(self.lists.first[list]..self.lists.first[list + 1], along, &mut threshold);
            if self.seen.is_some() {
                self.blocks::<K>(self.lists.second[list]..self.lists.second[list + 1], along, &mut threshold);
            }
        }
        if self.found.len() > self.keep {
            self.found.select_nth_unstable(self.keep - 1);
            self.found.truncate(self.keep);
        }
    }
}

impl<F: Fn(u32) -> bool> Scan<'_, F> {
    #[inline(always)]
    fn blocks<K: Kernels>(&mut self, range: std::ops::Range<u32>, along: f32, threshold: &mut f32) {
        let bytes = block_bytes(self.stride);
        let mut scores = [0f32; BLOCK_ROWS];
        let keep = self.keep.max(1);
        for block in range.start as usize..range.end as usize {
            // SAFETY: blocks of a list lie inside the columns, and the tables have the stride's groups.
            unsafe {
                let codes = self.lists.codes.as_ptr().add(block * bytes);
                let factors = self.lists.factors.as_ptr().add(block * BLOCK_FACTORS);
                estimate::<K>(codes, factors, self.tables, &mut scores);
            }
            let least = *threshold - along;
            let mut mask = 0u32;
            for (lane, score) in scores.iter().enumerate() {
                mask |= u32::from(*score > least) << lane;
            }
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let row = self.lists.rows[block * BLOCK_ROWS + lane];
                if row == EMPTY || !(self.allow)(row) {
                    continue;
                }
                if let Some(seen) = self.seen.as_deref_mut() {
                    let (word, bit) = (row as usize / 64, 1u64 << (row % 64));
                    if seen[word] & bit != 0 {
                        continue;
                    }
                    seen[word] |= bit;
                }
                self.found.push(candidate(scores[lane] + along, row));
            }
            if self.found.len() >= 2 * keep {
                let (_, worst, _) = self.found.select_nth_unstable(keep - 1);
                *threshold = score_of(*worst);
                self.found.truncate(keep);
            }
        }
    }
}
