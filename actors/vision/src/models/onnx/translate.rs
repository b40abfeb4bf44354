//! The walk through a graph: what is known in advance is computed, the rest becomes signals.
//!
//! The batch is 1, the length is a number, no token is padding and every mask is 1: with that all arithmetic about shapes,
//! positions and masks is known in advance, however an exporter has written it, and only the model itself is left.

use super::constant::{self, Constant};
use super::file::{File, Node};
use super::fold::{self, Budget, Inputs};
use super::value::{Kind, Signal, Value};
use super::view::View;
use crate::models::ModelError;
use shaders::{Plan, TensorId};
use std::collections::HashMap;

/// What a node can go wrong with, without its name.
pub(super) type Result<T> = std::result::Result<T, Reason>;

/// For people.
#[derive(Debug)]
pub(super) struct Reason(pub(super) String);

impl From<String> for Reason {
    fn from(reason: String) -> Reason {
        Reason(reason)
    }
}

impl From<&str> for Reason {
    fn from(reason: &str) -> Reason {
        Reason(reason.to_owned())
    }
}

impl From<shaders::PlanError> for Reason {
    fn from(error: shaders::PlanError) -> Reason {
        Reason(error.to_string())
    }
}

/// The bytes of a file beside the model, by its name.
pub(super) type External<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

pub(super) struct Translator<'a> {
    pub(super) plan: Plan,
    /// The plan's input.
    pub(super) input: TensorId,
    /// Tokens of a text.
    pub(super) length: usize,
    pub(super) opset: i64,
    /// What was taken out of a tensor: its first position, or its last.
    pub(super) taken: HashMap<(TensorId, bool), TensorId>,
    external: External<'a>,
    budget: Budget,
    values: HashMap<&'a str, Value>,
}

/// What is fed to one input of the graph.
pub(super) enum Feed {
    /// A picture of `height` x `width`; byte to number by channel; whether channels come last.
    Pixels {
        height: usize,
        width: usize,
        mean: [f32; 3],
        deviation: [f32; 3],
        is_last: bool,
    },
    Tokens,
    Known(Constant),
}

