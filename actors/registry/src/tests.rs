//! Wayne on the memory store.

use std::sync::Arc;
use std::time::Duration;

use kit::{Address, Context, ManualClock, Priority, Scene};
use protocol::registry::{ConfigSource, NAME, RegistryMsg, Setting};
use store::{Keyspace, MemoryStore, Record, Store};

use crate::records::ConfigVersion;
use crate::{Args, Wayne};

fn settings(value: &str) -> Vec<Setting> {
    vec![Setting { key: "search.threads".into(), value: value.into(), source: ConfigSource::File }]
}

#[tokio::test(start_paused = true)]
async fn only_a_changed_configuration_makes_a_new_version_and_the_history_is_bounded() {
    let mut scene = Scene::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let address: Address<RegistryMsg> = Address::new(NAME, 8);
    let args = Args { store: Arc::clone(&store), clock: Arc::new(ManualClock::new(5)) };
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
