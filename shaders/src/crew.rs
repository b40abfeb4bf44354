//! Threads that share the work of one run: parts of a batch, or parts of a single step.
//!
//! A step of a small model takes tens of microseconds, less than it takes to start a thread, so the helpers stay: they spin for
//! a moment after each job and sleep when no other follows. Parts are claimed one by one, each thread's own share first and in the
//! order of the threads, so that what one step left in a core's cache is what the same core reads in the next; who is done takes
//! from the others' shares. The leader takes part itself and waits only for helpers that have claimed something, never for one
//! that still sleeps.
#![allow(unsafe_code, reason = "helpers that outlive a job borrow it, and parts of one buffer are written by several threads")]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// Turns of a helper's loop before it sleeps: some tens of microseconds.
const SPINS_MAX: usize = 4000;
/// Set in `Shared::state` while a job can be joined; the rest counts twice the helpers that work on it.
const OPEN: usize = 1;
const HELPER: usize = 2;

/// A piece of work in numbered parts; the second number is the worker's, 0 for the leader.
struct Job<'a> {
    call: &'a (dyn Fn(usize, usize) + Sync),
    /// For each thread the next part of its share that nobody has claimed.
    next: &'a [Padded],
    parts: usize,
}

/// A counter in a cache line of its own (two, since they are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicUsize);

impl Job<'_> {
    /// The first part of a thread's share.
    fn first(&self, share: usize) -> usize {
        share * self.parts / self.next.len()
    }

    /// Claims parts until none is left, the worker's own first.
    fn work(&self, worker: usize) {
        let shares = self.next.len();
        for share in (worker..shares).chain(0..worker) {
            let last = self.first(share + 1);
            loop {
                let part = self.next[share].0.fetch_add(1, Ordering::Relaxed);
                if part >= last {
                    break;
                }
                (self.call)(part, worker);
            }
        }
    }
}

struct Shared {
    /// See [`OPEN`].
    state: AtomicUsize,
    /// Counts the jobs, so that a helper knows a new one.
    epoch: AtomicUsize,
    /// Valid while `state` is not 0.
    job: UnsafeCell<*const Job<'static>>,
    has_panicked: AtomicBool,
    has_ended: AtomicBool,
    /// Helpers that sleep or are about to.
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

// SAFETY: the pointer in `job` is written only while `state` is 0 and by the one leader that holds `Team::leader`; it is read
// only by helpers that are counted in `state`, and the job behind it outlives that count.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

impl Shared {
    /// One helper's life.
    fn help(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_epoch(seen);
            if self.has_ended.load(Ordering::Acquire) {
                return;
            }
            if !self.join() {
                continue;
            }
            // SAFETY: this helper is counted in `state`, so the leader keeps the job alive.
            let job = unsafe { &**self.job.get() };
            if catch_unwind(AssertUnwindSafe(|| job.work(worker))).is_err() {
                self.has_panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(HELPER, Ordering::Release);
        }
    }

    /// Counts this helper in if a job is open.
    fn join(&self) -> bool {
        let add = |state: usize| (state & OPEN == OPEN).then_some(state + HELPER);
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, add).is_ok()
    }

