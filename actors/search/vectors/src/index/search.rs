//! One search over all segments and tails of a snapshot. Nothing is allocated once a thread's buffers have grown.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::best::{Best, Scored, equal_floor};
use super::reader::{Background, Hit, Outcome, Query};
use super::top::TopRows;
use super::unit::{Stored, Unit};
use super::{IndexError, LIMIT_MAX, Shared, Snapshot};
use crate::codes::{Prepared, QueryError};
use crate::kernels::Isa;
use crate::owners::contains;
use crate::planner::{Effort, Facts, ListFacts, Strategy, correlated_probes, filtered_probes, gather_cost, plan};
use crate::segment::{self, Budget};
use crate::tail::{Tail, TailExact, TailScan};

/// Excluded owners up to this number are compared one by one.
const EXCLUDE_LINEAR_MAX: usize = 16;
/// Queries of so many different spaces keep their buffers in a thread.
const PREPARED_MAX: usize = 4;
/// Rows that are asked about between two looks at the clock.
const ROWS_A_LOOK: u32 = 1024;
/// A search looks wider when it found too few owners, because they have several rows each.
const WIDER: usize = 4;
/// Rows of a tail are coded by a projection that does not know them: so many times as many as in a segment are compared exactly.
const TAIL_RERANK: usize = 2;
const TAIL_RERANK_MIN: usize = 48;
/// Up to this many rows of a tail, filtered ones are looked up rather than scanned for.
const TAIL_GATHER_MAX: usize = 512;
/// A place may point to a segment newer than the snapshot; then the snapshot is taken anew.
const SNAPSHOTS_MAX: usize = 8;
/// An exact search among at most so many owners looks them up rather than passing over all rows.
const EXACT_GATHER_MAX: usize = 1024;
/// Rows that a background distribution is made of.
const BACKGROUND_ROWS: usize = 512;

/// A thread's buffers.
#[derive(Default)]
struct Buffers {
    prepared: Vec<Prepared>,
    segment: segment::Scratch,
    top: TopRows,
    scored: Vec<Scored>,
    /// Rows that a filter lets through, for each unit.
    rows: Vec<Vec<u32>>,
    exclude: Vec<u32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

fn with_buffers<T>(run: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with(|buffers| match buffers.try_borrow_mut() {
        Ok(mut buffers) => run(&mut buffers),
        // A search inside `is_late` of another one.
        Err(_) => run(&mut Buffers::default()),
    })
}

/// The clock as a search sees it: asked rarely, and once it was late it stays late.
struct Clock<'a> {
    is_late: &'a dyn Fn() -> bool,
    asked: Cell<u32>,
    late: Cell<bool>,
}

impl Clock<'_> {
    /// Counts a row; looks at the clock now and then.
    #[inline]
    fn tick(&self) -> bool {
        let asked = self.asked.get().wrapping_add(1);
        self.asked.set(asked);
        if asked.is_multiple_of(ROWS_A_LOOK) { self.look() } else { self.late.get() }
    }

    fn look(&self) -> bool {
        if !self.late.get() && (self.is_late)() {
            self.late.set(true);
        }
        self.late.get()
    }
}

/// Which owners may be found.
struct Filter<'a> {
    allow: Option<&'a [u64]>,
    /// Sorted when it is long.
    exclude: &'a [u32],
}

impl Filter<'_> {
    #[inline]
    fn lets(&self, owner: u32) -> bool {
        self.allow.is_none_or(|allow| contains(allow, owner)) && !self.excludes(owner)
    }

    #[inline]
    fn excludes(&self, owner: u32) -> bool {
        if self.exclude.len() <= EXCLUDE_LINEAR_MAX { self.exclude.contains(&owner) } else { self.exclude.binary_search(&owner).is_ok() }
    }
}

