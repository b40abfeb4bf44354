//! The recall that is aimed at is reached: through every strategy, with and without filters, in every mix of units.

use super::*;
use crate::planner::Strategy;

const DIMENSIONS: usize = 64;
const ROWS: u32 = 6000;
const QUERIES: u64 = 60;

fn vector(seed: u64) -> Vec<f32> {
    clustered(&mut Random::new(seed), DIMENSIONS, 40)
}

/// A graph segment, flat segments, a tail, and dead rows in all of them.
fn mixed() -> (Index, Model) {
    let options = Options { tail_rows_max: 1500, flat_rows_max: 3500, dead_ratio_max: 0.5, ..options(DIMENSIONS, Metric::Cosine) };
    let (index, mut model) = (in_memory(options), Model::new());
    for owner in 0..ROWS {
        set(&index, owner, &[vector(u64::from(owner))]);
        model.insert(owner, vec![vector(u64::from(owner))]);
        if owner == 4500 {
            settle(&index);
        }
    }
    index.flush().expect("folded");
    for owner in (0..ROWS).step_by(9) {
        index.remove(owner);
        model.remove(&owner);
    }
    for owner in ROWS..ROWS + 700 {
        set(&index, owner, &[vector(u64::from(owner)), vector(u64::from(owner) + 50_000)]);
        model.insert(owner, vec![vector(u64::from(owner)), vector(u64::from(owner) + 50_000)]);
    }
    (index, model)
}

/// Recall over many queries, and the strategies that were taken.
fn recall(index: &Index, model: &Model, effort: Effort, limit: usize, allow: Option<&[u64]>) -> (f64, Vec<Strategy>) {
    let (mut found, mut all, mut taken, mut hits) = (0, 0, Vec::new(), Vec::new());
    for seed in 0..QUERIES {
        let asked = vector(seed + 900_000);
        let query = Query { allow, ..query(&asked, limit, effort) };
        let outcome = index.reader().search(&query, &mut hits).expect("an answer");
        let truth = by_definition(model, Metric::Cosine, &query);
        assert_eq!(outcome.matching, truth.len());
        found += check(&hits, &truth, limit, 3e-5);
        all += limit.min(truth.len());
        if !taken.contains(&outcome.strategy) {
            taken.push(outcome.strategy);
        }
    }
    (if all == 0 { 1.0 } else { found as f64 / all as f64 }, taken)
}

#[test]
fn every_effort_reaches_its_recall_under_every_filter() {
    let (index, model) = mixed();
    let stats = index.stats();
    assert!(
        stats.graph_segments >= 1 && stats.segments > stats.graph_segments && stats.tail_rows > 0 && stats.dead_rows > 300,
        "{stats:?}"
    );
    let mut random = Random::new(4);
    let all: usize = ROWS as usize + 700;
    for share in [1.0, 0.6, 0.3, 0.1, 0.01, 0.001, 0.0] {
        let mut allow = vec![0u64; all.div_ceil(64)];
        (0..all).filter(|_| random.unit() < share).for_each(|owner| allow[owner / 64] |= 1 << (owner % 64));
        for effort in Effort::CALIBRATED {
            for limit in [1, 10, 50] {
                let (reached, taken) = recall(&index, &model, effort, limit, Some(&allow));
                assert!(reached >= effort.recall(), "{share} {effort:?} {limit}: {reached} by {taken:?}");
            }
        }
    }
}

#[test]
fn a_filter_that_is_one_cluster_costs_no_recall() {
    let (index, model) = mixed();
    let centre = vector(1);
    let mut allow = vec![0u64; 200];
    let mut nearest = by_definition(&model, Metric::Cosine, &query(&centre, 1, Effort::Exact));
    for (inside, part) in [(true, 0.1), (false, 0.3)] {
        let count = (nearest.len() as f64 * part) as usize;
        allow.fill(0);
        nearest.iter().take(count).for_each(|(owner, _)| allow[*owner as usize / 64] |= 1 << (owner % 64));
        let (reached, taken) = recall(&index, &model, Effort::Good, 10, Some(&allow));
        assert!(reached >= 0.99, "near {inside}: {reached} by {taken:?}");
        nearest.reverse();
    }
}

#[test]
fn strategies_are_taken_as_planned() {
    let (index, model) = mixed();
    assert_eq!(recall(&index, &model, Effort::Exact, 10, None).1, [Strategy::Exact]);
    let few = vec![1u64 << 1 | 1 << 2];
    assert_eq!(recall(&index, &model, Effort::Good, 10, Some(&few)).1, [Strategy::Gather]);
}

#[test]
fn the_running_recall_is_that_of_the_searches() {
    let options = Options { recall_sample: 1, ..options(DIMENSIONS, Metric::Cosine) };
    let index = in_memory(options);
    (0..2000).for_each(|owner| assert!(set(&index, owner, &[vector(u64::from(owner))])));
    settle(&index);
    let reader = index.reader();
    assert_eq!((reader.recall().checked, reader.recall().ratio), (0, 1.0));
    for seed in 0..5 {
        let asked = vector(seed + 700_000);
        reader.search(&query(&asked, 10, Effort::Good), &mut Vec::new()).expect("an answer");
    }
    settle(&index);
    assert_eq!(reader.recall().checked, 5);
    assert!(reader.recall().ratio > 0.9, "{:?}", reader.recall());
    let asked = vector(1);
    reader.search(&query(&asked, 10, Effort::Good), &mut Vec::new()).expect("an answer");
    index.remove(3);
    settle(&index);
    assert_eq!((reader.recall().checked, reader.recall().skipped), (5, 1), "the index has changed");
}

#[test]
fn the_background_is_the_distribution_of_strangers() {
    let (index, model) = mixed();
    for seed in 0..10 {
        let asked = vector(seed + 800_000);
        let scores: Vec<f64> = model.values().flatten().map(|vector| score(Metric::Cosine, &asked, vector)).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let deviation = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / scores.len() as f64).sqrt();
        let background = index.reader().nearest_background(&asked).expect("a distribution");
        assert!((f64::from(background.mean) - mean).abs() < 0.25 * deviation, "{background:?} {mean} {deviation}");
        assert!((f64::from(background.deviation) / deviation - 1.0).abs() < 0.25, "{background:?} {mean} {deviation}");
    }
    let empty = in_memory(options(4, Metric::Cosine));
    assert_eq!(empty.reader().nearest_background(&[1.0; 4]).expect("none").rows, 0);
}