    /// Waits for a job other than the one seen last.
    fn next_epoch(&self, seen: usize) -> usize {
        for _ in 0..SPINS_MAX {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            if epoch != seen {
                break epoch;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        epoch
    }

    fn announce(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // With the lock taken once, a helper that saw the old epoch is surely asleep and hears this.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }
}

/// Closes a job and waits for its helpers, also when the leader panics.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.0.state.load(Ordering::Acquire) != 0 {
            spins += 1;
            // On a busy machine the helper may need this very core.
            if spins > SPINS_MAX { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// The threads of one executor.
pub(crate) struct Team {
    shared: Arc<Shared>,
    /// Held by the run that leads the helpers; the handles are filled in by the first one.
    leader: Mutex<Vec<JoinHandle<()>>>,
    threads: usize,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Team").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Team {
    /// A team of `threads`, the caller's included.
    pub(crate) fn new(threads: usize) -> Team {
        let shared = Shared {
            state: AtomicUsize::new(0),
            epoch: AtomicUsize::new(0),
            job: UnsafeCell::new(std::ptr::null()),
            has_panicked: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::default(),
            wake: Condvar::new(),
        };
        Team { shared: Arc::new(shared), leader: Mutex::default(), threads: threads.max(1) }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The crew for one run: all threads, or only the caller's where another run leads them at the moment or none can be had.
    pub(crate) fn crew(&self) -> Crew<'_> {
        if self.threads == 1 {
            return Crew::alone();
        }
        let mut helpers = match self.leader.try_lock() {
            Ok(helpers) => helpers,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return Crew::alone(),
        };
        while helpers.len() + 1 < self.threads {
            let (shared, worker) = (self.shared.clone(), helpers.len() + 1);
            let helper = std::thread::Builder::new().name(format!("compute-{worker}")).spawn(move || shared.help(worker));
            let Ok(helper) = helper else { break };
            helpers.push(helper);
        }
        let threads = helpers.len() + 1;
        let next = (0..threads).map(|_| Padded::default()).collect();
        Crew { threads, lead: Some(Lead { shared: &self.shared, next, _helpers: helpers }) }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Release);
        self.shared.announce();
        let helpers = self.leader.get_mut().unwrap_or_else(PoisonError::into_inner);
        for helper in helpers.drain(..) {
            // A helper catches the panics of its jobs.
            let _ = helper.join();
        }
    }
}

/// The threads of one run.
pub(crate) struct Crew<'a> {
    threads: usize,
    lead: Option<Lead<'a>>,
}

struct Lead<'a> {
    shared: &'a Shared,
    next: Vec<Padded>,
    /// Nobody else leads meanwhile.
    _helpers: MutexGuard<'a, Vec<JoinHandle<()>>>,
}

impl Crew<'_> {
    /// The caller's thread only.
    pub(crate) fn alone() -> Crew<'static> {
        Crew { threads: 1, lead: None }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `call(part, worker)` for each part once, `worker` below [`Crew::threads`] and never the same at the same time.
    ///
    /// # Panics
    /// When a call does, after all have ended.
    pub(crate) fn run(&self, parts: usize, call: &(dyn Fn(usize, usize) + Sync)) {
        let Some(Lead { shared, next, .. }) = self.lead.as_ref().filter(|_| parts > 1) else {
            return (0..parts).for_each(|part| call(part, 0));
        };
        let job = Job { call, next, parts };
        // No helper is counted, so nobody else looks at the shares.
        (0..self.threads).for_each(|share| next[share].0.store(job.first(share), Ordering::Relaxed));
        shared.has_panicked.store(false, Ordering::Relaxed);
        // SAFETY: no job is open and no helper counted, since the run before has closed its own and this one leads alone; the
        // lifetime is cut off only here, and `Closing` waits for all helpers before `job` ends.
        unsafe { *shared.job.get() = std::ptr::from_ref(&job).cast() };
        {
            let closing = Closing(shared);
            shared.state.store(OPEN, Ordering::Release);
            shared.announce();
            job.work(0);
            drop(closing);
        }
        assert!(!shared.has_panicked.load(Ordering::Relaxed), "a part of the run panicked");
    }

    /// Cuts `data` into `parts` pieces of whole units of `unit` numbers, as even as may be, and calls `call(first index of the piece,
    /// piece, room)` for each; the last unit may be shorter. `room` is as in [`Crew::chunks`].
    pub(crate) fn pieces<T: Send>(
        &self,
        data: &mut [T],
        unit: usize,
        parts: usize,
        scratch: &mut [f32],
        call: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
    ) {
        let (data, scratch) = (Parts::new(data), Parts::new(scratch));
        let room = scratch.length / self.threads;
        let units = data.length.div_ceil(unit.max(1));
        let parts = parts.clamp(1, units.max(1));
        let first = |part: usize| (part * units / parts * unit).min(data.length);
        self.run(parts, &|part, worker| {
            // SAFETY: as in `chunks`.
            let (piece, room) = unsafe { (data.part(first(part)..first(part + 1)), scratch.part(worker * room..(worker + 1) * room)) };
            if !piece.is_empty() {
                call(first(part), piece, room);
            }
        });
    }

