//! A forgotten shopper leaves no name, and everybody else's state is what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use domain::{Erasure, Served, Shopper};
use proptest::prelude::*;
use store::StoreError;

use super::*;
use crate::ForgetError;

/// What a follower gathers.
#[derive(Debug, Default, PartialEq)]
struct State {
    /// Events by shopper; a visitor's become the user's.
    shoppers: BTreeMap<String, u64>,
    sessions: BTreeMap<String, BTreeMap<String, u64>>,
    kinds: BTreeMap<EventKind, u64>,
    served: u64,
}

impl State {
    fn of(entries: &[Entry]) -> Self {
        let mut state = Self::default();
        for entry in entries {
            match entry.body.as_ref().expect("readable") {
                LogBody::Event(event) => state.event(event),
                LogBody::Served(_) => state.served += 1,
                LogBody::Erasure(erasure) => {
                    for shopper in &erasure.shoppers {
                        state.shoppers.remove(shopper.as_str());
                        state.sessions.remove(shopper.as_str());
                    }
                }
            }
        }
        state
    }

    fn event(&mut self, event: &Event) {
        if let Some((visitor, user)) = event.login() {
            let gathered = self.shoppers.remove(visitor.as_str()).unwrap_or_default();
            *self.shoppers.entry(user.as_str().into()).or_default() += gathered;
        }
        if let Some(shopper) = event.shopper() {
            *self.shoppers.entry(shopper.as_str().into()).or_default() += 1;
            let session = event.session.clone().unwrap_or_default();
            *self.sessions.entry(shopper.as_str().into()).or_default().entry(session).or_default() += 1;
        }
        *self.kinds.entry(event.kind).or_default() += 1;
    }

    /// With sessions by length only: a session may be renamed that is no shopper's name in the erasure.
    fn without_session_names(self) -> impl PartialEq + std::fmt::Debug {
        let lengths = |lengths: Vec<u64>| {
            let mut lengths = lengths;
            lengths.sort_unstable();
            lengths
        };
        let (nameless, shoppers): (BTreeMap<_, _>, BTreeMap<_, _>) = self.shoppers.into_iter().partition(|(key, _)| key.starts_with("s:"));
        let sessions: BTreeMap<String, Vec<u64>> = self
            .sessions
            .into_iter()
            .filter(|(key, _)| !key.starts_with("s:"))
            .map(|(key, sessions)| (key, lengths(sessions.into_values().collect())))
            .collect();
        (shoppers, lengths(nameless.into_values().collect()), sessions, self.kinds, self.served)
    }
}

fn served(shopper: Option<Shopper>, session: Option<&str>) -> Served {
    Served {
        token: "token".into(),
        at_ms: 1,
        placement: "home".into(),
        shopper,
        session: session.map(str::to_owned),
        context: Vec::new(),
        items: Vec::new(),
        experiments: Vec::new(),
        rules: Vec::new(),
        query: Some("for visitor-anna".into()),
        found: 0,
        request: r#"{"user":"user-anna"}"#.into(),
    }
}

fn of(id: &str, user: Option<&str>, visitor: Option<&str>, session: Option<&str>) -> Event {
    let raw = format!("{user:?} {visitor:?} {session:?}");
    let [user, visitor, session] = [user, visitor, session].map(|name| name.map(str::to_owned));
    Event { user, visitor, session, raw, query: Some("shoes".into()), order: Some("order-1".into()), ..event(id) }
}

fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files.extend(everything(&entry));
        } else {
            files.push((entry.clone(), fs::read(&entry).expect("a file")));
        }
    }
    files
}

/// Where a name still stands: in a file's bytes, or in what they mean.
fn traces(log: &EventLog, dir: &Path, name: &str) -> Vec<String> {
    let in_bytes = everything(dir).into_iter().filter(|(_, bytes)| bytes.windows(name.len()).any(|window| window == name.as_bytes()));
    let entries = all(log, 100);
    let in_entries = entries.iter().filter(|entry| format!("{entry:?}").contains(name));
    in_bytes.map(|(path, _)| path.display().to_string()).chain(in_entries.map(|entry| entry.offset.to_string())).collect()
}

