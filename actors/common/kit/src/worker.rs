//! Heavy work on dedicated threads behind a bounded channel, so that it never runs on the async threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, TrySendError, bounded};
use tokio::sync::oneshot;

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
        let mut handles = Vec::with_capacity(threads);
        for index in 0..threads {
            let (jobs, make, busy) = (jobs.clone(), Arc::clone(&make), Arc::clone(&busy));
            let body = move || {
                let mut worker = make(index);
                for job in jobs {
                    busy.fetch_add(1, Ordering::Relaxed);
                    run(name, &mut worker, job);
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
