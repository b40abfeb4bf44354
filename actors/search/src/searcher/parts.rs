//! The parts of a query, each a ranked list: words, vectors, a colour.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Filter;
use kit::Context;
use protocol::search::{HITS_MAX, SearchError, SearchQuery};
use protocol::vision::Space;
use vectors::index::Query;
use vectors::planner::{Effort, Strategy};

use super::scope::Scope;
use super::{HITS, Snapshots};
use crate::indexer::spaces::index_error;
use crate::logic::cutoff::Background;
use crate::logic::fuse::{Found, RankedList};
use crate::logic::{Slot, unit};
use crate::view::SpaceIndex;

/// How deep each list is read before several are fused: beyond it a hit adds next to nothing.
const FUSE_DEPTH: usize = 200;
/// Rows of the background that say something about it.
const BACKGROUND_ROWS_MIN: usize = 30;
/// Distance in OKLab beyond which two colours are not alike: about that of red and orange.
const COLOUR_DISTANCE_MAX: f32 = 0.15;
/// Values of one attribute that are taken for a colour.
const COLOUR_VALUES_MAX: usize = 64;
/// What nearness to a colour counts.
const COLOUR_WEIGHT: f32 = 1.0;

/// What the parts found.
pub(crate) struct Parts {
    pub(crate) lists: Vec<RankedList>,
    /// Every product that has the words.
    pub(crate) matched: Option<Vec<u64>>,
    pub(crate) corrected: Option<String>,
    pub(crate) did_you_mean: Option<String>,
    pub(crate) plans: Vec<String>,
    pub(crate) degraded: Vec<&'static str>,
    /// A list of fewer hits is whole.
    pub(crate) depth: usize,
    /// The cosine below which meaning alone was not believed.
    pub(crate) floor: Option<f32>,
    is_code: bool,
    /// Whether there are products with all of the words.
    has_all_words: bool,
}

impl Parts {
    pub(crate) fn find(snapshots: &Snapshots, context: &Context, query: &SearchQuery, scope: &Scope) -> Result<Self, SearchError> {
        let mut parts = Self {
            lists: Vec::new(),
            matched: None,
            corrected: None,
            did_you_mean: None,
            plans: Vec::new(),
            degraded: Vec::new(),
            depth: depth(query),
            floor: None,
            is_code: false,
            has_all_words: false,
        };
        if let Some(words) = &query.words {
            parts.add_words(snapshots, query, scope, words)?;
        }
        for vector in &query.vectors {
            parts.add_vector(snapshots, context, query, scope, (vector.space, &vector.vector))?;
        }
        if let Some(colour) = query.colour {
            parts.add_colour(snapshots, scope, colour);
        }
        Ok(parts)
    }

    fn add_words(&mut self, snapshots: &Snapshots, query: &SearchQuery, scope: &Scope, words: &str) -> Result<(), SearchError> {
        let Some(keywords) = &snapshots.keywords else {
            self.degraded.push("keyword");
            return Ok(());
        };
        if !keywords.is_complete {
            self.degraded.push("keyword");
        }
        let request = words::Request {
            text: words,
            language: query.language.as_deref(),
            limit: self.depth,
            allow: scope.allow.as_deref(),
            exclude: &scope.exclude,
        };
        let found = keywords.words.search(&request).map_err(|error| SearchError::Index(error.to_string()))?;
        let read = &found.interpretation;
        self.is_code = read.is_code;
        self.corrected = as_read(words, read);
        if found.total == 0 || !read.dropped.is_empty() {
            let other = keywords.words.did_you_mean(words, query.language.as_deref());
            self.did_you_mean =
                other.map_err(|error| SearchError::Index(error.to_string()))?.filter(|other| Some(other) != self.corrected.as_ref());
        }
        // Squared, so that what has the words half as well counts for much less.
        let best = found.hits.first().map_or(1.0, |hit| hit.1).max(f32::MIN_POSITIVE);
        let hits = found.hits.iter().map(|(slot, score)| Found { slot: *slot, score: *score, sureness: (score / best).powi(2) }).collect();
        self.has_all_words = read.dropped.is_empty() && !found.hits.is_empty();
        let rules = &snapshots.rules;
        let weight = if read.dropped.is_empty() { rules.words_weight } else { rules.some_words_weight };
        self.lists.push(RankedList { name: "keyword", weight, found: hits });
        self.matched = Some(found.matched);
        Ok(())
    }

