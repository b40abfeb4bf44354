//! The product apart from its background.
//!
//! The picture's edge shows what the background looks like: its colours in a few clusters. What can be reached from the edge through
//! such colours is background (a white shirt before a white wall is held together by its outline). Then, as GrabCut does (Rother,
//! Kolmogorov and Blake 2004) but without its cut: both sides' colours are learned from the sides as they stand and every pixel is
//! judged again, with its neighbours' opinion, a leaning to the centre and, where a backbone was run, its saliency.

use super::colour::{Lab, distance2};
use super::dominant::{Cluster, clusters};
use super::objects::saliency;
use super::{Activations, Region, Small};

/// Clusters of the edge's colours.
const EDGE_CLUSTERS: usize = 3;
/// So much of the edge within such a distance of its commonest colour, in OKLab, is a studio's background.
const PLAIN_SHARE: f32 = 0.6;
const PLAIN_REACH: f32 = 0.05;
/// Clusters of each side's colours.
const SIDE_CLUSTERS: usize = 6;
/// Pixels nearer to a background colour than this are background, in OKLab; noise of the edge may raise it to the second.
const REACH_MIN: f32 = 0.035;
const REACH_MAX: f32 = 0.10;
/// No place is surer to be one or the other than this by itself, which is less than an outline says; and than this where a backbone has
/// looked.
const PRIOR_MIN: f32 = 0.15;
const SURE_MIN: f32 = 0.05;
/// Rounds of judging again.
const ROUNDS: usize = 3;
/// A mask that covers less or more than these shares has failed: the centre is taken.
const SHARE_MIN: f32 = 0.01;
const SHARE_MAX: f32 = 0.985;

/// What of a picture is product, at the working size.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 0 to 1, row by row.
    pub(crate) product: Vec<f32>,
    /// The edge told background from product; otherwise the centre was taken.
    pub(crate) is_told_apart: bool,
}

impl Mask {
    /// In pixels of the working size.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// How much a point is product, 0 to 1; the point in shares of width and height.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let place = |share: f32, side: usize| ((share.clamp(0.0, 1.0) * side as f32) as usize).min(side - 1);
        self.product[place(y, self.height) * self.width + place(x, self.width)]
    }

    /// Share of a region that is product.
    pub fn share_within(&self, region: Region) -> f32 {
        let (mut sum, mut count) = (0.0, 0);
        for (_, _, at) in self.within(region) {
            sum += self.product[at];
            count += 1;
        }
        if count == 0 { 0.0 } else { sum / count as f32 }
    }

    /// Pixels of a region: column, row, place.
    pub(crate) fn within(&self, region: Region) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let place = |share: f32, side: usize| ((share.clamp(0.0, 1.0) * side as f32).round() as usize).min(side);
        let columns = place(region.x, self.width)..place(region.x + region.width, self.width);
        let rows = place(region.y, self.height)..place(region.y + region.height, self.height);
        let width = self.width;
        rows.flat_map(move |y| columns.clone().map(move |x| (x, y, y * width + x)))
    }
}

/// Tells the product of a picture, or of a region of it, from the background.
pub(crate) fn segment(small: &Small, activations: Option<&Activations<'_>>, region: Option<Region>) -> Mask {
    let (width, height) = (small.width, small.height);
    let prior = prior(small, activations, region);
    let edge = edge(width, height);
    let edge_colours: Vec<Lab> = edge.iter().map(|at| small.lab[*at]).collect();
    let backgrounds = background(&edge_colours, &edge, &prior);
    let reached = reach(small, &backgrounds, &edge);
    let mut product: Vec<f32> = reached.iter().map(|reached| if *reached { 0.0 } else { 1.0 }).collect();
    if is_told(&product) {
        for _ in 0..ROUNDS {
            let judged = judge(small, &product, &prior, &reached);
            if !is_told(&judged) {
                break;
            }
            product = judged;
        }
        drop_specks(&mut product, width, height);
    }
    let is_told_apart = is_told(&product);
    if !is_told_apart {
        product = prior.iter().map(|prior| if *prior > 0.5 { 1.0 } else { 0.0 }).collect();
    }
    if let Some(region) = region {
        let mask = Mask { width, height, product: vec![0.0; width * height], is_told_apart };
        let mut inside = vec![false; width * height];
        mask.within(region).for_each(|(_, _, at)| inside[at] = true);
        product.iter_mut().zip(inside).filter(|(_, inside)| !inside).for_each(|(product, _)| *product = 0.0);
    }
    Mask { width, height, product, is_told_apart }
}

