//! Background work on two threads of its own: full tails never wait for a merge that takes minutes.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fold::{self, Maintenance, locked};
use super::{IndexError, Shared};

/// How long a thread waits for a signal before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a thread waits after the disk refused.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Added to the niceness of the thread that merges: searches come first.
const NICENESS: i32 = 10;

/// A piece of work.
type Step = fn(&Shared) -> Result<Maintenance, IndexError>;

/// Tells the threads that there is something to do, or that it is over.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Grows whenever there may be something to do.
    work: u64,
    is_over: bool,
}

impl Signal {
    pub(crate) fn notify(&self) {
        locked(&self.state).work += 1;
        self.changed.notify_all();
    }

    fn end(&self) {
        locked(&self.state).is_over = true;
        self.changed.notify_all();
    }

    /// Waits until there may be more to do than was `seen`. `None` when it is over.
    fn wait(&self, seen: u64, at_most: Duration) -> Option<u64> {
        let state = locked(&self.state);
        let waited = self.changed.wait_timeout_while(state, at_most, |state| !state.is_over && state.work == seen);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.is_over).then_some(state.work)
    }
}

/// Does the background work of an index until it is dropped; then it interrupts what is under way, which is begun again another time.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Maintainer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Maintainer {
    pub(super) fn spawn(shared: &Arc<Shared>) -> io::Result<Self> {
        locked(&shared.signal.state).is_over = false;
        let mut maintainer = Self { shared: Arc::clone(shared), threads: Vec::new() };
        let steps: [(&str, Step, bool); 2] =
            [("vectors-fold", |shared| fold::fold_sealed(shared, 0), false), ("vectors-merge", fold::settle_one, true)];
        for (name, step, is_patient) in steps {
            let shared = Arc::clone(shared);
            maintainer.threads.push(std::thread::Builder::new().name(name.into()).spawn(move || run(&shared, step, is_patient))?);
        }
        Ok(maintainer)
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        self.shared.signal.end();
        self.shared.stopping.store(true, std::sync::atomic::Ordering::Release);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say here.
            let _ = thread.join();
        }
        self.shared.stopping.store(false, std::sync::atomic::Ordering::Release);
    }
}

/// A patient thread lets searches go first. Folding is not patient: when too many tails wait for it, so does the writer.
fn run(shared: &Shared, step: Step, is_patient: bool) {
    if is_patient {
        lower_priority();
    }
    let (mut seen, mut pause) = (0, Duration::ZERO);
    while let Some(work) = shared.signal.wait(seen, pause) {
        match step(shared) {
            Ok(Maintenance::Idle | Maintenance::Interrupted) => (seen, pause) = (work, LOOK_EVERY),
            Ok(done) => {
                tracing::debug!(?done, "vector index");
                pause = Duration::ZERO;
            }
            Err(error) => {
                tracing::warn!(%error, "background work of the vector index; it is tried again");
                (seen, pause) = (work, RETRY_AFTER);
            }
        }
    }
}

/// Lets searches go first: on Linux a thread has a niceness of its own, and threads that it starts inherit it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the standard library has no priorities")]
fn lower_priority() {
    // SAFETY: a plain system call on the calling thread; refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {
    let _ = NICENESS;
}
