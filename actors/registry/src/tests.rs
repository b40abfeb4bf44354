//! Wayne on the memory store.

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, Board, Context, ManualClock, Priority, Scene};
use protocol::experiments::{Arm, Experiment};
use protocol::registry::{ConfigSource, NAME, RegistryMsg, RegistryReader, Setting};
use protocol::releases::{Command, Definition, FIRST, Ledger, Order, Rank, ReleaseReader, Rules, Settings};
use protocol::vision::{ModelInfo, Space};
use store::{Durability, Keyspace, MemoryStore, Op, Record, Store};

use crate::records::{ConfigVersion, LedgerRecord};
use crate::{Args, View, Wayne};

fn args(store: &Arc<dyn Store>) -> Args {
    let clock = Arc::new(ManualClock::new(5));
    let view = Arc::new(View::new(Board::new(clock.clone()), Arc::from([])));
    Args { store: Arc::clone(store), clock, view }
}

fn settings(value: &str) -> Vec<Setting> {
    vec![Setting { key: "search.threads".into(), value: value.into(), source: ConfigSource::File }]
}

#[tokio::test(start_paused = true)]
async fn only_a_changed_configuration_makes_a_new_version_and_the_history_is_bounded() {
    let mut scene = Scene::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let address: Address<RegistryMsg> = Address::new(NAME, 8);
    let args = args(&store);
    scene.spawn_at(&address, Wayne, args).await;
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    for (value, number) in [("2", 1), ("2", 1), ("3", 2), ("2", 3)] {
        let recorded = address.call(&context, |reply| RegistryMsg::RecordConfig { settings: settings(value), reply }).await;
        assert_eq!(recorded, Ok(Ok(number)), "{value}");
    }
    for value in 100..220 {
        let recorded = address.call(&context, |reply| RegistryMsg::RecordConfig { settings: settings(&value.to_string()), reply }).await;
        assert!(matches!(recorded, Ok(Ok(_))));
    }
    let history = store.range(Keyspace::Config, (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded), 1000).expect("readable").entries;
    let (key, bytes) = history.last().expect("a version");
    let last = ConfigVersion::unseal(key, bytes).expect("sound");
    assert_eq!((history.len(), last.number, last.settings[0].1.as_str()), (100, 123, "219"));
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn experiments_are_kept_over_a_restart() {
    let mut scene = Scene::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let address: Address<RegistryMsg> = Address::new(NAME, 8);
    let first = args(&store);
    let wayne = scene.spawn_at(&address, Wayne, first.clone()).await;
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    let arm = |name: &str| Arm { name: name.into(), weight: 1, ..Arm::default() };
    let experiment = |name: &str| Experiment {
        name: name.into(),
        arms: vec![arm("as is"), arm("new")],
        salt: String::new(),
        is_active: true,
        placements: Vec::new(),
    };
    for name in ["b", "a"] {
        let put = address.call(&context, |reply| RegistryMsg::PutExperiment { experiment: experiment(name), reply }).await;
        assert_eq!(put, Ok(Ok(())));
    }
    let resting = Experiment { is_active: false, ..experiment("b") };
    assert_eq!(address.call(&context, |reply| RegistryMsg::PutExperiment { experiment: resting.clone(), reply }).await, Ok(Ok(())));
    assert_eq!(first.view.experiments().to_vec(), [experiment("a"), resting.clone()]);
    wayne.stop_and_wait(None, None).await.expect("stopped");
    let second = args(&store);
    scene.spawn_at(&address, Wayne, second.clone()).await;
    assert_eq!(second.view.experiments().to_vec(), [experiment("a"), resting]);
    for was_there in [true, false] {
        let deleted = address.call(&context, |reply| RegistryMsg::DeleteExperiment { name: "b".into(), reply }).await;
        assert_eq!(deleted, Ok(Ok(was_there)));
    }
    assert_eq!(second.view.experiments().to_vec(), [experiment("a")]);
    scene.end().await;
}

fn model(version: u8) -> ModelInfo {
    ModelInfo { name: "pictures".into(), space: Space::Image, dimensions: 4, fingerprint: format!("f{version}"), reads_texts: false }
}

fn settings_of(image_weight: f32) -> Settings {
    Settings { rules: Rules { image_weight, ..Rules::default() }, vocabulary: "v1".into(), ..Settings::default() }
}

/// Wayne as a process starts: his view is read before he is there.
fn opened(store: &Arc<dyn Store>, known: &[ModelInfo]) -> Args {
    let args = args(store);
    args.view.open_releases(store.as_ref(), known, &settings_of(1.0), 7).expect("readable");
    args
}

#[tokio::test(start_paused = true)]
async fn releases_are_durable_before_they_are_in_force_and_outlive_restarts() {
    let mut scene = Scene::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let address: Address<RegistryMsg> = Address::new(NAME, 8);
    let first = opened(&store, &[model(1)]);
    assert_eq!(
        first.view.ledger().commissioner().map(|release| release.definition.clone()),
        Some(Definition::of_first(&[model(1)], settings_of(1.0)))
    );
    let wayne = scene.spawn_at(&address, Wayne, first.clone()).await;
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    let order = |name: &str, order: Order| {
        let command = Command { name: name.into(), order, by: "ann".into(), reason: "why not".into() };
        let (address, context) = (address.clone(), context.clone());
        async move { address.call(&context, |reply| RegistryMsg::Command { command, reply }).await.expect("an answer").expect("the disk") }
    };
    let other = ModelInfo { name: "better".into(), ..model(2) };
    let definition = Definition { image_model: Some(other.clone()), text_model: None, settings: settings_of(1.0) };
    order("second", Order::Create(definition.clone())).await.expect("a second");
    let promote = || Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: true, force: false };
    let after = order("second", promote()).await.expect("live");
    assert_eq!(order("second", promote()).await.expect_err("it is live").code, "already_there");
    assert_eq!(*first.view.ledger(), *after);
    wayne.stop_and_wait(None, None).await.expect("stopped");

    let known = [model(1), other.clone()];
    let second = opened(&store, &known);
    assert_eq!(*second.view.ledger(), *after, "known before anybody is there");
    // An upgrade knows the live model under its name with another fingerprint.
    let newer = [model(1), ModelInfo { fingerprint: "f3".into(), ..other }];
    let upgraded = opened(&store, &newer);
    let live = upgraded.view.ledger().commissioner().cloned().expect("one is live");
    assert_eq!(live.definition.image_model.map(|model| model.fingerprint), Some("f3".to_owned()));
    scene.spawn_at(&address, Wayne, upgraded.clone()).await;
    assert_eq!(*opened(&store, &newer).view.ledger(), *upgraded.view.ledger(), "durable when he is up");

    let damaged = Op::Put { space: Keyspace::Meta, key: LedgerRecord::KEY.to_vec(), value: b"nonsense".to_vec() };
    store.commit(vec![damaged], Durability::Flushed).await.expect("written");
    assert_eq!(opened(&store, &known).view.ledger().commissioner().map(|release| release.name.clone()), Some("first".to_owned()));
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_setting_takes_office_with_the_next_start_and_an_order_takes_it_back() {
    let mut scene = Scene::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let address: Address<RegistryMsg> = Address::new(NAME, 8);
    let open = |configured: &Settings| {
        let args = args(&store);
        args.view.open_releases(store.as_ref(), &[model(1)], configured, 7).expect("readable");
        args
    };
    let live = |args: &Args| args.view.ledger().commissioner().map(|live| live.definition.settings.rules.image_weight);
    let wayne = scene.spawn_at(&address, Wayne, open(&settings_of(1.0))).await;
    wayne.stop_and_wait(None, None).await.expect("stopped");
    let changed = open(&settings_of(3.0));
    assert_eq!(live(&changed), Some(3.0));
    let wayne = scene.spawn_at(&address, Wayne, changed.clone()).await;
    let name = changed.view.ledger().commissioner().expect("one is live").name.clone();
    let command = Command { name, order: Order::Rollback, by: "ann".into(), reason: String::new() };
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    let answer = address.call(&context, |reply| RegistryMsg::Command { command, reply }).await;
    assert_eq!(
        answer.expect("an answer").expect("the disk").expect("back").commissioner().map(|live| live.name.clone()),
        Some(FIRST.into())
    );
    wayne.stop_and_wait(None, None).await.expect("stopped");
    assert_eq!(live(&open(&settings_of(3.0))), Some(1.0), "an order outlives a restart");
    scene.end().await;
}

/// What was written when a release was nothing but its models.
const OF_MODELS: &str = concat!(
    r#"{"releases":[{"name":"first","definition":{"image_model":{"name":"pictures","space":"image","dimensions":4,"fingerprint":"f1","reads_texts":false},"#,
    r#""text_model":null},"fingerprint":"0f1e2d3c4b5a6978","created_at_ms":7,"rank":"commissioner","is_held":false,"since_ms":7,"share":0.0}],"#,
    r#""predecessors":[],"history":[{"at_ms":7,"release":"first","from":null,"to":"commissioner","is_held":false,"by":"gotham","#,
    r#""reason":"the installed models"}],"revision":1}"#,
);

#[test]
fn a_ledger_of_nothing_but_models_has_the_configured_settings() {
    let read = LedgerRecord { json: OF_MODELS.to_owned() }.ledger(&settings_of(3.0)).expect("a ledger");
    let begun = Ledger::first(Definition::of_first(&[model(1)], settings_of(3.0)), 7);
    assert_eq!(read.releases, begun.releases);
    assert_eq!(read.opened(&[model(1)], &settings_of(3.0), 9), begun);
    for json in ["", "{}", r#"{"releases":7,"predecessors":[],"history":[],"revision":1}"#] {
        assert!(LedgerRecord { json: json.to_owned() }.ledger(&settings_of(1.0)).is_err(), "{json}");
    }
}

/// What is written; a change of these bytes needs a new schema, or fields that may be missing.
#[test]
fn golden_ledger() {
    let ledger = Ledger::first(Definition::of_first(&[model(1)], settings_of(1.0)), 7);
    let json = serde_json::to_string(&ledger).expect("JSON");
    let settings = concat!(
        r#"{"index":{"recall_target":0.99,"graph_degree":48,"graph_rows_min":50000},"rules":{"words_weight":2.0,"some_words_weight":1.0,"#,
        r#""image_weight":1.0,"text_weight":1.0,"fact_precision":0.95},"vocabulary":"v1"}"#,
    );
    let expected = OF_MODELS
        .replace(r#""text_model":null"#, &format!(r#""text_model":null,"settings":{settings}"#))
        .replace("0f1e2d3c4b5a6978", &ledger.releases[0].fingerprint)
        .replace(r#""revision":1"#, &format!(r#""revision":1,"configured":{settings}"#));
    assert_eq!(ledger.releases[0].fingerprint.len(), 16);
    assert_eq!(json, expected);
    let sealed = LedgerRecord { json }.seal(LedgerRecord::KEY).expect("a record");
    assert_eq!(sealed[..6], [b'G', b'R', 2, 9, 1, 0]);
    let record = LedgerRecord::unseal(LedgerRecord::KEY, &sealed).expect("sound");
    assert_eq!(record.ledger(&settings_of(9.0)).expect("a ledger"), ledger);
}
