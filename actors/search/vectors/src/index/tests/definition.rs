//! Whatever happened before: the answer is that of the definition.

use proptest::prelude::*;

use super::*;

const DIMENSIONS: usize = 19;

#[derive(Clone, Debug)]
enum Step {
    Set(u32, Vec<u8>),
    Fill(u32, u32),
    Remove(u32),
    RemoveMany(u32, u32),
    Maintain,
    Settle,
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..900u32, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(owner, seeds)| Step::Set(owner, seeds)),
        2 => (0..900u32, 1..400u32).prop_map(|(first, count)| Step::Fill(first, count)),
        2 => (0..900u32).prop_map(Step::Remove),
        1 => (0..900u32, 1..200u32).prop_map(|(first, count)| Step::RemoveMany(first, count)),
        2 => Just(Step::Maintain),
        1 => Just(Step::Settle),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// 256 vectors in all, so that equal ones are common.
fn vector(seed: u8) -> Vec<f32> {
    clustered(&mut Random::new(u64::from(seed)), DIMENSIONS, 5)
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![Just(Metric::Cosine), Just(Metric::Dot), Just(Metric::L2)]
}

fn filter() -> impl Strategy<Value = Option<Vec<u64>>> {
    let sparse = prop::collection::vec(prop_oneof![4 => Just(0), 1 => any::<u64>()], 0..15);
    prop_oneof![2 => Just(None), 1 => prop::collection::vec(any::<u64>(), 0..15).prop_map(Some), 1 => sparse.prop_map(Some)]
}

/// Sets and remembers.
fn set_both(index: &Index, model: &mut Model, owner: u32, vectors: Vec<Vec<f32>>) {
    set(index, owner, &vectors);
    if vectors.is_empty() {
        model.remove(&owner);
    } else {
        model.insert(owner, vectors);
    }
}

/// After a start: what the folder does not have is set again.
fn heal(index: &Index, model: &Model) {
    let surplus: Vec<u32> = index.owners().filter(|owner| !model.contains_key(owner)).collect();
    surplus.into_iter().for_each(|owner| assert!(index.remove(owner)));
    for (owner, vectors) in model {
        if index.stamp_of(*owner) != Some(stamp_of(vectors)) {
            assert!(set(index, *owner, vectors));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exact_like_the_definition_and_nearly_so_with_less_effort(
        steps in prop::collection::vec(step(), 1..60),
        metric in metric(),
        seed in any::<u8>(),
        limit in 0usize..40,
        allow in filter(),
        exclude in prop::collection::vec(0..900u32, 0..25),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut index, mut model) = (in_folder(folder.path(), options(DIMENSIONS, metric)).0, Model::new());
        for step in steps {
            match step {
                Step::Set(owner, seeds) => set_both(&index, &mut model, owner, seeds.into_iter().map(vector).collect()),
                Step::Fill(first, count) => {
                    (first..first + count).for_each(|owner| set_both(&index, &mut model, owner, vec![vector(owner as u8)]));
                }
                Step::Remove(owner) => prop_assert_eq!(index.remove(owner), model.remove(&owner).is_some()),
                Step::RemoveMany(first, count) => (first..first + count).for_each(|owner| {
                    assert_eq!(index.remove(owner), model.remove(&owner).is_some());
                }),
                Step::Maintain => drop(index.maintain().expect("maintained")),
                Step::Settle => settle(&index),
                Step::Flush => index.flush().expect("flushed"),
                Step::Reopen => {
                    drop(index);
                    index = in_folder(folder.path(), options(DIMENSIONS, metric)).0;
                    heal(&index, &model);
                }
            }
        }
        prop_assert_eq!(index.owners().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
        let stats = index.stats();
        prop_assert_eq!((stats.owners, stats.rows), (model.len(), model.values().map(Vec::len).sum::<usize>()));
        let asked = vector(seed);
        for effort in [Effort::Exact, Effort::Fast, Effort::Good, Effort::Thorough] {
            let query = Query { allow: allow.as_deref(), exclude: &exclude, ..query(&asked, limit, effort) };
            let truth = by_definition(&model, metric, &query);
            let found = check(&find(&index, &query), &truth, limit, tolerance(metric, &asked, &model));
            let wanted = limit.min(truth.len());
            // The calibrated recall is an average over queries; a single small search may miss more than that.
            let least = match effort {
                Effort::Exact => 1.0,
                Effort::Thorough => 0.8,
                Effort::Good => 0.7,
                Effort::Fast => 0.5,
            };
            prop_assert!(found as f64 >= (least * wanted as f64).floor(), "{:?}: {} of {}", effort, found, wanted);
        }
    }
}

#[test]
fn owners_that_are_excluded_twice_over_take_no_place_from_others() {
    let index = in_memory(options(DIMENSIONS, Metric::L2));
    (0..700).for_each(|owner| {
        set(&index, owner, &[vector(owner as u8)]);
    });
    settle(&index);
    // Eight owners are let through; those that are excluded are others, but for one.
    let (allow, exclude): ([u64; 1], Vec<u32>) = ([0xff], (7..60).collect());
    for effort in [Effort::Fast, Effort::Good, Effort::Thorough, Effort::Exact] {
        let asked = vector(177);
        let found = find(&index, &Query { allow: Some(&allow), exclude: &exclude, ..query(&asked, 7, effort) });
        assert_eq!(found.len(), 7, "{effort:?}");
    }
}

#[test]
fn equal_vectors_are_ordered_by_id_wherever_their_rows_stand() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    for owner in (0..1000).rev() {
        set(&index, owner, &[vector(owner as u8 % 3)]);
    }
    let asked = vector(1);
    let mut expected: Vec<u32> = (0..1000).filter(|owner| owner % 256 % 3 == 1).collect();
    expected.sort_by_key(|owner| id_of(*owner));
    expected.truncate(50);
    let owners = |index: &Index| find(index, &query(&asked, 50, Effort::Exact)).iter().map(|hit| hit.owner).collect::<Vec<_>>();
    settle(&index);
    assert_eq!(owners(&index), expected);
    for owner in 0..200 {
        index.remove(owner);
        set(&index, owner, &[vector(owner as u8 % 3)]);
    }
    assert_eq!(owners(&index), expected, "rows in the tail are as good as rows in segments");
    settle(&index);
    assert_eq!(owners(&index), expected);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let index = in_memory(options(3, Metric::Cosine));
    let good = [1.0, 0.0, 0.0];
    assert!(index.set(7, "a", 1, &[&good]).expect("set"));
    let cases: Vec<(&str, Result<bool, IndexError>)> = vec![
        ("dimensions", index.set(7, "a", 2, &[&good, &[1.0]])),
        ("not a number", index.set(7, "a", 2, &[&[f32::NAN, 0.0, 0.0]])),
        ("infinite", index.set(7, "a", 2, &[&[f32::INFINITY, 0.0, 0.0]])),
        ("no direction", index.set(7, "a", 2, &[&[0.0; 3]])),
        ("owner", index.set(OWNERS_MAX, "a", 2, &[&good])),
        ("id", index.set(7, &"x".repeat(ID_BYTES_MAX + 1), 2, &[&good])),
        ("too many", index.set(7, "a", 2, &vec![&good[..]; OWNER_ROWS_MAX + 1])),
    ];
    for (name, refused) in cases {
        assert!(refused.is_err(), "{name}");
    }
    assert_eq!((index.stamp_of(7), index.stats().rows), (Some(1), 1));
    let reader = index.reader();
    let mut hits = vec![Hit { owner: 1, score: 1.0 }];
    assert!(matches!(reader.search(&query(&[1.0], 1, Effort::Good), &mut hits), Err(IndexError::Dimensions { expected: 3, found: 1 })));
    assert!(matches!(reader.search(&query(&[f32::NAN; 3], 1, Effort::Good), &mut hits), Err(IndexError::NotFinite)));
    assert!(matches!(reader.search(&query(&good, LIMIT_MAX + 1, Effort::Good), &mut hits), Err(IndexError::Limit(_))));
    assert!(hits.is_empty());
}

#[test]
fn setting_the_same_again_changes_nothing() {
    let index = in_memory(options(2, Metric::Cosine));
    assert!(index.set(1, "a", 5, &[&[1.0, 0.0], &[0.0, 1.0]]).expect("set"));
    let version = index.reader().version();
    assert!(!index.set(1, "a", 5, &[&[1.0, 0.0], &[0.0, 1.0]]).expect("set"));
    assert_eq!(index.reader().version(), version);
    assert!(index.set(1, "b", 5, &[&[1.0, 0.0]]).expect("set"), "the number belongs to another owner now");
    assert_eq!((index.stats().rows, index.stats().dead_rows), (1, 2));
    assert!(index.set(1, "b", 0, &[]).expect("removed") && !index.remove(1));
    assert_eq!(index.stats().owners, 0);
}

#[test]
fn a_late_search_ends_without_hits() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    (0..3000).for_each(|owner| assert!(set(&index, owner, &[vector(owner as u8)])));
    settle(&index);
    let asked = vector(0);
    for effort in [Effort::Good, Effort::Exact] {
        let calls = std::cell::Cell::new(0);
        let is_late = || calls.replace(calls.get() + 1) >= 1;
        let mut hits = Vec::new();
        let outcome = index.reader().search(&Query { is_late: &is_late, ..query(&asked, 10, effort) }, &mut hits).expect("an outcome");
        assert!(outcome.is_late && hits.is_empty(), "{effort:?}");
    }
}

