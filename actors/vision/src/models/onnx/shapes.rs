//! Operators that move numbers without changing them, and those on the tokens themselves.

use super::constant::Constant;
use super::file::Node;
use super::fold;
use super::translate::{Result, Translator};
use super::value::{Kind, Scores, Signal, Statistic, Value};
use super::view::View;

type Values<'v> = &'v [Option<Value>];

impl Translator<'_> {
    /// Another shape, order or part of the same numbers.
    pub(super) fn shaped<'c>(&mut self, node: &Node<'_>, value: &Value, input: &dyn Fn(usize) -> Option<&'c Constant>) -> Result<Value> {
        let shape = value.shape();
        let wanted = match node.operator {
            "Transpose" => return transposed(value, &fold::order(node, shape.len())?),
            "Slice" => return sliced(node, value, input),
            "Reshape" => fold::wanted_shape(node, &shape, input(1).ok_or("its shape is not known in advance")?)?,
            "Squeeze" => fold::squeezed(&shape, fold::axes(node, input(1), shape.len())?.as_deref())?,
            "Unsqueeze" => fold::unsqueezed(node, &shape, input(1))?,
            "Flatten" => fold::flattened(node, &shape)?,
            "Tile" => {
                let repeats = fold::sizes(input(1).ok_or("its repeats are not known in advance")?)?;
                if repeats.iter().any(|repeats| *repeats != 1) {
                    return Err("it repeats what is not known in advance".into());
                }
                shape
            }
            _ => {
                let wanted = fold::sizes(input(1).ok_or("its shape is not known in advance")?)?;
                let wide = fold::broadcast(&shape, &wanted).ok_or("its shape does not fit")?;
                if wide.iter().product::<usize>() != shape.iter().product::<usize>() && !matches!(value, Value::Statistic(_)) {
                    return Err("it repeats what is not known in advance".into());
                }
                wide
            }
        };
        reshaped(value, wanted)
    }

    pub(super) fn split(&mut self, node: &Node<'_>, value: &Value, lengths: Option<&Constant>) -> Result<Vec<Value>> {
        let Value::Signal(signal) = value else { return Err("it cuts something that cannot be cut".into()) };
        let (axis, lengths) = fold::split_lengths(node, &signal.view.shape(), lengths)?;
        let mut start = 0;
        let mut parts = vec![];
        for length in lengths {
            parts.push(Value::Signal(signal.seen(signal.view.slice(axis, start, length).ok_or("a part is empty")?)));
            start += length;
        }
        Ok(parts)
    }

    /// Tokens in front of the positions and behind them, the same for every picture.
    pub(super) fn concat(&mut self, node: &Node<'_>, inputs: Values<'_>) -> Result<Value> {
        let given: Vec<&Value> = inputs.iter().flatten().collect();
        let (front, signal, behind) = match given[..] {
            [only] => return Ok(only.clone()),
            [Value::Constant(front), Value::Signal(signal)] => (Some(front), signal, None),
            [Value::Signal(signal), Value::Constant(behind)] => (None, signal, Some(behind)),
            [Value::Constant(front), Value::Signal(signal), Value::Constant(behind)] => (Some(front), signal, Some(behind)),
            _ => return Err("only tokens can be put in front of positions or behind them".into()),
        };
        let axis = fold::axis(node.int("axis").unwrap_or(0), signal.view.axes().len())?;
        let whole = self.whole(signal)?;
        let (positions, channels) = (whole.base.positions, whole.base.channels);
        let is_rows = whole.view == View::new(&[(1, 0), (positions, channels), (channels, 1)]);
        let are_tokens = |given: &Constant| matches!(given.shape[..], [1, _, wide] if wide == channels);
        if axis != 1 || !is_rows || ![front, behind].into_iter().flatten().all(are_tokens) {
            return Err("only tokens can be put in front of positions or behind them".into());
        }
        let around = [front, behind].map(|given| given.map_or_else(Vec::new, |given| given.to_floats().to_vec()));
        let positions = positions + around.iter().map(|rows| rows.len() / channels).sum::<usize>();
        let kind = Kind::Arranged { input: self.emit(&whole)?, around, places: None };
        let view = View::new(&[(1, 0), (positions, channels), (channels, 1)]);
        Ok(Value::Signal(Signal::of(kind, positions, channels, view)))
    }

    /// Rows of a table for tokens, or one place of a tensor.
    pub(super) fn gathered(&mut self, node: &Node<'_>, from: &Value, indices: &Value) -> Result<Value> {
        match (from, indices) {
            (Value::Constant(words), Value::Tokens(shape)) if node.operator == "Gather" => {
                let [_, channels] = words.shape[..] else { return Err("its table is not a matrix".into()) };
                if node.int("axis").unwrap_or(0) != 0 || channels == 0 {
                    return Err("it looks tokens up along another axis".into());
                }
                let rows = View::new(&[(self.length, channels), (channels, 1)]);
                let view = rows.reshape(&[&shape[..], &[channels]].concat()).ok_or("its tokens do not fit")?;
                let kind = Kind::Embedding { words: words.to_floats(), places: None };
                Ok(Value::Signal(Signal::of(kind, self.length, channels, view)))
            }
            (Value::Signal(signal), Value::Constant(indices)) if node.operator == "Gather" => {
                let axis = fold::axis(node.int("axis").unwrap_or(0), signal.view.axes().len())?;
                let part = run_of_places(&signal.view, axis, &indices.to_ints())?;
                let shape = part.shape();
                let shape = [&shape[..axis], &indices.shape, &shape[axis + 1..]].concat();
                reshaped(&Value::Signal(signal.seen(part)), shape)
            }
            (Value::Signal(signal), Value::Constant(indices))
                if node.operator == "GatherND" && node.int("batch_dims").unwrap_or(0) == 0 =>
            {
                let depth = indices.shape.last().copied().filter(|depth| *depth == indices.len() && *depth <= signal.view.axes().len());
                let depth = depth.ok_or("only one place of a tensor can be taken")?;
                let mut part = signal.view.clone();
                for (axis, index) in indices.to_ints().iter().enumerate() {
                    part = one_place(&part, axis, *index)?;
                }
                let shape = [&indices.shape[..indices.shape.len() - 1], &part.shape()[depth..]].concat();
                reshaped(&Value::Signal(signal.seen(part)), shape)
            }
            _ => Err("it takes something out that cannot be taken out".into()),
        }
    }

    /// One of two, by a condition that is known in advance.
    pub(super) fn chosen(&mut self, condition: &Value, yes: &Value, no: &Value) -> Result<Value> {
        let Value::Constant(condition) = condition else { return Err("its condition is not known in advance".into()) };
        match condition.uniform() {
            Some(is) => {
                let kept = if is != 0.0 { yes } else { no };
                let wide = fold::broadcast(&yes.shape(), &no.shape()).and_then(|shape| fold::broadcast(&shape, &condition.shape));
                if wide.as_ref() == Some(&kept.shape()) { Ok(kept.clone()) } else { Err("what is kept would be repeated".into()) }
            }
            None => match (yes, no) {
                (Value::Scores(scores), Value::Constant(other)) => self.masked(scores, condition, other, true),
                (Value::Constant(other), Value::Scores(scores)) => self.masked(scores, condition, other, false),
                _ => Err("it chooses place by place".into()),
            },
        }
    }

    /// Questions about tokens. None of them is padding, and the last one ends the text.
    pub(super) fn marked(&mut self, node: &Node<'_>, value: &Value, other: Option<&Value>) -> Result<Value> {
        let marks = |shape: &[usize]| match other {
            Some(Value::Constant(token)) if token.len() == 1 => Ok(Value::Marks(shape.to_vec())),
            _ => Err("it compares tokens with more than one number".into()),
        };
        match (node.operator, value) {
            ("Equal", Value::Tokens(shape)) => marks(shape),
            ("ArgMax", Value::Tokens(shape) | Value::Marks(shape)) => {
                let axis = fold::axis(node.int("axis").unwrap_or(0), shape.len())?;
                if shape[axis] != self.length {
                    return Err("it looks along another axis than the text".into());
                }
                let mut shape = shape.clone();
                shape[axis] = 1;
                let last = Constant::ints(shape.clone(), vec![self.length as i64 - 1; shape.iter().product()]);
                let squeezed = if node.int("keepdims").unwrap_or(1) != 0 { shape } else { fold::squeezed(&shape, Some(&[axis]))? };
                Ok(Value::Constant(last.reshaped(squeezed).ok_or("its shape does not fit")?))
            }
            ("Not", Value::Marks(shape)) => Ok(Value::Constant(Constant::ints(shape.clone(), vec![1; shape.iter().product()]))),
            ("IsNaN", Value::Scores(Scores { shape, .. })) => {
                Ok(Value::Constant(Constant::ints(shape.clone(), vec![0; shape.iter().product()])))
            }
            _ => Err("it asks something that cannot be answered in advance".into()),
        }
    }
}

