//! The best matches of a keyword query in a fixed order: by score, then by id. Tantivy's own collector breaks ties by place in
//! the index, which changes with every merge.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::StrColumn;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader, TantivyError};

/// Collects the `limit` best, each with its id from the column `id_field`.
pub(crate) struct BestById {
    pub(crate) id_field: &'static str,
    pub(crate) limit: usize,
}

/// A match within one segment: the better one is greater. Ordinals of a segment's ids are in the order of the ids.
#[derive(Clone, Copy, PartialEq)]
struct Match {
    score: Score,
    id_ordinal: u64,
}

impl Eq for Match {}

impl Ord for Match {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.id_ordinal.cmp(&self.id_ordinal))
    }
}

impl PartialOrd for Match {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(crate) struct SegmentBest {
    ids: Option<StrColumn>,
    heap: BinaryHeap<Reverse<Match>>,
    limit: usize,
}

impl Collector for BestById {
    type Fruit = Vec<(String, Score)>;
    type Child = SegmentBest;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<SegmentBest> {
        Ok(SegmentBest {
            ids: segment.fast_fields().str(self.id_field)?,
            heap: BinaryHeap::with_capacity(self.limit + 1),
            limit: self.limit,
        })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<tantivy::Result<Vec<(String, Score)>>>) -> tantivy::Result<Vec<(String, Score)>> {
        let mut found = segments.into_iter().collect::<tantivy::Result<Vec<_>>>()?.concat();
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(self.limit);
        Ok(found)
    }
}

impl SegmentCollector for SegmentBest {
    type Fruit = tantivy::Result<Vec<(String, Score)>>;

    fn collect(&mut self, doc: DocId, score: Score) {
        if self.heap.len() == self.limit && self.heap.peek().is_none_or(|worst| score < worst.0.score) {
            return;
        }
        let Some(id_ordinal) = self.ids.as_ref().and_then(|ids| ids.ords().first(doc)) else { return };
        self.heap.push(Reverse(Match { score, id_ordinal }));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    fn harvest(self) -> Self::Fruit {
        let Some(ids) = self.ids else { return Ok(Vec::new()) };
        let matches = self.heap.into_iter().map(|Reverse(found)| {
            let mut id = String::new();
            ids.ord_to_str(found.id_ordinal, &mut id).map_err(TantivyError::from)?;
            Ok((id, found.score))
        });
        matches.collect()
    }
}
