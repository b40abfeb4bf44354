//! The threads that do the heavy work, and what they do next: [`crate::logic::schedule`] decides, this acts.
//!
//! One set of threads, as many as cores, prepares inputs and runs models on the CPU; two more threads hand runs to a GPU and sleep
//! until it is done. All of them ask one schedule for their next step, so that nothing stands between a query and its run but what the
//! schedule allows, and no more threads are busy than there are cores.
//!
//! | metric | is |
//! | --- | --- |
//! | `gotham_vision_runs_total{lane,space}`, `gotham_vision_inputs_total{lane,space}` | runs, and the pictures or texts in them: images/s |
//! | `gotham_vision_batch_size{lane,space}` | inputs of a run |
//! | `gotham_vision_wait_seconds{lane,space}` | from being ready to the start of the run |
//! | `gotham_vision_run_seconds{lane,space,place}` | the run: upload, compute, download |
//! | `gotham_vision_stage_seconds{stage}` | other stages: `read`, `fetch`, `decode`, `prepare` (resize), `thumbnail`, `store`, `load` ... |
//! | `gotham_vision_queue_length{lane}` | inputs and preparations that wait |
//! | `gotham_vision_dropped_total{lane}`, `gotham_vision_refused_total{lane}` | waited too long or given up; the queue was full |
//! | `gotham_vision_retries_total{reason}` | runs that are repeated in smaller ones: `out_of_memory`, `failed` |
//! | `gotham_vision_batch_cap{space}` | inputs that fit into a run |
//! | `gotham_vision_fallback{space}` | 1 while a model that belongs on a GPU runs on the CPU |
//! | `gotham_vision_device_memory_bytes{space}` | what a model holds where it runs: weights, and working memory kept for the next run |
//! | `gotham_vision_model_memory_bytes`, `gotham_vision_model_memory_budget_bytes` | models in memory, and what they may take |
//! | `gotham_vision_evictions_total` | models put out of memory |

mod run;
mod task;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kit::worker::Pulse;
use kit::{Context, WorkError};
use protocol::vision::{EngineStatus, Space};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::Config;
use crate::embedder::{Embedder, Input};
use crate::logic::meter::Meter;
use crate::logic::schedule::{Effort, Lane, Limits, Micros, ModelLimits, Next, Place, Schedule, Ticket};
use task::{Task, TypedTask};

/// The pool's name, in errors and for the watchdog.
const NAME: &str = "nightwing";
/// Runs that a GPU is given at a time: one that computes, and one that waits for it.
const GPU_RUNS_MAX: usize = 2;
/// Preparations of imports that wait; their callers bound themselves more tightly.
const IMPORT_WORKS_MAX: usize = 4096;
/// Bytes of text in a unit: about as many as 16 tokens have.
const TEXT_UNIT_BYTES: usize = 64;
/// Units of a text count up to here: no model reads more of it.
const TEXT_UNITS_MAX: usize = 32;
/// Work that nobody stopped runs until somebody else's deadline; a query without a near one ends here.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Why an input has no vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too much waits, or it was not done in time.
    Busy(String),
    /// The model failed on it.
    Engine(String),
    /// The model crashed on it.
    Crashed(String),
}

pub(crate) type Answer = Result<Arc<[f32]>, Refusal>;

/// What a piece of work is told, for what it submits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    is_behind_import: bool,
}

/// The threads. Dropping it lets the steps under way end, refuses what waits and joins.
pub(crate) struct Scheduler {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// Gives work to the threads; clones share them.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Threads of each place without work sleep here.
    cpu: Condvar,
    gpu: Condvar,
    began: Instant,
    batch_max: [usize; 2],
    pulse: Arc<Pulse>,
}

struct State {
    schedule: Schedule,
    engines: Vec<Engine>,
    inputs: HashMap<Ticket, Waiting>,
    tasks: HashMap<Ticket, Box<dyn Task>>,
    next_ticket: Ticket,
    is_closed: bool,
}

