//! Whatever the batches, wherever a life ends: what is kept is the same.

use std::sync::Arc;

use domain::{Erasure, Event, EventKind, Served, Shopper};
use events::EventLog;
use kit::{Address, Scene};
use proptest::prelude::*;
use protocol::journal::LogBody;
use protocol::reports::{Date, NAME, ReplayLab, ReplayQuestion, ReportReader, ReportsMsg};
use store::{Durability, Keyspace, Op, Store, consumer};

use super::{args, catch_up, event, id, new_store, served};
use crate::config::Config;
use crate::effects::{Engine, read_day};
use crate::logic::fold::State;
use crate::logic::salt::Salt;
use crate::records::day_range;
use crate::{Args, Lab, Mocha, digest};

const HOUR: i64 = 3600 * 1000;

/// Small bounds, so that all of them are reached.
fn config(batch: usize) -> Config {
    Config {
        days_max: 8,
        products_max: 10,
        queries_max: 10,
        attribution_rows_max: 10,
        join_items_max: 1_000,
        experiments_max: 2,
        experiment_shoppers_max: 100,
        batch_records_max: batch,
        commit_records_max: 7,
        commit_interval_ms: 600_000,
        publish_interval_ms: 0,
        ..Config::default()
    }
}

/// A shop's history from a seed: lists, events of all kinds with and without tokens, erasures (so many in 20,000 records); several weeks.
fn history(seed: u64, length: usize, erasures: u64) -> Vec<LogBody> {
    let mut random = seed;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut bodies = Vec::with_capacity(length);
    for number in 0..length {
        let at_ms = number as i64 * 2 * HOUR - draw(40) as i64 * HOUR;
        let shopper = draw(12).to_string();
        let products: Vec<String> = (0..=draw(6)).map(|_| format!("p{}", draw(40))).collect();
        let products: Vec<&str> = products.iter().map(String::as_str).collect();
        bodies.push(match draw(20) {
            0 if draw(1_000) < erasures => {
                LogBody::Erasure(Arc::new(Erasure { shoppers: vec![Shopper::visitor(&shopper)], at_ms, receipt: "r".into() }))
            }
            0..8 => {
                let mut list = served(&format!("t{}", draw(60)), at_ms, ["home", "search", "cart"][draw(3) as usize], &products);
                list.shopper = (draw(4) > 0).then(|| Shopper::visitor(&shopper));
                list.query = (list.placement == "search").then(|| format!("query {}", draw(50)));
                list.experiments = vec![(format!("e{}", draw(3)), format!("a{}", draw(2)))];
                if draw(6) == 0 {
                    list.items.clear();
                }
                LogBody::Served(Arc::new(list))
            }
            kind => {
                let kinds = [
                    EventKind::View,
                    EventKind::Click,
                    EventKind::AddToCart,
                    EventKind::Purchase,
                    EventKind::Impression,
                    EventKind::Search,
                ];
                let mut event = event(&number.to_string(), kinds[kind as usize % 6], at_ms, &products);
                event.received_at_ms = number as i64 * 2 * HOUR;
                event.visitor = Some(shopper.clone());
                event.user = (draw(5) == 0).then(|| format!("u{shopper}"));
                event.attribution_token = (draw(3) > 0).then(|| format!("t{}", draw(60)));
                event.query = Some(format!("query {}", draw(50)));
                event.is_bot = draw(15) == 0;
                LogBody::Event(Arc::new(event))
            }
        });
    }
    bodies
}

/// A log with these records.
fn log_of(folder: &std::path::Path, bodies: &[LogBody]) -> EventLog {
    let log = EventLog::open(folder, &events::Config::default(), Vec::new()).expect("opened");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(append(&log, bodies));
    log
}

async fn append(log: &EventLog, bodies: &[LogBody]) {
    for body in bodies {
        let before = log.end();
        match body {
            LogBody::Event(event) => {
                log.append(vec![Event::clone(event)]).await.expect("appended");
            }
            LogBody::Served(list) => {
                log.record(Served::clone(list));
                while log.end() == before {
                    tokio::task::yield_now().await;
                }
            }
            LogBody::Erasure(erasure) => {
                log.erase(Erasure::clone(erasure)).await.expect("appended");
            }
        }
    }
}

