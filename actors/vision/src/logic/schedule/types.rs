//! What the schedule is asked with, and what it answers.

/// Microseconds since some beginning.
pub type Micros = u64;
/// Names an item or a piece of work; chosen by the caller.
pub type Ticket = u64;

/// Who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A shopper.
    Query,
    /// The catalog.
    Import,
}

impl Lane {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Import => "import",
        }
    }
}

/// Where it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The threads of the CPU.
    Cpu,
    /// The GPU.
    Gpu,
}

/// How a query is prepared: a glance is over before a run could start, so it never waits behind one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A look-up.
    Glance,
    /// Decoding a picture.
    Heavy,
}

/// What the schedule keeps to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Threads of the CPU.
    pub threads: usize,
    /// A query should be answered within this time of its being ready.
    pub query_latency_target_us: Micros,
    /// The part of the time, 0 to 0.5, that imports get at least while both wait.
    pub import_share_min: f64,
    /// Queries that wait for a model, and pieces of their preparation; more are refused.
    pub queries_max: usize,
    /// Inputs of imports that wait for a model; more are refused.
    pub imports_max: usize,
    /// Pieces of imports' preparation that wait; more are refused.
    pub import_works_max: usize,
}

/// What one model keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Inputs in one run.
    pub batch_max: usize,
    /// Units in one run, inputs times the longest one's.
    pub units_max: usize,
}

/// Inputs to run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Names the run.
    pub run: u64,
    /// As given by [`Schedule::register`].
    pub model: usize,
    /// Who waits.
    pub lane: Lane,
    /// What to run, at least one.
    pub tickets: Vec<Ticket>,
}

/// What a thread does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run a model.
    Run(Batch),
    /// Prepare something.
    Work {
        /// Names the step; for [`Schedule::work_done`].
        run: u64,
        /// What.
        ticket: Ticket,
        /// For what it submits: whether an import's run already stood before it.
        is_behind_import: bool,
    },
    /// Nothing: ask again when something came or ended, or at this time.
    Wait(Option<Micros>),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a vector for every input.
    Done,
    /// For lack of memory.
    OutOfMemory,
    /// Otherwise without.
    Failed,
}

/// What becomes of the inputs of a run without result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// These have failed.
    pub failed: Vec<Ticket>,
    /// These wait again.
    pub again: Vec<Ticket>,
}
