//! Builds the graph: rows go in one by one, on several threads, each under the locks of the rows it changes.
#![allow(unsafe_code, reason = "rows of neighbours that several threads write under locks")]

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::walk::{DEGREE_MAX, Run, Walk, WalkScratch, row_of};
use super::{Graph, NONE};
use crate::kernels::{Isa, Kernels, Task};
use crate::memory::{Buffer, Column};
use crate::parallel::{Random, ShouldStop, for_each_chunk};

/// How a graph is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuildParams {
    pub(crate) degree: usize,
    /// Candidates that a new row's neighbours are chosen from.
    pub(crate) breadth: usize,
    /// Above 1 keeps longer edges: a candidate stays unless one kept is nearer to it by this factor (of squared distances).
    pub(crate) alpha: f32,
    pub(crate) entries: usize,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

/// Rows that go in on one thread first, so that the others start from a graph.
const SEED_ROWS: usize = 1000;

/// The rows a graph is built over, in code units: `|a - b|^2 = squares[a] + squares[b] - 2 dot(a, b)`.
pub(super) struct Space<'a> {
    pub(super) codes: &'a [u8],
    pub(super) stride: usize,
    pub(super) squares: Vec<i32>,
    /// 128 times the sum of each row's codes.
    pub(super) offsets: Vec<i32>,
    /// Minus half of each square: the bias under which a walk finds the nearest.
    pub(super) biases: Vec<f32>,
}

impl<'a> Space<'a> {
    pub(super) fn new(codes: &'a [u8], stride: usize) -> Self {
        let rows = codes.len() / stride;
        let (mut squares, mut offsets) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in codes.chunks_exact(stride) {
            let (mut square, mut sum) = (0i32, 0i32);
            for code in &row[..stride - 4] {
                let value = i32::from(*code) - 128;
                square += value * value;
                sum += value;
            }
            squares.push(square);
            offsets.push(128 * sum);
        }
        let biases = squares.iter().map(|square| -0.5 * *square as f32).collect();
        Self { codes, stride, squares, offsets, biases }
    }

    /// Writes `row` as a query: the codes as signed numbers, the bias as nothing.
    #[inline(always)]
    fn as_query(&self, row: u32, query: &mut [i8]) {
        let at = row as usize * self.stride;
        for (value, code) in query.iter_mut().zip(&self.codes[at..at + self.stride - 4]) {
            *value = (code ^ 0x80) as i8;
        }
        query[self.stride - 4..].fill(0);
    }

    #[inline(always)]
    unsafe fn dots<K: Kernels>(&self, query: &[i8], offset: i32, ids: [u32; 4]) -> [i32; 4] {
        // SAFETY: ids are rows, the query has the rows' stride.
        unsafe { K::dot4(ids.map(|id| self.codes.as_ptr().add(id as usize * self.stride)), query.as_ptr(), offset, self.stride) }
    }
}

/// Memory of one thread that chooses neighbours.
#[derive(Default)]
pub(super) struct Chooser {
    query: Vec<i8>,
    /// Squared distance and row, nearest first.
    pub(super) candidates: Vec<(i32, u32)>,
    pub(super) chosen: Vec<u32>,
}

/// Fills `chosen` with at most `degree` of `ids` as neighbours of `row`.
pub(super) struct Choose<'a, 's> {
    pub(super) space: &'a Space<'s>,
    pub(super) row: u32,
    pub(super) ids: &'a [u32],
    pub(super) degree: usize,
    pub(super) alpha: f32,
    pub(super) chooser: &'a mut Chooser,
}

