//! The manifest of models, compiled in.

use std::path::{Path, PathBuf};

use protocol::vision::{ModelInfo, Space};
use serde::{Deserialize, Serialize};

use super::self_test::SelfTest;
use crate::logic::preprocessing::Retrieval;
use crate::models::preprocessing_of;

/// The committed manifest.
const MANIFEST: &str = include_str!("../../../../data/models.toml");
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_CHARS: usize = 16;

/// Beside the files of a model that a user has added: what it is.
pub(super) const ADDED: &str = "installed.toml";
/// Folders that are looked into for added models.
const ADDED_MAX: usize = 256;
/// Bytes of such a file.
const ADDED_BYTES_MAX: u64 = 1 << 20;

/// Every model that Gotham knows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models; the first of each kind is the default.
    #[serde(rename = "model")]
    pub models: Vec<ModelPackage>,
}

/// One model and the package that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPackage {
    /// The name in configuration and on disk.
    pub name: String,
    /// What it embeds; `None` for a detector (`"objects"` in files), which embeds nothing and can stand in no release.
    #[serde(with = "space_name")]
    pub space: Option<Space>,
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
    /// Whether a model of pictures gives texts a place beside them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_words: bool,
    /// How the house compares pictures with it; `None` for a model that is used as it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// What it makes, as the house uses it, of a picture and a text that are built in.
    #[serde(default)]
    pub self_test: SelfTest,
    /// What is taken out of the package.
    pub files: Vec<ModelFile>,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Python's, run as `python3 -m pip`.
    Pip,
    /// None: a user brought the files.
    Folder,
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

    /// The manifest of this release and the models that users have added below `models_dir`. What cannot be read there is passed
    /// over, with a warning.
    pub fn with_added(models_dir: &Path) -> Self {
        let mut manifest = Self::compiled_in();
        let folders = std::fs::read_dir(models_dir).into_iter().flatten().filter_map(Result::ok).take(ADDED_MAX);
        let mut added: Vec<PathBuf> = folders.map(|entry| entry.path().join(ADDED)).filter(|path| path.is_file()).collect();
        added.sort();
        for path in added {
            match read_added(&path) {
                Ok(model) if manifest.find(&model.name).is_none() => manifest.models.push(model),
                Ok(model) => tracing::warn!(model = model.name, "two models have one name; the manifest's is used"),
                Err(reason) => tracing::warn!(path = %path.display(), reason, "an added model is passed over"),
            }
        }
        manifest
    }

    /// The model used for a space.
    pub fn default_for(&self, space: Space) -> Option<&ModelPackage> {
        self.models.iter().find(|model| model.space == Some(space))
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

    /// The model as readers see it; `None` for a detector. Its fingerprint follows from the files' hashes and the preprocessing, so that it is known
    /// without loading anything.
    pub fn info(&self) -> Option<ModelInfo> {
        let space = self.space?;
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            hasher.update(file.sha256.as_bytes());
        }
        if space == Space::Image {
            let published = || preprocessing_of(&self.name).map_or_else(|| "as its files say".to_owned(), |found| found.describe());
            hasher.update(self.retrieval.map_or_else(published, |retrieval| retrieval.describe()).as_bytes());
        }
        let fingerprint = hasher.finalize().to_hex()[..FINGERPRINT_CHARS].to_owned();
        Some(ModelInfo { name: self.name.clone(), space, dimensions: self.dimensions, fingerprint, reads_texts: self.reads_texts() })
    }

    /// Whether texts are among its inputs.
    pub fn reads_texts(&self) -> bool {
        self.has_words || self.space == Some(Space::Text)
    }

    /// Whether every file is there with its size.
    pub fn is_present(&self, models_dir: &Path) -> bool {
        let folder = self.folder(models_dir);
        self.files
            .iter()
            .all(|file| std::fs::metadata(folder.join(&file.name)).is_ok_and(|found| found.is_file() && found.len() == file.bytes))
    }
}

fn read_added(path: &Path) -> Result<ModelPackage, String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > ADDED_BYTES_MAX {
        return Err(format!("{bytes} bytes are too many"));
    }
    let model: ModelPackage =
        toml::from_str(&std::fs::read_to_string(path).map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    let is_here = path.parent().and_then(Path::file_name).is_some_and(|folder| folder == model.name.as_str());
    let is_within = |file: &ModelFile| file.name.split('/').all(is_plain);
    if is_here && model.manager == Manager::Folder && model.files.iter().all(is_within) {
        Ok(model)
    } else {
        Err("it is not of this folder".to_owned())
    }
}

/// Whether a name can be that of a file or a folder and nothing else.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

mod space_name {
    use protocol::vision::Space;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    /// What a detector has in place of a space.
    const OBJECTS: &str = "objects";

    pub(super) fn serialize<S: Serializer>(space: &Option<Space>, serializer: S) -> Result<S::Ok, S::Error> {
        space.map_or(OBJECTS, Space::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Space>, D::Error> {
        let name = String::deserialize(deserializer)?;
        let space = Space::ALL.into_iter().find(|space| space.as_str() == name).map(Some);
        space.or_else(|| (name == OBJECTS).then_some(None)).ok_or_else(|| de::Error::custom(format!("no kind of model is called {name:?}")))
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
            let info = model.info().expect("it embeds");
            assert_eq!((info.space, info.fingerprint.len()), (space, FINGERPRINT_CHARS));
        }
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
        let fingerprint = |model: &ModelPackage| model.info().expect("it embeds").fingerprint;
        let before = fingerprint(&model);
        model.files[0].sha256.replace_range(..1, "0");
        assert_ne!(fingerprint(&model), before);
        let published = ModelPackage { retrieval: None, ..Manifest::compiled_in().models.remove(0) };
        assert_ne!(fingerprint(&published), before, "another use of its features");
    }

    #[test]
    fn mistakes_in_a_manifest_are_named() {
        for (from, to) in [("space = \"image\"", "space = \"sound\""), ("manager = \"pip\"", "manager = \"curl\""), ("licence", "license")]
        {
            assert!(toml::from_str::<Manifest>(&MANIFEST.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
