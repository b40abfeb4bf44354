//! The promise of a write: resolves when the write is as durable as was asked for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::store::StoreError;

/// Resolves to the write's result once it has been flushed. Await it, or block on [`Ack::wait`] off the async threads.
/// Dropping it does not take the write back.
#[derive(Debug)]
#[must_use = "a write counts only once its acknowledgement has arrived"]
pub struct Ack<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Ack<T> {
    /// An acknowledgement and the sender that resolves it.
    pub fn channel() -> (oneshot::Sender<Result<T, StoreError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// An acknowledgement that is already there.
    pub fn ready(result: Result<T, StoreError>) -> Self {
        let (sender, ack) = Self::channel();
        let _ = sender.send(result);
        ack
    }

    /// Blocks the thread until the write is durable. Not for async threads.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Stopped))
    }
}

impl<T> Future for Ack<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|received| received.unwrap_or(Err(StoreError::Stopped)))
    }
}
