//! The heaviest of many names in bounded memory: space-saving (Metwally 2005) that drops half of its rows at a time instead of one.
//!
//! A name whose weight is over [`Top::floor`] has a row, and a row that was never dropped has exact counts; one that came back lacks
//! at most `floor` of weight. The floor is at most the total weight by `rows_max`.

use std::collections::HashMap;
use std::sync::Arc;

use bincode::{Decode, Encode};

#[derive(Clone, Debug)]
struct Row<V> {
    name: Arc<str>,
    weight: u64,
    value: V,
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Top<V> {
    /// Places in `rows`.
    index: HashMap<Arc<str>, usize>,
    rows: Vec<Row<V>>,
    floor: u64,
}

impl<V> Default for Top<V> {
    fn default() -> Self {
        Self { index: HashMap::new(), rows: Vec::new(), floor: 0 }
    }
}

/// What is kept of it: rows in order of their names.
#[derive(Encode, Decode)]
pub(crate) struct TopRecord<V> {
    floor: u64,
    rows: Vec<(String, u64, V)>,
}

impl<V: Clone + Default> Top<V> {
    /// Adds weight to a name and gives its row. Up to twice `rows_max` rows are held.
    pub(crate) fn bump(&mut self, name: &str, weight: u64, rows_max: usize) -> &mut V {
        let known = self.index.get(name).copied();
        let at = known.unwrap_or_else(|| {
            if self.rows.len() >= 2 * rows_max {
                self.prune(rows_max);
            }
            let name: Arc<str> = name.into();
            self.index.insert(Arc::clone(&name), self.rows.len());
            self.rows.push(Row { name, weight: self.floor, value: V::default() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        row.weight = row.weight.saturating_add(weight);
        &mut row.value
    }

    /// The row of a name that has one.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let at = *self.index.get(name)?;
        self.rows.get_mut(at).map(|row| &mut row.value)
    }

    /// The row of a name that has one.
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.rows.get(*self.index.get(name)?).map(|row| &row.value)
    }

    /// Every row, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.rows.iter().map(|row| (&row.name, &row.value))
    }

    /// Changes every row, and drops those of which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.rows.retain_mut(|row| keep(&mut row.value));
        self.reindex();
    }

    /// The weight that a name without a row has at most.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    fn prune(&mut self, rows_max: usize) {
        self.rows.sort_by(|one, other| other.weight.cmp(&one.weight).then_with(|| one.name.cmp(&other.name)));
        if let Some(heaviest) = self.rows.get(rows_max) {
            self.floor = self.floor.max(heaviest.weight);
        }
        self.rows.truncate(rows_max);
        self.reindex();
    }

    fn reindex(&mut self) {
        self.index = self.rows.iter().enumerate().map(|(at, row)| (Arc::clone(&row.name), at)).collect();
    }

    pub(crate) fn record(&self) -> TopRecord<V> {
        let mut rows: Vec<(String, u64, V)> = self.rows.iter().map(|row| (row.name.to_string(), row.weight, row.value.clone())).collect();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        TopRecord { floor: self.floor, rows }
    }

    pub(crate) fn of_record(record: TopRecord<V>) -> Self {
        let row = |(name, weight, value): (String, u64, V)| Row { name: name.into(), weight, value };
        let mut top = Self { index: HashMap::new(), rows: record.rows.into_iter().map(row).collect(), floor: record.floor };
        top.reindex();
        top
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is heavy has a row, no row says more than was there, and what it lacks is within the floor.
        #[test]
        fn heavy_names_stay(names in prop::collection::vec(prop_oneof![3 => 0..6_u32, 2 => 0..200_u32], 0..600)) {
            let (mut top, mut exact) = (Top::<u64>::default(), BTreeMap::<String, u64>::new());
            for name in names.iter().map(u32::to_string) {
                *top.bump(&name, 1, 10) += 1;
                *exact.entry(name).or_default() += 1;
            }
            prop_assert!(top.rows.len() <= 20);
            prop_assert!(top.floor() <= names.len() as u64 / 10);
            for (name, count) in &exact {
                match top.get(name) {
                    Some(counted) => prop_assert!(counted <= count && counted + top.floor() >= *count),
                    None => prop_assert!(*count <= top.floor()),
                }
            }
            let again = Top::of_record(top.record());
            prop_assert_eq!(again.record().rows, top.record().rows);
        }
    }
}
