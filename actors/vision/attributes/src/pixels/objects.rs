//! Where the objects are: the detector's seam, and the detector that needs no weights of its own.
//!
//! The backbone's activations tell what stands out: cells whose descriptor is strong and unlike the picture's edge (class-agnostic
//! activation maps, after Wei et al. 2017, "Selective Convolutional Descriptor Aggregation"). Without activations the mask alone decides.

use super::segment::{Mask, pieces};
use super::{Activations, Picture};

/// Objects of a picture, at most.
pub const OBJECTS_MAX: usize = 8;
/// The saliency is looked at on a grid of this side.
const GRID: usize = 32;
/// Cells more salient than this share of the greatest saliency belong to objects.
const SALIENT: f32 = 0.4;
/// Objects smaller than this share of the picture are none.
const AREA_MIN: f32 = 0.008;
/// Boxes that overlap in more than this share of the smaller one are one object.
const OVERLAP: f32 = 0.5;

/// A rectangle of a picture, in shares of its width and height from the left and from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The left edge, 0 to 1.
    pub x: f32,
    /// The upper edge, 0 to 1.
    pub y: f32,
    /// Greater than 0.
    pub width: f32,
    /// Greater than 0.
    pub height: f32,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
}

impl Region {
    /// Whether it lies within the picture and shows something.
    pub fn is_within(&self) -> bool {
        let fits = |start: f32, length: f32| start >= 0.0 && length > 0.0 && start + length <= 1.001;
        fits(self.x, self.width) && fits(self.y, self.height)
    }

    fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Area that both cover.
    fn shared(&self, other: &Self) -> f32 {
        let along = |a: f32, a_length: f32, b: f32, b_length: f32| ((a + a_length).min(b + b_length) - a.max(b)).max(0.0);
        along(self.x, self.width, other.x, other.width) * along(self.y, self.height, other.y, other.height)
    }

    /// The part that both cover of what either covers, 0 to 1.
    pub fn overlap(&self, other: &Self) -> f32 {
        let shared = self.shared(other);
        shared / (self.area() + other.area() - shared).max(f32::MIN_POSITIVE)
    }

    /// The rectangle around both.
    fn around(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = ((self.x + self.width).max(other.x + other.width), (self.y + self.height).max(other.y + other.height));
        Self { x, y, width: right - x, height: bottom - y, score: self.score.max(other.score) }
    }
}

/// What a detector looks at.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The picture.
    pub picture: &'a Picture<'a>,
    /// The backbone's activations, where it was run.
    pub activations: Option<&'a Activations<'a>>,
    /// The product apart from its background.
    pub mask: &'a Mask,
}

