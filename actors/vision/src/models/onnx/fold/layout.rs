//! Operators that move numbers that are known in advance, and what operators of shapes are asked for.

use super::resize::resized;
use super::{Budget, Inputs, Result, broadcast, places, stretch};
use crate::models::onnx::constant::{Constant, Numbers};
use crate::models::onnx::file::{AXES_MAX, Node};

/// A place on an axis of `size`, counted from its end where negative.
pub(in crate::models::onnx) fn place(at: i64, size: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(i64::try_from(size).ok()?)? } else { at };
    usize::try_from(at).ok()
}

/// An axis of a tensor of that rank.
pub(in crate::models::onnx) fn axis(at: i64, rank: usize) -> Result<usize> {
    place(at, rank).filter(|axis| *axis < rank).ok_or_else(|| format!("axis {at} of {rank}"))
}

/// The axes that an operator names by an attribute (earlier opsets) or by an input.
pub(in crate::models::onnx) fn axes(node: &Node<'_>, input: Option<&Constant>, rank: usize) -> Result<Option<Vec<usize>>> {
    let given = match (node.ints("axes"), input) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(input)) => input.to_ints().to_vec(),
        (None, None) => return Ok(None),
    };
    if given.is_empty() && node.operator.starts_with("Reduce") {
        return Ok(None);
    }
    given.into_iter().map(|at| axis(at, rank)).collect::<Result<Vec<_>>>().map(Some)
}

/// The shape that `Reshape` asks for.
pub(in crate::models::onnx) fn wanted_shape(node: &Node<'_>, shape: &[usize], wanted: &Constant) -> Result<Vec<usize>> {
    let keeps_zero = node.int("allowzero").unwrap_or(0) != 0;
    let wanted = wanted.to_ints();
    let known: Vec<Option<usize>> = wanted
        .iter()
        .enumerate()
        .map(|(axis, size)| match size {
            0 if !keeps_zero => shape.get(axis).copied().map(Some).ok_or("an axis is not there"),
            -1 => Ok(None),
            size => usize::try_from(*size).map(Some).map_err(|_| "a size is negative"),
        })
        .collect::<std::result::Result<_, _>>()?;
    let product = |sizes: Vec<usize>| sizes.into_iter().try_fold(1usize, usize::checked_mul);
    let whole = product(shape.to_vec()).ok_or("a shape is too large")?;
    let rest = product(known.iter().flatten().copied().collect()).ok_or("a shape is too large")?;
    let open = known.iter().filter(|size| size.is_none()).count();
    let filled = whole.checked_div(rest).unwrap_or(0);
    let result: Vec<usize> = known.into_iter().map(|size| size.unwrap_or(filled)).collect();
    let fits = open <= 1 && product(result.clone()) == Some(whole);
    fits.then_some(result).ok_or_else(|| format!("{shape:?} cannot become {:?}", &wanted[..]))
}

/// Without the given axes, or without all of size 1.
pub(in crate::models::onnx) fn squeezed(shape: &[usize], axes: Option<&[usize]>) -> Result<Vec<usize>> {
    let goes = |axis: usize| axes.map_or(shape[axis] == 1, |axes| axes.contains(&axis));
    if (0..shape.len()).any(|axis| goes(axis) && shape[axis] != 1) {
        return Err(format!("{shape:?} has numbers on axes that are to go"));
    }
    Ok((0..shape.len()).filter(|axis| !goes(*axis)).map(|axis| shape[axis]).collect())
}

/// With axes of size 1 at the given places of the result.
pub(in crate::models::onnx) fn unsqueezed(node: &Node<'_>, shape: &[usize], input: Option<&Constant>) -> Result<Vec<usize>> {
    let given =
        node.ints("axes").map(<[i64]>::to_vec).or_else(|| input.map(|input| input.to_ints().to_vec())).ok_or("its axes are missing")?;
    let rank = shape.len() + given.len();
    if rank > AXES_MAX {
        return Err("too many axes".into());
    }
    let added = given.into_iter().map(|at| axis(at, rank)).collect::<Result<Vec<_>>>()?;
    let mut old = shape.iter();
    let result = (0..rank).map(|axis| if added.contains(&axis) { Some(1) } else { old.next().copied() }).collect::<Option<Vec<_>>>();
    result.filter(|_| old.next().is_none()).ok_or_else(|| "an axis is added twice".into())
}

