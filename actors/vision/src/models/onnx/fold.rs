//! Operators on numbers that are known before a model runs: the arithmetic of shapes, positions and masks around a model.

use super::constant::{Constant, Numbers};
use super::curve::erf;
use super::file::{AXES_MAX, Node};

mod layout;
mod resize;

pub(super) use layout::{axes, axis, flattened, order, place, sizes, sliced, slices, split_lengths, squeezed, unsqueezed, wanted_shape};
use layout::{shaping, split};

/// Numbers that one operator may make, unless it had as many.
const MADE_MAX: usize = 1 << 24;

type Result<T> = std::result::Result<T, String>;

/// What the operators of one graph may still make, in numbers: hostile shapes cost no more than a large model.
pub(super) struct Budget(pub(super) usize);

impl Budget {
    fn take(&mut self, shape: &[usize], had: usize) -> Result<usize> {
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        let count =
            count.filter(|count| *count <= MADE_MAX.max(had)).ok_or_else(|| format!("{shape:?} is too large to be known in advance"))?;
        if shape.len() > AXES_MAX {
            return Err("too many axes".into());
        }
        // Work without numbers is work, too.
        self.0 = self.0.checked_sub(count.max(AXES_MAX)).ok_or("the graph computes too much in advance")?;
        Ok(count)
    }
}

/// The inputs of an operator; a missing one is `None`.
pub(super) struct Inputs<'a>(pub(super) Vec<Option<&'a Constant>>);

impl<'a> Inputs<'a> {
    fn get(&self, index: usize) -> Result<&'a Constant> {
        self.maybe(index).ok_or_else(|| format!("input {index} is missing"))
    }

    fn maybe(&self, index: usize) -> Option<&'a Constant> {
        self.0.get(index).copied().flatten()
    }

    fn size(&self) -> usize {
        self.0.iter().flatten().map(|input| input.len()).max().unwrap_or(0)
    }
}

/// Runs an operator; `None` where it is not known here.
pub(super) fn evaluate(node: &Node<'_>, inputs: &Inputs<'_>, opset: i64, budget: &mut Budget) -> Option<Result<Vec<Constant>>> {
    let one = |result: Result<Constant>| Some(result.map(|constant| vec![constant]));
    match node.operator {
        "Identity" | "Dropout" => one(inputs.get(0).cloned()),
        "Cast" => one(inputs.get(0).and_then(|input| cast(input, node.int("to").unwrap_or(1)))),
        "CastLike" => one(inputs.get(0).cloned()),
        "Split" => Some(split(node, inputs, budget)),
        "DequantizeLinear" => one(dequantize(node, inputs, budget)),
        _ => arithmetic(node, inputs, budget)
            .or_else(|| shaping(node, inputs, opset, budget))
            .or_else(|| making(node, inputs, budget))
            .or_else(|| reducing(node, inputs, budget))
            .map(|result| result.map(|constant| vec![constant])),
    }
}

