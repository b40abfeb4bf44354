//! Work split over a few threads of its own, which can be asked to stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Asked between chunks of work; `true` ends it early.
pub(crate) type ShouldStop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Runs `work` over chunks of `0..len` on `threads` threads, each with the state that `start` gives it.
///
/// Returns `false` when it was stopped before the end.
pub(crate) fn for_each_chunk<S>(
    len: usize,
    chunk: usize,
    threads: usize,
    should_stop: ShouldStop<'_>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, std::ops::Range<usize>) + Sync,
) -> bool {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let chunk = chunk.max(1);
    let run = || {
        let mut state = start();
        loop {
            let begin = next.fetch_add(chunk, Ordering::Relaxed);
            if begin >= len || stopped.load(Ordering::Relaxed) {
                return;
            }
            if should_stop() {
                stopped.store(true, Ordering::Relaxed);
                return;
            }
            work(&mut state, begin..len.min(begin + chunk));
        }
    };
    if threads <= 1 {
        run();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(run);
            }
        });
    }
    !stopped.load(Ordering::Relaxed)
}

/// The disjoint rows of a matrix, written by several threads.
pub(crate) struct SharedRows<'a, T> {
    pointer: *mut T,
    stride: usize,
    rows: usize,
    borrow: std::marker::PhantomData<&'a mut [T]>,
}

#[allow(unsafe_code, reason = "disjoint rows of one exclusive borrow go to different threads")]
// SAFETY: rows are disjoint, and `row` requires that no two threads ask for the same one.
unsafe impl<T: Send> Sync for SharedRows<'_, T> {}

#[allow(unsafe_code, reason = "disjoint rows of one exclusive borrow go to different threads")]
impl<'a, T> SharedRows<'a, T> {
    /// Rows of `stride` elements; a ragged end is left alone.
    pub(crate) fn new(values: &'a mut [T], stride: usize) -> Self {
        Self { pointer: values.as_mut_ptr(), stride, rows: values.len() / stride.max(1), borrow: std::marker::PhantomData }
    }

    /// Row `index`.
    ///
    /// # Safety
    /// No other reference to the same row may be alive.
    #[allow(clippy::mut_from_ref, reason = "the caller promises disjoint rows")]
    pub(crate) unsafe fn row(&self, index: usize) -> &mut [T] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: inside the borrow by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(index * self.stride), self.stride) }
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the seeded numbers behind samples, orders and projections.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Uniform in `0..bound`, `bound > 0`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Uniform in the open unit interval.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A standard normal number (Box and Muller).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// `count` different numbers below `len` in random order, or all of them.
    pub(crate) fn sample(&mut self, len: usize, count: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..len as u32).collect();
        let count = count.min(len);
        for index in 0..count {
            let other = index + self.below(len - index);
            all.swap(index, other);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_whatever_the_split() {
        for (len, chunk, threads) in [(0, 1, 2), (1, 10, 3), (1000, 7, 1), (1000, 7, 4)] {
            let mut values = vec![0u32; len];
            let rows = SharedRows::new(&mut values, 1);
            let complete = for_each_chunk(
                len,
                chunk,
                threads,
                &|| false,
                || (),
                |(), range| {
                    for index in range {
                        #[allow(unsafe_code, reason = "the split gives each index to one thread")]
                        // SAFETY: every index belongs to one chunk.
                        unsafe {
                            rows.row(index)[0] += 1;
                        }
                    }
                },
            );
            assert!(complete);
            assert!(values.iter().all(|count| *count == 1), "{len} {chunk} {threads}");
        }
    }

    #[test]
    fn work_stops_when_asked() {
        let done = AtomicUsize::new(0);
        let stop = || done.load(Ordering::Relaxed) >= 3;
        assert!(!for_each_chunk(100, 1, 1, &stop, || (), |(), _| _ = done.fetch_add(1, Ordering::Relaxed)));
        assert_eq!(done.into_inner(), 3);
    }

    #[test]
    fn samples_are_distinct_and_numbers_have_their_moments() {
        let mut random = Random::new(1);
        let mut sample = random.sample(1000, 400);
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), 400);
        let normals: Vec<f32> = (0..20_000).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f32>() / 20_000.0;
        let variance = normals.iter().map(|value| value * value).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
