//! Heavy work on dedicated threads behind a bounded channel, so that it never runs on the async threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError, bounded};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::context::Context;

/// Why a job gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The queue in front of the threads is full.
    #[error("{pool}: too much work waiting")]
    Overloaded {
        /// The pool's name.
        pool: &'static str,
    },
    /// The deadline passed before the work was done.
    #[error("{pool}: not done in time")]
    DeadlineExceeded {
        /// The pool's name.
        pool: &'static str,
    },
    /// The job panicked; the thread goes on with the next one.
    #[error("{pool}: job panicked: {message}")]
    Panicked {
        /// The pool's name.
        pool: &'static str,
        /// The panic's own text.
        message: String,
    },
    /// The pool has stopped.
    #[error("{pool}: stopped")]
    Stopped {
        /// The pool's name.
        pool: &'static str,
    },
}

struct Job<I, O> {
    context: Context,
    input: I,
    reply: oneshot::Sender<Result<O, WorkError>>,
}

/// Since when each thread of a pool has been at its job; read by the watchdog.
#[derive(Debug)]
pub struct Pulse {
    name: &'static str,
    at_work_since: Mutex<Vec<Option<Instant>>>,
}

impl Pulse {
    /// For a pool of its own making: the watchdog sees it until it is dropped.
    pub fn register(name: &'static str, threads: usize) -> Arc<Self> {
        let pulse = Arc::new(Self { name, at_work_since: Mutex::new(vec![None; threads]) });
        PULSES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pulse));
        pulse
    }

    /// A thread has begun its job at `since`, or, with `None`, ended it.
    pub fn set(&self, thread: usize, since: Option<Instant>) {
        let mut threads = self.at_work_since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = threads.get_mut(thread) {
            *slot = since;
        }
    }

    fn is_stuck(&self, longer_than: Duration) -> bool {
        let threads = self.at_work_since.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().flatten().any(|since| since.elapsed() > longer_than)
    }
}

/// Every pool of the process, so that one watchdog sees them all wherever they were made.
static PULSES: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());

/// The pools of this process in which a thread has been at one job for longer than `longer_than`.
pub fn stuck_pools(longer_than: Duration) -> Vec<&'static str> {
    let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
    pulses.retain(|pulse| pulse.strong_count() > 0);
    pulses.iter().filter_map(Weak::upgrade).filter(|pulse| pulse.is_stuck(longer_than)).map(|pulse| pulse.name).collect()
}

