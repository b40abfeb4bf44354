//! Operators on what a model computes: curves, shapes, sums, reductions.

use super::constant::Constant;
use super::curve::{Curve, PositiveCurve, erf};
use super::file::Node;
use super::fold;
use super::translate::{Result, Translator};
use super::value::{Kind, Signal, Statistic, StatisticKind, Value};
use super::view::View;
use shaders::Pairwise;

/// The inputs of a node, of which at least one is not known in advance.
pub(super) type Values<'v> = &'v [Option<Value>];

/// For the given axes: each place, and a constant's number there.
type NumbersAt<'n> = dyn Fn(&[usize]) -> Vec<(usize, f64)> + 'n;

impl Translator<'_> {
    /// Runs an operator of which at least one input is not known in advance.
    pub(super) fn computed(&mut self, node: &Node<'_>, inputs: Values<'_>) -> Result<Vec<Value>> {
        let get = |index: usize| inputs.get(index).and_then(Option::as_ref);
        let first = get(0).ok_or("its first input is missing")?;
        if let Some(curve) = unary(node, &|index| known(get(index))) {
            return Ok(vec![self.curved(first, curve?)?]);
        }
        if let Some(results) = self.quantised(node, inputs) {
            return results;
        }
        let one = match node.operator {
            "Identity" | "Dropout" | "Cast" | "CastLike" => first.clone(),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Expand" | "Transpose" | "Tile" | "Slice" => {
                self.shaped(node, first, &|index| known(get(index)))?
            }
            "Split" => return self.split(node, first, known(get(1))),
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" if inputs.len() == 2 => {
                self.binary(node.operator, first, get(1).ok_or("an input is missing")?)?
            }
            "MatMul" => self.matmul(first, get(1).ok_or("an input is missing")?)?,
            "Gemm" => self.gemm(node, first, known(get(1)).ok_or("its weights are not known in advance")?, get(2))?,
            "Conv" => self.convolution(node, first, known(get(1)).ok_or("its weights are not known in advance")?, known(get(2)))?,
            "Pad" => self.padded(node, first, known(get(1)), known(get(2)))?,
            "BatchNormalization" => self.batch_norm(node, first, &|index| known(get(index)))?,
            "LayerNormalization" => return self.layer_norm(node, first, known(get(1)), known(get(2))),
            "GlobalAveragePool" => self.reduced("ReduceMean", first, &[2, 3], true)?,
            "AveragePool" => self.average_pool(node, first)?,
            "ReduceMean" | "ReduceSum" | "ReduceL2" | "ReduceSumSquare" => {
                let rank = first.shape().len();
                let axes = fold::axes(node, known(get(1)), rank)?.unwrap_or_else(|| (0..rank).collect());
                self.reduced(node.operator, first, &axes, node.int("keepdims").unwrap_or(1) != 0)?
            }
            "LpNormalization" if node.int("p").unwrap_or(2) == 2 => {
                let axis = fold::axis(node.int("axis").unwrap_or(-1), first.shape().len())?;
                let length = self.reduced("ReduceL2", first, &[axis], true)?;
                self.binary("Div", first, &length)?
            }
            "Softmax" => self.softmax(node, first)?,
            "Concat" => self.concat(node, inputs)?,
            "Gather" | "GatherND" | "GatherElements" => self.gathered(node, first, get(1).ok_or("its indices are missing")?)?,
            "Where" => self.chosen(first, get(1).ok_or("an input is missing")?, get(2).ok_or("an input is missing")?)?,
            "Equal" | "Not" | "ArgMax" | "IsNaN" | "And" | "Or" => self.marked(node, first, get(1))?,
            _ => return Err("the operator is not known".into()),
        };
        Ok(vec![one])
    }

    /// A function of each number.
    fn curved(&mut self, value: &Value, function: Box<dyn Fn(f64) -> f64>) -> Result<Value> {
        match value {
            Value::Signal(signal) => Ok(Value::Signal(signal.curved(signal.curve.then(function)))),
            Value::Statistic(statistic) if statistic.kind != StatisticKind::Mean => {
                Ok(Value::Statistic(Statistic { curve: statistic.curve.then(function), ..statistic.clone() }))
            }
            _ => Err("it reads something that it cannot be applied to".into()),
        }
    }

    /// Adds, subtracts, multiplies or divides.
    pub(super) fn binary(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Value> {
        let function: fn(f64, f64) -> f64 = match operator {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" => |a, b| a / b,
            "Max" => f64::max,
            _ => f64::min,
        };
        match (left, right) {
            (Value::Signal(signal), Value::Constant(constant)) => self.with_constant(operator, function, signal, constant, false),
            (Value::Constant(constant), Value::Signal(signal)) => self.with_constant(operator, function, signal, constant, true),
            (Value::Signal(left), Value::Signal(right)) => self.of_two(operator, function, left, right),
            (Value::Signal(signal), Value::Statistic(statistic)) => self.with_statistic(operator, signal, statistic),
            (Value::Statistic(statistic), Value::Signal(signal)) if operator == "Mul" => self.with_statistic(operator, signal, statistic),
            (Value::Statistic(statistic), Value::Constant(constant)) => {
                let number = constant.uniform().ok_or("it combines a statistic with more than one number")?;
                self.curved(left, Box::new(move |x| function(x, number))).map(|value| reshaped(value, statistic, constant))
            }
            (Value::Constant(constant), Value::Statistic(statistic)) => {
                let number = constant.uniform().ok_or("it combines a statistic with more than one number")?;
                self.curved(right, Box::new(move |x| function(number, x))).map(|value| reshaped(value, statistic, constant))
            }
            (Value::Scores(scores), Value::Constant(constant)) => self.scored(operator, scores, constant),
            (Value::Constant(constant), Value::Scores(scores)) if matches!(operator, "Add" | "Mul") => {
                self.scored(operator, scores, constant)
            }
            _ => Err("it combines things that do not go together".into()),
        }
    }

    fn with_constant(
        &mut self,
        operator: &str,
        function: fn(f64, f64) -> f64,
        signal: &Signal,
        constant: &Constant,
        is_reversed: bool,
    ) -> Result<Value> {
        let shape = signal.view.shape();
        let wide =
            fold::broadcast(&shape, &constant.shape).filter(|wide| wide.iter().product::<usize>() == shape.iter().product::<usize>());
        let rank = wide.ok_or_else(|| format!("{:?} does not fit {shape:?}", constant.shape))?.len();
        let signal = signal.seen(signal.view.padded(rank));
        let of = |x: f64, number: f64| if is_reversed { function(number, x) } else { function(x, number) };
        let (channel_axes, position_axes) = signal.axes();
        let front = rank - constant.shape.len();
        let varies = |axis: &usize| *axis >= front && constant.shape[axis - front] > 1;
        let is_placed = position_axes.iter().any(varies);
        let uniform = if is_placed { constant.uniform() } else { constant.scalar() };
        if let Some(number) = uniform {
            return Ok(Value::Signal(signal.curved(signal.curve.then(|x| of(x, number)))));
        }
        let number_at = numbers_over(constant, &signal.view, rank);
        if is_placed {
            let sign = match (operator, is_reversed) {
                ("Add", _) => 1.0,
                ("Sub", false) => -1.0,
                _ => return Err("positions are only added to".into()),
            };
            return self.with_places(&signal, &number_at, sign).map(Value::Signal);
        }
        let channels = signal.base.channels;
        let first = signal.view.offset() / channels * channels;
        let mut numbers = vec![f64::NAN; channels];
        for (place, number) in number_at(&channel_axes) {
            *numbers.get_mut(place - first).ok_or("its channels do not fit")? = number;
        }
        if numbers.iter().any(|number| number.is_nan()) {
            return Err("a part of the channels stays without a number".into());
        }
        let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
        let negative = || numbers.iter().map(|number| -number).collect::<Vec<_>>();
        let signal = match (operator, is_reversed) {
            ("Add", _) => self.with_affine(&signal, &ones, &numbers)?,
            ("Sub", false) => self.with_affine(&signal, &ones, &negative())?,
            ("Sub", true) => self.with_affine(&signal, &vec![-1.0; channels], &numbers)?,
            ("Mul", _) => self.with_affine(&signal, &numbers, &zeros)?,
            ("Div", false) => self.with_affine(&signal, &numbers.iter().map(|number| 1.0 / number).collect::<Vec<_>>(), &zeros)?,
            _ => return Err("it is not known for a number of each channel".into()),
        };
        Ok(Value::Signal(signal))
    }

    /// A row added at each position.
    fn with_places(&mut self, signal: &Signal, number_at: &NumbersAt<'_>, sign: f64) -> Result<Signal> {
        let (positions, channels) = (signal.base.positions, signal.base.channels);
        if !signal.view.covers(positions * channels) {
            return Err("it adds to a part of the positions".into());
        }
        let mut rows = vec![0f32; positions * channels];
        let all: Vec<usize> = (0..signal.view.axes().len()).collect();
        number_at(&all).into_iter().for_each(|(place, number)| rows[place] = (number * sign) as f32);
        let add = |places: &Option<Vec<f32>>, mut rows: Vec<f32>| {
            places.iter().flatten().zip(&mut rows).for_each(|(place, row)| *row += place);
            Some(rows)
        };
        let kind = match &signal.base.kind {
            Kind::Embedding { words, places } if signal.is_plain() => Kind::Embedding { words: words.clone(), places: add(places, rows) },
            Kind::Arranged { input, around, places } if signal.is_plain() && signal.base.made.get().is_none() => {
                Kind::Arranged { input: *input, around: around.clone(), places: add(places, rows) }
            }
            _ => Kind::Arranged { input: self.emit(signal)?, around: Default::default(), places: Some(rows) },
        };
        Ok(Signal::of(kind, positions, channels, signal.view.clone()))
    }

    fn of_two(&mut self, operator: &str, function: fn(f64, f64) -> f64, left: &Signal, right: &Signal) -> Result<Value> {
        let rank = left.view.axes().len().max(right.view.axes().len());
        let (left, right) = (left.seen(left.view.padded(rank)), right.seen(right.view.padded(rank)));
        if left.is_of_same(&right) && left.view == right.view {
            return Ok(Value::Signal(left.curved(left.curve.with(&right.curve, function))));
        }
        let (left, right) = (self.whole(&left)?, self.whole(&right)?);
        if left.view == right.view && (left.base.positions, left.base.channels) == (right.base.positions, right.base.channels) {
            let tensor = match operator {
                "Add" => self.emit_sum(&left, &right)?,
                "Sub" => self.emit_sum(&left, &right.curved(right.curve.then(|x| -x)))?,
                "Mul" => {
                    let (left, right) = (self.emit(&left)?, self.emit(&right)?);
                    self.plan.pairwise(left, right, Pairwise::Multiply)?
                }
                _ => return Err("it is not known for two tensors".into()),
            };
            return Ok(Value::Signal(self.signal(tensor, left.view)));
        }
        let (map, vector) = if right.base.positions == 1 { (left, right) } else { (right, left) };
        let fits = vector.base.positions == 1 && vector.base.channels == map.base.channels && channels_match(&map, &vector);
        if !fits || operator != "Mul" {
            return Err("it combines two tensors of different shapes".into());
        }
        let (map_tensor, vector) = (self.emit(&map)?, self.emit(&vector)?);
        let tensor = self.plan.scale(map_tensor, vector)?;
        Ok(Value::Signal(self.signal(tensor, map.view)))
    }

    fn with_statistic(&mut self, operator: &str, signal: &Signal, statistic: &Statistic) -> Result<Value> {
        let curve = if operator == "Mul" { statistic.curve.inverse() } else { statistic.curve.clone() };
        match (statistic.kind, operator, &signal.base.kind) {
            (StatisticKind::Mean, "Sub", _) => {
                let whole = self.whole(signal)?;
                if self.emit(&whole)? == statistic.of {
                    let (positions, channels) = (whole.base.positions, whole.base.channels);
                    return Ok(Value::Signal(Signal::of(Kind::Centred { of: statistic.of }, positions, channels, whole.view)));
                }
            }
            (StatisticKind::Variance, "Div" | "Mul", Kind::Centred { of }) if *of == statistic.of && signal.is_plain() => {
                let epsilon = curve.deviation().ok_or("it divides by something else than a deviation")?;
                let kind = Kind::Norm { input: *of, epsilon };
                return Ok(Value::Signal(Signal::of(kind, signal.base.positions, signal.base.channels, signal.view.clone())));
            }
            (StatisticKind::Squares, "Div" | "Mul", _) => {
                let whole = self.whole(signal)?;
                if self.emit(&whole)? == statistic.of && curve.is_length() {
                    let tensor = self.plan.normalize(statistic.of)?;
                    return Ok(Value::Signal(self.signal(tensor, whole.view)));
                }
            }
            _ => {}
        }
        Err("it combines a tensor with a statistic in a way that is not known".into())
    }

    /// Means, sums and lengths, over positions or over channels.
    pub(super) fn reduced(&mut self, operator: &str, value: &Value, gone: &[usize], keeps: bool) -> Result<Value> {
        let Value::Signal(signal) = value else { return Err("it reads something that it cannot be applied to".into()) };
        let kept: Vec<usize> =
            signal.view.shape().iter().enumerate().map(|(axis, size)| if gone.contains(&axis) { 1 } else { *size }).collect();
        let shape = if keeps { kept.clone() } else { fold::squeezed(&kept, Some(gone))? };
        let (channel_axes, position_axes) = signal.axes();
        let all_gone = |axes: &[usize]| axes.iter().all(|axis| gone.contains(axis));
        let none_gone = |axes: &[usize]| !axes.iter().any(|axis| gone.contains(axis));
        let is_average = operator == "ReduceMean" || operator == "ReduceSum";
        if is_average && none_gone(&channel_axes) && all_gone(&position_axes) {
            return self.averaged(operator, signal, &channel_axes, &shape);
        }
        if !all_gone(&channel_axes) || !none_gone(&position_axes) || channel_axes.is_empty() {
            return Err("it reduces neither all positions nor all channels".into());
        }
        let channels = signal.base.channels as f64;
        let (kind, of, factor) = match (&signal.base.kind, operator) {
            (Kind::Centred { of }, "ReduceMean") if signal.affine.is_none() && signal.curve.is_square() => {
                (StatisticKind::Variance, *of, 1.0)
            }
            (_, "ReduceMean" | "ReduceSum") if signal.curve.is_square() => {
                let plain = self.whole(&signal.curved(Curve::identity()))?;
                (StatisticKind::Squares, self.emit(&plain)?, if operator == "ReduceMean" { 1.0 / channels } else { 1.0 })
            }
            (_, "ReduceMean") => {
                let whole = self.whole(signal)?;
                (StatisticKind::Mean, self.emit(&whole)?, 1.0)
            }
            (_, "ReduceL2" | "ReduceSumSquare") => {
                let whole = self.whole(signal)?;
                (StatisticKind::Squares, self.emit(&whole)?, 1.0)
            }
            _ => return Err("it reduces something that it cannot be applied to".into()),
        };
        let curve = PositiveCurve::identity().then(|x| x * factor);
        let curve = if operator == "ReduceL2" { curve.then(f64::sqrt) } else { curve };
        Ok(Value::Statistic(Statistic { kind, of, curve, shape }))
    }

    fn averaged(&mut self, operator: &str, signal: &Signal, channel_axes: &[usize], shape: &[usize]) -> Result<Value> {
        let whole = self.whole(signal)?;
        let (positions, channels) = (whole.base.positions, whole.base.channels);
        let strides: Vec<usize> = channel_axes.iter().map(|axis| whole.view.axes()[*axis].stride).collect();
        let mut strides = strides.into_iter();
        let axes: Vec<(usize, usize)> =
            shape.iter().map(|size| (*size, if *size == 1 { 0 } else { strides.next().unwrap_or(0) })).collect();
        let view = View::new(&axes);
        let is_map_of_one = positions == 1;
        let tensor = self.emit(&whole)?;
        let is_vector = matches!(self.plan.tensors()[tensor.index()], shaders::Shape::Vector { .. });
        let mean = if is_vector && is_map_of_one { tensor } else { self.plan.mean(tensor)? };
        let signal = self.signal(mean, view);
        debug_assert_eq!(signal.base.channels, channels);
        if operator == "ReduceMean" || positions == 1 {
            return Ok(Value::Signal(signal));
        }
        let count = positions as f64;
        Ok(Value::Signal(signal.curved(signal.curve.then(|x| x * count))))
    }
}

