//! The whole of it against the formula, and its bounds.

use proptest::prelude::*;

use super::*;

const FIT: FitSettings = FitSettings { weights_max: 1_000, threads_max: 1 };

fn fitted(rows: &[Vec<u32>], items: usize, ridge: f32, fit: &FitSettings) -> Model {
    let mut gram = Gram::new(items, items).expect("as many as may be");
    rows.iter().for_each(|row| {
        gram.add(row);
    });
    gram.fit(ridge, fit, &|| true).expect("positive definite")
}

/// `-P_ij / P_jj` in f64, by Gauss-Jordan elimination with the greatest pivot of each column.
fn formula(rows: &[Vec<u32>], items: usize, ridge: f64) -> Vec<Vec<f64>> {
    let mut matrix = vec![vec![0.0; 2 * items]; items];
    for (item, line) in matrix.iter_mut().enumerate() {
        line[item] = ridge;
        line[items + item] = 1.0;
    }
    for row in rows {
        for first in row {
            row.iter().for_each(|second| matrix[*first as usize][*second as usize] += 1.0);
        }
    }
    for column in 0..items {
        let pivot = (column..items).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs())).expect("a row");
        matrix.swap(column, pivot);
        let scale = matrix[column][column];
        matrix[column].iter_mut().for_each(|cell| *cell /= scale);
        let line = matrix[column].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let factor = other[column];
            other.iter_mut().zip(&line).for_each(|(cell, pivot)| *cell -= factor * pivot);
        }
    }
    let inverse = |row: usize, column: usize| matrix[row][items + column];
    let weight = |row: usize, column: usize| if row == column { 0.0 } else { -inverse(row, column) / inverse(column, column) };
    (0..items).map(|row| (0..items).map(|column| weight(row, column)).collect()).collect()
}

fn rows_of(items: u32, rows_max: usize) -> impl Strategy<Value = Vec<Vec<u32>>> {
    let row = prop::collection::btree_set(0..items, 0..12);
    prop::collection::vec(row.prop_map(|row| row.into_iter().collect()), 0..rows_max)
}