/// First place, step and count of one sliced axis.
pub(in crate::models::onnx) fn sliced(size: usize, start: i64, end: i64, step: i64) -> Result<(usize, i64, usize)> {
    let signed = i64::try_from(size).map_err(|_| "a size is too large")?;
    let from_end = |at: i64| if at < 0 { at.saturating_add(signed) } else { at };
    let (start, end) = if step > 0 {
        (from_end(start).clamp(0, signed), from_end(end).clamp(0, signed))
    } else {
        (from_end(start).clamp(-1, signed - 1), if end < -signed { -1 } else { from_end(end).clamp(-1, signed - 1) })
    };
    let span = if step > 0 { end - start } else { start - end };
    let count = if step == 0 { return Err("a step is 0".into()) } else { span.max(0).unsigned_abs().div_ceil(step.unsigned_abs()) };
    Ok((usize::try_from(start.max(0)).unwrap_or(0), step, usize::try_from(count).unwrap_or(0)))
}

/// For each axis that `Slice` names: axis, first place, step, count.
pub(in crate::models::onnx) fn slices(
    node: &Node<'_>,
    shape: &[usize],
    input: &dyn Fn(usize) -> Option<Constant>,
) -> Result<Vec<(usize, usize, i64, usize)>> {
    let list = |name: &str, index: usize| match node.ints(name) {
        Some(list) => Some(list.to_vec()),
        None => input(index).map(|input| input.to_ints().to_vec()),
    };
    let (starts, ends) = (list("starts", 1).ok_or("its starts are missing")?, list("ends", 2).ok_or("its ends are missing")?);
    let along = list("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || along.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps are not equally many".into());
    }
    (0..starts.len())
        .map(|index| {
            let axis = axis(along[index], shape.len())?;
            let (start, step, count) = sliced(shape[axis], starts[index], ends[index], steps[index])?;
            Ok((axis, start, step, count))
        })
        .collect()
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

pub(super) fn shaping(node: &Node<'_>, inputs: &Inputs<'_>, opset: i64, budget: &mut Budget) -> Option<Result<Constant>> {
    let input = match inputs.get(0) {
        Ok(input) => input,
        Err(error) => return Some(Err(error)),
    };
    let shape = &input.shape;
    let reshaped =
        |wanted: Result<Vec<usize>>| wanted.and_then(|wanted| input.reshaped(wanted).ok_or_else(|| "the shape does not fit".to_owned()));
    Some(match node.operator {
        "Reshape" => reshaped(inputs.get(1).and_then(|wanted| wanted_shape(node, shape, wanted))),
        "Squeeze" => reshaped(axes(node, inputs.maybe(1), shape.len()).and_then(|axes| squeezed(shape, axes.as_deref()))),
        "Unsqueeze" => reshaped(unsqueezed(node, shape, inputs.maybe(1))),
        "Flatten" => reshaped(flattened(node, shape)),
        "Transpose" => transposed(node, input, budget),
        "Expand" => inputs.get(1).and_then(|wanted| {
            let wanted = sizes(wanted)?;
            stretch(input, broadcast(shape, &wanted).ok_or("the shape does not fit")?, budget)
        }),
        "Slice" => slice(node, inputs, budget),
        "Concat" => concat(node, inputs, budget),
        "Gather" => inputs.get(1).and_then(|indices| gather(input, indices, node.int("axis").unwrap_or(0), budget)),
        "GatherElements" => inputs.get(1).and_then(|indices| gather_elements(input, indices, node.int("axis").unwrap_or(0), budget)),
        "GatherND" if node.int("batch_dims").unwrap_or(0) == 0 => inputs.get(1).and_then(|indices| gather_nd(input, indices, budget)),
        "Tile" => inputs.get(1).and_then(|repeats| tile(input, &sizes(repeats)?, budget)),
        "Where" => inputs.get(1).and_then(|yes| choose(input, yes, inputs.get(2)?, budget)),
        "Trilu" => triangle(node, inputs, budget),
        "Resize" => {
            let same = |index: usize, is_same: &dyn Fn(&Constant) -> bool| {
                inputs.maybe(index).is_some_and(|given| given.len() == shape.len() && is_same(given))
            };
            let is_same = same(2, &|scales| scales.uniform() == Some(1.0)) || same(3, &|wanted| sizes(wanted).as_ref() == Ok(shape));
            if opset >= 11 && is_same { Ok(input.clone()) } else { resized(node, inputs, opset, budget) }
        }
        _ => return None,
    })
}

