//! The index against the definition, and against everything that can happen to a folder.

mod concurrency;
mod definition;
mod disk;
mod recall;

use std::collections::BTreeMap;

use super::*;
use crate::parallel::Random;
use crate::planner::Effort;

/// What should be in an index.
type Model = BTreeMap<u32, Vec<Vec<f32>>>;

/// Ids are in another order than the owners' numbers.
fn id_of(owner: u32) -> String {
    format!("p{:05}", owner * 7919 % 99_991)
}

fn owner_of(id: &str) -> Option<u32> {
    // 7919 times 29,841 is 1 modulo 99,991.
    let number: u64 = id.strip_prefix('p')?.parse().ok()?;
    Some((number * INVERSE % 99_991) as u32)
}

const INVERSE: u64 = inverse(7919, 99_991);

const fn inverse(value: u64, modulus: u64) -> u64 {
    let mut candidate = 1;
    while value * candidate % modulus != 1 {
        candidate += 1;
    }
    candidate
}

fn options(dimensions: usize, metric: Metric) -> Options {
    Options { tail_rows_max: 256, flat_rows_max: 400, threads: 2, recall_sample: 0, ..Options::new(dimensions, metric, "model") }
}

/// An index in memory.
fn in_memory(options: Options) -> Index {
    Index::open(None, options, &mut owner_of).expect("open").0
}

fn in_folder(folder: &Path, options: Options) -> (Index, OpenReport) {
    Index::open(Some(folder), options, &mut owner_of).expect("open")
}

/// A number that tells these vectors from others.
fn stamp_of(vectors: &[Vec<f32>]) -> u64 {
    vectors.iter().flatten().fold(1 + vectors.len() as u64, |hash, value| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3))
}

fn set(index: &Index, owner: u32, vectors: &[Vec<f32>]) -> bool {
    let slices: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    index.set(owner, &id_of(owner), stamp_of(vectors), &slices).expect("set")
}

/// Runs background work until there is none.
fn settle(index: &Index) {
    for round in 0.. {
        assert!(round < 1000, "background work never ends");
        if index.maintain().expect("maintained") == Maintenance::Idle {
            return;
        }
    }
}

fn find(index: &Index, query: &Query<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let outcome = index.reader().search(query, &mut hits).expect("an answer");
    assert!(!outcome.is_late);
    hits
}

fn query(vector: &[f32], limit: usize, effort: Effort) -> Query<'_> {
    Query { vector, limit, allow: None, exclude: &[], effort, is_late: &|| false }
}

/// Normal numbers around one of a few centres, as embeddings are.
fn clustered(random: &mut Random, dimensions: usize, clusters: u64) -> Vec<f32> {
    let mut centre = Random::new(random.next() % clusters + 1000);
    (0..dimensions).map(|_| 0.6 + centre.normal() + 0.5 * random.normal()).collect()
}

/// Scores by the definition, in f64.
fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f64 {
    let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let (query, vector) = (wide(query), wide(vector));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match metric {
        Metric::Dot => dot(&query, &vector),
        Metric::Cosine => dot(&query, &vector) / (dot(&query, &query) * dot(&vector, &vector)).sqrt(),
        Metric::L2 => -query.iter().zip(&vector).map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
    }
}

/// The score of every owner that may be found, best first.
fn by_definition(model: &Model, metric: Metric, query: &Query<'_>) -> Vec<(u32, f64)> {
    let is_allowed = |owner: u32| query.allow.is_none_or(|allow| crate::owners::contains(allow, owner)) && !query.exclude.contains(&owner);
    let rows = model.iter().filter(|(owner, _)| is_allowed(**owner));
    let best = |vectors: &Vec<Vec<f32>>| vectors.iter().map(|vector| score(metric, query.vector, vector)).fold(f64::MIN, f64::max);
    let mut scored: Vec<(u32, f64)> = rows.map(|(owner, vectors)| (*owner, best(vectors))).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored
}

/// How far a score may be off: 16-bit numbers, and equal scores that are not told apart.
fn tolerance(metric: Metric, query: &[f32], model: &Model) -> f64 {
    let norm = |vector: &[f32]| vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    let longest = model.values().flatten().map(|vector| norm(vector)).fold(1.0, f64::max);
    match metric {
        Metric::Cosine => 3e-5,
        Metric::Dot | Metric::L2 => 5e-5 * longest * (longest + norm(query)),
    }
}

/// Every hit is an owner that may be found, once, in order, with its true score. Gives how many of the true hits were found.
fn check(found: &[Hit], truth: &[(u32, f64)], limit: usize, tolerance: f64) -> usize {
    assert_eq!(found.len(), limit.min(truth.len()), "as many as there are");
    let scores: BTreeMap<u32, f64> = truth.iter().copied().collect();
    let mut seen = std::collections::BTreeSet::new();
    for hit in found {
        let expected = scores.get(&hit.owner).unwrap_or_else(|| panic!("{} may not be found", hit.owner));
        assert!((expected - f64::from(hit.score)).abs() < tolerance, "{}: {} is not {expected}", hit.owner, hit.score);
        assert!(seen.insert(hit.owner), "{} is there twice", hit.owner);
    }
    for pair in found.windows(2) {
        let in_order = pair[0].score > pair[1].score || pair[0].score == pair[1].score && id_of(pair[0].owner) < id_of(pair[1].owner);
        assert!(in_order, "{pair:?} out of order");
    }
    let Some(worst) = truth.get(limit.min(truth.len()).wrapping_sub(1)) else { return 0 };
    found.iter().filter(|hit| f64::from(hit.score) >= worst.1 - tolerance).count()
}
