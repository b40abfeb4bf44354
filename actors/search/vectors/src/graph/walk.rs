//! The walk: always expand the best candidate that has not been expanded, until the best `breadth` all have been.
#![allow(unsafe_code, reason = "raw rows and ids that were checked when the graph was made")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::NONE;
use crate::kernels::{Kernels, Task};
use crate::memory::Buffer;

/// Marks an expanded candidate.
const EXPANDED: u64 = 1 << 31;

/// Neighbours of one row, at most.
pub(crate) const DEGREE_MAX: usize = 96;

/// Candidates of one walk, at most.
pub(crate) const BREADTH_MAX: usize = 4096;

/// A score and an id in one word that sorts best first.
#[inline(always)]
pub(crate) fn candidate(score: f32, row: u32) -> u64 {
    let bits = score.to_bits();
    // Ascending order of floats as integers, then inverted.
    let key = !(bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000));
    u64::from(key) << 32 | u64::from(row)
}

/// The row of a candidate.
#[inline(always)]
pub(crate) fn row_of(candidate: u64) -> u32 {
    (candidate & !EXPANDED) as u32
}

/// The score of a candidate.
#[inline(always)]
pub(crate) fn score_of(candidate: u64) -> f32 {
    let key = !((candidate >> 32) as u32);
    f32::from_bits(if key & 0x8000_0000 != 0 { key & 0x7fff_ffff } else { !key })
}

/// Memory of one walk, used again by the next.
#[derive(Default)]
pub(crate) struct WalkScratch {
    visited: Option<Buffer<u64>>,
    /// Words of `visited` to clear, where clearing all of them would cost more.
    touched: Vec<u32>,
    /// Candidates, best first; what the walk found.
    pub(crate) pool: Vec<u64>,
    pub(crate) frontier: std::collections::BinaryHeap<std::cmp::Reverse<u64>>,
}

/// Bitsets up to this many words are cleared whole.
const CLEAR_WORDS_MAX: usize = 8192;

impl WalkScratch {
    pub(crate) fn reset(&mut self, rows: usize) {
        let words = rows.div_ceil(64).max(1);
        match &mut self.visited {
            Some(visited) if visited.len() >= words => {
                if visited.len() <= CLEAR_WORDS_MAX {
                    visited.fill(0);
                } else {
                    self.touched.iter().for_each(|word| visited[*word as usize] = 0);
                }
            }
            _ => self.visited = Some(Buffer::zeroed(words)),
        }
        self.touched.clear();
        self.pool.clear();
        self.frontier.clear();
    }
}

/// One query against the lean rows and the graph over them.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) codes: *const u8,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) neighbours: *const u32,
    pub(crate) degree: usize,
    pub(crate) entries: &'a [u32],
    pub(crate) query: *const i8,
    pub(crate) offset: i32,
    /// Score = `unit * dot + bias`.
    pub(crate) unit: f32,
    /// Biases of the rows, where not those in the rows' last bytes.
    pub(crate) biases: *const f32,
}