/// A list of sizes.
pub(in crate::models::onnx) fn sizes(list: &Constant) -> Result<Vec<usize>> {
    if list.shape.len() > 1 || list.len() > AXES_MAX {
        return Err("a shape is not a list".into());
    }
    list.to_ints().iter().map(|size| usize::try_from(*size).map_err(|_| "a size is negative".to_owned())).collect()
}

pub(in crate::models::onnx) fn flattened(node: &Node<'_>, shape: &[usize]) -> Result<Vec<usize>> {
    let axis = place(node.int("axis").unwrap_or(1), shape.len()).filter(|axis| *axis <= shape.len()).ok_or("its axis is not there")?;
    let product = |part: &[usize]| part.iter().product();
    Ok(vec![product(&shape[..axis]), product(&shape[axis..])])
}

/// The order that `Transpose` asks for.
pub(in crate::models::onnx) fn order(node: &Node<'_>, rank: usize) -> Result<Vec<usize>> {
    match node.ints("perm") {
        Some(perm) => perm.iter().map(|at| axis(*at, rank)).collect(),
        None => Ok((0..rank).rev().collect()),
    }
}

fn transposed(node: &Node<'_>, input: &Constant, budget: &mut Budget) -> Result<Constant> {
    let order = order(node, input.shape.len())?;
    if order.len() != input.shape.len() || (0..order.len()).any(|axis| !order.contains(&axis)) {
        return Err("its order is not one of all axes".into());
    }
    let strides = row_major(&input.shape);
    let shape: Vec<usize> = order.iter().map(|axis| input.shape[*axis]).collect();
    budget.take(&shape, input.len())?;
    let picked = places(&shape, order.iter().map(|axis| strides[*axis]).collect(), 0).collect::<Vec<_>>();
    Ok(input.picked(shape, picked.into_iter()))
}

fn slice(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Constant> {
    let mut result = inputs.get(0)?.clone();
    for (axis, start, step, count) in slices(node, &result.shape.clone(), &|index| inputs.maybe(index).cloned())? {
        let indices = (0..count as i64).map(|index| start as i64 + index * step).collect();
        result = gather(&result, &Constant::list(indices), axis as i64, budget)?;
    }
    Ok(result)
}

pub(super) fn split(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Vec<Constant>> {
    let input = inputs.get(0)?;
    let (axis, lengths) = split_lengths(node, &input.shape, inputs.maybe(1))?;
    let mut start = 0;
    lengths
        .into_iter()
        .map(|length| {
            let indices = (start..start + length).map(|at| at as i64).collect();
            start += length;
            gather(input, &Constant::list(indices), axis as i64, budget)
        })
        .collect()
}

/// The axis that `Split` cuts, and the length of each part.
pub(in crate::models::onnx) fn split_lengths(node: &Node<'_>, shape: &[usize], input: Option<&Constant>) -> Result<(usize, Vec<usize>)> {
    let axis = axis(node.int("axis").unwrap_or(0), shape.len())?;
    let parts = node.outputs.len().max(1);
    let lengths = match (node.ints("split"), input) {
        (Some(split), _) => sizes(&Constant::list(split.to_vec()))?,
        (None, Some(input)) => sizes(input)?,
        (None, None) => {
            let length = shape[axis].div_ceil(parts);
            (0..parts).map(|part| shape[axis].saturating_sub(part * length).min(length)).collect()
        }
    };
    let whole = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length));
    if whole == Some(shape[axis]) && lengths.len() == parts { Ok((axis, lengths)) } else { Err("its parts are not the whole".into()) }
}