/// Whether the edge shows one even colour: a studio's background, whose outlines tell more than a backbone's coarse map.
pub(crate) fn is_plain(small: &Small) -> bool {
    let colours: Vec<Lab> = edge(small.width, small.height).iter().map(|at| small.lab[*at]).collect();
    let found = clusters(&colours, &vec![1.0; colours.len()], EDGE_CLUSTERS);
    let Some(commonest) = found.iter().max_by(|a, b| a.weight.total_cmp(&b.weight)) else { return false };
    let near = colours.iter().filter(|colour| distance2(colour, &commonest.centre) < PLAIN_REACH * PLAIN_REACH).count();
    near as f32 >= PLAIN_SHARE * colours.len() as f32
}

fn is_told(product: &[f32]) -> bool {
    let share = product.iter().sum::<f32>() / product.len() as f32;
    (SHARE_MIN..=SHARE_MAX).contains(&share)
}

/// How likely each pixel is product before its colour is looked at: the centre of the region, and what the backbone looked at.
fn prior(small: &Small, activations: Option<&Activations<'_>>, region: Option<Region>) -> Vec<f32> {
    let region = region.unwrap_or(Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.0 });
    let looked_at = activations.map(saliency);
    let mut prior = Vec::with_capacity(small.lab.len());
    for y in 0..small.height {
        for x in 0..small.width {
            let (u, v) = ((x as f32 + 0.5) / small.width as f32, (y as f32 + 0.5) / small.height as f32);
            let from_centre = |at: f32, start: f32, length: f32| (2.0 * (at - start) / length.max(1e-3) - 1.0).abs();
            let (dx, dy) = (from_centre(u, region.x, region.width), from_centre(v, region.y, region.height));
            let centre = (1.1 - 0.6 * (dx * dx + dy * dy)).clamp(SURE_MIN, 1.0 - SURE_MIN);
            prior.push(match &looked_at {
                Some(map) => (0.5 * centre + 0.5 * map.at(u, v)).clamp(SURE_MIN, 1.0 - SURE_MIN),
                None => centre.clamp(PRIOR_MIN, 1.0 - PRIOR_MIN),
            });
        }
    }
    prior
}

/// The places of the picture's edge, two pixels deep.
fn edge(width: usize, height: usize) -> Vec<usize> {
    let depth = 2.min(width.min(height).div_ceil(2));
    let is_edge = |x: usize, y: usize| x < depth || y < depth || x + depth >= width || y + depth >= height;
    (0..width * height).filter(|at| is_edge(at % width, at / width)).collect()
}

/// The edge's colours that are background: the common ones, least where the product likely reaches the edge.
fn background(colours: &[Lab], edge: &[usize], prior: &[f32]) -> Vec<(Lab, f32)> {
    let weights: Vec<f32> = edge.iter().map(|at| 1.0 - prior[*at]).collect();
    let all: f32 = weights.iter().sum();
    let found = clusters(colours, &weights, EDGE_CLUSTERS);
    found
        .into_iter()
        .filter(|cluster| cluster.weight >= 0.15 * all)
        .map(|Cluster { centre, spread, .. }| (centre, (2.5 * spread).clamp(REACH_MIN, REACH_MAX)))
        .collect()
}

