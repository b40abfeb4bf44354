//! Numbers of a set: statistics and ranges.

use domain::{Bound, FacetRange, FilterError, Scalar, Stats};

use crate::evaluate::Interval;
use crate::numbers::NumberReader;
use crate::snapshot::{Field, Snapshot};

use super::count::Groups;

/// A lower and an upper bound.
pub(super) type Range = (Option<Bound>, Option<Bound>);

/// The numbers of each different cell, and how many products have it.
pub(super) struct Numbers<'a> {
    reader: NumberReader<'a>,
    numbers: Vec<f64>,
    /// Where the cell's numbers end, and its count.
    cells: Vec<(usize, u64)>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(reader: NumberReader<'a>) -> Self {
        Self { reader, numbers: Vec::new(), cells: Vec::new() }
    }

    pub(super) fn add(&mut self, codes: &[u32], count: u32) {
        let before = self.numbers.len();
        self.numbers.extend(codes.iter().filter_map(|code| self.reader.of_code(*code)));
        if self.numbers.len() > before {
            self.cells.push((self.numbers.len(), u64::from(count)));
        }
    }

    pub(super) fn add_number(&mut self, number: f64, count: u64) {
        self.numbers.push(number);
        self.cells.push((self.numbers.len(), count));
    }

    fn cells(&self) -> impl Iterator<Item = (&[f64], u64)> {
        let mut start = 0;
        self.cells.iter().map(move |(end, count)| (&self.numbers[std::mem::replace(&mut start, *end)..*end], *count))
    }

    pub(super) fn stats(&self) -> Option<Stats> {
        let mut stats = Stats { min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, sum: 0.0, count: 0 };
        for (numbers, count) in self.cells() {
            let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            stats.min = stats.min.min(least);
            stats.max = numbers.iter().copied().fold(stats.max, f64::max);
            stats.sum += least * count as f64;
            stats.count += count;
        }
        stats.mean = stats.sum / stats.count as f64;
        (stats.count > 0).then_some(stats)
    }

    /// How many products have a number in each range; or how many groups, where it is said by what to group.
    pub(super) fn ranges(
        &self,
        attribute: &str,
        ranges: &[Range],
        grouped: Option<(&Snapshot, Field<'_>, &Groups)>,
    ) -> Result<Vec<FacetRange>, FilterError> {
        let (kind, asked) = if self.reader.is_time() { ("time", "numbers to compare") } else { ("number", "times to compare") };
        let mut counted = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            let contains: Box<dyn Fn(f64) -> bool> = match (Interval::of(*from, *to), self.reader.is_time()) {
                (Some(Interval::Any), _) => Box::new(|_| true),
                (Some(Interval::Numbers(range)), false) => Box::new(move |number| range.contains(number)),
                (Some(Interval::Times(range)), true) => Box::new(move |time| range.contains(time as i64)),
                _ => return Err(FilterError::WrongKind { attribute: attribute.to_owned(), kind, asked }),
            };
            let count = match grouped {
                None => self.cells().filter(|(numbers, _)| numbers.iter().any(|number| contains(*number))).map(|(_, count)| count).sum(),
                Some((snapshot, field, groups)) => {
                    let is_in = |slots: &&[u32]| slots.iter().any(|slot| self.any_of(snapshot, field, *slot, &contains));
                    groups.iter().filter(is_in).count() as u64
                }
            };
            let end = |bound: &Option<Bound>| bound.map(|bound| bound.value.as_f64());
            counted.push(FacetRange { from: end(from), to: end(to), count });
        }
        Ok(counted)
    }

    fn any_of(&self, snapshot: &Snapshot, field: Field<'_>, slot: u32, contains: &dyn Fn(f64) -> bool) -> bool {
        match field {
            Field::Column(column) => {
                let cell = column.cell(slot);
                column.expand(&cell).iter().filter_map(|code| self.reader.of_code(*code)).any(contains)
            }
            Field::Number(field) => snapshot.offers.number(slot, field).is_some_and(contains),
            _ => false,
        }
    }

    /// At most `count` adjoining ranges with about as many products each, open at both ends, cut at round numbers.
    pub(super) fn auto_ranges(&self, count: usize) -> Vec<Range> {
        let mut least: Vec<(f64, u64)> =
            self.cells().map(|(numbers, count)| (numbers.iter().copied().fold(f64::INFINITY, f64::min), count)).collect();
        least.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (Some((min, _)), Some((max, _))) = (least.first().copied(), least.last().copied()) else { return Vec::new() };
        if count == 0 {
            return Vec::new();
        }
        let products: u64 = least.iter().map(|(_, count)| count).sum();
        // A tenth of what a range would span were all alike wide; times are cut at whole days.
        let step = if self.reader.is_time() { 86_400_000.0 } else { round_step((max - min) / count as f64 / 10.0) };
        let mut cuts: Vec<f64> = Vec::new();
        let (mut seen, mut next) = (0, 1);
        for (number, products_here) in least {
            // The cut lies before the first number that is beyond the quantile.
            while next < count && seen >= products * next as u64 / count as u64 && seen > 0 {
                let cut = (number / step).floor() * step;
                let cut = if cut > min { cut } else { number };
                if cuts.last().is_none_or(|last| cut > *last) && cut > min {
                    cuts.push(cut);
                }
                next += 1;
            }
            seen += products_here;
        }
        let bound = |value: f64, is_inclusive| {
            let value = if self.reader.is_time() { Scalar::Time(value as i64) } else { Scalar::Number(value) };
            Some(Bound { value, is_inclusive })
        };
        let starts = std::iter::once(None).chain(cuts.iter().map(|cut| bound(*cut, true)));
        let ends = cuts.iter().map(|cut| bound(*cut, false)).chain([None]);
        starts.zip(ends).collect()
    }
}

/// The greatest of 1, 2 and 5 times a power of ten that is not above a positive number; 1 for nought.
fn round_step(width: f64) -> f64 {
    if !(width.is_finite() && width > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(width.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|digit| digit * power).find(|step| *step <= width).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_by_table() {
        for (width, step) in [(1.0, 1.0), (4.9, 2.0), (70.0, 50.0), (0.03, 0.02), (0.0, 1.0), (f64::NAN, 1.0)] {
            assert!((round_step(width) - step).abs() < 1e-12, "{width}");
        }
    }
}
