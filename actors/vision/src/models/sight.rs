//! Where a model of pictures looks: a second output of its plan, so that a picture's embedding and its map come from one run.
//!
//! Convolutional models add up what their blocks find in residual sums; the last of them before the pooling still says where each thing
//! is (class-agnostic maps after Wei et al. 2017, "Selective Convolutional Descriptor Aggregation", who take the last layer's: with the
//! blocks behind it objects before clutter were found less often). Its channels are projected to a few under random signs, which keep
//! lengths and angles (Achlioptas 2003).

use shaders::plan::Step;
use shaders::{Activation, Pairwise, Plan, Shape, TensorId};

use super::ModelError;

/// Channels of a map that is given back, at most.
const CHANNELS_MAX: usize = 64;
/// Cells of such a map along a side, at most: the reader's bound.
const SIDE_MAX: usize = 64;

/// The map that a plan gives beside its vector: `[height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Numbers of a cell.
    pub channels: usize,
}

impl Sight {
    /// Numbers of a map.
    #[must_use]
    pub fn numbers(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// Adds the second output to a plan of pictures, where it has such a map. The first one stays as it is.
pub(super) fn with_sight(mut plan: Plan) -> Result<(Plan, Option<Sight>), ModelError> {
    let Some((map, height, width, from)) = last_sum(&plan) else { return Ok((plan, None)) };
    let channels = from.min(CHANNELS_MAX);
    let output = if channels == from {
        map
    } else {
        let signs = (0..from * channels).map(|place| if is_positive(place as u64) { 1.0 } else { -1.0 } / (channels as f32).sqrt());
        let weight = plan.constant("sight.weight", &[from, channels], signs.collect())?;
        let bias = plan.constant("sight.bias", &[channels], vec![0.0; channels])?;
        plan.gemm(map, weight, bias, Activation::None, None)?
    };
    plan.output(output)?;
    Ok((plan, Some(Sight { height, width, channels })))
}

/// The last residual sum over a map before a mean over all of its places.
fn last_sum(plan: &Plan) -> Option<(TensorId, usize, usize, usize)> {
    let pooled = plan.steps().iter().rposition(|step| match step {
        Step::Mean { input, .. } => matches!(plan.tensors()[input.index()], Shape::Map { height, .. } if height > 1),
        _ => false,
    })?;
    plan.steps()[..pooled].iter().rev().find_map(|step| {
        let is_sum = matches!(step, Step::Gemm { residual: Some(_), .. } | Step::Pairwise { function: Pairwise::Add, .. });
        match plan.tensors()[step.output().index()] {
            Shape::Map { height, width, channels } if is_sum && height > 1 && height.max(width) <= SIDE_MAX => {
                Some((step.output(), height, width, channels))
            }
            _ => None,
        }
    })
}

/// A sign for each place, the same for ever (splitmix64).
fn is_positive(place: u64) -> bool {
    let mut state = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state ^ (state >> 31)) & 1 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{ModelFiles, load};
    use shaders::CpuExecutor;
    use std::path::Path;

    #[test]
    fn convolutional_models_have_a_map_and_transformers_none() {
        for (name, expected) in [("mobilenet-v2", true), ("mobilenet-v3", true), ("efficientnet", true), ("convnext", true), ("vit", false)]
        {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join(name);
            let model = load(&ModelFiles::new(&folder), &CpuExecutor::new(1)).expect(name).image.expect("reads pictures");
            assert_eq!(model.sight().is_some(), expected, "{name}");
            let pixels: Vec<u8> = (0..2 * model.input_side().pow(2) * 3).map(|at| ((at * 2_654_435_761_usize) >> 13) as u8).collect();
            let (vectors, maps) = model.see(&pixels, 2).expect("seen");
            assert_eq!((vectors.len(), maps.len()), (2 * model.dimensions(), 2 * model.sight().map_or(0, Sight::numbers)), "{name}");
            assert!(
                maps.iter().all(|number| number.is_finite()) && (maps.is_empty() || maps.iter().any(|number| *number != maps[0])),
                "{name}"
            );
        }
    }

    #[test]
    fn signs_are_even_and_stay() {
        let positive = (0..4096).filter(|place| is_positive(*place)).count();
        assert!((1900..2200).contains(&positive), "{positive}");
        assert_eq!((0..8).map(is_positive).collect::<Vec<_>>(), (0..8).map(is_positive).collect::<Vec<_>>());
    }
}
