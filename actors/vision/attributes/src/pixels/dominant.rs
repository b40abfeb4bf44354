//! Dominant colours of the product, and the histogram that the teacher learns from.

use super::colour::{Lab, distance2, srgb};
use super::segment::Mask;
use super::{Region, Small};

/// Colours told of a product, at most.
const COLOURS_MAX: usize = 6;
/// Rounds of k-means.
const ROUNDS: usize = 8;
/// Points that centres are found on, at most: every so-many-th.
const POINTS_MAX: usize = 1500;
/// Clusters nearer than this are one colour, in OKLab.
const SAME: f32 = 0.06;
/// Colours of less than this share are not told.
const SHARE_MIN: f32 = 0.05;

/// One dominant colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Dominant {
    /// As people see it: OKLab.
    pub lab: Lab,
    /// As screens show it.
    pub srgb: [u8; 3],
    /// Share of the product, 0 to 1.
    pub share: f32,
}

/// Colours that lie together.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) centre: Lab,
    pub(super) weight: f32,
    /// Root mean square distance from the centre.
    pub(super) spread: f32,
}

/// Weighted k-means; begins with the mean and then, each time, with the colour that is farthest from all centres for its weight, so
/// that equal pictures give equal clusters. Empty clusters are left out; the heaviest comes first.
pub(super) fn clusters(colours: &[Lab], weights: &[f32], count: usize) -> Vec<Cluster> {
    let points: Vec<(&Lab, f32)> = colours.iter().zip(weights.iter().copied()).filter(|(_, weight)| *weight > 0.0).collect();
    if points.is_empty() {
        return Vec::new();
    }
    let step = points.len().div_ceil(POINTS_MAX);
    let some: Vec<(&Lab, f32)> = points.iter().copied().skip(step / 2).step_by(step).collect();
    let centres = centres(&some, count);
    let mut found: Vec<Cluster> = centres.iter().map(|centre| Cluster { centre: *centre, weight: 0.0, spread: 0.0 }).collect();
    for (colour, weight) in &points {
        let own = &mut found[nearest_of(&centres, colour)];
        own.weight += weight;
        own.spread += weight * distance2(colour, &own.centre);
    }
    found.retain(|cluster| cluster.weight > 0.0);
    found.iter_mut().for_each(|cluster| cluster.spread = (cluster.spread / cluster.weight).sqrt());
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    found
}

fn centres(points: &[(&Lab, f32)], count: usize) -> Vec<Lab> {
    let mut centres = vec![mean(points.iter().copied())];
    let mut nearest = vec![f32::INFINITY; points.len()];
    while centres.len() < count {
        let Some(last) = centres.last().copied() else { break };
        let mut farthest = (0.0, 0);
        for (place, ((colour, weight), near)) in points.iter().zip(&mut nearest).enumerate() {
            *near = near.min(distance2(colour, &last));
            if *near * weight > farthest.0 {
                farthest = (*near * weight, place);
            }
        }
        if farthest.0 <= 1e-6 {
            break;
        }
        centres.push(*points[farthest.1].0);
    }
    let mut own = vec![0usize; points.len()];
    for _ in 0..ROUNDS {
        let mut moved = false;
        for ((colour, _), own) in points.iter().zip(&mut own) {
            let place = nearest_of(&centres, colour);
            moved |= std::mem::replace(own, place) != place;
        }
        for (place, centre) in centres.iter_mut().enumerate() {
            let members = points.iter().zip(&own).filter(|(_, own)| **own == place).map(|(point, _)| *point);
            if members.clone().next().is_some() {
                *centre = mean(members);
            }
        }
        if !moved {
            break;
        }
    }
    centres
}

fn nearest_of(centres: &[Lab], colour: &Lab) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (place, centre) in centres.iter().enumerate() {
        let distance = distance2(colour, centre);
        if distance < best.0 {
            best = (distance, place);
        }
    }
    best.1
}

fn mean<'a>(points: impl Iterator<Item = (&'a Lab, f32)>) -> Lab {
    let (mut sum, mut all) = ([0f64; 3], 0f64);
    for (colour, weight) in points {
        sum.iter_mut().zip(colour).for_each(|(sum, value)| *sum += f64::from(weight * value));
        all += f64::from(weight);
    }
    sum.map(|value| (value / all.max(1e-12)) as f32)
}

/// How much each pixel counts for the product's colours: product, within the object, the more the nearer to the object's middle: at its
/// rim are shadows, and above and below a garment's middle hair, skin and shoes of whoever wears it.
pub(super) fn weights(mask: &Mask, object: Region) -> Vec<f32> {
    let mut weights = vec![0.0; mask.product.len()];
    for (x, y, at) in mask.within(object) {
        let from_middle = |at: usize, side: usize, start: f32, length: f32| {
            let share = (at as f32 + 0.5) / side as f32;
            (2.0 * (share - start) / length.max(1e-3) - 1.0).clamp(-1.0, 1.0)
        };
        let (dx, dy) = (from_middle(x, mask.width, object.x, object.width), from_middle(y, mask.height, object.y, object.height));
        weights[at] = mask.product[at] * (-1.2 * (dx * dx + dy * dy)).exp();
    }
    weights
}

