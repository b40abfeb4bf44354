//! One step of a thread: a run of a model, or a piece of preparation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::task::message_of;
use super::{Answer, Refusal, Shared, State, Turn, Waiting};
use crate::embedder::{self, EmbedError, Embedder, Input};
use crate::logic::schedule::{Batch, Lane, Next, Outcome, Place};

impl Shared {
    /// Does a step without the lock.
    pub(super) fn step<'s>(&'s self, mut state: MutexGuard<'s, State>, step: Next, place: Place) -> MutexGuard<'s, State> {
        match step {
            Next::Run(batch) => self.run(state, &batch, place),
            Next::Work { run, ticket, is_behind_import } => {
                let task = state.tasks.remove(&ticket);
                drop(state);
                if let Some(task) = task {
                    task.run(Turn { is_behind_import });
                }
                let mut state = self.lock();
                state.schedule.work_done(run, self.now());
                state
            }
            Next::Wait(_) => state,
        }
    }

    fn run<'s>(&'s self, mut state: MutexGuard<'s, State>, batch: &Batch, place: Place) -> MutexGuard<'s, State> {
        let waiting: Vec<Waiting> = batch.tickets.iter().filter_map(|ticket| state.inputs.remove(ticket)).collect();
        drop(state);
        let started_at = self.now();
        let (inputs, askers): (Vec<Input>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.input, (waiting.embedder, waiting.queued_at, waiting.reply))).unzip();
        let Some((embedder, ..)) = askers.first() else {
            // Purged between being chosen and being taken: cannot be, for both happen under one lock.
            let mut state = self.lock();
            state.schedule.run_done(batch.run, Outcome::Failed, self.now());
            return state;
        };
        let embedder = Arc::clone(embedder);
        let info = embedder.info();
        for (_, queued_at, _) in &askers {
            let waited = started_at.saturating_sub(*queued_at) as f64 / 1e6;
            metrics::histogram!("gotham_vision_wait_seconds", "lane" => batch.lane.as_str(), "space" => info.space.as_str()).record(waited);
        }
        let result = run(embedder.as_ref(), &inputs, batch.lane, place);
        let now = self.now();
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(Failed::OutOfMemory(_)) => Outcome::OutOfMemory,
            Err(_) => Outcome::Failed,
        };
        // Asked without the lock: a model may have to look.
        let (place, on_device) = (embedder.place(), (embedder.device().fallback.is_some(), embedder.memory_bytes()));
        let mut state = self.lock();
        let ended = state.schedule.run_done(batch.run, outcome, now);
        if state.schedule.set_place(batch.model, place) {
            self.cpu.notify_all();
            self.gpu.notify_all();
        }
        // Not after another model has taken the number over.
        let is_same = state.engines[batch.model].fingerprint == info.fingerprint;
        let meter = &mut state.engines[batch.model].meter;
        if is_same && outcome == Outcome::Done {
            meter.count(now, inputs.len() as u64);
            if batch.lane == Lane::Query {
                askers.iter().for_each(|(_, queued_at, _)| meter.time(now.saturating_sub(*queued_at)));
            }
        }
        note(embedder.as_ref(), &state, batch, on_device);
        if ended.again.is_empty() {
            drop(state);
            let answers = answers(result, askers.len());
            askers.into_iter().zip(answers).for_each(|((.., reply), answer)| drop(reply.send(answer)));
            return self.lock();
        }
        let reason = if outcome == Outcome::OutOfMemory { "out_of_memory" } else { "failed" };
        metrics::counter!("gotham_vision_retries_total", "reason" => reason).increment(1);
        for ((ticket, input), (embedder, queued_at, reply)) in batch.tickets.iter().zip(inputs).zip(askers) {
            state.inputs.insert(*ticket, Waiting { embedder, lane: batch.lane, input, queued_at, reply });
        }
        self.place(place).notify_one();
        state
    }
}

/// Why a run has no result.
enum Failed {
    OutOfMemory(String),
    Engine(String),
    Crashed(String),
}

fn run(embedder: &dyn Embedder, inputs: &[Input], lane: Lane, place: Place) -> Result<Vec<Arc<[f32]>>, Failed> {
    let space = embedder.info().space.as_str();
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| embedder::embed(embedder, inputs)));
    let place = if place == Place::Cpu { "cpu" } else { "gpu" };
    let labels = [("lane", lane.as_str()), ("space", space)];
    metrics::histogram!("gotham_vision_run_seconds", "lane" => lane.as_str(), "space" => space, "place" => place)
        .record(started.elapsed().as_secs_f64());
    metrics::histogram!("gotham_vision_batch_size", &labels).record(inputs.len() as f64);
    metrics::counter!("gotham_vision_runs_total", &labels).increment(1);
    metrics::counter!("gotham_vision_inputs_total", &labels).increment(inputs.len() as u64);
    match result {
        Ok(Ok(vectors)) => Ok(vectors),
        Ok(Err(EmbedError::OutOfMemory(detail))) => Err(Failed::OutOfMemory(detail)),
        Ok(Err(EmbedError::Failed(detail))) => Err(Failed::Engine(detail)),
        Err(panic) => Err(Failed::Crashed(message_of(panic.as_ref()))),
    }
}

fn answers(result: Result<Vec<Arc<[f32]>>, Failed>, count: usize) -> Vec<Answer> {
    let refusal = match result {
        Ok(vectors) => return vectors.into_iter().map(Ok).collect(),
        Err(Failed::OutOfMemory(detail)) => Refusal::Engine(format!("out of memory: {detail}")),
        Err(Failed::Engine(detail)) => Refusal::Engine(detail),
        Err(Failed::Crashed(detail)) => Refusal::Crashed(detail),
    };
    vec![Err(refusal); count]
}

/// The gauges of a model.
fn note(embedder: &dyn Embedder, state: &State, batch: &Batch, (is_fallen_back, memory_bytes): (bool, u64)) {
    let space = embedder.info().space.as_str();
    metrics::gauge!("gotham_vision_batch_cap", "space" => space).set(state.schedule.cap(batch.model, 1).0 as f64);
    metrics::gauge!("gotham_vision_fallback", "space" => space).set(if is_fallen_back { 1.0 } else { 0.0 });
    metrics::gauge!("gotham_vision_device_memory_bytes", "space" => space).set(memory_bytes as f64);
    for lane in [Lane::Query, Lane::Import] {
        metrics::gauge!("gotham_vision_queue_length", "lane" => lane.as_str()).set(state.schedule.length(lane) as f64);
    }
}
