//! How much each strategy has to look at in one segment to reach a recall: tried out on rows of the segment itself, once, when it is
//! built, and kept in its file.

use serde::{Deserialize, Serialize};

use crate::codes::Prepared;
use crate::parallel::{Random, ShouldStop};
use crate::planner::Effort;
use crate::segment::{Budget, Scratch, Segment};

/// Rows that are searched for in a segment with a graph, and in one without, where there is little to choose.
const QUERIES: usize = 200;
const FLAT_QUERIES: usize = 100;
/// Hits that are compared.
pub(crate) const HITS: usize = 10;
/// Up to so many rows the truth is the exact scan; above, a flat scan that is wider than any that is tried.
const EXACT_ROWS_MAX: usize = 50_000;
const WIDE: Width = Width { breadth: 0, candidates: 8192, rerank: 512 };
/// The part of the misses allowed by the target that is kept in reserve, for queries that are harder than rows.
const RESERVE: f64 = 0.25;
/// Two scores this close are the same.
const TOLERANCE: f32 = 1e-5;

/// Widths of walks, from the cheapest to the most thorough.
const BREADTHS: [usize; 16] = [10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536];
/// (candidates, rerank) of flat scans.
const SCANS: [(usize, usize); 8] = [(64, 16), (128, 24), (256, 32), (512, 48), (1024, 64), (2048, 128), (4096, 256), (8192, 512)];

/// What a strategy looks at for ten hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Width {
    /// Candidates of a walk, or lists.
    pub(crate) breadth: usize,
    pub(crate) candidates: usize,
    pub(crate) rerank: usize,
}

impl Width {
    /// For `hits` hits: as much more as there are more of them.
    pub(crate) fn budget(&self, hits: usize, share: f32) -> Budget {
        let scaled = |width: usize| (width * hits).div_ceil(HITS).max(width);
        Budget { hits, breadth: scaled(self.breadth), candidates: scaled(self.candidates), rerank: scaled(self.rerank), share }
    }
}

/// Widths for one effort; `None` where no width that was tried reaches the recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Widths {
    pub(crate) flat: Width,
    pub(crate) graph: Option<Width>,
    pub(crate) lists: Option<Width>,
}

/// Widths for every effort, in the order of `Effort::CALIBRATED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    widths: [Widths; Effort::CALIBRATED.len()],
}

impl Calibration {
    pub(crate) fn of(&self, effort: Effort) -> &Widths {
        &self.widths[effort.index()]
    }

    /// Numbers that a file may hold: inside what is tried.
    pub(crate) fn is_sound(&self) -> bool {
        let is_sound = |width: &Width| width.breadth <= 1 << 20 && width.candidates <= 1 << 20 && width.rerank <= 1 << 20;
        self.widths.iter().all(|widths| [Some(widths.flat), widths.graph, widths.lists].iter().flatten().all(is_sound))
    }

    /// Tries out a segment. `None` when stopped.
    pub(crate) fn measure(segment: &Segment, should_stop: ShouldStop<'_>) -> Option<Self> {
        let widest = Widths { flat: WIDE, graph: None, lists: None };
        let mut calibration = Self { widths: [widest; Effort::CALIBRATED.len()] };
        if segment.is_empty() {
            return Some(calibration);
        }
        let mut trial = Trial::new(segment, should_stop)?;
        for (candidates, rerank) in SCANS.into_iter().rev() {
            let width = Width { breadth: 0, candidates, rerank };
            let recall = trial.recall(Way::Flat, width)?;
            calibration.note(recall, |widths| widths.flat = width);
        }
        if segment.has_graph() {
            for breadth in BREADTHS.into_iter().rev() {
                let width = Width { breadth, candidates: 0, rerank: breadth.clamp(16, 96) };
                let recall = trial.recall(Way::Graph, width)?;
                calibration.note(recall, |widths| widths.graph = Some(width));
            }
        }
        if segment.lists_len() > 1 {
            let probes = std::iter::successors(Some(segment.lists_len()), |probes| Some(probes * 3 / 4)).take_while(|probes| *probes > 1);
            for breadth in probes {
                // A scan that misses nothing by its estimates, so that only the lists matter.
                let mut best = 0.0;
                for (widths, effort) in calibration.widths.iter_mut().zip(Effort::CALIBRATED) {
                    let width = Width { breadth, candidates: widths.flat.candidates * 2, rerank: widths.flat.rerank * 3 / 2 };
                    let recall = trial.recall(Way::Lists, width)?;
                    best = recall.max(best);
                    if recall >= aim(effort) {
                        widths.lists = Some(width);
                    }
                }
                if best < aim(Effort::Fast) {
                    break;
                }
            }
        }
        Some(calibration)
    }

