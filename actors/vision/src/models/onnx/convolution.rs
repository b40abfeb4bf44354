//! Convolutions, their padding, and the layers around them.

use super::constant::Constant;
use super::file::Node;
use super::translate::{Result, Translator};
use super::value::{Kind, Signal, Value};
use super::view::View;
use shaders::{Padding, Window};

/// Greatest number of weights that a convolution in groups may have once it is written out.
const WEIGHTS_MAX: usize = 1 << 26;

/// `[1, channels, height, width]` over `[positions, channels]`.
fn planes(height: usize, width: usize, channels: usize) -> View {
    View::new(&[(1, 0), (channels, 1), (height, width * channels), (width, channels)])
}

impl Translator<'_> {
    /// A map, with the zeros that are around it.
    fn map(&mut self, value: &Value) -> Result<(Signal, [usize; 2], [usize; 4])> {
        let (signal, around) = match value {
            Value::Signal(signal) => (signal, [0; 4]),
            Value::Padded(signal, around) => (signal, *around),
            _ => return Err("it reads something else than a map".into()),
        };
        let signal = self.whole(signal)?;
        let shape = signal.view.shape();
        let [1, channels, height, width] = shape[..] else { return Err(format!("it reads {shape:?}, not a map").into()) };
        if channels != signal.base.channels || signal.view != planes(height, width, channels) {
            return Err("it reads a map that is turned".into());
        }
        Ok((signal, [height, width], around))
    }

    pub(super) fn convolution(&mut self, node: &Node<'_>, value: &Value, weight: &Constant, bias: Option<&Constant>) -> Result<Value> {
        let (signal, [height, width], around) = self.map(value)?;
        let from = signal.base.channels;
        let [channels, group_from, kernel, kernel_width] = weight.shape[..] else {
            return Err("its weights are not those of a map".into());
        };
        let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(0);
        let all = |name: &str, wanted: &dyn Fn(i64) -> bool| node.ints(name).is_none_or(|list| list.iter().all(|number| wanted(*number)));
        if kernel != kernel_width || !all("dilations", &|number| number == 1) {
            return Err("its window is not square, or has holes".into());
        }
        if groups == 0 || channels == 0 || kernel == 0 || group_from.checked_mul(groups) != Some(from) || channels % groups != 0 {
            return Err(format!("its weights {:?} do not fit {from} channels in {groups} groups", weight.shape).into());
        }
        let stride = node.ints("strides").and_then(|strides| strides.first().copied()).unwrap_or(1);
        if !all("strides", &|number| number == stride) || !(1..=64).contains(&stride) {
            return Err("its steps differ, or are out of range".into());
        }
        let window = window(node, kernel, stride as usize, [height, width], around)?;
        let (out_height, out_width) = (window.output(height), window.output(width));
        if out_height == 0 || out_width == 0 {
            return Err("its window is larger than the map".into());
        }
        let view = planes(out_height, out_width, channels);
        let numbers = weight.to_floats();
        let kind = if let Kind::Pixels = signal.base.kind {
            let (mean, deviation) = normalisation(&signal)?;
            Kind::Stem { weight: dense(&numbers, [channels, group_from, kernel], groups)?, window, mean, deviation }
        } else {
            let input = self.emit(&signal)?;
            let is_pointwise = kernel == 1 && stride == 1 && groups == 1 && (out_height, out_width) == (height, width);
            if is_pointwise {
                Kind::Product { input, weight: crate::models::tensors::transpose(&numbers, channels, from).into() }
            } else if groups == from && channels == from {
                Kind::Depthwise { input, weight: crate::models::tensors::transpose(&numbers, channels, kernel * kernel), window }
            } else {
                Kind::Convolution { input, weight: dense(&numbers, [channels, group_from, kernel], groups)?, window }
            }
        };
        let result = Signal::of(kind, out_height * out_width, channels, view);
        let Some(bias) = bias else { return Ok(Value::Signal(result)) };
        if bias.len() != channels {
            return Err("its bias does not fit".into());
        }
        let summands: Vec<f64> = bias.to_floats().iter().map(|number| f64::from(*number)).collect();
        Ok(Value::Signal(self.with_affine(&result, &vec![1.0; channels], &summands)?))
    }

    /// Zeros around a map, for the convolution that follows.
    pub(super) fn padded(&mut self, node: &Node<'_>, value: &Value, pads: Option<&Constant>, fill: Option<&Constant>) -> Result<Value> {
        let Value::Signal(signal) = value else { return Err("it reads something else than a map".into()) };
        let pads = node
            .ints("pads")
            .map(<[i64]>::to_vec)
            .or_else(|| pads.map(|pads| pads.to_ints().to_vec()))
            .ok_or("what is added is not known in advance")?;
        let fill = fill.map_or(f64::from(node.float("value").unwrap_or(0.0)), |fill| fill.scalar().unwrap_or(f64::NAN));
        if fill != 0.0 || node.text("mode").is_some_and(|mode| mode != "constant") {
            return Err("it adds something else than zeros".into());
        }
        if pads.iter().all(|pad| *pad == 0) {
            return Ok(value.clone());
        }
        let [0, 0, above, left, 0, 0, below, right] = pads[..] else {
            return Err("it adds to something else than the sides of a map".into());
        };
        let side = |pad: i64| usize::try_from(pad).ok().filter(|pad| *pad <= 64).ok_or("it adds too much, or takes away");
        Ok(Value::Padded(signal.clone(), [side(above)?, side(left)?, side(below)?, side(right)?]))
    }

    pub(super) fn batch_norm<'c>(
        &mut self,
        node: &Node<'_>,
        value: &Value,
        input: &dyn Fn(usize) -> Option<&'c Constant>,
    ) -> Result<Value> {
        let (signal, _, around) = self.map(value)?;
        let channels = signal.base.channels;
        let list = |index: usize| {
            let list = input(index).filter(|list| list.len() == channels).map(Constant::to_floats);
            list.ok_or("its numbers do not fit, or are not known in advance")
        };
        let (gain, shift, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        if around != [0; 4] {
            return Err("zeros stand around its map".into());
        }
        let factors: Vec<f64> =
            gain.iter().zip(variance.iter()).map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + epsilon).sqrt()).collect();
        let summands: Vec<f64> = shift
            .iter()
            .zip(mean.iter())
            .zip(&factors)
            .map(|((shift, mean), factor)| f64::from(*shift) - f64::from(*mean) * factor)
            .collect();
        Ok(Value::Signal(self.with_affine(&signal, &factors, &summands)?))
    }

    pub(super) fn layer_norm(
        &mut self,
        node: &Node<'_>,
        value: &Value,
        gain: Option<&Constant>,
        shift: Option<&Constant>,
    ) -> Result<Vec<Value>> {
        let Value::Signal(signal) = value else { return Err("it reads something that it cannot be applied to".into()) };
        let signal = self.whole(signal)?;
        let (positions, channels) = (signal.base.positions, signal.base.channels);
        let rank = signal.view.axes().len();
        let axis = super::fold::axis(node.int("axis").unwrap_or(-1), rank)?;
        let is_last = axis + 1 == rank && signal.view.axes()[axis].size == channels;
        let fits = |list: Option<&Constant>| list.is_none_or(|list| list.len() == channels);
        if !is_last || !fits(gain) || !fits(shift) || node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
            return Err("it does not run over all channels and nothing else".into());
        }
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let kind = Kind::Norm { input: self.emit(&signal)?, epsilon };
        let norm = Signal::of(kind, positions, channels, signal.view);
        let list = |list: Option<&Constant>, other: f64| {
            list.map_or_else(|| vec![other; channels], |list| list.to_floats().iter().map(|number| f64::from(*number)).collect())
        };
        Ok(vec![Value::Signal(self.with_affine(&norm, &list(gain, 1.0), &list(shift, 0.0))?)])
    }

    pub(super) fn average_pool(&mut self, node: &Node<'_>, value: &Value) -> Result<Value> {
        let shape = value.shape();
        let covers = node
            .ints("kernel_shape")
            .is_some_and(|kernel| shape.len() == 4 && kernel.iter().zip(&shape[2..]).all(|(kernel, size)| *kernel == *size as i64));
        let is_bare = node.ints("pads").is_none_or(|pads| pads.iter().all(|pad| *pad == 0));
        if !covers || !is_bare {
            return Err("only an average over the whole map is known".into());
        }
        self.reduced("ReduceMean", value, &[2, 3], true)
    }
}