/// A pool of threads that turn `I` into `O`. Dropping the pool closes the queue, lets jobs under way end and joins.
pub struct Workers<I, O> {
    name: &'static str,
    queue: Option<Sender<Job<I, O>>>,
    busy: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl<I: Send + 'static, O: Send + 'static> Workers<I, O> {
    /// Starts `threads` threads; `make(i)` builds the worker of thread `i` on that thread, so that it may own state that is not `Send`.
    /// At most `queue_max` jobs wait.
    pub fn spawn<W>(
        name: &'static str,
        threads: usize,
        queue_max: usize,
        make: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> std::io::Result<Self>
    where
        W: FnMut(&Context, I) -> O,
    {
        let (queue, jobs) = bounded::<Job<I, O>>(queue_max);
        let make = Arc::new(make);
        let busy = Arc::new(AtomicUsize::new(0));
        let pulse = Pulse::register(name, threads);
        let mut handles = Vec::with_capacity(threads);
        for index in 0..threads {
            let (jobs, make, busy, pulse) = (jobs.clone(), Arc::clone(&make), Arc::clone(&busy), Arc::clone(&pulse));
            let body = move || {
                let mut worker = make(index);
                for job in jobs {
                    busy.fetch_add(1, Ordering::Relaxed);
                    pulse.set(index, Some(Instant::now()));
                    run(name, &mut worker, job);
                    pulse.set(index, None);
                    busy.fetch_sub(1, Ordering::Relaxed);
                }
            };
            handles.push(std::thread::Builder::new().name(format!("{name}-{index}")).spawn(body)?);
        }
        Ok(Self { name, queue: Some(queue), busy, threads: handles })
    }

    /// Hands a job over and returns at once; a full queue is an error, never a wait. Dropping the receiver cancels a
    /// job that has not started.
    pub fn try_submit(&self, context: &Context, input: I) -> Result<oneshot::Receiver<Result<O, WorkError>>, WorkError> {
        let (reply, answer) = oneshot::channel();
        let Some(queue) = self.queue.as_ref() else { return Err(WorkError::Stopped { pool: self.name }) };
        match queue.try_send(Job { context: context.clone(), input, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(WorkError::Overloaded { pool: self.name }),
            Err(TrySendError::Disconnected(_)) => Err(WorkError::Stopped { pool: self.name }),
        }
    }

    /// Hands a job over and waits for its result until the context's deadline.
    pub async fn run(&self, context: &Context, input: I) -> Result<O, WorkError> {
        let answer = self.try_submit(context, input)?;
        match tokio::time::timeout_at(context.deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(WorkError::Stopped { pool: self.name }),
            Err(_) => Err(WorkError::DeadlineExceeded { pool: self.name }),
        }
    }

    /// Jobs waiting for a thread.
    pub fn queue_depth(&self) -> usize {
        self.queue.as_ref().map_or(0, Sender::len)
    }

    /// Threads at work.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }
}

impl<I, O> Drop for Workers<I, O> {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run<I, O>(name: &'static str, worker: &mut impl FnMut(&Context, I) -> O, job: Job<I, O>) {
    let Job { context, input, reply } = job;
    if reply.is_closed() {
        return;
    }
    if context.is_expired() {
        let _ = reply.send(Err(WorkError::DeadlineExceeded { pool: name }));
        return;
    }
    let result = catch_unwind(AssertUnwindSafe(|| worker(&context, input))).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        WorkError::Panicked { pool: name, message: text.unwrap_or_else(|| "no message".to_owned()) }
    });
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::context::Priority;

    fn context() -> Context {
        Context::new(Priority::Serving, Duration::from_secs(30))
    }

    #[tokio::test]
    async fn jobs_are_done_and_a_panic_ends_one_job_alone() {
        let pool = Workers::spawn("halver", 2, 4, |_| |_: &Context, n: u32| if n.is_multiple_of(2) { n / 2 } else { panic!("{n} is odd") })
            .expect("threads");
        assert_eq!(pool.run(&context(), 8).await, Ok(4));
        assert_eq!(pool.run(&context(), 7).await, Err(WorkError::Panicked { pool: "halver", message: "7 is odd".into() }));
        assert_eq!(pool.run(&context(), 6).await, Ok(3));
        assert!(pool.queue_depth() == 0 && stuck_pools(Duration::from_secs(60)).is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_is_an_error_and_a_job_nobody_waits_for_is_skipped() {
        let (release, gate) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel::<u32>();
        let gate = Mutex::new(Some(gate));
        let pool = Workers::spawn("gated", 1, 2, move |_| {
            let (gate, started) = (gate.lock().expect("gate").take().expect("one thread"), started.clone());
            move |_: &Context, n: u32| {
                started.send(n).expect("the test listens");
                let _ = gate.recv();
                n
            }
        })
        .expect("threads");
        let first = pool.try_submit(&context(), 1).expect("taken");
        assert_eq!(starts.recv(), Ok(1));
        let dropped = pool.try_submit(&context(), 2).expect("queued");
        let third = pool.try_submit(&context(), 3).expect("queued");
        assert_eq!(pool.try_submit(&context(), 4).err(), Some(WorkError::Overloaded { pool: "gated" }));
        assert!(pool.busy() == 1 && stuck_pools(Duration::ZERO).contains(&"gated"));
        drop(dropped);
        drop(release);
        assert_eq!((first.await, third.await), (Ok(Ok(1)), Ok(Ok(3))));
        assert_eq!(starts.try_iter().collect::<Vec<_>>(), [3], "the dropped job never started");
    }

    #[tokio::test]
    async fn a_job_whose_deadline_has_passed_is_not_started() {
        let pool = Workers::spawn("late", 1, 1, |_| |_: &Context, ()| panic!("must not run")).expect("threads");
        let late = Context::new(Priority::Serving, Duration::ZERO);
        let answer = pool.try_submit(&late, ()).expect("queued").await;
        assert_eq!(answer, Ok(Err(WorkError::DeadlineExceeded { pool: "late" })));
    }
}
