//! Gordon: routes products by what changed, and keeps the durable queue behind every piece of work.

use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Product, ProductId};
use kit::Reply;
use serde::Serialize;
use tokio::sync::watch;

use crate::catalog::Outcome;
use crate::ingest::{FeedMode, RunId};

/// The runtime name.
pub const NAME: &str = "gordon";

/// The most products in one routing message.
pub const ROUTE_PRODUCTS_MAX: usize = 256;
/// The most jobs in one lease.
pub const LEASE_JOBS_MAX: usize = 256;
/// The most jobs put in by one message.
pub const ENQUEUE_JOBS_MAX: usize = 1024;
/// The most jobs settled by one message.
pub const SETTLE_JOBS_MAX: usize = 1024;

/// The queues. Each has its own bound, retry policy and dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum QueueName {
    /// Pictures to fetch and embed.
    EmbedImage,
    /// Texts to embed.
    EmbedText,
}

impl QueueName {
    /// Every queue.
    pub const ALL: [Self; 2] = [Self::EmbedImage, Self::EmbedText];

    /// The name in metrics, on the console and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmbedImage => "embed_image",
            Self::EmbedText => "embed_text",
        }
    }
}

/// Names a job; grows with every job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One piece of work: (re)compute this product's vectors of the queue's kind. The worker reads the product as it is when
/// it starts, so one waiting job for each queue and product is enough: a newer one takes the older one's place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobSpec {
    /// Which queue.
    pub queue: QueueName,
    /// Which product; deleted by now means: forget its vectors.
    pub product: ProductId,
    /// Higher goes first.
    pub priority: u8,
    /// Not before this time, in milliseconds since the Unix epoch.
    pub not_before_ms: i64,
}

/// A job in a worker's hands, until it is settled or its lease runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    /// Which job.
    pub id: JobId,
    /// Names this lease: settling with an older one does nothing.
    pub lease: u64,
    /// What to do.
    pub spec: JobSpec,
    /// How often it has been handed out, this time included.
    pub attempt: u32,
}

/// How a leased job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done; the job is removed.
    Done,
    /// Try again later, with backoff, until the attempts are used up.
    Retry {
        /// Kept with the job.
        error: String,
    },
    /// No use trying again: straight to the dead letters.
    Dead {
        /// Kept with the job.
        error: String,
    },
    /// Not tried (the worker lacks something, such as a model): back to the queue without counting the attempt.
    Release,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Which job.
    pub id: JobId,
    /// Which queue.
    pub queue: QueueName,
    /// Which product.
    pub product: ProductId,
    /// How often it was tried.
    pub attempts: u32,
    /// The last error.
    pub error: String,
    /// Milliseconds since the Unix epoch.
    pub died_at_ms: i64,
}

/// Why Gordon did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue is at its bound.
    #[error("queue {queue} holds {jobs} jobs, its bound")]
    Full {
        /// Which queue.
        queue: &'static str,
        /// Its bound.
        jobs: usize,
    },
    /// The run was never begun here, or Gordon restarted since: begin again, from the feed's first record.
    #[error("feed run {0} is not under way")]
    UnknownRun(RunId),
    /// A full feed would delete more than the guard allows; nothing was deleted.
    #[error("the feed has {seen} of the {known} products of its source: refused, as it would delete {}", known - seen)]
    ShrunkenFeed {
        /// Products of the source in the catalog when the run began.
        known: u64,
        /// Of those, products in the feed.
        seen: u64,
    },
    /// More than the bound in one message.
    #[error("{0} in one message is too many")]
    TooMany(usize),
    /// A neighbour is not there; nothing was lost, try again.
    #[error("{0}")]
    Unavailable(String),
    /// Storage failed.
    #[error("storage: {0}")]
    Storage(String),
}

impl From<store::StoreError> for QueueError {
    fn from(error: store::StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// What routing one product came to; an error names the reason (an over-large product) and refuses that product alone.
pub type Routed = Result<Outcome, String>;

/// What Gordon is asked.
#[derive(Debug)]
pub enum QueueMsg {
    /// A feed run starts (again) at its first record.
    BeginRun {
        /// Which run.
        run: RunId,
        /// The catalog source.
        source: String,
        /// Whole catalog or changes.
        mode: FeedMode,
        /// Compare and count, change nothing.
        dry_run: bool,
        /// Whether the run may route now.
        reply: Reply<Result<(), QueueError>>,
    },
    /// Compare products with the catalog; pass on those that changed.
    Route {
        /// Which run; `None` for single writes.
        run: Option<RunId>,
        /// The catalog source.
        source: Arc<str>,
        /// At most [`ROUTE_PRODUCTS_MAX`].
        products: Vec<Arc<Product>>,
        /// One answer for each product, in order, when it is durable.
        reply: Reply<Result<Vec<Routed>, QueueError>>,
    },
    /// A feed run has reached its end: a full one deletes what it did not have.
    FinishRun {
        /// Which run.
        run: RunId,
        /// Delete however many there are.
        force: bool,
        /// Products deleted (for a dry run: that would be).
        reply: Reply<Result<u64, QueueError>>,
    },
    /// A feed run ended early: forget it.
    AbandonRun {
        /// Which run.
        run: RunId,
    },
    /// Put jobs into their queues.
    Enqueue {
        /// The jobs.
        jobs: Vec<JobSpec>,
        /// Answered when they are durable.
        reply: Reply<Result<(), QueueError>>,
    },
    /// Hand out jobs that are due.
    Lease {
        /// From which queue.
        queue: QueueName,
        /// At most this many, and at most [`LEASE_JOBS_MAX`].
        jobs_max: usize,
        /// Back in the queue after this long without settlement.
        visibility_timeout_ms: u64,
        /// The jobs, none if none is due.
        reply: Reply<Result<Vec<LeasedJob>, QueueError>>,
    },
    /// Jobs have been done, or not.
    Settle {
        /// Job, lease, how it ended.
        jobs: Vec<(JobId, u64, Settlement)>,
        /// Answered when it is durable.
        reply: Reply<Result<(), QueueError>>,
    },
    /// The dead letters of a queue, oldest first.
    DeadLetters {
        /// Which queue.
        queue: QueueName,
        /// At most this many.
        limit: usize,
        /// The letters.
        reply: Reply<Result<Vec<DeadLetter>, QueueError>>,
    },
    /// Give dead jobs a new life with fresh attempts.
    Redrive {
        /// Which queue.
        queue: QueueName,
        /// How many were revived.
        reply: Reply<Result<u64, QueueError>>,
    },
    /// For the actor's own timer: return expired leases, follow the journal.
    Tick,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueDepth {
    /// Due now.
    pub ready: u64,
    /// Due later.
    pub delayed: u64,
    /// In a worker's hands.
    pub leased: u64,
    /// Given up.
    pub dead: u64,
}

impl QueueDepth {
    /// Work that is still to be done.
    pub fn open(self) -> u64 {
        self.ready + self.delayed + self.leased
    }
}

/// What readers see of the queues.
pub trait QueueReader: Send + Sync {
    /// How full a queue is.
    fn depth(&self, queue: QueueName) -> QueueDepth;
    /// The journal offset up to which changes have become jobs.
    fn journal_offset(&self) -> u64;
    /// Changes value whenever jobs may have become due: wakes workers.
    fn ready(&self) -> watch::Receiver<u64>;
}
