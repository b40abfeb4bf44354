//! Turns the journal's changes into jobs. Jobs and offset stand in one commit, so a change becomes a job exactly once, whatever dies in
//! between. Each queue has an offset of its own: a full one waits without holding up the other.

use domain::ProductId;
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::queue::{JobSpec, QueueName};
use store::consumer::{load_offset, offset_op};
use store::{Journal, JournalEntry, Op, Record, StoreError};

use crate::actor::Args;
use crate::effects::{Shelves, blocking};
use crate::logic::follow::{job_for, job_to_rebuild};

/// The names under which Gordon follows the journal, in the order of [`QueueName::ALL`].
pub const CONSUMERS: [&str; QueueName::ALL.len()] = ["gordon_embed_image", "gordon_embed_text"];

/// Bytes of journal read at a time.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A record of the journal and the jobs that follow from it.
type Followed = (u64, Vec<JobSpec>);

/// How far each queue has followed.
pub(crate) struct Follower(Vec<Position>);

/// How far one queue has followed.
struct Position {
    queue: QueueName,
    consumer: &'static str,
    /// The next record to follow.
    offset: u64,
    sweep: Option<Sweep>,
}

/// The journal does not have what is to be followed next (it was trimmed, or it is another journal): every product of the catalog gets a job instead.
struct Sweep {
    after: Option<ProductId>,
    /// Where the journal is followed afterwards.
    resume: u64,
}

impl Follower {
    pub(crate) fn load(args: &Args) -> Result<Self, StoreError> {
        let mut positions = Vec::with_capacity(CONSUMERS.len());
        for (queue, consumer) in QueueName::ALL.into_iter().zip(CONSUMERS) {
            let mut position = Position { queue, consumer, offset: load_offset(&*args.store, consumer)?, sweep: None };
            position.check(&args.journal);
            positions.push(position);
        }
        let follower = Self(positions);
        follower.tell(args);
        Ok(follower)
    }

    /// Whether another [`Follower::follow`] would get further.
    pub(crate) fn wants_more(&self, journal: &Journal, shelves: &Shelves) -> bool {
        self.0.iter().any(|position| position.offset != journal.end() && shelves.has_room(position.queue))
    }

    /// One bounded step for each queue that has room.
    pub(crate) async fn follow(&mut self, args: &Args, shelves: &mut Shelves) -> Result<(), StoreError> {
        let (end, mut ops) = (args.journal.end(), Vec::new());
        let mut behind: Vec<_> = self.0.iter_mut().filter(|position| position.offset != end && shelves.has_room(position.queue)).collect();
        for position in behind.extract_if(.., |position| position.check(&args.journal)) {
            position.sweep(args, shelves, &mut ops).await?;
        }
        while let Some(offset) = behind.first().map(|position| position.offset) {
            let followed = read(args, offset, shelves.now_ms()).await?;
            for position in behind.extract_if(.., |position| position.offset == offset) {
                position.take(&followed, shelves, &mut ops)?;
            }
        }
        if ops.is_empty() {
            return Ok(());
        }
        shelves.commit(ops).await?;
        self.tell(args);
        Ok(())
    }

    /// Tells the journal and the readers how far each queue, and the slowest of them, has come.
    fn tell(&self, args: &Args) {
        for position in &self.0 {
            args.journal.consumer_at(position.consumer, position.reached());
        }
        args.view.set_journal_offset(self.0.iter().map(Position::reached).min().unwrap_or(0));
    }
}

impl Position {
    /// Takes over the jobs of this queue until it is full; what does not fit is followed later.
    fn take(&mut self, followed: &[Followed], shelves: &mut Shelves, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let before = self.offset;
        for (offset, jobs) in followed {
            if jobs.iter().filter(|job| job.queue == self.queue).any(|job| shelves.enqueue_uncommitted(job, ops).is_err()) {
                break;
            }
            self.offset = offset + 1;
        }
        if self.offset > before {
            ops.push(offset_op(self.consumer, self.offset)?);
        }
        Ok(())
    }

    /// Whether the journal cannot be followed from here; then the catalog is swept instead.
    fn check(&mut self, journal: &Journal) -> bool {
        let resume = journal.end();
        if self.sweep.is_none() && !(journal.start()..=resume).contains(&self.offset) {
            let (consumer, offset) = (self.consumer, self.offset);
            tracing::warn!(consumer, offset, "the journal does not have what is to be followed: every product gets a job");
            self.sweep = Some(Sweep { after: None, resume });
        }
        self.sweep.is_some()
    }

    /// The offset before which every change has become a job.
    fn reached(&self) -> u64 {
        if self.sweep.is_some() { 0 } else { self.offset }
    }

    /// One page of the catalog.
    async fn sweep(&mut self, args: &Args, shelves: &mut Shelves, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let (queue, consumer, records_max) = (self.queue, self.consumer, args.config.follow_records_max);
        let Some(sweep) = &mut self.sweep else { return Ok(()) };
        let (snapshot, after) = (args.catalog.snapshot(), sweep.after.clone());
        let page = blocking(move || Ok::<_, StoreError>(snapshot.page(after.as_ref().map(ProductId::as_str), records_max))).await?;
        let mut fitted = 0;
        for product in &page {
            let id = &product.product.id;
            if shelves.enqueue_uncommitted(&job_to_rebuild(queue, id.clone(), shelves.now_ms()), ops).is_err() {
                break;
            }
            sweep.after = Some(id.clone());
            fitted += 1;
        }
        if fitted == page.len() && page.len() < records_max {
            self.offset = sweep.resume;
            self.sweep = None;
            ops.push(offset_op(consumer, self.offset)?);
        }
        Ok(())
    }
}

/// Reads and decodes off the async threads.
async fn read(args: &Args, from: u64, now_ms: i64) -> Result<Vec<Followed>, StoreError> {
    let (journal, records_max) = (args.journal.clone(), args.config.follow_records_max);
    blocking(move || {
        let entries = journal.read(from, records_max, READ_BYTES_MAX)?;
        Ok(entries.iter().map(|entry| (entry.offset, jobs(entry, now_ms))).collect())
    })
    .await
}

fn jobs(entry: &JournalEntry, now_ms: i64) -> Vec<JobSpec> {
    if entry.kind != KIND_CATALOG_CHANGE {
        return Vec::new();
    }
    match CatalogChange::unseal(&[], &entry.body) {
        Ok(change) => QueueName::ALL.into_iter().filter_map(|queue| job_for(queue, &change, now_ms)).collect(),
        Err(error) => {
            metrics::counter!("gotham_queue_damaged_journal_records_total").increment(1);
            tracing::error!(offset = entry.offset, %error, "a journal record is damaged: no job follows from it");
            Vec::new()
        }
    }
}
