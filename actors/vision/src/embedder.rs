//! The seam between the actor and the models: something that turns a batch of inputs into vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::vision::{ModelInfo, Space};
use shaders::{Program, RunError};

use crate::devices::{Device, DeviceState, Devices, Remembering};
use crate::finder::{self, Finder};
use crate::logic::picture::Pixels;
use crate::logic::preprocessing::Preprocessing;
use crate::logic::schedule::Place;
use crate::models::{self, ImageModel, LoadedModel, ModelError, ModelFiles, Sight, WeightFile};
use crate::packages::{Manager, Manifest, ModelPackage};

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// For an image model.
    Picture(Pixels),
    /// For an image model: its vector is followed by the map of where it looked, where it has one.
    Scene(Pixels),
    /// For a text model.
    Text(String),
}

/// Why a batch has no vectors; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// A smaller batch may fit.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// An input is not what the model takes, or the device failed.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for EmbedError {
    fn from(detail: String) -> Self {
        Self::Failed(detail)
    }
}

impl From<ModelError> for EmbedError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Run(RunError::OutOfMemory(detail)) => Self::OutOfMemory(detail),
            error => Self::Failed(error.to_string()),
        }
    }
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
    /// The map that it gives of a scene.
    fn sight(&self) -> Option<Sight> {
        None
    }
    /// One vector for each input, `[dimensions]`, of any length; of a scene its map behind it.
    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError>;
    /// Where the next run is done.
    fn place(&self) -> Place {
        Place::Cpu
    }
    /// What it runs on, for people.
    fn device(&self) -> DeviceState {
        DeviceState::default()
    }
    /// Bytes that it keeps in memory, as far as it is known.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Where models come from.
pub trait ModelSource: Send + Sync {
    /// Every model that has a name here, whether or not its files are there; the default one of each space first.
    fn known(&self) -> Vec<ModelInfo>;
    /// Whether the model's files are there. Looks at a few file sizes.
    fn is_installed(&self, model: &ModelInfo) -> bool;
    /// Loads it. Takes its time: for worker threads.
    fn load(&self, model: &ModelInfo) -> Result<Arc<dyn Embedder>, String>;
    /// Loads the detector of a name. Takes its time: for worker threads.
    fn finder(&self, name: &str) -> Result<Arc<dyn Finder>, String> {
        Err(format!("there is no detector {name:?}"))
    }
    /// The default model for a space, if its files are there.
    fn installed(&self, space: Space) -> Option<ModelInfo> {
        self.known().into_iter().find(|model| model.space == space).filter(|model| self.is_installed(model))
    }
}

/// The models of the manifest and those that users have added, from a folder.
#[derive(Clone, Debug)]
pub struct InstalledModels {
    models_dir: PathBuf,
    /// The names of those that come first, of pictures and of texts; empty for the manifest's first of a kind.
    chosen: [String; 2],
    devices: Devices,
    /// Whether they are used as they were published, and not as the house compares pictures with them.
    is_as_published: bool,
}

impl InstalledModels {
    /// Models below `models_dir`, one folder each, on the CPU; nothing need be there yet. The manifest's first of each kind is the default.
    pub fn new(models_dir: &Path) -> Self {
        Self { models_dir: models_dir.to_owned(), chosen: Default::default(), devices: Devices::cpu(), is_as_published: false }
    }

    /// The same on other devices.
    #[must_use]
    pub fn on(self, devices: Devices) -> Self {
        Self { devices, ..self }
    }

    /// The models of these names are the defaults; an empty name leaves the choice to the manifest.
    #[must_use]
    pub fn choosing(self, image: &str, text: &str) -> Self {
        Self { chosen: [image.to_owned(), text.to_owned()], ..self }
    }

    /// The same, each used as it was published.
    #[must_use]
    pub fn as_published(self) -> Self {
        Self { is_as_published: true, ..self }
    }

    fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::with_added(&self.models_dir);
        if self.is_as_published {
            manifest.models.iter_mut().for_each(|model| model.retrieval = None);
        }
        manifest
    }

    /// The package of a model as it is now, if it still is that model.
    fn package(&self, model: &ModelInfo) -> Option<ModelPackage> {
        let manifest = self.manifest();
        manifest.find(&model.name).filter(|package| package.info().as_ref() == Some(model)).cloned()
    }
}

impl ModelSource for InstalledModels {
    /// The folder is read anew: users add models while the house runs.
    fn known(&self) -> Vec<ModelInfo> {
        let mut known: Vec<ModelInfo> = self.manifest().models.iter().filter_map(ModelPackage::info).collect();
        known.sort_by_key(|model| !self.chosen.contains(&model.name));
        known
    }

    fn is_installed(&self, model: &ModelInfo) -> bool {
        self.package(model).is_some_and(|package| package.is_present(&self.models_dir))
    }

    fn load(&self, model: &ModelInfo) -> Result<Arc<dyn Embedder>, String> {
        let package = self.package(model).ok_or_else(|| format!("there is no {} of fingerprint {}", model.name, model.fingerprint))?;
        open(self.devices.device(), &package, &package.folder(&self.models_dir))
    }

    fn finder(&self, name: &str) -> Result<Arc<dyn Finder>, String> {
        let manifest = self.manifest();
        let package = manifest.find(name).ok_or_else(|| format!("there is no detector {name:?}"))?;
        let model = finder::open(self.devices.device().as_ref(), package, &package.folder(&self.models_dir))?;
        Ok(Arc::new(model))
    }
}

/// Reads a model's files and builds what runs it.
pub(crate) fn open(device: &Arc<dyn Device>, package: &ModelPackage, folder: &Path) -> Result<Arc<dyn Embedder>, String> {
    let path = |ending: &str| {
        let file = package.files.iter().find(|file| file.name.ends_with(ending));
        file.map(|file| folder.join(&file.name)).ok_or_else(|| format!("the manifest names no {ending} file"))
    };
    let weights = |ending: &str| WeightFile::open(&path(ending)?).map_err(|error| format!("{ending}: {error}"));
    let text = |error: ModelError| error.to_string();
    let info = package.info().ok_or_else(|| format!("{} is a detector and embeds nothing", package.name))?;
    let executor = Remembering::new(device.as_ref());
    let model = match (package.manager, info.space) {
        (Manager::Folder, _) => models::load(&ModelFiles::new(folder), &executor).map_err(text)?,
        (Manager::Pip, Space::Image) => {
            let model = models::load_image_model_for(&executor, &weights(".pth")?, package.retrieval).map_err(text)?;
            LoadedModel { image: Some(model), text: None }
        }
        (Manager::Pip, Space::Text) => {
            let tokenizer = std::fs::read(path(".json")?).map_err(|error| format!(".json: {error}"))?;
            let model = models::load_text_model_on(&executor, &weights(".safetensors")?, &tokenizer).map_err(text)?;
            LoadedModel { image: None, text: Some(model) }
        }
    };
    let dimensions = model.dimensions();
    if model.space() != info.space || model.reads_texts() != package.reads_texts() || dimensions != package.dimensions {
        return Err(format!("it has {dimensions} dimensions, the manifest says {}, or is of another kind", package.dimensions));
    }
    Ok(Arc::new(Loaded { info, model, device: Arc::clone(device), programs: executor.into_programs() }))
}

/// A model of pictures, of texts, or of both.
struct Loaded {
    info: ModelInfo,
    model: LoadedModel,
    device: Arc<dyn Device>,
    programs: Vec<Arc<dyn Program>>,
}

