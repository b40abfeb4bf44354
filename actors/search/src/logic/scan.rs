//! Exact nearest neighbours: every row of a snapshot against the query, the best kept in a bounded heap.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use domain::ProductId;

use super::vectors::{CHUNK_ROWS, SpaceSnapshot};

/// Between two looks at the clock so many chunks are read: well under a millisecond.
const CHUNKS_PER_LOOK: usize = 16;

/// A product and how well it fits. The better one is `Less`: higher score, then smaller id.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    score: f32,
    product: &'a ProductId,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.product.cmp(other.product))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

/// The best `limit`, worst on top.
struct Best<'a> {
    heap: BinaryHeap<Candidate<'a>>,
    limit: usize,
    /// Nothing below this score can get in.
    floor: f32,
}

impl<'a> Best<'a> {
    fn offer(&mut self, candidate: Candidate<'a>) {
        if self.heap.len() < self.limit {
            self.heap.push(candidate);
        } else if self.heap.peek().is_some_and(|worst| candidate < *worst) {
            self.heap.pop();
            self.heap.push(candidate);
        }
        if self.heap.len() == self.limit {
            self.floor = self.heap.peek().map_or(f32::NEG_INFINITY, |worst| worst.score);
        }
    }
}

/// The `limit` products nearest to `query` (a unit vector of the snapshot's dimensions), best first with their cosine; equal
/// ones by id. A product counts once, by its best vector. `None` when `is_late` says so on the way.
pub fn nearest(
    snapshot: &SpaceSnapshot,
    query: &[f32],
    limit: usize,
    exclude: &HashSet<&str>,
    is_late: &dyn Fn() -> bool,
) -> Option<Vec<(ProductId, f32)>> {
    if limit == 0 {
        return Some(Vec::new());
    }
    let mut best = Best { heap: BinaryHeap::with_capacity(limit + 1), limit, floor: f32::NEG_INFINITY };
    let mut scores = [0.0; CHUNK_ROWS];
    // A product's rows follow each other: its best one so far waits here until another product's row comes.
    let mut pending: Option<Candidate<'_>> = None;
    for (index, chunk) in snapshot.chunks().iter().enumerate() {
        if index % CHUNKS_PER_LOOK == CHUNKS_PER_LOOK - 1 && is_late() {
            return None;
        }
        let scores = &mut scores[..chunk.values().len() / snapshot.dimensions];
        shaders::dot::dot_rows(query, chunk.values(), snapshot.dimensions, scores);
        for row in chunk.alive() {
            let score = scores[row];
            if score < best.floor {
                continue;
            }
            let candidate = Candidate { score, product: chunk.owner(row) };
            match &mut pending {
                Some(same) if same.product == candidate.product => same.score = same.score.max(score),
                other => {
                    if let Some(done) = other.replace(candidate) {
                        offer(&mut best, done, exclude);
                    }
                }
            }
        }
    }
    if let Some(done) = pending {
        offer(&mut best, done, exclude);
    }
    Some(best.heap.into_sorted_vec().into_iter().map(|candidate| (candidate.product.clone(), candidate.score)).collect())
}