fn dequantize(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Constant> {
    let (input, scale) = (inputs.get(0)?, inputs.get(1)?);
    budget.take(&input.shape, input.len())?;
    let along = if scale.len() == 1 { 0 } else { axis(node.int("axis").unwrap_or(1), input.shape.len())? };
    if node.int("block_size").unwrap_or(0) != 0 {
        return Err("scales of blocks are not known".into());
    }
    dequantised(input, Some(scale), inputs.maybe(2), along)
}

/// `(input - zero) * scale`; both one number, or one for each place along an axis.
pub(super) fn dequantised(input: &Constant, scale: Option<&Constant>, zero: Option<&Constant>, along: usize) -> Result<Constant> {
    let (size, inner) = (input.shape.get(along).copied().unwrap_or(1).max(1), input.shape.iter().skip(along + 1).product::<usize>().max(1));
    for given in [scale, zero].into_iter().flatten() {
        if given.len() != 1 && given.len() != size {
            return Err(format!("{:?} is not one number, nor one for each of {size}", given.shape));
        }
    }
    let of = |given: Option<&Constant>, at: usize, other: f32| {
        given.map_or(other, |given| given.float(if given.len() == 1 { 0 } else { at / inner % size }))
    };
    let numbers = (0..input.len()).map(|at| (input.float(at) - of(zero, at, 0.0)) * of(scale, at, 1.0));
    Ok(Constant::floats(input.shape.clone(), numbers.collect()))
}

fn cast(input: &Constant, kind: i64) -> Result<Constant> {
    let numbers = match kind {
        1 | 10 | 11 | 16 => Numbers::Floats(input.to_floats()),
        9 => Numbers::Ints((0..input.len()).map(|at| i64::from(input.float(at) != 0.0)).collect()),
        2..=7 | 12 | 13 => Numbers::Ints(input.to_ints()),
        _ => return Err(format!("numbers of kind {kind} are not read")),
    };
    Ok(Constant { shape: input.shape.clone(), numbers })
}

fn arithmetic(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Option<Result<Constant>> {
    let binary = |budget: &mut Budget, floats: fn(f32, f32) -> f32, ints: fn(i64, i64) -> Option<i64>| {
        Some(inputs.get(0).and_then(|left| combine(left, inputs.get(1)?, floats, ints, budget)))
    };
    let compare = |budget: &mut Budget, compare: fn(&f32, &f32) -> bool, ints: fn(&i64, &i64) -> bool| {
        Some(inputs.get(0).and_then(|left| self::compare(left, inputs.get(1)?, compare, ints, budget)))
    };
    let unary = |function: fn(f64) -> f64| Some(inputs.get(0).map(|input| map(input, function)));
    let logic = |budget: &mut Budget, ints: fn(i64, i64) -> Option<i64>| binary(budget, |_, _| f32::NAN, ints);
    match node.operator {
        "Add" => binary(budget, |a, b| a + b, i64::checked_add),
        "Sub" => binary(budget, |a, b| a - b, i64::checked_sub),
        "Mul" => binary(budget, |a, b| a * b, i64::checked_mul),
        "Div" => binary(budget, |a, b| a / b, i64::checked_div),
        "Mod" => binary(budget, |a, b| a % b, i64::checked_rem_euclid),
        "Pow" => binary(budget, f32::powf, |a, b| a.checked_pow(u32::try_from(b).ok()?)),
        "Min" if inputs.0.len() == 2 => binary(budget, f32::min, |a, b| Some(a.min(b))),
        "Max" if inputs.0.len() == 2 => binary(budget, f32::max, |a, b| Some(a.max(b))),
        "And" => logic(budget, |a, b| Some(i64::from(a != 0 && b != 0))),
        "Or" => logic(budget, |a, b| Some(i64::from(a != 0 || b != 0))),
        "Xor" => logic(budget, |a, b| Some(i64::from((a != 0) != (b != 0)))),
        "Not" => Some(
            inputs.get(0).map(|input| Constant::ints(input.shape.clone(), input.to_ints().iter().map(|x| i64::from(*x == 0)).collect())),
        ),
        "Equal" => compare(budget, f32::eq, i64::eq),
        "Less" => compare(budget, f32::lt, i64::lt),
        "LessOrEqual" => compare(budget, f32::le, i64::le),
        "Greater" => compare(budget, f32::gt, i64::gt),
        "GreaterOrEqual" => compare(budget, f32::ge, i64::ge),
        "IsNaN" => Some(
            inputs
                .get(0)
                .map(|input| Constant::ints(input.shape.clone(), input.to_floats().iter().map(|x| i64::from(x.is_nan())).collect())),
        ),
        "Neg" => unary(|x| -x),
        "Abs" => unary(f64::abs),
        "Floor" => unary(f64::floor),
        "Ceil" => unary(f64::ceil),
        "Sqrt" => unary(f64::sqrt),
        "Reciprocal" => unary(f64::recip),
        "Exp" => unary(f64::exp),
        "Log" => unary(f64::ln),
        "Erf" => unary(erf),
        "Tanh" => unary(f64::tanh),
        "Sigmoid" => unary(|x| 1.0 / (1.0 + (-x).exp())),
        "Relu" => unary(|x| x.max(0.0)),
        "Clip" => Some(clip(node, inputs)),
        "MatMul" => Some(inputs.get(0).and_then(|left| product(left, inputs.get(1)?, budget))),
        _ => None,
    }
}

fn map(input: &Constant, function: fn(f64) -> f64) -> Constant {
    match &input.numbers {
        Numbers::Floats(numbers) => Constant::floats(input.shape.clone(), numbers.iter().map(|x| function(f64::from(*x)) as f32).collect()),
        Numbers::Ints(numbers) => Constant::ints(input.shape.clone(), numbers.iter().map(|x| function(*x as f64) as i64).collect()),
    }
}

fn clip(node: &Node<'_>, inputs: &Inputs<'_>) -> Result<Constant> {
    let bound = |index: usize, name: &str| {
        inputs.maybe(index).map_or(Ok(node.float(name).map(f64::from)), |bound| bound.scalar().map(Some).ok_or("a bound is not one number"))
    };
    let (low, high) = (bound(1, "min")?, bound(2, "max")?);
    let clipped = |x: f64| low.map_or(x, |low| x.max(low)).min(high.unwrap_or(f64::INFINITY));
    let input = inputs.get(0)?;
    Ok(match &input.numbers {
        Numbers::Floats(numbers) => Constant::floats(input.shape.clone(), numbers.iter().map(|x| clipped(f64::from(*x)) as f32).collect()),
        Numbers::Ints(numbers) => Constant::ints(input.shape.clone(), numbers.iter().map(|x| clipped(*x as f64) as i64).collect()),
    })
}

/// The shape that both are stretched to.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let stretched = (0..rank).map(|axis| match (size(left, axis), size(right, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    });
    stretched.collect()
}

/// For each number of `shape`, the place of the number of a tensor of shape `from` that is stretched to it.
fn stretched<'a>(from: &'a [usize], shape: &'a [usize]) -> impl Iterator<Item = usize> + use<'a> {
    let front = shape.len() - from.len();
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (axis, size) in from.iter().enumerate().rev() {
        strides[front + axis] = if *size == 1 { 0 } else { stride };
        stride *= size;
    }
    places(shape, strides, 0)
}

/// Walks an index over `shape`, last axis fastest, and gives the place of each under `strides`.
fn places(shape: &[usize], strides: Vec<usize>, start: usize) -> impl Iterator<Item = usize> + use<'_> {
    let count: usize = shape.iter().product();
    let (mut index, mut at) = (vec![0; shape.len()], start);
    (0..count).map(move |_| {
        let place = at;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        place
    })
}