#[test]
fn every_row_that_is_alive_is_read_with_its_owner() {
    let index = in_memory(options(DIMENSIONS, Metric::Dot));
    let mut model = Model::new();
    (0..700u32).for_each(|owner| set_both(&index, &mut model, owner, vec![vector(owner as u8); 1 + owner as usize % 3]));
    settle(&index);
    (0..200u32).for_each(|owner| set_both(&index, &mut model, owner * 2, vec![vector(7); owner as usize % 3]));
    let mut read = Model::new();
    index.reader().for_each_row(|owner, vector| {
        read.entry(owner).or_default().push(vector.to_vec());
        true
    });
    assert_eq!(read.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
    for (owner, vectors) in &model {
        assert_eq!(read[owner].len(), vectors.len());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
        assert!(read[owner].iter().flatten().zip(vectors.iter().flatten()).all(near), "{owner}");
    }
    let mut calls = 0;
    index.reader().for_each_row(|_, _| {
        calls += 1;
        calls < 5
    });
    assert_eq!(calls, 5, "it ends when it is told to");
}

#[test]
fn an_exact_search_among_few_owners_is_the_definition() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    let mut model = Model::new();
    (0..900u32).for_each(|owner| set_both(&index, &mut model, owner, vec![vector(owner as u8), vector((owner / 3) as u8)]));
    settle(&index);
    (0..50u32).for_each(|owner| set_both(&index, &mut model, owner, vec![vector(owner as u8 + 9)]));
    for allow in [vec![0u64; 15], vec![0x8001_0000_0100_0011; 15], vec![u64::MAX; 15]] {
        let asked = vector(3);
        let query = Query { allow: Some(&allow), exclude: &[4, 64], ..query(&asked, 20, Effort::Exact) };
        let truth = by_definition(&model, Metric::Cosine, &query);
        let found = find(&index, &query);
        assert_eq!(check(&found, &truth, 20, tolerance(Metric::Cosine, &asked, &model)), found.len());
    }
}
