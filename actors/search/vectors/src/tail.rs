//! The mutable tail: rows that are searchable as soon as they are written. One writer appends, any number of readers scan what is
//! published; neither waits for the other.
//!
//! A row is written first and then published by one release store of the length; a reader loads the length once and never looks
//! beyond it. Rows are never changed afterwards, only their alive bits are cleared. The first tail of an index has no projection
//! yet: its exact rows are scanned, and it is short. Later ones have lean codes too.
#![allow(unsafe_code, reason = "one writer appends behind a published length; kernels over raw rows")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytemuck::Pod;

use crate::codes::lean::Encoder;
use crate::codes::query::ExactTerms;
use crate::codes::{Metric, Prepared, Projection, exact};
use crate::index::top::TopRows;
use crate::kernels::{Kernels, Task};
use crate::memory::Buffer;
use crate::owners::AliveBits;

/// Rows that are scanned between two looks at the clock: far below a millisecond.
const ROWS_A_LOOK: usize = 4096;

/// An array that one thread appends to.
struct Appended<T: Pod> {
    pointer: *mut T,
    len: usize,
    /// Owns the memory; only reached through the pointer.
    _memory: Buffer<T>,
}

// SAFETY: `write` and `read` touch disjoint parts by their contract, so nothing is shared while it changes.
unsafe impl<T: Pod> Send for Appended<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Appended<T> {}

impl<T: Pod> Appended<T> {
    fn new(len: usize) -> Self {
        let mut buffer = Buffer::zeroed(len);
        let pointer = buffer.as_mut_ptr();
        Self { pointer, len, _memory: buffer }
    }

    /// # Safety
    /// Only one thread writes, and only at places that no reader has been told of.
    unsafe fn write(&self, at: usize, values: &[T]) {
        assert!(at + values.len() <= self.len, "{} values at {at} of {}", values.len(), self.len);
        // SAFETY: inside the buffer by the assertion; nobody reads there by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.pointer.add(at), values.len()) };
    }

    /// # Safety
    /// The first `len` elements have been written and published to this thread.
    unsafe fn read(&self, len: usize) -> &[T] {
        assert!(len <= self.len, "{len} of {}", self.len);
        // SAFETY: inside the buffer by the assertion; nobody writes there any more by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.pointer, len) }
    }
}

/// The rows of the tail.
pub(crate) struct Tail {
    /// The number that owners' places name it by.
    pub(crate) number: u32,
    metric: Metric,
    dimension: usize,
    capacity: usize,
    projection: Option<Arc<Projection>>,
    /// Zeros, or the projection's: what exact rows are relative to. `[dimension]`
    mean: Vec<f32>,
    /// `[capacity, projection.stride()]`; empty without a projection.
    lean: Appended<u8>,
    /// `[capacity, exact::stride(dimension)]`
    exact: Appended<u8>,
    owners: Appended<u32>,
    /// Where the rows end that were appended together with a row.
    ends: Appended<u32>,
    stamps: Appended<u64>,
    ids: Box<[OnceLock<Box<str>>]>,
    pub(crate) alive: AliveBits,
    /// Rows that readers may look at.
    published: AtomicUsize,
    /// Held while a row is appended: there is one writer.
    appending: Mutex<()>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tail").field("number", &self.number).field("rows", &self.len()).finish_non_exhaustive()
    }
}

impl Tail {
    /// An empty tail with room for `capacity` rows.
    pub(crate) fn new(number: u32, metric: Metric, dimension: usize, capacity: usize, projection: Option<Arc<Projection>>) -> Self {
        let lean_stride = projection.as_ref().map_or(0, |projection| projection.stride());
        Self {
            number,
            metric,
            dimension,
            capacity,
            mean: projection.as_ref().map_or_else(|| vec![0.0; dimension], |projection| projection.mean()[..dimension].to_vec()),
            lean: Appended::new(capacity * lean_stride),
            exact: Appended::new(capacity * exact::stride(dimension)),
            owners: Appended::new(capacity),
            ends: Appended::new(capacity),
            stamps: Appended::new(capacity),
            ids: (0..capacity).map(|_| OnceLock::new()).collect(),
            alive: AliveBits::from_words(capacity, |_| u64::MAX),
            published: AtomicUsize::new(0),
            appending: Mutex::new(()),
            projection,
        }
    }

