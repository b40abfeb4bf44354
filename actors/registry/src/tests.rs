//! Wayne on the memory store.

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, Board, Context, ManualClock, Priority, Scene};
use protocol::experiments::{Arm, Experiment};
use protocol::registry::{ConfigSource, NAME, RegistryMsg, RegistryReader, Setting};
use store::{Keyspace, MemoryStore, Record, Store};

use crate::records::ConfigVersion;
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
