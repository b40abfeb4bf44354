//! Joker: reads any feed and turns every row into the common product format.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::ProductId;
use kit::Reply;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::catalog::Outcome;

/// The runtime name.
pub const NAME: &str = "joker";

/// Names one feed run, which is also its task: a UUIDv7, so runs sort by their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RunId(pub u128);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(&text.replace('-', ""), 16).map(Self)
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a feed's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FeedSource {
    /// A file on this machine. Joker only reads it.
    File(PathBuf),
    /// A file that was uploaded into the spool folder; Joker removes it when the run has ended.
    Spooled(PathBuf),
    /// Fetched first, within the limits of the configuration.
    Url(String),
}

/// Whether a feed is the whole catalog of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum FeedMode {
    /// Products of the same source that are not in it are deleted at its end.
    Full,
    /// Only adds and changes.
    #[default]
    Delta,
}

/// One feed to read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FeedRequest {
    /// Where its bytes are.
    pub from: FeedSource,
    /// The file name or URL as the caller gave it: helps format detection and is shown to people.
    pub name: String,
    /// The catalog source: a full feed replaces only products of its own source.
    pub source: String,
    /// Whole catalog or changes.
    pub mode: FeedMode,
    /// Read and report, change nothing.
    pub dry_run: bool,
    /// A format by name (see `FeedFormat` of the ingest crate) instead of detection.
    pub format: Option<String>,
    /// Relative picture names are files in or below this folder. Only the command line sets it, never a remote caller.
    pub image_root: Option<PathBuf>,
    /// Take a full feed even when it would delete more of its source than the guard allows.
    pub force: bool,
    /// For amounts without a currency of their own.
    pub default_currency: Option<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Accepted and durable.
    Enqueued,
    /// Being read.
    Processing,
    /// Read to its end.
    Succeeded,
    /// Ended early; see the error.
    Failed,
    /// Ended by the caller.
    Canceled,
}

impl RunStatus {
    /// Whether the run has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// What a run did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct RunCounts {
    /// Records read: rows, items or lines, rejected ones included.
    pub records: u64,
    /// Products made of them.
    pub products: u64,
    /// Buyable forms; a product without variants counts as one.
    pub variants: u64,
    /// New products.
    pub created: u64,
    /// Changed products.
    pub updated: u64,
    /// Products that were already like this.
    pub unchanged: u64,
    /// Products deleted because a full feed no longer has them.
    pub deleted: u64,
    /// Records refused.
    pub rejected: u64,
    /// Fields or values that were dropped or repaired, with the record kept.
    pub warnings: u64,
}

/// A feed run as readers see it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct FeedRun {
    /// Its id, which is also the task's id.
    pub id: RunId,
    /// What was asked.
    pub request: FeedRequest,
    /// How far it is.
    pub status: RunStatus,
    /// The format that was detected or asked for.
    pub format: Option<String>,
    /// What it did so far.
    pub counts: RunCounts,
    /// Bytes of the feed read so far.
    pub bytes_read: u64,
    /// Bytes of the feed, where known.
    pub bytes_total: Option<u64>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Milliseconds since the Unix epoch.
    pub enqueued_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub started_at_ms: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub finished_at_ms: Option<i64>,
}

/// Why a whole run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct RunError {
    /// Stable, snake_case: `not_a_feed`, `truncated`, `shrunken_feed`, `empty_feed`, `unreadable`, ...
    pub code: String,
    /// For people.
    pub detail: String,
}

/// A record that was refused, or (as a warning) repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct Reject {
    /// The record's number in the feed, from 1, header not counted.
    pub row: u64,
    /// The line or byte position where the record starts, where the reader knows it.
    pub position: Option<String>,
    /// The feed's own field name, where one field is to blame.
    pub field: Option<String>,
    /// Stable, snake_case: `missing_id`, `missing_title`, `bad_price`, `bad_encoding`, `too_many_columns`, ...
    pub code: String,
    /// For people.
    pub detail: String,
    /// The offending text, cut to a bound.
    pub raw: String,
    /// The product, where its id could be read.
    pub product_id: Option<String>,
    /// Whether the record was kept without the offending value.
    pub is_warning: bool,
}

/// Why Joker did not take a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    /// Too many runs wait.
    #[error("{0} feed runs are waiting already")]
    TooManyRuns(usize),
    /// No such run.
    #[error("there is no feed run {0}")]
    UnknownRun(RunId),
    /// The request itself is wrong.
    #[error("{field}: {detail}")]
    BadRequest {
        /// Which field of the request.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A single record was refused.
    #[error("the record was refused: {}", .0.first().map_or("no reason", |reject| reject.detail.as_str()))]
    Rejected(Vec<Reject>),
    /// A neighbour is not there; nothing was lost, try again.
    #[error("{0}")]
    Unavailable(String),
    /// Storage failed.
    #[error("storage: {0}")]
    Storage(String),
}

/// What a single record became.
#[derive(Clone, Debug)]
pub struct PutAnswer {
    /// Which product.
    pub id: ProductId,
    /// What it amounted to.
    pub outcome: Outcome,
    /// What was repaired on the way.
    pub warnings: Vec<Reject>,
}

/// What Joker is asked.
#[derive(Debug)]
pub enum IngestMsg {
    /// Read a feed. Answered when the run is durable; its progress is in the view.
    Start {
        /// What to read.
        request: FeedRequest,
        /// The run's id.
        reply: Reply<Result<RunId, IngestError>>,
    },
    /// End a run as soon as possible. What it has done stays.
    Cancel {
        /// Which run.
        id: RunId,
        /// Whether there was something to end.
        reply: Reply<Result<(), IngestError>>,
    },
    /// One product in the product's own JSON form, through the same checks as a feed's.
    Put {
        /// JSON, one object.
        json: Vec<u8>,
        /// The catalog source it belongs to.
        source: String,
        /// What became of it.
        reply: Reply<Result<PutAnswer, IngestError>>,
    },
    /// For the actor's own threads: something happened to the run under way.
    Progress(RunProgress),
}

/// What the reading thread tells the actor; opaque to everybody else.
pub struct RunProgress(pub Box<dyn std::any::Any + Send>);

impl fmt::Debug for RunProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunProgress")
    }
}

/// What readers see of the runs.
pub trait FeedRunReader: Send + Sync {
    /// One run.
    fn get(&self, id: RunId) -> Option<Arc<FeedRun>>;
    /// The latest runs, newest first.
    fn latest(&self, limit: usize) -> Vec<Arc<FeedRun>>;
    /// Rejects and warnings of a run in row order: up to `limit`, behind the first `offset`.
    fn rejects(&self, id: RunId, offset: usize, limit: usize) -> Result<Vec<Reject>, IngestError>;
    /// Changes value whenever any run has changed.
    fn changes(&self) -> watch::Receiver<u64>;
}
