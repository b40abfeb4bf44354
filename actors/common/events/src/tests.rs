//! The log over a journal and a warehouse of its own.

mod arbitrary;
mod follow;
mod forget;
mod seal;

use std::path::Path;

use domain::{Event, EventKind};
use protocol::journal::LogBody;

use crate::{Appended, Config, Entry, EventLog};

fn event(id: &str) -> Event {
    Event { visitor: Some("v".into()), received_at_ms: 2, ..Event::new(id, EventKind::Home, 1) }
}

fn open(dir: &Path) -> EventLog {
    EventLog::open(dir, &Config::default(), Vec::new()).expect("opened")
}

/// All entries, read `at_once` at a time.
fn all(log: &EventLog, at_once: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    while (entries.len() as u64) < log.end() {
        entries.extend(log.read(entries.len() as u64, at_once).expect("readable"));
    }
    entries
}

fn ids(log: &EventLog) -> Vec<String> {
    all(log, 100)
        .into_iter()
        .filter_map(|entry| entry.body)
        .filter_map(|body| if let LogBody::Event(event) = body { Some(event.id.clone()) } else { None })
        .collect()
}

/// Seals everything and lets nothing but the files hold it.
fn seal_all(log: &EventLog) {
    log.seal(log.end()).expect("sealed");
    let closed = log.parts().journal.close_segment().expect("closed");
    log.seal(closed).expect("trimmed");
    log.parts().tail.clear_before(closed);
    assert_eq!((log.sealed(), log.parts().journal.start()), (log.end(), log.end()));
}

#[tokio::test]
async fn an_event_is_kept_once_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let appended = log.append(vec![event("a"), event("b"), event("a")]).await.expect("appended");
    assert_eq!(appended, Appended { accepted: 2, duplicates: 1, end: 2 });
    assert_eq!(log.append(vec![event("b")]).await.expect("appended"), Appended { accepted: 0, duplicates: 1, end: 2 });
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.append(vec![event("a"), event("c")]).await.expect("appended"), Appended { accepted: 1, duplicates: 1, end: 3 });
    assert_eq!(ids(&log), ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_kept_once_also_when_what_it_repeats_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    log.append(vec![event("a"), event("b")]).await.expect("appended");
    tokio::task::block_in_place(|| seal_all(&log));
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.append(vec![event("b"), event("c")]).await.expect("appended"), Appended { accepted: 1, duplicates: 1, end: 3 });
    assert_eq!(ids(&log), ["a", "b", "c"]);
}