pub(super) fn search(shared: &Shared, query: &Query<'_>, hits: &mut Vec<Hit>) -> Result<Outcome, IndexError> {
    hits.clear();
    if query.limit > LIMIT_MAX {
        return Err(IndexError::Limit(query.limit));
    }
    with_buffers(|buffers| {
        let at = ask(shared, &mut buffers.prepared, query.vector)?;
        let clock = Clock { is_late: query.is_late, asked: Cell::new(0), late: Cell::new(false) };
        let mut exclude = std::mem::take(&mut buffers.exclude);
        exclude.clear();
        exclude.extend_from_slice(query.exclude);
        if exclude.len() > EXCLUDE_LINEAR_MAX {
            exclude.sort_unstable();
        }
        let filter = Filter { allow: query.allow, exclude: &exclude };
        let outcome = run(shared, query, &filter, &clock, buffers, at, hits);
        buffers.exclude = exclude;
        if outcome.is_late {
            hits.clear();
        }
        Ok(outcome)
    })
}

/// Makes a query ready and gives its place among the thread's.
fn ask(shared: &Shared, prepared: &mut Vec<Prepared>, vector: &[f32]) -> Result<usize, IndexError> {
    let (metric, dimension) = (shared.options.metric, shared.options.dimensions);
    let at = prepared.iter().position(|found| found.metric() == metric && found.dimension() == dimension).unwrap_or_else(|| {
        if prepared.len() == PREPARED_MAX {
            prepared.remove(0);
        }
        prepared.push(Prepared::new(metric, dimension));
        prepared.len() - 1
    });
    prepared[at].set(vector).map_err(|error| match error {
        QueryError::Dimension { found, expected } => IndexError::Dimensions { expected, found },
        QueryError::NotFinite => IndexError::NotFinite,
    })?;
    Ok(at)
}

fn run(
    shared: &Shared,
    query: &Query<'_>,
    filter: &Filter<'_>,
    clock: &Clock<'_>,
    buffers: &mut Buffers,
    prepared: usize,
    hits: &mut Vec<Hit>,
) -> Outcome {
    let version = shared.version.load(Ordering::Acquire);
    let owners = shared.owners.count();
    let matching = query.allow.map_or(owners, |allow| shared.owners.count_in(allow));
    let mut outcome = Outcome { strategy: Strategy::Gather, matching, is_late: clock.look() };
    if outcome.is_late || query.limit == 0 || matching == 0 {
        return outcome;
    }
    let share = matching as f64 / owners.max(1) as f64;
    let mut snapshot = shared.snapshot.load_full();
    let mut gathers = false;
    let looks_up = || match query.effort {
        Effort::Exact => matching <= EXACT_GATHER_MAX,
        effort => gather_is_cheapest(&snapshot, effort, matching, share),
    };
    if let Some(allow) = query.allow.filter(|_| looks_up()) {
        for _ in 0..SNAPSHOTS_MAX {
            gathers = collect(shared, &snapshot, allow, &mut buffers.rows);
            if gathers {
                break;
            }
            snapshot = shared.snapshot.load_full();
        }
    }
    // Excluded owners that the filter lets through match but are not wanted.
    let is_let =
        |owner: u32| query.allow.is_none_or(|allow| allow.get(owner as usize / 64).is_some_and(|word| word >> (owner % 64) & 1 == 1));
    let excluded = query.exclude.iter().filter(|owner| is_let(**owner) && shared.owners.place(**owner).is_some()).count();
    let wanted = query.limit.min(matching.saturating_sub(excluded));
    // Where owners have several rows each, as many owners take more rows.
    let alive: usize = snapshot.units.iter().map(|unit| unit.rows().saturating_sub(unit.alive().dead())).sum();
    let rows = query.limit * ((alive + owners / 2) / owners.max(1)).clamp(1, WIDER);
    let widest = rows * WIDER * WIDER;
    let mut visit = Visit { snapshot: &snapshot, filter, clock, effort: query.effort, share, gathers, limit: query.limit, rows };
    loop {
        outcome.strategy = visit.all(buffers, prepared, hits);
        outcome.is_late = clock.late.get();
        if visit.gathers && visit.effort == Effort::Exact && shared.version.load(Ordering::Acquire) != version && !outcome.is_late {
            // Rows that were collected may have been replaced since: a pass over all rows meets the new ones.
            visit.gathers = false;
            continue;
        }
        if outcome.is_late || hits.len() >= wanted || visit.effort == Effort::Exact {
            return outcome;
        }
        visit.rows *= WIDER;
        if visit.rows > widest {
            visit.effort = Effort::Exact;
        }
    }
}

