//! A model: of each item the weights it gives to others, and how a history is scored with them.

use crate::sweep::Square;

/// Rows read from the matrix at once, so that a column of it is read a cache line at a time.
const BAND: usize = 16;

/// Of each item the greatest weights, as lists one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Where each item's list begins; one more than items.
    starts: Vec<u32>,
    /// The others of each list, ascending.
    items: Vec<u32>,
    weights: Vec<f32>,
}

impl Model {
    /// Reads the weights from a swept matrix, which is `-P` from its diagonal down.
    pub(crate) fn new(swept: &Square, items: usize, weights_max: usize) -> Self {
        let (side, cells) = (swept.side, &swept.cells);
        let mut model = Self { starts: vec![0], ..Self::default() };
        let mut lines = vec![0f32; BAND * side];
        let mut kept: Vec<(u32, f32)> = Vec::with_capacity(items);
        for first in (0..items).step_by(BAND) {
            for other in 0..items {
                for at in 0..BAND {
                    let item = first + at;
                    lines[at * side + other] = if other < item { cells[item * side + other] } else { cells[other * side + item] };
                }
            }
            for item in first..(first + BAND).min(items) {
                let line = &lines[(item - first) * side..][..items];
                let weight = |other: usize| -line[other] / cells[other * side + other];
                kept.clear();
                kept.extend((0..items).filter(|other| *other != item).map(|other| (other as u32, weight(other))));
                kept.retain(|(_, weight)| *weight != 0.0);
                if kept.len() > weights_max {
                    kept.select_nth_unstable_by(weights_max, |a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
                    kept.truncate(weights_max);
                }
                kept.sort_unstable_by_key(|(other, _)| *other);
                model.items.extend(kept.iter().map(|(other, _)| *other));
                model.weights.extend(kept.iter().map(|(_, weight)| *weight));
                model.starts.push(model.items.len() as u32);
            }
        }
        model.items.shrink_to_fit();
        model.weights.shrink_to_fit();
        model
    }

    /// Items that it may know something of.
    pub fn items(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        4 * (self.starts.capacity() + self.items.capacity() + self.weights.capacity())
    }

    /// What an item says of others, those in ascending order; nothing of one that it does not know.
    pub fn row(&self, item: u32) -> impl Iterator<Item = (u32, f32)> {
        let range = self.range(item);
        self.items[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// What an item says of another one.
    pub fn weight(&self, item: u32, other: u32) -> f32 {
        let range = self.range(item);
        self.items[range.clone()].binary_search(&other).map_or(0.0, |place| self.weights[range.start + place])
    }

    fn range(&self, item: u32) -> std::ops::Range<usize> {
        let start_of = |item: usize| self.starts.get(item).map(|start| *start as usize);
        match (start_of(item as usize), start_of(item as usize + 1)) {
            (Some(start), Some(end)) => start..end,
            _ => 0..0,
        }
    }

    /// Sums up what a history says, newest item first: each item's weights count `decay` times those of the one before. The items of
    /// the history have sums, too, and are for the caller to leave out. What `sums` held is gone.
    pub fn score(&self, history: &[u32], decay: f32, sums: &mut Sums) {
        sums.begin(self.items());
        let mut factor = 1.0;
        for item in history {
            self.row(*item).for_each(|(other, weight)| sums.add(other, weight * factor));
            factor *= decay;
        }
    }

    /// The item of a history that says most for another one, and what it adds.
    pub fn greatest_term(&self, history: &[u32], decay: f32, other: u32) -> Option<(u32, f32)> {
        let mut factor = 1.0;
        let terms = history.iter().map(|item| {
            let term = (*item, self.weight(*item, other) * factor);
            factor *= decay;
            term
        });
        terms.filter(|(_, term)| *term > 0.0).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }
}

/// Sums by item, kept from history to history.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    sums: Vec<f32>,
    /// Whether the sum is of the present history.
    is_touched: Vec<bool>,
    touched: Vec<u32>,
}

impl Sums {
    fn begin(&mut self, items: usize) {
        self.touched.drain(..).for_each(|item| self.is_touched[item as usize] = false);
        if self.sums.len() < items {
            self.sums.resize(items, 0.0);
            self.is_touched.resize(items, false);
        }
    }

    fn add(&mut self, item: u32, term: f32) {
        let place = item as usize;
        if !self.is_touched[place] {
            self.is_touched[place] = true;
            self.sums[place] = 0.0;
            self.touched.push(item);
        }
        self.sums[place] += term;
    }

    /// The sum of an item; 0 of one that nothing was said of.
    pub fn get(&self, item: u32) -> f32 {
        if self.is_touched.get(item as usize) == Some(&true) { self.sums[item as usize] } else { 0.0 }
    }

    /// Items that something was said of, and their sums, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        self.touched.iter().map(|item| (*item, self.sums[*item as usize]))
    }
}
