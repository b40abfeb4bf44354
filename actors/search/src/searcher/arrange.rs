//! From the fused list to the order that is shown: boost, sort, one of each group, diversity.

use std::collections::HashMap;

use protocol::search::{HITS_MAX, SearchError, SearchQuery};

use super::scope::unanswerable;
use super::{Found, Snapshots};
use crate::logic::Slot;
use crate::logic::diversify::{marginal_relevance, quota};
use crate::logic::fuse::Fused;

/// The hits in their order.
pub(crate) struct Arranged {
    pub(crate) hits: Vec<Fused>,
    /// Products found, or groups where the query groups.
    pub(crate) total: usize,
    group_sizes: Option<HashMap<Slot, usize>>,
}

impl Arranged {
    /// Products of a hit's group.
    pub(crate) fn group_size(&self, slot: Slot) -> Option<usize> {
        self.group_sizes.as_ref().map(|sizes| sizes.get(&slot).copied().unwrap_or(1))
    }
}

pub(crate) fn arrange(snapshots: &Snapshots, query: &SearchQuery, fused: Vec<Fused>, found: &Found) -> Result<Arranged, SearchError> {
    let mut hits = fused;
    if let Some(formula) = &query.boost {
        boost(snapshots, formula, &mut hits)?;
    }
    let is_ranked = query.words.is_some() || !query.vectors.is_empty() || query.colour.is_some();
    if !query.sort.is_empty() || !is_ranked {
        hits = sorted(snapshots, query, hits, found)?;
    }
    let mut total = columns::count(&found.set);
    let mut group_sizes = None;
    if let Some(attribute) = &query.group_by {
        let (groups, sizes) = one_of_each(snapshots, attribute, hits, found)?;
        (hits, total, group_sizes) = (groups, sizes.total, Some(sizes.by_slot));
    }
    if query.diversity.is_some() {
        hits = diversified(snapshots, query, hits)?;
    }
    Ok(Arranged { hits, total, group_sizes })
}

/// The formula's value becomes the score.
fn boost(snapshots: &Snapshots, formula: &str, hits: &mut [Fused]) -> Result<(), SearchError> {
    let invalid = |detail: String| SearchError::Unanswerable { pointer: "/boost".into(), code: "invalid_formula", detail };
    let formula = columns::Formula::parse(formula).map_err(|error| invalid(error.to_string()))?;
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let bound = formula.bind(&snapshots.columns, now_ms).map_err(|error| invalid(error.to_string()))?;
    for hit in hits.iter_mut() {
        // A product without the formula's attributes keeps its score.
        hit.score = bound.value(hit.slot, hit.score).map_or(hit.score, |score| score as f32);
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| snapshots.by_id(a.slot, b.slot)));
    Ok(())
}

/// Everything found by the sort keys; where relevance ranks nothing, by id.
fn sorted(snapshots: &Snapshots, query: &SearchQuery, hits: Vec<Fused>, found: &Found) -> Result<Vec<Fused>, SearchError> {
    let mut known: HashMap<Slot, Fused> = hits.into_iter().map(|hit| (hit.slot, hit)).collect();
    let score = |slot: Slot| known.get(&slot).map_or(0.0, |hit| hit.score);
    let candidates: Vec<(Slot, f32)> = columns::slots(&found.set).map(|slot| (slot, score(slot))).collect();
    let top = snapshots.columns.top(&query.sort, candidates, HITS_MAX).map_err(|error| unanswerable("/sort".into(), &error))?;
    let hit = |(slot, score)| known.remove(&slot).unwrap_or(Fused { slot, score, shares: Vec::new() });
    Ok(top.into_iter().map(hit).collect())
}

struct GroupSizes {
    by_slot: HashMap<Slot, usize>,
    total: usize,
}

/// The first hit of each group, and how many of each were found. A product without the attribute is a group by itself.
fn one_of_each(snapshots: &Snapshots, attribute: &str, hits: Vec<Fused>, found: &Found) -> Result<(Vec<Fused>, GroupSizes), SearchError> {
    let groups = snapshots.columns.values_of(attribute).map_err(|error| unanswerable("/group_by".into(), &error))?;
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    let mut total = 0;
    for slot in columns::slots(&found.set) {
        match groups.of(slot) {
            Some(group) => *sizes.entry(group).or_default() += 1,
            None => total += 1,
        }
    }
    total += sizes.len();
    let mut seen = std::collections::HashSet::new();
    let firsts: Vec<Fused> = hits.into_iter().filter(|hit| groups.of(hit.slot).is_none_or(|group| seen.insert(group))).collect();
    let by_slot = firsts.iter().filter_map(|hit| Some((hit.slot, *sizes.get(&groups.of(hit.slot)?)?))).collect();
    Ok((firsts, GroupSizes { by_slot, total }))
}

fn diversified(snapshots: &Snapshots, query: &SearchQuery, hits: Vec<Fused>) -> Result<Vec<Fused>, SearchError> {
    let Some(diversity) = &query.diversity else { return Ok(hits) };
    let mut order: Vec<usize> = (0..hits.len()).collect();
    if diversity.strength > 0.0 {
        let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
        let embeddings = Embeddings::read(snapshots, &hits);
        order = marginal_relevance(&scores, diversity.strength.min(1.0), |a, b| embeddings.likeness(a, b));
    }
    for (at, (attribute, count_max)) in diversity.quotas.iter().enumerate() {
        let values = snapshots.columns.values_of(attribute);
        let values = values.map_err(|error| unanswerable(format!("/diversity/quotas/{at}"), &error))?;
        order = quota(order, (*count_max).max(1), |index| values.of(hits[index].slot));
    }
    let mut hits: Vec<Option<Fused>> = hits.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| hits[index].take()).collect())
}

/// The hits' own vectors, of the space that knows most of them.
struct Embeddings {
    rows: Vec<Option<Vec<f32>>>,
}

impl Embeddings {
    fn read(snapshots: &Snapshots, hits: &[Fused]) -> Self {
        let of_space = |space: &crate::view::SpaceIndex| -> Vec<Option<Vec<f32>>> {
            hits.iter().take(crate::logic::diversify::DIVERSIFIED_MAX).map(|hit| space.reader.vector(hit.slot)).collect()
        };
        let rows = snapshots.spaces.iter().flatten().map(|space| of_space(space));
        Self { rows: rows.max_by_key(|rows| rows.iter().flatten().count()).unwrap_or_default() }
    }

    fn likeness(&self, a: usize, b: usize) -> f32 {
        match (self.rows.get(a), self.rows.get(b)) {
            (Some(Some(a)), Some(Some(b))) => shaders::dot::dot(a, b),
            _ => 0.0,
        }
    }
}