/// A model that the schedule knows, at its number.
struct Engine {
    fingerprint: String,
    space: Space,
    embedder: std::sync::Weak<dyn Embedder>,
    meter: Meter,
}

/// An input and who waits for its vector.
struct Waiting {
    embedder: Arc<dyn Embedder>,
    lane: Lane,
    input: Input,
    queued_at: Micros,
    reply: oneshot::Sender<Answer>,
}

impl Scheduler {
    pub(crate) fn spawn(config: &Config) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if config.threads == 0 { cores } else { config.threads };
        let limits = Limits {
            threads,
            query_latency_target_us: config.query_latency_target_ms * 1000,
            import_share_min: config.import_share_min,
            queries_max: config.query_queue_max,
            imports_max: config.import_queue_max,
            import_works_max: IMPORT_WORKS_MAX,
        };
        let state = State {
            schedule: Schedule::new(limits),
            engines: Vec::new(),
            inputs: HashMap::new(),
            tasks: HashMap::new(),
            next_ticket: 0,
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            cpu: Condvar::new(),
            gpu: Condvar::new(),
            began: Instant::now(),
            batch_max: [config.image_batch_max, config.text_batch_max],
            pulse: Pulse::register(NAME, threads + GPU_RUNS_MAX),
        });
        let mut scheduler = Self { handle: Handle(Arc::clone(&shared)), threads: Vec::new() };
        for index in 0..threads + GPU_RUNS_MAX {
            let (place, name) = if index < threads { (Place::Cpu, "cpu") } else { (Place::Gpu, "gpu") };
            let shared = Arc::clone(&shared);
            let body = move || shared.work(place, index);
            scheduler.threads.push(std::thread::Builder::new().name(format!("{NAME}-{name}-{index}")).spawn(body)?);
        }
        Ok(scheduler)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let shared = &self.handle.0;
        shared.lock().is_closed = true;
        shared.cpu.notify_all();
        shared.gpu.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Whoever waits hears that nobody will answer.
        let (inputs, tasks) = {
            let mut state = shared.lock();
            (std::mem::take(&mut state.inputs), std::mem::take(&mut state.tasks))
        };
        drop(inputs);
        tasks.into_values().for_each(|task| task.refuse(WorkError::Stopped { pool: NAME }));
    }
}

