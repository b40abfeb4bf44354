//! One item's neighbours: a bounded row of ids and weights in one allocation, so that a hundred thousand rows stay small.

use crate::save::{Input, LoadError, Output, Saved};

/// Of a full row's least weight, what a newcomer in its place starts with.
const INHERITED: f32 = 0.5;
/// Cells of a new row.
const CELLS_MIN: usize = 4;
/// Ids compared at a time; the compiler makes vector instructions of it.
const LANES: usize = 16;

/// Neighbours of an item with a weight each; with three columns also a count of observations.
///
/// The columns lie one behind the other: ids, weights (bits of `f32`, never negative), counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row<const COLUMNS: usize> {
    cells: Box<[u32]>,
    len: u32,
}

impl<const COLUMNS: usize> Row<COLUMNS> {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[u32]>(&self.cells)
    }

    fn capacity(&self) -> usize {
        self.cells.len() / COLUMNS
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.cells[..self.len()]
    }

    fn weight_bits(&self) -> &[u32] {
        &self.cells[self.capacity()..][..self.len()]
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u32, f32)> {
        self.ids().iter().copied().zip(self.weight_bits().iter().map(|bits| f32::from_bits(*bits)))
    }

    /// Weight and count of one neighbour; the count is zero in a row without counts.
    pub(crate) fn get(&self, id: u32) -> Option<(f32, u32)> {
        let place = find(self.ids(), id)?;
        let count = if COLUMNS > 2 { self.cells[2 * self.capacity() + place] } else { 0 };
        Some((f32::from_bits(self.weight_bits()[place]), count))
    }

    /// Reads a few of the row's cells. Rows lie scattered: reading those that are needed next, all before the first is used, lets the
    /// processor fetch them at the same time.
    pub(crate) fn touch(&self) -> u32 {
        self.cells.iter().step_by(2 * LANES).fold(0, |sum, cell| sum ^ cell)
    }

    /// Adds to a neighbour. In a full row a newcomer takes the place of the least (space-saving, Metwally et al. 2005) and starts at
    /// half of its weight: in full would overrate it, from zero it would never stay.
    pub(crate) fn add(&mut self, id: u32, weight: f32, count: u32, row_max: usize) {
        let place = match find(self.ids(), id) {
            Some(place) => place,
            None if self.len() < row_max => self.push(id, row_max),
            None => {
                // Bits of floats that are not negative are ordered as the floats are; signed, for that minimum has vector instructions.
                let least = self.weight_bits().iter().map(|bits| *bits as i32).fold(i32::MAX, i32::min) as u32;
                let Some(place) = find(self.weight_bits(), least) else { return };
                let capacity = self.capacity();
                self.cells[place] = id;
                self.cells[capacity + place] = (f32::from_bits(least) * INHERITED).to_bits();
                if COLUMNS > 2 {
                    self.cells[2 * capacity + place] = 0;
                }
                place
            }
        };
        let capacity = self.capacity();
        let kept = &mut self.cells[capacity + place];
        *kept = (f32::from_bits(*kept) + weight).to_bits();
        if COLUMNS > 2 {
            let kept = &mut self.cells[2 * capacity + place];
            *kept = kept.saturating_add(count);
        }
    }

    /// Changes the weight of a neighbour that is there; below zero is zero.
    pub(crate) fn adjust(&mut self, id: u32, weight: f32) {
        if let Some(place) = find(self.ids(), id) {
            let kept = &mut self.cells[self.cells.len() / COLUMNS + place];
            *kept = (f32::from_bits(*kept) + weight).max(0.0).to_bits();
        }
    }

    pub(crate) fn scale(&mut self, factor: f32) {
        let (start, len) = (self.capacity(), self.len());
        for bits in &mut self.cells[start..start + len] {
            *bits = (f32::from_bits(*bits) * factor).to_bits();
        }
    }

    /// Appends a neighbour of no weight.
    fn push(&mut self, id: u32, row_max: usize) -> usize {
        let (len, capacity) = (self.len(), self.capacity());
        if len == capacity {
            let grown = (capacity + capacity / 2).max(CELLS_MIN).min(row_max);
            let mut cells = vec![0u32; grown * COLUMNS].into_boxed_slice();
            for column in 0..COLUMNS {
                cells[column * grown..][..len].copy_from_slice(&self.cells[column * capacity..][..len]);
            }
            self.cells = cells;
        }
        self.cells[len] = id;
        self.len += 1;
        len
    }
}

/// Where a value stands.
fn find(values: &[u32], wanted: u32) -> Option<usize> {
    let (lanes, rest) = values.as_chunks::<LANES>();
    for (index, lane) in lanes.iter().enumerate() {
        if lane.iter().fold(false, |found, value| found | (*value == wanted)) {
            return lane.iter().position(|value| *value == wanted).map(|place| index * LANES + place);
        }
    }
    rest.iter().position(|value| *value == wanted).map(|place| lanes.len() * LANES + place)
}

impl<const COLUMNS: usize> Saved for Row<COLUMNS> {
    fn save(&self, output: &mut Output<'_>) {
        output.u32(self.len);
        for column in 0..COLUMNS {
            output.u32s_bare(&self.cells[column * self.capacity()..][..self.len()]);
        }
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let len = input.u32()?;
        let cells = input.u32s_bare((len as usize).checked_mul(COLUMNS).ok_or(LoadError::Malformed("a row's length"))?)?;
        let row = Self { cells: cells.into_boxed_slice(), len };
        // A negative or endless weight would come first or nowhere for ever.
        let sound = row.weight_bits().iter().all(|bits| f32::from_bits(*bits).is_finite() && f32::from_bits(*bits).is_sign_positive());
        if sound { Ok(row) } else { Err(LoadError::Malformed("a weight")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_row_gives_the_place_of_its_least_away_at_half_its_weight() {
        let mut row = Row::<3>::default();
        for (id, weight) in [(7, 3.0), (8, 2.0), (9, 5.0)] {
            row.add(id, weight, 1, 3);
        }
        row.add(7, 1.0, 1, 3);
        row.add(1, 0.25, 1, 3);
        assert_eq!(row.pairs().collect::<Vec<_>>(), [(7, 4.0), (1, 1.25), (9, 5.0)]);
        assert_eq!((row.get(7), row.get(1), row.get(8)), (Some((4.0, 2)), Some((1.25, 1)), None));
        row.adjust(1, -9.0);
        row.scale(2.0);
        assert_eq!(row.pairs().collect::<Vec<_>>(), [(7, 8.0), (1, 0.0), (9, 10.0)]);
    }

    #[test]
    fn finds_at_every_place_of_every_length() {
        for len in 0..50u32 {
            let values: Vec<u32> = (0..len).collect();
            assert!((0..len).all(|value| find(&values, value) == Some(value as usize)), "{len}");
            assert_eq!(find(&values, len), None);
        }
    }
}
