//! The strategies. Each fills `scratch.hits` with exact scores, best first.
#![allow(unsafe_code, reason = "kernels over columns whose lengths and ids were checked")]

use super::{Budget, Hit, Scratch, Segment};
use crate::codes::exact;
use crate::codes::query::{ExactTerms, LeanQuery, Prepared};
use crate::graph::{Walk, WalkScratch, candidate, row_of};
use crate::kernels::{Isa, Kernels, Task};
use crate::lists::{Probe, Scan};

/// Rows asked for ahead of the one being scored.
const AHEAD: usize = 8;

impl Segment {
    /// Walks the graph until its best `budget.breadth` candidates are expanded and scores the best `budget.rerank` exactly.
    /// Without a graph: a flat scan.
    pub fn graph(&self, query: &mut Prepared, budget: &Budget, allow: impl Fn(u32) -> bool, scratch: &mut Scratch) {
        let Some(graph) = &self.graph else { return self.flat(query, budget, allow, scratch) };
        query.project(&self.projection);
        let walk = Walk {
            codes: self.lean.as_ptr(),
            stride: self.projection.stride(),
            rows: self.len(),
            neighbours: graph.neighbours.as_ptr(),
            degree: graph.degree,
            entries: &graph.entries,
            query: query.lean.codes.as_ptr(),
            offset: query.lean.offset,
            unit: query.lean.unit,
            biases: std::ptr::null(),
        };
        let keep = budget.rerank.max(budget.hits);
        let share = budget.share.clamp(f32::MIN_POSITIVE, 1.0);
        let mut is_apart = share < APART_SHARE;
        loop {
            // Among as many more as the filter throws away.
            let wider = |width: usize| if is_apart { width } else { (width as f32 / share).ceil() as usize };
            let walked =
                Walked { walk, breadth: wider(budget.breadth), keep: wider(keep), is_apart, allow: &allow, scratch: &mut scratch.walk };
            Isa::best().run(walked);
            scratch.found.clear();
            scratch.found.extend(scratch.walk.pool.iter().copied().filter(|found| allow(row_of(*found))).take(keep));
            if is_apart || share == 1.0 || 2 * scratch.found.len() >= keep {
                break;
            }
            is_apart = true;
        }
        self.rerank(query, budget.hits, scratch);
    }

    /// Scans the 1-bit codes of every row, then the lean rows of the best `budget.candidates`, then `budget.rerank` exactly.
    pub fn flat(&self, query: &mut Prepared, budget: &Budget, allow: impl Fn(u32) -> bool, scratch: &mut Scratch) {
        self.scan(query, budget, self.lists.len(), false, allow, scratch);
    }

    /// As [`Self::flat`] over the nearest `budget.breadth` lists and the second assignments in them.
    pub fn lists(&self, query: &mut Prepared, budget: &Budget, allow: impl Fn(u32) -> bool, scratch: &mut Scratch) {
        self.scan(query, budget, budget.breadth, true, allow, scratch);
    }

    fn scan(
        &self,
        query: &mut Prepared,
        budget: &Budget,
        probes: usize,
        seconds: bool,
        allow: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) {
        query.project(&self.projection);
        query.tabulate();
        let isa = Isa::best();
        isa.run(Probe { lists: &self.lists, query: &query.lean, probes, nearest: &mut scratch.nearest });
        let seconds = seconds && probes < self.lists.len();
        if seconds {
            scratch.seen.clear();
            scratch.seen.resize(self.len().div_ceil(64), 0);
        }
        isa.run(Scan {
            lists: &self.lists,
            tables: &query.tables,
            stride: self.projection.stride(),
            nearest: &scratch.nearest,
            seen: seconds.then_some(&mut scratch.seen[..]),
            keep: budget.candidates.max(budget.rerank).max(budget.hits),
            allow,
            found: &mut scratch.found,
        });
        let keep = budget.rerank.max(budget.hits);
        isa.run(LeanPass { segment: self, query: &query.lean, keep, found: &mut scratch.found });
        self.rerank(query, budget.hits, scratch);
    }

