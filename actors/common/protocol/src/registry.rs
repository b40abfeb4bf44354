//! Wayne: who runs, how well, and with which configuration.

use std::sync::Arc;

use kit::Reply;
pub use kit::{ActorState, ActorStatus};
use serde::Serialize;

/// The runtime name.
pub const NAME: &str = "wayne";

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
}

/// What readers see of the house.
pub trait RegistryReader: Send + Sync {
    /// Every actor, top to bottom.
    fn actors(&self) -> Vec<ActorStatus>;
    /// The settings in force, in key order.
    fn settings(&self) -> Arc<[Setting]>;
}
