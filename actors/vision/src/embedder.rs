//! The seam between the actor and the models: something that turns a batch of inputs into vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::vision::{ModelInfo, Space, VisionError};

use crate::logic::picture::Pixels;
use crate::logic::preprocessing::Preprocessing;
use crate::models::{self, ImageModel, LoadedModel, ModelError, ModelFiles};
use crate::packages::{Manager, Manifest, ModelPackage};
use shaders::CpuExecutor;

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// For an image model.
    Picture(Pixels),
    /// For a text model.
    Text(String),
}

/// A loaded model. Called from several threads at a time.
pub trait Embedder: Send + Sync {
    /// What it is.
    fn info(&self) -> &ModelInfo;
    /// How pictures are prepared for it.
    fn preprocessing(&self) -> Preprocessing {
        Preprocessing::LITE0
    }
    /// Whether texts are among its inputs.
    fn reads_texts(&self) -> bool {
        self.info().reads_texts
    }
    /// One vector for each input, `[dimensions]`, of any length; the error is for people.
    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, String>;
}

/// Where models come from.
pub trait ModelSource: Send + Sync {
    /// The model for a space, if its files are there. Looks at a few file sizes.
    fn installed(&self, space: Space) -> Option<ModelInfo>;
    /// Loads it. Takes its time: for worker threads.
    fn load(&self, space: Space) -> Result<Arc<dyn Embedder>, String>;
}

/// The models of the manifest and those that users have added, from a folder.
#[derive(Clone, Debug)]
pub struct InstalledModels {
    models_dir: PathBuf,
    /// The names of those to use; empty for the manifest's first of a kind.
    chosen: Chosen,
}

#[derive(Clone, Debug, Default)]
struct Chosen {
    image: String,
    text: String,
}

impl InstalledModels {
    /// Models below `models_dir`, one folder each; nothing need be there yet. The manifest's first model of each kind is used.
    pub fn new(models_dir: &Path) -> Self {
        Self { models_dir: models_dir.to_owned(), chosen: Chosen::default() }
    }

    /// Uses the models of these names; an empty name leaves the choice to the manifest.
    #[must_use]
    pub fn choosing(self, image: &str, text: &str) -> Self {
        Self { chosen: Chosen { image: image.to_owned(), text: text.to_owned() }, ..self }
    }

    /// The model for a space. The folder is read anew: users add models while the house runs.
    fn package(&self, space: Space) -> Option<ModelPackage> {
        let name = if space == Space::Image { &self.chosen.image } else { &self.chosen.text };
        let manifest = Manifest::with_added(&self.models_dir);
        let found = if name.is_empty() { manifest.default_for(space) } else { manifest.find(name).filter(|model| model.space == space) };
        found.cloned()
    }
}

impl ModelSource for InstalledModels {
    fn installed(&self, space: Space) -> Option<ModelInfo> {
        let model = self.package(space)?;
        model.is_present(&self.models_dir).then(|| model.info())
    }

    fn load(&self, space: Space) -> Result<Arc<dyn Embedder>, String> {
        let model = self.package(space).ok_or_else(|| format!("there is no {} model of that name", space.as_str()))?;
        open(&model, &model.folder(&self.models_dir))
    }
}