impl Task for Choose<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self) {
        let Self { space, row, ids, degree, alpha, chooser } = self;
        let Chooser { query, candidates, chosen } = chooser;
        query.resize(space.stride, 0);
        space.as_query(row, query);
        candidates.clear();
        let (square, offset) = (space.squares[row as usize], space.offsets[row as usize]);
        for four in ids.chunks(4) {
            let group = [0, 1, 2, 3].map(|lane| four[lane.min(four.len() - 1)]);
            // SAFETY: ids are rows.
            let dots = unsafe { space.dots::<K>(query, offset, group) };
            for (id, dot) in four.iter().zip(dots) {
                if *id != row {
                    candidates.push((square + space.squares[*id as usize] - 2 * dot, *id));
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        chosen.clear();
        for &(distance, id) in candidates.iter() {
            if chosen.len() >= degree {
                break;
            }
            space.as_query(id, query);
            let (square, offset) = (space.squares[id as usize], space.offsets[id as usize]);
            let mut hidden = false;
            for four in chosen.chunks(4) {
                let group = [0, 1, 2, 3].map(|lane| four[lane.min(four.len() - 1)]);
                // SAFETY: ids are rows.
                let dots = unsafe { space.dots::<K>(query, offset, group) };
                for (other, dot) in group.iter().zip(dots) {
                    let between = square + space.squares[*other as usize] - 2 * dot;
                    hidden |= (between as f32) * alpha <= distance as f32;
                }
                if hidden {
                    break;
                }
            }
            if !hidden {
                chosen.push(id);
            }
        }
    }
}

/// A graph that several threads write.
struct Builder<'a> {
    space: Space<'a>,
    params: BuildParams,
    neighbours: &'a [AtomicU32],
    locks: Vec<AtomicU8>,
    entries: Vec<u32>,
}

struct Worker {
    scratch: WalkScratch,
    chooser: Chooser,
    query: Vec<i8>,
    ids: Vec<u32>,
}

impl Builder<'_> {
    fn lock(&self, row: u32) {
        let mut spins = 0;
        while self.locks[row as usize].compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spins += 1;
            if spins < 64 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn unlock(&self, row: u32) {
        self.locks[row as usize].store(0, Ordering::Release);
    }

    fn places(&self, row: u32) -> &[AtomicU32] {
        let at = row as usize * self.params.degree;
        &self.neighbours[at..at + self.params.degree]
    }

    fn write(&self, row: u32, ids: &[u32]) {
        for (index, place) in self.places(row).iter().enumerate() {
            place.store(ids.get(index).copied().unwrap_or(NONE), Ordering::Relaxed);
        }
    }

    fn insert(&self, row: u32, worker: &mut Worker) {
        let Worker { scratch, chooser, query, ids } = worker;
        let isa = Isa::best();
        query.resize(self.space.stride, 0);
        self.space.as_query(row, query);
        let walk = Walk {
            codes: self.space.codes.as_ptr(),
            stride: self.space.stride,
            rows: self.space.squares.len(),
            neighbours: self.neighbours.as_ptr().cast(),
            degree: self.params.degree,
            entries: &self.entries,
            query: query.as_ptr(),
            offset: self.space.offsets[row as usize],
            unit: 1.0,
            biases: self.space.biases.as_ptr(),
        };
        isa.run(Run { walk, breadth: self.params.breadth, keep: self.params.breadth, scratch });
        ids.clear();
        ids.extend(scratch.pool.iter().map(|found| row_of(*found)));
        let (degree, alpha) = (self.params.degree, self.params.alpha);
        isa.run(Choose { space: &self.space, row, ids, degree: (degree * 3 / 4).max(1), alpha, chooser });
        std::mem::swap(ids, &mut chooser.chosen);
        self.lock(row);
        self.write(row, ids);
        self.unlock(row);
        let mut all = [0u32; DEGREE_MAX + 1];
        for &other in ids.iter() {
            self.lock(other);
            let places = self.places(other);
            let mut count = 0;
            for place in places {
                let id = place.load(Ordering::Relaxed);
                if id == NONE {
                    break;
                }
                all[count] = id;
                count += 1;
            }
            if !all[..count].contains(&row) {
                if count < places.len() {
                    places[count].store(row, Ordering::Relaxed);
                } else {
                    all[count] = row;
                    let degree = (degree * 7 / 8).max(1);
                    isa.run(Choose { space: &self.space, row: other, ids: &all[..=count], degree, alpha, chooser });
                    self.write(other, &chooser.chosen);
                }
            }
            self.unlock(other);
        }
    }
}

/// Builds a graph over `codes`, lean rows of `stride` bytes. `None` when stopped.
pub(crate) fn build(codes: &[u8], stride: usize, params: BuildParams, should_stop: ShouldStop<'_>) -> Option<Graph> {
    let rows = codes.len() / stride;
    let degree = params.degree.clamp(1, DEGREE_MAX);
    let params = BuildParams { degree, ..params };
    let mut neighbours = Buffer::<u32>::zeroed(rows * degree);
    neighbours.fill(NONE);
    let order = Random::new(params.seed).sample(rows, rows);
    let entries = order[..params.entries.clamp(1, DEGREE_MAX).min(rows)].to_vec();
    let builder = Builder {
        space: Space::new(codes, stride),
        params,
        neighbours: atomics(&mut neighbours),
        locks: (0..rows).map(|_| AtomicU8::new(0)).collect(),
        entries: entries.clone(),
    };
    let start = || Worker { scratch: WalkScratch::default(), chooser: Chooser::default(), query: Vec::new(), ids: Vec::new() };
    let first = rows.min(SEED_ROWS);
    let insert = |offset: usize| {
        let (builder, order) = (&builder, &order);
        move |worker: &mut Worker, range: std::ops::Range<usize>| {
            for index in range {
                builder.insert(order[offset + index], worker);
            }
        }
    };
    let complete = for_each_chunk(first, 64, 1, should_stop, start, insert(0))
        && for_each_chunk(rows - first, 64, params.threads, should_stop, start, insert(first));
    drop(builder);
    complete.then(|| Graph { neighbours: neighbours.into(), degree, entries: Column::from(Buffer::from_slice(&entries)) })
}

/// The words of a buffer as atomics.
pub(super) fn atomics(words: &mut [u32]) -> &[AtomicU32] {
    // SAFETY: `AtomicU32` has the layout of `u32`, and the exclusive borrow becomes shared access by atomics alone.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}