fn check(rows: &[Vec<u32>], items: usize, ridge: f32, fit: &FitSettings) -> Result<(), TestCaseError> {
    let (model, expected) = (fitted(rows, items, ridge, fit), formula(rows, items, f64::from(ridge)));
    prop_assert_eq!(model.items(), items);
    for item in 0..items as u32 {
        prop_assert_eq!(model.weight(item, item), 0.0, "the diagonal");
        for other in 0..items as u32 {
            let (found, expected) = (f64::from(model.weight(item, other)), expected[item as usize][other as usize]);
            prop_assert!((found - expected).abs() < 1e-4, "{item} {other}: {found} instead of {expected}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn weights_are_those_of_the_formula(rows in rows_of(20, 60), ridge in 0.5f32..200.0) {
        check(&rows, 20, ridge, &FIT)?;
    }

    #[test]
    fn the_order_of_rows_and_the_threads_make_no_difference(rows in rows_of(150, 60), ridge in 1f32..50.0) {
        let model = fitted(&rows, 150, ridge, &FIT);
        let backwards: Vec<Vec<u32>> = rows.iter().rev().cloned().collect();
        prop_assert_eq!(&model, &fitted(&backwards, 150, ridge, &FitSettings { threads_max: 3, ..FIT }));
    }

    #[test]
    fn of_each_item_the_greatest_weights_are_kept(rows in rows_of(30, 60)) {
        let (all, few) = (fitted(&rows, 30, 5.0, &FIT), fitted(&rows, 30, 5.0, &FitSettings { weights_max: 4, ..FIT }));
        for item in 0..30 {
            let mut amounts: Vec<f32> = all.row(item).map(|(_, weight)| weight.abs()).collect();
            amounts.sort_by(|a, b| b.total_cmp(a));
            let least = few.row(item).map(|(_, weight)| weight.abs()).fold(f32::INFINITY, f32::min);
            prop_assert_eq!(few.row(item).count(), amounts.len().min(4));
            prop_assert!(amounts.get(4).is_none_or(|next| least >= *next));
            prop_assert!(few.row(item).all(|(other, weight)| all.weight(item, other) == weight));
        }
    }
}

/// Several blocks of pivots, the last of them not full.
#[test]
fn weights_of_several_blocks_are_those_of_the_formula() {
    let items = 150u32;
    let row = |number: u32| {
        let mut row: Vec<u32> = (0..1 + number % 9).map(|step| (number * 31 + step * step * 17 + number * step) % items).collect();
        row.sort_unstable();
        row.dedup();
        row
    };
    let rows: Vec<Vec<u32>> = (0..900).map(row).collect();
    for threads_max in [1, 2, 3, 50] {
        check(&rows, items as usize, 2.0, &FitSettings { threads_max, ..FIT }).expect("equal");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    assert_eq!(fitted(&[], 0, 1.0, &FIT).items(), 0);
    let model = fitted(&[vec![], vec![3]], 5, 1.0, &FIT);
    assert_eq!((model.items(), (0..9).map(|item| model.row(item).count()).sum::<usize>()), (5, 0), "a lone item goes with nothing");
    let mut sums = Sums::default();
    model.score(&[3, 99], 1.0, &mut sums);
    assert_eq!((sums.iter().count(), sums.get(3), sums.get(99)), (0, 0.0, 0.0));
}

#[test]
fn bounds_hold() {
    assert_eq!(Gram::new(6, 5).map(|gram| gram.items()), Err(EaseError::TooManyItems { items: 6, items_max: 5 }));
    assert_eq!((Gram::bytes(5_000), Gram::bytes(1)), (4 * 5_056 * 5_056, 4 * 64 * 64));
    let mut gram = Gram::new(3, 5).expect("few");
    assert!(!gram.add(&[]) && !gram.add(&[7, 9]) && gram.add(&[0, 2, 7]), "items that it does not know are passed over");
    assert_eq!(gram.rows(), 1);
    assert_eq!(gram.fit(1.0, &FIT, &|| false), Err(EaseError::Stopped));
    assert_eq!(gram.fit(-2.0, &FIT, &|| true), Err(EaseError::Rounding));
    let model = gram.fit(1.0, &FIT, &|| true).expect("what was counted stays");
    assert!(model.weight(0, 2) > 0.0 && model.weight(0, 1) == 0.0);
}

/// Two kinds of orders; `own` knows nothing of them, or everything.
#[test]
fn a_blend_is_chosen_only_where_it_helps() {
    let rows: Vec<Vec<u32>> = (0..200u32).map(|number| if number % 2 == 0 { vec![0, 1, 2] } else { vec![3, 4, 5] }).collect();
    let mut gram = Gram::new(6, 6).expect("few");
    rows.iter().for_each(|row| assert!(gram.add(row)));
    let of = |target: u32, own: Vec<(u32, f32)>| Query { history: vec![target / 3 * 3 + (target + 1) % 3], target, own };
    let ignorant: Vec<Query> = (0..60).map(|number| of(number % 6, vec![(9, 3.0), (8, 2.0)])).collect();
    let choice = tune(&mut gram, &ignorant, &Trials::ORDERS, &FIT, &|| true).expect("solved");
    assert!(choice.weight > 0.0 && choice.ndcg > 0.4 && choice.ndcg_own == 0.0, "{choice:?}");
    let wise: Vec<Query> = (0..60).map(|number| of(number % 6, vec![(number % 6, 1.0)])).collect();
    let choice = tune(&mut gram, &wise, &Trials::HISTORIES, &FIT, &|| true).expect("solved");
    assert_eq!((choice.weight, choice.ndcg, choice.ndcg_own), (0.0, 1.0, 1.0));
    assert_eq!(tune(&mut gram, &[], &Trials::ORDERS, &FIT, &|| true).map(|choice| choice.weight), Ok(0.0));
    assert_eq!(tune(&mut gram, &wise, &Trials::ORDERS, &FIT, &|| false), Err(EaseError::Stopped));
}

#[test]
fn a_blend_by_hand() {
    let model = fitted(&[vec![0, 1], vec![0, 1], vec![0, 2], vec![3]], 4, 1.0, &FIT);
    let (mut sums, mut found) = (Sums::default(), Vec::new());
    model.score(&[0], 1.0, &mut sums);
    let share = sums.get(2) / sums.get(1);
    blend(&[(7, 4.0), (2, 1.0)], &sums, 0.25, &|_| true, &mut found);
    let expected = [(7, 0.75, 0.0), (2, 0.1875, 0.25 * share), (1, 0.0, 0.25)];
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.own - expected.1).abs() < 1e-6 && (found.ease - expected.2).abs() < 1e-6 && found.item == expected.0, "{found:?}");
    }
    blend(&[], &sums, 1.0, &|item| item != 1, &mut found);
    assert_eq!(found, [Blended { item: 2, own: 0.0, ease: 1.0 }], "the greatest is that of what is allowed");
    assert_eq!(model.greatest_term(&[3, 0], 0.5, 1), Some((0, model.weight(0, 1) * 0.5)));
    assert_eq!(model.greatest_term(&[3], 1.0, 1), None);
}
