//! What runs the models: chosen once, by setting and by what the machine has.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shaders::{CpuExecutor, Executor};

use crate::logic::schedule::Place;

/// Which device is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceSetting {
    /// A GPU where there is one, and else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU; the CPU while there is none.
    Gpu,
}

/// A device as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// What runs the models now.
    pub name: String,
    /// Why that is not the GPU that should.
    pub fallback: Option<String>,
}

/// Something that models run on. Every run on the CPU takes one thread: runs stand side by side.
pub(crate) trait Device: Send + Sync {
    /// Prepares plans.
    fn executor(&self) -> &dyn Executor;
    /// Where the next run is done.
    fn place(&self) -> Place;
    /// For people.
    fn state(&self) -> DeviceState;
    /// Whether the CPU does what a GPU should.
    fn is_fallen_back(&self) -> bool;
}

/// The device that models are loaded for; clones share it.
#[derive(Clone)]
pub struct Devices(Arc<dyn Device>);

impl Devices {
    /// The CPU.
    pub fn cpu() -> Self {
        Self(Arc::new(Cpu { executor: CpuExecutor::new(1), missing: None }))
    }

    /// The device of a setting. Looks for GPUs, which can take seconds, unless the setting is the CPU.
    pub fn choose(setting: DeviceSetting) -> Self {
        match setting {
            DeviceSetting::Auto | DeviceSetting::Cpu => Self::cpu(),
            DeviceSetting::Gpu => {
                let missing = "no GPU that can run models was found".to_owned();
                tracing::error!(reason = missing, "models run on the CPU although a GPU is asked for");
                Self(Arc::new(Cpu { executor: CpuExecutor::new(1), missing: Some(missing) }))
            }
        }
    }

    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.0
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Devices").field(&self.0.state()).finish()
    }
}

struct Cpu {
    executor: CpuExecutor,
    missing: Option<String>,
}

impl Device for Cpu {
    fn executor(&self) -> &dyn Executor {
        &self.executor
    }

    fn place(&self) -> Place {
        Place::Cpu
    }

    fn state(&self) -> DeviceState {
        DeviceState { name: self.executor.describe(), fallback: self.missing.clone() }
    }

    fn is_fallen_back(&self) -> bool {
        self.missing.is_some()
    }
}
