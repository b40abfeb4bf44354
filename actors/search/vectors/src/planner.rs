//! Which way through a segment: from the filter's exact count and the calibrated effort to the cheapest strategy that reaches the
//! recall. No strategy loses recall to a filter: each looks at as much more as the filter throws away.

/// How thorough a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// recall@10 of 0.95.
    Fast,
    /// recall@10 of 0.99.
    #[default]
    Good,
    /// recall@10 of 0.999.
    Thorough,
    /// Every row that counts is compared by its exact vector.
    Exact,
}

impl Effort {
    /// The efforts that are calibrated, in the order of `index`.
    pub const CALIBRATED: [Self; 3] = [Self::Fast, Self::Good, Self::Thorough];

    /// The recall@10 that is aimed at.
    #[must_use]
    pub fn recall(self) -> f64 {
        match self {
            Self::Fast => 0.95,
            Self::Good => 0.99,
            Self::Thorough => 0.999,
            Self::Exact => 1.0,
        }
    }

    /// Place in a table of the calibrated efforts; `Exact` has the last one's.
    pub(crate) fn index(self) -> usize {
        (self as usize).min(Self::CALIBRATED.len() - 1)
    }
}

/// The way that was taken through a segment or tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Exact vectors of every row that counts.
    Exact,
    /// 8-bit codes of the rows that the filter lets through, found through their owners.
    Gather,
    /// 1-bit codes of every row.
    Flat,
    /// 1-bit codes of the nearest lists.
    Lists,
    /// A walk over the graph.
    Graph,
}

/// What the planner knows of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Bytes of a lean row.
    pub(crate) stride: usize,
    /// Rows, alive and dead.
    pub(crate) rows: usize,
    /// Share of the rows that count: alive, and let through by the filter (from the owners' exact count).
    pub(crate) share: f64,
    /// Breadth of the walk that reaches the recall without a filter; `None` without a graph.
    pub(crate) breadth: Option<usize>,
    /// The lists that reach the recall without a filter; `None` without lists.
    pub(crate) lists: Option<ListFacts>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ListFacts {
    pub(crate) count: usize,
    pub(crate) probes: usize,
}

/// Nanoseconds of one row, from measurements on one core with AVX-512; only their ratios decide.
mod cost {
    /// A lean row at a random place: a cache miss and the dot product.
    pub(super) fn random_row(stride: usize) -> f64 {
        12.0 + 0.03 * stride as f64
    }

    /// A lean row behind its neighbour.
    pub(super) fn next_row(stride: usize) -> f64 {
        2.0 + 0.016 * stride as f64
    }

    /// A 1-bit row in a block.
    pub(super) fn bit_row(stride: usize) -> f64 {
        0.7 + 0.006 * stride as f64
    }

    /// From an owner's number to its row.
    pub(super) const LOOK_UP: f64 = 5.0;
    /// Rows that a walk looks at for each place in its pool.
    pub(super) const ROWS_A_STEP: f64 = 20.0;
    /// Rows stand in two lists.
    pub(super) const COPIES: f64 = 2.0;
}

/// A walk with a filter looks at as many more rows as the filter throws away; beyond so many steps it loses to every scan.
const STEPS_MAX: f64 = 4096.0;

/// A filter that lets this part of its usual share through near a query has to do with it.
const CORRELATED: f64 = 0.7;

/// The cheapest way through a segment, and what it costs in nanoseconds.
pub(crate) fn plan(facts: &Facts) -> (Strategy, f64) {
    let ways = [(Strategy::Flat, flat_cost(facts)), (Strategy::Lists, lists_cost(facts)), (Strategy::Graph, graph_cost(facts))];
    ways.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(ways[0])
}

/// What it costs to look up `owners` owners and compare their rows, in nanoseconds.
pub(crate) fn gather_cost(stride: usize, owners: usize) -> f64 {
    owners as f64 * (cost::LOOK_UP + cost::random_row(stride))
}

/// Lists to look into under a filter: matching rows lie thinner, so the nearest ones lie further out. The volume grows with the
/// inverse of the share, the number of lists that it meets more slowly.
pub(crate) fn filtered_probes(lists: ListFacts, share: f64) -> usize {
    ((lists.probes as f64 / share.clamp(1e-6, 1.0).sqrt()).ceil() as usize).min(lists.count)
}

