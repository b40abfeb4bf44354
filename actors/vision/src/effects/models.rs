//! Loading a model.

use std::sync::Arc;

use protocol::vision::ModelInfo;

use crate::actor::Args;
use crate::embedder::Embedder;
use crate::logic::residency::Role;

/// A model that was looked for.
pub(crate) struct Loaded {
    pub(crate) model: ModelInfo,
    /// `None`: its files are not there.
    pub(crate) outcome: Option<Result<Arc<dyn Embedder>, String>>,
}

/// Loads a model, if it is installed.
pub(crate) async fn load(args: &Args, model: ModelInfo, role: Role) -> Loaded {
    let (models, residents, wanted) = (Arc::clone(&args.models), Arc::clone(args.threads.residents()), model.clone());
    let load = move || {
        if !models.is_installed(&wanted) {
            return None;
        }
        let started = std::time::Instant::now();
        let (source, what) = (Arc::clone(&models), wanted.clone());
        let loaded = residents.admit(role, Box::new(move || source.load(&what)));
        metrics::histogram!("gotham_vision_stage_seconds", "stage" => "load").record(started.elapsed().as_secs_f64());
        let is_it = |embedder: Arc<dyn Embedder>| {
            if *embedder.info() == wanted { Ok(embedder) } else { Err("it is not the model of the release".to_owned()) }
        };
        Some(loaded.and_then(is_it))
    };
    let outcome = tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| Some(Err(format!("loading panicked: {error}"))));
    Loaded { model, outcome }
}
