//! What Joker keeps on disk: one record a feed run, one a reject.

use bincode::{Decode, Encode};
use protocol::ingest::{FeedRun, Reject, RunId};
use store::Record;

/// A feed run under its id.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct RunRecord(pub(crate) FeedRun);

impl Record for RunRecord {
    const KIND: u16 = 0x0301;
    const SCHEMA: u16 = 1;
}

/// A reject or warning under its run, row and number.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct RejectRecord(pub(crate) Reject);

impl Record for RejectRecord {
    const KIND: u16 = 0x0401;
    const SCHEMA: u16 = 1;
}

/// A run's key: its id, so runs stand in the order of their start.
pub(crate) fn run_key(id: RunId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

/// A reject's key: run, row, and a number that tells rejects of one row apart.
pub(crate) fn reject_key(id: RunId, row: u64, number: u32) -> Vec<u8> {
    [id.0.to_be_bytes().as_slice(), &row.to_be_bytes(), &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ingest::{FeedMode, FeedRequest, FeedSource, RunCounts, RunError, RunStatus};

    fn run() -> FeedRun {
        let request = FeedRequest {
            from: FeedSource::Url("https://shop.example/feed.xml".into()),
            name: "feed.xml".into(),
            source: "main".into(),
            mode: FeedMode::Full,
            dry_run: false,
            format: Some("google_xml".into()),
            image_root: Some("/pictures".into()),
            force: true,
            default_currency: Some("EUR".into()),
        };
        let counts =
            RunCounts { records: 9, products: 8, variants: 7, created: 6, updated: 5, unchanged: 4, deleted: 3, rejected: 2, warnings: 1 };
        let error = Some(RunError { code: "truncated".into(), detail: "cut".into() });
        FeedRun {
            id: RunId(7),
            request,
            status: RunStatus::Failed,
            format: None,
            counts,
            bytes_read: 10,
            bytes_total: Some(20),
            error,
            enqueued_at_ms: 1,
            started_at_ms: Some(2),
            finished_at_ms: Some(3),
        }
    }

    fn reject() -> Reject {
        Reject {
            row: 4,
            position: Some("line 5".into()),
            field: Some("price".into()),
            code: "bad_price".into(),
            detail: "no".into(),
            raw: "x".into(),
            product_id: Some("p".into()),
            is_warning: true,
        }
    }

    #[test]
    fn records_are_written_as_ever_and_read_back() {
        store::golden::check(&RunRecord(run()), &run_key(RunId(7)), include_bytes!("golden/run-v1.bin"));
        store::golden::check(&RejectRecord(reject()), &reject_key(RunId(7), 4, 1), include_bytes!("golden/reject-v1.bin"));
    }
}
