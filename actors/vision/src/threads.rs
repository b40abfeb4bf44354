//! The threads that do the heavy work: one pool for the catalog, one for queries, so that a query never stands behind an import.

use std::io;

use kit::{Context, WorkError, Workers};
use tokio::sync::oneshot;

use crate::config::Config;

type Work = Box<dyn FnOnce() + Send>;

/// Work of the catalog that waits for a thread; its callers wait for one another before they hand it over.
const IMPORT_QUEUE_MAX: usize = 4096;

/// Nightwing's threads. Made once; they outlive the actor's restarts.
pub struct Threads {
    pub(crate) import: Pool,
    pub(crate) query: Pool,
    pub(crate) import_count: usize,
}

impl Threads {
    /// Starts the threads.
    pub fn spawn(config: &Config) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let import_count = if config.import_threads == 0 { cores } else { config.import_threads };
        Ok(Self {
            import: Pool::spawn("nightwing-import", import_count, IMPORT_QUEUE_MAX)?,
            query: Pool::spawn("nightwing-query", config.query_threads, config.query_queue_max)?,
            import_count,
        })
    }
}

/// Threads that run closures.
pub(crate) struct Pool {
    name: &'static str,
    workers: Workers<Work, ()>,
}

impl Pool {
    fn spawn(name: &'static str, threads: usize, queue_max: usize) -> io::Result<Self> {
        let workers = Workers::spawn(name, threads, queue_max, |_| |_: &Context, work: Work| work())?;
        Ok(Self { name, workers })
    }

    /// Runs `work` on one of the threads and waits for what it gives.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &Context,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let (answer, mut answered) = oneshot::channel();
        let work = move || {
            let _ = answer.send(work());
        };
        self.workers.run(context, Box::new(work)).await?;
        answered.try_recv().map_err(|_| WorkError::Stopped { pool: self.name })
    }
}
