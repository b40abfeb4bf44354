//! The regression's scores beside those of another ranking.

use crate::model::Sums;

/// The best items of the regression that a blend considers; as many of the other ranking are enough.
pub const POOL_MAX: usize = 200;

/// An item of a blend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blended {
    /// Which.
    pub item: u32,
    /// What the other ranking adds.
    pub own: f32,
    /// What the regression adds; it may speak against an item.
    pub ease: f32,
}

impl Blended {
    /// Greater is better.
    pub fn score(&self) -> f32 {
        self.own + self.ease
    }
}

/// `(1 - weight) own / max(own) + weight ease / max(ease)` for the best of both, best first. `own` is another ranking's scores
/// and has passed `allow`, which is asked of what the regression adds.
pub fn blend(own: &[(u32, f32)], sums: &Sums, weight: f32, allow: &dyn Fn(u32) -> bool, blended: &mut Vec<Blended>) {
    candidates(own, sums, allow, blended);
    blended.iter_mut().for_each(|item| *item = Blended { own: (1.0 - weight) * item.own, ease: weight * item.ease, ..*item });
    blended.sort_unstable_by(|a, b| b.score().total_cmp(&a.score()).then(a.item.cmp(&b.item)));
}

/// The best of both sides, each divided by its greatest, in no particular order.
pub(crate) fn candidates(own: &[(u32, f32)], sums: &Sums, allow: &dyn Fn(u32) -> bool, found: &mut Vec<Blended>) {
    let best = best(sums, allow);
    let share = |greatest: f32| if greatest > 0.0 { 1.0 / greatest } else { 0.0 };
    let own_share = share(own.iter().map(|(_, score)| *score).fold(0.0, f32::max));
    let ease_share = share(best.iter().map(|(_, sum)| *sum).fold(0.0, f32::max));
    found.clear();
    found.extend(own.iter().map(|(item, score)| Blended { item: *item, own: score * own_share, ease: sums.get(*item) * ease_share }));
    let mut listed: Vec<u32> = own.iter().map(|(item, _)| *item).collect();
    listed.sort_unstable();
    let others = best.into_iter().filter(|(item, _)| listed.binary_search(item).is_err());
    found.extend(others.map(|(item, sum)| Blended { item, own: 0.0, ease: sum * ease_share }));
}

/// The allowed items with the greatest sums above zero. Only as many are asked about as it takes.
fn best(sums: &Sums, allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut rest: Vec<(u32, f32)> = sums.iter().filter(|(_, sum)| *sum > 0.0).collect();
    let mut best = Vec::new();
    while best.len() < POOL_MAX && !rest.is_empty() {
        let count = rest.len().min(POOL_MAX);
        if count < rest.len() {
            rest.select_nth_unstable_by(count - 1, order);
        }
        let mut next: Vec<(u32, f32)> = rest.drain(..count).filter(|(item, _)| allow(*item)).collect();
        next.sort_unstable_by(order);
        best.append(&mut next);
    }
    best.truncate(POOL_MAX);
    best
}