    /// Cuts `data` into chunks of `length` and calls `call(first index of the chunk, chunk, room)` for each, with `room` from
    /// `scratch`, which holds `rooms` floats for each thread.
    pub(crate) fn chunks<T: Send>(
        &self,
        data: &mut [T],
        length: usize,
        scratch: &mut [f32],
        call: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
    ) {
        let (data, scratch) = (Parts::new(data), Parts::new(scratch));
        let room = scratch.length / self.threads;
        self.run(data.length.div_ceil(length.max(1)), &|part, worker| {
            let first = part * length;
            // SAFETY: parts are claimed once each and their ranges do not overlap; a worker's number is its own while it works.
            let (chunk, room) =
                unsafe { (data.part(first..(first + length).min(data.length)), scratch.part(worker * room..(worker + 1) * room)) };
            call(first, chunk, room);
        });
    }
}

/// A buffer that several threads write apart from each other.
struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    buffer: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it gives out exclusive parts of a slice of things that may be sent; that they are apart is `part`'s contract.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    fn new(data: &'a mut [T]) -> Parts<'a, T> {
        Parts { start: data.as_mut_ptr(), length: data.len(), buffer: std::marker::PhantomData }
    }

    /// One range of the buffer.
    ///
    /// # Safety
    /// No two ranges that are in use at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "the ranges are apart, which is the contract")]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "within the buffer");
        // SAFETY: within the buffer, borrowed for `'a`, and apart from all other ranges in use.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once() {
        let team = Team::new(3);
        for round in 0..200 {
            let crew = team.crew();
            let done: Vec<AtomicUsize> = (0..round % 17).map(|_| AtomicUsize::new(0)).collect();
            crew.run(done.len(), &|part, worker| {
                assert!(worker < 3);
                done[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "round {round}");
        }
    }

    #[test]
    fn pieces_are_whole_units_and_nearly_even() {
        let team = Team::new(3);
        let crew = team.crew();
        for (length, unit, parts) in [(0, 3, 4), (1, 3, 4), (103, 10, 4), (120, 10, 4), (7, 1, 4), (40, 10, 9)] {
            let mut data = vec![0usize; length];
            let sizes = Mutex::new(Vec::new());
            let mut scratch = [0.0; 6];
            crew.pieces(&mut data, unit, parts, &mut scratch, |first, piece, room| {
                assert_eq!(room.len(), 2);
                assert!(first.is_multiple_of(unit) && (piece.len().is_multiple_of(unit) || first + piece.len() == length));
                piece.iter_mut().enumerate().for_each(|(index, value)| *value += first + index);
                sizes.lock().expect("not poisoned").push(piece.len().div_ceil(unit));
            });
            assert!(data.iter().enumerate().all(|(index, value)| index == *value), "{length} in {parts}");
            let sizes = sizes.into_inner().expect("not poisoned");
            assert!(sizes.iter().max().zip(sizes.iter().min()).is_none_or(|(most, least)| most - least <= 1), "{sizes:?}");
        }
    }

    #[test]
    fn chunks_cover_the_buffer_with_room_of_their_own() {
        let team = Team::new(2);
        let crew = team.crew();
        let (mut data, mut scratch) = (vec![0usize; 103], vec![0.0; 9]);
        for _ in 0..50 {
            data.fill(0);
            crew.chunks(&mut data, 10, &mut scratch, |first, chunk, room| {
                room.fill(first as f32);
                assert_eq!(room.len(), 4);
                for (index, value) in chunk.iter_mut().enumerate() {
                    *value += first + index;
                }
                assert!(room.iter().all(|value| *value == first as f32));
            });
            assert!(data.iter().enumerate().all(|(index, value)| index == *value));
        }
        crew.chunks(&mut data[..0], 10, &mut [], |_, _, _| panic!("nothing to do"));
    }

    #[test]
    fn a_second_run_works_alone_while_the_first_leads() {
        let team = Team::new(2);
        let first = team.crew();
        assert_eq!((first.threads(), team.crew().threads()), (2, 1));
        drop(first);
        assert_eq!(team.crew().threads(), 2);
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_leader_and_the_team_goes_on() {
        let team = Team::new(2);
        for _ in 0..20 {
            let failed = catch_unwind(AssertUnwindSafe(|| team.crew().run(8, &|part, _| assert!(part != 5, "part five"))));
            assert!(failed.is_err());
            let count = AtomicUsize::new(0);
            team.crew().run(8, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 8);
        }
    }
}