/// The window, from the padding that the convolution names and that which stands before it.
fn window(node: &Node<'_>, kernel: usize, stride: usize, [height, width]: [usize; 2], around: [usize; 4]) -> Result<Window> {
    let same = Window { kernel, stride, padding: Padding::Same };
    let [above, left, below, right] = match node.text("auto_pad") {
        Some("SAME_UPPER") if around == [0; 4] => return Ok(same),
        Some("NOTSET" | "VALID") | None => {
            let own = match node.ints("pads") {
                Some(&[above, left, below, right]) => [above, left, below, right],
                None => [0; 4],
                Some(_) => return Err("its padding is not that of a map".into()),
            };
            let mut sum = around;
            for (sum, own) in sum.iter_mut().zip(own) {
                *sum += usize::try_from(own).ok().filter(|own| *own <= 64).ok_or("its padding is out of range")?;
            }
            sum
        }
        Some(other) => return Err(format!("padding {other:?} is not known").into()),
    };
    if above == left && above == below && above == right {
        return Ok(Window { kernel, stride, padding: Padding::Around(above) });
    }
    let needed = |input: usize| ((input.div_ceil(stride).max(1) - 1) * stride + kernel).saturating_sub(input);
    let is_same = |before: usize, after: usize, input: usize| before == needed(input) / 2 && before + after == needed(input);
    if is_same(above, below, height) && is_same(left, right, width) {
        Ok(same)
    } else {
        Err("its padding differs from side to side".into())
    }
}

/// Weights `[channels, from / groups, kernel, kernel]` as `[kernel, kernel, from, channels]`, with zeros between groups.
fn dense(numbers: &[f32], [channels, group_from, kernel]: [usize; 3], groups: usize) -> Result<Vec<f32>> {
    let (taps, from) = (kernel * kernel, group_from * groups);
    let count =
        taps.checked_mul(from).and_then(|count| count.checked_mul(channels)).filter(|count| *count <= WEIGHTS_MAX.max(numbers.len()));
    let mut result = vec![0.0; count.ok_or("it has too many weights for its groups")?];
    for (at, number) in numbers.iter().enumerate() {
        let (channel, rest) = (at / (group_from * taps), at % (group_from * taps));
        let first = channel / (channels / groups) * group_from;
        result[(rest % taps * from + first + rest / taps) * channels + channel] = *number;
    }
    Ok(result)
}

/// What turns a byte into a number, from what stands between the picture and its first convolution.
fn normalisation(signal: &Signal) -> Result<([f32; 3], [f32; 3])> {
    let (factors, summands) = signal.line().ok_or("a function stands before the first convolution")?;
    let deviation: Vec<f64> = factors.iter().map(|factor| 1.0 / factor).collect();
    let mean: Vec<f32> = summands.iter().zip(&deviation).map(|(summand, deviation)| (-summand * deviation) as f32).collect();
    Ok(([mean[0], mean[1], mean[2]], [deviation[0] as f32, deviation[1] as f32, deviation[2] as f32]))
}
