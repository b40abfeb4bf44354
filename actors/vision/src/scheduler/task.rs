//! Work of any result, so that all of it waits in one queue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kit::WorkError;
use tokio::sync::oneshot;

use super::{NAME, Turn};

/// A piece of work that waits.
pub(super) trait Task: Send {
    /// Whether somebody waits for it.
    fn is_wanted(&self) -> bool;
    /// Does it. Never panics.
    fn run(self: Box<Self>, turn: Turn);
    /// Says that it will not be done.
    fn refuse(self: Box<Self>, error: WorkError);
}

/// A closure and who waits for what it gives.
pub(super) struct TypedTask<F, T> {
    work: F,
    reply: oneshot::Sender<Result<T, WorkError>>,
}

impl<F, T> TypedTask<F, T> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, WorkError>>) -> Self {
        Self { work, reply }
    }
}

impl<T: Send, F: FnOnce(Turn) -> T + Send> Task for TypedTask<F, T> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(self: Box<Self>, turn: Turn) {
        let Self { work, reply } = *self;
        let result = catch_unwind(AssertUnwindSafe(|| work(turn)));
        let _ = reply.send(result.map_err(|panic| WorkError::Panicked { pool: NAME, message: message_of(panic.as_ref()) }));
    }

    fn refuse(self: Box<Self>, error: WorkError) {
        let _ = self.reply.send(Err(error));
    }
}

/// A panic's own text.
pub(super) fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
