//! Metrics of ranked lists with binary relevance, and the hash that breaks ties.

use std::collections::HashSet;

/// FNV-1a 64 of the bytes `a 0x1F b` (Fowler, Noll, Vo): an order that is free of any meaning of the ids.
pub fn tie(a: &str, b: &str) -> u64 {
    let bytes = a.bytes().chain([0x1F]).chain(b.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Sums over queries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    queries: usize,
    ndcg: f64,
    reciprocal_rank: f64,
    hits: f64,
    recall_20: f64,
}

impl Quality {
    pub(super) fn add(&mut self, list: &[u32], targets: &HashSet<u32>, cut: usize) {
        self.queries += 1;
        let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let hits: Vec<usize> = (0..list.len().min(cut)).filter(|rank| targets.contains(&list[*rank])).collect();
        let ideal: f64 = (0..cut.min(targets.len())).map(gain).sum();
        if let Some(first) = hits.first() {
            self.hits += 1.0;
            self.reciprocal_rank += 1.0 / (*first as f64 + 1.0);
            self.ndcg += hits.iter().map(|rank| gain(*rank)).sum::<f64>() / ideal;
        }
        let found = list.iter().take(20).filter(|item| targets.contains(item)).count();
        self.recall_20 += found as f64 / targets.len().max(1) as f64;
    }

    /// How many.
    pub fn queries(&self) -> usize {
        self.queries
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.queries > 0 { sum / self.queries as f64 } else { 0.0 }
    }

    /// Mean NDCG@10 with the ideal of min(10, targets).
    pub fn ndcg(&self) -> f64 {
        self.mean(self.ndcg)
    }

    /// Mean reciprocal rank of the first hit within 10.
    pub fn reciprocal_rank(&self) -> f64 {
        self.mean(self.reciprocal_rank)
    }

    /// Share of queries with a hit within 10.
    pub fn hit_rate(&self) -> f64 {
        self.mean(self.hits)
    }

    /// Mean share of the targets within 20.
    pub fn recall_20(&self) -> f64 {
        self.mean(self.recall_20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_fnv_1a() {
        for (a, b, expected) in [("", "", 0xAF63_D24C_8601_DB8E), ("u", "i", 0x4DC1_AC19_3F04_A71C), ("900", "", 0x37B6_B134_E43C_1BB1)] {
            assert_eq!(tie(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn metrics_by_hand() {
        let targets = HashSet::from([3, 4]);
        let mut quality = Quality::default();
        quality.add(&[1, 3, 2], &targets, 10);
        let expected = (1.0 / 3.0_f64.log2()) / (1.0 + 1.0 / 3.0_f64.log2());
        assert!((quality.ndcg() - expected).abs() < 1e-12);
        assert_eq!((quality.reciprocal_rank(), quality.hit_rate(), quality.recall_20()), (0.5, 1.0, 0.5));
        quality.add(&[1, 2], &targets, 10);
        assert!((quality.ndcg() - expected / 2.0).abs() < 1e-12);
    }
}
