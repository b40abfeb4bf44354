//! Consolidation of deletes: a row that pointed at a dead one inherits the dead row's neighbours, and is pruned again
//! (Singh et al., "FreshDiskANN", arXiv 2105.09613, algorithm 4).

use super::build::{BuildParams, Choose, Chooser, Space};
use super::{Graph, NONE};
use crate::kernels::Isa;
use crate::memory::{Buffer, Column};
use crate::parallel::{Random, SharedRows, ShouldStop, for_each_chunk};

/// The graph without edges to or from dead rows. `None` when stopped.
pub(crate) fn repair(
    graph: &Graph,
    codes: &[u8],
    stride: usize,
    params: BuildParams,
    is_alive: &(dyn Fn(u32) -> bool + Sync),
    should_stop: ShouldStop<'_>,
) -> Option<Graph> {
    let rows = codes.len() / stride;
    let degree = graph.degree;
    let space = Space::new(codes, stride);
    let mut neighbours = Buffer::<u32>::zeroed(rows * degree);
    let lines = SharedRows::new(&mut neighbours, degree);
    let start = || (Chooser::default(), Vec::new());
    let complete = for_each_chunk(rows, 256, params.threads, should_stop, start, |(chooser, ids), range| {
        for row in range {
            #[allow(unsafe_code, reason = "every row belongs to one chunk")]
            // SAFETY: every row belongs to one chunk.
            let line = unsafe { lines.row(row) };
            line.fill(NONE);
            let row = row as u32;
            if !is_alive(row) {
                continue;
            }
            inherit(graph, row, is_alive, ids);
            if ids.len() > degree || graph.of(row).any(|id| !is_alive(id)) {
                Isa::best().run(Choose { space: &space, row, ids, degree, alpha: params.alpha, chooser });
                std::mem::swap(ids, &mut chooser.chosen);
            }
            line.iter_mut().zip(ids.iter()).for_each(|(place, id)| *place = *id);
        }
    });
    complete.then(|| Graph { neighbours: neighbours.into(), degree, entries: entries(graph, rows, params.seed, is_alive) })
}

/// The live neighbours of `row`, and those of its dead ones, through as many dead rows as there are in a row.
fn inherit(graph: &Graph, row: u32, is_alive: &dyn Fn(u32) -> bool, ids: &mut Vec<u32>) {
    /// Dead rows looked through for one row: bounds the work where a whole region died.
    const DEAD_MAX: usize = 256;
    ids.clear();
    let (mut dead, mut next) = (Vec::new(), 0);
    let mut take = |id: u32, dead: &mut Vec<u32>| {
        if is_alive(id) {
            if id != row {
                ids.push(id);
            }
        } else if dead.len() < DEAD_MAX && !dead.contains(&id) {
            dead.push(id);
        }
    };
    graph.of(row).for_each(|id| take(id, &mut dead));
    while next < dead.len() {
        let through = dead[next];
        next += 1;
        graph.of(through).for_each(|id| take(id, &mut dead));
    }
    ids.sort_unstable();
    ids.dedup();
}

/// Entry points that are alive: those there were, and random rows for the dead ones.
fn entries(graph: &Graph, rows: usize, seed: u64, is_alive: &dyn Fn(u32) -> bool) -> Column<u32> {
    let mut kept: Vec<u32> = graph.entries.iter().copied().filter(|id| is_alive(*id)).collect();
    let mut random = Random::new(seed);
    for _ in 0..64 * graph.entries.len() {
        if kept.len() >= graph.entries.len() {
            break;
        }
        let row = random.below(rows) as u32;
        if is_alive(row) && !kept.contains(&row) {
            kept.push(row);
        }
    }
    if kept.is_empty() {
        kept.extend((0..rows as u32).find(|row| is_alive(*row)).or(graph.entries.first().copied()));
    }
    Column::from(Buffer::from_slice(&kept))
}