    fn add_vector(
        &mut self,
        snapshots: &Snapshots,
        context: &Context,
        query: &SearchQuery,
        scope: &Scope,
        (space, vector): (Space, &Arc<[f32]>),
    ) -> Result<(), SearchError> {
        let vector = unit(vector).ok_or(SearchError::NotFinite)?;
        let Some(index) = snapshots.space(space) else {
            if !self.degraded.contains(&space.as_str()) {
                self.degraded.push(space.as_str());
            }
            return Ok(());
        };
        if index.dimensions != vector.len() {
            return Err(SearchError::Dimensions { space, expected: index.dimensions, got: vector.len() });
        }
        // Whoever asks for an identifier means that product and nothing of its kind.
        if self.is_code && space == Space::Text {
            return Ok(());
        }
        let background = self.background(query, index, &vector)?;
        let search = Query {
            vector: &vector,
            limit: self.depth,
            allow: scope.allow.as_deref(),
            exclude: &scope.exclude,
            effort: if query.is_exact { Effort::Exact } else { snapshots.effort },
            is_late: &|| context.is_expired(),
        };
        let (outcome, by_gpu, found) = HITS
            .with_borrow_mut(|hits| {
                let by_gpu = snapshots.gpu.search(space, index, &search, hits);
                let outcome = by_gpu.map_or_else(|| index.reader.search(&search, hits), Ok)?;
                let floor = self.floor_of(query, space, &background, hits.first().map_or(0.0, |hit| hit.score));
                let kept = hits.iter().filter(|hit| floor.is_none_or(|floor| hit.score >= floor));
                Ok((
                    outcome,
                    by_gpu.is_some(),
                    kept.map(|hit| Found { slot: hit.owner, score: hit.score, sureness: background.sureness(hit.score) }).collect(),
                ))
            })
            .map_err(index_error)?;
        if outcome.is_late {
            return Err(SearchError::Busy("the search ran out of time".into()));
        }
        self.plans.push(format!("{}:{}", space.as_str(), if by_gpu { "gpu" } else { strategy(outcome.strategy) }));
        let weight = match space {
            Space::Image => snapshots.rules.image_weight,
            Space::Text => snapshots.rules.text_weight,
        };
        self.lists.push(RankedList { name: space.as_str(), weight, found });
        Ok(())
    }

    /// What the query looks like from far away; only where a list is weighed against others, or cut.
    fn background(&self, query: &SearchQuery, index: &SpaceIndex, vector: &[f32]) -> Result<Background, SearchError> {
        let parts = query.vectors.len() + usize::from(query.words.is_some()) + usize::from(query.colour.is_some());
        if parts < 2 && !query.cut_off {
            return Ok(Background { mean: 0.0, deviation: 0.0, is_known: false });
        }
        let seen = index.reader.nearest_background(vector).map_err(index_error)?;
        Ok(Background { mean: seen.mean, deviation: seen.deviation, is_known: seen.rows >= BACKGROUND_ROWS_MIN })
    }

    /// Where meaning alone is no longer believed.
    fn floor_of(&mut self, query: &SearchQuery, space: Space, background: &Background, best: f32) -> Option<f32> {
        if !query.cut_off || space != Space::Text {
            return None;
        }
        let floor = background.floor(self.has_all_words, best);
        self.floor = Some(floor);
        Some(floor)
    }

    fn add_colour(&mut self, snapshots: &Snapshots, scope: &Scope, colour: [u8; 3]) {
        let columns = &snapshots.columns;
        let rgb = u32::from_be_bytes([0, colour[0], colour[1], colour[2]]);
        let mut likeness: HashMap<Slot, f32> = HashMap::new();
        for attribute in columns.colour_attributes() {
            let near = columns.colours_near(attribute, rgb, COLOUR_DISTANCE_MAX, COLOUR_VALUES_MAX).unwrap_or_default();
            for colour in near {
                let is = Filter::In { attribute: attribute.to_owned(), values: vec![colour.value] };
                let likes = 1.0 - colour.distance / COLOUR_DISTANCE_MAX;
                for slot in columns::slots(&columns.evaluate(&is).unwrap_or_default()).filter(|slot| scope.allows(*slot)) {
                    let best = likeness.entry(slot).or_insert(likes);
                    *best = best.max(likes);
                }
            }
        }
        let mut found: Vec<Found> =
            likeness.into_iter().map(|(slot, likeness)| Found { slot, score: likeness, sureness: likeness }).collect();
        found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| snapshots.by_id(a.slot, b.slot)));
        found.truncate(self.depth);
        self.lists.push(RankedList { name: "colour", weight: COLOUR_WEIGHT, found });
    }
}

/// How deep lists are read: what follows looks at more than the page that is shown.
fn depth(query: &SearchQuery) -> usize {
    let wanted = query.offset + query.limit;
    let parts = query.vectors.len() + usize::from(query.words.is_some()) + usize::from(query.colour.is_some());
    let looks_further = !query.facets.is_empty() || !query.sort.is_empty() || query.group_by.is_some() || query.boost.is_some();
    if wanted == 0 && !looks_further {
        0
    } else if looks_further {
        HITS_MAX
    } else if parts > 1 || query.diversity.is_some() {
        wanted.max(FUSE_DEPTH)
    } else {
        wanted
    }
}

/// The words as they were read, where that differs from what was asked.
fn as_read(words: &str, read: &words::Interpretation) -> Option<String> {
    if read.corrections.is_empty() {
        return None;
    }
    let corrected = words.split_whitespace().map(|word| {
        let folded = columns::fold(word);
        read.corrections
            .iter()
            .find(|correction| correction.from == folded)
            .map_or_else(|| word.to_owned(), |correction| correction.to.clone())
    });
    Some(corrected.collect::<Vec<_>>().join(" "))
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Exact => "exact",
        Strategy::Gather => "gather",
        Strategy::Flat => "flat",
        Strategy::Lists => "lists",
        Strategy::Graph => "graph",
    }
}