fn stretch(input: &Constant, shape: Vec<usize>, budget: &mut Budget) -> Result<Constant> {
    if input.shape == shape {
        return Ok(input.clone());
    }
    budget.take(&shape, input.len())?;
    let picked = stretched(&input.shape, &shape).collect::<Vec<_>>();
    Ok(input.picked(shape, picked.into_iter()))
}

fn pair(left: &Constant, right: &Constant, budget: &mut Budget) -> Result<(Constant, Constant)> {
    let shape = broadcast(&left.shape, &right.shape).ok_or_else(|| format!("{:?} and {:?} do not fit", left.shape, right.shape))?;
    Ok((stretch(left, shape.clone(), budget)?, stretch(right, shape, budget)?))
}

fn combine(
    left: &Constant,
    right: &Constant,
    floats: fn(f32, f32) -> f32,
    ints: fn(i64, i64) -> Option<i64>,
    budget: &mut Budget,
) -> Result<Constant> {
    let (left, right) = pair(left, right, budget)?;
    if let (Numbers::Ints(a), Numbers::Ints(b)) = (&left.numbers, &right.numbers) {
        let numbers: Option<Vec<i64>> = a.iter().zip(b.iter()).map(|(a, b)| ints(*a, *b)).collect();
        return Ok(Constant::ints(left.shape, numbers.ok_or("a number is out of range")?));
    }
    let (a, b) = (left.to_floats(), right.to_floats());
    Ok(Constant::floats(left.shape, a.iter().zip(b.iter()).map(|(a, b)| floats(*a, *b)).collect()))
}

fn compare(
    left: &Constant,
    right: &Constant,
    floats: fn(&f32, &f32) -> bool,
    ints: fn(&i64, &i64) -> bool,
    budget: &mut Budget,
) -> Result<Constant> {
    let (left, right) = pair(left, right, budget)?;
    let numbers = match (&left.numbers, &right.numbers) {
        (Numbers::Ints(a), Numbers::Ints(b)) => a.iter().zip(b.iter()).map(|(a, b)| i64::from(ints(a, b))).collect(),
        _ => left.to_floats().iter().zip(right.to_floats().iter()).map(|(a, b)| i64::from(floats(a, b))).collect(),
    };
    Ok(Constant::ints(left.shape, numbers))
}

fn product(left: &Constant, right: &Constant, budget: &mut Budget) -> Result<Constant> {
    let ([rows @ .., depth], [wanted, columns]) = (&left.shape[..], &right.shape[..]) else {
        return Err("the right side is not a matrix".into());
    };
    if depth != wanted {
        return Err(format!("{:?} and {:?} do not fit", left.shape, right.shape));
    }
    let shape = [rows, &[*columns]].concat();
    let count: usize = rows.iter().product();
    budget.take(&[count, *depth, columns.div_ceil(8)], MADE_MAX << 4)?;
    budget.take(&shape, 0)?;
    let (a, b) = (left.to_floats(), right.to_floats());
    let mut result = vec![0f64; count * columns];
    for (row, sums) in result.chunks_exact_mut((*columns).max(1)).enumerate() {
        for (factor, weights) in a[row * depth..(row + 1) * depth].iter().zip(b.chunks_exact((*columns).max(1))) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += f64::from(*factor) * f64::from(*weight));
        }
    }
    Ok(Constant::floats(shape, result.into_iter().map(|sum| sum as f32).collect()))
}