/// Reads a model's files and builds what runs it.
pub(crate) fn open(package: &ModelPackage, folder: &Path) -> Result<Arc<dyn Embedder>, String> {
    let read = |ending: &str| {
        let file =
            package.files.iter().find(|file| file.name.ends_with(ending)).ok_or_else(|| format!("the manifest names no {ending} file"))?;
        std::fs::read(folder.join(&file.name)).map_err(|error| format!("{}: {error}", file.name))
    };
    let text = |error: ModelError| error.to_string();
    let loaded = match (package.manager, package.space) {
        (Manager::Folder, _) => models::load(&ModelFiles::new(folder), &CpuExecutor::new(1)).map_err(text)?,
        (Manager::Pip, Space::Image) => LoadedModel { image: Some(models::load_image_model(&read(".pth")?).map_err(text)?), text: None },
        (Manager::Pip, Space::Text) => {
            let model = models::load_text_model(&read(".safetensors")?, &read(".json")?).map_err(text)?;
            LoadedModel { image: None, text: Some(model) }
        }
    };
    let dimensions = loaded.dimensions();
    if loaded.space() != package.space || loaded.reads_texts() != package.reads_texts() || dimensions != package.dimensions {
        return Err(format!("it has {dimensions} dimensions, the manifest says {}, or is of another kind", package.dimensions));
    }
    Ok(Arc::new(Loaded { info: package.info(), model: loaded }))
}

/// A model of pictures, of texts, or of both.
struct Loaded {
    info: ModelInfo,
    model: LoadedModel,
}

impl Embedder for Loaded {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn preprocessing(&self) -> Preprocessing {
        self.model.image.as_ref().map_or(Preprocessing::LITE0, ImageModel::preprocessing)
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, String> {
        let (mut pixels, mut pictures, mut texts) = (Vec::new(), 0, Vec::new());
        for input in inputs {
            match input {
                Input::Picture(picture) => {
                    pixels.extend_from_slice(&picture.0);
                    pictures += 1;
                }
                Input::Text(text) => texts.push(text.as_str()),
            }
        }
        let pictures = self.pictures(&pixels, pictures)?;
        let texts = self.texts(&texts)?;
        let dimensions = self.info.dimensions;
        let (mut pictures, mut texts) = (pictures.chunks_exact(dimensions), texts.chunks_exact(dimensions));
        let next = |input: &Input| if matches!(input, Input::Picture(_)) { pictures.next() } else { texts.next() };
        Ok(inputs.iter().map(next).map(|vector| vector.unwrap_or_default().to_vec()).collect())
    }
}

impl Loaded {
    fn pictures(&self, pixels: &[u8], count: usize) -> Result<Vec<f32>, String> {
        match &self.model.image {
            _ if count == 0 => Ok(Vec::new()),
            None => Err("a picture for a text model".to_owned()),
            Some(model) => model.embed(pixels, count).map_err(|error| error.to_string()),
        }
    }

    fn texts(&self, texts: &[&str]) -> Result<Vec<f32>, String> {
        match &self.model.text {
            _ if texts.is_empty() => Ok(Vec::new()),
            None => Err("a text for an image model".to_owned()),
            Some(model) => model.embed(texts).map_err(|error| error.to_string()),
        }
    }
}

/// Embeds and brings every vector to length 1.
pub(crate) fn embed(embedder: &dyn Embedder, inputs: &[Input]) -> Result<Vec<Arc<[f32]>>, VisionError> {
    let vectors = embedder.embed(inputs).map_err(VisionError::Engine)?;
    if vectors.len() != inputs.len() {
        return Err(VisionError::Engine(format!("{} vectors for {} inputs", vectors.len(), inputs.len())));
    }
    vectors.into_iter().map(|vector| normalised(vector, embedder.info().dimensions)).collect()
}

fn normalised(mut vector: Vec<f32>, dimensions: usize) -> Result<Arc<[f32]>, VisionError> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if vector.len() != dimensions || !norm.is_finite() || norm == 0.0 {
        return Err(VisionError::Engine(format!("a vector of {} numbers and length {norm}", vector.len())));
    }
    vector.iter_mut().for_each(|number| *number = (f64::from(*number) / norm) as f32);
    Ok(vector.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_brought_to_length_one_or_refused() {
        assert_eq!(normalised(vec![3.0, 4.0], 2).expect("a vector").as_ref(), [0.6, 0.8]);
        for bad in [vec![], vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![1.0]] {
            assert!(normalised(bad.clone(), 2).is_err(), "{bad:?}");
        }
    }
}