/// Places of an axis that are evenly apart.
fn run_of_places(view: &View, axis: usize, indices: &[i64]) -> Result<View> {
    let size = view.axes().get(axis).map_or(0, |axis| axis.size);
    let at: Option<Vec<usize>> = indices.iter().map(|index| fold::place(*index, size)).collect();
    let at = at.ok_or("an index is out of range")?;
    let (first, step) = match at[..] {
        [] => return Err("it takes nothing".into()),
        [only] => (only, 1),
        [first, second, ..] => {
            (first, second.checked_sub(first).filter(|step| *step > 0).ok_or("places can only be taken in their order")?)
        }
    };
    if at.windows(2).any(|pair| pair[0].checked_add(step) != Some(pair[1])) {
        return Err("only places that are evenly apart can be taken".into());
    }
    Ok(view.stepped(axis, first, step, at.len()).ok_or("an index is out of range")?)
}

/// One place of an axis, which stays with size 1.
fn one_place(view: &View, axis: usize, index: i64) -> Result<View> {
    let size = view.axes().get(axis).map_or(0, |axis| axis.size);
    let at = fold::place(index, size).ok_or("an index is out of range")?;
    Ok(view.slice(axis, at, 1).ok_or("an index is out of range")?)
}

fn reshaped(value: &Value, wanted: Vec<usize>) -> Result<Value> {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let fits = count(&value.shape()) == count(&wanted);
    Ok(match value {
        Value::Signal(signal) => Value::Signal(
            signal.seen(signal.view.reshape(&wanted).ok_or_else(|| format!("{:?} cannot become {wanted:?} where it lies", value.shape()))?),
        ),
        Value::Tokens(_) if fits => Value::Tokens(wanted),
        Value::Marks(_) if fits => Value::Marks(wanted),
        Value::Statistic(statistic) => Value::Statistic(Statistic { shape: wanted, ..statistic.clone() }),
        Value::Scores(scores) if fits && wanted.ends_with(&scores.shape[scores.shape.len().saturating_sub(2)..]) => {
            Value::Scores(Scores { shape: wanted, ..scores.clone() })
        }
        _ => return Err(format!("{:?} cannot become {wanted:?}", value.shape()).into()),
    })
}

fn transposed(value: &Value, order: &[usize]) -> Result<Value> {
    let Value::Signal(signal) = value else { return Err("it turns something that cannot be turned".into()) };
    Ok(Value::Signal(signal.seen(signal.view.transpose(order).ok_or("its order is not one of all axes")?)))
}

fn sliced<'c>(node: &Node<'_>, value: &Value, input: &dyn Fn(usize) -> Option<&'c Constant>) -> Result<Value> {
    let shape = value.shape();
    let slices = fold::slices(node, &shape, &|index| input(index).cloned())?;
    let is_whole = slices.iter().all(|(axis, start, step, count)| (*start, *step, *count) == (0, 1, shape[*axis]));
    match value {
        _ if is_whole => Ok(value.clone()),
        Value::Signal(signal) => {
            let mut view = signal.view.clone();
            for (axis, start, step, count) in slices {
                let step_is_plain = step == 1 || count <= 1;
                view = view.slice(axis, start, count).filter(|_| step_is_plain).ok_or("only runs of places can be taken")?;
            }
            Ok(Value::Signal(signal.seen(view)))
        }
        _ => Err("it takes a part of something that cannot be cut".into()),
    }
}