/// What can be reached from the edge through background colours without a step in colour.
fn reach(small: &Small, backgrounds: &[(Lab, f32)], edge: &[usize]) -> Vec<bool> {
    let is_background = |at: usize| backgrounds.iter().any(|(centre, reach)| distance2(&small.lab[at], centre) < reach * reach);
    let mut reached = vec![false; small.lab.len()];
    let mut open: Vec<usize> = edge.iter().copied().filter(|at| is_background(*at)).collect();
    open.iter().for_each(|at| reached[*at] = true);
    // Each pixel enters once: at most as many turns as pixels.
    while let Some(at) = open.pop() {
        for next in neighbours(at, small.width, small.height) {
            if !reached[next] && is_background(next) {
                reached[next] = true;
                open.push(next);
            }
        }
    }
    reached
}

fn neighbours(at: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (at % width, at / width);
    let sides =
        [(x > 0).then(|| at - 1), (x + 1 < width).then(|| at + 1), (y > 0).then(|| at - width), (y + 1 < height).then(|| at + width)];
    sides.into_iter().flatten()
}

/// Judges every pixel again by the colours of both sides.
fn judge(small: &Small, product: &[f32], prior: &[f32], reached: &[bool]) -> Vec<f32> {
    let other: Vec<f32> = product.iter().map(|product| 1.0 - product).collect();
    let (ours, theirs) = (clusters(&small.lab, product, SIDE_CLUSTERS), clusters(&small.lab, &other, SIDE_CLUSTERS));
    let mut lean: Vec<f32> = small
        .lab
        .iter()
        .zip(prior)
        .zip(reached)
        .map(|((colour, prior), reached)| {
            let place = (prior / (1.0 - prior)).ln();
            // What the flood did not reach is enclosed by an outline: a strong hint, but not for shadows.
            let outline = if *reached { -2.0 } else { 2.0 };
            (likelihood(&ours, colour) - likelihood(&theirs, colour)).clamp(-4.0, 4.0) + place + outline
        })
        .collect();
    for _ in 0..2 {
        lean = blurred(&lean, small.width, small.height);
    }
    lean.into_iter().map(|lean| if lean > 0.0 { 1.0 } else { 0.0 }).collect()
}

/// Logarithm of how likely a side shows a colour.
fn likelihood(side: &[Cluster], colour: &Lab) -> f32 {
    let all: f32 = side.iter().map(|cluster| cluster.weight).sum::<f32>().max(1e-6);
    let of = |cluster: &Cluster| {
        let spread = cluster.spread.max(0.03);
        (cluster.weight / all).max(1e-6).ln() - distance2(colour, &cluster.centre) / (2.0 * spread * spread) - 3.0 * spread.ln()
    };
    side.iter().map(of).fold(-30.0, f32::max)
}

/// Means of 3 x 3 pixels.
fn blurred(values: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut found = Vec::with_capacity(values.len());
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    sum += values[row * width + column];
                    count += 1.0;
                }
            }
            found.push(sum / count);
        }
    }
    found
}

/// Takes away what hangs together but is smaller than a fiftieth of the greatest piece.
fn drop_specks(product: &mut [f32], width: usize, height: usize) {
    let pieces = pieces(product, width, height);
    let greatest = pieces.iter().map(Vec::len).max().unwrap_or_default();
    for piece in pieces.into_iter().filter(|piece| piece.len() * 50 < greatest) {
        piece.into_iter().for_each(|at| product[at] = 0.0);
    }
}

/// Pixels of the mask that hang together (over sides), piece by piece in reading order.
pub(crate) fn pieces(product: &[f32], width: usize, height: usize) -> Vec<Vec<usize>> {
    let mut seen: Vec<bool> = product.iter().map(|product| *product <= 0.5).collect();
    let mut found = Vec::new();
    for start in 0..product.len() {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        let mut piece = vec![start];
        let mut next = 0;
        while let Some(at) = piece.get(next).copied() {
            next += 1;
            for other in neighbours(at, width, height).filter(|other| !std::mem::replace(&mut seen[*other], true)).collect::<Vec<_>>() {
                piece.push(other);
            }
        }
        found.push(piece);
    }
    found
}
