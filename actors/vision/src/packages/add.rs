//! Installing a model that a user brings as a folder of files.

use std::fs::File;
use std::path::{Path, PathBuf};

use shaders::CpuExecutor;

use super::install::{Sha256, copy, make_folder};
use super::manifest::{ADDED, Manager, Manifest, ModelFile, ModelPackage, is_plain};
use super::self_test::SelfTest;
use super::{PackageError, Progress};
use crate::models::{self, LoadedModel, ModelError, ModelFiles};

/// Installs the model in `source` under `name`: loads it, copies the files that it is made of, loads the copy and records what it
/// makes of the built-in picture and text. It is there as a whole or not at all.
///
/// # Errors
/// When the name is taken, the files make no model, or the disk fails.
pub fn add(source: &Path, name: &str, models_dir: &Path, mut progress: impl FnMut(Progress)) -> Result<ModelPackage, PackageError> {
    let refused = |reason| PackageError::Name { name: name.to_owned(), reason };
    if !is_plain(name) {
        return Err(refused("it may hold letters, digits, '-', '_' and '.', and not begin with '.'"));
    }
    let target = make_folder(models_dir)?.join(name);
    if target.exists() || Manifest::compiled_in().find(name).is_some() {
        return Err(refused("there is a model of that name"));
    }
    let unusable = |reason: String| PackageError::Unusable { model: source.display().to_string(), reason };
    let (executor, refusal) = (CpuExecutor::new(1), |error: ModelError| unusable(error.to_string()));
    let mut files = ModelFiles::new(source);
    let loaded = match models::load_detector(&files, &executor).map_err(refusal)? {
        Some(_) => None,
        None => {
            files = ModelFiles::new(source);
            Some(models::load(&files, &executor).map_err(refusal)?)
        }
    };
    let mut package = ModelPackage {
        name: name.to_owned(),
        space: loaded.as_ref().map(LoadedModel::space),
        manager: Manager::Folder,
        package: String::new(),
        version: String::new(),
        licence: String::new(),
        dimensions: loaded.as_ref().map_or(0, LoadedModel::dimensions),
        has_words: loaded.as_ref().is_some_and(|loaded| loaded.image.is_some() && loaded.text.is_some()),
        retrieval: None,
        self_test: SelfTest::default(),
        files: Vec::new(),
    };
    drop(loaded);
    let staging = tempfile::Builder::new().prefix(".adding-").tempdir_in(models_dir).map_err(PackageError::io(models_dir))?;
    for file in files.read() {
        package.files.push(copy_file(source, &file, staging.path(), &mut progress)?);
    }
    package.self_test = SelfTest::of(&package, staging.path()).map_err(unusable)?;
    let manifest = toml::to_string(&package).map_err(|error| unusable(error.to_string()))?;
    let path = staging.path().join(ADDED);
    std::fs::write(&path, manifest).and_then(|()| File::open(&path)?.sync_all()).map_err(PackageError::io(&path))?;
    publish(staging, &target, models_dir)?;
    progress(Progress::Installed { model: name.to_owned() });
    Ok(package)
}

/// Copies one file and gives its hash and size.
fn copy_file(source: &Path, name: &str, to: &Path, progress: &mut impl FnMut(Progress)) -> Result<ModelFile, PackageError> {
    let (from, path) = (source.join(name), to.join(name));
    make_folder(path.parent().unwrap_or(to))?;
    let mut opened = File::open(&from).map_err(PackageError::io(&from))?;
    let bytes = opened.metadata().map_err(PackageError::io(&from))?.len();
    let (mut target, mut hasher) = (File::create(&path).map_err(PackageError::io(&path))?, Sha256::new());
    let step = |done| progress(Progress::Extracting { file: name.to_owned(), bytes: done, bytes_total: bytes });
    copy(&mut opened, bytes, &mut target, &mut hasher, step).and_then(|()| target.sync_all()).map_err(PackageError::io(&path))?;
    let length = target.metadata().map_err(PackageError::io(&path))?.len();
    if length != bytes {
        return Err(PackageError::Unusable { model: name.to_owned(), reason: "the file changes while it is read".to_owned() });
    }
    Ok(ModelFile { name: name.to_owned(), path: name.to_owned(), sha256: hasher.finish(), bytes })
}

