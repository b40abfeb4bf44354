//! Background work: full tails become segments, small segments become one, segments with many dead rows are written anew.
//!
//! All of it is one step: the rows that are alive in some units become one new segment, which is written to the folder, takes the
//! units' place in the snapshot, and is named by the manifest. Only the exchange holds up a writer, for about a microsecond an owner.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::belongings::Belongings;
use super::ids::Ids;
use super::policy::{Merge, Shape, next_merge};
use super::save::{check, check_some, save, save_missing, write_manifest, write_manifest_held};
use super::unit::{Stored, Unit};
use super::{IndexError, Options, Shared, Snapshot};
use crate::calibration::Calibration;
use crate::owners::Place;
use crate::segment::{self, Built, Segment, SegmentParams};

/// A projection is learned anew when so many times as many rows are built at once as it was learned from.
const OUTGROWN: usize = 4;
/// A projection that was drawn from more rows than this is good enough for segments without a graph.
const PROJECTION_ROWS: usize = 8192;

/// What a call of `maintain` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// There is nothing to do.
    Idle,
    /// Full tails became a segment of so many rows.
    Folded(usize),
    /// Segments became one of so many rows.
    Merged(usize),
    /// What the disk had refused is in the folder now.
    Saved,
    /// Blocks of exact rows were compared with their checksums, or searches with the exact scan.
    Checked,
    /// The end of a `Maintainer` interrupted the work.
    Interrupted,
}

/// Does the most urgent work.
pub(super) fn maintain(shared: &Shared) -> Result<Maintenance, IndexError> {
    match fold_sealed(shared, 0)? {
        Maintenance::Idle => settle_one(shared),
        done => Ok(done),
    }
}

/// Does the most urgent work on segments.
pub(super) fn settle_one(shared: &Shared) -> Result<Maintenance, IndexError> {
    for step in [merge, save_missing, check_some, super::recall::check] {
        match step(shared)? {
            Maintenance::Idle => {}
            done => return Ok(done),
        }
    }
    Ok(Maintenance::Idle)
}

/// Folds the full tails when there are more than `waiting_max`.
pub(super) fn fold_sealed(shared: &Shared, waiting_max: usize) -> Result<Maintenance, IndexError> {
    let _one_at_a_time = locked(&shared.folding);
    let snapshot = shared.snapshot.load_full();
    let mut tails: Vec<Unit> = snapshot.tails().cloned().map(Unit::Tail).collect();
    tails.pop();
    if tails.len() <= waiting_max {
        return Ok(Maintenance::Idle);
    }
    rebuild(shared, &tails, false, Maintenance::Folded)
}

/// Folds everything, also what is in the tail that grows, and writes the manifest.
pub(super) fn flush(shared: &Shared) -> Result<(), IndexError> {
    shared.seal(&mut shared.writer());
    fold_sealed(shared, 0)?;
    save_missing(shared)?;
    write_manifest(shared)
}

fn merge(shared: &Shared) -> Result<Maintenance, IndexError> {
    let _one_at_a_time = locked(&shared.merging);
    let snapshot = shared.snapshot.load_full();
    let segments: Vec<&Arc<Stored>> = snapshot.segments().collect();
    let shape = |stored: &&Arc<Stored>| Shape { rows: stored.rows(), dead: stored.belongings.alive.dead(), has_graph: stored.has_graph() };
    let shapes: Vec<Shape> = segments.iter().map(shape).collect();
    let due = next_merge(&shapes, shared.options.flat_rows_max, shared.options.dead_ratio_max);
    let Some(merge) = due.or_else(|| relearn(&segments, &shapes)) else { return Ok(Maintenance::Idle) };
    let sources: Vec<Unit> = merge.segments.iter().map(|index| Unit::Segment(Arc::clone(segments[*index]))).collect();
    // A damaged row must not get a new checksum.
    for index in &merge.segments {
        if !check(shared, segments[*index], usize::MAX)? {
            return Ok(Maintenance::Checked);
        }
    }
    rebuild(shared, &sources, merge.with_graph, Maintenance::Merged)
}

/// Segments without a graph become one when their projection was learned from a few rows and there are many more now.
fn relearn(segments: &[&Arc<Stored>], shapes: &[Shape]) -> Option<Merge> {
    let flat: Vec<usize> = (0..shapes.len()).filter(|index| !shapes[*index].has_graph).collect();
    let rows: usize = flat.iter().map(|index| shapes[*index].rows - shapes[*index].dead).sum();
    let learned = segments.last()?.projection_rows;
    (learned < PROJECTION_ROWS && is_outgrown(learned, rows)).then_some(Merge { segments: flat, with_graph: false })
}

/// The rows of some units that are alive, in the order in which they are given to a segment.
struct Rows<'a> {
    sources: &'a [Unit],
    dimensions: usize,
    /// (source, row)
    places: Vec<(u32, u32)>,
    owners: Vec<u32>,
    stamps: Vec<u64>,
    ids: Ids,
}

