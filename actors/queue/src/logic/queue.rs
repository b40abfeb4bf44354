//! One queue in memory: who waits, who is due, who holds what. Every change goes into `ops`, to be committed before it is
//! answered; a commit that fails is cured by a restart, which loads what is stored.
//!
//! An open job takes about 320 bytes (measured with product ids of 16 characters): 32 MB for 100,000 of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::ProductId;
use protocol::queue::{JobId, JobSpec, LeasedJob, QueueDepth, QueueName, Settlement};
use store::Op;

use crate::config::QueueConfig;
use crate::logic::backoff::backoff_ms;
use crate::logic::job::{Again, Job, Now, State, cut, place};
use crate::logic::sequence::Sequence;
use crate::records::{DeadRecord, Shelf, delete, put_dead, put_job};

/// Leases ended at a time.
const EXPIRED_MAX: usize = 1024;

/// The queue is at its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What has happened since it was last asked, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) enqueued: u64,
    pub(crate) merged: u64,
    pub(crate) leased: u64,
    pub(crate) done: u64,
    pub(crate) retried: u64,
    pub(crate) released: u64,
    pub(crate) expired: u64,
    pub(crate) stale: u64,
    pub(crate) dead: u64,
    pub(crate) letters_dropped: u64,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    name: QueueName,
    policy: QueueConfig,
    jobs: BTreeMap<JobId, Job>,
    by_product: HashMap<ProductId, JobId>,
    /// Due: by priority, due time, age.
    ready: BTreeSet<(Reverse<u8>, i64, JobId)>,
    /// Due later: by due time.
    delayed: BTreeSet<(i64, JobId)>,
    /// Handed out: by the end of the lease.
    leased: BTreeSet<(i64, JobId)>,
    dead: BTreeMap<JobId, ProductId>,
    dead_by_product: HashMap<ProductId, JobId>,
    wakes: u64,
    tally: Tally,
}

impl Queue {
    pub(crate) fn new(name: QueueName, policy: QueueConfig) -> Self {
        Self {
            name,
            policy,
            jobs: BTreeMap::new(),
            by_product: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            leased: BTreeSet::new(),
            dead: BTreeMap::new(),
            dead_by_product: HashMap::new(),
            wakes: 0,
            tally: Tally::default(),
        }
    }

    /// Takes in a stored job at start.
    pub(crate) fn restore_job(&mut self, now: Now, id: JobId, job: Job) {
        self.by_product.insert(job.product.clone(), id);
        self.stand(now, id, job);
    }

    /// Takes in a stored dead letter at start.
    pub(crate) fn restore_dead(&mut self, id: JobId, product: ProductId) {
        self.dead_by_product.insert(product.clone(), id);
        self.dead.insert(id, product);
    }

    pub(crate) fn depth(&self) -> QueueDepth {
        QueueDepth {
            ready: self.ready.len() as u64,
            delayed: self.delayed.len() as u64,
            leased: self.leased.len() as u64,
            dead: self.dead.len() as u64,
        }
    }

    /// When the oldest open job was enqueued, by the wall clock.
    pub(crate) fn oldest_enqueued_at_ms(&self) -> Option<i64> {
        self.jobs.first_key_value().map(|(_, job)| job.enqueued_at_ms)
    }

    /// How many more jobs fit.
    pub(crate) fn room(&self) -> usize {
        self.policy.jobs_max.saturating_sub(self.jobs.len())
    }

    /// Whether a job for this product would need room of its own.
    pub(crate) fn is_new(&self, product: &ProductId) -> bool {
        !self.by_product.contains_key(product)
    }

