//! What any recommender must beat: popularity, and items by the cosine of their audiences.

use std::collections::HashMap;

use crate::query::keep_best;

/// Neighbours of an item that count.
const NEIGHBOURS_MAX: usize = 100;
/// Items of one audience member that make pairs, the newest.
const MEMBER_ITEMS_MAX: usize = 200;

/// All items, the most frequent first.
pub(crate) struct Popular {
    order: Vec<u32>,
}

impl Popular {
    pub(crate) fn new(audiences: &[Vec<u32>], items: usize) -> Self {
        let mut counts = vec![0f32; items];
        audiences.iter().flatten().for_each(|item| counts[*item as usize] += 1.0);
        let mut order: Vec<(u32, f32)> =
            (0..items as u32).map(|item| (item, counts[item as usize])).filter(|(_, count)| *count > 0.0).collect();
        keep_best(&mut order, items);
        Self { order: order.into_iter().map(|(item, _)| item).collect() }
    }

    pub(crate) fn rank(&self, exclude: &[u32], count: usize) -> Vec<u32> {
        self.order.iter().copied().filter(|item| !exclude.contains(item)).take(count).collect()
    }
}

/// Items by the cosine of the users, sessions or baskets that have them.
pub(crate) struct ItemKnn {
    neighbours: Vec<Vec<(u32, f32)>>,
}

impl ItemKnn {
    pub(crate) fn new(audiences: &[Vec<u32>], items: usize) -> Self {
        let mut members_of = vec![Vec::new(); items];
        let mut distinct = Vec::with_capacity(audiences.len());
        for (member, sequence) in audiences.iter().enumerate() {
            let mut own: Vec<u32> = sequence[sequence.len().saturating_sub(MEMBER_ITEMS_MAX)..].to_vec();
            own.sort_unstable();
            own.dedup();
            own.iter().for_each(|item| members_of[*item as usize].push(member as u32));
            distinct.push(own);
        }
        let mut together = vec![0f32; items];
        let neighbours = (0..items).map(|item| {
            let mut touched = Vec::new();
            for other in members_of[item].iter().flat_map(|member| &distinct[*member as usize]) {
                if together[*other as usize] == 0.0 {
                    touched.push(*other);
                }
                together[*other as usize] += 1.0;
            }
            let size = |item: usize| members_of[item].len() as f32;
            let cosine = |other: u32| together[other as usize] / (size(item) * size(other as usize)).sqrt();
            let mut row: Vec<(u32, f32)> =
                touched.iter().filter(|other| **other as usize != item).map(|other| (*other, cosine(*other))).collect();
            touched.iter().for_each(|other| together[*other as usize] = 0.0);
            keep_best(&mut row, NEIGHBOURS_MAX);
            row
        });
        Self { neighbours: neighbours.collect() }
    }

    pub(crate) fn rank(&self, known: &[u32], exclude: &[u32], count: usize) -> Vec<u32> {
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for (other, cosine) in known.iter().flat_map(|item| self.neighbours.get(*item as usize)).flatten() {
            *scores.entry(*other).or_default() += cosine;
        }
        let mut found: Vec<(u32, f32)> = scores.into_iter().filter(|(item, _)| !exclude.contains(item)).collect();
        keep_best(&mut found, count);
        found.into_iter().map(|(item, _)| item).collect()
    }
}