    /// Rows that are there, alive and dead.
    pub(crate) fn len(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }

    pub(crate) fn projection(&self) -> Option<&Arc<Projection>> {
        self.projection.as_ref()
    }

    /// Appends the rows of one owner, normalised by the metric, and publishes them together. Gives the first row's place, or nothing
    /// when there is no room.
    pub(crate) fn append(&self, owner: u32, id: &str, stamp: u64, vectors: &[Vec<f32>]) -> Option<u32> {
        let _one_writer = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.len();
        if first + vectors.len() > self.capacity || vectors.iter().any(|vector| vector.len() != self.dimension) {
            return None;
        }
        let mut exact_row = vec![0u8; exact::stride(self.dimension)];
        let mut lean_row = vec![0u8; self.projection.as_ref().map_or(0, |projection| projection.stride())];
        let mut encoder = self.projection.as_deref().map(Encoder::new);
        for (row, vector) in (first..).zip(vectors) {
            match &mut encoder {
                Some(encoder) => {
                    encoder.set(std::iter::once(vector.as_slice()));
                    encoder.project();
                    encoder.write_lean(0, &mut lean_row);
                    encoder.write_exact(0, &mut exact_row);
                }
                None => exact::write(vector, &mut exact_row),
            }
            let _ = self.ids[row].set(id.into());
            // SAFETY: the lock makes this the only writer, and `row` is not published.
            unsafe {
                self.lean.write(row * lean_row.len(), &lean_row);
                self.exact.write(row * exact_row.len(), &exact_row);
                self.owners.write(row, &[owner]);
                self.ends.write(row, &[(first + vectors.len()) as u32]);
                self.stamps.write(row, &[stamp]);
            }
        }
        self.published.store(first + vectors.len(), Ordering::Release);
        Some(first as u32)
    }

    /// Owners of the published rows.
    pub(crate) fn owners(&self) -> &[u32] {
        // SAFETY: the acquire load of the length makes the rows before it visible, and they are never written again.
        unsafe { self.owners.read(self.len()) }
    }

    pub(crate) fn stamps(&self) -> &[u64] {
        // SAFETY: as in `owners`.
        unsafe { self.stamps.read(self.len()) }
    }

    pub(crate) fn id(&self, row: u32) -> &str {
        self.ids.get(row as usize).and_then(OnceLock::get).map_or("", |id| id)
    }

    /// The rows that were appended together with `row`, from there on.
    pub(crate) fn sisters(&self, row: u32) -> impl Iterator<Item = u32> + use<> {
        // SAFETY: as in `owners`.
        let end = unsafe { self.ends.read(self.len()) }.get(row as usize).copied().unwrap_or(row);
        row..end
    }

    /// Reads a published row back into the numbers that it was made from.
    pub(crate) fn vector(&self, row: u32, out: &mut [f32]) {
        exact::read(self.exact_row(row), &self.mean, out);
    }

    fn exact_row(&self, row: u32) -> &[u8] {
        let stride = exact::stride(self.dimension);
        // SAFETY: as in `owners`.
        let rows = unsafe { self.exact.read(self.len() * stride) };
        &rows[row as usize * stride..][..stride]
    }

    /// Memory that the rows take, in bytes; more is reserved.
    pub(crate) fn bytes(&self) -> usize {
        let lean = self.projection.as_ref().map_or(0, |projection| projection.stride());
        let row = lean + exact::stride(self.dimension) + 2 * size_of::<u32>() + size_of::<u64>() + size_of::<OnceLock<Box<str>>>();
        self.len() * row + self.alive.bytes()
    }
}

/// What a scan of the tail is asked for.
pub(crate) struct TailScan<'a, Counts> {
    pub(crate) tail: &'a Tail,
    /// Rows to look at, at most those that are published.
    pub(crate) rows: usize,
    /// Made ready for the tail's projection, where it has one.
    pub(crate) query: &'a Prepared,
    /// Whether a row counts: alive, allowed, not excluded.
    pub(crate) counts: Counts,
    pub(crate) is_late: &'a dyn Fn() -> bool,
    pub(crate) top: &'a mut TopRows,
}