    fn note(&mut self, recall: f64, set: impl Fn(&mut Widths)) {
        for (widths, effort) in self.widths.iter_mut().zip(Effort::CALIBRATED) {
            if recall >= aim(effort) {
                set(widths);
            }
        }
    }
}

/// The recall that a width must reach on rows.
fn aim(effort: Effort) -> f64 {
    1.0 - (1.0 - effort.recall()) * (1.0 - RESERVE)
}

#[derive(Clone, Copy)]
enum Way {
    Flat,
    Graph,
    Lists,
}

/// Rows that are searched for, each without itself, and how good a hit has to be.
struct Trial<'a> {
    segment: &'a Segment,
    should_stop: ShouldStop<'a>,
    rows: Vec<u32>,
    vectors: Vec<f32>,
    /// The true hits' worst score, and their number.
    truth: Vec<(f32, usize)>,
    prepared: Prepared,
    scratch: Scratch,
}

impl<'a> Trial<'a> {
    fn new(segment: &'a Segment, should_stop: ShouldStop<'a>) -> Option<Self> {
        let params = &segment.meta().params;
        let rows = Random::new(params.seed ^ 0x5eed).sample(segment.len(), if segment.has_graph() { QUERIES } else { FLAT_QUERIES });
        let mut vectors = vec![0.0; rows.len() * params.dimension];
        for (row, vector) in rows.iter().zip(vectors.chunks_exact_mut(params.dimension)) {
            segment.read(*row, vector);
        }
        let prepared = Prepared::new(params.metric, params.dimension);
        let mut trial = Self { segment, should_stop, rows, vectors, truth: Vec::new(), prepared, scratch: Scratch::new() };
        for at in 0..trial.rows.len() {
            if should_stop() {
                return None;
            }
            let row = trial.ask(at);
            if segment.len() <= EXACT_ROWS_MAX {
                segment.exact(&mut trial.prepared, HITS, |other| other != row, &mut trial.scratch);
            } else {
                segment.flat(&mut trial.prepared, &WIDE.budget(HITS, 1.0), |other| other != row, &mut trial.scratch);
            }
            let hits = &trial.scratch.hits;
            trial.truth.push((hits.last().map_or(f32::INFINITY, |hit| hit.score), hits.len()));
        }
        Some(trial)
    }

    /// Makes query `at` ready and gives its row.
    fn ask(&mut self, at: usize) -> u32 {
        let dimension = self.prepared.dimension();
        // A row of a segment is finite and of its dimension.
        let _ = self.prepared.set(&self.vectors[at * dimension..][..dimension]);
        self.rows[at]
    }

    /// Share of the true hits that are found; `None` when stopped.
    fn recall(&mut self, way: Way, width: Width) -> Option<f64> {
        let budget = width.budget(HITS, 1.0);
        let (mut found, mut all) = (0, 0);
        for at in 0..self.rows.len() {
            if (self.should_stop)() {
                return None;
            }
            let row = self.ask(at);
            let allow = |other: u32| other != row;
            match way {
                Way::Flat => self.segment.flat(&mut self.prepared, &budget, allow, &mut self.scratch),
                Way::Graph => self.segment.graph(&mut self.prepared, &budget, allow, &mut self.scratch),
                Way::Lists => self.segment.lists(&mut self.prepared, &budget, allow, &mut self.scratch),
            }
            let (worst, count) = self.truth[at];
            found += self.scratch.hits.iter().filter(|hit| hit.score >= worst - TOLERANCE).count().min(count);
            all += count;
        }
        Some(if all == 0 { 1.0 } else { found as f64 / all as f64 })
    }
}