/// Whether looking up every owner that the filter lets through costs less than any way through the segments.
fn gather_is_cheapest(snapshot: &Snapshot, effort: Effort, matching: usize, share: f64) -> bool {
    let (mut cost, mut stride) = (0.0, 64);
    for stored in snapshot.segments() {
        stride = stored.segment.projection().stride().max(stride);
        cost += plan(&facts(stored, effort, share)).1;
    }
    for tail in snapshot.tails() {
        cost += tail.len() as f64 * 4.0;
    }
    gather_cost(stride, matching) < cost
}

fn facts(stored: &Stored, effort: Effort, share: f64) -> Facts {
    let segment = &stored.segment;
    let widths = stored.calibration.of(effort);
    let alive = 1.0 - stored.belongings.alive.dead() as f64 / stored.rows().max(1) as f64;
    Facts {
        stride: segment.projection().stride(),
        rows: stored.rows(),
        share: share * alive,
        breadth: widths.graph.map(|width| width.breadth),
        lists: widths.lists.map(|width| ListFacts { count: segment.lists_len(), probes: width.breadth }),
    }
}

/// Collects the rows of every owner that the filter lets through. `false` when one stands in a unit that the snapshot does not have.
fn collect(shared: &Shared, snapshot: &Snapshot, allow: &[u64], rows: &mut Vec<Vec<u32>>) -> bool {
    rows.resize_with(snapshot.units.len().max(rows.len()), Vec::new);
    rows.iter_mut().for_each(Vec::clear);
    let mut last = (0, &snapshot.units[0]);
    for owner in shared.owners.iter_in(allow) {
        let Some(place) = shared.owners.place(owner) else { continue };
        if last.1.number() != place.unit {
            let Some(found) = snapshot.unit(place.unit) else { return false };
            last = found;
        }
        last.1.for_sisters(place.row, |row| rows[last.0].push(row));
    }
    true
}

/// One visit of all segments and tails.
struct Visit<'a> {
    snapshot: &'a Snapshot,
    filter: &'a Filter<'a>,
    clock: &'a Clock<'a>,
    effort: Effort,
    /// Share of the owners that the filter lets through.
    share: f64,
    /// The rows that the filter lets through have been collected.
    gathers: bool,
    /// Owners wanted.
    limit: usize,
    /// Rows asked of each unit: more than owners where these have several.
    rows: usize,
}