/// Gives the finished folder its name, readable to the service's own user.
fn publish(staging: tempfile::TempDir, target: &Path, models_dir: &Path) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder: PathBuf = staging.keep();
    let renamed = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))
        .and_then(|()| std::fs::rename(&folder, target))
        .and_then(|()| File::open(models_dir)?.sync_all());
    renamed.map_err(|error| {
        let _ = std::fs::remove_dir_all(&folder);
        PackageError::Io { path: target.to_owned(), error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{list, self_test, verify};
    use crate::{InstalledModels, ModelSource as _};
    use protocol::vision::Space;

    /// One of the random-weight models of the tests.
    fn test_model(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join(name)
    }

    fn added(models: &Path) -> ModelPackage {
        add(&test_model("mobilenet-v3"), "mine", models, |_| {}).expect("added")
    }

    #[test]
    fn an_added_model_is_listed_verified_and_tested() {
        let models = tempfile::tempdir().expect("a folder");
        let package = added(models.path());
        assert_eq!((package.space, package.reads_texts(), package.dimensions), (Some(Space::Image), false, 24));
        let mine = |statuses: Vec<crate::packages::ModelStatus>| statuses.into_iter().find(|status| status.package.name == "mine");
        let status = mine(verify(models.path()).expect("read")).expect("listed");
        assert!(status.is_installed && status.package == package);
        assert!(mine(list(models.path()).expect("read")).is_some());
        self_test(&package, models.path()).expect("the same vectors");
        let other = SelfTest { picture: package.self_test.picture.map(|sums| sums.map(|sum| sum + 0.1)), text: None };
        let error = self_test(&ModelPackage { self_test: other, ..package }, models.path()).expect_err("other vectors");
        assert!(error.to_string().contains("other vectors"), "{error}");
    }

    #[test]
    fn an_added_detector_is_verified_found_by_its_name_and_no_model_of_a_release() {
        let models = tempfile::tempdir().expect("a folder");
        let package = add(&test_model("yolos"), "finds", models.path(), |_| {}).expect("added");
        assert_eq!((package.space, package.dimensions, package.info()), (None, 0, None));
        assert_eq!(package.files.len(), 3);
        let statuses = verify(models.path()).expect("read");
        let status = statuses.into_iter().find(|status| status.package.name == "finds").expect("listed");
        assert!(status.is_installed && !status.is_default && status.package == package);
        self_test(&package, models.path()).expect("the same numbers");
        add(&test_model("mobilenet-v3"), "mine", models.path(), |_| {}).expect("added");
        let source = InstalledModels::new(models.path());
        assert!(source.known().iter().all(|model| model.name != "finds"));
        assert!(source.finder("finds").is_ok_and(|finder| finder.find(&image::RgbImage::new(90, 40)).is_ok()));
        for (name, reason) in [("mine", "mine is no detector"), ("none", "there is no detector \"none\"")] {
            assert_eq!(source.finder(name).err().as_deref(), Some(reason));
        }
    }

    #[test]
    fn damage_is_found() {
        let models = tempfile::tempdir().expect("a folder");
        let package = added(models.path());
        let path = models.path().join("mine").join("model.onnx");
        let mut bytes = std::fs::read(&path).expect("the file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).expect("written");
        let statuses = verify(models.path()).expect("read");
        assert!(statuses.iter().any(|status| status.package.name == package.name && !status.is_installed));
    }

    #[test]
    fn what_cannot_be_added_leaves_nothing_behind() {
        let models = tempfile::tempdir().expect("a folder");
        let empty = tempfile::tempdir().expect("a folder");
        for (source, name) in
            [(test_model("mobilenet-v3"), "../out"), (test_model("mobilenet-v3"), "efficientnet-lite0"), (empty.path().to_owned(), "mine")]
        {
            assert!(add(&source, name, models.path(), |_| {}).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(models.path()).expect("a folder").count(), 0);
        added(models.path());
        assert!(add(&test_model("mobilenet-v3"), "mine", models.path(), |_| {}).is_err(), "taken");
    }
}
