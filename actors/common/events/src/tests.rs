//! The log over a journal of its own.

use domain::{Dialect, Event, EventKind};
use protocol::journal::LogBody;

use crate::{Appended, Config, EventLog};

fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        kind: EventKind::Home,
        visitor: Some("v".into()),
        user: None,
        session: None,
        at_ms: 1,
        received_at_ms: 2,
        items: Vec::new(),
        order: None,
        value: None,
        query: None,
        results: None,
        surface: None,
        store: None,
        attribution_token: None,
        experiment: None,
        consent: None,
        rating: None,
        is_bot: false,
        dialect: Dialect::Native,
        raw: "{}".into(),
    }
}

fn ids(log: &EventLog) -> Vec<String> {
    let entries = log.read(0, 100).expect("readable");
    entries
        .into_iter()
        .filter_map(|entry| entry.body)
        .filter_map(|body| if let LogBody::Event(event) = body { Some(event.id.clone()) } else { None })
        .collect()
}

#[tokio::test]
async fn an_event_is_kept_once_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EventLog::open(folder.path(), &Config::default(), Vec::new()).expect("opened");
    let appended = log.append(vec![event("a"), event("b"), event("a")]).await.expect("appended");
    assert_eq!(appended, Appended { accepted: 2, duplicates: 1, end: 2 });
    assert_eq!(log.append(vec![event("b")]).await.expect("appended"), Appended { accepted: 0, duplicates: 1, end: 2 });
    drop(log);
    let log = EventLog::open(folder.path(), &Config::default(), Vec::new()).expect("opened");
    assert_eq!(log.append(vec![event("a"), event("c")]).await.expect("appended"), Appended { accepted: 1, duplicates: 1, end: 3 });
    assert_eq!(ids(&log), ["a", "b", "c"]);
}
