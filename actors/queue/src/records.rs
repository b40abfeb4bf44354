//! What Gordon keeps on disk: open jobs and dead letters in [`Keyspace::Jobs`], the sequence in [`Keyspace::JobIndex`].
//! Each queue's order is rebuilt in memory at start, so no index is stored.

use bincode::{Decode, Encode};
use domain::ProductId;
use protocol::queue::{DeadLetter, JobId, QueueName};
use store::{Keyspace, Op, Record};

/// The key of the one [`SequenceRecord`].
pub(crate) const SEQUENCE_KEY: &[u8] = b"sequence";

/// An open job. Times are wall-clock milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct JobRecord {
    pub(crate) product: ProductId,
    pub(crate) priority: u8,
    pub(crate) attempts: u32,
    pub(crate) enqueued_at_ms: i64,
    /// A wait that is read back is never longer than it was at this time, whatever the clock has done since.
    pub(crate) written_at_ms: i64,
    pub(crate) error: Option<String>,
    pub(crate) state: JobState,
}

/// Where an open job stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum JobState {
    Waiting { due_at_ms: i64 },
    Leased { lease: u64, until_ms: i64, again: Option<AgainRecord> },
}

/// The product changed while the job was in a worker's hands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AgainRecord {
    pub(crate) priority: u8,
    pub(crate) due_at_ms: i64,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct DeadRecord {
    pub(crate) product: ProductId,
    pub(crate) priority: u8,
    pub(crate) attempts: u32,
    pub(crate) error: String,
    pub(crate) died_at_ms: i64,
}

impl DeadRecord {
    pub(crate) fn letter(self, queue: QueueName, id: JobId) -> DeadLetter {
        DeadLetter { id, queue, product: self.product, attempts: self.attempts, error: self.error, died_at_ms: self.died_at_ms }
    }
}

/// Job ids and lease numbers below `reserved` may have been given out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SequenceRecord {
    pub(crate) reserved: u64,
}

impl Record for JobRecord {
    const KIND: u16 = 0x0501;
    const SCHEMA: u16 = 1;
}

impl Record for DeadRecord {
    const KIND: u16 = 0x0502;
    const SCHEMA: u16 = 1;
}

impl Record for SequenceRecord {
    const KIND: u16 = 0x0601;
    const SCHEMA: u16 = 1;
}

/// Which of the two kinds of job a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    Open = 1,
    Dead = 2,
}

/// Shelf, queue, id in big-endian: in key order, the jobs of one shelf and queue stand together, oldest first.
pub(crate) fn job_key(shelf: Shelf, queue: QueueName, id: JobId) -> Vec<u8> {
    let mut key = shelf_key(shelf, queue).to_vec();
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// What all keys of a shelf and queue start with.
pub(crate) fn shelf_key(shelf: Shelf, queue: QueueName) -> [u8; 2] {
    let queue = match queue {
        QueueName::EmbedImage => 1,
        QueueName::EmbedText => 2,
    };
    [shelf as u8, queue]
}

/// The id in a job's key.
pub(crate) fn key_id(key: &[u8]) -> Option<JobId> {
    let id = key.get(2..)?.try_into().ok()?;
    Some(JobId(u64::from_be_bytes(id)))
}

pub(crate) fn put_job(queue: QueueName, id: JobId, record: &JobRecord) -> Op {
    put(Keyspace::Jobs, job_key(Shelf::Open, queue, id), record)
}

pub(crate) fn put_dead(queue: QueueName, id: JobId, record: &DeadRecord) -> Op {
    put(Keyspace::Jobs, job_key(Shelf::Dead, queue, id), record)
}

pub(crate) fn put_sequence(reserved: u64) -> Op {
    put(Keyspace::JobIndex, SEQUENCE_KEY.to_vec(), &SequenceRecord { reserved })
}

pub(crate) fn delete(shelf: Shelf, queue: QueueName, id: JobId) -> Op {
    Op::Delete { space: Keyspace::Jobs, key: job_key(shelf, queue, id) }
}

fn put(space: Keyspace, key: Vec<u8>, record: &impl Record) -> Op {
    let value = record.seal(&key).expect("ids and errors are bounded far below the largest record");
    Op::Put { space, key, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The stored form never changes under a schema number: these bytes were written once and are read for ever.
    #[track_caller]
    fn golden<R: Record + PartialEq + std::fmt::Debug>(record: R, key: &[u8], expected: &str) {
        let sealed = record.seal(key).expect("sealed");
        assert_eq!(hex(&sealed), expected, "the stored form has changed: raise SCHEMA and keep reading the old one");
        assert_eq!(R::unseal(key, &sealed), Ok(record));
    }

    #[test]
    fn golden_records() {
        let product: ProductId = "P-1".parse().expect("an id");
        let key = job_key(Shelf::Open, QueueName::EmbedText, JobId(7));
        assert_eq!((hex(&key).as_str(), key_id(&key)), ("01020000000000000007", Some(JobId(7))));
        let waiting = JobRecord {
            product: product.clone(),
            priority: 3,
            attempts: 2,
            enqueued_at_ms: 1000,
            written_at_ms: 2000,
            error: Some("no route".into()),
            state: JobState::Waiting { due_at_ms: 5000 },
        };
        let again = Some(AgainRecord { priority: 9, due_at_ms: 4000 });
        let leased = JobRecord { error: None, state: JobState::Leased { lease: 11, until_ms: 62_000, again }, ..waiting.clone() };
        golden(
            waiting,
            &key,
            "47520105010000003d0000000baed9360300000000000000502d310302000000e803000000000000d0070000000000000108000000000000006e6f20726f757465000000008813000000000000",
        );
        golden(
            leased,
            &key,
            "47520105010000003f000000dd6325ae0300000000000000502d310302000000e803000000000000d00700000000000000010000000b0000000000000030f20000000000000109a00f000000000000",
        );
        let key = job_key(Shelf::Dead, QueueName::EmbedImage, JobId(8));
        golden(
            DeadRecord { product, priority: 3, attempts: 5, error: "not a picture".into(), died_at_ms: 9000 },
            &key,
            "47520205010000002d000000fc0b96410300000000000000502d3103050000000d000000000000006e6f74206120706963747572652823000000000000",
        );
        golden(SequenceRecord { reserved: 4096 }, SEQUENCE_KEY, "4752010601000000080000004b557ec90010000000000000");
    }
}