fn offer<'a>(best: &mut Best<'a>, candidate: Candidate<'a>, exclude: &HashSet<&str>) {
    if !exclude.contains(candidate.product.as_str()) {
        best.offer(candidate);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::vectors::{SpaceWriter, unit};
    use super::*;

    const DIM: usize = 19;

    fn id(number: usize) -> ProductId {
        format!("p{number:03}").parse().expect("an id")
    }

    fn find(snapshot: &SpaceSnapshot, query: &[f32], limit: usize, exclude: &HashSet<&str>) -> Vec<(ProductId, f32)> {
        nearest(snapshot, query, limit, exclude, &|| false).expect("in time")
    }

    /// The same by the definition, in f64.
    fn naive(model: &BTreeMap<ProductId, Vec<Vec<f32>>>, query: &[f32], exclude: &HashSet<&str>) -> BTreeMap<ProductId, f64> {
        let dot = |v: &Vec<f32>| v.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let rows = model.iter().filter(|(product, _)| !exclude.contains(product.as_str()));
        rows.map(|(product, vectors)| (product.clone(), vectors.iter().map(dot).fold(f64::MIN, f64::max))).collect()
    }

    fn check(found: &[(ProductId, f32)], expected: &BTreeMap<ProductId, f64>, limit: usize) {
        assert_eq!(found.len(), limit.min(expected.len()));
        let mut best: Vec<f64> = expected.values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        for (rank, (product, score)) in found.iter().enumerate() {
            assert!((expected[product] - f64::from(*score)).abs() < 1e-5, "{product} has another score");
            assert!((best[rank] - f64::from(*score)).abs() < 1e-5, "rank {rank} belongs to a better one");
        }
        for pair in found.windows(2) {
            assert!(pair[0].1 > pair[1].1 || pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0, "{pair:?} out of order");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, Vec<u8>),
        Remove(usize),
        Snapshot,
        Compact,
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..400usize, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(product, seeds)| Step::Set(product, seeds)),
            3 => (0..400usize).prop_map(Step::Remove),
            1 => Just(Step::Snapshot),
            1 => Just(Step::Compact),
            1 => Just(Step::Resume),
        ]
    }

    /// 256 vectors in all, so that equal ones are common.
    fn vector(seed: u8) -> Vec<f32> {
        let mut state = u64::from(seed) + 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32) - 0.5
        };
        unit(&std::iter::repeat_with(next).take(DIM).collect::<Vec<f32>>()).expect("not zero")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn exact_like_the_definition(
            steps in prop::collection::vec(step(), 1..700),
            seed in any::<u8>(),
            limit in 0usize..40,
            excluded in prop::collection::vec(0..400usize, 0..5),
        ) {
            let (mut writer, mut model) = (SpaceWriter::new("m", DIM), BTreeMap::new());
            let mut kept = vec![(writer.snapshot(), model.clone())];
            for step in steps {
                match step {
                    Step::Set(product, seeds) => {
                        let vectors: Vec<_> = seeds.into_iter().map(vector).collect();
                        writer.set(&id(product), &vectors);
                        if vectors.is_empty() { model.remove(&id(product)); } else { model.insert(id(product), vectors); }
                    }
                    Step::Remove(product) => prop_assert_eq!(writer.remove(id(product).as_str()), model.remove(&id(product)).is_some()),
                    Step::Snapshot if kept.len() < 4 => kept.push((writer.snapshot(), model.clone())),
                    Step::Snapshot => {}
                    Step::Compact => { writer.compact_if_due(0.0); }
                    Step::Resume => writer = SpaceWriter::resume(&writer.snapshot()),
                }
            }
            kept.push((writer.snapshot(), model));
            let excluded: Vec<_> = excluded.into_iter().map(id).collect();
            let exclude: HashSet<&str> = excluded.iter().map(ProductId::as_str).collect();
            let query = vector(seed);
            // Snapshots taken on the way still show their own moment.
            for (snapshot, model) in kept {
                prop_assert_eq!(snapshot.products, model.len());
                check(&find(&snapshot, &query, limit, &exclude), &naive(&model, &query, &exclude), limit);
            }
        }
    }

    #[test]
    fn equal_vectors_are_ordered_by_id_wherever_their_rows_stand() {
        let mut writer = SpaceWriter::new("m", DIM);
        for number in (0..CHUNK_ROWS * 2 + 7).rev() {
            writer.set(&id(number), &[vector(number as u8 % 3)]);
        }
        let exclude = HashSet::new();
        let expected: Vec<_> = (0..CHUNK_ROWS * 2 + 7).filter(|number| number % 256 % 3 == 1).map(id).take(50).collect();
        let before = find(&writer.snapshot(), &vector(1), 50, &exclude);
        assert_eq!(before.iter().map(|hit| hit.0.clone()).collect::<Vec<_>>(), expected);
        assert!(before.iter().all(|hit| hit.1.to_bits() == before[0].1.to_bits()));
        for number in 200..CHUNK_ROWS * 2 + 7 {
            writer.remove(id(number).as_str());
        }
        assert!(writer.compact_if_due(0.1));
        assert_eq!(find(&writer.snapshot(), &vector(1), 50, &exclude), before);
    }

    #[test]
    fn a_late_scan_ends() {
        let mut writer = SpaceWriter::new("m", DIM);
        for number in 0..CHUNK_ROWS * CHUNKS_PER_LOOK {
            writer.set(&id(number), &[vector(0)]);
        }
        assert!(nearest(&writer.snapshot(), &vector(0), 1, &HashSet::new(), &|| true).is_none());
    }
}