impl Embedder for Loaded {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn preprocessing(&self) -> Preprocessing {
        self.model.image.as_ref().map_or(Preprocessing::LITE0, ImageModel::preprocessing)
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let (mut pixels, mut pictures, mut texts) = (Vec::new(), 0, Vec::new());
        for input in inputs {
            match input {
                Input::Picture(picture) | Input::Scene(picture) => {
                    pixels.extend_from_slice(&picture.0);
                    pictures += 1;
                }
                Input::Text(text) => texts.push(text.as_str()),
            }
        }
        let (pictures, maps) = self.pictures(&pixels, pictures)?;
        let texts = self.texts(&texts)?;
        let dimensions = self.info.dimensions;
        let (mut pictures, mut texts) = (pictures.chunks_exact(dimensions), texts.chunks_exact(dimensions));
        let mut maps = maps.chunks_exact(self.sight().map_or(1, Sight::numbers));
        let mut next = |input: &Input| {
            let (vector, map) = match input {
                Input::Text(_) => (texts.next(), None),
                Input::Picture(_) => (pictures.next(), maps.next().and(None)),
                Input::Scene(_) => (pictures.next(), maps.next()),
            };
            [vector.unwrap_or_default(), map.unwrap_or_default()].concat()
        };
        Ok(inputs.iter().map(&mut next).collect())
    }

    fn sight(&self) -> Option<Sight> {
        self.model.image.as_ref().and_then(ImageModel::sight)
    }

    fn place(&self) -> Place {
        self.device.place()
    }

    fn device(&self) -> DeviceState {
        let state = self.device.state();
        if self.programs.iter().any(|program| program.has_left_half_precision()) {
            return DeviceState { name: format!("{}, this model in single precision", state.name), ..state };
        }
        state
    }

    fn memory_bytes(&self) -> u64 {
        self.programs.iter().map(|program| program.memory_bytes()).sum()
    }
}

impl Loaded {
    fn pictures(&self, pixels: &[u8], count: usize) -> Result<(Vec<f32>, Vec<f32>), EmbedError> {
        match &self.model.image {
            _ if count == 0 => Ok(Default::default()),
            None => Err("a picture for a text model".to_owned().into()),
            Some(model) => Ok(model.see(pixels, count)?),
        }
    }

    fn texts(&self, texts: &[&str]) -> Result<Vec<f32>, EmbedError> {
        match &self.model.text {
            _ if texts.is_empty() => Ok(Vec::new()),
            None => Err("a text for an image model".to_owned().into()),
            Some(model) => Ok(model.embed(texts)?),
        }
    }
}

/// Embeds and brings every vector to length 1. A batch with one vector that has no length fails.
pub(crate) fn embed(embedder: &dyn Embedder, inputs: &[Input]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
    let vectors = embedder.embed(inputs)?;
    if vectors.len() != inputs.len() {
        return Err(EmbedError::Failed(format!("{} vectors for {} inputs", vectors.len(), inputs.len())));
    }
    let dimensions = embedder.info().dimensions;
    let map = embedder.sight().map_or(0, Sight::numbers);
    let finished =
        |(vector, input): (Vec<f32>, &Input)| normalised(vector, dimensions, if matches!(input, Input::Scene(_)) { map } else { 0 });
    vectors.into_iter().zip(inputs).map(finished).collect()
}

/// The vector alone, not the `map` numbers behind it.
fn normalised(mut numbers: Vec<f32>, dimensions: usize, map: usize) -> Result<Arc<[f32]>, EmbedError> {
    let count = numbers.len();
    let vector = &mut numbers[..dimensions.min(count)];
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if count != dimensions + map || !norm.is_finite() || norm == 0.0 {
        return Err(EmbedError::Failed(format!("a vector of {count} numbers and length {norm}")));
    }
    vector.iter_mut().for_each(|number| *number = (f64::from(*number) / norm) as f32);
    Ok(numbers.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_brought_to_length_one_or_refused() {
        assert_eq!(normalised(vec![3.0, 4.0], 2, 0).expect("a vector").as_ref(), [0.6, 0.8]);
        assert_eq!(normalised(vec![3.0, 4.0, 7.0], 2, 1).expect("a vector and a map").as_ref(), [0.6, 0.8, 7.0]);
        for bad in [vec![], vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![1.0]] {
            assert!(normalised(bad.clone(), 2, 0).is_err(), "{bad:?}");
        }
    }
}