fn concat(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Constant> {
    let first = inputs.get(0)?;
    let axis = axis(node.int("axis").unwrap_or(0), first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    let mut parts = vec![];
    for index in 0..inputs.0.len() {
        let part = inputs.get(index)?;
        let fits =
            part.shape.len() == shape.len() && (0..shape.len()).all(|other| other == axis || part.shape[other] == first.shape[other]);
        if !fits {
            return Err(format!("{:?} and {:?} do not fit", first.shape, part.shape));
        }
        shape[axis] = shape[axis].checked_add(part.shape[axis]).ok_or("a shape is too large")?;
        parts.push(part);
    }
    budget.take(&shape, inputs.size())?;
    let outer: usize = shape[..axis].iter().product();
    let runs = parts.iter().map(|part| part.shape[axis..].iter().product::<usize>()).collect::<Vec<_>>();
    if parts.iter().all(|part| matches!(part.numbers, Numbers::Ints(_))) {
        let lists: Vec<_> = parts.iter().map(|part| part.to_ints()).collect();
        let numbers =
            (0..outer).flat_map(|at| lists.iter().zip(&runs).flat_map(move |(list, run)| list[at * run..(at + 1) * run].iter().copied()));
        let numbers = numbers.collect();
        return Ok(Constant::ints(shape, numbers));
    }
    let lists: Vec<_> = parts.iter().map(|part| part.to_floats()).collect();
    let numbers =
        (0..outer).flat_map(|at| lists.iter().zip(&runs).flat_map(move |(list, run)| list[at * run..(at + 1) * run].iter().copied()));
    let numbers = numbers.collect();
    Ok(Constant::floats(shape, numbers))
}

fn gather(input: &Constant, indices: &Constant, along: i64, budget: &mut Budget) -> Result<Constant> {
    let axis = axis(along, input.shape.len())?;
    let size = input.shape[axis];
    let shape = [&input.shape[..axis], &indices.shape, &input.shape[axis + 1..]].concat();
    budget.take(&shape, input.len())?;
    let at = indices
        .to_ints()
        .iter()
        .map(|at| place(*at, size).filter(|at| *at < size))
        .collect::<Option<Vec<_>>>()
        .ok_or("an index is out of range")?;
    let (outer, inner): (usize, usize) = (input.shape[..axis].iter().product(), input.shape[axis + 1..].iter().product());
    let picked =
        (0..outer).flat_map(|outer| at.iter().flat_map(move |at| (0..inner).map(move |inner_at| (outer * size + at) * inner + inner_at)));
    Ok(input.picked(shape, picked))
}

fn gather_elements(input: &Constant, indices: &Constant, along: i64, budget: &mut Budget) -> Result<Constant> {
    let axis = axis(along, input.shape.len())?;
    let fits = indices.shape.len() == input.shape.len()
        && (0..input.shape.len()).all(|other| other == axis || indices.shape[other] <= input.shape[other]);
    if !fits {
        return Err("its indices do not fit".into());
    }
    budget.take(&indices.shape, input.len())?;
    let mut strides = row_major(&input.shape);
    let stride = std::mem::take(&mut strides[axis]);
    let size = input.shape[axis];
    let wanted = indices.to_ints();
    let at = places(&indices.shape, strides, 0)
        .zip(wanted.iter())
        .map(|(start, at)| Some(start + place(*at, size).filter(|at| *at < size)? * stride));
    let at = at.collect::<Option<Vec<_>>>().ok_or("an index is out of range")?;
    Ok(input.picked(indices.shape.clone(), at.into_iter()))
}

fn gather_nd(input: &Constant, indices: &Constant, budget: &mut Budget) -> Result<Constant> {
    let Some((depth, outer)) = indices.shape.split_last() else { return Err("its indices do not fit".into()) };
    if *depth > input.shape.len() || *depth == 0 {
        return Err("its indices do not fit".into());
    }
    let shape = [outer, &input.shape[*depth..]].concat();
    budget.take(&shape, input.len())?;
    let strides = row_major(&input.shape);
    let inner: usize = input.shape[*depth..].iter().product();
    let start = |index: &[i64]| {
        let steps = index
            .iter()
            .enumerate()
            .map(|(axis, at)| Some(place(*at, input.shape[axis]).filter(|at| *at < input.shape[axis])? * strides[axis]));
        steps.sum::<Option<usize>>()
    };
    let starts = indices.to_ints().chunks_exact(*depth).map(start).collect::<Option<Vec<_>>>().ok_or("an index is out of range")?;
    Ok(input.picked(shape, starts.into_iter().flat_map(|start| start..start + inner)))
}

fn tile(input: &Constant, repeats: &[usize], budget: &mut Budget) -> Result<Constant> {
    if repeats.len() != input.shape.len() {
        return Err("its repeats do not fit".into());
    }
    let mut result = input.clone();
    for (axis, repeats) in repeats.iter().enumerate() {
        let size = result.shape[axis];
        budget.take(&[size, *repeats], 0)?;
        let indices: Vec<i64> = (0..size * repeats).map(|at| (at % size.max(1)) as i64).collect();
        result = gather(&result, &Constant::list(indices), axis as i64, budget)?;
    }
    Ok(result)
}

fn choose(condition: &Constant, yes: &Constant, no: &Constant, budget: &mut Budget) -> Result<Constant> {
    let shape = broadcast(&yes.shape, &no.shape).and_then(|shape| broadcast(&shape, &condition.shape)).ok_or("its inputs do not fit")?;
    let [condition, yes, no] = [condition, yes, no].map(|input| stretch(input, shape.clone(), budget));
    let (condition, yes, no) = (condition?.to_ints(), yes?, no?);
    if let (Numbers::Ints(yes), Numbers::Ints(no)) = (&yes.numbers, &no.numbers) {
        return Ok(Constant::ints(
            shape,
            condition.iter().zip(yes.iter().zip(no.iter())).map(|(is, (yes, no))| if *is != 0 { *yes } else { *no }).collect(),
        ));
    }
    let (yes, no) = (yes.to_floats(), no.to_floats());
    Ok(Constant::floats(
        shape,
        condition.iter().zip(yes.iter().zip(no.iter())).map(|(is, (yes, no))| if *is != 0 { *yes } else { *no }).collect(),
    ))
}

fn triangle(node: &Node<'_>, inputs: &Inputs<'_>, budget: &mut Budget) -> Result<Constant> {
    let (input, shift) = (inputs.get(0)?, inputs.maybe(1).and_then(Constant::scalar).unwrap_or(0.0));
    let [.., rows, columns] = input.shape[..] else { return Err("it is not a matrix".into()) };
    budget.take(&input.shape, 0)?;
    let is_upper = node.int("upper").unwrap_or(1) != 0;
    let keeps = |at: usize| {
        let (row, column) = ((at / columns.max(1)) % rows.max(1), at % columns.max(1));
        let distance = column as f64 - row as f64 - shift;
        if is_upper { distance >= 0.0 } else { distance <= 0.0 }
    };
    Ok(match &input.numbers {
        Numbers::Floats(numbers) => Constant::floats(
            input.shape.clone(),
            numbers.iter().enumerate().map(|(at, number)| if keeps(at) { *number } else { 0.0 }).collect(),
        ),
        Numbers::Ints(numbers) => Constant::ints(
            input.shape.clone(),
            numbers.iter().enumerate().map(|(at, number)| if keeps(at) { *number } else { 0 }).collect(),
        ),
    })
}
