//! What outlives the actor's restarts: the threads that decode and embed, with what they learned of their models, and the models in memory.

use std::io;
use std::sync::Arc;

use protocol::vision::EngineStatus;

use crate::config::Config;
use crate::residents::Residents;
use crate::scheduler::{Handle, Scheduler};

/// Nightwing's threads. Made once.
pub struct Threads {
    scheduler: Scheduler,
    residents: Arc<Residents>,
}

impl Threads {
    /// Starts the threads.
    pub fn spawn(config: &Config) -> io::Result<Self> {
        Ok(Self { scheduler: Scheduler::spawn(config)?, residents: Arc::new(Residents::new(config.model_memory_bytes_max)) })
    }

    /// The models that were used, and how they do.
    pub fn engines(&self) -> Vec<EngineStatus> {
        self.scheduler.handle().engines()
    }

    /// Which models are in memory.
    pub(crate) fn residents(&self) -> &Arc<Residents> {
        &self.residents
    }

    pub(crate) fn scheduler(&self) -> &Handle {
        self.scheduler.handle()
    }
}