impl Handle {
    /// Runs `work` on one of the CPU's threads and waits for what it gives until the context's deadline.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        effort: Effort,
        context: &Context,
        work: impl FnOnce(Turn) -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let (reply, answer) = oneshot::channel();
        self.submit_task(lane, effort, context, Box::new(TypedTask::new(work, reply)))?;
        match tokio::time::timeout_at(context.deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(WorkError::Stopped { pool: NAME }),
            Err(_) => Err(WorkError::DeadlineExceeded { pool: NAME }),
        }
    }

    fn submit_task(&self, lane: Lane, effort: Effort, context: &Context, task: Box<dyn Task>) -> Result<(), WorkError> {
        let (now, deadline) = (self.0.now(), self.0.micros(context.deadline));
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(WorkError::Stopped { pool: NAME });
        }
        if !state.schedule.has_room_for_work(lane) {
            let dropped = state.purge(now);
            if !state.schedule.has_room_for_work(lane) {
                drop(state);
                dropped.answer();
                metrics::counter!("gotham_vision_refused_total", "lane" => lane.as_str()).increment(1);
                return Err(WorkError::Overloaded { pool: NAME });
            }
        }
        let ticket = state.ticket();
        state.tasks.insert(ticket, task);
        state.schedule.submit_work(lane, effort, ticket, deadline, now);
        drop(state);
        self.0.cpu.notify_one();
        Ok(())
    }

    /// Hands the inputs of one message over and returns at once; each is answered by itself. `turn` is that of the work that prepared
    /// them. A dropped receiver gives its input up.
    pub(crate) fn submit(
        &self,
        embedder: &Arc<dyn Embedder>,
        lane: Lane,
        context: &Context,
        inputs: Vec<Input>,
        turn: Option<Turn>,
    ) -> Vec<oneshot::Receiver<Answer>> {
        let (senders, receivers): (Vec<_>, Vec<_>) = inputs.iter().map(|_| oneshot::channel()).unzip();
        if inputs.is_empty() {
            return receivers;
        }
        let (now, deadline) = (self.0.now(), self.0.micros(context.deadline));
        let refuse = |senders: Vec<oneshot::Sender<Answer>>, reason: &str| {
            metrics::counter!("gotham_vision_refused_total", "lane" => lane.as_str()).increment(senders.len() as u64);
            senders.into_iter().for_each(|reply| drop(reply.send(Err(Refusal::Busy(reason.to_owned())))));
        };
        // Asked without the lock: a model may have to look.
        let place = embedder.place();
        let mut state = self.0.lock();
        let Some(model) = state.engine(embedder, place, &self.0.batch_max, now).filter(|_| !state.is_closed) else {
            drop(state);
            refuse(senders, "no model can be taken up");
            return receivers;
        };
        let has_moved = state.schedule.set_place(model, place);
        if !state.schedule.has_room(model, lane, inputs.len()) {
            let dropped = state.purge(now);
            if !state.schedule.has_room(model, lane, inputs.len()) {
                drop(state);
                dropped.answer();
                refuse(senders, "too much work waiting");
                return receivers;
            }
        }
        let mut items = Vec::with_capacity(inputs.len());
        for (input, reply) in inputs.into_iter().zip(senders) {
            let ticket = state.ticket();
            items.push((ticket, units(&input)));
            state.inputs.insert(ticket, Waiting { embedder: Arc::clone(embedder), lane, input, queued_at: now, reply });
        }
        let is_behind_import = turn.is_some_and(|turn| turn.is_behind_import);
        state.schedule.submit(model, lane, &items, deadline, now, is_behind_import);
        drop(state);
        if has_moved {
            self.0.cpu.notify_all();
            self.0.gpu.notify_all();
        }
        self.0.place(place).notify_one();
        receivers
    }

    /// The models that were used, and how they do.
    pub(crate) fn engines(&self) -> Vec<EngineStatus> {
        let now = self.0.now();
        let state = self.0.lock();
        let status = |(at, engine): (usize, &Engine)| {
            let embedder = engine.embedder.upgrade()?;
            let ms = |part: f64| engine.meter.quantile(part).map(|us| us as f64 / 1000.0);
            let (batch_max, out_of_memory) = state.schedule.cap(at, 1);
            let status = EngineStatus {
                model: embedder.info().name.clone(),
                space: engine.space,
                fingerprint: engine.fingerprint.clone(),
                device: String::new(),
                fallback: None,
                memory_bytes: 0,
                batch_max,
                out_of_memory,
                per_second: engine.meter.per_second(now),
                query_p50_ms: ms(0.5),
                query_p99_ms: ms(0.99),
            };
            Some((embedder, status))
        };
        let found: Vec<_> = state.engines.iter().enumerate().filter_map(status).collect();
        drop(state);
        let on_device = |(embedder, status): (Arc<dyn Embedder>, EngineStatus)| {
            let device = embedder.device();
            EngineStatus {
                device: device.name,
                fallback: device.fallback,
                memory_bytes: embedder.memory_bytes(),
                out_of_memory: status.out_of_memory + device.memory_shortages,
                ..status
            }
        };
        found.into_iter().map(on_device).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Micros {
        self.micros(Instant::now())
    }

    fn micros(&self, at: Instant) -> Micros {
        at.saturating_duration_since(self.began).as_micros() as Micros
    }

    fn place(&self, place: Place) -> &Condvar {
        match place {
            Place::Cpu => &self.cpu,
            Place::Gpu => &self.gpu,
        }
    }

    /// The life of a thread.
    fn work(&self, place: Place, index: usize) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = self.now();
            let dropped = state.purge(now);
            let next = if dropped.is_empty() { state.schedule.next(place, now) } else { Next::Wait(Some(now)) };
            match next {
                Next::Wait(until) => {
                    if !dropped.is_empty() {
                        drop(state);
                        dropped.answer();
                        state = self.lock();
                        continue;
                    }
                    let pause = until.map_or(FAR, |until| Duration::from_micros(until.saturating_sub(now)));
                    state = self.place(place).wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
                }
                step => {
                    // Whoever sleeps beside this one may find work, too.
                    if state.schedule.is_waiting(place) {
                        self.place(place).notify_one();
                    }
                    self.pulse.set(index, Some(Instant::now()));
                    state = self.step(state, step, place);
                    self.pulse.set(index, None);
                }
            }
        }
    }
}

