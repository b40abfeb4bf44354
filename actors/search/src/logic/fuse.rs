//! Several ranked lists into one. Each list says how sure it is of a hit (0 to 1); the fused score is a convex combination of that
//! and of the reciprocal rank, so that a hit far ahead of its list counts for more than its place alone would give, and a list
//! without contrast still counts by its order.
//!
//! Sources: reciprocal rank from Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
//! Learning Methods", SIGIR 2009; calibrated combination from Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
//! Retrieval", ACM TOIS 2023.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::Slot;

/// The constant of reciprocal rank: how little the first ranks stand out.
const RANK_OFFSET: f32 = 60.0;
/// What the rank counts beside the calibrated score.
const RANK_SHARE: f32 = 0.3;

/// One hit of one list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Which product.
    pub slot: Slot,
    /// BM25, cosine or another score of the list's own, as told to people.
    pub score: f32,
    /// How sure the list is that this is meant, 0 to 1.
    pub sureness: f32,
}

/// One part of a query and what it found, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedList {
    /// `keyword`, `image`, `text`, `colour`.
    pub name: &'static str,
    /// How much the part counts beside the others, above 0.
    pub weight: f32,
    /// Best first.
    pub found: Vec<Found>,
}

/// What one part said about a fused hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The part.
    pub name: &'static str,
    /// From 1.
    pub rank: usize,
    /// The list's own score.
    pub score: f32,
    /// What it added.
    pub share: f32,
}

/// A product of the fused list.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// Which product.
    pub slot: Slot,
    /// One list alone: its own score. Several: the sum of the shares, at most 1.
    pub score: f32,
    /// Where it comes from, in the order of the parts.
    pub shares: Vec<Share>,
}

/// All lists as one, best first. Equal scores stand in the order of ids.
pub fn fuse(lists: &[RankedList], by_id: impl Fn(Slot, Slot) -> Ordering) -> Vec<Fused> {
    if let [list] = lists {
        let alone = |(index, found): (usize, &Found)| {
            let share = Share { name: list.name, rank: index + 1, score: found.score, share: found.score };
            Fused { slot: found.slot, score: found.score, shares: vec![share] }
        };
        return list.found.iter().enumerate().map(alone).collect();
    }
    let total: f32 = lists.iter().map(|list| list.weight).sum();
    let mut fused: HashMap<Slot, Fused> = HashMap::with_capacity(lists.iter().map(|list| list.found.len()).sum());
    for list in lists {
        for (index, found) in list.found.iter().enumerate() {
            let by_rank = (RANK_OFFSET + 1.0) / (RANK_OFFSET + 1.0 + index as f32);
            let share = list.weight / total * (RANK_SHARE * by_rank + (1.0 - RANK_SHARE) * found.sureness.clamp(0.0, 1.0));
            let hit = fused.entry(found.slot).or_insert_with(|| Fused { slot: found.slot, score: 0.0, shares: Vec::new() });
            hit.score += share;
            hit.shares.push(Share { name: list.name, rank: index + 1, score: found.score, share });
        }
    }
    let mut fused: Vec<_> = fused.into_values().collect();
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| by_id(a.slot, b.slot)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &'static str, found: &[(Slot, f32)]) -> RankedList {
        let found = found.iter().map(|(slot, sureness)| Found { slot: *slot, score: 10.0 * sureness, sureness: *sureness });
        RankedList { name, weight: 1.0, found: found.collect() }
    }

    fn slots(fused: &[Fused]) -> Vec<Slot> {
        fused.iter().map(|hit| hit.slot).collect()
    }

    #[test]
    fn one_list_keeps_its_scores() {
        let hits = fuse(&[list("image", &[(7, 0.9), (3, 0.8)])], |a, b| a.cmp(&b));
        assert_eq!(hits.iter().map(|hit| (hit.slot, hit.score)).collect::<Vec<_>>(), [(7, 9.0), (3, 8.0)]);
        assert_eq!(fuse(&[], |a, b| a.cmp(&b)), []);
    }

    #[test]
    fn what_several_lists_found_comes_first_and_says_so() {
        let lists = [list("keyword", &[(1, 0.9), (2, 0.8), (3, 0.7)]), list("image", &[(4, 0.9), (3, 0.8)]), list("image", &[(4, 0.9)])];
        let hits = fuse(&lists, |a, b| a.cmp(&b));
        assert_eq!(slots(&hits), [4, 3, 1, 2]);
        assert_eq!(hits[1].shares.iter().map(|share| (share.name, share.rank)).collect::<Vec<_>>(), [("keyword", 3), ("image", 2)]);
        let sum: f32 = hits[1].shares.iter().map(|share| share.share).sum();
        assert!((hits[1].score - sum).abs() < 1e-6 && hits.iter().all(|hit| hit.score <= 1.0));
    }

    #[test]
    fn a_hit_far_ahead_of_its_list_beats_one_that_leads_a_list_without_contrast() {
        let sure = list("keyword", &[(1, 1.0), (2, 0.2)]);
        let unsure = list("text", &[(9, 0.1), (8, 0.1)]);
        assert_eq!(slots(&fuse(&[sure, unsure], |a, b| a.cmp(&b)))[0], 1);
    }

    #[test]
    fn a_part_that_counts_more_decides() {
        let heavy = RankedList { weight: 3.0, ..list("text", &[(5, 0.5)]) };
        assert_eq!(slots(&fuse(&[list("keyword", &[(6, 0.9)]), heavy], |a, b| a.cmp(&b))), [5, 6]);
    }

    #[test]
    fn equal_sums_are_in_the_order_of_ids() {
        let hits = fuse(&[list("keyword", &[(1, 0.5)]), list("text", &[(2, 0.5)])], |a, b| b.cmp(&a));
        assert_eq!(slots(&hits), [2, 1]);
    }
}
