//! Ids of products by their hash, for answers that begin with a profile: bounded, the longest unused leave first.

use std::collections::BTreeMap;

use domain::ProductId;
use taste::Id;

/// Two generations: what is used again while the newer one fills stays, the rest leaves when it is full.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Names {
    newer: BTreeMap<Id, ProductId>,
    older: BTreeMap<Id, ProductId>,
    names_max: usize,
}

impl Names {
    pub(crate) fn new(names_max: usize) -> Self {
        Self { newer: BTreeMap::new(), older: BTreeMap::new(), names_max: names_max.max(2) }
    }

    /// Remembers a product.
    pub(crate) fn add(&mut self, item: Id, product: &ProductId) {
        if self.newer.contains_key(&item) {
            return;
        }
        if self.newer.len() >= self.names_max / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.older.remove(&item);
        self.newer.insert(item, product.clone());
    }

    pub(crate) fn get(&self, item: Id) -> Option<&ProductId> {
        self.newer.get(&item).or_else(|| self.older.get(&item))
    }

    /// The generations, the older first, each in the order of its hashes.
    pub(crate) fn generations(&self) -> [Vec<&ProductId>; 2] {
        [&self.older, &self.newer].map(|generation| generation.values().collect())
    }

    /// The same out of what [`Names::generations`] gave.
    pub(crate) fn restore(&mut self, generations: [Vec<ProductId>; 2]) {
        let map = |products: Vec<ProductId>| products.into_iter().map(|product| (super::ids::id(product.as_str()), product)).collect();
        let [older, newer] = generations;
        (self.older, self.newer) = (map(older), map(newer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(n: u64) -> ProductId {
        format!("p{n}").parse().expect("an id")
    }

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let mut names = Names::new(8);
        for n in 0..100 {
            names.add(super::super::ids::id("p0"), &product(0));
            names.add(super::super::ids::id(&format!("p{n}")), &product(n));
            assert!(names.newer.len() + names.older.len() <= 8, "{n}");
        }
        assert_eq!(names.get(super::super::ids::id("p0")), Some(&product(0)));
        assert_eq!(names.get(super::super::ids::id("p99")), Some(&product(99)));
        assert_eq!(names.get(super::super::ids::id("p50")), None);
        let mut other = Names::new(8);
        other.restore(names.generations().map(|products| products.into_iter().cloned().collect()));
        assert_eq!(other, names);
    }
}
