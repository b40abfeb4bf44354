//! The detector that the configuration names. Where there is none, or it fails, saliency stands in: no answer fails for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use attributes::{Detector, Region, Saliency, Scene};
use image::RgbImage;

use crate::embedder::ModelSource;
use crate::finder::Finder;

/// A detector that cannot be loaded is looked for again after this long: models are added while the house runs.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Finds objects by the detector of a name; loads it when it is first needed.
pub(crate) struct Objects {
    models: Arc<dyn ModelSource>,
    /// Empty for none.
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    finder: Option<Arc<dyn Finder>>,
    looked_at: Option<Instant>,
    /// What went wrong last; said once.
    failure: Option<String>,
}

impl Objects {
    pub(crate) fn new(models: Arc<dyn ModelSource>, name: String) -> Self {
        Self { models, name, state: Mutex::default() }
    }

    /// What the detector finds in a picture; nothing where there is none or it fails.
    pub(crate) fn find(&self, picture: &RgbImage) -> Found {
        let Some(finder) = self.finder() else { return Found::default() };
        let found = catch_unwind(AssertUnwindSafe(|| finder.find(picture))).unwrap_or_else(|_| Err("it panicked".to_owned()));
        let failure = found.as_ref().err().cloned();
        self.note(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), failure);
        Found(found.unwrap_or_default())
    }

    fn finder(&self) -> Option<Arc<dyn Finder>> {
        if self.name.is_empty() {
            return None;
        }
        // Held while it is loaded, so that it is loaded once.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.finder.is_none() && state.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= RETRY_INTERVAL) {
            state.looked_at = Some(Instant::now());
            match self.models.finder(&self.name) {
                Ok(finder) => {
                    tracing::info!(model = self.name, "detector loaded");
                    state.finder = Some(finder);
                }
                Err(error) => self.note(&mut state, Some(error)),
            }
        }
        state.finder.clone()
    }

    fn note(&self, state: &mut State, failure: Option<String>) {
        if let Some(error) = failure.as_ref().filter(|_| state.failure != failure) {
            tracing::error!(model = self.name, error, "the detector finds nothing; saliency stands in");
        }
        state.failure = failure;
    }
}

/// What was found beforehand; saliency where that is nothing.
#[derive(Debug, Default)]
pub(crate) struct Found(Vec<Region>);

impl Detector for Found {
    fn detect(&self, scene: &Scene<'_>) -> Vec<Region> {
        if self.0.is_empty() { Saliency::default().detect(scene) } else { self.0.clone() }
    }
}