/// What an engine keeps that is never killed and reads as much as it can at once.
fn rebuilt(log: &EventLog) -> [u8; 32] {
    let store = new_store();
    let mut engine = Engine::open(args(config(16_384), log, &store)).expect("opened");
    catch_up(&mut engine);
    engine.commit().expect("committed");
    digest(&*store).expect("a digest")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn killed_anywhere_it_equals_a_rebuild(seed: u64, lives in prop::collection::vec((1..40_usize, 1..30_usize), 1..8)) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = log_of(folder.path(), &history(seed, 260, 1_000));
        let store = new_store();
        for (batch, steps) in lives {
            let mut engine = Engine::open(args(config(batch), &log, &store)).expect("opened");
            for _ in 0..steps {
                engine.step().expect("a step");
            }
        }
        let mut engine = Engine::open(args(config(5), &log, &store)).expect("opened");
        catch_up(&mut engine);
        engine.commit().expect("committed");
        prop_assert_eq!(digest(&*store).expect("a digest"), rebuilt(&log));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// What is read again from the oldest list on is what was there. Both bounds bite: that on items, and that on one shopper's lists.
    #[test]
    fn the_join_is_a_function_of_the_log_from_its_oldest_list_on(seed: u64, length in 1..6_000_usize, items_max in prop_oneof![100..2_000_usize, 4_500..6_500_usize]) {
        let config = Config { join_items_max: items_max, ..config(1) };
        let entries = super::entries(history(seed, length, 20));
        let mut state = State::new(config.clone(), Salt([3; 32]));
        entries.iter().for_each(|entry| state.apply(entry));
        let mut again = State::new(config, Salt([3; 32]));
        let from = state.join.start().unwrap_or(length as u64);
        entries.iter().filter(|entry| entry.offset >= from).for_each(|entry| again.rejoin(entry));
        prop_assert_eq!(again.join.known(), state.join.known());
    }
}

/// A store in which the whole log was counted.
fn counted(config: Config, log: &EventLog) -> Arc<dyn Store> {
    let store = new_store();
    let mut engine = Engine::open(args(config, log, &store)).expect("opened");
    catch_up(&mut engine);
    engine.commit().expect("committed");
    store
}

fn keys(store: &dyn Store) -> Vec<Vec<u8>> {
    let page = store.range(Keyspace::Reports, (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded), 10_000).expect("a page");
    page.entries.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_rebuild_that_was_killed_between_its_pages_begins_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_of(folder.path(), &history(7, 200, 1_000));
    let expected = rebuilt(&log);
    let count = keys(&*counted(config(50), &log)).len();
    for deleted in [0, 1, count / 2, count - 30, count - 2, count - 1, count] {
        let store = counted(config(50), &log);
        let gone = keys(&*store).into_iter().take(deleted);
        let mut ops: Vec<Op> = gone.map(|key| Op::Delete { space: Keyspace::Reports, key }).collect();
        ops.push(consumer::offset_op(NAME, 0).expect("sealed"));
        store.commit(ops, Durability::Applied).wait().expect("committed");
        // A short life, whose commit makes what was left look like its own, and a long one.
        let mut engine = Engine::open(args(config(20), &log, &store)).expect("opened");
        engine.step().expect("a step");
        engine.commit().expect("committed");
        let mut engine = Engine::open(args(config(50), &log, &store)).expect("opened");
        catch_up(&mut engine);
        engine.commit().expect("committed");
        assert_eq!(digest(&*store).expect("a digest"), expected, "{deleted} of {count} records deleted");
    }
}

#[test]
fn before_the_first_entry_nothing_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = counted(config(50), &log_of(folder.path(), &[]));
    assert!(keys(&*store).is_empty(), "it would be taken for what a rebuild left");
}

