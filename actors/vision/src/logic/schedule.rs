//! Which work comes next: shoppers' queries before imports, in batches that keep to a latency target.
//!
//! Plain data: no threads, and the clock, in microseconds, is an argument. [`crate::scheduler`] asks, and acts.
//!
//! There are two places of work. The threads of the CPU prepare inputs (they decode, resize, look up) and run models, one thread a run:
//! together they are no more than the cores. A GPU runs models one after the other; one run more than the one under way may be handed to it.
//!
//! **Order.** Queries first, oldest first. Between a query that is ready to run and its run stands at most one import's run: the
//! one that was under way when it came, or one that was let through; only a query that has missed the target anyway may meet a second one.
//! An import's run takes at most half of the latency target, unless a single input takes longer. On a GPU that has been asked nothing for a
//! while two runs of at most half of that time may be under way together, so that one is sent while the other is computed. Where even that could keep a query from its target, one thread is kept free of imports while queries come.
//! Imports that wait earn a share of the time that queries take, and are let through when they have earned a run.
//!
//! **Batches.** What waits together runs together, as far as measured run times say that it takes at most half of the target. A lone query
//! runs at once; queries wait for one another only where that lowers their mean latency (see [`model`]). A device that runs out of memory
//! halves its batches. A batch that fails is cut in halves until what fails is alone.

mod cap;
mod model;
mod times;
mod types;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use model::{Model, Readiness};
pub use types::{Batch, Effort, Ended, Lane, Limits, Micros, ModelLimits, Next, Outcome, Place, Ticket};

/// Models that are known at the same time.
pub const MODELS_MAX: usize = 64;
/// A thread is kept free of imports for this long after a query.
const RESERVE_US: Micros = 1_000_000;
/// Imports' runs under way together on a GPU.
const GPU_IMPORTS_MAX: usize = 2;
/// Imports save up no more than this many of their steps.
const CREDIT_STEPS_MAX: f64 = 2.0;
/// How fast the mean time of an import's preparation follows the last one.
const WORK_PART: f64 = 0.1;

/// One input that waits for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    ticket: Ticket,
    /// Its size, at least 1.
    units: usize,
    queued_at: Micros,
    deadline: Micros,
    /// What failed runs with no more than this many.
    together_max: usize,
    /// Whether an import's run already stood before it.
    is_behind_import: bool,
}

/// A piece of preparation that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    ticket: Ticket,
    queued_at: Micros,
    deadline: Micros,
    is_behind_import: bool,
}

#[derive(Debug)]
struct Running {
    run: u64,
    place: Place,
    lane: Lane,
    started_at: Micros,
    model: Option<usize>,
    items: Vec<Item>,
    /// An import that went before waiting queries.
    was_let_through: bool,
}

/// Everything that waits and runs.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    models: Vec<Model>,
    glances: VecDeque<Work>,
    query_works: VecDeque<Work>,
    import_works: VecDeque<Work>,
    running: Vec<Running>,
    /// What imports have earned at each place, in microseconds; less than nothing after a run that took longer than expected.
    credit_us: [f64; 2],
    import_work_us: f64,
    gpu_free_at: Micros,
    next_run: u64,
    dropped: Vec<Ticket>,
}