impl State {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The number of a model; `None` when there are too many.
    fn engine(&mut self, embedder: &Arc<dyn Embedder>, place: Place, batch_max: &[usize; 2], now: Micros) -> Option<usize> {
        let info = embedder.info();
        let known = self.engines.iter().position(|engine| engine.space == info.space && engine.fingerprint == info.fingerprint);
        if let Some(at) = known {
            if !std::ptr::addr_eq(self.engines[at].embedder.as_ptr(), Arc::as_ptr(embedder)) {
                self.engines[at].embedder = Arc::downgrade(embedder);
            }
            return Some(at);
        }
        let batch_max = batch_max[usize::from(info.space == Space::Text)];
        let unit_max = if info.space == Space::Text { TEXT_UNITS_MAX } else { 1 };
        let limits = ModelLimits { batch_max, units_max: batch_max * unit_max };
        let at = self.schedule.register(place, limits, now)?;
        let engine = Engine {
            fingerprint: info.fingerprint.clone(),
            space: info.space,
            embedder: Arc::downgrade(embedder),
            meter: Meter::default(),
        };
        if at < self.engines.len() {
            self.engines[at] = engine
        } else {
            self.engines.push(engine)
        }
        Some(at)
    }

    /// Takes out what is too late, and what nobody waits for any more.
    fn purge(&mut self, now: Micros) -> Dropped {
        let Self { schedule, inputs, tasks, .. } = self;
        let is_wanted = |ticket: Ticket| {
            inputs.get(&ticket).is_some_and(|input| !input.reply.is_closed()) || tasks.get(&ticket).is_some_and(|task| task.is_wanted())
        };
        schedule.purge(now, &is_wanted);
        let tickets = schedule.take_dropped();
        Dropped {
            inputs: tickets.iter().filter_map(|ticket| inputs.remove(ticket)).collect(),
            tasks: tickets.iter().filter_map(|ticket| tasks.remove(ticket)).collect(),
        }
    }
}

/// What will not be done; to be answered without the lock.
struct Dropped {
    inputs: Vec<Waiting>,
    tasks: Vec<Box<dyn Task>>,
}

impl Dropped {
    fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.tasks.is_empty()
    }

    fn answer(self) {
        for Waiting { lane, reply, .. } in self.inputs {
            metrics::counter!("gotham_vision_dropped_total", "lane" => lane.as_str()).increment(1);
            let _ = reply.send(Err(Refusal::Busy("not done in time".to_owned())));
        }
        self.tasks.into_iter().for_each(|task| task.refuse(WorkError::DeadlineExceeded { pool: NAME }));
    }
}

/// The size of an input: runs of texts take as long as their tokens are many.
fn units(input: &Input) -> usize {
    match input {
        Input::Picture(_) | Input::Scene(_) => 1,
        Input::Text(text) => text.len().div_ceil(TEXT_UNIT_BYTES).clamp(1, TEXT_UNITS_MAX),
    }
}