impl Visit<'_> {
    /// The way that was taken through the largest unit.
    fn all(&self, buffers: &mut Buffers, prepared: usize, hits: &mut Vec<Hit>) -> Strategy {
        let Buffers { prepared: queries, segment: scratch, top, scored, rows, .. } = buffers;
        let query = &mut queries[prepared];
        let units = &self.snapshot.units;
        let mut best = Best::new(scored, self.limit, |scored: &Scored| units[scored.unit as usize].id(scored.row));
        let mut taken = (0, Strategy::Flat);
        for (at, unit) in units.iter().enumerate() {
            if unit.rows() == 0 {
                continue;
            }
            if self.clock.look() {
                break;
            }
            let strategy = match unit {
                Unit::Segment(stored) => {
                    let strategy = self.segment(stored, query, rows.get(at).map_or(&[], Vec::as_slice), scratch);
                    for hit in &scratch.hits {
                        best.offer(Scored { score: hit.score, owner: unit.owner(hit.row), unit: at as u32, row: hit.row });
                    }
                    strategy
                }
                Unit::Tail(tail) => {
                    let offer = |row: u32, score: f32| best.offer(Scored { score, owner: unit.owner(row), unit: at as u32, row });
                    self.tail(tail, query, rows.get(at).map_or(&[], Vec::as_slice), top, offer)
                }
            };
            if unit.rows() > taken.0 {
                taken = (unit.rows(), strategy);
            }
        }
        hits.clear();
        hits.extend(best.finish().iter().map(|scored| Hit { owner: scored.owner, score: scored.score }));
        taken.1
    }

    /// Leaves a segment's best rows in the scratch.
    fn segment(&self, stored: &Stored, query: &mut Prepared, rows: &[u32], scratch: &mut segment::Scratch) -> Strategy {
        let Stored { segment, belongings, .. } = stored;
        let (filter, clock) = (self.filter, self.clock);
        let counts = |row: u32| !clock.tick() && belongings.alive.contains(row) && filter.lets(belongings.owner(row));
        if self.effort == Effort::Exact && self.gathers {
            let all = rows.len().max(1);
            let budget = Budget { hits: all, breadth: 0, candidates: all, rerank: all, share: 1.0 };
            segment.gather(query, &budget, rows.iter().copied().filter(|row| counts(*row)), scratch);
            return Strategy::Gather;
        }
        if self.effort == Effort::Exact {
            self.exact(stored, query, counts, scratch);
            return Strategy::Exact;
        }
        let widths = stored.calibration.of(self.effort);
        let wanted = self.rows.min(segment.len());
        if self.gathers {
            // Candidates are lean rows here as in a flat scan, which says how many have to be compared exactly.
            let rows = rows.iter().copied().filter(|row| counts(*row));
            segment.gather(query, &widths.flat.budget(wanted, 1.0), rows, scratch);
            return Strategy::Gather;
        }
        let facts = facts(stored, self.effort, self.share);
        match (plan(&facts).0, widths.graph, widths.lists) {
            (Strategy::Graph, Some(width), _) => {
                segment.graph(query, &width.budget(wanted, facts.share as f32), counts, scratch);
                Strategy::Graph
            }
            (Strategy::Lists, _, Some(width)) => {
                self.lists(stored, query, &width.budget(wanted, 1.0), facts.share, counts, scratch);
                Strategy::Lists
            }
            _ => {
                segment.flat(query, &widths.flat.budget(wanted, 1.0), counts, scratch);
                Strategy::Flat
            }
        }
    }

    /// Looks into the nearest lists, and into more when near the query fewer rows are let through than everywhere: then the right
    /// ones lie further away than they would under a filter that has nothing to do with the query.
    fn lists(
        &self,
        stored: &Stored,
        query: &mut Prepared,
        budget: &Budget,
        share: f64,
        counts: impl Fn(u32) -> bool,
        scratch: &mut segment::Scratch,
    ) {
        let lists = ListFacts { count: stored.segment.lists_len(), probes: budget.breadth };
        let mut breadth = filtered_probes(lists, share);
        loop {
            let (asked, counted) = (Cell::new(0u32), Cell::new(0u32));
            let observed = |row: u32| {
                let does_count = counts(row);
                asked.set(asked.get() + 1);
                counted.set(counted.get() + u32::from(does_count));
                does_count
            };
            stored.segment.lists(query, &Budget { breadth, ..*budget }, observed, scratch);
            let here = f64::from(counted.get()) / f64::from(asked.get().max(1));
            let needed = correlated_probes(lists, share, here);
            if needed <= breadth || self.clock.late.get() {
                return;
            }
            breadth = needed.max(2 * breadth).min(lists.count);
        }
    }

    /// The best rows by the definition: as many as it takes for the wanted owners to stand out from the worst row that was kept.
    fn exact(&self, stored: &Stored, query: &mut Prepared, counts: impl Fn(u32) -> bool, scratch: &mut segment::Scratch) {
        let rows = stored.rows();
        let mut kept = (self.limit + 1).min(rows);
        loop {
            stored.segment.exact(query, kept, &counts, scratch);
            let Some(worst) = scratch.hits.last().filter(|_| scratch.hits.len() == kept && kept < rows) else { return };
            let better =
                scratch.hits.iter().take_while(|hit| equal_floor(hit.score) > worst.score).map(|hit| stored.belongings.owner(hit.row));
            if self.clock.late.get() || distinct(better) >= self.limit {
                return;
            }
            kept = (kept * 2 * WIDER).min(rows);
        }
    }

    /// Offers a tail's best rows by their exact scores.
    fn tail(&self, tail: &Tail, query: &mut Prepared, rows: &[u32], top: &mut TopRows, mut offer: impl FnMut(u32, f32)) -> Strategy {
        let (filter, clock) = (self.filter, self.clock);
        let owners = tail.owners();
        let counts = |row: u32| tail.alive.contains(row) && filter.lets(owners[row as usize]);
        let is_late = || clock.look();
        if let Some(projection) = tail.projection() {
            query.project(projection);
        }
        let isa = Isa::best();
        if self.gathers && rows.len() <= TAIL_GATHER_MAX {
            let rows = rows.iter().copied().filter(|row| (*row as usize) < owners.len() && counts(*row));
            isa.run(TailExact { tail, query, rows, is_late: &is_late, each: &mut offer });
            return Strategy::Gather;
        }
        if self.effort == Effort::Exact || tail.projection().is_none() {
            let rows = (0..owners.len() as u32).filter(|row| counts(*row));
            isa.run(TailExact { tail, query, rows, is_late: &is_late, each: &mut offer });
            return Strategy::Exact;
        }
        let rerank = |stored: &Arc<Stored>| stored.calibration.of(self.effort).flat.budget(self.rows, 1.0).rerank;
        let rerank = TAIL_RERANK * self.snapshot.segments().map(rerank).max().unwrap_or(0);
        top.reset(rerank.max(self.rows).max(TAIL_RERANK_MIN));
        if isa.run(TailScan { tail, rows: owners.len(), query, counts, is_late: &is_late, top }) {
            let rows = top.finish().iter().map(|(_, row)| *row);
            isa.run(TailExact { tail, query, rows, is_late: &is_late, each: &mut offer });
        }
        Strategy::Flat
    }
}