/// Of a day that is not in memory an erasure reads what was searched for, and the rest only when that changes.
#[test]
fn an_erasure_changes_the_days_on_which_the_shopper_searched_alone() {
    let search = |day: i64, visitor: &str, words: &str| {
        let mut event = event(&format!("{day}-{visitor}"), EventKind::Search, day * 24 * HOUR, &[]);
        (event.visitor, event.query) = (Some(visitor.into()), Some(words.into()));
        LogBody::Event(Arc::new(event))
    };
    let mut bodies: Vec<LogBody> = (0..20).map(|day| search(day, "w", "hats")).collect();
    bodies.insert(1, search(0, "v", "my own name"));
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_of(folder.path(), &bodies);
    let config = Config { days_max: 100, ..config(50) };
    let store = counted(config.clone(), &log);
    let mut engine = Engine::open(args(config, &log, &store)).expect("opened");
    let products = [&day_range(Date::of_day(1)).0[..], &[5, 0, 0]].concat();
    assert!(keys(&*store).contains(&products));
    let rubbish = Op::Put { space: Keyspace::Reports, key: products.clone(), value: b"rubbish".to_vec() };
    store.commit(vec![rubbish], Durability::Applied).wait().expect("committed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let erasure = Erasure { shoppers: vec![Shopper::visitor("v")], at_ms: 20 * 24 * HOUR, receipt: "r".into() };
    runtime.block_on(append(&log, &[LogBody::Erasure(Arc::new(erasure))]));
    catch_up(&mut engine);
    engine.commit().expect("committed");
    let day = read_day(&*store, Date::of_day(0)).expect("a day");
    assert_eq!(day.queries.iter().map(|(words, _)| &**words).collect::<Vec<_>>(), ["hats"]);
    let kept = store.get(Keyspace::Reports, &products).expect("readable");
    assert_eq!(kept.as_deref(), Some(&b"rubbish"[..]), "the second day's products were not looked at");
}

#[test]
fn what_is_damaged_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_of(folder.path(), &history(7, 200, 1_000));
    let expected = rebuilt(&log);
    let keys = keys(&*counted(config(50), &log));
    assert!(keys.len() > 60, "{}", keys.len());
    for key in keys.into_iter().step_by(9) {
        let store = counted(config(50), &log);
        let put = Op::Put { space: Keyspace::Reports, key: key.clone(), value: b"rubbish".to_vec() };
        store.commit(vec![put], Durability::Applied).wait().expect("committed");
        let mut engine = Engine::open(args(config(50), &log, &store)).expect("opened");
        catch_up(&mut engine);
        engine.commit().expect("committed");
        assert_eq!(digest(&*store).expect("a digest"), expected, "key {key:?}");
    }
}

/// Mocha on stage.
struct Stage {
    scene: Scene,
    address: Address<ReportsMsg>,
    args: Args,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EventLog::open(folder.path(), &events::Config::default(), Vec::new()).expect("opened");
        let args = args(Config { query_shoppers_min: 1, days_max: 100, ..config(5) }, &log, &new_store());
        Self { scene: Scene::new(), address: Address::new(NAME, 16), args, _folder: folder }
    }

    async fn start(&mut self) -> ractor::ActorRef<kit::Mail<ReportsMsg>> {
        self.scene.spawn_at(&self.address, Mocha, self.args.clone()).await
    }

    async fn append(&self, bodies: &[LogBody]) {
        append(&self.args.log, bodies).await;
        let progress = self.args.view.progress();
        assert!(progress.reached(self.args.log.end(), std::time::Duration::from_secs(30)).await, "Mocha follows the log");
    }
}

