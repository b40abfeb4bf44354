//! Lean rows: one byte a coordinate, the bias in the last four bytes, so that one read brings all that a score needs.

use super::projection::Projection;
use super::{exact, padded};

/// Encodes rows with one projection; keeps its buffers.
pub struct Encoder<'a> {
    projection: &'a Projection,
    centred: Vec<f32>,
    coordinates: Vec<f32>,
    biases: Vec<f32>,
}

impl<'a> Encoder<'a> {
    /// An encoder for rows of the projection's dimension.
    #[must_use]
    pub fn new(projection: &'a Projection) -> Self {
        Self { projection, centred: Vec::new(), coordinates: Vec::new(), biases: Vec::new() }
    }

    /// Takes rows of `dimension` numbers each, normalised here by the metric. Returns how many.
    pub fn set<'r>(&mut self, rows: impl Iterator<Item = &'r [f32]>) -> usize {
        let width = padded(self.projection.dimension());
        self.centred.clear();
        self.biases.clear();
        for row in rows {
            let at = self.centred.len();
            self.centred.extend_from_slice(row);
            self.centred.resize(at + width, 0.0);
            self.centre(at);
        }
        self.biases.len()
    }

    /// Takes one row that `read` writes into `dimension` numbers, behind those already taken.
    pub(crate) fn push(&mut self, read: impl FnOnce(&mut [f32])) {
        let at = self.centred.len();
        self.centred.resize(at + padded(self.projection.dimension()), 0.0);
        read(&mut self.centred[at..at + self.projection.dimension()]);
        self.centre(at);
    }

    /// Forgets the rows.
    pub(crate) fn clear(&mut self) {
        self.centred.clear();
        self.biases.clear();
    }

    fn centre(&mut self, at: usize) {
        let row = &mut self.centred[at..];
        self.projection.metric().normalise(&mut row[..self.projection.dimension()]);
        row.iter_mut().zip(self.projection.mean()).for_each(|(value, mean)| *value -= mean);
        self.biases.push(self.projection.bias(row));
    }

    /// Computes the coordinates of the rows taken; [`Self::write_lean`] reads them.
    pub fn project(&mut self) {
        self.coordinates.resize(self.biases.len() * self.projection.lean(), 0.0);
        self.projection.coordinates(&self.centred, &mut self.coordinates);
    }

    /// The `lean` coordinates of row `index`.
    #[must_use]
    pub fn coordinates(&self, index: usize) -> &[f32] {
        let lean = self.projection.lean();
        &self.coordinates[index * lean..(index + 1) * lean]
    }

    /// The bias of row `index`.
    #[must_use]
    pub fn bias(&self, index: usize) -> f32 {
        self.biases[index]
    }

    /// Writes row `index` as a lean row of [`Projection::stride`] bytes.
    pub fn write_lean(&self, index: usize, row: &mut [u8]) {
        let inverse = 1.0 / self.projection.step();
        let coordinates = self.coordinates(index);
        let (codes, bias) = row.split_at_mut(row.len() - 4);
        for (code, value) in codes.iter_mut().zip(coordinates) {
            *code = ((value * inverse).round_ties_even().clamp(-127.0, 127.0) as i32 + 128) as u8;
        }
        codes[coordinates.len()..].fill(128);
        bias.copy_from_slice(&self.biases[index].to_le_bytes());
    }

    /// Writes row `index` as an exact row of [`exact::stride`] bytes.
    pub fn write_exact(&self, index: usize, row: &mut [u8]) {
        let width = padded(self.projection.dimension());
        let centred = &self.centred[index * width..index * width + self.projection.dimension()];
        exact::write(centred, row);
    }
}

/// The bias in the last four bytes of a lean row.
#[inline(always)]
pub(crate) fn bias(row: &[u8]) -> f32 {
    match row {
        [.., a, b, c, d] => f32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0.0,
    }
}

/// The coordinates that a lean row stands for, relative to the mean.
pub(crate) fn decode(row: &[u8], step: f32, out: &mut [f32]) {
    for (value, code) in out.iter_mut().zip(row) {
        *value = (i32::from(*code) - 128) as f32 * step;
    }
}