fn distinct(owners: impl Iterator<Item = u32>) -> usize {
    let mut owners: Vec<u32> = owners.collect();
    owners.sort_unstable();
    owners.dedup();
    owners.len()
}

/// The distribution of the scores of rows at random places.
pub(super) fn background(shared: &Shared, vector: &[f32]) -> Result<Background, IndexError> {
    with_buffers(|buffers| {
        let at = ask(shared, &mut buffers.prepared, vector)?;
        let snapshot = shared.snapshot.load();
        let all: usize = snapshot.units.iter().map(Unit::rows).sum();
        let (mut sum, mut squares, mut count) = (0.0f64, 0.0f64, 0usize);
        for unit in &snapshot.units {
            let rows = unit.rows();
            let wanted = (BACKGROUND_ROWS * rows).div_ceil(all.max(1)).min(rows);
            // Rows of a segment are sorted by their lists: even steps meet each list by its size.
            let places = (0..wanted).map(|index| (index * rows / wanted.max(1)) as u32).filter(|row| unit.alive().contains(*row));
            let mut each = |score: f32| {
                sum += f64::from(score);
                squares += f64::from(score) * f64::from(score);
                count += 1;
            };
            match unit {
                Unit::Segment(stored) => {
                    let budget = Budget { hits: wanted, breadth: 0, candidates: wanted, rerank: wanted, share: 1.0 };
                    stored.segment.gather(&mut buffers.prepared[at], &budget, places, &mut buffers.segment);
                    buffers.segment.hits.iter().for_each(|hit| each(hit.score));
                }
                Unit::Tail(tail) => {
                    if let Some(projection) = tail.projection() {
                        buffers.prepared[at].project(projection);
                    }
                    let query = &buffers.prepared[at];
                    Isa::best().run(TailExact { tail, query, rows: places, is_late: &|| false, each: |_, score| each(score) });
                }
            }
        }
        let mean = sum / count.max(1) as f64;
        let variance = (squares / count.max(1) as f64 - mean * mean).max(0.0);
        Ok(Background { mean: mean as f32, deviation: variance.sqrt() as f32, rows: count })
    })
}