/// Finds objects. A model that was trained to do so stands in here.
pub trait Detector {
    /// The objects of a scene, in any order; what does not lie within the picture is left out.
    fn detect(&self, scene: &Scene<'_>) -> Vec<Region>;
}

/// The detector that needs no weights of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Saliency {}

impl Detector for Saliency {
    fn detect(&self, scene: &Scene<'_>) -> Vec<Region> {
        let map = scene.activations.map(saliency);
        let mut grid = vec![0f32; GRID * GRID];
        for (at, cell) in grid.iter_mut().enumerate() {
            let (u, v) = (((at % GRID) as f32 + 0.5) / GRID as f32, ((at / GRID) as f32 + 0.5) / GRID as f32);
            let product = if scene.mask.is_told_apart { scene.mask.at(u, v) } else { 1.0 };
            let salient = map.as_ref().map_or(product, |map| map.at(u, v) * (0.3 + 0.7 * product));
            *cell = salient;
        }
        let greatest = grid.iter().copied().fold(0.0, f32::max);
        let is_object: Vec<f32> = grid.iter().map(|cell| if greatest > 0.0 && *cell >= SALIENT * greatest { 1.0 } else { 0.0 }).collect();
        let boxes = pieces(&is_object, GRID, GRID).into_iter().map(|piece| {
            let (mut region, mut sum) = (bounds(&piece), 0.0);
            piece.iter().for_each(|at| sum += grid[*at]);
            // The surest are salient and large.
            region.score = (sum / greatest.max(1e-6) / (GRID * GRID) as f32).sqrt().clamp(0.0, 1.0);
            tightened(region, scene.mask)
        });
        merged(boxes.filter(|region| region.area() >= AREA_MIN).collect())
    }
}

/// The rectangle around cells of the grid.
fn bounds(piece: &[usize]) -> Region {
    let side = GRID as f32;
    let (mut left, mut top, mut right, mut bottom) = (GRID, GRID, 0, 0);
    for at in piece {
        (left, top) = (left.min(at % GRID), top.min(at / GRID));
        (right, bottom) = (right.max(at % GRID + 1), bottom.max(at / GRID + 1));
    }
    let span = |from: usize, to: usize| to.saturating_sub(from) as f32 / side;
    Region { x: left as f32 / side, y: top as f32 / side, width: span(left, right), height: span(top, bottom), score: 0.0 }
}

/// Brought to the mask's edges where the mask tells product from background: grown by a cell, then shrunk to what is product.
fn tightened(region: Region, mask: &Mask) -> Region {
    if !mask.is_told_apart {
        return region;
    }
    let cell = 1.0 / GRID as f32;
    let (x, y) = ((region.x - cell).max(0.0), (region.y - cell).max(0.0));
    let (right, bottom) = ((region.x + region.width + cell).min(1.0), (region.y + region.height + cell).min(1.0));
    let grown = Region { x, y, width: right - x, height: bottom - y, score: region.score };
    let (width, height) = mask.size();
    let (mut least, mut most) = ((width, height), (0, 0));
    for (column, row, at) in mask.within(grown) {
        if mask.product[at] > 0.5 {
            least = (least.0.min(column), least.1.min(row));
            most = (most.0.max(column + 1), most.1.max(row + 1));
        }
    }
    if most.0 <= least.0 || most.1 <= least.1 {
        return region;
    }
    let (width, height) = (width as f32, height as f32);
    Region {
        x: least.0 as f32 / width,
        y: least.1 as f32 / height,
        width: (most.0 - least.0) as f32 / width,
        height: (most.1 - least.1) as f32 / height,
        score: region.score,
    }
}

/// Boxes that lie over one another become one; the surest come first.
fn merged(mut boxes: Vec<Region>) -> Vec<Region> {
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    boxes.truncate(4 * OBJECTS_MAX);
    let mut found: Vec<Region> = Vec::new();
    for mut region in boxes {
        // A box that has grown may lie over another by now.
        while let Some(place) = found.iter().position(|other| other.shared(&region) > OVERLAP * other.area().min(region.area())) {
            region = found.remove(place).around(&region);
        }
        found.push(region);
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(OBJECTS_MAX);
    found
}

/// A map over the picture, 0 to 1.
pub(super) struct Map {
    width: usize,
    height: usize,
    cells: Vec<f32>,
    seen: Region,
}

impl Map {
    /// The map at a point of the picture, between its cells' middles; 0 outside what the model saw.
    pub(super) fn at(&self, u: f32, v: f32) -> f32 {
        let (u, v) = ((u - self.seen.x) / self.seen.width, (v - self.seen.y) / self.seen.height);
        // Just outside of the model's crop the nearest cell still tells something.
        if !(-0.15..=1.15).contains(&u) || !(-0.15..=1.15).contains(&v) {
            return 0.0;
        }
        let split = |share: f32, side: usize| {
            let place = (share * side as f32 - 0.5).clamp(0.0, (side - 1) as f32);
            let low = (place as usize).min(side.saturating_sub(2));
            (low, (low + 1).min(side - 1), place - low as f32)
        };
        let ((left, right, x), (top, bottom, y)) = (split(u, self.width), split(v, self.height));
        let row = |row: usize| self.cells[row * self.width + left] * (1.0 - x) + self.cells[row * self.width + right] * x;
        row(top) * (1.0 - y) + row(bottom) * y
    }
}

/// How much each cell stands out: its strength, times how unlike the mean descriptor of the map's edge it is.
pub(super) fn saliency(activations: &Activations<'_>) -> Map {
    let Activations { height, width, values, seen } = *activations;
    let channels = activations.channels();
    let norms: Vec<f32> = values.chunks_exact(channels).map(|cell| cell.iter().map(|value| value * value).sum::<f32>().sqrt()).collect();
    let mut edge = vec![0f32; channels];
    for (at, (cell, norm)) in values.chunks_exact(channels).zip(&norms).enumerate() {
        let (x, y) = (at % width, at / width);
        if (x == 0 || y == 0 || x + 1 == width || y + 1 == height) && *norm > 0.0 {
            edge.iter_mut().zip(cell).for_each(|(sum, value)| *sum += value / norm);
        }
    }
    let edge_norm = edge.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
    let mut cells: Vec<f32> = values
        .chunks_exact(channels)
        .zip(&norms)
        .map(|(cell, norm)| {
            let along = cell.iter().zip(&edge).map(|(value, edge)| value * edge).sum::<f32>() / (norm.max(1e-6) * edge_norm);
            norm * (0.25 + (1.0 - along).clamp(0.0, 1.0))
        })
        .collect();
    let (least, greatest) = cells.iter().fold((f32::INFINITY, 0f32), |(least, greatest), cell| (least.min(*cell), greatest.max(*cell)));
    cells.iter_mut().for_each(|cell| *cell = (*cell - least) / (greatest - least).max(1e-6));
    Map { width, height, cells, seen }
}
