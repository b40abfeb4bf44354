//! From what a detector says of its input square to regions of the picture.

use attributes::{OBJECTS_MAX, Region};

use super::picture::{Fit, fit};
use super::preprocessing::{Framing, Preprocessing};

/// A query is of an object where the detector gives all classes together at least this share, and none the rest.
const SCORE_MIN: f32 = 0.3;
/// Of two boxes that share more than this part of what both cover, the surer one stays, whatever their classes: product pictures are full
/// of things that are two things at once.
const OVERLAP_MAX: f32 = 0.5;

/// The objects of a picture of `size` pixels, the surest first, [`OBJECTS_MAX`] at most. `logits` are `[queries, classes + 1]`, the last one
/// for no object; `boxes` are `[queries, 4]`: centre, width and height in shares of the input, into which the picture was padded or squashed.
pub(crate) fn found(logits: &[f32], boxes: &[f32], size: (u32, u32), preprocessing: &Preprocessing) -> Vec<Region> {
    let side = preprocessing.side as u32;
    let fit = match preprocessing.framing {
        Framing::Pad => fit(size, side),
        _ => Fit { left: 0, top: 0, width: side, height: side },
    };
    let queries = boxes.len() / 4;
    let classes = logits.len().checked_div(queries).unwrap_or(0).max(1);
    let regions = logits.chunks_exact(classes).zip(boxes.chunks_exact(4)).filter_map(|(logits, edges)| {
        let score = certainty(logits);
        if score >= SCORE_MIN { region(edges, fit, side, score) } else { None }
    });
    suppressed(regions.collect())
}

/// One less the share of the last logit under softmax.
fn certainty(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
    1.0 - logits.last().map_or(1.0, |none| (none - greatest).exp() / sum)
}

/// A box of the input as a region of the picture that lies there; `None` where it shows nothing of it.
fn region(edges: &[f32], fit: Fit, side: u32, score: f32) -> Option<Region> {
    let &[x, y, width, height] = edges else { return None };
    let span = |centre: f32, length: f32, from: u32, extent: u32| {
        let share = |edge: f32| ((edge * side as f32 - from as f32) / extent as f32).clamp(0.0, 1.0);
        let start = share(centre - length / 2.0);
        (start, share(centre + length / 2.0) - start)
    };
    let ((x, width), (y, height)) = (span(x, width, fit.left, fit.width), span(y, height, fit.top, fit.height));
    Some(Region { x, y, width, height, score }).filter(Region::is_within)
}

/// Without boxes that lie over surer ones.
fn suppressed(mut regions: Vec<Region>) -> Vec<Region> {
    regions.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Region> = Vec::new();
    for region in regions {
        if kept.len() < OBJECTS_MAX && kept.iter().all(|surer| surer.overlap(&region) <= OVERLAP_MAX) {
            kept.push(region);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::preprocessing::Filter;
    use super::*;

    const SURE: [f32; 3] = [6.0, 0.0, 0.0];

    fn of(framing: Framing, size: (u32, u32), edges: [f32; 4]) -> Option<[f32; 4]> {
        let preprocessing = Preprocessing { side: 200, framing, filter: Filter::Bilinear };
        let region = found(&SURE, &edges, size, &preprocessing).pop()?;
        Some([region.x, region.y, region.width, region.height])
    }

    #[test]
    fn boxes_come_back_to_the_picture_by_table() {
        for (what, framing, size, edges, expected) in [
            ("a square", Framing::Pad, (90, 90), [0.5, 0.5, 0.5, 0.25], Some([0.25, 0.375, 0.5, 0.25])),
            ("a wide one, all of it", Framing::Pad, (400, 200), [0.5, 0.5, 1.0, 0.5], Some([0.0, 0.0, 1.0, 1.0])),
            ("its right lower quarter", Framing::Pad, (400, 200), [0.75, 0.625, 0.5, 0.25], Some([0.5, 0.5, 0.5, 0.5])),
            ("a high one, its upper half", Framing::Pad, (50, 200), [0.5, 0.25, 0.25, 0.5], Some([0.0, 0.0, 1.0, 0.5])),
            ("beyond its edge", Framing::Pad, (50, 200), [0.5, 0.5, 1.0, 0.5], Some([0.0, 0.25, 1.0, 0.5])),
            ("in the padding", Framing::Pad, (400, 200), [0.5, 0.1, 0.5, 0.2], None),
            ("a squashed one", Framing::Squash, (400, 200), [0.5, 0.25, 0.5, 0.5], Some([0.25, 0.0, 0.5, 0.5])),
            ("nothing", Framing::Squash, (400, 200), [0.5, 0.5, 0.0, 0.5], None),
            ("no number", Framing::Squash, (400, 200), [f32::NAN, 0.5, 0.5, 0.5], None),
        ] {
            match (of(framing, size, edges), expected) {
                (Some(found), Some(expected)) => {
                    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{what}: {found:?}");
                }
                (found, expected) => assert_eq!(found, expected, "{what}"),
            }
        }
    }

    #[test]
    fn what_is_unsure_or_beneath_another_is_left_out() {
        let preprocessing = Preprocessing { side: 64, framing: Framing::Squash, filter: Filter::Bilinear };
        // Certainties: 0.5, 0.27, 0.98, 0.88.
        let logits = [0.0, 0.0, 0.0, 1.0, 4.0, 0.0, 2.0, 0.0];
        let boxes = [[0.3, 0.3, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4], [0.52, 0.5, 0.4, 0.4]].concat();
        let found = found(&logits, &boxes, (64, 64), &preprocessing);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!((found[0].x - 0.3).abs() < 1e-6 && (found[0].score - 0.982).abs() < 1e-3, "{found:?}");
        assert!((found[1].x - 0.2).abs() < 1e-6 && (found[1].score - 0.5).abs() < 1e-6, "{found:?}");
        assert!(super::found(&[], &[], (1, 1), &preprocessing).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_apart_and_covers_what_is_not(
            queries in prop::collection::vec(((-4.0f32..4.0, -4.0f32..4.0), prop::array::uniform4(0.0f32..1.2)), 0..40),
            size in (1u32..900, 1u32..900),
        ) {
            let preprocessing = Preprocessing { side: 224, framing: Framing::Pad, filter: Filter::Bilinear };
            let logits: Vec<f32> = queries.iter().flat_map(|((class, none), _)| [*class, *none]).collect();
            let boxes: Vec<f32> = queries.iter().flat_map(|(_, edges)| *edges).collect();
            let found = found(&logits, &boxes, size, &preprocessing);
            prop_assert!(found.len() <= OBJECTS_MAX && found.iter().all(Region::is_within));
            prop_assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for (at, region) in found.iter().enumerate() {
                prop_assert!(region.score >= SCORE_MIN && found[..at].iter().all(|surer| surer.overlap(region) <= OVERLAP_MAX));
            }
            let fit = fit(size, 224);
            for ((class, none), edges) in &queries {
                let score = certainty(&[*class, *none]);
                let Some(region) = region(edges, fit, 224, score).filter(|_| score >= SCORE_MIN && found.len() < OBJECTS_MAX) else { continue };
                prop_assert!(found.contains(&region) || found.iter().any(|surer| surer.score >= score && surer.overlap(&region) > OVERLAP_MAX));
            }
        }
    }
}