fn anna() -> Erasure {
    Erasure { shoppers: vec![Shopper::user("user-anna"), Shopper::visitor("visitor-anna")], at_ms: 9, receipt: "receipt-1".into() }
}

/// Some of it sealed, some not, with the erasure at the end.
async fn write(log: &EventLog) {
    let before = vec![
        of("1-visitor-anna", None, Some("visitor-anna"), Some("session-anna")),
        of("2", None, None, Some("session-anna")),
        of("3", Some("user-anna"), Some("visitor-anna"), Some("session-anna")),
        of("4", Some("user-bert"), Some("visitor-anna"), Some("session-bert")),
        of("5", Some("user-bert"), Some("visitor-bert"), Some("session-bert")),
    ];
    log.append(before).await.expect("appended");
    log.record(served(Some(Shopper::user("user-anna")), Some("session-anna")));
    log.record(served(Some(Shopper::session("session-anna")), None));
    let after = vec![
        of("6", Some("user-anna"), None, Some("session-2-anna")),
        Event { surface: Some("/account/user-anna".into()), ..of("7", Some("user-anna"), None, None) },
        of("8", None, Some("visitor-carl"), None),
    ];
    log.append(after).await.expect("appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trace_of_a_forgotten_shopper_is_gone_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    write(&log).await;
    tokio::task::block_in_place(|| log.seal(4).expect("sealed"));
    log.erase(anna()).await.expect("erased");
    log.append(vec![of("9", None, Some("visitor-dora"), None)]).await.expect("appended");
    let before = all(&log, 100);
    assert!(
        ["user-anna", "visitor-anna", "session-anna", "session-2-anna"].iter().all(|name| !traces(&log, folder.path(), name).is_empty())
    );
    let forgotten = tokio::task::block_in_place(|| log.forget(&anna()).expect("forgotten"));
    assert_eq!((forgotten.offset, forgotten.records), (10, 9), "eight records and the erasure");
    let check = |log: &EventLog| {
        for name in ["user-anna", "visitor-anna", "session-anna", "session-2-anna"] {
            assert_eq!(traces(log, folder.path(), name), [""; 0], "{name}");
        }
        let after = all(log, 100);
        let [was, is] = [&before, &after].map(|entries| State::of(entries).without_session_names());
        assert_eq!(was, is);
        let event = |index: usize| match &after[index].body {
            Some(LogBody::Event(event)) => event.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(after[4], before[4], "another's record is as it was");
        assert_eq!(
            (event(3).user.as_deref(), event(3).query.as_deref()),
            (Some("user-bert"), Some("shoes")),
            "Bert's, but for the visitor"
        );
        assert_eq!(event(0).visitor, event(2).visitor, "one name, one pseudonym");
        assert_eq!((event(2).order.clone(), event(2).query.clone()), (event(7).order.clone(), None));
        assert!(event(2).id.starts_with("erased-") && event(2).raw == "{}" && event(2).at_ms == 1);
        let Some(LogBody::Erasure(erasure)) = &after[10].body else { panic!("the erasure stays") };
        assert_eq!((erasure.receipt.as_str(), erasure.shoppers.len()), ("receipt-1", 2));
        assert_eq!(Some(&erasure.shoppers[0]), event(2).user.as_deref().map(Shopper::user).as_ref());
        assert!(log.pending_erasures().expect("readable").is_empty());
    };
    tokio::task::block_in_place(|| check(&log));
    assert_eq!(log.forget(&anna()).expect("done before").records, 0);
    drop(log);
    check(&open(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_is_done_wholly_or_again_whatever_interrupts_it() {
    let mut interruptions = 0;
    for steps in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path());
        write(&log).await;
        tokio::task::block_in_place(|| log.seal(4).expect("sealed"));
        log.erase(anna()).await.expect("erased");
        let before = all(&log, 100);
        *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = Some(steps);
        let forgotten = tokio::task::block_in_place(|| log.forget(&anna()));
        drop(log);
        // The process dies here.
        let log = open(folder.path());
        let pending = log.pending_erasures().expect("readable");
        if pending.is_empty() {
            assert_eq!(traces(&log, folder.path(), "user-anna"), [""; 0], "interrupted before step {steps}");
        } else {
            assert!(forgotten.is_err() && all(&log, 7) == before, "interrupted before step {steps}");
            assert_eq!((pending[0].0, &*pending[0].1), (10, &anna()));
            tokio::task::block_in_place(|| log.forget(&pending[0].1).expect("forgotten"));
            assert_eq!(traces(&log, folder.path(), "user-anna"), [""; 0], "interrupted before step {steps}");
        }
        let [was, is] = [before, all(&log, 7)].map(|entries| State::of(&entries).without_session_names());
        assert_eq!(was, is);
        if forgotten.is_ok() {
            break;
        }
        interruptions += 1;
    }
    assert!(interruptions > 12, "{interruptions} places");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgetting_that_failed_is_finished_without_a_restart() {
    let mut in_force = 0;
    for steps in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path());
        write(&log).await;
        tokio::task::block_in_place(|| log.seal(4).expect("sealed"));
        log.erase(anna()).await.expect("erased");
        let interrupt_after = |steps| *log.parts().warehouse.steps_left.lock().expect("unpoisoned") = steps;
        interrupt_after(Some(steps));
        if tokio::task::block_in_place(|| log.forget(&anna())).is_ok() {
            break;
        }
        interrupt_after(None);
        let is_in_force = log.parts().warehouse.purge_before() > 0;
        if is_in_force {
            in_force += 1;
            assert_eq!(log.parts().journal.start(), 11, "the journal let go all the same");
            assert!(all(&log, 100).iter().all(|entry| !format!("{entry:?}").contains("user-anna")), "interrupted before step {steps}");
            assert!(log.pending_erasures().expect("readable").is_empty());
            assert!(!traces(&log, folder.path(), "user-anna").is_empty(), "replaced files are there");
        }
        // Alfred's next round does the one, whoever asks for the erasure again the other.
        let finished = if is_in_force && in_force % 2 == 0 {
            tokio::task::block_in_place(|| log.forget(&anna())).map(drop)
        } else {
            log.finish_forgetting().map_err(ForgetError::Store)
        };
        if matches!(&finished, Err(ForgetError::Store(StoreError::Io(what))) if what.contains("restart")) {
            continue;
        }
        finished.expect("finished");
        if !is_in_force {
            tokio::task::block_in_place(|| log.forget(&anna()).expect("forgotten"));
        }
        assert_eq!(traces(&log, folder.path(), "user-anna"), [""; 0], "interrupted before step {steps}");
    }
    assert!(in_force > 1, "{in_force} times a file could not be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_waits_is_looked_for_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EventLog::open(folder.path(), &Config::default(), vec!["flash"]).expect("opened");
    write(&log).await;
    log.erase(anna()).await.expect("erased");
    let pending = log.pending_erasures().expect("readable");
    assert_eq!(pending.len(), 1);
    // Whoever reads these records again fails.
    log.parts().tail.clear_before(log.end());
    for (path, bytes) in everything(folder.path()).into_iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "journal")) {
        fs::write(path, vec![0; bytes.len()]).expect("written");
    }
    assert!(log.read(0, 100).is_err());
    assert_eq!(log.pending_erasures().expect("known"), pending);
    assert!(matches!(log.forget(&anna()), Err(ForgetError::Behind { consumer: "flash", .. })));
    let later = Erasure { receipt: "receipt-2".into(), ..anna() };
    log.erase(later.clone()).await.expect("erased");
    assert_eq!(log.pending_erasures().expect("in memory").len(), 2);
    assert!(matches!(log.forget(&later), Err(ForgetError::Behind { needed: 12, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_somebody_is_forgotten_is_read_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    write(&log).await;
    log.erase(anna()).await.expect("erased");
    tokio::task::block_in_place(|| seal_all(&log));
    let mut reads = 0;
    let known = tokio::task::block_in_place(|| {
        log.parts().warehouse.unrewritten(|catalog| {
            reads += 1;
            if reads == 1 {
                log.forget(&anna()).expect("forgotten");
            }
            catalog.files().try_for_each(|file| log.parts().warehouse.names(file, |_| {}))
        })
    });
    assert!(known.is_ok() && reads == 2, "{known:?} after {reads} reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_forgotten_before_all_consumers_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EventLog::open(folder.path(), &Config::default(), vec!["flash", "mocha"]).expect("opened");
    write(&log).await;
    assert!(matches!(log.forget(&anna()), Err(ForgetError::Unknown(receipt)) if receipt == "receipt-1"));
    let end = log.erase(anna()).await.expect("erased");
    log.consumer_at("flash", end);
    log.consumer_at("mocha", end - 1);
    let behind = log.forget(&anna());
    assert!(matches!(behind, Err(ForgetError::Behind { consumer: "mocha", at, needed }) if (at, needed) == (end - 1, end)), "{behind:?}");
    assert_eq!(log.sealed(), 0, "and nothing has been done");
    log.consumer_at("mocha", end);
    assert!(tokio::task::block_in_place(|| log.forget(&anna())).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_known_by_every_visitor_that_occurred_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    write(&log).await;
    let expected = ["u:user-anna", "v:visitor-anna", "s:session-anna"].map(Shopper::of_key);
    assert_eq!(log.known_as("user-anna").expect("readable"), expected);
    tokio::task::block_in_place(|| log.seal(3).expect("sealed"));
    assert_eq!(log.known_as("user-anna").expect("readable"), expected);
    tokio::task::block_in_place(|| seal_all(&log));
    assert_eq!(log.known_as("user-anna").expect("readable"), expected);
    assert_eq!(log.known_as("nobody").expect("readable"), [Shopper::user("nobody")]);
}

fn names() -> impl Strategy<Value = [Option<String>; 3]> {
    let name = |kind: &'static str| proptest::option::of((0..3).prop_map(move |index| format!("{kind}-name-{index}")));
    (name("u"), name("v"), name("s")).prop_map(|(user, visitor, session)| [user, visitor, session])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_follower_from_the_beginning_ends_up_with_the_same(
        events in proptest::collection::vec((names(), any::<bool>()), 1..40),
        cut in 0_u64..40,
        erased_at in 0_usize..40,
        shoppers in proptest::collection::btree_set("[uv]:[uv]-name-[012]", 1..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let log = open(folder.path());
        let erasure = Erasure { shoppers: shoppers.iter().map(|key| Shopper::of_key(key)).collect(), at_ms: 1, receipt: "r".into() };
        for (index, ([user, visitor, session], is_served)) in events.into_iter().enumerate() {
            if index == erased_at {
                runtime.block_on(log.erase(erasure.clone())).expect("erased");
            }
            // What comes behind the erasure is another visit.
            let session = session.map(|session| if index < erased_at { session } else { format!("{session}-later") });
            let event = of(&index.to_string(), user.as_deref(), visitor.as_deref(), session.as_deref());
            if is_served {
                log.record(served(event.shopper(), session.as_deref()));
            }
            runtime.block_on(log.append(vec![event])).expect("appended");
        }
        let before = all(&log, 100);
        log.seal(cut).expect("sealed");
        match log.forget(&erasure) {
            Err(ForgetError::Unknown(_)) => return Ok(()),
            forgotten => prop_assert!(forgotten.is_ok()),
        }
        let after = all(&log, 100);
        prop_assert_eq!(State::of(&before).without_session_names(), State::of(&after).without_session_names());
        let is_erasure = |entry: &&Entry| !matches!(entry.body, Some(LogBody::Erasure(_)));
        for entry in after.iter().take_while(is_erasure) {
            for name in shoppers.iter().filter_map(|key| key.split_once(':')).filter(|(prefix, name)| name.starts_with(prefix)) {
                prop_assert!(!format!("{entry:?}").contains(name.1), "{} stands in {:?}", name.1, entry);
            }
        }
    }
}