    /// Grows whenever a job has become due.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes
    }

    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Puts a job in. One that waits for the same product already is made new: it has fresh attempts, the higher of both
    /// priorities and the earlier of both times. One that is in a worker's hands runs again afterwards.
    pub(crate) fn enqueue(&mut self, now: Now, sequence: &mut Sequence, spec: &JobSpec, ops: &mut Vec<Op>) -> Result<(), Full> {
        let wish = Again { priority: spec.priority, due_ms: now.steady(spec.not_before_ms) };
        if let Some(&id) = self.by_product.get(&spec.product) {
            let Some(mut job) = self.lift(id) else { return Ok(()) };
            match &mut job.state {
                State::Waiting { due_ms } => {
                    *due_ms = wish.due_ms.min(*due_ms);
                    (job.priority, job.attempts, job.error) = (wish.priority.max(job.priority), 0, None);
                }
                State::Leased { again, .. } => *again = Some(again.map_or(wish, |earlier| earlier.merge(wish))),
            }
            self.tally.merged += 1;
            self.keep(now, id, job, ops);
            return Ok(());
        }
        if self.room() == 0 {
            return Err(Full);
        }
        let id = JobId(sequence.take(ops));
        let (product, state) = (spec.product.clone(), State::Waiting { due_ms: wish.due_ms });
        self.by_product.insert(product.clone(), id);
        self.tally.enqueued += 1;
        self.keep(now, id, Job { product, priority: spec.priority, attempts: 0, enqueued_at_ms: now.wall_ms, error: None, state }, ops);
        Ok(())
    }

    /// Lets time pass: delayed jobs become due, leases that have run out count as failed attempts (so many at a time that a commit
    /// keeps its size; the next call goes on).
    pub(crate) fn advance(&mut self, now: Now, ops: &mut Vec<Op>) {
        while let Some(&(due_ms, id)) = self.delayed.first().filter(|(due_ms, _)| *due_ms <= now.steady_ms) {
            self.delayed.remove(&(due_ms, id));
            if let Some(job) = self.jobs.get(&id) {
                self.ready.insert(place(job, due_ms, id));
                self.wakes += 1;
            }
        }
        for _ in 0..EXPIRED_MAX {
            let Some(&(_, id)) = self.leased.first().filter(|(until_ms, _)| *until_ms <= now.steady_ms) else { break };
            let Some(job) = self.lift(id) else { break };
            self.tally.expired += 1;
            self.fail(now, id, job, "the lease ran out before the job was settled", ops);
        }
    }

    /// Hands out up to `jobs_max` due jobs, each for `visibility_timeout_ms`.
    pub(crate) fn lease(
        &mut self,
        now: Now,
        sequence: &mut Sequence,
        jobs_max: usize,
        visibility_timeout_ms: u64,
        ops: &mut Vec<Op>,
    ) -> Vec<LeasedJob> {
        self.advance(now, ops);
        let until_ms = now.after_ms(visibility_timeout_ms.clamp(1, self.policy.visibility_timeout_ms_max));
        let mut leased = Vec::with_capacity(jobs_max.min(self.ready.len()));
        while leased.len() < jobs_max {
            let Some(&(_, due_ms, id)) = self.ready.first() else { break };
            let Some(mut job) = self.lift(id) else { break };
            let lease = sequence.take(ops);
            job.attempts += 1;
            job.state = State::Leased { lease, until_ms, again: None };
            let spec = JobSpec { queue: self.name, product: job.product.clone(), priority: job.priority, not_before_ms: now.wall(due_ms) };
            leased.push(LeasedJob { id, lease, spec, attempt: job.attempts });
            self.keep(now, id, job, ops);
        }
        self.tally.leased += leased.len() as u64;
        leased
    }

    /// Ends a lease. A lease that is no longer the job's current one does nothing: `false`.
    pub(crate) fn settle(&mut self, now: Now, id: JobId, lease: u64, settlement: &Settlement, ops: &mut Vec<Op>) -> bool {
        let current = self.jobs.get(&id).is_some_and(|job| matches!(job.state, State::Leased { lease: held, .. } if held == lease));
        let Some(mut job) = current.then(|| self.lift(id)).flatten() else {
            return false;
        };
        match settlement {
            Settlement::Done => {
                self.tally.done += 1;
                self.bury(&job.product, ops);
                if !self.run_again(now, id, &mut job, ops) {
                    self.forget(id, &job, ops);
                }
            }
            Settlement::Retry { error } => self.fail(now, id, job, error, ops),
            Settlement::Dead { error } => {
                if !self.run_again(now, id, &mut job, ops) {
                    self.die(now, id, job, error, ops);
                }
            }
            Settlement::Release => {
                self.tally.released += 1;
                if !self.run_again(now, id, &mut job, ops) {
                    job.attempts -= 1;
                    job.state = State::Waiting { due_ms: now.after_ms(self.policy.release_delay_ms) };
                    self.keep(now, id, job, ops);
                }
            }
        }
        true
    }

    /// Counts a stale settlement.
    pub(crate) fn note_stale(&mut self) {
        self.tally.stale += 1;
    }

    /// Takes a dead letter out, because it gets a new life.
    pub(crate) fn unbury(&mut self, id: JobId, ops: &mut Vec<Op>) {
        if let Some(product) = self.dead.remove(&id) {
            self.dead_by_product.remove(&product);
            ops.push(delete(Shelf::Dead, self.name, id));
        }
    }

    /// A failed attempt: again with fresh attempts if the product has changed meanwhile, else later, else never.
    fn fail(&mut self, now: Now, id: JobId, mut job: Job, error: &str, ops: &mut Vec<Op>) {
        if self.run_again(now, id, &mut job, ops) {
            return;
        }
        if job.attempts >= self.policy.attempts_max {
            self.die(now, id, job, error, ops);
            return;
        }
        self.tally.retried += 1;
        job.error = Some(cut(error).into());
        job.state = State::Waiting { due_ms: now.after_ms(backoff_ms(&self.policy, id, job.attempts)) };
        self.keep(now, id, job, ops);
    }

    /// Puts a job whose product changed during the lease back in line as if new.
    fn run_again(&mut self, now: Now, id: JobId, job: &mut Job, ops: &mut Vec<Op>) -> bool {
        let State::Leased { again: Some(again), .. } = job.state else { return false };
        let job = Job {
            priority: again.priority,
            attempts: 0,
            error: None,
            state: State::Waiting { due_ms: again.due_ms },
            enqueued_at_ms: job.enqueued_at_ms,
            product: job.product.clone(),
        };
        self.keep(now, id, job, ops);
        true
    }

    fn die(&mut self, now: Now, id: JobId, job: Job, error: &str, ops: &mut Vec<Op>) {
        self.forget(id, &job, ops);
        self.bury(&job.product, ops);
        while self.dead.len() >= self.policy.dead_letters_max {
            let Some((&oldest, _)) = self.dead.first_key_value() else { break };
            self.unbury(oldest, ops);
            self.tally.letters_dropped += 1;
        }
        let record = DeadRecord {
            product: job.product.clone(),
            priority: job.priority,
            attempts: job.attempts,
            error: cut(error).to_owned(),
            died_at_ms: now.wall_ms,
        };
        ops.push(put_dead(self.name, id, &record));
        self.restore_dead(id, job.product);
        self.tally.dead += 1;
    }

    /// Removes the product's dead letter, which a later job has made pointless.
    fn bury(&mut self, product: &ProductId, ops: &mut Vec<Op>) {
        if let Some(&id) = self.dead_by_product.get(product) {
            self.unbury(id, ops);
        }
    }

    /// Removes a job that has been lifted.
    fn forget(&mut self, id: JobId, job: &Job, ops: &mut Vec<Op>) {
        self.by_product.remove(&job.product);
        ops.push(delete(Shelf::Open, self.name, id));
    }

    /// Takes a job out of its line, to be kept or forgotten.
    fn lift(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        match job.state {
            State::Waiting { due_ms } => {
                let _ = self.ready.remove(&place(&job, due_ms, id)) || self.delayed.remove(&(due_ms, id));
            }
            State::Leased { until_ms, .. } => {
                self.leased.remove(&(until_ms, id));
            }
        }
        Some(job)
    }

    /// Puts a job where its state says, and writes it.
    fn keep(&mut self, now: Now, id: JobId, job: Job, ops: &mut Vec<Op>) {
        ops.push(put_job(self.name, id, &job.record(now)));
        self.stand(now, id, job);
    }

    fn stand(&mut self, now: Now, id: JobId, job: Job) {
        match job.state {
            State::Waiting { due_ms } if due_ms <= now.steady_ms => {
                self.ready.insert(place(&job, due_ms, id));
                self.wakes += 1;
            }
            State::Waiting { due_ms } => {
                self.delayed.insert((due_ms, id));
            }
            State::Leased { until_ms, .. } => {
                self.leased.insert((until_ms, id));
            }
        }
        self.jobs.insert(id, job);
    }
}

impl Again {
    fn merge(self, other: Self) -> Self {
        Self { priority: self.priority.max(other.priority), due_ms: self.due_ms.min(other.due_ms) }
    }
}
