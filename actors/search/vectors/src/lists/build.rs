//! k-means over lean rows, both assignments, and the blocks.
#![allow(unsafe_code, reason = "blocks of one column go to different threads")]

use super::{EMPTY, Lists};
use crate::codes::binary::{self, BLOCK_FACTORS, block_bytes};
use crate::codes::{lean, matrix};
use crate::kernels::BLOCK_ROWS;
use crate::memory::{Buffer, Column};
use crate::parallel::{Random, SharedRows, ShouldStop, for_each_chunk};

/// Rows of the sample that centroids are moved by, for each list.
const SAMPLE_ROWS: usize = 48;
const ROUNDS: usize = 6;
/// Nearest lists among which the second assignment is chosen.
const SECOND_CANDIDATES: usize = 8;

/// The lists of every row, and the centroids.
pub(crate) struct Assignment {
    pub(crate) centroids: Vec<f32>,
    pub(crate) first: Vec<u32>,
    /// As long as `first`, or empty without second assignments.
    pub(crate) second: Vec<u32>,
}

/// Lean rows by their decoded coordinates.
#[derive(Clone, Copy)]
pub(crate) struct Points<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) stride: usize,
    pub(crate) lean: usize,
    pub(crate) step: f32,
}

/// How rows are clustered.
#[derive(Clone, Copy)]
pub(crate) struct Clustering {
    pub(crate) lists: usize,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

impl Points<'_> {
    fn read(&self, row: usize, out: &mut [f32]) {
        lean::decode(&self.codes[row * self.stride..row * self.stride + self.lean], self.step, out);
    }
}

/// Assigns lean rows to `lists` centroids. `None` when stopped.
pub(crate) fn assign(points: Points<'_>, clustering: Clustering, should_stop: ShouldStop<'_>) -> Option<Assignment> {
    let (stride, Clustering { lists, seed, threads }) = (points.stride, clustering);
    let rows = points.codes.len() / stride;
    if lists <= 1 || rows == 0 {
        return Some(Assignment { centroids: vec![0.0; stride], first: vec![0; rows], second: Vec::new() });
    }
    let centroids = means(&points, lists, seed, threads, should_stop)?;
    let mut pairs = vec![0u32; 2 * rows];
    nearest(&points, &centroids, &(0..rows as u32).collect::<Vec<_>>(), &mut pairs, threads, should_stop)?;
    let (first, second) = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    Some(Assignment { centroids, first, second })
}

/// Lloyd's k-means on a sample.
fn means(points: &Points<'_>, lists: usize, seed: u64, threads: usize, should_stop: ShouldStop<'_>) -> Option<Vec<f32>> {
    let (rows, stride) = (points.codes.len() / points.stride, points.stride);
    let mut random = Random::new(seed);
    let sample = random.sample(rows, lists * SAMPLE_ROWS);
    let mut centroids = vec![0f32; lists * stride];
    for (centroid, row) in centroids.chunks_exact_mut(stride).zip(sample.iter().cycle()) {
        points.read(*row as usize, centroid);
    }
    let mut pairs = vec![0u32; 2 * sample.len()];
    let mut point = vec![0f32; stride];
    for _ in 0..ROUNDS {
        nearest(points, &centroids, &sample, &mut pairs, threads, should_stop)?;
        let mut counts = vec![0u32; lists];
        let mut sums = vec![0f32; lists * stride];
        for (row, pair) in sample.iter().zip(pairs.chunks_exact(2)) {
            let list = pair[0] as usize;
            counts[list] += 1;
            points.read(*row as usize, &mut point);
            sums[list * stride..(list + 1) * stride].iter_mut().zip(&point).for_each(|(sum, value)| *sum += value);
        }
        for (list, count) in counts.iter().enumerate() {
            let centroid = &mut centroids[list * stride..(list + 1) * stride];
            if *count == 0 {
                points.read(sample[random.below(sample.len())] as usize, centroid);
            } else {
                let inverse = 1.0 / *count as f32;
                centroid.iter_mut().zip(&sums[list * stride..]).for_each(|(value, sum)| *value = sum * inverse);
            }
        }
    }
    Some(centroids)
}

/// Writes the nearest list and the second assignment of each of `rows`.
fn nearest(
    points: &Points<'_>,
    centroids: &[f32],
    rows: &[u32],
    pairs: &mut [u32],
    threads: usize,
    should_stop: ShouldStop<'_>,
) -> Option<()> {
    let (stride, lists) = (points.stride, centroids.len() / points.stride);
    let halves: Vec<f32> = centroids.chunks_exact(stride).map(|row| 0.5 * row.iter().map(|value| value * value).sum::<f32>()).collect();
    let out = SharedRows::new(pairs, 2);
    for_each_chunk(
        rows.len(),
        64,
        threads,
        should_stop,
        || (Vec::new(), Vec::new(), Vec::new()),
        |(block, scores, order), range| {
            block.clear();
            block.resize(range.len() * stride, 0f32);
            for (row, values) in rows[range.clone()].iter().zip(block.chunks_exact_mut(stride)) {
                points.read(*row as usize, values);
            }
            scores.resize(range.len() * lists, 0f32);
            matrix::product(block, centroids, stride, scores);
            for ((index, values), scores) in range.zip(block.chunks_exact(stride)).zip(scores.chunks_exact_mut(lists)) {
                scores.iter_mut().zip(&halves).for_each(|(score, half)| *score -= half);
                // SAFETY: every index belongs to one chunk.
                unsafe { out.row(index) }.copy_from_slice(&choose(values, centroids, scores, order));
            }
        },
    )
    .then_some(())
}