fn making(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Option<Result<Constant>> {
    Some(match node.operator {
        "Shape" => inputs.get(0).and_then(|input| shape_of(node, &input.shape)),
        "Size" => inputs.get(0).map(|input| Constant::ints(vec![], vec![input.len() as i64])),
        "Range" => range(inputs, budget),
        "CumSum" => cumulate(node, inputs),
        _ => return None,
    })
}

/// What `Shape` gives of a tensor.
pub(super) fn shape_of(node: &Node<'_>, shape: &[usize]) -> Result<Constant> {
    let (start, end) = (node.int("start").unwrap_or(0), node.int("end").unwrap_or(i64::MAX));
    let (start, _, count) = sliced(shape.len(), start, end, 1)?;
    Ok(Constant::list(shape[start..start + count].iter().map(|size| *size as i64).collect()))
}

fn range(inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Constant> {
    let number = |index: usize| inputs.get(index)?.scalar().ok_or_else(|| "it needs single numbers".to_owned());
    let (start, end, step) = (number(0)?, number(1)?, number(2)?);
    let count = ((end - start) / step).ceil().max(0.0);
    if !count.is_finite() || count > MADE_MAX as f64 {
        return Err("it is too long".into());
    }
    let count = budget.take(&[count as usize], 0)?;
    let numbers = (0..count).map(|at| start + at as f64 * step);
    Ok(match inputs.get(0)?.numbers {
        Numbers::Ints(_) => Constant::list(numbers.map(|number| number as i64).collect()),
        Numbers::Floats(_) => Constant::floats(vec![count], numbers.map(|number| number as f32).collect()),
    })
}

fn cumulate(node: &Node<'_>, inputs: &Inputs<'_>) -> Result<Constant> {
    if node.int("exclusive").unwrap_or(0) != 0 || node.int("reverse").unwrap_or(0) != 0 {
        return Err("only plain sums are known".into());
    }
    let (input, along) = (inputs.get(0)?, inputs.get(1)?.scalar().ok_or("its axis is not one number")?);
    let axis = axis(along as i64, input.shape.len())?;
    let (size, inner): (usize, usize) = (input.shape[axis], input.shape[axis + 1..].iter().product());
    let sum = |at: usize| (at / inner.max(1)).is_multiple_of(size.max(1));
    Ok(match &input.numbers {
        Numbers::Floats(numbers) => {
            let mut numbers = numbers.to_vec();
            (0..numbers.len()).filter(|at| !sum(*at)).for_each(|at| numbers[at] += numbers[at - inner]);
            Constant::floats(input.shape.clone(), numbers)
        }
        Numbers::Ints(numbers) => {
            let mut numbers = numbers.to_vec();
            (0..numbers.len()).filter(|at| !sum(*at)).for_each(|at| numbers[at] = numbers[at].wrapping_add(numbers[at - inner]));
            Constant::ints(input.shape.clone(), numbers)
        }
    })
}

fn reducing(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Option<Result<Constant>> {
    let (start, add): (f64, fn(f64, f64) -> f64) = match node.operator {
        "ReduceSum" | "ReduceMean" => (0.0, |a, b| a + b),
        "ReduceProd" => (1.0, |a, b| a * b),
        "ReduceMax" => (f64::NEG_INFINITY, f64::max),
        "ReduceMin" => (f64::INFINITY, f64::min),
        _ => return None,
    };
    Some(inputs.get(0).and_then(|input| {
        let gone = axes(node, inputs.maybe(1), input.shape.len())?.unwrap_or_else(|| (0..input.shape.len()).collect());
        let kept: Vec<usize> = (0..input.shape.len()).map(|axis| if gone.contains(&axis) { 1 } else { input.shape[axis] }).collect();
        let count = budget.take(&kept, 0)?;
        budget.take(&input.shape, input.len())?;
        let mut results = vec![start; count];
        for (at, to) in stretched(&kept, &input.shape).enumerate() {
            results[to] = add(results[to], f64::from(input.float(at)));
        }
        let share = if node.operator == "ReduceMean" { count as f64 / input.len().max(1) as f64 } else { 1.0 };
        let shape = if node.int("keepdims").unwrap_or(1) != 0 { kept } else { squeezed(&kept, Some(&gone))? };
        Ok(match input.numbers {
            Numbers::Floats(_) => Constant::floats(shape, results.into_iter().map(|x| (x * share) as f32).collect()),
            Numbers::Ints(_) => Constant::ints(shape, results.into_iter().map(|x| (x * share) as i64).collect()),
        })
    }))
}

/// One number, as often as a shape needs it.
pub(super) fn filled(value: &Constant, shape: Vec<usize>, budget: &mut Budget) -> Result<Constant> {
    let count = budget.take(&shape, 0)?;
    if value.len() != 1 {
        return Err("its value is not one number".into());
    }
    Ok(value.picked(shape, std::iter::repeat_n(0, count)))
}