    /// Scores `rows` by their lean rows and the best `budget.rerank` exactly. `rows` below [`Self::len`]; others are left out.
    pub fn gather(&self, query: &mut Prepared, budget: &Budget, rows: impl Iterator<Item = u32>, scratch: &mut Scratch) {
        query.project(&self.projection);
        let keep = budget.rerank.max(budget.hits);
        Isa::best().run(Gather { segment: self, query: &query.lean, keep, rows, found: &mut scratch.found });
        self.rerank(query, budget.hits, scratch);
    }

    /// Scores every row that counts by its exact row.
    pub fn exact(&self, query: &mut Prepared, hits: usize, allow: impl Fn(u32) -> bool, scratch: &mut Scratch) {
        query.project(&self.projection);
        scratch.hits.clear();
        let rows = (0..self.len() as u32).filter(|row| allow(*row));
        Isa::best().run(Exact { segment: self, values: query.exact_values(), terms: query.exact, rows, hits, out: &mut scratch.hits });
    }

    /// Turns the candidates into hits.
    fn rerank(&self, query: &Prepared, hits: usize, scratch: &mut Scratch) {
        scratch.hits.clear();
        let rows = scratch.found.iter().map(|found| row_of(*found));
        Isa::best().run(Exact { segment: self, values: query.exact_values(), terms: query.exact, rows, hits, out: &mut scratch.hits });
    }

    #[inline(always)]
    fn lean_row(&self, row: u32) -> *const u8 {
        self.lean.as_ptr().wrapping_add(row as usize * self.projection.stride())
    }
}

struct Walked<'a, 'w, F> {
    walk: Walk<'w>,
    breadth: usize,
    keep: usize,
    is_apart: bool,
    allow: &'a F,
    scratch: &'a mut WalkScratch,
}

/// Below this share of allowed rows a walk keeps them apart from the rows that only lead there; above it, walking a wider way and
/// leaving the others out is faster, unless the filter shuns the query's neighbourhood.
const APART_SHARE: f32 = 0.15;

impl<F: Fn(u32) -> bool> Task for Walked<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        // SAFETY: the columns have a row for every id, as building or `from_sections` made sure.
        unsafe {
            if self.is_apart {
                self.walk.run_filtered::<K, F>(self.breadth.max(self.keep), self.allow, self.scratch);
            } else {
                self.walk.run::<K>(self.breadth, self.keep, self.scratch);
            }
        }
    }
}

/// Replaces estimates by lean scores and keeps the best.
struct LeanPass<'a> {
    segment: &'a Segment,
    query: &'a LeanQuery,
    keep: usize,
    found: &'a mut Vec<u64>,
}

impl Task for LeanPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { segment, query, keep, found } = self;
        if found.len() > keep {
            for index in (0..found.len()).step_by(4) {
                // SAFETY: candidates are rows.
                unsafe {
                    for ahead in found.iter().skip(index + AHEAD).take(4) {
                        K::prefetch(segment.lean_row(row_of(*ahead)), query.stride);
                    }
                    let last = found.len() - 1;
                    let rows = [0, 1, 2, 3].map(|lane| row_of(found[(index + lane).min(last)]));
                    let scores = score4::<K>(segment, query, rows);
                    for (entry, (row, score)) in found[index..].iter_mut().zip(rows.iter().zip(scores)) {
                        *entry = candidate(score, *row);
                    }
                }
            }
            found.select_nth_unstable(keep.max(1) - 1);
            found.truncate(keep.max(1));
        }
    }
}

/// # Safety
/// `rows` are rows of the segment.
#[inline(always)]
unsafe fn score4<K: Kernels>(segment: &Segment, query: &LeanQuery, rows: [u32; 4]) -> [f32; 4] {
    let lines = rows.map(|row| segment.lean_row(row));
    // SAFETY: promised by the caller.
    unsafe {
        let dots = K::dot4(lines, query.codes.as_ptr(), query.offset, query.stride);
        let biases = lines.map(|line| line.add(query.stride - 4).cast::<f32>().read_unaligned());
        [0, 1, 2, 3].map(|lane| dots[lane] as f32 * query.unit + biases[lane])
    }
}

