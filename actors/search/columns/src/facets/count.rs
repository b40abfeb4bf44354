//! How many products of a set have each cell, and so each value.

use crate::bits;
use crate::cells::NONE;
use crate::column::Column;
use crate::numbers::NumberReader;
use crate::offers::AVAILABILITIES;
use crate::snapshot::{Field, Snapshot};

use super::counter::Counter;
use super::ranges::Numbers;

/// See the module.
pub(super) struct Tally {
    cells: Cells,
    /// Products without a value.
    pub(super) missing: u64,
}

enum Cells {
    /// Counts of codes, then of sets.
    Column { counts: Vec<u32>, codes: usize },
    /// Counts of single values as [`Snapshot::value_of`] gives them.
    Values(Vec<(u64, u64)>),
}

/// Counts of groups of products.
pub(super) struct Grouped {
    pub(super) values: Vec<(u64, u64)>,
    pub(super) missing: u64,
}

impl Tally {
    pub(super) fn new(snapshot: &Snapshot, field: Field<'_>, set: &[u64]) -> Self {
        let products = bits::count(set) as u64;
        if let Field::Column(column) = field {
            let codes = column.dictionary.values.len();
            // The last is for products without a cell.
            let mut counts = vec![0_u32; codes + column.set_count() + 1];
            let last = counts.len() - 1;
            column.cells().each(set, |_, cell| {
                let index = if cell == NONE { last } else { Column::set_of(cell).map_or(cell as usize, |set| codes + set) };
                if let Some(count) = counts.get_mut(index) {
                    *count += 1;
                }
            });
            counts.pop();
            let missing = products - column.exists.count_in(set) as u64;
            return Self { cells: Cells::Column { counts, codes }, missing };
        }
        if let Field::Availability = field {
            let counts = snapshot.offers.count_availabilities(set).into_iter().zip(0_u64..);
            let counts = counts.filter(|(count, _)| *count > 0).map(|(count, place)| (place, count));
            return Self { cells: Cells::Values(counts.collect()), missing: 0 };
        }
        // Prices differ from one another, availabilities hardly.
        let mut counter = Counter::new(if matches!(field, Field::Number(_)) { products.min(8_192) as usize } else { 8 });
        match field {
            Field::Number(field) => snapshot.offers.each_number(set, field, |number| counter.add(number.to_bits())),
            field => bits::slots(set).filter_map(|slot| snapshot.code(field, slot)).for_each(|value| counter.add(value)),
        }
        let counts: Vec<(u64, u64)> = counter.counts().collect();
        let missing = products - counts.iter().map(|(_, count)| count).sum::<u64>();
        Self { cells: Cells::Values(counts), missing }
    }

    /// The products of each value; of a column by the codes of heads.
    pub(super) fn values(&self, field: Field<'_>) -> Vec<(u64, u64)> {
        match (&self.cells, field) {
            (Cells::Column { counts, codes }, Field::Column(column)) => {
                let mut values = counts[..*codes].to_vec();
                for (set, count) in counts[*codes..].iter().enumerate().filter(|(_, count)| **count > 0) {
                    column.set_codes(set).iter().for_each(|code| values[*code as usize] += count);
                }
                for code in 0..values.len() {
                    let head = if values[code] == 0 { code } else { column.dictionary.head(code as u32) as usize };
                    if head != code {
                        values[head] += std::mem::take(&mut values[code]);
                    }
                }
                let counted = values.into_iter().enumerate().filter(|(_, count)| *count > 0);
                counted.map(|(code, count)| (code as u64, u64::from(count))).collect()
            }
            (Cells::Values(counts), _) => counts.clone(),
            (Cells::Column { .. }, _) => Vec::new(),
        }
    }

