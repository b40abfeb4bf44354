//! Which items follow which: directed pairs, less with each step between them, less with age, in bounded rows.

use crate::decay::Decay;
use crate::row::Row;
use crate::save::{Input, LoadError, Output, Saved};
use crate::scratch::Scores;
use crate::settings::{Channel, Reading};

/// Pairs of one channel.
#[derive(Clone, Debug)]
pub(crate) struct Cooccurrence<const COLUMNS: usize = 2> {
    rows: Vec<Row<COLUMNS>>,
    /// `n`: what each item weighs alone, at the scale of the rows.
    totals: Vec<f32>,
    decay: Decay,
}

impl<const COLUMNS: usize> Cooccurrence<COLUMNS> {
    pub(crate) fn new(half_life_ms: Option<u64>) -> Self {
        Self { rows: Vec::new(), totals: Vec::new(), decay: Decay::new(half_life_ms) }
    }

    /// Takes note of an event's time and returns what weight one is kept as.
    pub(crate) fn scale_at(&mut self, at_ms: u64) -> f32 {
        if let Some(factor) = self.decay.advance(at_ms) {
            self.rows.iter_mut().for_each(|row| row.scale(factor));
            self.totals.iter_mut().for_each(|total| *total *= factor);
        }
        self.decay.weight(at_ms)
    }

    pub(crate) fn add(&mut self, from: u32, to: u32, weight: f32, count: u32, row_max: usize) {
        self.make_room(from.max(to));
        self.rows[from as usize].add(to, weight, count, row_max);
    }

    pub(crate) fn adjust(&mut self, from: u32, to: u32, weight: f32) {
        if let Some(row) = self.rows.get_mut(from as usize) {
            row.adjust(to, weight);
        }
    }

    pub(crate) fn add_total(&mut self, item: u32, weight: f32) {
        self.make_room(item);
        let total = &mut self.totals[item as usize];
        *total = (*total + weight).max(0.0);
    }

    fn make_room(&mut self, item: u32) {
        if item as usize >= self.rows.len() {
            self.rows.resize_with(item as usize + 1, Row::default);
            self.totals.resize(item as usize + 1, 0.0);
        }
    }

    pub(crate) fn row(&self, item: u32) -> Option<&Row<COLUMNS>> {
        self.rows.get(item as usize).filter(|row| row.len() > 0)
    }

    pub(crate) fn bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(Row::bytes).sum();
        rows + self.rows.capacity() * size_of::<Row<COLUMNS>>() + self.totals.capacity() * size_of::<f32>()
    }

    /// What an item weighs alone, now.
    pub(crate) fn total(&self, item: u32) -> f32 {
        self.totals.get(item as usize).copied().unwrap_or(0.0) * self.decay.present()
    }

    /// What the kept weights are to be multiplied by.
    pub(crate) fn present(&self) -> f32 {
        self.decay.present()
    }

    /// The scores that one source gives its neighbours, in the order of its row.
    pub(crate) fn scores_of<'a>(&'a self, source: u32, reading: &'a Reading) -> impl Iterator<Item = (u32, f32)> + 'a {
        let present = self.present();
        let own = (self.totals.get(source as usize).copied().unwrap_or(0.0) * present).powf(1.0 - reading.popularity);
        let score = move |(item, weight): (u32, f32)| {
            let total = (self.totals[item as usize] * present).powf(reading.popularity);
            let divisor = if reading.row_normalised { total } else { own * total } + reading.shrink;
            (item, if divisor > 0.0 { weight * present / divisor } else { 0.0 })
        };
        let row = self.rows.get(source as usize);
        let greatest = match row {
            Some(row) if reading.row_normalised => row.pairs().map(score).fold(0.0f32, |greatest, (_, score)| greatest.max(score)),
            _ => 1.0,
        };
        let factor = if greatest > 0.0 { 1.0 / greatest } else { 0.0 };
        row.into_iter().flat_map(|row| row.pairs()).map(score).map(move |(item, score)| (item, score * factor))
    }

    /// Adds the scores of a history, newest item first.
    pub(crate) fn read(&self, history: &[u32], reading: &Reading, scores: &mut Scores) {
        for (place, source) in history.iter().take(reading.sources_max).enumerate() {
            let weight = source_weight(place, reading);
            for (item, score) in self.scores_of(*source, reading) {
                scores.add(item, weight * score);
            }
        }
    }
}

impl Cooccurrence {
    /// Counts an item after those before it, newest first.
    pub(crate) fn observe(&mut self, before: impl Iterator<Item = u32> + Clone, item: u32, weight: f32, at_ms: u64, channel: &Channel) {
        let scaled = self.scale_at(at_ms) * weight;
        self.add_total(item, scaled);
        let mut step = scaled;
        let before = before.take(channel.window);
        std::hint::black_box(
            before.clone().chain([item]).filter_map(|item| self.rows.get(item as usize)).fold(0, |sum, row| sum ^ row.touch()),
        );
        for earlier in before {
            self.add(earlier, item, step, 0, channel.row_max);
            if channel.back > 0.0 {
                self.add(item, earlier, step * channel.back, 0, channel.row_max);
            }
            step *= channel.decay;
        }
    }

    /// Counts what came after an item that is told of late, nearest first.
    pub(crate) fn observe_late(&mut self, after: impl Iterator<Item = (u32, f32)>, item: u32, at_ms: u64, channel: &Channel) {
        let mut step = self.scale_at(at_ms);
        for (later, weight) in after.take(channel.window) {
            self.add(item, later, step * weight, 0, channel.row_max);
            if channel.back > 0.0 {
                self.add(later, item, step * weight * channel.back, 0, channel.row_max);
            }
            step *= channel.decay;
        }
    }
}

/// What a source counts, so many items back.
pub(crate) fn source_weight(place: usize, reading: &Reading) -> f32 {
    (-(place as f32) / reading.profile_half_life.max(f32::MIN_POSITIVE)).exp2()
}

impl<const COLUMNS: usize> Saved for Cooccurrence<COLUMNS> {
    fn save(&self, output: &mut Output<'_>) {
        self.decay.save(output);
        output.all::<Row<COLUMNS>>(self.rows.iter());
        output.f32s(&self.totals);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let cooccurrence = Self { decay: Decay::load(input)?, rows: input.all()?, totals: input.f32s()? };
        let len = cooccurrence.rows.len();
        let sound = cooccurrence.totals.len() == len && cooccurrence.rows.iter().all(|row| row.ids().iter().all(|id| (*id as usize) < len));
        if sound { Ok(cooccurrence) } else { Err(LoadError::Malformed("pairs of items")) }
    }
}

impl<const COLUMNS: usize> Cooccurrence<COLUMNS> {
    /// Whether it names only items below a number.
    pub(crate) fn is_within(&self, items: usize) -> bool {
        self.rows.len() <= items
    }
}