pub(super) fn known(value: Option<&Value>) -> Option<&Constant> {
    if let Some(Value::Constant(constant)) = value { Some(constant) } else { None }
}

/// A statistic takes on the rank of what it is combined with.
fn reshaped(value: Value, statistic: &Statistic, constant: &Constant) -> Value {
    match (value, fold::broadcast(&statistic.shape, &constant.shape)) {
        (Value::Statistic(value), Some(shape)) => Value::Statistic(Statistic { shape, ..value }),
        (value, _) => value,
    }
}

/// For the given axes of a view: each place, and the number that a constant, stretched to the view's shape, has there.
fn numbers_over<'c>(constant: &'c Constant, view: &'c View, rank: usize) -> impl Fn(&[usize]) -> Vec<(usize, f64)> + use<'c> {
    let front = rank - constant.shape.len();
    let mut strides = vec![0; rank];
    let mut stride = 1;
    for (axis, size) in constant.shape.iter().enumerate().rev() {
        strides[front + axis] = if *size == 1 { 0 } else { stride };
        stride *= size;
    }
    move |axes| {
        let sizes = view.axes();
        let own = View::new(&axes.iter().map(|axis| (sizes[*axis].size, strides[*axis])).collect::<Vec<_>>());
        let all: Vec<usize> = (0..axes.len()).collect();
        view.places(axes).into_iter().zip(own.places(&all)).map(|(place, at)| (place, f64::from(constant.float(at)))).collect()
    }
}

