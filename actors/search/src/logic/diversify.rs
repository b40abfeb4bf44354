//! Keeps an answer from being all alike: likeness to what stands further up costs, and an attribute's value may fill only so many
//! places. Nothing is lost, only moved down.

/// Hits that are weighed against one another; the rest follows in its own order.
pub const DIVERSIFIED_MAX: usize = 200;

/// The order of `scores` (best first, any scale) in which each next hit is the best by `(1 - strength) * relevance - strength *
/// likeness to the nearest one chosen before` (maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998). `likeness` is 0 to 1.
pub fn marginal_relevance(scores: &[f32], strength: f32, likeness: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let count = scores.len().min(DIVERSIFIED_MAX);
    let (low, high) = scores[..count].iter().fold((f32::MAX, f32::MIN), |(low, high), score| (low.min(*score), high.max(*score)));
    let relevance = |index: usize| if high > low { (scores[index] - low) / (high - low) } else { 1.0 };
    let mut nearest = vec![0.0f32; count];
    let mut left: Vec<usize> = (0..count).collect();
    let mut order = Vec::with_capacity(scores.len());
    while !left.is_empty() {
        let value = |index: usize| (1.0 - strength) * relevance(index) - strength * nearest[index];
        let best = (0..left.len()).reduce(|best, at| if value(left[at]) > value(left[best]) { at } else { best });
        let Some(best) = best else { break };
        let chosen = left.remove(best);
        order.push(chosen);
        for index in &left {
            nearest[*index] = nearest[*index].max(likeness(*index, chosen).clamp(0.0, 1.0));
        }
    }
    order.extend(count..scores.len());
    order
}

/// Keeps `order`, but lets at most `count_max` hits of one value stand ahead: those beyond follow behind the rest, in their order.
/// Hits without a value are never held back.
pub fn quota<V: std::hash::Hash + Eq>(order: Vec<usize>, count_max: usize, value_of: impl Fn(usize) -> Option<V>) -> Vec<usize> {
    let mut counts = std::collections::HashMap::new();
    let (mut ahead, mut behind) = (Vec::with_capacity(order.len()), Vec::new());
    for index in order {
        let is_within = value_of(index).is_none_or(|value| {
            let count = counts.entry(value).or_insert(0usize);
            *count += 1;
            *count <= count_max
        });
        if is_within { ahead.push(index) } else { behind.push(index) }
    }
    ahead.append(&mut behind);
    ahead
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_strength_the_order_stays_and_with_it_twins_move_apart() {
        let scores = [0.9, 0.89, 0.88, 0.5];
        let twins = |a: usize, b: usize| if a.max(b) <= 1 { 1.0 } else { 0.0 };
        assert_eq!(marginal_relevance(&scores, 0.0, twins), [0, 1, 2, 3]);
        assert_eq!(marginal_relevance(&scores, 0.5, twins), [0, 2, 3, 1], "the twin of the first comes last");
    }

    #[test]
    fn a_quota_moves_the_third_of_a_brand_behind_the_rest() {
        let brands = [Some("a"), Some("a"), Some("a"), Some("b"), None, Some("a")];
        assert_eq!(quota((0..6).collect(), 2, |index| brands[index]), [0, 1, 3, 4, 2, 5]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(scores in prop::collection::vec(-1.0f32..1.0, 0..300), strength in 0.0f32..=1.0, count_max in 1usize..5) {
            let mut scores = scores;
            scores.sort_by(|a, b| b.total_cmp(a));
            let order = marginal_relevance(&scores, strength, |a, b| ((a * 7 + b * 7) % 11) as f32 / 10.0);
            let order = quota(order, count_max, |index| (index % 4 != 0).then_some(index % 3));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..scores.len()).collect::<Vec<_>>());
        }
    }
}
