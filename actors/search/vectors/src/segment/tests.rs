//! Every strategy against the exact scan, for every metric; sections there and back; bytes that are not a segment.

use proptest::prelude::*;

use super::*;
use crate::codes::Prepared;
use crate::parallel::Random;

/// Rows around a few centres, as embeddings are.
fn clustered(rows: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    let latent = dimension.min(12);
    let mixing: Vec<f32> = (0..latent * dimension).map(|_| random.normal()).collect();
    let centres: Vec<f32> = (0..16 * latent).map(|_| random.normal()).collect();
    (0..rows)
        .map(|_| {
            let centre = random.below(16);
            let point: Vec<f32> = (0..latent).map(|axis| centres[centre * latent + axis] + 0.5 * random.normal()).collect();
            let along =
                |column: usize| point.iter().enumerate().map(|(axis, value)| value * mixing[axis * dimension + column]).sum::<f32>();
            (0..dimension).map(|column| 1.0 + along(column) + 0.1 * random.normal()).collect()
        })
        .collect()
}

fn params(metric: Metric, dimension: usize) -> SegmentParams {
    SegmentParams { degree: 24, build_breadth: 80, entries: 16, ..SegmentParams::new(metric, dimension) }
}

fn built(metric: Metric, rows: &[Vec<f32>]) -> Built {
    let dimension = rows.first().map_or(64, Vec::len);
    Segment::build(params(metric, dimension), None, &rows.to_vec(), 2, &|| false).expect("not stopped")
}

