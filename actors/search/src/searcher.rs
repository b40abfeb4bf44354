//! The reading half: answers a query from immutable snapshots, on a search thread. Never waits for the indexer.
//!
//! scope (what may be found) -> parts (a ranked list for words, each vector, a colour) -> one list -> arranged (boost, sort, groups,
//! diversity) -> a page of it, with counts over everything found.

mod arrange;
mod missing;
mod parts;
mod scope;

use std::cell::RefCell;
use std::sync::Arc;

use kit::Context;
use protocol::releases::Rules;
use protocol::search::{FACETS_MAX, HITS_MAX, Hit, Part, QueryVector, SORT_KEYS_MAX, SearchAnswer, SearchError, SearchQuery};
use protocol::vision::Space;
use vectors::planner::Effort;

use crate::indexer::gpu::Gpu;
use crate::logic::Slot;
use crate::logic::fuse::{Fused, fuse};
use crate::view::{Keywords, SpaceIndex};
use arrange::{Arranged, arrange};
use parts::Parts;
use scope::Scope;

/// The most products that a query may exclude.
const EXCLUDE_MAX: usize = HITS_MAX;
/// The most vectors in one query.
const QUERY_VECTORS_MAX: usize = 16;

thread_local! {
    /// Vector hits of the last search on this thread, so that searching does not allocate for them.
    static HITS: RefCell<Vec<vectors::index::Hit>> = const { RefCell::new(Vec::new()) };
}

/// The snapshots that one query reads.
pub(crate) struct Snapshots {
    pub(crate) columns: Arc<columns::Snapshot>,
    pub(crate) spaces: [Option<Arc<SpaceIndex>>; Space::ALL.len()],
    pub(crate) keywords: Option<Arc<Keywords>>,
    pub(crate) gpu: Arc<Gpu>,
    /// How thorough vectors are searched.
    pub(crate) effort: Effort,
    /// How parts are weighed.
    pub(crate) rules: Rules,
}

impl Snapshots {
    fn space(&self, space: Space) -> Option<&SpaceIndex> {
        self.spaces[space as usize].as_deref()
    }

    /// Where a product stands in the order of ids, for equal scores.
    fn by_id(&self, a: Slot, b: Slot) -> std::cmp::Ordering {
        self.columns.id(a).cmp(&self.columns.id(b))
    }
}

/// Answers one query.
pub(crate) fn answer(snapshots: &Snapshots, context: &Context, query: &SearchQuery) -> Result<SearchAnswer, SearchError> {
    check(query)?;
    let scope = Scope::new(snapshots, query)?;
    let parts = Parts::find(snapshots, context, query, &scope)?;
    let fused = fuse(&parts.lists, |a, b| snapshots.by_id(a, b));
    let found = Found::new(snapshots, query, &scope, &parts, &fused);
    let arranged = arrange(snapshots, query, fused, &found)?;
    let facets = found.facets(snapshots, query, &scope)?;
    let missing = query.explain_missing.as_ref().map(|id| missing::explain(snapshots, query, &scope, &parts, &arranged, id));
    let page = arranged.hits.iter().skip(query.offset).take(query.limit);
    let hits = page.filter_map(|hit| shown(snapshots, query, &arranged, hit)).collect();
    Ok(SearchAnswer {
        hits,
        total: arranged.total,
        total_is_exact: found.is_exact,
        facets,
        corrected: parts.corrected,
        did_you_mean: parts.did_you_mean,
        missing,
        plans: parts.plans,
        degraded: parts.degraded,
    })
}

fn check(query: &SearchQuery) -> Result<(), SearchError> {
    let counts = [
        (query.exclude.len(), EXCLUDE_MAX),
        (query.vectors.len(), QUERY_VECTORS_MAX),
        (query.facets.len(), FACETS_MAX),
        (query.sort.len(), SORT_KEYS_MAX),
        (query.offset.saturating_add(query.limit), HITS_MAX),
    ];
    if let Some((count, _)) = counts.into_iter().find(|(count, max)| count > max) {
        return Err(SearchError::TooMany(count));
    }
    let is_other = |one: &QueryVector, other: &QueryVector| one.space == other.space && one.fingerprint != other.fingerprint;
    match query.vectors.iter().find(|one| query.vectors.iter().any(|other| is_other(one, other))) {
        Some(vector) => Err(SearchError::TwoModels(vector.space)),
        None => Ok(()),
    }
}

fn shown(snapshots: &Snapshots, query: &SearchQuery, arranged: &Arranged, hit: &Fused) -> Option<Hit> {
    let part = |share: &crate::logic::fuse::Share| Part { name: share.name, rank: share.rank, score: share.score, share: share.share };
    let mut found_by: Vec<&'static str> = Vec::with_capacity(hit.shares.len());
    for share in &hit.shares {
        if !found_by.contains(&share.name) {
            found_by.push(share.name);
        }
    }
    Some(Hit {
        product: snapshots.columns.id(hit.slot)?.clone(),
        score: hit.score,
        found_by,
        parts: if query.explain { hit.shares.iter().map(part).collect() } else { Vec::new() },
        group_size: arranged.group_size(hit.slot),
    })
}

/// Everything that was found, as a set: what is counted, and sorted when not by relevance.
struct Found {
    /// Before the filter, which facets apply by themselves.
    before_filter: Vec<u64>,
    /// What is found.
    set: Vec<u64>,
    is_exact: bool,
}

impl Found {
    fn new(snapshots: &Snapshots, query: &SearchQuery, scope: &Scope, parts: &Parts, fused: &[Fused]) -> Self {
        let is_browsing = query.words.is_none() && query.vectors.is_empty() && query.colour.is_none();
        let mut before_filter = match (&parts.matched, is_browsing) {
            (_, true) => scope.in_base(&snapshots.columns.alive()),
            (Some(matched), _) => scope.in_base(matched),
            (None, _) => Vec::new(),
        };
        let mut set = scope.allowed(&before_filter);
        for hit in fused {
            for words in [&mut before_filter, &mut set] {
                let at = hit.slot as usize / 64;
                if at >= words.len() {
                    words.resize(at + 1, 0);
                }
                words[at] |= 1 << (hit.slot % 64);
            }
        }
        let is_exact = is_browsing || parts.lists.iter().all(|list| list.name == "keyword" || list.found.len() < parts.depth);
        Self { before_filter, set, is_exact }
    }

    fn facets(&self, snapshots: &Snapshots, query: &SearchQuery, scope: &Scope) -> Result<Vec<domain::FacetCounts>, SearchError> {
        if query.facets.is_empty() {
            return Ok(Vec::new());
        }
        let counted = snapshots.columns.facets(&query.facets, &self.before_filter, query.filter.as_ref());
        counted.map_err(|error| scope::unanswerable(scope.facet_pointer(snapshots, query), &error))
    }
}
