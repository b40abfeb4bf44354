//! Several ranked lists into one, by reciprocal rank: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms
//! Condorcet and individual Rank Learning Methods", SIGIR 2009.

use std::collections::HashMap;

use domain::ProductId;
use protocol::search::Hit;

/// The constant of the paper: how little the first ranks stand out.
const RANK_OFFSET: f32 = 60.0;

/// One part of a query: its name and what it found, best first.
pub type RankedList = (&'static str, Vec<(ProductId, f32)>);

/// The best `limit` of all lists. One list alone keeps its own scores; of several each product scores the sum of
/// `1 / (60 + rank)`, ranks counted from 1, and equal sums are ordered by id.
pub fn fuse(mut lists: Vec<RankedList>, limit: usize) -> Vec<Hit> {
    if lists.len() == 1 {
        let (name, found) = lists.remove(0);
        return found.into_iter().take(limit).map(|(product, score)| Hit { product, score, found_by: vec![name] }).collect();
    }
    let mut hits: HashMap<ProductId, Hit> = HashMap::new();
    for (name, found) in lists {
        for (index, (product, _)) in found.into_iter().enumerate() {
            let hit = hits.entry(product).or_insert_with_key(|product| Hit { product: product.clone(), score: 0.0, found_by: Vec::new() });
            hit.score += 1.0 / (RANK_OFFSET + index as f32 + 1.0);
            if !hit.found_by.contains(&name) {
                hit.found_by.push(name);
            }
        }
    }
    let mut hits: Vec<_> = hits.into_values().collect();
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.product.cmp(&b.product)));
    hits.truncate(limit);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &'static str, ids: &[&str]) -> RankedList {
        (name, ids.iter().enumerate().map(|(rank, id)| (id.parse().expect("an id"), 9.0 - rank as f32)).collect())
    }

    #[test]
    fn one_list_keeps_its_scores() {
        let hits = fuse(vec![list("image", &["b", "a", "c"])], 2);
        assert_eq!(hits.iter().map(|hit| (hit.product.as_str(), hit.score)).collect::<Vec<_>>(), [("b", 9.0), ("a", 8.0)]);
    }

    #[test]
    fn what_several_lists_found_comes_first_and_says_so() {
        let hits = fuse(vec![list("keyword", &["a", "b", "c"]), list("image", &["d", "c"]), list("image", &["d"])], 10);
        let ids: Vec<_> = hits.iter().map(|hit| hit.product.as_str()).collect();
        assert_eq!(ids, ["d", "c", "a", "b"]);
        assert_eq!(hits[0].found_by, ["image"]);
        assert_eq!(hits[1].found_by, ["keyword", "image"]);
        assert!((hits[0].score - 2.0 / 61.0).abs() < 1e-7);
    }

    #[test]
    fn equal_sums_are_ordered_by_id() {
        let hits = fuse(vec![list("keyword", &["z"]), list("text", &["y"])], 10);
        assert_eq!(hits.iter().map(|hit| hit.product.as_str()).collect::<Vec<_>>(), ["y", "z"]);
        assert_eq!(fuse(Vec::new(), 10), []);
    }
}
