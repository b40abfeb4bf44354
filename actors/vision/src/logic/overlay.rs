//! Where a model's map of its input lies over the picture that the input was made of.

use std::ops::Range;

use protocol::vision::{ActivationMap, Crop};

use super::preprocessing::{Framing, Preprocessing};
use crate::models::Sight;

const WHOLE: Crop = Crop { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

/// A map `[height, width, channels]` over the picture of `size` pixels that it was made of. Cells that lie over padding are left out:
/// where it ends would be taken for an object.
pub(crate) fn over(map: &[f32], sight: Sight, size: (u32, u32), preprocessing: &Preprocessing) -> ActivationMap {
    let side = preprocessing.side as f32;
    let (width, height) = (size.0.max(1) as f32, size.1.max(1) as f32);
    let whole = |seen| ActivationMap { height: sight.height, width: sight.width, values: map.into(), seen };
    let centre = |share: f32| {
        let kept = share * width.min(height);
        let (across, down) = ((kept / width).min(1.0), (kept / height).min(1.0));
        whole(Crop { x: (1.0 - across) / 2.0, y: (1.0 - down) / 2.0, width: across, height: down })
    };
    match preprocessing.framing {
        Framing::CropThenScale { margin } => centre(side / (side + margin as f32)),
        Framing::ScaleThenCrop { shorter } => centre(side / shorter as f32),
        Framing::Squash => whole(WHOLE),
        Framing::Pad => {
            let longest = width.max(height);
            let ((columns, x, width), (rows, y, height)) = (inner(sight.width, width / longest), inner(sight.height, height / longest));
            let lines = map.chunks_exact((sight.width * sight.channels).max(1)).take(rows.end).skip(rows.start);
            let cells = columns.start * sight.channels..columns.end * sight.channels;
            let values: Vec<f32> = lines.flat_map(|line| line[cells.clone()].iter().copied()).collect();
            ActivationMap { height: rows.len(), width: columns.len(), values: values.into(), seen: Crop { x, y, width, height } }
        }
    }
}

/// Of `count` cells in a row, those whose centres lie in the middle `share` of it, at least one, and where in that share they begin and
/// how much of it they cover.
fn inner(count: usize, share: f32) -> (Range<usize>, f32, f32) {
    let indent = (1.0 - share) / 2.0;
    let cells = count as f32;
    let first = ((cells * indent - 0.5).ceil().max(0.0) as usize).min(count.saturating_sub(1) / 2);
    let place = |cell: usize| ((cell as f32 / cells - indent) / share).clamp(0.0, 1.0);
    let (from, to) = (place(first), place(count - first));
    (first..count - first, from, to - from)
}

#[cfg(test)]
mod tests {
    use super::super::preprocessing::Filter;
    use super::*;

    fn overlaid(framing: Framing, size: (u32, u32)) -> ActivationMap {
        let sight = Sight { height: 8, width: 8, channels: 2 };
        let map: Vec<f32> = (0..128).map(|number| number as f32).collect();
        over(&map, sight, size, &Preprocessing { side: 224, framing, filter: Filter::Bicubic })
    }

    #[test]
    fn the_part_that_a_model_saw_by_table() {
        let crop = |x, y, width, height| Crop { x, y, width, height };
        for (framing, size, cells, seen) in [
            (Framing::Squash, (300, 100), (8, 8), WHOLE),
            (Framing::ScaleThenCrop { shorter: 224 }, (200, 100), (8, 8), crop(0.25, 0.0, 0.5, 1.0)),
            (Framing::CropThenScale { margin: 224 }, (100, 200), (8, 8), crop(0.25, 0.375, 0.5, 0.25)),
            (Framing::Pad, (100, 100), (8, 8), WHOLE),
            (Framing::Pad, (200, 100), (4, 8), WHOLE),
            (Framing::Pad, (100, 200), (8, 4), WHOLE),
            (Framing::Pad, (100, 125), (8, 6), crop(0.03125, 0.0, 0.9375, 1.0)),
            (Framing::Pad, (6400, 100), (2, 8), WHOLE),
        ] {
            let found = overlaid(framing, size);
            assert_eq!((found.height, found.width), cells, "{framing:?} {size:?}");
            assert_eq!(found.values.len(), found.height * found.width * 2);
            let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
            let Crop { x, y, width, height } = found.seen;
            assert!(
                near(x, seen.x) && near(y, seen.y) && near(width, seen.width) && near(height, seen.height),
                "{framing:?} {size:?}: {:?}",
                found.seen
            );
        }
        assert_eq!(overlaid(Framing::Pad, (200, 100)).values[..2], [32.0, 33.0], "the third row comes first");
    }
}
