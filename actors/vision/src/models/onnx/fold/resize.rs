//! Tables of places brought to the size of the input, as models do that take pictures of any size: `Resize` of what is known in advance.

use super::{Budget, Inputs, Result, layout};
use crate::models::onnx::constant::Constant;
use crate::models::onnx::file::Node;

/// Places that one number of the result is made of.
const TAPS: usize = 4;

/// Resizes along each axis, one after the other; between numbers lies a straight line or a cubic (Keys 1981).
pub(super) fn resized(node: &Node<'_>, inputs: &Inputs<'_>, opset: i64, budget: &mut Budget) -> Result<Constant> {
    let (mode, coordinates) = (node.text("mode").unwrap_or("nearest"), node.text("coordinate_transformation_mode").unwrap_or("half_pixel"));
    let is_plain = |name: &str| node.int(name).unwrap_or(0) == 0;
    let is_known = matches!(mode, "linear" | "cubic") && matches!(coordinates, "half_pixel" | "pytorch_half_pixel" | "align_corners");
    let is_stretched = node.text("keep_aspect_ratio_policy").unwrap_or("stretch") == "stretch" && node.ints("axes").is_none();
    if opset < 11 || !is_known || !is_stretched || !is_plain("antialias") || !is_plain("exclude_outside") {
        return Err(format!("tables are not resized by {mode:?} under {coordinates:?} here"));
    }
    let a = if mode == "cubic" { Some(f64::from(node.float("cubic_coeff_a").unwrap_or(-0.75))) } else { None };
    let input = inputs.get(0)?;
    let given = |index: usize| inputs.maybe(index).filter(|given| given.len() > 0);
    let wanted = match (given(3), given(2)) {
        (Some(sizes), _) => layout::sizes(sizes)?,
        (None, Some(scales)) => {
            let scaled = |(axis, size): (usize, &usize)| (*size as f64 * f64::from(scales.float(axis))).floor() as usize;
            if scales.len() == input.shape.len() { input.shape.iter().enumerate().map(scaled).collect() } else { vec![] }
        }
        (None, None) => vec![],
    };
    if wanted.len() != input.shape.len() || wanted.contains(&0) || input.len() == 0 {
        return Err(format!("{:?} cannot be resized to {wanted:?}", input.shape));
    }
    let (mut shape, mut numbers) = (input.shape.clone(), input.to_floats().iter().map(|number| f64::from(*number)).collect::<Vec<_>>());
    for (axis, to) in wanted.into_iter().enumerate() {
        let from = shape[axis];
        if from == to {
            continue;
        }
        shape[axis] = to;
        budget.take(&shape, numbers.len())?;
        let given = given(2).map(|scales| f64::from(scales.float(axis)));
        let taps: Vec<_> = (0..to).map(|at| taps(source(at, from, to, given, coordinates), from, a)).collect();
        let inner: usize = shape[axis + 1..].iter().product();
        let lines = numbers.chunks_exact(from * inner);
        let mixed = |line: &[f64], taps: &[(usize, f64); TAPS], at: usize| {
            taps.iter().map(|(place, weight)| line[place * inner + at] * weight).sum::<f64>()
        };
        numbers = lines.flat_map(|line| taps.iter().flat_map(move |taps| (0..inner).map(move |at| mixed(line, taps, at)))).collect();
    }
    Ok(Constant::floats(shape, numbers.into_iter().map(|number| number as f32).collect()))
}

/// Where a place of the result lies among `from` places.
fn source(at: usize, from: usize, to: usize, scale: Option<f64>, coordinates: &str) -> f64 {
    match coordinates {
        "align_corners" if to > 1 => at as f64 * (from - 1) as f64 / (to - 1) as f64,
        "align_corners" => 0.0,
        "pytorch_half_pixel" if to == 1 => 0.0,
        _ => (at as f64 + 0.5) / scale.unwrap_or(to as f64 / from as f64) - 0.5,
    }
}

/// The places around `x` and their weights; beyond the ends the last one goes on.
fn taps(x: f64, from: usize, a: Option<f64>) -> [(usize, f64); TAPS] {
    let low = x.floor();
    std::array::from_fn(|tap| {
        let place = low + tap as f64 - 1.0;
        let distance = (x - place).abs();
        let weight = match a {
            None => (1.0 - distance).max(0.0),
            Some(a) if distance <= 1.0 => ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0,
            Some(a) if distance < 2.0 => ((a * distance - 5.0 * a) * distance + 8.0 * a) * distance - 4.0 * a,
            Some(_) => 0.0,
        };
        (place.clamp(0.0, (from - 1) as f64) as usize, weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_and_stay_within() {
        for a in [None, Some(-0.75), Some(-0.5)] {
            for step in 0..60 {
                let taps = taps(f64::from(step) / 10.0 - 1.0, 5, a);
                let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
                assert!((sum - 1.0).abs() < 1e-9 && taps.iter().all(|(place, _)| *place < 5), "{a:?} {step}: {taps:?}");
            }
        }
        let [near, far] = [1.0, 2.5].map(|x| taps(x, 5, Some(-0.75)));
        assert_eq!((near[1], far[1], far[2]), ((1, 1.0), (2, 0.59375), (3, 0.59375)));
        assert_eq!([source(0, 4, 8, None, "half_pixel"), source(7, 4, 8, None, "align_corners")], [-0.25, 3.0]);
    }
}
