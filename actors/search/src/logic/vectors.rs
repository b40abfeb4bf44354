//! The vectors of one space: rows in append-only chunks, shared between the writer and every snapshot. A snapshot costs one
//! reference a chunk; the writer copies at most the last chunk when it goes on after one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use domain::ProductId;

/// Rows in a full chunk. Small enough that copying the last one after a snapshot is cheap (1.3 MB of 1280 numbers a row), large
/// enough that a million rows are a few thousand references.
pub const CHUNK_ROWS: usize = 256;
/// Rows that one kernel call takes together. Chunks are padded to it with zeros, so that every row is summed in the same order
/// and equal vectors have equal scores, wherever they stand.
const GROUP_ROWS: usize = 4;
const WORDS: usize = CHUNK_ROWS / 64;
const _: () = assert!(CHUNK_ROWS.is_multiple_of(64) && CHUNK_ROWS.is_multiple_of(GROUP_ROWS));

/// Rows of unit vectors and whose they are.
#[derive(Debug)]
struct Rows {
    /// `[len rounded up to GROUP_ROWS, dimensions]`, padded with zeros; room for a whole chunk from the start.
    values: Vec<f32>,
    /// `[len]`; a product's rows follow each other, across the border of a chunk too.
    owners: Vec<ProductId>,
}

impl Rows {
    fn new(dimensions: usize) -> Self {
        Self { values: Vec::with_capacity(CHUNK_ROWS * dimensions), owners: Vec::with_capacity(CHUNK_ROWS) }
    }

    fn copy(&self, dimensions: usize) -> Self {
        let mut copy = Self::new(dimensions);
        copy.values.extend_from_slice(&self.values);
        copy.owners.extend_from_slice(&self.owners);
        copy
    }

    fn push(&mut self, owner: ProductId, vector: &[f32]) {
        let at = self.owners.len() * vector.len();
        if at == self.values.len() {
            self.values.resize(at + GROUP_ROWS * vector.len(), 0.0);
        }
        self.values[at..at + vector.len()].copy_from_slice(vector);
        self.owners.push(owner);
    }
}

/// A chunk as one snapshot sees it: shared rows, and which of them count.
#[derive(Clone, Debug)]
pub struct Chunk {
    rows: Arc<Rows>,
    alive: [u64; WORDS],
}

impl Chunk {
    /// Every row, padded with zero rows to a multiple of what one kernel call takes: `[n, dimensions]`.
    pub fn values(&self) -> &[f32] {
        &self.rows.values
    }

    /// Whose row it is.
    pub fn owner(&self, row: usize) -> &ProductId {
        &self.rows.owners[row]
    }

