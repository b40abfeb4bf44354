//! The only place that touches disk or another actor: one feed run from its bytes to Gordon, and the records of runs.

pub(crate) mod runs;
pub(crate) mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Product;
use kit::{CallError, Context, Priority, Reply};
use protocol::catalog::Outcome;
use protocol::ingest::{FeedMode, FeedRun, Reject, RunCounts, RunError, RunStatus};
use protocol::queue::{QueueError, QueueMsg, Routed};
use store::StoreError;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::actor::Args;
use crate::logic::feed::{Batch, End, Feed};
use crate::logic::read::bytes::Meter;
use crate::logic::record::Place;
use runs::RejectBook;

/// How a run ended, for the actor.
pub(crate) enum Ended {
    /// With this as its last state.
    Run(Box<FeedRun>),
    /// Storage failed: nothing more can be kept.
    Storage(StoreError),
}

/// Why an attempt at a run stopped.
enum Stop {
    /// Gordon knows nothing of the run any more: begin again.
    Again,
    Failed(RunError),
    Storage(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

/// Stops the reading thread at its next block when the run is dropped.
struct StopOnDrop(Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads one feed to its end. Whatever it has counted before an attempt that begins again is forgotten: Gordon reports what
/// the run itself has changed as it did the first time.
pub(crate) async fn drive(args: Args, run: FeedRun) -> Ended {
    let mut driver = Driver { patience: Patience::new(&args), args, run, published_at: None };
    for _ in 0..driver.args.config.attempts_max {
        match driver.attempt().await {
            Ok(()) => return driver.ended(RunStatus::Succeeded, None),
            Err(Stop::Storage(error)) => return Ended::Storage(error),
            Err(Stop::Failed(error)) => {
                driver.abandon();
                return driver.ended(RunStatus::Failed, Some(error));
            }
            Err(Stop::Again) => {
                tracing::warn!(run = %driver.run.id, "the feed run begins again at its first record");
                metrics::counter!("gotham_ingest_run_restarts_total").increment(1);
                if let Err(error) = driver.patience.wait("gordon forgot the run").await {
                    driver.abandon();
                    return driver.ended(RunStatus::Failed, Some(error));
                }
            }
        }
    }
    driver.abandon();
    driver.ended(RunStatus::Failed, Some(RunError { code: "unavailable".into(), detail: "the run was begun again too often".into() }))
}

struct Driver {
    args: Args,
    run: FeedRun,
    patience: Patience,
    published_at: Option<Instant>,
}

impl Driver {
    async fn attempt(&mut self) -> Result<(), Stop> {
        self.run.counts = RunCounts::default();
        self.run.bytes_read = 0;
        let mut book = RejectBook::open(&self.args, self.run.id).await?;
        let path = source::fetch(&self.args, &self.run).await.map_err(Stop::Failed)?;
        let meter = Meter::default();
        let _stop = StopOnDrop(meter.clone());
        let opened = blocking(source::opener(&self.args, &self.run, path, meter.clone())).await?;
        let (feed, bytes_total) = opened.map_err(Stop::Failed)?;
        self.run.format = Some(feed.format().name().to_owned());
        self.run.bytes_total = Some(bytes_total);
        let (id, source, mode, dry_run) = (self.run.id, self.run.request.source.clone(), self.run.request.mode, self.run.request.dry_run);
        self.ask(|reply| QueueMsg::BeginRun { run: id, source: source.clone(), mode, dry_run, reply }).await?;
        let end = self.read_all(feed, &meter, &mut book).await?;
        self.end(end).await
    }

    /// Routes batch after batch; while Gordon works on one, the next is read.
    async fn read_all(&mut self, feed: Feed, meter: &Meter, book: &mut RejectBook) -> Result<End, Stop> {
        let products_max = self.args.config.batch_products_max;
        let mut reading = Some(read_batch(feed, products_max));
        let mut end = None;
        while let Some(batch) = reading.take() {
            let (feed, batch) = joined(batch).await?;
            if batch.end.is_none() {
                reading = Some(read_batch(feed, products_max));
            }
            let Batch { products, mut findings, records, end: batch_end } = batch;
            let (places, products): (Vec<Place>, Vec<Arc<Product>>) =
                products.into_iter().map(|mapped| (mapped.place, Arc::new(mapped.product))).unzip();
            if !products.is_empty() {
                let (run, source) = (Some(self.run.id), Arc::<str>::from(self.run.request.source.as_str()));
                let routed =
                    self.ask(|reply| QueueMsg::Route { run, source: Arc::clone(&source), products: products.clone(), reply }).await?;
                count(&mut self.run.counts, &mut findings, &places, &products, routed);
            }
            self.run.counts.records += records;
            metrics::counter!("gotham_ingest_records_total").increment(records);
            findings.sort_by_key(|finding| finding.row);
            for finding in &findings {
                let (count, kind) =
                    if finding.is_warning { (&mut self.run.counts.warnings, "warning") } else { (&mut self.run.counts.rejected, "reject") };
                *count += 1;
                metrics::counter!("gotham_ingest_findings_total", "kind" => kind).increment(1);
            }
            book.write(findings).await?;
            self.run.bytes_read = meter.bytes_read.load(Ordering::Relaxed);
            self.publish();
            end = batch_end.or(end);
        }
        Ok(end.unwrap_or(End::Whole))
    }

    /// A feed that breaks off says nothing about what lies behind the break. A full one fails, and deletes nothing; changes
    /// stand by themselves, so a list of them succeeds, with its last record among the rejects.
    async fn end(&mut self, end: End) -> Result<(), Stop> {
        match end {
            End::Failed(error) => return Err(Stop::Failed(error)),
            End::Truncated(detail) if self.run.request.mode == FeedMode::Full => {
                return Err(Stop::Failed(RunError { code: "truncated".into(), detail }));
            }
            End::Truncated(_) | End::Whole => {}
        }
        let (run, force) = (self.run.id, self.run.request.force);
        self.run.counts.deleted = self.ask(|reply| QueueMsg::FinishRun { run, force, reply }).await?;
        Ok(())
    }

    /// Asks Gordon, and waits while he is not there. A question whose answer did not come may have been acted on, so only
    /// beginning the run again keeps its counts right.
    async fn ask<T>(&mut self, message: impl Fn(Reply<Result<T, QueueError>>) -> QueueMsg) -> Result<T, Stop> {
        loop {
            let context = Context::new(Priority::Bulk, Duration::from_millis(self.args.config.route_timeout_ms));
            let reason = match self.args.gordon.call(&context, &message).await {
                Ok(Ok(answer)) => {
                    self.patience.reset();
                    return Ok(answer);
                }
                Ok(Err(QueueError::UnknownRun(_))) | Err(CallError::DeadlineExceeded { .. }) => return Err(Stop::Again),
                Ok(Err(error @ QueueError::ShrunkenFeed { seen, .. })) => {
                    let code = if seen == 0 { "empty_feed" } else { "shrunken_feed" };
                    return Err(Stop::Failed(RunError { code: code.into(), detail: error.to_string() }));
                }
                Ok(Err(error @ QueueError::TooMany(_))) => {
                    return Err(Stop::Failed(RunError { code: "internal".into(), detail: error.to_string() }));
                }
                Ok(Err(error @ (QueueError::Full { .. } | QueueError::Unavailable(_) | QueueError::Storage(_)))) => error.to_string(),
                Err(error @ (CallError::Overloaded { .. } | CallError::Unavailable { .. })) => error.to_string(),
            };
            self.patience.wait(&reason).await.map_err(Stop::Failed)?;
        }
    }

    /// Tells Gordon to forget the run; one who is not there has forgotten it already.
    fn abandon(&self) {
        let context = Context::new(Priority::Bulk, Duration::from_millis(self.args.config.route_timeout_ms));
        let _ = self.args.gordon.cast(&context, QueueMsg::AbandonRun { run: self.run.id });
    }

    fn publish(&mut self) {
        let interval = Duration::from_millis(self.args.config.progress_interval_ms);
        if self.published_at.is_none_or(|at| at.elapsed() >= interval) {
            self.published_at = Some(Instant::now());
            self.args.view.publish(self.run.clone());
        }
    }

    fn ended(mut self, status: RunStatus, error: Option<RunError>) -> Ended {
        self.run.status = status;
        self.run.error = error;
        self.run.finished_at_ms = Some(self.args.clock.now_ms());
        Ended::Run(Box::new(self.run))
    }
}

/// Books what routing came to; a product that is refused is one more reject.
fn count(counts: &mut RunCounts, findings: &mut Vec<Reject>, places: &[Place], products: &[Arc<Product>], routed: Vec<Routed>) {
    for ((place, product), routed) in places.iter().zip(products).zip(routed) {
        match routed {
            Ok(outcome) => {
                counts.products += 1;
                counts.variants += product.variant_count() as u64;
                match outcome {
                    Outcome::Created => counts.created += 1,
                    Outcome::Updated(_) => counts.updated += 1,
                    Outcome::Unchanged => counts.unchanged += 1,
                    Outcome::Deleted | Outcome::NotFound => {}
                }
            }
            Err(reason) => findings.push(Reject { product_id: Some(product.id.to_string()), ..place.finding("refused", reason) }),
        }
    }
}

fn read_batch(mut feed: Feed, products_max: usize) -> JoinHandle<(Feed, Batch)> {
    tokio::task::spawn_blocking(move || {
        let batch = feed.next_batch(products_max);
        (feed, batch)
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    joined(tokio::task::spawn_blocking(work)).await
}

/// A panic of the reading thread fails the run, not the actor: the next feed is another one.
async fn joined<T>(task: JoinHandle<T>) -> Result<T, Stop> {
    task.await.map_err(|error| {
        tracing::error!(%error, "reading a feed failed");
        Stop::Failed(RunError { code: "internal".into(), detail: "reading the feed failed unexpectedly".into() })
    })
}

/// Waits with backoff, until it has been in vain for too long.
struct Patience {
    delay_ms: u64,
    delay_ms_first: u64,
    delay_ms_max: u64,
    unavailable_ms_max: u64,
    waiting_since: Option<Instant>,
}

impl Patience {
    fn new(args: &Args) -> Self {
        let config = &args.config;
        let delay_ms_first = config.retry_delay_ms;
        Self {
            delay_ms: delay_ms_first,
            delay_ms_first,
            delay_ms_max: config.retry_delay_ms_max,
            unavailable_ms_max: config.unavailable_ms_max,
            waiting_since: None,
        }
    }

    fn reset(&mut self) {
        self.delay_ms = self.delay_ms_first;
        self.waiting_since = None;
    }

    async fn wait(&mut self, reason: &str) -> Result<(), RunError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if since.elapsed() > Duration::from_millis(self.unavailable_ms_max) {
            return Err(RunError { code: "unavailable".into(), detail: reason.to_owned() });
        }
        tracing::debug!(reason, delay_ms = self.delay_ms, "waiting for a neighbour");
        tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        self.delay_ms = (self.delay_ms * 2).min(self.delay_ms_max);
        Ok(())
    }
}