/// The product's dominant colours, the greatest share first. None where nothing has weight.
pub(super) fn dominant(lab: &[Lab], weights: &[f32]) -> Vec<Dominant> {
    let mut found = clusters(lab, weights, COLOURS_MAX);
    // Merges the nearest two as long as they are one colour.
    while let Some((near, one, other)) = nearest_pair(&found) {
        if near >= SAME * SAME {
            break;
        }
        let Cluster { centre, weight, spread } = found.remove(other);
        let kept = &mut found[one];
        let all = kept.weight + weight;
        for (to, from) in kept.centre.iter_mut().zip(centre) {
            *to = (*to * kept.weight + from * weight) / all;
        }
        kept.spread = kept.spread.max(spread);
        kept.weight = all;
    }
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let all: f32 = found.iter().map(|cluster| cluster.weight).sum();
    let told = found.into_iter().map(|cluster| Dominant { lab: cluster.centre, srgb: srgb(cluster.centre), share: cluster.weight / all });
    told.filter(|colour| colour.share >= SHARE_MIN).collect()
}

fn nearest_pair(found: &[Cluster]) -> Option<(f32, usize, usize)> {
    let mut nearest: Option<(f32, usize, usize)> = None;
    for one in 0..found.len() {
        for other in one + 1..found.len() {
            let distance = distance2(&found[one].centre, &found[other].centre);
            if nearest.is_none_or(|(near, _, _)| distance < near) {
                nearest = Some((distance, one, other));
            }
        }
    }
    nearest
}

/// Steps of lightness for greys; steps of lightness, and hues, for weak and strong colours.
const GREYS: usize = 10;
const LIGHTNESSES: usize = 5;
const HUES: usize = 12;
/// From this chroma on a colour is weak, and from the second strong; between them shares slide.
const WEAK: f32 = 0.045;
const STRONG: f32 = 0.12;
/// Bins of one histogram.
const BINS: usize = GREYS + 2 * LIGHTNESSES * HUES;
/// Numbers of [`super::Measurements::histogram`]: one histogram of the product, and the mean colour, its spread and the product's share.
pub const HISTOGRAM_LEN: usize = BINS + 8;

/// Shares of the product's pixels by lightness, hue and chroma, each pixel spread over the bins around it, as square roots (so that
/// their products compare as Hellinger's distance does); then mean, spread and how much of the picture has weight.
pub(super) fn histogram(small: &Small, weights: &[f32]) -> Vec<f32> {
    let mut bins = vec![0f32; BINS];
    let all: f32 = weights.iter().sum::<f32>().max(1e-6);
    for (lab, weight) in small.lab.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
        vote(&mut bins, lab, weight / all);
    }
    bins.iter_mut().for_each(|bin| *bin = bin.max(0.0).sqrt());
    let points = || small.lab.iter().zip(weights.iter().copied());
    let centre = mean(points());
    let mut spread = [0f32; 3];
    for (lab, weight) in points() {
        spread
            .iter_mut()
            .zip(lab.iter().zip(centre))
            .for_each(|(spread, (value, centre))| *spread += weight / all * (value - centre).powi(2));
    }
    bins.extend(centre);
    bins.extend(spread.map(|value| value.max(0.0).sqrt()));
    bins.push((centre[1] * centre[1] + centre[2] * centre[2]).sqrt());
    bins.push(weights.iter().filter(|weight| **weight > 0.0).count() as f32 / weights.len().max(1) as f32);
    bins
}

fn vote(bins: &mut [f32], lab: &Lab, share: f32) {
    let chroma = (lab[1] * lab[1] + lab[2] * lab[2]).sqrt();
    let colourful = ((chroma - 0.5 * WEAK) / WEAK).clamp(0.0, 1.0);
    let strong = ((chroma - WEAK) / (STRONG - WEAK)).clamp(0.0, 1.0);
    for (bin, part) in between(lab[0], GREYS) {
        bins[bin] += share * (1.0 - colourful) * part;
    }
    if colourful == 0.0 {
        return;
    }
    let turn = (lab[2].atan2(lab[1]) / std::f32::consts::TAU).rem_euclid(1.0) * HUES as f32;
    let (hue, beyond) = (turn as usize % HUES, turn.fract());
    for (light, part) in between(lab[0], LIGHTNESSES) {
        for (hue, near) in [(hue, 1.0 - beyond), ((hue + 1) % HUES, beyond)] {
            let at = GREYS + (light * HUES + hue) * 2;
            bins[at] += share * colourful * part * near * (1.0 - strong);
            bins[at + 1] += share * colourful * part * near * strong;
        }
    }
}

/// The two of `count` steps from 0 to 1 around a value, and how near each is.
fn between(value: f32, count: usize) -> [(usize, f32); 2] {
    let place = value.clamp(0.0, 1.0) * (count - 1) as f32;
    let low = (place as usize).min(count - 2);
    [(low, 1.0 - (place - low as f32)), (low + 1, place - low as f32)]
}
