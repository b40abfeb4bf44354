//! The shell: keeps the history of configurations, the experiments and the releases.

use std::ops::Bound;
use std::sync::Arc;

use kit::{Clock, Mail, Reply};
use protocol::experiments::Experiment;
use protocol::registry::{EXPERIMENTS_MAX, RegistryMsg, Setting};
use protocol::releases::{Command, Ledger, Refusal, ReleaseReader as _};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use store::{Durability, Keyspace, Op, Record, Store, StoreError};

use crate::records::{ConfigVersion, ExperimentRecord, LedgerRecord};
use crate::view::View;

/// Configurations kept; the oldest go first.
const HISTORY_MAX: usize = 100;

/// What Wayne needs and what survives his restart.
#[derive(Clone)]
pub struct Args {
    /// Where the history is kept.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What readers see.
    pub view: Arc<View>,
}

/// Keeps the history of configurations.
pub struct Wayne;

impl Actor for Wayne {
    type Msg = Mail<RegistryMsg>;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        publish(&args)?;
        let ledger = args.view.ledger();
        if !ledger.releases.is_empty() {
            keep_ledger(&args, &ledger).await?;
        }
        Ok(args)
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, args: &mut Args) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        let failed = match message {
            RegistryMsg::RecordConfig { settings, reply } => answered(reply, record(args, &settings).await),
            RegistryMsg::PutExperiment { experiment, reply } => answered(reply, put_experiment(args, experiment).await),
            RegistryMsg::Command { command, reply } => answered(reply, follow(args, &command).await),
            RegistryMsg::DeleteExperiment { name, reply } => answered(reply, delete_experiment(args, &name).await),
        };
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Answers, and gives the failure: it has the actor restarted.
fn answered<T>(reply: Reply<Result<T, String>>, result: Result<T, String>) -> Option<String> {
    let failed = result.as_ref().err().cloned();
    reply.send(result);
    failed
}

/// Reads all definitions and shows them.
fn publish(args: &Args) -> Result<(), StoreError> {
    let kept = args.store.range(Keyspace::Experiments, (Bound::Unbounded, Bound::Unbounded), EXPERIMENTS_MAX)?.entries;
    let mut experiments = Vec::with_capacity(kept.len());
    for (key, bytes) in kept {
        let record = ExperimentRecord::unseal(&key, &bytes).map_err(|error| error.to_string());
        match record.and_then(|record| serde_json::from_str(&record.json).map_err(|error| error.to_string())) {
            Ok(experiment) => experiments.push(experiment),
            Err(error) => tracing::error!(%error, name = %String::from_utf8_lossy(&key), "an experiment cannot be read and rests"),
        }
    }
    args.view.set_experiments(experiments);
    Ok(())
}

/// Durable first, then in force: readers see the new ledger with their next look.
async fn follow(args: &Args, command: &Command) -> Result<Result<Arc<Ledger>, Refusal>, String> {
    let ledger = args.view.ledger();
    let next = match ledger.after(command, args.clock.now_ms()) {
        Ok(next) if next.revision == ledger.revision => return Ok(Ok(ledger)),
        Ok(next) => next,
        Err(refusal) => return Ok(Err(refusal)),
    };
    keep_ledger(args, &next).await?;
    if let Some(change) = next.history.last() {
        tracing::info!(release = change.release, from = ?change.from, to = ?change.to, by = change.by, reason = change.reason, "a release changes rank");
    }
    args.view.set_ledger(next);
    Ok(Ok(args.view.ledger()))
}

async fn keep_ledger(args: &Args, ledger: &Ledger) -> Result<(), String> {
    let json = serde_json::to_string(ledger).map_err(|error| error.to_string())?;
    let value = LedgerRecord { json }.seal(LedgerRecord::KEY).map_err(|error| error.to_string())?;
    let put = Op::Put { space: Keyspace::Meta, key: LedgerRecord::KEY.to_vec(), value };
    args.store.commit(vec![put], Durability::Flushed).await.map(drop).map_err(|error| error.to_string())
}

async fn put_experiment(args: &Args, experiment: Experiment) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let key = experiment.name.clone().into_bytes();
    let json = serde_json::to_string(&experiment).map_err(|error| error.to_string())?;
    let value = ExperimentRecord { json }.seal(&key).map_err(|error| error.to_string())?;
    args.store.commit(vec![Op::Put { space: Keyspace::Experiments, key, value }], Durability::Flushed).await.map_err(text)?;
    publish(args).map_err(text)
}

async fn delete_experiment(args: &Args, name: &str) -> Result<bool, String> {
    let text = |error: StoreError| error.to_string();
    let key = name.as_bytes().to_vec();
    let was_there = args.store.get(Keyspace::Experiments, &key).map_err(text)?.is_some();
    args.store.commit(vec![Op::Delete { space: Keyspace::Experiments, key }], Durability::Flushed).await.map_err(text)?;
    publish(args).map_err(text)?;
    Ok(was_there)
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