    /// The numbers of each cell with its count; `None` for an attribute without numbers.
    pub(super) fn numbers<'a>(&self, snapshot: &'a Snapshot, field: Field<'a>) -> Option<Numbers<'a>> {
        let mut numbers = Numbers::new(NumberReader::new(snapshot, field)?);
        match (&self.cells, field) {
            (Cells::Column { counts, codes }, Field::Column(column)) => {
                for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    if index < *codes {
                        numbers.add(&[index as u32], *count);
                    } else {
                        numbers.add(column.set_codes(index - codes), *count);
                    }
                }
            }
            (Cells::Values(counts), _) => counts.iter().for_each(|(number, count)| numbers.add_number(f64::from_bits(*number), *count)),
            (Cells::Column { .. }, _) => {}
        }
        Some(numbers)
    }

    /// Groups count once for each value that products of them have.
    pub(super) fn grouped(&self, snapshot: &Snapshot, field: Field<'_>, groups: &Groups) -> Grouped {
        let mut missing = 0;
        let mut values: Vec<u64> = Vec::new();
        let mut counter = Counter::new(8);
        // A column's values are small numbers: an array counts them faster.
        let mut counts = if let Cells::Column { codes, .. } = self.cells { vec![0_u64; codes] } else { Vec::new() };
        for slots in groups.iter() {
            values.clear();
            let mut is_missing = false;
            for slot in slots {
                let before = values.len();
                if let Field::Column(column) = field {
                    let cell = column.cell(*slot);
                    values.extend(column.expand(&cell).iter().map(|code| u64::from(column.dictionary.head(*code))));
                    is_missing |= values.len() == before && !column.exists.contains(*slot);
                } else {
                    values.extend(snapshot.code(field, *slot));
                    is_missing |= values.len() == before;
                }
            }
            missing += u64::from(is_missing);
            values.sort_unstable();
            values.dedup();
            for value in &values {
                match counts.get_mut(*value as usize) {
                    Some(count) => *count += 1,
                    None => counter.add(*value),
                }
            }
        }
        let counted = counts.into_iter().zip(0_u64..).filter(|(count, _)| *count > 0).map(|(count, value)| (value, count));
        Grouped { values: counted.chain(counter.counts()).collect(), missing }
    }
}

/// The products of a set by group: those with the same value of an attribute, each of the others alone.
pub(super) struct Groups {
    slots: Vec<u32>,
    /// Where each group ends.
    ends: Vec<usize>,
}

impl Groups {
    pub(super) fn new(snapshot: &Snapshot, group: Field<'_>, set: &[u64]) -> Self {
        let of = |slot| snapshot.code(group, slot).map_or((false, u64::from(slot)), |value| (true, value));
        let mut members: Vec<((bool, u64), u32)> = bits::slots(set).map(|slot| (of(slot), slot)).collect();
        members.sort_unstable();
        let mut groups = Self { slots: Vec::with_capacity(members.len()), ends: Vec::new() };
        for group in members.chunk_by(|a, b| a.0 == b.0) {
            groups.slots.extend(group.iter().map(|(_, slot)| slot));
            groups.ends.push(groups.slots.len());
        }
        groups
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.slots[std::mem::replace(&mut start, *end)..*end])
    }
}

impl Snapshot {
    /// Equal counts stand in the order of their values: numbers by size, texts by their folded form.
    pub(super) fn compare_values(&self, field: Field<'_>, a: u64, b: u64) -> std::cmp::Ordering {
        match field {
            Field::Column(column) => column.dictionary.key(a as u32).cmp(column.dictionary.key(b as u32)),
            Field::Number(_) => f64::from_bits(a).total_cmp(&f64::from_bits(b)),
            _ => self.shown_value(field, a).cmp(&self.shown_value(field, b)),
        }
    }

    /// A value as people are shown it.
    pub(crate) fn shown_value(&self, field: Field<'_>, value: u64) -> String {
        match field {
            Field::Id => self.id(value as u32).map(ToString::to_string).unwrap_or_default(),
            Field::Column(column) => column.dictionary.shown(value as u32).to_owned(),
            Field::Number(_) => f64::from_bits(value).to_string(),
            Field::Availability => AVAILABILITIES.get(value as usize).map_or("", |(name, _)| name).to_owned(),
            Field::Currency => crate::offers::currency_of(value as u32).map_or(String::new(), |currency| currency.as_str().to_owned()),
        }
    }
}
