//! Jobs on several threads whose results do not depend on how many there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs jobs `0..count`; their results in order.
pub(crate) fn all<T: Send>(count: usize, threads: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count {
                break;
            }
            let result = job(place);
            // A poisoned lock is one whose holder panicked: the scope passes that on.
            if let Ok(mut done) = done.lock() {
                done.push((place, result));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, count.max(1)) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_stand_in_order_whatever_the_threads() {
        for threads in [0, 1, 3, 50] {
            assert_eq!(super::all(20, threads, |place| place * place), (0..20).map(|place| place * place).collect::<Vec<_>>());
        }
        assert_eq!(super::all(0, 2, |place| place), []);
    }
}
