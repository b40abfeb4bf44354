//! Embedding without the actor: for the command line.

use std::path::Path;
use std::sync::Arc;

use protocol::vision::{Space, VisionError};
use serde::Serialize;

use crate::config::Config;
use crate::effects::archive::read_bounded;
use crate::effects::query::picture_input;
use crate::embedder::{self, Embedder, Input, InstalledModels, ModelSource as _};

/// One result line of `gotham embed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OneShotEmbedding {
    /// The file or the text.
    pub input: String,
    /// The model's name.
    pub model: String,
    /// `[dimensions]`, L2 norm 1.
    pub embedding: Vec<f32>,
}

/// Embeds files and texts one by one; each model is loaded when it is first needed.
pub struct OneShot {
    config: Config,
    models: InstalledModels,
    image: Option<Arc<dyn Embedder>>,
    text: Option<Arc<dyn Embedder>>,
}

impl OneShot {
    /// With these models.
    pub fn new(models: InstalledModels) -> Self {
        Self { config: Config::default(), models, image: None, text: None }
    }

    /// Embeds a picture file.
    pub fn embed_file(&mut self, path: &Path) -> Result<OneShotEmbedding, VisionError> {
        let embedder = self.embedder(Space::Image)?;
        let refuse = |code, detail: String| VisionError::BadPicture { code, detail };
        let file = std::fs::File::open(path).map_err(|error| refuse("not_found", error.to_string()))?;
        let bytes = read_bounded(file, self.config.image_bytes_max).map_err(|failure| refuse(failure.code, failure.detail))?;
        run(embedder.as_ref(), path.display().to_string(), picture_input(&self.config, &embedder.preprocessing(), &bytes)?)
    }

    /// Embeds a text.
    pub fn embed_text(&mut self, text: &str) -> Result<OneShotEmbedding, VisionError> {
        let embedder = self.embedder(Space::Text)?;
        run(embedder.as_ref(), text.to_owned(), Input::Text(text.to_owned()))
    }

    /// Embeds the file of this name, or, where there is none, the text itself.
    pub fn embed(&mut self, input: &str) -> Result<OneShotEmbedding, VisionError> {
        let path = Path::new(input);
        if path.is_file() { self.embed_file(path) } else { self.embed_text(input) }
    }

    fn embedder(&mut self, space: Space) -> Result<Arc<dyn Embedder>, VisionError> {
        let slot = if space == Space::Image { &mut self.image } else { &mut self.text };
        if let Some(embedder) = slot {
            return Ok(Arc::clone(embedder));
        }
        let model = self.models.installed(space).ok_or(VisionError::NoModel(space))?;
        let embedder = self.models.load(&model).map_err(VisionError::Engine)?;
        Ok(Arc::clone(slot.insert(embedder)))
    }
}

fn run(embedder: &dyn Embedder, input: String, prepared: Input) -> Result<OneShotEmbedding, VisionError> {
    let vector = embedder::embed(embedder, &[prepared]).map_err(|error| VisionError::Engine(error.to_string()))?.pop();
    let vector = vector.ok_or_else(|| VisionError::Engine("the model gave no vector".to_owned()))?;
    Ok(OneShotEmbedding { input, model: embedder.info().name.clone(), embedding: vector.to_vec() })
}