impl Schedule {
    /// With nothing to do.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { threads: limits.threads.max(1), import_share_min: limits.import_share_min.clamp(0.0, 0.5), ..limits },
            models: Vec::new(),
            glances: VecDeque::new(),
            query_works: VecDeque::new(),
            import_works: VecDeque::new(),
            running: Vec::new(),
            credit_us: [0.0; 2],
            import_work_us: 0.0,
            gpu_free_at: 0,
            next_run: 0,
            dropped: Vec::new(),
        }
    }

    /// Takes up a model. When there are too many, the one unused for longest makes room, and its number goes on to the new one; `None`
    /// when all have work.
    pub fn register(&mut self, place: Place, limits: ModelLimits, now: Micros) -> Option<usize> {
        let model = Model::new(place, limits, now);
        if self.models.len() < MODELS_MAX {
            self.models.push(model);
            return Some(self.models.len() - 1);
        }
        let idle = self.models.iter().enumerate().filter(|(_, model)| model.is_idle());
        let (oldest, _) = idle.min_by_key(|(_, model)| model.last_used_at)?;
        self.models[oldest] = model;
        Some(oldest)
    }

    /// Where a model runs from now on. `true` when that is news.
    pub fn set_place(&mut self, model: usize, place: Place) -> bool {
        let model = &mut self.models[model];
        let is_new = model.place != place;
        if is_new {
            model.move_to(place);
        }
        is_new
    }

    /// Inputs of `units` each that may run together now, and how often memory did not suffice.
    pub fn cap(&self, model: usize, units: usize) -> (usize, u64) {
        let Model { cap, limits, .. } = &self.models[model];
        ((cap.units() / units.max(1)).clamp(1, limits.batch_max), cap.halvings())
    }

    /// Whether so many more may wait for a model.
    pub fn has_room(&self, model: usize, lane: Lane, count: usize) -> bool {
        let model = &self.models[model];
        match lane {
            Lane::Query => model.queries.len() + count <= self.limits.queries_max,
            Lane::Import => model.imports.len() + count <= self.limits.imports_max,
        }
    }

    /// Whether another piece of preparation may wait.
    pub fn has_room_for_work(&self, lane: Lane) -> bool {
        match lane {
            Lane::Query => self.glances.len() + self.query_works.len() < self.limits.queries_max,
            Lane::Import => self.import_works.len() < self.limits.import_works_max,
        }
    }

    /// Inputs wait for a model: `(ticket, units)`, all of one message. See [`Schedule::has_room`] first.
    pub fn submit(&mut self, model: usize, lane: Lane, items: &[(Ticket, usize)], deadline: Micros, now: Micros, is_behind_import: bool) {
        let place = self.models[model].place;
        let is_behind_import = lane == Lane::Query && (is_behind_import || self.stands_before(place));
        let model = &mut self.models[model];
        model.last_used_at = now;
        if lane == Lane::Query {
            model.query_arrives(now);
        }
        let item = |&(ticket, units): &(Ticket, usize)| Item {
            ticket,
            units: units.max(1),
            queued_at: now,
            deadline,
            together_max: usize::MAX,
            is_behind_import,
        };
        model.lane(lane).extend(items.iter().map(item));
    }

    /// A piece of preparation waits. See [`Schedule::has_room_for_work`] first.
    pub fn submit_work(&mut self, lane: Lane, effort: Effort, ticket: Ticket, deadline: Micros, now: Micros) {
        let work = Work { ticket, queued_at: now, deadline, is_behind_import: lane == Lane::Query && self.stands_before(Place::Cpu) };
        match (lane, effort) {
            (Lane::Import, _) => self.import_works.push_back(work),
            (Lane::Query, Effort::Glance) => self.glances.push_back(work),
            (Lane::Query, Effort::Heavy) => self.query_works.push_back(work),
        }
    }

    /// Takes out what is too late or no longer wanted; the shell collects it by [`Schedule::take_dropped`].
    pub fn purge(&mut self, now: Micros, is_wanted: &dyn Fn(Ticket) -> bool) {
        let dropped = &mut self.dropped;
        let mut keeps = |ticket: Ticket, deadline: Micros| {
            let keeps = now < deadline && is_wanted(ticket);
            if !keeps {
                dropped.push(ticket);
            }
            keeps
        };
        for works in [&mut self.glances, &mut self.query_works, &mut self.import_works] {
            works.retain(|work| keeps(work.ticket, work.deadline));
        }
        for model in &mut self.models {
            model.queries.retain(|item| keeps(item.ticket, item.deadline));
            model.imports.retain(|item| keeps(item.ticket, item.deadline));
        }
    }

    /// What [`Schedule::purge`] took out since the last call.
    pub fn take_dropped(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.dropped)
    }

    /// What a free thread of a place does next.
    pub fn next(&mut self, place: Place, now: Micros) -> Next {
        if self.is_import_due(place, now)
            && let Some(next) = self.import(place, now, true)
        {
            return next;
        }
        if let Some(next) = self.query(place, now) {
            return next;
        }
        let (most, until) = self.import_runs_max(place, now);
        if self.count(place, Lane::Import) >= most {
            return Next::Wait(until);
        }
        self.import(place, now, false).unwrap_or(Next::Wait(None))
    }

    /// Whether anything waits at a place.
    pub fn is_waiting(&self, place: Place) -> bool {
        let has_works = place == Place::Cpu && !(self.glances.is_empty() && self.query_works.is_empty() && self.import_works.is_empty());
        has_works || self.at(place).any(|(_, model)| !model.queries.is_empty() || !model.imports.is_empty())
    }

    /// What waits in a lane.
    pub fn length(&self, lane: Lane) -> usize {
        let items: usize =
            self.models.iter().map(|model| if lane == Lane::Query { model.queries.len() } else { model.imports.len() }).sum();
        let works = if lane == Lane::Query { self.glances.len() + self.query_works.len() } else { self.import_works.len() };
        items + works
    }

    /// A run has ended.
    pub fn run_done(&mut self, run: u64, outcome: Outcome, now: Micros) -> Ended {
        let Some(Running { model: Some(at), items, lane, started_at, .. }) = self.end(run, now) else { return Ended::default() };
        let model = &mut self.models[at];
        model.running -= 1;
        model.last_used_at = now;
        let units = units(&items);
        let tickets = |items: &[Item]| items.iter().map(|item| item.ticket).collect();
        match outcome {
            Outcome::Done => {
                model.times.record(units, now.saturating_sub(started_at));
                model.cap.grow(units, now);
                return Ended::default();
            }
            Outcome::OutOfMemory => model.cap.halve(units, now),
            Outcome::Failed => {}
        }
        if items.len() <= 1 {
            return Ended { failed: tickets(&items), again: Vec::new() };
        }
        let half = items.len().div_ceil(2);
        let together_max = |item: &Item| if outcome == Outcome::Failed { half } else { item.together_max };
        let again = tickets(&items);
        let queue = model.lane(lane);
        items.into_iter().rev().for_each(|item| queue.push_front(Item { together_max: together_max(&item), ..item }));
        Ended { failed: Vec::new(), again }
    }

    /// A piece of preparation has ended.
    pub fn work_done(&mut self, run: u64, now: Micros) {
        if let Some(Running { lane: Lane::Import, started_at, .. }) = self.end(run, now) {
            self.import_work_us += WORK_PART * (now.saturating_sub(started_at) as f64 - self.import_work_us);
        }
    }

    fn end(&mut self, run: u64, now: Micros) -> Option<Running> {
        let at = self.running.iter().position(|running| running.run == run)?;
        let mut ended = self.running.swap_remove(at);
        // A GPU begins with one when it is done with the other.
        if ended.place == Place::Gpu {
            ended.started_at = ended.started_at.max(self.gpu_free_at);
            self.gpu_free_at = now;
        }
        let took = now.saturating_sub(ended.started_at) as f64;
        let (share, waits) = (self.limits.import_share_min, self.import_step_us(ended.place));
        let target = self.limits.query_latency_target_us as f64;
        let credit = &mut self.credit_us[ended.place as usize];
        match (ended.lane, waits) {
            (Lane::Import, _) if ended.was_let_through => *credit -= took,
            (Lane::Query, Some(step)) => *credit = (*credit + took * share / (1.0 - share)).min(CREDIT_STEPS_MAX * step.max(target)),
            _ => {}
        }
        Some(ended)
    }

    fn at(&self, place: Place) -> impl Iterator<Item = (usize, &Model)> {
        self.models.iter().enumerate().filter(move |(_, model)| model.place == place)
    }

    fn count(&self, place: Place, lane: Lane) -> usize {
        self.running.iter().filter(|running| running.place == place && running.lane == lane).count()
    }

    /// Whether a query that comes now waits for the end of an import's run.
    fn stands_before(&self, place: Place) -> bool {
        let imports = self.count(place, Lane::Import);
        imports > 0 && (place == Place::Gpu || imports + self.count(place, Lane::Query) >= self.limits.threads)
    }

    /// The time of the next step of the imports that wait at a place; `None` when none do.
    fn import_step_us(&self, place: Place) -> Option<f64> {
        let runs = self.at(place).filter(|(_, model)| !model.imports.is_empty());
        let runs = runs.map(|(_, model)| model.shortest_us(Lane::Import).unwrap_or(0.0));
        let works = (place == Place::Cpu && !self.import_works.is_empty()).then_some(self.import_work_us);
        runs.chain(works).max_by(f64::total_cmp)
    }

    /// How many imports may run at a place, and when that changes.
    fn import_runs_max(&self, place: Place, now: Micros) -> (usize, Option<Micros>) {
        if place == Place::Gpu {
            return (GPU_IMPORTS_MAX, None);
        }
        let threads = self.limits.threads;
        let recent = |model: &Model| model.queried_until(now);
        // Models on a GPU count, too: their queries are prepared here.
        let queried = self.models.iter().filter_map(|model| Some((recent(model)?, model)));
        let own = |model: &Model| if model.place == place { model.shortest_us(Lane::Query).unwrap_or(0.0) } else { 0.0 };
        let slowest = queried.map(|(until, model)| (until, own(model))).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
        match (slowest, self.import_step_us(place)) {
            (Some((until, query)), Some(import)) if threads > 1 && query + import > self.limits.query_latency_target_us as f64 => {
                (threads - 1, Some(until))
            }
            _ => (threads, None),
        }
    }

    /// Whether an import goes before the queries that wait.
    fn is_import_due(&self, place: Place, now: Micros) -> bool {
        let Some(step) = self.import_step_us(place) else { return false };
        let credit = self.credit_us[place as usize];
        let in_time = |queued_at: Micros| now.saturating_sub(queued_at) <= self.limits.query_latency_target_us;
        let works = if place == Place::Cpu { [Some(&self.glances), Some(&self.query_works)] } else { [None, None] };
        let mut works = works.into_iter().flatten().flatten();
        let mut items = self.at(place).flat_map(|(_, model)| &model.queries);
        credit > 0.0
            && credit >= step
            && self.count(place, Lane::Import) == 0
            && !works.any(|work| work.is_behind_import && in_time(work.queued_at))
            && !items.any(|item| item.is_behind_import && in_time(item.queued_at))
    }

    fn query(&mut self, place: Place, now: Micros) -> Option<Next> {
        if place == Place::Cpu
            && let Some(work) = self.glances.pop_front()
        {
            return Some(self.start_work(Lane::Query, work, now, false));
        }
        let target = self.limits.query_latency_target_us;
        let waiting = self.at(place).filter_map(|(at, model)| Some((model.queries.front()?.queued_at, at, model.readiness(now, target))));
        let mut waiting: Vec<(Micros, usize, Readiness)> = waiting.collect();
        waiting.sort_unstable_by_key(|(queued_at, at, _)| (*queued_at, *at));
        if let Some((_, at, _)) = waiting.iter().find(|(.., readiness)| *readiness == Readiness::Now) {
            return Some(self.start_run(*at, Lane::Query, target, now, false));
        }
        if place == Place::Cpu
            && let Some(work) = self.query_works.pop_front()
        {
            return Some(self.start_work(Lane::Query, work, now, false));
        }
        // No import starts while queries wait for one another.
        let until = |(_, _, readiness): &(Micros, usize, Readiness)| if let Readiness::At(until) = readiness { Some(*until) } else { None };
        waiting.iter().filter_map(until).min().map(|until| Next::Wait(Some(until)))
    }

    fn import(&mut self, place: Place, now: Micros, is_let_through: bool) -> Option<Next> {
        let waiting = self.at(place).filter_map(|(at, model)| Some((model.imports.front()?.queued_at, at)));
        let oldest = waiting.min().map(|(_, at)| at);
        let has_works = place == Place::Cpu && !self.import_works.is_empty();
        // More preparation first, as long as it can make the next run a larger one.
        let is_full = |at: usize| {
            let model = &self.models[at];
            model.pick(Lane::Import, self.limits.query_latency_target_us).len() < model.imports.len()
        };
        match oldest {
            Some(at) if !has_works || is_full(at) || self.models[at].times.mean(1).is_none() => {
                let target = self.import_target_us(at, now)?;
                Some(self.start_run(at, Lane::Import, target, now, is_let_through))
            }
            _ if has_works => {
                let work = self.import_works.pop_front()?;
                Some(self.start_work(Lane::Import, work, now, is_let_through))
            }
            _ => None,
        }
    }

    /// The latency target, half of which the next import's run of a model may take; `None` where it must wait for the one under way.
    fn import_target_us(&self, at: usize, now: Micros) -> Option<Micros> {
        let (model, target) = (&self.models[at], self.limits.query_latency_target_us);
        if model.place == Place::Cpu {
            return Some(target);
        }
        let is_asked = self.at(Place::Gpu).any(|(_, model)| model.queried_until(now).is_some());
        let overlaps = !is_asked && model.gains_by_overlap(target);
        let mut under = self.running.iter().filter(|running| running.place == Place::Gpu && running.lane == Lane::Import);
        match (under.next(), overlaps) {
            (None, false) => Some(target),
            (None, true) => Some(target / 2),
            (Some(running), true) => {
                let took = self.models[running.model?].times.late(units(&running.items))?;
                let left = target as f64 / 2.0 - took;
                (model.shortest_us(Lane::Import)? <= left).then_some(((2.0 * left) as Micros).min(target / 2))
            }
            (Some(_), false) => None,
        }
    }

    fn start_run(&mut self, at: usize, lane: Lane, target_us: Micros, now: Micros, was_let_through: bool) -> Next {
        let model = &mut self.models[at];
        let picked = model.pick(lane, target_us);
        let items = model.take(lane, &picked);
        model.running += 1;
        let tickets = items.iter().map(|item| item.ticket).collect();
        let place = model.place;
        let run = self.start(Running { run: 0, place, lane, started_at: now, model: Some(at), items, was_let_through });
        Next::Run(Batch { run, model: at, lane, tickets })
    }

    fn start_work(&mut self, lane: Lane, work: Work, now: Micros, was_let_through: bool) -> Next {
        let run = self.start(Running { run: 0, place: Place::Cpu, lane, started_at: now, model: None, items: Vec::new(), was_let_through });
        Next::Work { run, ticket: work.ticket, is_behind_import: work.is_behind_import }
    }

    fn start(&mut self, running: Running) -> u64 {
        let run = self.next_run;
        self.next_run += 1;
        if running.was_let_through {
            let place = running.place;
            self.models
                .iter_mut()
                .filter(|model| model.place == place)
                .flat_map(|model| &mut model.queries)
                .for_each(Item::wait_for_import);
            if place == Place::Cpu {
                self.glances.iter_mut().chain(&mut self.query_works).for_each(|work| work.is_behind_import = true);
            }
        }
        self.running.push(Running { run, ..running });
        run
    }
}

/// The size of a run of these.
fn units(items: &[Item]) -> usize {
    items.len() * items.iter().map(|item| item.units).max().unwrap_or(1)
}

impl Item {
    fn wait_for_import(&mut self) {
        self.is_behind_import = true;
    }
}
