//! The reading half: answers a query from immutable snapshots, on a search thread. Never waits for the indexer.

pub(crate) mod collector;
pub(crate) mod keywords;

use std::collections::HashSet;
use std::sync::Arc;

use kit::Context;
use protocol::search::{HITS_MAX, SearchAnswer, SearchError, SearchQuery};
use protocol::vision::Space;

use crate::logic::fuse::{RankedList, fuse};
use crate::logic::scan::nearest;
use crate::logic::vectors::{SpaceSnapshot, unit};
use keywords::KeywordSnapshot;

/// The most products that a query may exclude.
const EXCLUDE_MAX: usize = HITS_MAX;
/// The most vectors in one query.
const QUERY_VECTORS_MAX: usize = 16;
/// How deep each list is read before several are fused: beyond it a rank adds next to nothing.
const FUSE_DEPTH: usize = 200;

/// The snapshots that one query reads.
pub(crate) struct Snapshots {
    pub(crate) spaces: [Option<Arc<SpaceSnapshot>>; Space::ALL.len()],
    pub(crate) keywords: Option<Arc<KeywordSnapshot>>,
}

impl Snapshots {
    fn space(&self, space: Space) -> Option<&SpaceSnapshot> {
        self.spaces[space as usize].as_deref()
    }
}

/// Answers one query.
pub(crate) fn answer(snapshots: &Snapshots, context: &Context, query: &SearchQuery) -> Result<SearchAnswer, SearchError> {
    let too_many =
        [(query.exclude.len(), EXCLUDE_MAX), (query.vectors.len(), QUERY_VECTORS_MAX)].into_iter().find(|(count, max)| count > max);
    if let Some((count, _)) = too_many {
        return Err(SearchError::TooMany(count));
    }
    let limit = query.limit.min(HITS_MAX);
    let exclude: HashSet<&str> = query.exclude.iter().map(domain::ProductId::as_str).collect();
    let parts = query.vectors.len() + usize::from(query.words.is_some());
    let depth = if parts > 1 && limit > 0 { limit.max(FUSE_DEPTH) } else { limit };
    let mut degraded = Vec::new();
    let mut lists: Vec<RankedList> = Vec::with_capacity(parts);
    if let Some(words) = &query.words {
        match &snapshots.keywords {
            Some(keywords) => {
                lists.push(("keyword", keywords.search(words, depth, &exclude)?));
                if !keywords.is_complete {
                    degraded.push("keyword");
                }
            }
            None => degraded.push("keyword"),
        }
    }
    for (space, vector) in &query.vectors {
        let unit = unit(vector).ok_or(SearchError::NotFinite)?;
        match snapshots.space(*space) {
            Some(snapshot) if snapshot.dimensions == unit.len() => {
                let found = nearest(snapshot, &unit, depth, &exclude, &|| context.is_expired());
                lists.push((space.as_str(), found.ok_or_else(|| SearchError::Busy("the search ran out of time".into()))?));
            }
            Some(snapshot) => return Err(SearchError::Dimensions { space: *space, expected: snapshot.dimensions, got: unit.len() }),
            None if degraded.contains(&space.as_str()) => {}
            None => degraded.push(space.as_str()),
        }
    }
    Ok(SearchAnswer { hits: fuse(lists, limit), degraded })
}

const _: () = assert!(Space::Image as usize == 0 && Space::Text as usize == 1);
