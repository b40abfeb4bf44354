//! The queues with their store: every decision is committed before it is answered or shown.

use std::ops::Bound;
use std::sync::Arc;

use kit::Clock;
use protocol::queue::{DeadLetter, JobId, JobSpec, LeasedJob, QueueError, QueueName, Settlement};
use store::{Durability, Keyspace, Op, Record, Store, StoreError};
use tokio::time::Instant;

use crate::actor::Args;
use crate::logic::job::{Job, Now};
use crate::logic::queue::{Full, Tally};
use crate::logic::queues::Queues;
use crate::records::{DeadRecord, JobRecord, SEQUENCE_KEY, SequenceRecord, Shelf, key_id, shelf_key};
use crate::view::View;

/// Records read from the store at a time.
const PAGE_RECORDS_MAX: usize = 1024;
/// Dead letters in one answer.
const LETTERS_MAX: usize = 1000;

/// The wall clock and one that never jumps.
#[derive(Clone)]
struct Timeline {
    clock: Arc<dyn Clock>,
    started: Instant,
}

impl Timeline {
    fn now(&self) -> Now {
        Now { wall_ms: self.clock.now_ms(), steady_ms: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX) }
    }
}

/// The queues, their store and their view.
pub(crate) struct Shelves {
    queues: Queues,
    store: Arc<dyn Store>,
    view: Arc<View>,
    timeline: Timeline,
    wakes: u64,
}

/// Loads what is stored.
pub(crate) async fn load(args: &Args) -> Result<Shelves, StoreError> {
    let timeline = Timeline { clock: Arc::clone(&args.clock), started: Instant::now() };
    // A killed predecessor's last commit may still be under way: wait until it has been applied.
    args.store.commit(Vec::new(), Durability::Applied).await?;
    let (now, config, store) = (timeline.now(), args.config.clone(), Arc::clone(&args.store));
    let queues = blocking(move || -> Result<Queues, StoreError> {
        let mut queues = Queues::new(&config, reserved(&*store)?);
        for name in QueueName::ALL {
            let queue = queues.get_mut(name);
            each(&*store, Shelf::Open, name, usize::MAX, |id, record: JobRecord| queue.restore_job(now, id, Job::restore(record, now)))?;
            each(&*store, Shelf::Dead, name, usize::MAX, |id, record: DeadRecord| queue.restore_dead(id, record.product))?;
        }
        Ok(queues)
    })
    .await?;
    let mut shelves = Shelves { queues, store: Arc::clone(&args.store), view: Arc::clone(&args.view), timeline, wakes: 0 };
    shelves.publish();
    Ok(shelves)
}

impl Shelves {
    pub(crate) fn now_ms(&self) -> i64 {
        self.timeline.clock.now_ms()
    }

    pub(crate) fn has_room(&self, queue: QueueName) -> bool {
        self.queues.get(queue).room() > 0
    }

    /// Whether a job for this product fits.
    pub(crate) fn enqueue_uncommitted(&mut self, job: &JobSpec, ops: &mut Vec<Op>) -> Result<(), Full> {
        self.queues.enqueue(self.timeline.now(), job, ops)
    }

    pub(crate) async fn enqueue(&mut self, jobs: &[JobSpec]) -> Result<(), QueueError> {
        let mut ops = Vec::new();
        self.queues.enqueue_all(self.timeline.now(), jobs, &mut ops)?;
        Ok(self.commit(ops).await?)
    }

    pub(crate) async fn lease(
        &mut self,
        queue: QueueName,
        jobs_max: usize,
        visibility_timeout_ms: u64,
    ) -> Result<Vec<LeasedJob>, QueueError> {
        let mut ops = Vec::new();
        let leased = self.queues.lease(self.timeline.now(), queue, jobs_max, visibility_timeout_ms, &mut ops);
        self.commit(ops).await?;
        Ok(leased)
    }

    pub(crate) async fn settle(&mut self, jobs: &[(JobId, u64, Settlement)]) -> Result<(), QueueError> {
        let mut ops = Vec::new();
        self.queues.settle(self.timeline.now(), jobs, &mut ops);
        Ok(self.commit(ops).await?)
    }