impl Walk<'_> {
    /// # Safety
    /// Every id is below `rows`.
    #[inline(always)]
    unsafe fn score4<K: Kernels>(&self, ids: [u32; 4]) -> [f32; 4] {
        // SAFETY: ids are rows of the codes, which the walk borrows.
        unsafe {
            let mut rows = [self.codes; 4];
            for lane in 0..4 {
                rows[lane] = self.codes.add(ids[lane] as usize * self.stride);
            }
            let dots = K::dot4(rows, self.query, self.offset, self.stride);
            let mut scores = [0f32; 4];
            for lane in 0..4 {
                let bias = if self.biases.is_null() {
                    rows[lane].add(self.stride - 4).cast::<f32>().read_unaligned()
                } else {
                    *self.biases.add(ids[lane] as usize)
                };
                scores[lane] = dots[lane] as f32 * self.unit + bias;
            }
            scores
        }
    }

    /// Scores `ids` into `scores`; the last group repeats its first id.
    #[inline(always)]
    unsafe fn score_all<K: Kernels>(&self, ids: &[u32], scores: &mut [f32]) {
        let mut at = 0;
        while at < ids.len() {
            let last = ids.len() - 1;
            let group = [ids[at], ids[(at + 1).min(last)], ids[(at + 2).min(last)], ids[(at + 3).min(last)]];
            // SAFETY: promised by the caller.
            let found = unsafe { self.score4::<K>(group) };
            scores[at..at + 4].copy_from_slice(&found);
            at += 4;
        }
    }

    /// Collects the neighbours of `row` that have not been seen, and asks for their rows.
    #[inline(always)]
    unsafe fn unseen<K: Kernels>(&self, row: u32, scratch: &mut WalkScratch, out: &mut [u32; DEGREE_MAX]) -> usize {
        let visited = scratch.visited.as_deref_mut().unwrap_or_default();
        let sparse = visited.len() > CLEAR_WORDS_MAX;
        let mut count = 0;
        for place in 0..self.degree {
            // SAFETY: `row` has `degree` places; while the graph is built other threads write them, one word at a time.
            let id =
                unsafe { AtomicU32::from_ptr(self.neighbours.add(row as usize * self.degree + place).cast_mut()).load(Ordering::Relaxed) };
            if id == NONE {
                break;
            }
            let (word, bit) = (id as usize >> 6, 1u64 << (id & 63));
            // SAFETY: ids are below `rows`, and `reset` made a bit for each.
            unsafe {
                let seen = visited.get_unchecked_mut(word);
                if *seen & bit == 0 {
                    *seen |= bit;
                    if sparse {
                        scratch.touched.push(word as u32);
                    }
                    *out.get_unchecked_mut(count) = id;
                    count += 1;
                    K::prefetch(self.codes.add(id as usize * self.stride), self.stride);
                }
            }
        }
        count
    }

    /// Scores the entry points into the pool, best first, and keeps `keep` of them.
    #[inline(always)]
    unsafe fn enter<K: Kernels>(&self, scratch: &mut WalkScratch, keep: usize) {
        let mut scores = [0f32; DEGREE_MAX + 4];
        for chunk in self.entries.chunks(DEGREE_MAX) {
            // SAFETY: entries are rows.
            unsafe { self.score_all::<K>(chunk, &mut scores) };
            scratch.pool.extend(chunk.iter().zip(scores).map(|(id, score)| candidate(score, *id)));
        }
        scratch.pool.sort_unstable();
        scratch.pool.dedup();
        scratch.pool.truncate(keep);
        for found in &scratch.pool {
            let row = row_of(*found);
            if let Some(visited) = scratch.visited.as_deref_mut() {
                visited[row as usize >> 6] |= 1 << (row & 63);
            }
            scratch.touched.push(row >> 6);
        }
    }

    /// Leaves the best `keep` rows found in the scratch's pool, best first; the walk ends when the best `breadth` are expanded.
    ///
    /// # Safety
    /// The pointers cover `rows` rows, and every id in neighbours and entries is below `rows`.
    #[inline(always)]
    pub(crate) unsafe fn run<K: Kernels>(&self, breadth: usize, keep: usize, scratch: &mut WalkScratch) {
        scratch.reset(self.rows);
        if self.rows == 0 {
            return;
        }
        let breadth = breadth.clamp(1, BREADTH_MAX);
        let keep = keep.clamp(breadth, BREADTH_MAX);
        // SAFETY: promised by the caller.
        unsafe { self.enter::<K>(scratch, breadth.min(8)) };
        let mut pool = std::mem::take(&mut scratch.pool);
        let mut size = pool.len();
        pool.resize(keep + 1, u64::MAX);
        let (mut ids, mut scores) = ([0u32; DEGREE_MAX], [0f32; DEGREE_MAX + 4]);
        let mut at = 0;
        while at < size.min(breadth) {
            if pool[at] & EXPANDED != 0 {
                at += 1;
                continue;
            }
            pool[at] |= EXPANDED;
            // SAFETY: pool ids are rows; `count` is at most the degree.
            let count = unsafe { self.unseen::<K>(row_of(pool[at]), scratch, &mut ids) };
            // SAFETY: as above.
            unsafe { self.score_all::<K>(&ids[..count], &mut scores) };
            let mut lowest = at + 1;
            for index in 0..count {
                let found = candidate(scores[index], ids[index]);
                if size == keep && found >= pool[size - 1] {
                    continue;
                }
                let place = pool[..size].partition_point(|other| *other < found);
                if place < breadth {
                    // It will be expanded unless better ones push it out.
                    let row = ids[index] as usize;
                    // SAFETY: a prefetch may name any address.
                    unsafe { K::prefetch(self.neighbours.wrapping_add(row * self.degree).cast(), 4 * self.degree) };
                }
                let end = if size < keep { size } else { size - 1 };
                pool.copy_within(place..end, place + 1);
                pool[place] = found;
                size = end + 1;
                lowest = lowest.min(place);
            }
            at = lowest.min(at + 1);
        }
        pool.truncate(size);
        scratch.pool = pool;
    }
}

