//! Wayne: who runs, how well, and with which configuration.

use std::sync::Arc;

use kit::Reply;
pub use kit::{ActorState, ActorStatus};
use serde::Serialize;

use crate::experiments::Experiment;

/// The runtime name.
pub const NAME: &str = "wayne";

/// The most experiments that are defined at a time: all may be in force in one list, and reports tell as many apart.
pub const EXPERIMENTS_MAX: usize = 16;

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// Compiled in.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// The command line.
    CommandLine,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// `search.hits_max`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// What Wayne is asked.
#[derive(Debug)]
pub enum RegistryMsg {
    /// Keep the configuration that the process started with, if it differs from the last one kept.
    RecordConfig {
        /// The settings in force.
        settings: Vec<Setting>,
        /// The number of this configuration in the history, from 1.
        reply: Reply<Result<u64, String>>,
    },
    /// Define an experiment, or change the one of that name.
    PutExperiment {
        /// The definition, free of problems.
        experiment: Experiment,
        /// Answered when it is durable and in force.
        reply: Reply<Result<(), String>>,
    },
    /// Forget an experiment's definition.
    DeleteExperiment {
        /// Which.
        name: String,
        /// Whether it was there.
        reply: Reply<Result<bool, String>>,
    },
}

/// What readers see of the house.
pub trait RegistryReader: Send + Sync {
    /// Every actor, top to bottom.
    fn actors(&self) -> Vec<ActorStatus>;
    /// The settings in force, in key order.
    fn settings(&self) -> Arc<[Setting]>;
    /// The experiments, in name order.
    fn experiments(&self) -> Arc<[Experiment]>;
}
