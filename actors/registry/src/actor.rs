//! The shell: keeps the history of configurations.

use std::ops::Bound;
use std::sync::Arc;

use kit::{Clock, Mail};
use protocol::registry::{RegistryMsg, Setting};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Durability, Keyspace, Op, Record, Store, StoreError};

use crate::records::ConfigVersion;

/// Configurations kept; the oldest go first.
const HISTORY_MAX: usize = 100;

/// What Wayne needs and what survives his restart.
#[derive(Clone)]
pub struct Args {
    /// Where the history is kept.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the history of configurations.
pub struct Wayne;

impl Actor for Wayne {
    type Msg = Mail<RegistryMsg>;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, args: &mut Args) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            RegistryMsg::RecordConfig { settings, reply } => {
                let recorded = record(args, &settings).await;
                let failed = recorded.as_ref().err().cloned();
                reply.send(recorded);
                failed.map_or(Ok(()), |error| Err(error.into()))
            }
        }
    }
}

async fn record(args: &Args, settings: &[Setting]) -> Result<u64, String> {
    let text = |error: StoreError| error.to_string();
    let history = args.store.range(Keyspace::Config, (Bound::Unbounded, Bound::Unbounded), HISTORY_MAX + 1).map_err(text)?.entries;
    // A damaged version is passed over: it is history, and the next one is written in full.
    let last = history.iter().rev().find_map(|(key, bytes)| ConfigVersion::unseal(key, bytes).ok());
    let settings: Vec<(String, String)> = settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect();
    if let Some(last) = last.as_ref().filter(|last| last.settings == settings) {
        return Ok(last.number);
    }
    let version = ConfigVersion { number: last.map_or(1, |last| last.number + 1), since_ms: args.clock.now_ms(), settings };
    let key = version.number.to_be_bytes().to_vec();
    let value = version.seal(&key).map_err(|error| error.to_string())?;
    let mut ops = vec![Op::Put { space: Keyspace::Config, key, value }];
    let surplus = (history.len() + 1).saturating_sub(HISTORY_MAX);
    ops.extend(history.into_iter().take(surplus).map(|(key, _)| Op::Delete { space: Keyspace::Config, key }));
    args.store.commit(ops, Durability::Flushed).await.map_err(text)?;
    Ok(version.number)
}
