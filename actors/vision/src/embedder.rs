//! The seam between the actor and the models: something that turns a batch of inputs into vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::vision::{ModelInfo, Space};
use shaders::{Program, RunError};

use crate::devices::{Device, DeviceState, Devices, Remembering};
use crate::logic::picture::{INPUT_SIDE, Pixels};
use crate::logic::schedule::Place;
use crate::models::{self, ImageModel, ModelError, TextModel};
use crate::packages::{Manifest, ModelPackage};

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// For an image model.
    Picture(Pixels),
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
    /// One vector for each input, `[dimensions]`, of any length.
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
    /// The default model for a space, if its files are there.
    fn installed(&self, space: Space) -> Option<ModelInfo> {
        self.known().into_iter().find(|model| model.space == space).filter(|model| self.is_installed(model))
    }
}

/// The models that the manifest names, from a folder.
#[derive(Clone, Debug)]
pub struct InstalledModels {
    models_dir: PathBuf,
    manifest: Arc<Manifest>,
    devices: Devices,
}

impl InstalledModels {
    /// Models below `models_dir`, one folder each, on the CPU; nothing need be there yet.
    pub fn new(models_dir: &Path) -> Self {
        Self { models_dir: models_dir.to_owned(), manifest: Arc::new(Manifest::compiled_in()), devices: Devices::cpu() }
    }

    /// The same on other devices.
    pub fn on(self, devices: Devices) -> Self {
        Self { devices, ..self }
    }
}

impl ModelSource for InstalledModels {
    fn known(&self) -> Vec<ModelInfo> {
        self.manifest.models.iter().map(ModelPackage::info).collect()
    }

    fn is_installed(&self, model: &ModelInfo) -> bool {
        self.manifest.find(&model.name).is_some_and(|package| package.info() == *model && package.is_present(&self.models_dir))
    }

    fn load(&self, model: &ModelInfo) -> Result<Arc<dyn Embedder>, String> {
        let package = self.manifest.find(&model.name).filter(|package| package.info() == *model);
        let package = package.ok_or_else(|| format!("the manifest names no {} of fingerprint {}", model.name, model.fingerprint))?;
        load(self.devices.device(), package, &package.folder(&self.models_dir))
    }
}

/// Reads a model's files and builds what runs it.
fn load(device: &Arc<dyn Device>, package: &ModelPackage, folder: &Path) -> Result<Arc<dyn Embedder>, String> {
    let read = |ending: &str| {
        let file =
            package.files.iter().find(|file| file.name.ends_with(ending)).ok_or_else(|| format!("the manifest names no {ending} file"))?;
        std::fs::read(folder.join(&file.name)).map_err(|error| format!("{}: {error}", file.name))
    };
    let info = package.info();
    let executor = Remembering::new(device.as_ref());
    let (embedder, dimensions): (Arc<dyn Embedder>, usize) = match package.space {
        Space::Image => {
            let model = models::load_image_model_on(&executor, &read(".pth")?).map_err(|error| error.to_string())?;
            if model.input_side() != INPUT_SIDE {
                return Err(format!("it takes pictures of {} pixels, not {INPUT_SIDE}", model.input_side()));
            }
            let (dimensions, programs) = (model.dimensions(), executor.into_programs());
            (Arc::new(Pictures { info, model, device: Arc::clone(device), programs }), dimensions)
        }
        Space::Text => {
            let model = models::load_text_model_on(&executor, &read(".safetensors")?, &read(".json")?);
            let model = model.map_err(|error| error.to_string())?;
            let (dimensions, programs) = (model.dimensions(), executor.into_programs());
            (Arc::new(Texts { info, model, device: Arc::clone(device), programs }), dimensions)
        }
    };
    if dimensions == package.dimensions {
        Ok(embedder)
    } else {
        Err(format!("it has {dimensions} dimensions, the manifest says {}", package.dimensions))
    }
}

struct Pictures {
    info: ModelInfo,
    model: ImageModel,
    device: Arc<dyn Device>,
    programs: Vec<Arc<dyn Program>>,
}

impl Embedder for Pictures {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut pixels = Vec::with_capacity(inputs.len() * INPUT_SIDE * INPUT_SIDE * 3);
        for input in inputs {
            let Input::Picture(picture) = input else { return Err("a text for an image model".to_owned().into()) };
            pixels.extend_from_slice(&picture.0);
        }
        Ok(rows(&self.model.embed(&pixels, inputs.len())?, self.info.dimensions))
    }

    fn place(&self) -> Place {
        self.device.place()
    }

    fn device(&self) -> DeviceState {
        self.device.state()
    }

    fn memory_bytes(&self) -> u64 {
        self.programs.iter().map(|program| program.memory_bytes()).sum()
    }
}

struct Texts {
    info: ModelInfo,
    model: TextModel,
    device: Arc<dyn Device>,
    programs: Vec<Arc<dyn Program>>,
}

impl Embedder for Texts {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut texts = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Input::Text(text) = input else { return Err("a picture for a text model".to_owned().into()) };
            texts.push(text.as_str());
        }
        Ok(rows(&self.model.embed(&texts)?, self.info.dimensions))
    }

    fn place(&self) -> Place {
        self.device.place()
    }

    fn device(&self) -> DeviceState {
        self.device.state()
    }

    fn memory_bytes(&self) -> u64 {
        self.programs.iter().map(|program| program.memory_bytes()).sum()
    }
}

fn rows(flat: &[f32], dimensions: usize) -> Vec<Vec<f32>> {
    flat.chunks_exact(dimensions).map(<[f32]>::to_vec).collect()
}

/// Embeds and brings every vector to length 1. A batch with one vector that has no length fails.
pub(crate) fn embed(embedder: &dyn Embedder, inputs: &[Input]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
    let vectors = embedder.embed(inputs)?;
    if vectors.len() != inputs.len() {
        return Err(EmbedError::Failed(format!("{} vectors for {} inputs", vectors.len(), inputs.len())));
    }
    vectors.into_iter().map(|vector| normalised(vector, embedder.info().dimensions)).collect()
}

fn normalised(mut vector: Vec<f32>, dimensions: usize) -> Result<Arc<[f32]>, EmbedError> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if vector.len() != dimensions || !norm.is_finite() || norm == 0.0 {
        return Err(EmbedError::Failed(format!("a vector of {} numbers and length {norm}", vector.len())));
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