#[tokio::test]
async fn follows_the_log_and_answers_also_while_it_is_restarted() {
    let mut stage = Stage::new();
    let view = Arc::clone(&stage.args.view);
    let mocha = stage.start().await;
    let bodies = history(11, 150, 1_000);
    stage.append(&bodies[..100]).await;
    let (first, last) = view.reach().expect("days");
    let days = view.days(first, last);
    assert!(days.len() > 7 && view.days(last, first).is_empty());
    mocha.kill_and_wait(None).await.expect("killed");
    assert_eq!(view.days(first, last), days, "readers see the models as they were");
    stage.start().await;
    stage.append(&bodies[100..]).await;

    let entries = stage.args.log.read(0, 1_000).expect("readable");
    let mut expected = State::new(stage.args.config.clone(), Salt([3; 32]));
    entries.iter().for_each(|entry| expected.apply(entry));
    expected.total_up();
    let (first, last) = view.reach().expect("days");
    assert_eq!(expected.totals.keys().copied().collect::<Vec<_>>(), view.days(first, last).iter().map(|day| day.date).collect::<Vec<_>>());
    for (date, totals) in &expected.totals {
        let view = Arc::clone(&view);
        let (date, totals) = (*date, Arc::clone(totals));
        let report = tokio::task::spawn_blocking(move || view.daily(date)).await.expect("no panic").expect("a report");
        assert_eq!((report.date, &report.totals), (date, &*totals));
        assert!(serde_json::to_string(&*report).expect("JSON").contains("\"attribution\""));
    }
    assert_eq!(view.daily(last.plus(1)), None);
    let rows: u64 = expected.days.values().flat_map(|day| day.rows.values()).map(|counts| counts.served).sum();
    assert_eq!(view.attribution(first, last).iter().map(|row| row.served).sum::<u64>(), rows);
    assert_eq!(view.experiments(), expected.trials.by_name.keys().cloned().collect::<Vec<_>>());
    stage.scene.end().await;
}

#[tokio::test]
async fn a_life_that_was_ended_writes_nothing_more() {
    let stage = Stage::new();
    let life = stage.args.view.begin_life();
    assert!(stage.args.view.seat(life).is_some());
    let next = stage.args.view.begin_life();
    assert!(stage.args.view.seat(life).is_none() && stage.args.view.seat(next).is_some());
    stage.scene.end().await;
}

#[test]
fn the_lab_replays_a_part_of_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let click = |token: &str| {
        let mut event = event(token, EventKind::Click, 5, &["b"]);
        event.attribution_token = Some(token.into());
        LogBody::Event(Arc::new(event))
    };
    let list = |token: &str, placement: &str| LogBody::Served(Arc::new(served(token, 1, placement, &["a", "b"])));
    let bodies = [list("t1", "home"), list("t2", "cart"), click("t1"), list("t3", "home"), click("t2"), list("t4", "home")];
    let lab = Lab::new(config(2), log_of(folder.path(), &bodies));
    let question =
        ReplayQuestion { from_ms: 0, to_ms: 10, placements: vec!["home".into()], lists_max: 2, depth: 5, weight_max: 10.0, pages_max: 10 };
    let mut asked = Vec::new();
    let mut rank = |served: &Served| {
        asked.push(served.token.clone());
        Some(vec![id("c"), id("b")])
    };
    // What was answered at 1 ms was written now: the log is searched by the time of writing.
    let report = lab.replay(&ReplayQuestion { to_ms: i64::MAX, ..question.clone() }, &mut rank).expect("a report");
    assert_eq!((asked, report.lists, report.places_matched), (vec!["t1".to_owned(), "t3".to_owned()], 2, 2));
    assert_eq!((report.overlap, report.ips.expect("lists").clicks_per_list.value), (0.5, 0.5));
    let none = lab.replay(&ReplayQuestion { from_ms: i64::MAX - 1, to_ms: i64::MAX, ..question }, &mut |_| None).expect("a report");
    assert_eq!((none.lists, none.logged), (0, None));
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    let wrong = Config { days_max: 0, query_shoppers_min: 9, utc_offset_minutes: 900, ..Config::default() };
    let fields: Vec<&str> = wrong.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["utc_offset_minutes", "days_max", "query_shoppers_min"]);
    assert_eq!(Date::of_ms(0, 0).to_string(), "1970-01-01");
}
