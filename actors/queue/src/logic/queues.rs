//! All queues and the numbers they share.

use std::collections::HashSet;

use domain::ProductId;
use protocol::queue::{JobId, JobSpec, LeasedJob, QueueError, QueueName, Settlement};
use store::Op;

use crate::config::Config;
use crate::logic::job::Now;
use crate::logic::queue::{Full, Queue};
use crate::logic::sequence::Sequence;
use crate::records::DeadRecord;

/// All queues.
#[derive(Debug)]
pub(crate) struct Queues {
    image: Queue,
    text: Queue,
    sequence: Sequence,
}

impl Queues {
    /// Empty queues that number on behind `reserved`.
    pub(crate) fn new(config: &Config, reserved: u64) -> Self {
        let queue = |name| Queue::new(name, config.queue(name).clone());
        Self { image: queue(QueueName::EmbedImage), text: queue(QueueName::EmbedText), sequence: Sequence::after(reserved) }
    }

    pub(crate) fn get(&self, name: QueueName) -> &Queue {
        match name {
            QueueName::EmbedImage => &self.image,
            QueueName::EmbedText => &self.text,
        }
    }

    pub(crate) fn get_mut(&mut self, name: QueueName) -> &mut Queue {
        self.split(name).0
    }

    /// All jobs or none.
    pub(crate) fn enqueue_all(&mut self, now: Now, jobs: &[JobSpec], ops: &mut Vec<Op>) -> Result<(), QueueError> {
        for name in QueueName::ALL {
            let queue = self.get(name);
            let wanted: HashSet<&ProductId> =
                jobs.iter().filter(|job| job.queue == name && queue.is_new(&job.product)).map(|job| &job.product).collect();
            if wanted.len() > queue.room() {
                return Err(QueueError::Full { queue: name.as_str(), jobs: queue.depth().open() as usize });
            }
        }
        for job in jobs {
            let fits = self.enqueue(now, job, ops);
            debug_assert_eq!(fits, Ok(()), "the room was counted");
        }
        Ok(())
    }

    /// One job.
    pub(crate) fn enqueue(&mut self, now: Now, job: &JobSpec, ops: &mut Vec<Op>) -> Result<(), Full> {
        let (queue, sequence) = self.split(job.queue);
        queue.enqueue(now, sequence, job, ops)
    }

    /// See [`Queue::lease`].
    pub(crate) fn lease(
        &mut self,
        now: Now,
        name: QueueName,
        jobs_max: usize,
        visibility_timeout_ms: u64,
        ops: &mut Vec<Op>,
    ) -> Vec<LeasedJob> {
        let (queue, sequence) = self.split(name);
        queue.lease(now, sequence, jobs_max, visibility_timeout_ms, ops)
    }

    /// Settles each job that its lease still holds; the others are left alone.
    pub(crate) fn settle(&mut self, now: Now, jobs: &[(JobId, u64, Settlement)], ops: &mut Vec<Op>) {
        for (id, lease, settlement) in jobs {
            let settled = self.image.settle(now, *id, *lease, settlement, ops) || self.text.settle(now, *id, *lease, settlement, ops);
            if !settled {
                self.text.note_stale();
            }
        }
    }

    /// Lets time pass in every queue.
    pub(crate) fn advance(&mut self, now: Now, ops: &mut Vec<Op>) {
        self.image.advance(now, ops);
        self.text.advance(now, ops);
    }

    /// Gives dead jobs a new life with fresh attempts, as long as they fit. How many did.
    pub(crate) fn redrive(&mut self, now: Now, name: QueueName, letters: Vec<(JobId, DeadRecord)>, ops: &mut Vec<Op>) -> u64 {
        let mut revived = 0;
        for (id, letter) in letters {
            let job = JobSpec { queue: name, product: letter.product, priority: letter.priority, not_before_ms: now.wall_ms };
            if self.enqueue(now, &job, ops) == Err(Full) {
                break;
            }
            self.get_mut(name).unbury(id, ops);
            revived += 1;
        }
        revived
    }

    fn split(&mut self, name: QueueName) -> (&mut Queue, &mut Sequence) {
        match name {
            QueueName::EmbedImage => (&mut self.image, &mut self.sequence),
            QueueName::EmbedText => (&mut self.text, &mut self.sequence),
        }
    }
}