    /// Lets time pass.
    pub(crate) async fn advance(&mut self) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        self.queues.advance(self.timeline.now(), &mut ops);
        self.commit(ops).await
    }

    pub(crate) async fn dead_letters(&self, queue: QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let letters = self.dead_records(queue, limit.min(LETTERS_MAX)).await?;
        Ok(letters.into_iter().map(|(id, record)| record.letter(queue, id)).collect())
    }

    /// Revives the oldest dead letters for as long as they fit.
    pub(crate) async fn redrive(&mut self, queue: QueueName) -> Result<u64, QueueError> {
        let mut revived = 0;
        loop {
            let letters = self.dead_records(queue, LETTERS_MAX).await?;
            let (found, mut ops) = (letters.len() as u64, Vec::new());
            let fitted = self.queues.redrive(self.timeline.now(), queue, letters, &mut ops);
            self.commit(ops).await?;
            revived += fitted;
            if fitted < found || found == 0 {
                return Ok(revived);
            }
        }
    }

    /// Makes what was decided durable, then shows it.
    pub(crate) async fn commit(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        if !ops.is_empty() {
            self.store.commit(ops, Durability::Flushed).await?;
        }
        self.publish();
        Ok(())
    }

    async fn dead_records(&self, queue: QueueName, limit: usize) -> Result<Vec<(JobId, DeadRecord)>, StoreError> {
        let store = Arc::clone(&self.store);
        blocking(move || {
            let mut records = Vec::new();
            each(&*store, Shelf::Dead, queue, limit, |id, record| records.push((id, record)))?;
            Ok(records)
        })
        .await
    }

    fn publish(&mut self) {
        let now_ms = self.now_ms();
        let depths = QueueName::ALL.map(|name| self.queues.get(name).depth());
        self.view.set_depths(depths);
        let wakes = QueueName::ALL.iter().map(|name| self.queues.get(*name).wakes()).sum();
        if std::mem::replace(&mut self.wakes, wakes) != wakes {
            self.view.wake();
        }
        for (name, depth) in QueueName::ALL.into_iter().zip(depths) {
            let queue = name.as_str();
            for (state, jobs) in [("ready", depth.ready), ("delayed", depth.delayed), ("leased", depth.leased), ("dead", depth.dead)] {
                metrics::gauge!("gotham_queue_jobs", "queue" => queue, "state" => state).set(jobs as f64);
            }
            let age_ms = self.queues.get(name).oldest_enqueued_at_ms().map_or(0, |at_ms| (now_ms - at_ms).max(0));
            metrics::gauge!("gotham_queue_oldest_job_age_seconds", "queue" => queue).set(age_ms as f64 / 1000.0);
            count(queue, self.queues.get_mut(name).take_tally());
        }
    }
}

fn count(queue: &'static str, tally: Tally) {
    let counts = [
        ("enqueued", tally.enqueued),
        ("merged", tally.merged),
        ("leased", tally.leased),
        ("done", tally.done),
        ("retried", tally.retried),
        ("released", tally.released),
        ("expired", tally.expired),
        ("stale", tally.stale),
    ];
    for (event, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!("gotham_queue_events_total", "queue" => queue, "event" => event).increment(count);
    }
    if tally.dead > 0 {
        metrics::counter!("gotham_queue_dead_letters_total", "queue" => queue).increment(tally.dead);
    }
    if tally.letters_dropped > 0 {
        metrics::counter!("gotham_queue_dead_letters_dropped_total", "queue" => queue).increment(tally.letters_dropped);
        tracing::warn!(queue, dropped = tally.letters_dropped, "dead letters are at their bound: the oldest were dropped");
    }
}

fn reserved(store: &dyn Store) -> Result<u64, StoreError> {
    let Some(bytes) = store.get(Keyspace::JobIndex, SEQUENCE_KEY)? else { return Ok(0) };
    Ok(SequenceRecord::unseal(SEQUENCE_KEY, &bytes)?.reserved)
}

/// Reads one shelf of one queue in id order, up to `limit` records. A damaged record is reported and stays where it is.
fn each<R: Record>(
    store: &dyn Store,
    shelf: Shelf,
    queue: QueueName,
    limit: usize,
    mut take: impl FnMut(JobId, R),
) -> Result<(), StoreError> {
    let prefix = shelf_key(shelf, queue);
    let end = [prefix[0], prefix[1] + 1];
    let (mut after, mut left) = (None::<Vec<u8>>, limit);
    loop {
        let start = after.as_deref().map_or(Bound::Included(&prefix[..]), Bound::Excluded);
        let page = store.range(Keyspace::Jobs, (start, Bound::Excluded(&end[..])), PAGE_RECORDS_MAX.min(left))?;
        for (key, value) in &page.entries {
            match (key_id(key), R::unseal(key, value)) {
                (Some(id), Ok(record)) => take(id, record),
                (_, result) => {
                    metrics::counter!("gotham_queue_damaged_records_total", "queue" => queue.as_str()).increment(1);
                    tracing::error!(queue = queue.as_str(), ?key, error = ?result.err(), "a stored job is damaged and is left aside");
                }
            }
        }
        left -= page.entries.len();
        after = page.entries.into_iter().last().map(|(key, _)| key);
        if !page.has_more || left == 0 || after.is_none() {
            return Ok(());
        }
    }
}

/// Runs what reads the disk or takes long off the async threads.
pub(crate) async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Stopped.into()),
        },
    }
}
