//! Followers, concurrent appenders, and appends that nobody waits for any more.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_see_every_record_once_in_order_while_many_append() {
    let folder = tempfile::tempdir().expect("a folder");
    // A ring so small that a follower falls out of it now and then.
    let config = Config { ring_records_max: 64, ..Config::default() };
    let log = EventLog::open(folder.path(), &config, Vec::new()).expect("opened");
    let mut appenders = tokio::task::JoinSet::new();
    for appender in 0..8 {
        let log = log.clone();
        appenders.spawn(async move {
            for batch in 0..40 {
                // Every id comes twice, from two appenders at about the same time.
                let events = (0..10).map(|index| event(&format!("{}-{batch}-{index}", appender / 2))).collect();
                let appended = log.append(events).await.expect("appended");
                assert!(log.end() >= appended.end, "what is acknowledged is readable");
            }
        });
    }
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let log = log.clone();
        followers.spawn(async move {
            let (mut seen, mut end) = (Vec::new(), log.watch());
            while seen.len() < 1600 {
                end.wait_for(|end| *end > seen.len() as u64).await.expect("a log");
                for entry in log.read(seen.len() as u64, 50).expect("readable") {
                    assert_eq!(entry.offset, seen.len() as u64);
                    seen.push(entry);
                }
            }
            seen
        });
    }
    while let Some(done) = appenders.join_next().await {
        done.expect("an appender");
    }
    let stored = all(&open_again(log.clone()), 100);
    while let Some(seen) = followers.join_next().await {
        assert!(seen.expect("a follower") == stored, "from memory and from disk the same");
    }
    assert_eq!(log.end(), 1600);
}

/// The same log, with nothing in memory.
fn open_again(log: EventLog) -> EventLog {
    log.parts().tail.clear_before(log.end());
    log
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_leaves_no_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    {
        let mut abandoned = pin!(log.append(vec![event("a"), event("b")]));
        assert!(abandoned.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() || log.end() == 2);
    }
    assert_eq!(log.append(vec![event("b"), event("c")]).await.expect("appended"), Appended { accepted: 1, duplicates: 1, end: 3 });
    assert_eq!((log.end(), ids(&log).join("")), (3, "abc".into()));
}

#[tokio::test]
async fn asking_behind_the_end_is_an_error_and_at_the_end_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    log.append(vec![event("a")]).await.expect("appended");
    assert!(log.read(1, 10).expect("readable").is_empty());
    assert!(log.read(2, 10).is_err());
    drop(log);
    let log = open(folder.path());
    assert!(log.read(1, 10).expect("readable").is_empty());
    assert!(log.read(2, 10).is_err() && log.read(0, 0).is_ok_and(|entries| entries.is_empty()));
}