    /// The rows that count, ascending.
    pub fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        self.alive.iter().enumerate().flat_map(|(word, bits)| {
            let next = |bits: &u64| Some(bits & bits.wrapping_sub(1)).filter(|left| *left != 0);
            std::iter::successors(Some(*bits).filter(|bits| *bits != 0), next).map(move |bits| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

/// What searches read: one moment of a space, never changed.
#[derive(Clone, Debug)]
pub struct SpaceSnapshot {
    /// The model that made the vectors.
    pub fingerprint: Arc<str>,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Products with at least one vector.
    pub products: usize,
    /// Rows of deleted or replaced vectors that still take memory.
    pub dead: usize,
    chunks: Vec<Chunk>,
}

impl SpaceSnapshot {
    /// The rows, in chunks.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Memory that the vectors take, in bytes.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_ROWS * (self.dimensions * size_of::<f32>() + size_of::<ProductId>())
    }
}

/// The one writer of a space.
#[derive(Debug)]
pub struct SpaceWriter {
    fingerprint: Arc<str>,
    dimensions: usize,
    chunks: Vec<Chunk>,
    /// Each product's rows, counted through all chunks.
    places: HashMap<ProductId, Range<usize>>,
    dead: usize,
}

impl SpaceWriter {
    /// An empty space for the vectors of one model.
    pub fn new(fingerprint: &str, dimensions: usize) -> Self {
        Self { fingerprint: fingerprint.into(), dimensions, chunks: Vec::new(), places: HashMap::new(), dead: 0 }
    }

    /// Goes on from a snapshot, sharing its rows.
    pub fn resume(snapshot: &SpaceSnapshot) -> Self {
        let mut writer = Self { chunks: snapshot.chunks.clone(), ..Self::new(&snapshot.fingerprint, snapshot.dimensions) };
        for (index, chunk) in writer.chunks.iter().enumerate() {
            for row in chunk.alive() {
                let row_in_all = index * CHUNK_ROWS + row;
                let place = writer.places.entry(chunk.owner(row).clone()).or_insert(row_in_all..row_in_all);
                place.end = row_in_all + 1;
            }
        }
        writer.dead = snapshot.dead;
        writer
    }

    /// The model whose vectors these are.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Numbers in a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Products with at least one vector.
    pub fn products(&self) -> impl Iterator<Item = &ProductId> {
        self.places.keys()
    }

    /// Sets a product's unit vectors in place of those it had; none removes it. `false` when nothing changed.
    pub fn set(&mut self, product: &ProductId, vectors: &[Vec<f32>]) -> bool {
        if vectors.is_empty() {
            return self.remove(product.as_str());
        }
        if self.holds(product, vectors) {
            return false;
        }
        self.remove(product.as_str());
        let first = self.rows();
        for vector in vectors {
            self.push(product, vector);
        }
        self.places.insert(product.clone(), first..first + vectors.len());
        true
    }

    /// Takes a product out; its rows stay as tombstones until the next compaction. `false` when it was not there.
    pub fn remove(&mut self, product: &str) -> bool {
        let Some(place) = self.places.remove(product) else { return false };
        self.dead += place.len();
        for row in place {
            self.chunks[row / CHUNK_ROWS].alive[row % CHUNK_ROWS / 64] &= !(1 << (row % 64));
        }
        true
    }

    /// Rewrites the rows without tombstones when more than `dead_ratio_max` of them are dead. Snapshots keep the old rows until they
    /// are dropped, so the peak is the old rows and the live ones together.
    pub fn compact_if_due(&mut self, dead_ratio_max: f32) -> bool {
        let is_due = self.dead > CHUNK_ROWS && self.dead as f32 > dead_ratio_max * self.rows() as f32 || self.places.is_empty();
        if !is_due || self.dead == 0 {
            return false;
        }
        let mut compact = Self::new(&self.fingerprint, self.dimensions);
        compact.places.reserve(self.places.len());
        for chunk in std::mem::take(&mut self.chunks) {
            for row in chunk.alive() {
                let product = chunk.owner(row);
                let at = compact.rows();
                compact.push(product, &chunk.values()[row * self.dimensions..][..self.dimensions]);
                compact.places.entry(product.clone()).or_insert(at..at).end = at + 1;
            }
        }
        *self = compact;
        true
    }

    /// This moment, for searches.
    pub fn snapshot(&self) -> SpaceSnapshot {
        SpaceSnapshot {
            fingerprint: Arc::clone(&self.fingerprint),
            dimensions: self.dimensions,
            products: self.places.len(),
            dead: self.dead,
            chunks: self.chunks.clone(),
        }
    }

    fn rows(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_ROWS + last.rows.owners.len())
    }

    fn holds(&self, product: &ProductId, vectors: &[Vec<f32>]) -> bool {
        let Some(place) = self.places.get(product) else { return false };
        let row = |row: usize| &self.chunks[row / CHUNK_ROWS].values()[row % CHUNK_ROWS * self.dimensions..][..self.dimensions];
        place.len() == vectors.len() && place.clone().zip(vectors).all(|(at, vector)| row(at) == vector.as_slice())
    }

    fn push(&mut self, product: &ProductId, vector: &[f32]) {
        if self.rows().is_multiple_of(CHUNK_ROWS) {
            self.chunks.push(Chunk { rows: Arc::new(Rows::new(self.dimensions)), alive: [0; WORDS] });
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        if Arc::get_mut(&mut chunk.rows).is_none() {
            chunk.rows = Arc::new(chunk.rows.copy(self.dimensions));
        }
        let Some(rows) = Arc::get_mut(&mut chunk.rows) else { return };
        let at = rows.owners.len();
        rows.push(product.clone(), vector);
        chunk.alive[at / 64] |= 1 << (at % 64);
    }
}

/// The vector scaled to L2 norm 1; `None` when it holds something that is no finite number, or nothing but zeros.
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 0.0).then(|| vector.iter().map(|value| (f64::from(*value) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProductId {
        text.parse().expect("an id")
    }

    #[test]
    fn unit_vectors_by_table() {
        let cases: [(&[f32], Option<&[f32]>); 6] = [
            (&[3.0, 4.0], Some(&[0.6, 0.8])),
            (&[1e30, 0.0], Some(&[1.0, 0.0])),
            (&[0.0, 0.0], None),
            (&[f32::NAN, 1.0], None),
            (&[f32::INFINITY, 1.0], None),
            (&[], None),
        ];
        for (vector, expected) in cases {
            assert_eq!(unit(vector).as_deref(), expected, "{vector:?}");
        }
    }

    #[test]
    fn a_snapshot_shares_full_chunks_and_never_changes() {
        let mut writer = SpaceWriter::new("m", 2);
        for number in 0..CHUNK_ROWS + 3 {
            writer.set(&id(&number.to_string()), &[vec![1.0, 0.0]]);
        }
        let before = writer.snapshot();
        writer.set(&id("new"), &[vec![0.0, 1.0]]);
        writer.remove("0");
        let after = writer.snapshot();
        assert!(Arc::ptr_eq(&before.chunks[0].rows, &after.chunks[0].rows), "a full chunk is shared even when a row of it has died");
        assert!(!Arc::ptr_eq(&before.chunks[1].rows, &after.chunks[1].rows), "the last chunk is copied before it grows");
        let rows = |snapshot: &SpaceSnapshot| snapshot.chunks.iter().map(|chunk| chunk.alive().count()).collect::<Vec<_>>();
        assert_eq!((rows(&before), rows(&after)), (vec![CHUNK_ROWS, 3], vec![CHUNK_ROWS - 1, 4]));
        assert_eq!((before.dead, after.dead), (0, 1));
    }

    #[test]
    fn setting_the_same_vectors_again_changes_nothing() {
        let mut writer = SpaceWriter::new("m", 2);
        assert!(writer.set(&id("a"), &[vec![1.0, 0.0], vec![0.0, 1.0]]));
        assert!(!writer.set(&id("a"), &[vec![1.0, 0.0], vec![0.0, 1.0]]));
        assert!(writer.set(&id("a"), &[vec![1.0, 0.0]]));
        assert_eq!(writer.snapshot().dead, 2);
        assert!(writer.set(&id("a"), &[]) && !writer.set(&id("a"), &[]));
        assert_eq!(writer.snapshot().products, 0);
    }

    #[test]
    fn compaction_gives_memory_back_and_keeps_the_rows() {
        let mut writer = SpaceWriter::new("m", 2);
        for number in 0..4 * CHUNK_ROWS {
            writer.set(&id(&number.to_string()), &[vec![1.0, 0.0], vec![0.0, 1.0]]);
        }
        for number in 0..2 * CHUNK_ROWS {
            assert!(!writer.compact_if_due(0.5));
            writer.remove(&number.to_string());
        }
        let before = writer.snapshot();
        assert!(writer.compact_if_due(0.25));
        let after = writer.snapshot();
        assert_eq!((after.dead, after.products, after.bytes()), (0, 2 * CHUNK_ROWS, before.bytes() / 2));
        assert_eq!(after.chunks[0].owner(0), &id(&(2 * CHUNK_ROWS).to_string()));
        let resumed = SpaceWriter::resume(&after);
        assert_eq!(resumed.places, writer.places);
    }
}
