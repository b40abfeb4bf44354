//! What travels with every message: who asked, until when the answer is wanted, and how urgent it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// The longest request id that is taken from a caller, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Names one request in every log line, message and event that it causes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A fresh UUIDv7.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// Takes a caller's id if it is 1 to 128 visible ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which work goes first when there is more of it than time: a shopper's query, then an event, then bulk work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Imports, rebuilds, embedding of the catalog.
    Bulk,
    /// Shopper events.
    Event,
    /// A shopper or an operator waits for the answer.
    Serving,
}

/// Travels with every message from the edge inwards.
#[derive(Clone, Debug)]
pub struct Context {
    /// The request that caused this message.
    pub request_id: RequestId,
    /// After this instant nobody waits for the answer: work that has not started is dropped.
    pub deadline: Instant,
    /// How urgent the work is.
    pub priority: Priority,
}

impl Context {
    /// A new request that is to be answered within `timeout`.
    pub fn new(priority: Priority, timeout: Duration) -> Self {
        Self { request_id: RequestId::new(), deadline: Instant::now() + timeout, priority }
    }

    /// The same request with another deadline `timeout` from now, for work that outlives its caller's wait.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, ..self.clone() }
    }

    /// The time left, zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.remaining().is_zero()
    }
}