impl<'a> Rows<'a> {
    fn of(sources: &'a [Unit], dimensions: usize) -> Result<Self, IndexError> {
        let mut rows = Self { sources, dimensions, places: Vec::new(), owners: Vec::new(), stamps: Vec::new(), ids: Ids::default() };
        for (source, unit) in sources.iter().enumerate() {
            for row in unit.alive_rows() {
                rows.places.push((source as u32, row));
                rows.owners.push(unit.owner(row));
                rows.stamps.push(unit.stamp(row));
                rows.ids.push(unit.id(row)).map_err(|error| IndexError::Build(error.to_string()))?;
            }
        }
        Ok(rows)
    }
}

impl segment::Rows for Rows<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn read(&self, index: usize, out: &mut [f32]) {
        let (source, row) = self.places[index];
        self.sources[source as usize].vector(row, &mut out[..self.dimensions]);
    }
}

fn rebuild(shared: &Shared, sources: &[Unit], with_graph: bool, done: fn(usize) -> Maintenance) -> Result<Maintenance, IndexError> {
    let number = shared.writer().number();
    let rows = Rows::of(sources, shared.options.dimensions)?;
    let count = rows.places.len();
    let mut built = None;
    if count > 0 {
        built = build(shared, &rows, with_graph, number)?;
        if built.is_none() {
            return Ok(Maintenance::Interrupted);
        }
    }
    // From the new file to the manifest that names it nobody else writes one, and so nobody removes the file.
    let mut saving = locked(&shared.saving);
    let mut refused = None;
    if let (Some(folder), Some((stored, _))) = (&shared.folder, &mut built) {
        match save(folder, &shared.options, stored) {
            Ok(saved) => *stored = saved,
            Err(error) => refused = Some(error),
        }
    }
    exchange(shared, sources, &rows, built);
    saving.is_due = true;
    if let Some(error) = refused {
        return Err(error.into());
    }
    if let Some(folder) = &shared.folder {
        write_manifest_held(shared, folder, &mut saving)?;
    }
    Ok(done(count))
}

/// The new segment and which of the rows each of its rows is; nothing when it was interrupted.
fn build(shared: &Shared, rows: &Rows<'_>, with_graph: bool, number: u32) -> Result<Option<(Stored, Vec<u32>)>, IndexError> {
    let Options { metric, dimensions, threads, graph_degree, .. } = shared.options;
    let mut params = SegmentParams { degree: graph_degree, ..SegmentParams::new(metric, dimensions) };
    if !with_graph {
        (params.degree, params.lists) = (0, 1);
    }
    let should_stop = || shared.stopping.load(Ordering::Acquire);
    let snapshot = shared.snapshot.load_full();
    let newest = snapshot.segments().last();
    // A projection is shared by all segments, so that a query is projected once; it is learned anew when there is much more to learn
    // from.
    let known = newest.filter(|stored| !is_outgrown(stored.projection_rows, rows.places.len()));
    let projection = known.map(|stored| stored.projection());
    let projection_rows = known.map_or(rows.places.len(), |stored| stored.projection_rows);
    let Some(Built { segment, order }) = Segment::build(params, projection, rows, threads, &should_stop) else { return Ok(None) };
    let Some(calibration) = Calibration::measure(&segment, &should_stop) else { return Ok(None) };
    let belongings =
        Belongings::gathered(&rows.owners, &rows.stamps, &rows.ids, &order).map_err(|error| IndexError::Build(error.to_string()))?;
    let belongings = Arc::new(belongings);
    Ok(Some((Stored { number, segment, belongings, calibration, projection_rows, file: None, checked: AtomicUsize::new(0) }, order)))
}

/// Whether a projection that was learned from `learned` rows should be learned anew from `rows`.
fn is_outgrown(learned: usize, rows: usize) -> bool {
    rows >= OUTGROWN * learned
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the new segment in the place of its sources. A row that died while it was built is dead in it too.
fn exchange(shared: &Shared, sources: &[Unit], rows: &Rows<'_>, built: Option<(Stored, Vec<u32>)>) {
    let _writer = shared.writer();
    let snapshot = shared.snapshot.load_full();
    let is_source = |unit: &Unit| sources.iter().any(|source| source.number() == unit.number());
    let mut units: Vec<Unit> = snapshot.units.iter().filter(|unit| !is_source(unit)).cloned().collect();
    if let Some((stored, order)) = built {
        for (row, input) in (0u32..).zip(&order) {
            let (source, source_row) = rows.places[*input as usize];
            if !sources[source as usize].alive().contains(source_row) {
                stored.belongings.alive.kill(row);
            }
        }
        let stored = Arc::new(stored);
        let at = units.iter().position(|unit| matches!(unit, Unit::Tail(_))).unwrap_or(units.len());
        units.insert(at, Unit::Segment(Arc::clone(&stored)));
        // First both stand side by side, so that an owner's place is always that of a unit which a search can see.
        let mut both = units.clone();
        let sources = snapshot.units.iter().filter(|unit| is_source(unit)).cloned();
        both.splice(at..at, sources);
        shared.snapshot.store(Arc::new(Snapshot { units: both }));
        for row in stored.belongings.alive.iter() {
            let owner = stored.belongings.owner(row);
            // Sisters have the same place: the first one's.
            if stored.belongings.sisters(row).all(|sister| sister >= row) {
                shared.owners.relocate(owner, Place { unit: stored.number, row });
            }
        }
    }
    shared.snapshot.store(Arc::new(Snapshot { units }));
}
