//! The learner: shares add up, it learns what decides, and nothing makes it no number.

use proptest::prelude::*;

use super::*;
use crate::features::CANDIDATES_MAX;

/// A page whose rows have one feature each set.
fn page(feature: Feature, values: &[f32]) -> Page {
    let row = |value: &f32| {
        let mut row = [0.0; FEATURES];
        row[feature as usize] = *value;
        row
    };
    Page { items: (0..values.len() as Id).collect(), rows: values.iter().map(row).collect() }
}

fn order(ranked: &[Ranked]) -> Vec<Id> {
    ranked.iter().map(|ranked| ranked.item).collect()
}

#[test]
fn the_shipped_weights_rank_before_anything_was_learned() {
    let learner = Learner::default();
    for (feature, values, expected) in [
        (Feature::Popularity, [0.0, 2.0, 1.0], [1, 2, 0]),
        (Feature::Bought, [0.0, 0.0, 1.0], [2, 0, 1]),
        (Feature::Refused, [1.0, 0.0, 0.5], [1, 2, 0]),
        (Feature::LookTaste, [0.9, 0.1, 0.5], [0, 2, 1]),
    ] {
        assert_eq!(order(&learner.rank(&page(feature, &values), 1, 1.0)), expected, "{}", feature.name());
    }
}

#[test]
fn strength_fades_out_what_speaks_of_the_shopper() {
    let learner = Learner::default();
    let mut page = page(Feature::Bought, &[0.0, 1.0]);
    page.rows[0][Feature::Popularity as usize] = 1.0;
    for (strength, expected) in [(1.0, [1, 0]), (0.0, [0, 1]), (-3.0, [0, 1]), (7.0, [1, 0]), (f32::NAN, [1, 0])] {
        assert_eq!(order(&learner.rank(&page, 1, strength)), expected, "{strength}");
    }
    let stranger = learner.rank(&page, 1, 0.0);
    assert!(stranger.iter().all(|ranked| Feature::ALL.iter().all(|f| !f.is_personal() || ranked.shares[*f as usize] == 0.0)));
}

#[test]
fn what_decides_is_learned_on_its_surface_and_less_elsewhere() {
    let mut learner = Learner::default();
    let cheap_first = page(Feature::RelativePrice, &[0.5, -0.5, 0.0]);
    assert_ne!(order(&learner.rank(&cheap_first, 1, 1.0))[0], 1, "nobody knows yet");
    for _ in 0..200 {
        learner.learn(1, &cheap_first.rows, 1, &[], None);
    }
    assert_eq!(order(&learner.rank(&cheap_first, 1, 1.0)), [1, 2, 0]);
    let weight = |surface| learner.weights(surface)[Feature::RelativePrice as usize];
    assert!(weight(1) < weight(2) && weight(2) < 0.0, "{} {}", weight(1), weight(2));
    assert_eq!(learner.choices(), 200);
}

#[test]
fn a_place_explains_its_part_of_a_choice() {
    // Whatever stands first is chosen, and a feature happens to stand there.
    let rows = page(Feature::Trend, &[1.0, 0.0, 0.0]).rows;
    let learned = |positions: Option<&[u16]>| {
        let mut learner = Learner::default();
        (0..300).for_each(|_| learner.learn(1, &rows, 0, &[], positions));
        learner.weights(1)[Feature::Trend as usize] - Feature::Trend.prior()
    };
    let (with, without) = (learned(Some(&[0, 1, 2])), learned(None));
    assert!(with < without * 0.9, "{with} {without}");
}

#[test]
fn what_was_chosen_before_is_no_rival() {
    let rows = page(Feature::Popularity, &[3.0, 1.0, 0.0]).rows;
    let learned = |before: &[usize]| {
        let mut learner = Learner::default();
        learner.learn(1, &rows, 1, before, None);
        learner.weights(1)[Feature::Popularity as usize] - Feature::Popularity.prior()
    };
    assert!(learned(&[]) < 0.0, "the popular one was passed over");
    assert!(learned(&[0]) > 0.0, "the popular one had been chosen already");
}

#[test]
fn steps_that_cannot_be_made_are_none() {
    let mut learner = Learner::default();
    let rows = page(Feature::Popularity, &[1.0, 0.0]).rows;
    learner.learn(1, &rows, 2, &[], None);
    learner.learn(1, &rows[..1], 0, &[], None);
    learner.learn(1, &rows, 0, &[], Some(&[0]));
    assert_eq!(learner, Learner::default());
    (0..2 * SURFACES_MAX as Id).for_each(|surface| learner.learn(surface, &rows, 0, &[], None));
    assert!(learner.is_sound(), "surfaces are bounded");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_sum_to_the_score_and_every_candidate_is_ranked_once(
        rows in proptest::collection::vec(proptest::array::uniform32(-20.0_f32..20.0), 0..CANDIDATES_MAX.min(40)),
        strength in 0.0_f32..1.0,
        choices in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..20),
    ) {
        let wide = |row: &[f32; 32]| std::array::from_fn(|at| row[at % 32]);
        let page = Page { items: (0..rows.len() as Id).collect(), rows: rows.iter().map(wide).collect() };
        let mut learner = Learner::default();
        for (surface, chosen) in choices {
            learner.learn(surface.into(), &page.rows, usize::from(chosen) % page.rows.len().max(1), &[], None);
            prop_assert!(learner.is_sound());
        }
        let ranked = learner.rank(&page, 1, strength);
        for one in &ranked {
            prop_assert_eq!(one.score, one.shares.iter().sum::<f32>());
            prop_assert!(one.score.is_finite());
        }
        prop_assert!(ranked.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let mut places: Vec<usize> = ranked.iter().map(|ranked| ranked.at).collect();
        places.sort_unstable();
        prop_assert_eq!(places, (0..page.items.len()).collect::<Vec<_>>());
    }
}
