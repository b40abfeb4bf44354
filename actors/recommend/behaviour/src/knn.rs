//! Visits like this one, and what their shoppers looked at: STAN (Garg et al. 2019) and VMIS-kNN (Kersbergen et al. 2022), on an index
//! that grows with every visit that ends.

use crate::scratch::{Scores, Scratch};
use crate::sessions::Index;
use crate::settings::Blend;

/// Distances and lengths whose factors are looked up instead of computed.
const TABLE_LEN: usize = 64;

/// Factors of small whole numbers.
struct Table([f32; TABLE_LEN]);

impl Table {
    fn new(factor: impl Fn(f32) -> f32) -> Self {
        Self(std::array::from_fn(|number| factor(number as f32)))
    }

    fn get(&self, number: usize) -> f32 {
        self.0[number.min(TABLE_LEN - 1)]
    }
}

/// Least inverse document frequency: what everybody looks at is still worth something while there are few visits.
const RARITY_MIN: f32 = 0.05;

/// What a step counts; a scale of zero is off.
fn exponential(scale: f32) -> impl Fn(f32) -> f32 {
    move |steps| if scale > 0.0 { (-steps / scale).exp() } else { 1.0 }
}

/// The item of a visit that stands for its match: of those the asking visit has, the newest there; of several the last here.
fn matched_place(items: &[u32], matched: &Scores) -> usize {
    let (mut place, mut best) = (0, 0.0);
    for (index, item) in items.iter().enumerate() {
        let weight = matched.get(*item);
        if weight > 0.0 && weight >= best {
            (place, best) = (index, weight);
        }
    }
    place
}

/// ln((N + 1) / (n + 1)) to the power of `rarity`.
fn rarity(index: &Index, item: u32, blend: &Blend) -> f32 {
    if blend.rarity <= 0.0 {
        return 1.0;
    }
    let inverse = (f64::from(index.count()) + 1.0).ln() - (f64::from(index.count_of(item)) + 1.0).ln();
    (inverse as f32).max(RARITY_MIN).powf(blend.rarity)
}

/// Fills `scratch.scores` with what visits like `visit` (newest item first) had, `scratch.nearest` with these visits and
/// `scratch.matched` with the weights of the asking visit's items (the caller clears it).
pub(crate) fn score(index: &Index, visit: &[u32], blend: &Blend, scratch: &mut Scratch) {
    find_nearest(index, visit, blend, scratch);
    let Scratch { scores, matched, nearest, .. } = scratch;
    let distances = Table::new(exponential(blend.distance_decay));
    for (similarity, number) in nearest.iter() {
        let items = index.items(*number);
        let place = matched_place(items, matched);
        for (at, item) in items.iter().enumerate() {
            scores.add(*item, similarity * distances.get(at.abs_diff(place)));
        }
    }
    for touched in 0..scores.touched().len() {
        let item = scores.touched()[touched];
        let repeat = if matched.get(item) > 0.0 { blend.repeat } else { 1.0 };
        scores.scale(item, rarity(index, item, blend) * repeat);
    }
}

fn find_nearest(index: &Index, visit: &[u32], blend: &Blend, scratch: &mut Scratch) {
    let Scratch { visits, matched, nearest, .. } = scratch;
    nearest.clear();
    matched.clear();
    let steps = exponential(blend.match_decay);
    for (back, item) in visit.iter().take(blend.items_max).enumerate() {
        if matched.get(*item) > 0.0 {
            continue;
        }
        let weight = steps(back as f32).max(f32::MIN_POSITIVE);
        matched.add(*item, weight);
        for number in index.visits_of(*item) {
            visits.add(number - index.first(), weight);
        }
    }
    let lengths = Table::new(|length| length.max(1.0).powf(-blend.length));
    let count = index.count() as f32;
    nearest.extend(visits.touched().iter().map(|offset| {
        let number = offset + index.first();
        let mut similarity = visits.get(*offset) * lengths.get(index.items(number).len());
        if blend.age_decay > 0.0 {
            similarity *= (-(count - number as f32) / (blend.age_decay * count)).exp();
        }
        (similarity, number)
    }));
    visits.clear();
    if nearest.len() > blend.neighbours_max {
        if blend.neighbours_max > 0 {
            nearest.select_nth_unstable_by(blend.neighbours_max - 1, |a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        }
        nearest.truncate(blend.neighbours_max);
    }
    // In a fixed order, so that sums of floats are the same every time.
    nearest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
}

/// Calls `part(item, matched item, score)` for all that the nearest visits of the last [`score`] add to items that `wanted` has.
pub(crate) fn explain(index: &Index, blend: &Blend, scratch: &Scratch, wanted: impl Fn(u32) -> bool, mut part: impl FnMut(u32, u32, f32)) {
    let distances = Table::new(exponential(blend.distance_decay));
    for (similarity, number) in &scratch.nearest {
        let items = index.items(*number);
        let place = matched_place(items, &scratch.matched);
        for (at, item) in items.iter().enumerate().filter(|(_, item)| wanted(**item)) {
            let repeat = if scratch.matched.get(*item) > 0.0 { blend.repeat } else { 1.0 };
            let factor = similarity * distances.get(at.abs_diff(place)) * rarity(index, *item, blend) * repeat;
            part(*item, items[place], factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sessions;

    #[test]
    fn what_followed_in_a_visit_like_this_comes_first() {
        let mut index = Index::default();
        for visit in [[1, 2, 3], [1, 2, 4], [1, 2, 3], [7, 8, 9]] {
            index.add(&visit, &Sessions::default());
        }
        let (blend, mut scratch) = (Blend::default(), Scratch::default());
        score(&index, &[2, 1], &blend, &mut scratch);
        let scores = &scratch.scores;
        assert!(scores.get(3) > scores.get(4) && scores.get(4) > 0.0 && scores.get(9) == 0.0);
        let mut explained = 0.0;
        explain(
            &index,
            &blend,
            &scratch,
            |item| item == 3,
            |_, source, part| {
                assert_eq!(source, 2, "the newest item of the asking visit");
                explained += part;
            },
        );
        assert!((explained - scores.get(3)).abs() < 1e-5);
    }

    #[test]
    fn a_repeat_factor_of_zero_never_recommends_what_is_seen_now() {
        let mut index = Index::default();
        for visit in [[1, 2, 1], [5, 6, 7], [5, 6, 8]] {
            index.add(&visit, &Sessions::default());
        }
        let mut scratch = Scratch::default();
        score(&index, &[1], &Blend { repeat: 0.0, ..Blend::default() }, &mut scratch);
        assert!(scratch.scores.get(1) <= f32::MIN_POSITIVE && scratch.scores.get(2) > 0.1);
    }
}