impl<'a> Translator<'a> {
    pub(super) fn new(
        plan: Plan,
        input: TensorId,
        length: usize,
        file: &File<'a>,
        external: External<'a>,
        numbers: usize,
    ) -> Translator<'a> {
        Translator {
            plan,
            input,
            length,
            opset: file.opset,
            external,
            budget: Budget(numbers),
            taken: HashMap::new(),
            values: HashMap::new(),
        }
    }

    /// Sets what an input of the graph stands for.
    pub(super) fn feed(&mut self, name: &'a str, feed: Feed) {
        let value = match feed {
            Feed::Known(constant) => Value::Constant(constant),
            Feed::Tokens => Value::Tokens(vec![1, self.length]),
            Feed::Pixels { height, width, mean, deviation, is_last } => {
                let axes = [(1, 0), (3, 1), (height, 3 * width), (width, 3)];
                let view = View::new(&if is_last { [axes[0], axes[2], axes[3], axes[1]] } else { axes });
                let mut signal = Signal::of(Kind::Pixels, height * width, 3, view);
                let factors = deviation.map(|deviation| 1.0 / f64::from(deviation));
                let summands = [0, 1, 2].map(|colour| -f64::from(mean[colour]) * factors[colour]);
                signal.affine = Some(std::rc::Rc::new(super::value::Affine {
                    factors: factors.to_vec(),
                    summands: summands.to_vec(),
                    made: std::cell::Cell::default(),
                }));
                Value::Signal(signal)
            }
        };
        self.values.insert(name, value);
    }

    /// Translates all that the outputs need, and gives what each is.
    pub(super) fn run<const N: usize>(&mut self, file: &File<'a>, outputs: [&'a str; N]) -> std::result::Result<[Value; N], ModelError> {
        let needed = needed(file, &outputs);
        let mut uses: HashMap<&str, usize> = HashMap::new();
        needed.iter().flat_map(|node| &node.inputs).for_each(|name| *uses.entry(name).or_default() += 1);
        for node in needed {
            let results = self.node(file, node).map_err(|reason| refused(node, reason))?;
            for name in &node.inputs {
                // Weights are dropped as soon as nothing needs them.
                let left = uses.get_mut(name).map_or(0, |left| {
                    *left -= 1;
                    *left
                });
                if left == 0 && !outputs.contains(name) {
                    self.values.remove(name);
                }
            }
            self.values.extend(node.outputs.iter().copied().zip(results));
        }
        let missing = |name: &str| ModelError::Graph { operator: String::new(), node: name.to_owned(), reason: "no node makes it".into() };
        let values = outputs.iter().map(|name| self.values.get(name).cloned().ok_or_else(|| missing(name)));
        let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
        values.try_into().map_err(|_| missing("output"))
    }

    fn node(&mut self, file: &File<'a>, node: &Node<'a>) -> Result<Vec<Value>> {
        if !matches!(node.domain, "" | "ai.onnx" | "com.microsoft") {
            return Err(format!("operators of {:?} are not known", node.domain).into());
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(self.value(file, name)?);
        }
        match node.operator {
            "Constant" => return Ok(vec![Value::Constant(self.constant_of(node)?)]),
            "ConstantOfShape" => return Ok(vec![Value::Constant(self.filled(node, &inputs)?)]),
            "Shape" | "Size" => {
                let shape = inputs.first().and_then(Option::as_ref).ok_or("its input is missing")?.shape();
                let size = || Constant::ints(vec![], vec![shape.iter().product::<usize>() as i64]);
                return Ok(vec![Value::Constant(if node.operator == "Size" { size() } else { fold::shape_of(node, &shape)? })]);
            }
            _ => {}
        }
        let known = inputs.iter().map(|input| match input {
            None => Some(None),
            Some(Value::Constant(constant)) => Some(Some(constant)),
            Some(_) => None,
        });
        if let Some(known) = known.collect::<Option<Vec<_>>>() {
            return match fold::evaluate(node, &Inputs(known), self.opset, &mut self.budget) {
                Some(results) => Ok(results?.into_iter().map(Value::Constant).collect()),
                None if inputs.is_empty() => Err("the operator is not known".into()),
                None => Err("the operator is not known for numbers that are known in advance".into()),
            };
        }
        self.computed(node, &inputs)
    }

    fn value(&mut self, file: &File<'a>, name: &'a str) -> Result<Option<Value>> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let tensor = file.initializers.get(name).ok_or_else(|| format!("nothing makes its input {name:?}"))?;
        let constant = constant::read(tensor, self.external).map_err(|reason| format!("{name}: {reason}"))?;
        self.values.insert(name, Value::Constant(constant.clone()));
        Ok(Some(Value::Constant(constant)))
    }

    fn constant_of(&self, node: &Node<'a>) -> Result<Constant> {
        if let Some(tensor) = node.tensor("value") {
            return Ok(constant::read(tensor, self.external)?);
        }
        let ints = node.int("value_int").map(|int| Constant::ints(vec![], vec![int]));
        let ints = ints.or_else(|| node.ints("value_ints").filter(|list| !list.is_empty()).map(|list| Constant::list(list.to_vec())));
        let floats = || node.float("value_float").map(|float| Constant::floats(vec![], vec![float]));
        let lists = || node.floats("value_floats").map(|list| Constant::floats(vec![list.len()], list.to_vec()));
        ints.or_else(floats).or_else(lists).ok_or_else(|| "a constant of this kind is not read".into())
    }

    fn filled(&mut self, node: &Node<'a>, inputs: &[Option<Value>]) -> Result<Constant> {
        let Some(Some(Value::Constant(shape))) = inputs.first() else { return Err("its shape is not known in advance".into()) };
        let value = node.tensor("value").map(|tensor| constant::read(tensor, self.external)).transpose()?;
        let value = value.unwrap_or_else(|| Constant::floats(vec![1], vec![0.0]));
        Ok(fold::filled(&value, fold::sizes(shape)?, &mut self.budget)?)
    }
}

/// The nodes that outputs need, in the order of the file, which every reader may rely on.
fn needed<'f, 'a>(file: &'f File<'a>, outputs: &[&'a str]) -> Vec<&'f Node<'a>> {
    let mut wanted: std::collections::HashSet<&str> = outputs.iter().copied().collect();
    let mut nodes: Vec<&Node<'_>> = vec![];
    for node in file.nodes.iter().rev() {
        if node.outputs.iter().any(|name| !name.is_empty() && wanted.contains(name)) {
            wanted.extend(node.inputs.iter().copied());
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

fn refused(node: &Node<'_>, reason: Reason) -> ModelError {
    let name = if node.name.is_empty() { node.outputs.first().copied().unwrap_or_default() } else { node.name };
    ModelError::Graph { operator: node.operator.to_owned(), node: name.to_owned(), reason: reason.0 }
}