/// The same, when `here`, the share of rows near the query that the filter lets through, is known: where it is far smaller than
/// everywhere, filter and query have to do with each other, and the volume has to be met in full.
pub(crate) fn correlated_probes(lists: ListFacts, share: f64, here: f64) -> usize {
    if here > CORRELATED * share {
        return filtered_probes(lists, share);
    }
    ((lists.probes as f64 / here.max(1e-6)).ceil() as usize).clamp(lists.probes.min(lists.count), lists.count)
}

fn flat_cost(facts: &Facts) -> f64 {
    facts.rows as f64 * cost::bit_row(facts.stride)
}

fn lists_cost(facts: &Facts) -> f64 {
    let Some(lists) = facts.lists else { return f64::INFINITY };
    let part = filtered_probes(lists, facts.share) as f64 / lists.count.max(1) as f64;
    lists.count as f64 * cost::next_row(facts.stride) + part * facts.rows as f64 * cost::COPIES * cost::bit_row(facts.stride)
}

fn graph_cost(facts: &Facts) -> f64 {
    let Some(breadth) = facts.breadth else { return f64::INFINITY };
    let steps = breadth as f64 / facts.share.max(1e-9);
    if steps > STEPS_MAX { f64::INFINITY } else { steps * cost::ROWS_A_STEP * cost::random_row(facts.stride) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn facts(rows: usize, share: f64, has_graph: bool) -> Facts {
        let count = (2 * rows.isqrt()).max(1);
        let lists = has_graph.then_some(ListFacts { count, probes: 16.min(count) });
        Facts { stride: 192, rows, share, breadth: has_graph.then_some(64), lists }
    }

    /// The gather is planned for the whole search, the others for each segment.
    fn best(facts: &Facts) -> Strategy {
        let (strategy, cost) = plan(facts);
        let owners = (facts.rows as f64 * facts.share) as usize;
        if gather_cost(facts.stride, owners) < cost { Strategy::Gather } else { strategy }
    }

    #[test]
    fn strategies_by_table() {
        let cases = [
            ("a million, no filter", facts(1_000_000, 1.0, true), Strategy::Graph),
            ("a million, half", facts(1_000_000, 0.5, true), Strategy::Graph),
            ("a million, a tenth", facts(1_000_000, 0.1, true), Strategy::Lists),
            ("a million, a fiftieth", facts(1_000_000, 0.02, true), Strategy::Lists),
            ("a million, a hundredth", facts(1_000_000, 0.01, true), Strategy::Gather),
            ("a million, a thousandth", facts(1_000_000, 0.001, true), Strategy::Gather),
            ("a million, nothing", facts(1_000_000, 0.0, true), Strategy::Gather),
            ("60,000 without a graph", facts(60_000, 1.0, false), Strategy::Flat),
            ("60,000 without a graph, a hundredth", facts(60_000, 0.01, false), Strategy::Gather),
            ("10,000, no filter", facts(10_000, 1.0, false), Strategy::Flat),
            ("10,000, a twentieth", facts(10_000, 0.05, false), Strategy::Gather),
        ];
        for (name, facts, expected) in cases {
            assert_eq!(best(&facts), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_plan_never_needs_what_is_not_there(rows in 1usize..3_000_000, share in 0.0f64..=1.0, has_graph in any::<bool>()) {
            let facts = facts(rows, share, has_graph);
            let (strategy, cost) = plan(&facts);
            prop_assert!(has_graph || strategy == Strategy::Flat);
            prop_assert!(cost <= flat_cost(&facts));
        }

        #[test]
        fn a_narrower_filter_never_probes_fewer_lists(count in 1usize..8192, part in 0.0f64..=1.0, a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
            let lists = ListFacts { count, probes: ((count as f64 * part) as usize).max(1) };
            let (narrow, wide) = (filtered_probes(lists, a.min(b)), filtered_probes(lists, a.max(b)));
            prop_assert!(narrow >= wide && narrow <= count && wide >= 1);
            prop_assert!((1..=count).contains(&correlated_probes(lists, a, b)));
            prop_assert_eq!(correlated_probes(lists, 1.0, 0.0), count);
        }
    }
}
