//! The manifest of models, compiled in.

use std::path::{Path, PathBuf};

use protocol::vision::{ModelInfo, Space};
use serde::{Deserialize, Serialize};

use crate::logic::picture::PREPROCESSING;

/// The committed manifest.
const MANIFEST: &str = include_str!("../../../../data/models.toml");
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_CHARS: usize = 16;

/// Every model that Gotham knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models; the first of each kind is the default.
    #[serde(rename = "model")]
    pub models: Vec<ModelPackage>,
}

/// One model and the package that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPackage {
    /// The name in configuration and on disk.
    pub name: String,
    /// What it embeds.
    #[serde(with = "space_name")]
    pub space: Space,
    /// Whose client fetches it.
    pub manager: Manager,
    /// The package's name there.
    pub package: String,
    /// Exactly this version.
    pub version: String,
    /// SPDX.
    pub licence: String,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// What is taken out of the package.
    pub files: Vec<ModelFile>,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Python's, run as `python3 -m pip`.
    Pip,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// The name on disk.
    pub name: String,
    /// The path inside the package.
    pub path: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

impl Manifest {
    /// The manifest of this release.
    pub fn compiled_in() -> Self {
        toml::from_str(MANIFEST).expect("a test reads the compiled-in manifest")
    }

    /// The model used for a space.
    pub fn default_for(&self, space: Space) -> Option<&ModelPackage> {
        self.models.iter().find(|model| model.space == space)
    }

    /// A model by name.
    pub fn find(&self, name: &str) -> Option<&ModelPackage> {
        self.models.iter().find(|model| model.name == name)
    }
}

impl ModelPackage {
    /// Where the model's files stand.
    pub fn folder(&self, models_dir: &Path) -> PathBuf {
        models_dir.join(&self.name)
    }

    /// What pip calls it.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// The model as readers see it. Its fingerprint follows from the files' hashes and the preprocessing, so that it is known
    /// without loading anything.
    pub fn info(&self) -> ModelInfo {
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            hasher.update(file.sha256.as_bytes());
        }
        if self.space == Space::Image {
            hasher.update(PREPROCESSING.as_bytes());
        }
        let fingerprint = hasher.finalize().to_hex()[..FINGERPRINT_CHARS].to_owned();
        ModelInfo { name: self.name.clone(), space: self.space, dimensions: self.dimensions, fingerprint }
    }

    /// Whether every file is there with its size.
    pub fn is_present(&self, models_dir: &Path) -> bool {
        let folder = self.folder(models_dir);
        self.files
            .iter()
            .all(|file| std::fs::metadata(folder.join(&file.name)).is_ok_and(|found| found.is_file() && found.len() == file.bytes))
    }
}

mod space_name {
    use protocol::vision::Space;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    pub(super) fn serialize<S: Serializer>(space: &Space, serializer: S) -> Result<S::Ok, S::Error> {
        space.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Space, D::Error> {
        let name = String::deserialize(deserializer)?;
        Space::ALL
            .into_iter()
            .find(|space| space.as_str() == name)
            .ok_or_else(|| de::Error::custom(format!("no kind of model is called {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_manifest_is_sound() {
        let manifest = Manifest::compiled_in();
        for space in Space::ALL {
            let model = manifest.default_for(space).expect("a default model");
            assert_eq!(manifest.find(&model.name), Some(model));
            let info = model.info();
            assert_eq!((info.space, info.fingerprint.len()), (space, FINGERPRINT_CHARS));
        }
        let is_plain = |name: &str| {
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        for model in &manifest.models {
            assert!(is_plain(&model.name) && is_plain(&model.package) && is_plain(&model.version), "{}", model.name);
            assert!(!model.files.is_empty() && !model.licence.is_empty());
            for file in &model.files {
                assert!(is_plain(&file.name) && file.bytes > 0 && !file.path.contains(".."), "{}", file.name);
                assert!(
                    file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                    "{}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn another_file_is_another_fingerprint() {
        let mut model = Manifest::compiled_in().models.remove(0);
        let before = model.info().fingerprint;
        model.files[0].sha256.replace_range(..1, "0");
        assert_ne!(model.info().fingerprint, before);
    }

    #[test]
    fn mistakes_in_a_manifest_are_named() {
        for (from, to) in [("space = \"image\"", "space = \"sound\""), ("manager = \"pip\"", "manager = \"curl\""), ("licence", "license")]
        {
            assert!(toml::from_str::<Manifest>(&MANIFEST.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