impl Walk<'_> {
    /// As [`Self::run`], for rows of which `allow` lets only some through: the pool holds the best `breadth` of those, the others
    /// only lead the way, until nothing on the way is better than the worst of the pool.
    ///
    /// # Safety
    /// As [`Self::run`].
    #[inline(always)]
    pub(crate) unsafe fn run_filtered<K: Kernels, F: Fn(u32) -> bool>(&self, breadth: usize, allow: &F, scratch: &mut WalkScratch) {
        scratch.reset(self.rows);
        if self.rows == 0 {
            return;
        }
        let breadth = breadth.clamp(1, BREADTH_MAX);
        // SAFETY: promised by the caller.
        unsafe { self.enter::<K>(scratch, 8) };
        let mut pool = std::mem::take(&mut scratch.pool);
        let mut frontier = std::mem::take(&mut scratch.frontier);
        frontier.extend(pool.iter().map(|found| std::cmp::Reverse(*found)));
        pool.retain(|found| allow(row_of(*found)));
        pool.truncate(breadth);
        let (mut ids, mut scores) = ([0u32; DEGREE_MAX], [0f32; DEGREE_MAX + 4]);
        while let Some(std::cmp::Reverse(best)) = frontier.pop() {
            if pool.len() == breadth && best > pool[breadth - 1] {
                break;
            }
            // SAFETY: candidates are rows; `count` is at most the degree.
            let count = unsafe { self.unseen::<K>(row_of(best), scratch, &mut ids) };
            // SAFETY: as above.
            unsafe { self.score_all::<K>(&ids[..count], &mut scores) };
            for index in 0..count {
                let found = candidate(scores[index], ids[index]);
                if pool.len() == breadth && found >= pool[breadth - 1] {
                    continue;
                }
                frontier.push(std::cmp::Reverse(found));
                if allow(ids[index]) {
                    if pool.len() == breadth {
                        pool.pop();
                    }
                    let place = pool.partition_point(|other| *other < found);
                    pool.insert(place, found);
                }
            }
            if let Some(std::cmp::Reverse(next)) = frontier.peek() {
                // SAFETY: a prefetch may name any address.
                unsafe { K::prefetch(self.neighbours.wrapping_add(row_of(*next) as usize * self.degree).cast(), 4 * self.degree) };
            }
        }
        frontier.clear();
        scratch.frontier = frontier;
        scratch.pool = pool;
    }
}

/// [`Walk::run`] as a task.
pub(super) struct Run<'a, 'w> {
    pub(super) walk: Walk<'w>,
    pub(super) breadth: usize,
    pub(super) keep: usize,
    pub(super) scratch: &'a mut WalkScratch,
}

impl Task for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        // SAFETY: the builder's pointers cover its columns, and it writes only ids of rows.
        unsafe { self.walk.run::<K>(self.breadth, self.keep, self.scratch) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_sort_by_falling_score_and_keep_both_parts() {
        let scores = [f32::INFINITY, 1e30, 2.0, 1.5, 1e-30, 0.0, -1e-30, -1.0, -1e30, f32::NEG_INFINITY];
        for pair in scores.windows(2) {
            assert!(candidate(pair[0], 7) < candidate(pair[1], 7), "{pair:?}");
        }
        for score in scores {
            let found = candidate(score, 0x7fff_fff0);
            assert_eq!((score_of(found), row_of(found)), (score, 0x7fff_fff0));
            assert_eq!((score_of(found | EXPANDED), row_of(found | EXPANDED)), (score, 0x7fff_fff0));
        }
    }
}