/// The best `keep` of the rows given, by lean score.
struct Gather<'a, I> {
    segment: &'a Segment,
    query: &'a LeanQuery,
    keep: usize,
    rows: I,
    found: &'a mut Vec<u64>,
}

/// Rows that a gather takes at a time.
const BATCH: usize = 32;

impl<I: Iterator<Item = u32>> Task for Gather<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { segment, query, keep, mut rows, found } = self;
        found.clear();
        let keep = keep.max(1);
        let mut threshold = u64::MAX;
        let len = segment.len() as u32;
        // Two batches: while one is scored, the rows of the other are on their way.
        let mut batches = [[0u32; BATCH]; 2];
        let mut counts = [0usize; 2];
        let mut turn = 0;
        loop {
            let (batch, count) = (&mut batches[turn], &mut counts[turn]);
            *count = 0;
            while *count < BATCH {
                let Some(row) = rows.next() else { break };
                if row < len {
                    batch[*count] = row;
                    *count += 1;
                    // SAFETY: a prefetch may name any address.
                    unsafe { K::prefetch(segment.lean_row(row), query.stride) };
                }
            }
            let ended = *count < BATCH;
            turn ^= 1;
            for last_turn in 0..1 + usize::from(ended) {
                let (batch, count) = (&batches[turn ^ last_turn], counts[turn ^ last_turn]);
                for index in (0..count).step_by(4) {
                    let group = [0, 1, 2, 3].map(|lane| batch[(index + lane).min(count - 1)]);
                    // SAFETY: rows below `len`.
                    let scores = unsafe { score4::<K>(segment, query, group) };
                    for (row, score) in group.iter().zip(scores).take(count - index) {
                        let entry = candidate(score, *row);
                        if entry < threshold {
                            found.push(entry);
                        }
                    }
                }
                if found.len() >= 2 * keep + BATCH {
                    let (_, worst, _) = found.select_nth_unstable(keep - 1);
                    threshold = *worst;
                    found.truncate(keep);
                }
            }
            if ended {
                break;
            }
        }
        if found.len() > keep {
            found.select_nth_unstable(keep - 1);
            found.truncate(keep);
        }
    }
}

/// The best `hits` of the rows given, by exact score, best first.
struct Exact<'a, I> {
    segment: &'a Segment,
    values: &'a [f32],
    terms: ExactTerms,
    rows: I,
    hits: usize,
    out: &'a mut Vec<Hit>,
}

impl<I: Iterator<Item = u32>> Task for Exact<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { segment, values, terms, mut rows, hits, out } = self;
        let dimension = segment.meta.params.dimension;
        let stride = exact::stride(dimension);
        let has_bias = segment.meta.params.metric == crate::codes::Metric::L2;
        let mut ring = [0u32; 4];
        let (mut filled, mut at) = (0, 0);
        loop {
            while filled - at < ring.len() {
                let Some(row) = rows.next() else { break };
                ring[filled % 4] = row;
                filled += 1;
                // SAFETY: a prefetch may name any address.
                unsafe { K::prefetch(segment.exact.as_ptr().wrapping_add(row as usize * stride), stride) };
            }
            if at == filled {
                break;
            }
            let row = ring[at % 4];
            at += 1;
            let line = &segment.exact[row as usize * stride..(row as usize + 1) * stride];
            // SAFETY: the line holds `dimension` numbers and the query at least as many.
            let dot = unsafe { K::dot_i16(line.as_ptr().cast(), values.as_ptr(), dimension) };
            let [scale, bias] = exact::factors(line);
            let score = terms.factor * (scale * dot + if has_bias { bias } else { 0.0 }) + terms.constant;
            insert(out, hits, Hit { score, row });
        }
    }
}

/// Keeps `out` the best `hits`, best first, equal scores by row.
#[inline(always)]
fn insert(out: &mut Vec<Hit>, hits: usize, hit: Hit) {
    let before = |other: &Hit| other.score > hit.score || (other.score == hit.score && other.row < hit.row);
    if out.len() >= hits && out.last().is_none_or(before) {
        return;
    }
    let place = out.partition_point(before);
    if out.len() >= hits {
        out.pop();
    }
    out.insert(place, hit);
}