/// Whether the channels of a vector stand where those of the map do.
fn channels_match(map: &Signal, vector: &Signal) -> bool {
    let (map, vector) = (map.view.axes(), vector.view.axes());
    map.len() == vector.len() && map.iter().zip(vector).all(|(map, vector)| vector.size == 1 || map == vector)
}

type Function = Box<dyn Fn(f64) -> f64>;

/// The function of an operator that looks at each number alone.
fn unary<'c>(node: &Node<'_>, input: &dyn Fn(usize) -> Option<&'c Constant>) -> Option<Result<Function>> {
    let float = |name: &str, other: f32| f64::from(node.float(name).unwrap_or(other));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let function: Function = match node.operator {
        "Neg" => Box::new(|x| -x),
        "Abs" => Box::new(f64::abs),
        "Sqrt" => Box::new(f64::sqrt),
        "Reciprocal" => Box::new(f64::recip),
        "Exp" => Box::new(f64::exp),
        "Log" => Box::new(f64::ln),
        "Erf" => Box::new(erf),
        "Tanh" => Box::new(f64::tanh),
        "Sigmoid" => Box::new(sigmoid),
        "Relu" => Box::new(|x| x.max(0.0)),
        "Swish" | "QuickGelu" => {
            let alpha = float("alpha", if node.operator == "Swish" { 1.0 } else { 1.702 });
            Box::new(move |x| x * sigmoid(alpha * x))
        }
        "HardSwish" => Box::new(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        "HardSigmoid" => {
            let (alpha, beta) = (float("alpha", 0.2), float("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "Gelu" if node.text("approximate") == Some("tanh") => Box::new(gelu_tanh),
        "FastGelu" if node.inputs.len() == 1 => Box::new(gelu_tanh),
        "Gelu" => Box::new(|x| x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))),
        "Pow" => {
            let power = input(1).and_then(Constant::scalar);
            return Some(
                power.map(|power| Box::new(move |x: f64| x.powf(power)) as Function).ok_or_else(|| "its exponent is not one number".into()),
            );
        }
        "Clip" => {
            let bound = |index: usize, name: &str, other: f64| {
                let attribute = node.float(name).map(f64::from);
                match node.input(index) {
                    None => Some(attribute.unwrap_or(other)),
                    Some(_) => input(index).and_then(Constant::scalar),
                }
            };
            let bounds = bound(1, "min", f64::NEG_INFINITY).zip(bound(2, "max", f64::INFINITY));
            return Some(
                bounds
                    .map(|(low, high)| Box::new(move |x: f64| x.max(low).min(high)) as Function)
                    .ok_or_else(|| "a bound is not one number".into()),
            );
        }
        _ => return None,
    };
    Some(Ok(function))
}

fn gelu_tanh(x: f64) -> f64 {
    x * 0.5 * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).tanh())
}