/// The nearest list, and the one among the next that a residual orthogonal to the first recommends.
fn choose(point: &[f32], centroids: &[f32], scores: &[f32], order: &mut Vec<(f32, u32)>) -> [u32; 2] {
    let stride = point.len();
    order.clear();
    order.extend(scores.iter().enumerate().map(|(list, score)| (-score, list as u32)));
    let kept = SECOND_CANDIDATES.min(order.len());
    order.select_nth_unstable_by(kept - 1, |a, b| a.0.total_cmp(&b.0));
    order.truncate(kept);
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let first = order[0].1;
    let centroid = |list: u32| &centroids[list as usize * stride..(list as usize + 1) * stride];
    let square: f32 = point.iter().zip(centroid(first)).map(|(a, b)| (a - b) * (a - b)).sum();
    let mut best = (f32::MAX, first);
    for (_, list) in &order[1..] {
        let (mut distance, mut along) = (0f32, 0f32);
        for ((value, a), b) in point.iter().zip(centroid(first)).zip(centroid(*list)) {
            distance += (value - b) * (value - b);
            along += (value - a) * (value - b);
        }
        let loss = distance + along * along / square.max(f32::MIN_POSITIVE);
        if loss < best.0 {
            best = (loss, *list);
        }
    }
    [first, best.1]
}

/// The rows in the order of their lists: the original index of each row.
pub(crate) fn order(assignment: &Assignment) -> Vec<u32> {
    let mut order: Vec<u32> = (0..assignment.first.len() as u32).collect();
    order.sort_by_key(|row| assignment.first[*row as usize]);
    order
}

/// Packs rows, already in list order, into blocks. `None` when stopped.
pub(crate) fn pack(points: Points<'_>, assignment: &Assignment, threads: usize, should_stop: ShouldStop<'_>) -> Option<Lists> {
    let Points { codes, stride, lean, step } = points;
    let lists = assignment.centroids.len() / stride;
    let mut rows = Vec::new();
    let first = block_rows(&assignment.first, lists, &mut rows);
    let second = block_rows(&assignment.second, lists, &mut rows);
    let blocks = rows.len() / BLOCK_ROWS;
    let owners = owners(&first, &second, blocks);
    let mut block_codes = Buffer::<u8>::zeroed(blocks * block_bytes(stride));
    let mut factors = Buffer::<f32>::zeroed(blocks * BLOCK_FACTORS);
    let (code_lines, factor_lines) = (SharedRows::new(&mut block_codes, block_bytes(stride)), SharedRows::new(&mut factors, BLOCK_FACTORS));
    let complete = for_each_chunk(
        blocks,
        16,
        threads,
        should_stop,
        || vec![0f32; lean],
        |point, range| {
            for block in range {
                // SAFETY: every block belongs to one chunk.
                let (codes_out, factors_out) = unsafe { (code_lines.row(block), factor_lines.row(block)) };
                let centroid = &assignment.centroids[owners[block] * stride..owners[block] * stride + lean];
                binary::clear(factors_out);
                for (lane, row) in rows[block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS].iter().enumerate().filter(|(_, row)| **row != EMPTY) {
                    let line = &codes[*row as usize * stride..(*row as usize + 1) * stride];
                    lean::decode(&line[..lean], step, point);
                    binary::write(point, centroid, lean::bias(line), lane, codes_out, factors_out);
                }
            }
        },
    );
    complete.then(|| Lists {
        centroids: Column::from(Buffer::from_slice(&assignment.centroids)),
        centroid_codes: centroid_codes(&assignment.centroids, stride, lean, step),
        first: Column::from(Buffer::from_slice(&first)),
        second: Column::from(Buffer::from_slice(&second)),
        codes: block_codes.into(),
        factors: factors.into(),
        rows: Column::from(Buffer::from_slice(&rows)),
    })
}

/// Appends whole blocks for every list, and returns the first block of each and the end.
fn block_rows(lists_of_rows: &[u32], lists: usize, rows: &mut Vec<u32>) -> Vec<u32> {
    let mut members = vec![Vec::new(); lists];
    for (row, list) in lists_of_rows.iter().enumerate() {
        members[*list as usize].push(row as u32);
    }
    let mut offsets = Vec::with_capacity(lists + 1);
    for list in members {
        offsets.push((rows.len() / BLOCK_ROWS) as u32);
        rows.extend(list);
        rows.resize(rows.len().next_multiple_of(BLOCK_ROWS), EMPTY);
    }
    offsets.push((rows.len() / BLOCK_ROWS) as u32);
    offsets
}

/// The list of every block.
fn owners(first: &[u32], second: &[u32], blocks: usize) -> Vec<usize> {
    let mut owners = vec![0; blocks];
    for offsets in [first, second] {
        for (list, range) in offsets.windows(2).enumerate() {
            owners[range[0] as usize..range[1] as usize].fill(list);
        }
    }
    owners
}

fn centroid_codes(centroids: &[f32], stride: usize, lean: usize, step: f32) -> Column<u8> {
    let mut codes = Buffer::<u8>::zeroed(centroids.len());
    codes.fill(128);
    for (row, centroid) in codes.chunks_exact_mut(stride).zip(centroids.chunks_exact(stride)) {
        for (code, value) in row.iter_mut().zip(&centroid[..lean]) {
            *code = ((value / step).round_ties_even().clamp(-127.0, 127.0) as i32 + 128) as u8;
        }
        let half = -0.5 * centroid.iter().map(|value| value * value).sum::<f32>();
        row[stride - 4..].copy_from_slice(&half.to_le_bytes());
    }
    codes.into()
}
