//! Alfred with a log of his own.

use std::sync::Arc;
use std::time::Duration;

use domain::{Erasure, Event, EventKind, Shopper};
use events::EventLog;
use kit::{Address, ManualClock, Scene};
use protocol::archive::NAME;

use crate::{Alfred, Args, Config};

fn event(number: usize, user: &str) -> Event {
    Event { user: Some(user.into()), raw: format!("{{\"user\":\"{user}\"}}"), ..Event::new(format!("e{number}"), EventKind::Home, 1_000) }
}

/// Whether any file below a folder holds a text.
fn is_written(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return is_written(&path, text);
        }
        // Alfred may just have removed it.
        std::fs::read(&path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn seals_what_is_due_and_forgets_whom_all_followers_have_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = events::Config { seal_records: 10, ..events::Config::default() };
    let log = EventLog::open(folder.path(), &config, vec!["follower"]).expect("a log");
    let mut scene = Scene::new();
    let args = Args { config: Config { interval_ms: 10 }, log: log.clone(), clock: Arc::new(ManualClock::new(2_000)) };
    scene.spawn_at(&Address::new(NAME, 8), Alfred, args).await;
    let mut events: Vec<Event> = (0..20).map(|number| event(number, "somebody-else")).collect();
    events[3] = event(3, "anna-to-be-forgotten");
    log.append(events).await.expect("appended");
    let erasure = Erasure { shoppers: vec![Shopper::user("anna-to-be-forgotten")], at_ms: 3, receipt: "r".into() };
    let end = log.erase(erasure).await.expect("appended");
    let eventually = |is_so: Box<dyn Fn() -> bool>| async move {
        let wait = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("Alfred does his work");
    };
    let sealed = log.clone();
    eventually(Box::new(move || sealed.sealed() >= 20)).await;
    assert!(is_written(folder.path(), "anna-to-be-forgotten"), "a follower has not passed the erasure yet");
    log.consumer_at("follower", end);
    let pending = log.clone();
    eventually(Box::new(move || pending.pending_erasures().expect("readable").is_empty())).await;
    // What the new files replace goes as soon as they are in force.
    let path = folder.path().to_path_buf();
    eventually(Box::new(move || !is_written(&path, "anna-to-be-forgotten"))).await;
    assert_eq!(log.read(0, 100).expect("readable").len(), 21);
    scene.end().await;
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    assert_eq!(Config { interval_ms: 0 }.problems().len(), 1);
}