/// The ten best by the definition of the metric, in double precision.
fn truth(metric: Metric, rows: &[Vec<f32>], query: &[f32], allow: impl Fn(usize) -> bool) -> Vec<(f64, usize)> {
    let mut scores: Vec<(f64, usize)> = (0..rows.len())
        .filter(|row| allow(*row))
        .map(|row| {
            let pairs = rows[row].iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let score = match metric {
                Metric::Dot => pairs.map(|(a, b)| a * b).sum(),
                Metric::L2 => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
                Metric::Cosine => pairs.map(|(a, b)| a * b).sum::<f64>() / (norm(&rows[row]) * norm(query)),
            };
            (score, row)
        })
        .collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    scores.truncate(10);
    scores
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

#[test]
fn every_strategy_finds_the_best_under_every_metric() {
    for (metric, dimension) in METRICS.into_iter().flat_map(|metric| [64, 100, 384].map(|dimension| (metric, dimension))) {
        let all = clustered(3040, dimension, 7);
        let (rows, queries) = all.split_at(3000);
        let Built { segment, order } = built(metric, rows);
        assert!(segment.lists_len() > 1 && segment.has_graph());
        let (mut query, mut scratch) = (Prepared::new(metric, dimension), Scratch::new());
        let budget = Budget { hits: 10, breadth: 60, candidates: 600, rerank: 80, share: 1.0 };
        let mut found = [0usize; 5];
        for values in queries {
            query.set(values).expect("a query");
            let truth = truth(metric, rows, values, |_| true);
            for (strategy, found) in found.iter_mut().enumerate() {
                match strategy {
                    0 => segment.exact(&mut query, 10, |_| true, &mut scratch),
                    1 => segment.gather(&mut query, &budget, 0..3000, &mut scratch),
                    2 => segment.flat(&mut query, &budget, |_| true, &mut scratch),
                    3 => segment.lists(&mut query, &budget, |_| true, &mut scratch),
                    _ => segment.graph(&mut query, &budget, |_| true, &mut scratch),
                }
                assert_eq!(scratch.hits.len(), 10);
                assert!(scratch.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
                let tolerance = 1e-4 * truth[0].0.abs().max(truth[9].0.abs()).max(1.0);
                for hit in &scratch.hits {
                    let row = order[hit.row as usize] as usize;
                    *found += usize::from(f64::from(hit.score) >= truth[9].0 - tolerance);
                    if let Some((score, _)) = truth.iter().find(|(_, other)| *other == row) {
                        assert!((score - f64::from(hit.score)).abs() <= tolerance, "{metric:?} {score} {}", hit.score);
                    }
                }
            }
        }
        // The exact scan finds all; the others may miss a little, by the definition of their effort.
        assert_eq!(found[0], 400, "{metric:?} {dimension}");
        assert!(found[1..].iter().all(|count| *count >= 392), "{metric:?} {dimension} {found:?}");
    }
}

#[test]
fn filters_let_no_other_row_through_and_lose_no_recall() {
    let all = clustered(4040, 96, 3);
    let (rows, queries) = all.split_at(4000);
    let Built { segment, order } = built(Metric::Cosine, rows);
    let (mut query, mut scratch) = (Prepared::new(Metric::Cosine, 96), Scratch::new());
    for share in [0.005f32, 0.1, 0.5, 0.9] {
        let passes = |row: usize| (row.wrapping_mul(2_654_435_761) >> 7) % 1000 < (share * 1000.0) as usize;
        let allow = |row: u32| passes(order[row as usize] as usize);
        let allowed: Vec<u32> = (0..4000).filter(|row| allow(*row)).collect();
        let budget = Budget { hits: 10, breadth: 60, candidates: 600, rerank: 80, share };
        let mut found = [0usize; 5];
        let mut wanted = 0;
        for values in queries {
            query.set(values).expect("a query");
            let truth = truth(Metric::Cosine, rows, values, passes);
            wanted += truth.len();
            for (strategy, found) in found.iter_mut().enumerate() {
                match strategy {
                    0 => segment.exact(&mut query, 10, allow, &mut scratch),
                    1 => segment.gather(&mut query, &budget, allowed.iter().copied(), &mut scratch),
                    2 => segment.flat(&mut query, &budget, allow, &mut scratch),
                    3 => segment.lists(&mut query, &budget, allow, &mut scratch),
                    _ => segment.graph(&mut query, &budget, allow, &mut scratch),
                }
                assert!(scratch.hits.iter().all(|hit| allow(hit.row)), "{share} {strategy}");
                *found += scratch.hits.iter().filter(|hit| f64::from(hit.score) >= truth[truth.len() - 1].0 - 1e-5).count();
            }
        }
        assert_eq!(found[0], wanted);
        assert!(found[1..].iter().all(|count| *count * 100 >= wanted * 98), "{share} {found:?} of {wanted}");
    }
}

#[test]
fn a_filter_that_shuns_the_query_is_walked_round() {
    let all = clustered(4040, 96, 13);
    let (rows, queries) = all.split_at(4000);
    let Built { segment, order } = built(Metric::Cosine, rows);
    let (mut query, mut scratch) = (Prepared::new(Metric::Cosine, 96), Scratch::new());
    let mut found = 0;
    for values in queries {
        query.set(values).expect("a query");
        segment.exact(&mut query, 400, |_| true, &mut scratch);
        let near: std::collections::HashSet<u32> = scratch.hits.iter().map(|hit| hit.row).collect();
        let allow = |row: u32| !near.contains(&row);
        segment.graph(&mut query, &Budget { hits: 10, breadth: 60, candidates: 0, rerank: 80, share: 0.9 }, allow, &mut scratch);
        let far: std::collections::HashSet<usize> = (0..4000).filter(|row| allow(*row)).map(|row| order[row as usize] as usize).collect();
        let least = truth(Metric::Cosine, rows, values, |row| far.contains(&row))[9].0;
        assert!(scratch.hits.iter().all(|hit| allow(hit.row)));
        found += scratch.hits.iter().filter(|hit| f64::from(hit.score) >= least - 1e-5).count();
    }
    assert!(found >= 380, "{found} of 400");
}

fn owned(segment: &Segment) -> Vec<(SectionKind, Column<u8>)> {
    segment.sections().into_iter().map(|(kind, bytes)| (kind, Column::from(crate::memory::Buffer::from_slice(bytes)))).collect()
}

fn ask(segment: &Segment, values: &[f32]) -> Vec<Vec<Hit>> {
    let (mut query, mut scratch) = (Prepared::new(segment.meta().params.metric, values.len()), Scratch::new());
    query.set(values).expect("a query");
    let budget = Budget { hits: 10, breadth: 20, candidates: 100, rerank: 30, share: 1.0 };
    (0..6)
        .map(|strategy| {
            match strategy {
                0 => segment.exact(&mut query, 10, |_| true, &mut scratch),
                1 => segment.gather(&mut query, &budget, (0..1 << 20).step_by(3), &mut scratch),
                2 => segment.flat(&mut query, &budget, |_| true, &mut scratch),
                3 => segment.lists(&mut query, &budget, |_| true, &mut scratch),
                4 => segment.graph(&mut query, &budget, |_| true, &mut scratch),
                _ => segment.graph(&mut query, &Budget { share: 0.3, ..budget }, |row| row % 3 == 0, &mut scratch),
            }
            scratch.hits.clone()
        })
        .collect()
}

#[test]
fn sections_bring_back_the_same_segment() {
    let rows = clustered(1500, 130, 5);
    let Built { segment, order } = built(Metric::L2, &rows);
    let meta: Meta = serde_json::from_str(&serde_json::to_string(segment.meta()).expect("written")).expect("read");
    let back = Segment::from_sections(meta, &owned(&segment), std::slice::from_ref(segment.projection())).expect("a segment");
    assert!(Arc::ptr_eq(back.projection(), segment.projection()), "an equal projection is shared");
    assert_eq!(ask(&back, &rows[0]), ask(&segment, &rows[0]));
    assert_eq!(back.bytes(), segment.bytes());
    let mut vector = vec![0f32; 130];
    back.read(17, &mut vector);
    let original = &rows[order[17] as usize];
    assert!(vector.iter().zip(original).all(|(a, b)| (a - b).abs() < 1e-3), "{vector:?}");
}

#[test]
fn small_and_odd_segments_answer() {
    for (count, dimension) in [(0, 64), (1, 1), (2, 3), (31, 64), (33, 65), (150, 2048)] {
        let rows = clustered(count, dimension, 11);
        let params = params(Metric::Cosine, dimension);
        let Built { segment, order } = Segment::build(params, None, &rows, 2, &|| false).expect("not stopped");
        assert_eq!((segment.len(), order.len()), (count, count));
        for hits in ask(&segment, &vec![0.5; dimension]) {
            assert!(hits.len() <= count.min(10));
            assert!(hits.iter().all(|hit| (hit.row as usize) < count));
        }
        assert_eq!(ask(&segment, &vec![0.5; dimension])[0].len(), count.min(10));
        Segment::from_sections(segment.meta().clone(), &owned(&segment), &[]).expect("a segment");
    }
}

#[test]
fn equal_and_zero_rows_are_rows_like_any_other() {
    for metric in METRICS {
        let mut rows = vec![vec![1f32; 64]; 300];
        rows.extend(vec![vec![0f32; 64]; 300]);
        let segment = built(metric, &rows).segment;
        for hits in ask(&segment, &[1f32; 64]) {
            assert!(hits.iter().all(|hit| hit.score.is_finite()), "{metric:?} {hits:?}");
        }
        assert_eq!(ask(&segment, &[1f32; 64])[0].len(), 10);
    }
}

#[test]
fn a_stopped_build_gives_nothing() {
    let rows = clustered(2000, 64, 1);
    for limit in [0, 1, 20, 60] {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= limit;
        assert!(Segment::build(params(Metric::Cosine, 64), None, &rows, 2, &stop).is_none(), "{limit}");
    }
}

#[test]
fn a_repaired_graph_leads_round_the_dead_and_keeps_recall() {
    let all = clustered(3040, 96, 9);
    let (rows, queries) = all.split_at(3000);
    let Built { segment, order } = built(Metric::Cosine, rows);
    let is_alive = |row: u32| !row.is_multiple_of(5);
    let repaired = segment.repair(&is_alive, 2, &|| false).expect("not stopped");
    let graph = repaired.graph.as_ref().expect("a graph");
    assert!(graph.is_valid(3000));
    for row in 0..3000 {
        assert!(graph.of(row).all(is_alive), "an edge to a dead row");
        assert!(is_alive(row) || graph.of(row).next().is_none(), "an edge from a dead row");
    }
    let (mut query, mut scratch) = (Prepared::new(Metric::Cosine, 96), Scratch::new());
    let budget = Budget { hits: 10, breadth: 60, candidates: 0, rerank: 80, share: 1.0 };
    let mut found = 0;
    for values in queries {
        query.set(values).expect("a query");
        repaired.graph(&mut query, &budget, is_alive, &mut scratch);
        let alive: std::collections::HashSet<usize> =
            (0..3000).filter(|row| is_alive(*row)).map(|row| order[row as usize] as usize).collect();
        let least = truth(Metric::Cosine, rows, values, |row| alive.contains(&row))[9].0;
        found += scratch.hits.iter().filter(|hit| f64::from(hit.score) >= least - 1e-5).count();
    }
    assert!(found >= 392, "{found} of 400");
    assert!(segment.repair(&|_| false, 1, &|| false).is_some(), "even with nobody left");
    assert!(segment.repair(&is_alive, 1, &|| true).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is done to the bytes, a segment is refused or stays inside its columns.
    #[test]
    fn damaged_sections_are_refused_or_harmless(section in 0usize..12, at in any::<prop::sample::Index>(), value in any::<u32>(), cut in 0usize..3) {
        static SEGMENT: std::sync::OnceLock<Segment> = std::sync::OnceLock::new();
        let segment = SEGMENT.get_or_init(|| built(Metric::Cosine, &clustered(400, 64, 2)).segment);
        let mut sections = owned(segment);
        let mut bytes = sections[section].1.to_vec();
        let words = bytes.len() / 4;
        let place = 4 * at.index(words);
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        bytes.truncate(bytes.len() - 4 * cut.min(words));
        sections[section].1 = Column::from(crate::memory::Buffer::from_slice(&bytes));
        if let Ok(damaged) = Segment::from_sections(segment.meta().clone(), &sections, &[]) {
            for hits in ask(&damaged, &[0.25; 64]) {
                prop_assert!(hits.iter().all(|hit| (hit.row as usize) < damaged.len()));
            }
        }
    }

    /// A header that lies is refused.
    #[test]
    fn headers_that_do_not_fit_are_refused(rows in 0usize..1000, dimension in 0usize..4000, degree in 0usize..200) {
        static SEGMENT: std::sync::OnceLock<Segment> = std::sync::OnceLock::new();
        let segment = SEGMENT.get_or_init(|| built(Metric::Dot, &clustered(200, 70, 2)).segment);
        let mut meta = segment.meta().clone();
        prop_assume!(rows != meta.rows || dimension != meta.params.dimension || degree != meta.params.degree);
        (meta.rows, meta.params.dimension, meta.params.degree) = (rows, dimension, degree);
        prop_assert!(Segment::from_sections(meta, &owned(segment), &[]).is_err());
    }
}
