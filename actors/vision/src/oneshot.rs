//! Embedding without the actor: for the command line.

use std::path::Path;
use std::sync::Arc;

use protocol::vision::{ModelInfo, Space, VisionError};
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
    words: Space,
    image: Option<Arc<dyn Embedder>>,
    text: Option<Arc<dyn Embedder>>,
}

impl OneShot {
    /// With these models.
    pub fn new(models: InstalledModels) -> Self {
        Self { config: Config::default(), models, words: Space::Text, image: None, text: None }
    }

    /// Texts are embedded into this space. Among pictures that takes an image model that reads words, too: the first that is
    /// installed, which then embeds the pictures as well.
    #[must_use]
    pub fn words_into(self, space: Space) -> Self {
        Self { words: space, ..self }
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
        let embedder = self.embedder(self.words)?;
        run(embedder.as_ref(), text.to_owned(), Input::Text(text.to_owned()))
    }

    /// Embeds the file of this name, or, where there is none, the text itself.
    pub fn embed(&mut self, input: &str) -> Result<OneShotEmbedding, VisionError> {
        let path = Path::new(input);
        if path.is_file() { self.embed_file(path) } else { self.embed_text(input) }
    }

    fn embedder(&mut self, space: Space) -> Result<Arc<dyn Embedder>, VisionError> {
        let slot = if space == Space::Image { &self.image } else { &self.text };
        if let Some(embedder) = slot {
            return Ok(Arc::clone(embedder));
        }
        let reads_both = |model: &ModelInfo| model.space == Space::Image && model.reads_texts && self.models.is_installed(model);
        let model = match (space, self.words) {
            (Space::Image, Space::Image) => self.models.known().into_iter().find(reads_both),
            _ => self.models.installed(space),
        };
        let model = model.ok_or(VisionError::NoModel(space))?;
        let embedder = self.models.load(&model).map_err(VisionError::Engine)?;
        let slot = if space == Space::Image { &mut self.image } else { &mut self.text };
        Ok(Arc::clone(slot.insert(embedder)))
    }
}

fn run(embedder: &dyn Embedder, input: String, prepared: Input) -> Result<OneShotEmbedding, VisionError> {
    let vector = embedder::embed(embedder, &[prepared]).map_err(|error| VisionError::Engine(error.to_string()))?.pop();
    let vector = vector.ok_or_else(|| VisionError::Engine("the model gave no vector".to_owned()))?;
    Ok(OneShotEmbedding { input, model: embedder.info().name.clone(), embedding: vector.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vocabulary of three words for the random-weight CLIP of the tests.
    const TOKENIZER: &str = r#"{"version": "1.0", "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "red": 1, "shoe": 2}, "unk_token": "<unk>"}}"#;

    #[test]
    fn words_are_embedded_among_pictures_by_a_model_that_reads_both() {
        let (source, models) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join("clip");
        for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
            std::fs::copy(clip.join(file), source.path().join(file)).expect("copied");
        }
        std::fs::write(source.path().join("tokenizer.json"), TOKENIZER).expect("written");
        crate::packages::add(source.path(), "both", models.path(), |_| {}).expect("added");
        let mut one_shot = OneShot::new(InstalledModels::new(models.path())).words_into(Space::Image);
        let made = one_shot.embed("red shoe").expect("embedded");
        assert_eq!(made.model, "both");
        let length: f32 = made.embedding.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-4 && made.embedding != one_shot.embed("shoe").expect("embedded").embedding);
        assert!(matches!(OneShot::new(InstalledModels::new(models.path())).embed_text("red shoe"), Err(VisionError::NoModel(Space::Text))));
        let none = tempfile::tempdir().expect("a folder");
        assert!(matches!(
            OneShot::new(InstalledModels::new(none.path())).words_into(Space::Image).embed_text("red"),
            Err(VisionError::NoModel(Space::Image))
        ));
    }
}