impl<Counts: Fn(u32) -> bool> Task for TailScan<'_, Counts> {
    /// `false` when it was late.
    type Output = bool;

    #[inline(always)]
    fn run<K: Kernels>(self) -> bool {
        let Some(projection) = self.tail.projection() else { return true };
        let stride = projection.stride();
        let rows = self.rows.min(self.tail.len());
        // SAFETY: as in `Tail::owners`.
        let codes = unsafe { self.tail.lean.read(rows * stride) };
        let query = &self.query.lean;
        for group in (0..rows).step_by(4) {
            if group % ROWS_A_LOOK == 0 && group > 0 && (self.is_late)() {
                return false;
            }
            let row = |lane: usize| codes[(group + lane).min(rows - 1) * stride..][..stride].as_ptr();
            let lines = [row(0), row(1), row(2), row(3)];
            // SAFETY: four rows of `stride` codes each, and a query of as many.
            let dots = unsafe { K::dot4(lines, query.codes.as_ptr(), query.offset, stride) };
            for (lane, dot) in dots.into_iter().enumerate().take(rows - group) {
                let bias = crate::codes::lean::bias(&codes[(group + lane) * stride..][..stride]);
                let score = query.unit * dot as f32 + bias;
                if self.top.wants(score) && (self.counts)((group + lane) as u32) {
                    self.top.push(score, (group + lane) as u32);
                }
            }
        }
        true
    }
}

/// The exact scores of rows of the tail, one after the other.
pub(crate) struct TailExact<'a, Rows, Each> {
    pub(crate) tail: &'a Tail,
    /// Made ready for the tail's projection, where it has one.
    pub(crate) query: &'a Prepared,
    pub(crate) rows: Rows,
    pub(crate) is_late: &'a dyn Fn() -> bool,
    pub(crate) each: Each,
}

impl<Rows: Iterator<Item = u32>, Each: FnMut(u32, f32)> Task for TailExact<'_, Rows, Each> {
    /// `false` when it was late.
    type Output = bool;

    #[inline(always)]
    fn run<K: Kernels>(mut self) -> bool {
        let (tail, query) = (self.tail, self.query);
        let (values, terms) = match tail.projection() {
            Some(_) => (query.exact_values(), query.exact),
            None => (query.values(), unprojected(tail.metric, query.values())),
        };
        let has_bias = tail.metric == Metric::L2;
        for (count, row) in self.rows.enumerate() {
            if count % ROWS_A_LOOK == ROWS_A_LOOK - 1 && (self.is_late)() {
                return false;
            }
            let bytes = tail.exact_row(row);
            // SAFETY: an exact row begins with `dimension` codes, and the query is as long.
            let dot = unsafe { K::dot_i16(bytes.as_ptr().cast(), values.as_ptr(), tail.dimension) };
            let [scale, bias] = exact::factors(bytes);
            (self.each)(row, terms.factor * (scale * dot + if has_bias { bias } else { 0.0 }) + terms.constant);
        }
        true
    }
}

