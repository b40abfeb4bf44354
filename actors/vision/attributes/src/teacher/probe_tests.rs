//! The probe against finite differences, a closed form and what must not change it.

use proptest::prelude::*;

use super::*;
use crate::random::Random;

fn examples(rows: usize, features: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<(usize, f32)>) {
    let mut random = Random::new(seed);
    let values = (0..rows * features).map(|_| random.signed()).collect();
    let of = (0..rows).map(|row| (if row < classes { row } else { random.next() as usize % classes }, 0.5 + (row % 3) as f32)).collect();
    (values, of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_gradient_is_what_differences_say(rows in 4_usize..12, features in 1_usize..6, classes in 2_usize..4, seed: u64) {
        let (values, of) = examples(rows, features, classes, seed);
        let problem = Problem::new(Examples { features: &values, classes: &of }, features, classes, 0.1);
        let mut random = Random::new(seed ^ 9);
        let weights: Vec<f32> = (0..(features + 1) * classes).map(|_| random.signed()).collect();
        let (_, gradient) = problem.evaluate(&weights);
        for at in 0..weights.len() {
            let moved = |by: f32| {
                let mut weights = weights.clone();
                weights[at] += by;
                problem.evaluate(&weights).0
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            prop_assert!((difference - f64::from(gradient[at])).abs() < 2e-3, "{at}: {difference} and {}", gradient[at]);
        }
    }

    #[test]
    fn at_the_end_the_gradient_is_gone(rows in 6_usize..40, features in 1_usize..8, classes in 2_usize..5, seed: u64) {
        let (values, of) = examples(rows, features, classes, seed);
        let problem = Problem::new(Examples { features: &values, classes: &of }, features, classes, 0.05);
        let probe = Probe::fit(problem.examples, classes, 0.05);
        let (loss, gradient) = problem.evaluate(&probe.weights);
        let length = dot(&gradient, &gradient).sqrt();
        prop_assert!(length < 5e-3 && loss < (classes as f64).ln() + 1e-6, "length {length}, loss {loss}");
    }
}

#[test]
fn without_features_that_tell_it_says_how_frequent_classes_are() {
    // The closed form for features that are all 0: the added row is the logarithm of the classes' shares.
    let of: Vec<(usize, f32)> = [(0, 6), (1, 3), (2, 1)].iter().flat_map(|(class, count)| vec![(*class, 1.0); *count]).collect();
    let probe = Probe::fit(Examples { features: &[0.0; 20], classes: &of }, 3, 0.1);
    let mut scores = probe.scores(&[0.0, 0.0], 1);
    softmax(&mut scores, 1.0);
    for (score, share) in scores.iter().zip([0.6, 0.3, 0.1]) {
        assert!((score - share).abs() < 5e-3, "{scores:?}");
    }
}

#[test]
fn a_ridge_shrinks_and_a_class_without_rows_stays_silent() {
    let features: Vec<f32> = (0..20).map(|row| if row < 10 { 1.0 } else { -1.0 }).collect();
    let of: Vec<(usize, f32)> = (0..20).map(|row| (if row < 10 { 0 } else { 2 }, 1.0)).collect();
    let fitted = |ridge| Probe::fit(Examples { features: &features, classes: &of }, 3, ridge);
    let (loose, tight) = (fitted(1e-3), fitted(1.0));
    let length = |probe: &Probe| dot(&probe.weights[..3], &probe.weights[..3]);
    assert!(length(&loose) > 4.0 * length(&tight));
    let mut shares = loose.scores(&[1.0], 1);
    softmax(&mut shares, 1.0);
    assert!(shares[0] > 0.95 && shares[1] < 1e-6, "{shares:?}");
}

#[test]
fn a_row_of_double_weight_counts_as_two() {
    let (mut values, mut of) = examples(9, 3, 3, 4);
    of.iter_mut().for_each(|(_, weight)| *weight = 1.0);
    of[8].1 = 2.0;
    let one = Probe::fit(Examples { features: &values, classes: &of }, 3, 0.1);
    values.extend_from_within(24..27);
    of[8].1 = 1.0;
    of.push(of[8]);
    let two = Probe::fit(Examples { features: &values, classes: &of }, 3, 0.1);
    for (one, two) in one.weights.iter().zip(&two.weights) {
        assert!((one - two).abs() < 2e-2, "{one} and {two}");
    }
}

#[test]
fn a_temperature_flattens_and_shares_are_together_one() {
    let at = |temperature| {
        let mut scores = vec![2.0, 1.0, -400.0];
        softmax(&mut scores, temperature);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        scores[0]
    };
    assert!(at(0.5) > at(1.0) && at(1.0) > at(4.0));
}
