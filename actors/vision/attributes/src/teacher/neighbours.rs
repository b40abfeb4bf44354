//! The labelled products nearest to a picture: evidence for people, and votes.

use super::linear::{Matrix, normalise, product};

/// How fast a vote falls with the distance, in cosine.
const SOFTNESS: f32 = 0.08;
/// Rows compared at once.
const BLOCK: usize = 256;

/// A row and its cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    pub(crate) row: usize,
    pub(crate) cosine: f32,
}

/// The vote of a neighbour; 1 at the same place.
pub(crate) fn vote(cosine: f32) -> f32 {
    ((cosine - 1.0) / SOFTNESS).exp()
}

/// Brings codes, `components` numbers each, to length 1.
pub(crate) fn unit(mut codes: Vec<f32>, components: usize) -> Vec<f32> {
    codes.chunks_exact_mut(components.max(1)).for_each(normalise);
    codes
}

/// Of each query (`[queries, components]`, length 1) the nearest rows that it may see, the nearest first, `count` at most. Equal cosines
/// go by row.
pub(crate) fn nearest(
    queries: &[f32],
    rows: &[f32],
    components: usize,
    count: usize,
    may_see: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<Near>> {
    let row_count = rows.len() / components.max(1);
    let mut found = Vec::new();
    for (block, some) in queries.chunks((BLOCK * components).max(1)).enumerate() {
        let shape = [some.len() / components, components, row_count];
        let cosines = product(Matrix::rows(some, components), Matrix::transposed(rows, components), shape);
        for (at, cosines) in cosines.chunks_exact(row_count.max(1)).enumerate() {
            let query = block * BLOCK + at;
            let seen = cosines.iter().enumerate().filter(|(row, _)| may_see(query, *row));
            let mut near: Vec<Near> = seen.map(|(row, cosine)| Near { row, cosine: *cosine }).collect();
            let order = |a: &Near, b: &Near| b.cosine.total_cmp(&a.cosine).then(a.row.cmp(&b.row));
            if near.len() > count && count > 0 {
                near.select_nth_unstable_by(count - 1, order);
            }
            near.truncate(count);
            near.sort_unstable_by(order);
            found.push(near);
        }
    }
    found
}

/// Shares of classes among neighbours with a label: `class_of` says a row's class and the weight of its label. Classes' own shares stand in as a tenth of a vote,
/// so that where nothing is near the answer is what is frequent.
pub(crate) fn shares(near: &[Near], count: usize, frequency: &[f32], class_of: impl Fn(usize) -> Option<(usize, f32)>) -> Vec<f32> {
    let mut shares: Vec<f32> = frequency.iter().map(|share| 0.1 * share).collect();
    let labelled = near.iter().filter_map(|near| class_of(near.row).map(|(class, weight)| (class, weight * vote(near.cosine))));
    for (class, vote) in labelled.take(count) {
        shares[class] += vote;
    }
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum.max(1e-30));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_what_may_not_be_seen_is_left_out() {
        let rows = unit(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 0.0], 2);
        let found = nearest(&rows[..2], &rows, 2, 3, |_, row| row != 0);
        assert_eq!(found[0].iter().map(|near| near.row).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(found[0][0].cosine, 1.0);
    }

    #[test]
    fn votes_fall_with_distance_and_where_nothing_is_near_the_frequent_wins() {
        let class_of = |row: usize| [Some((0, 1.0)), Some((1, 1.0)), None].get(row).copied().flatten();
        let at = |row, cosine| Near { row, cosine };
        let close = shares(&[at(2, 1.0), at(1, 0.95), at(0, 0.8)], 2, &[0.9, 0.1], class_of);
        assert!(close[1] > 0.7 && close[1] < 0.8, "{close:?}");
        let corrected = shares(&[at(1, 0.95), at(0, 0.8)], 2, &[0.9, 0.1], |row| {
            class_of(row).map(|(class, _)| (class, if row == 0 { 20.0 } else { 1.0 }))
        });
        assert!(corrected[0] > 0.7, "{corrected:?}");
        let far = shares(&[at(1, -0.5)], 2, &[0.9, 0.1], class_of);
        assert!(far[0] > 0.85 && (far[0] + far[1] - 1.0).abs() < 1e-6, "{far:?}");
    }
}
