//! Loading a model, and seeing to it that a new one embeds the whole catalog.

use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use domain::ProductId;
use kit::{Context, Priority};
use protocol::queue::{JobSpec, LEASE_JOBS_MAX, QueueMsg};
use protocol::vision::{ModelInfo, Space};
use store::{Durability, Keyspace, Op, Record};

use super::round::queue_of;
use crate::actor::Args;
use crate::embedder::Embedder;
use crate::logic::residency::Role;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A model that was looked for.
pub(crate) struct Loaded {
    pub(crate) space: Space,
    /// `None`: none is installed.
    pub(crate) outcome: Option<Result<Arc<dyn Embedder>, String>>,
}

/// Which model the catalog's vectors were last asked of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct ModelInUse {
    fingerprint: String,
}

impl Record for ModelInUse {
    const KIND: u16 = 42;
    const SCHEMA: u16 = 1;
}

impl ModelInUse {
    fn key(space: Space) -> Vec<u8> {
        format!("vision/model/{}", space.as_str()).into_bytes()
    }
}

/// Loads the installed model of a space; `None` when there is none.
pub(crate) async fn load(args: &Args, space: Space) -> Option<Loaded> {
    let (models, residents) = (Arc::clone(&args.models), Arc::clone(args.threads.residents()));
    let load = move || {
        let info = models.installed(space)?;
        let started = std::time::Instant::now();
        let source = Arc::clone(&models);
        let loaded = residents.admit(Role::Live, Box::new(move || source.load(space)));
        metrics::histogram!("gotham_vision_stage_seconds", "stage" => "load").record(started.elapsed().as_secs_f64());
        Some(loaded.and_then(
            |embedder| if *embedder.info() == info { Ok(embedder) } else { Err("it is not the model of the manifest".to_owned()) },
        ))
    };
    let outcome = tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| Some(Err(format!("loading panicked: {error}"))))?;
    let outcome = match outcome {
        Ok(embedder) => embed_anew(args, embedder.info()).await.map(|()| embedder),
        Err(error) => Err(error),
    };
    Some(Loaded { space, outcome: Some(outcome) })
}

/// Another model than before: every product is to be embedded again. The first one finds its jobs in the queue.
async fn embed_anew(args: &Args, model: &ModelInfo) -> Result<(), String> {
    let key = ModelInUse::key(model.space);
    let before = args.store.get(Keyspace::Meta, &key).map_err(|error| error.to_string())?;
    let before = before.and_then(|bytes| ModelInUse::unseal(&key, &bytes).ok());
    if before.as_ref().is_some_and(|before| before.fingerprint == model.fingerprint) {
        return Ok(());
    }
    if before.is_some() {
        enqueue_catalog(args, model.space).await?;
    }
    let value = ModelInUse { fingerprint: model.fingerprint.clone() }.seal(&key).map_err(|error| error.to_string())?;
    let put = Op::Put { space: Keyspace::Meta, key, value };
    args.store.commit(vec![put], Durability::Flushed).await.map(drop).map_err(|error| error.to_string())
}

async fn enqueue_catalog(args: &Args, space: Space) -> Result<(), String> {
    let catalog = args.catalog.snapshot();
    let mut last: Option<ProductId> = None;
    loop {
        let page = catalog.page(last.as_ref().map(ProductId::as_str), LEASE_JOBS_MAX);
        let Some(end) = page.last() else { return Ok(()) };
        last = Some(end.product.id.clone());
        let job = |product: &ProductId| JobSpec { queue: queue_of(space), product: product.clone(), priority: 0, not_before_ms: 0 };
        let jobs = page.iter().map(|revision| job(&revision.product.id)).collect();
        let context = Context::new(Priority::Bulk, CALL_TIMEOUT);
        let answer = args.queue.call(&context, |reply| QueueMsg::Enqueue { jobs, reply }).await;
        answer.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
}