/// The terms of exact rows that are relative to nothing.
fn unprojected(metric: Metric, values: &[f32]) -> ExactTerms {
    match metric {
        Metric::Cosine | Metric::Dot => ExactTerms { factor: 1.0, constant: 0.0 },
        Metric::L2 => ExactTerms { factor: 2.0, constant: -values.iter().map(|value| value * value).sum::<f32>() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::parallel::Random;

    const DIMENSIONS: usize = 70;

    fn vector(random: &mut Random, metric: Metric) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| 0.5 + random.normal()).collect();
        metric.normalise(&mut vector);
        vector
    }

    fn projection(metric: Metric) -> Arc<Projection> {
        let (mut random, width) = (Random::new(3), crate::codes::padded(DIMENSIONS));
        let mut sample = vec![0.0; 500 * width];
        sample.chunks_exact_mut(width).for_each(|row| row[..DIMENSIONS].copy_from_slice(&vector(&mut random, metric)));
        Arc::new(Projection::learn(metric, DIMENSIONS, sample, 0.9, 1, 1, &|| false).expect("not stopped"))
    }

    fn exact_scores(tail: &Tail, query: &Prepared, rows: impl Iterator<Item = u32>) -> Vec<(u32, f32)> {
        let mut scores = Vec::new();
        Isa::best().run(TailExact { tail, query, rows, is_late: &|| false, each: |row, score| scores.push((row, score)) });
        scores
    }

    #[test]
    fn rows_come_back_and_score_as_they_should() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            for with_projection in [false, true] {
                let mut random = Random::new(9);
                let tail = Tail::new(1, metric, DIMENSIONS, 40, with_projection.then(|| projection(metric)));
                let vectors: Vec<Vec<f32>> = (0..37).map(|_| vector(&mut random, metric)).collect();
                for (owner, vector) in vectors.iter().enumerate() {
                    assert_eq!(tail.append(owner as u32, "id", 5, std::slice::from_ref(vector)), Some(owner as u32));
                }
                let asked = vector(&mut random, metric);
                let mut query = Prepared::new(metric, DIMENSIONS);
                query.set(&asked).expect("finite");
                if let Some(projection) = tail.projection() {
                    query.project(projection);
                }
                let mut truth = Vec::new();
                for (row, score) in exact_scores(&tail, &query, 0..37) {
                    let pairs = vectors[row as usize].iter().zip(&asked);
                    let expected = match metric {
                        Metric::Cosine | Metric::Dot => pairs.map(|(a, b)| a * b).sum::<f32>(),
                        Metric::L2 => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
                    };
                    assert!((score - expected).abs() < 2e-3, "{metric:?} {score} {expected}");
                    truth.push((score, row));
                    let mut back = vec![0.0; DIMENSIONS];
                    tail.vector(row, &mut back);
                    assert!(back.iter().zip(&vectors[row as usize]).all(|(a, b)| (a - b).abs() < 1e-3));
                }
                if with_projection {
                    let mut top = TopRows::default();
                    top.reset(12);
                    tail.alive.kill(truth[0].1);
                    let scan = TailScan {
                        tail: &tail,
                        rows: tail.len(),
                        query: &query,
                        counts: |row| tail.alive.contains(row),
                        is_late: &|| false,
                        top: &mut top,
                    };
                    assert!(Isa::best().run(scan));
                    let found: Vec<u32> = top.finish().iter().map(|(_, row)| *row).collect();
                    let dead = truth.remove(0).1;
                    truth.sort_by(|a, b| b.0.total_cmp(&a.0));
                    assert!(!found.contains(&dead) && found.contains(&truth[0].1), "{metric:?} {found:?} {truth:?}");
                }
            }
        }
    }

    #[test]
    fn rows_of_one_call_belong_together_and_a_full_tail_takes_nothing() {
        let (mut random, metric) = (Random::new(2), Metric::Dot);
        let tail = Tail::new(1, metric, DIMENSIONS, 6, None);
        let vectors: Vec<Vec<f32>> = (0..3).map(|_| vector(&mut random, metric)).collect();
        assert_eq!(tail.append(7, "a", 1, &vectors[..2]), Some(0));
        assert_eq!(tail.append(7, "a", 2, &vectors), Some(2));
        assert_eq!((tail.sisters(0).collect::<Vec<_>>(), tail.sisters(2).collect::<Vec<_>>()), (vec![0, 1], vec![2, 3, 4]));
        assert_eq!(tail.append(8, "b", 3, &vectors[..2]), None, "one place is left");
        assert_eq!((tail.len(), tail.owners(), tail.id(4), tail.id(5), tail.stamps()[4]), (5, &[7u32; 5][..], "a", "", 2));
        assert_eq!(tail.append(8, "b", 3, &[vec![1.0]]), None, "another dimension");
        assert_eq!(tail.append(8, "b", 3, &vectors[..1]), Some(5));
    }

    #[test]
    fn a_reader_sees_whole_rows_only() {
        let metric = Metric::Dot;
        let tail = Tail::new(1, metric, DIMENSIONS, 3000, None);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut row = vec![0.0; DIMENSIONS];
                while tail.len() < 3000 {
                    let len = tail.len() as u32;
                    for at in len.saturating_sub(3)..len {
                        tail.vector(at, &mut row);
                        let expected = (at % 100) as f32 + 1.0;
                        assert!(row.iter().all(|value| (value - expected).abs() < 0.01), "{at}: {row:?}");
                        assert_eq!((tail.owners()[at as usize], tail.id(at)), (at, "id"));
                    }
                }
            });
            for at in 0..3000u32 {
                let _ = tail.append(at, "id", 0, &[vec![(at % 100) as f32 + 1.0; DIMENSIONS]]);
            }
            reader.join().expect("no assertion failed");
        });
    }
}
