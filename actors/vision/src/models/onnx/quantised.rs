//! Quantised graphs, as they are published for browsers: weights of 8 bits become floats again when they are read, and what a model
//! computes is not rounded. That gives the vectors of the float model with the rounded weights, which the quantised one strays from.
//!
//! Dynamic quantisation (`DynamicQuantizeLinear`, `MatMulInteger`, `ConvInteger`) leaves ranges open, so that rounding is all that it
//! does to a value. Graphs of static quantisation cut values off at ranges found beforehand, which is more: they are refused.

use super::constant::Constant;
use super::file::Node;
use super::fold::{axis, dequantised};
use super::operators::{Values, known};
use super::translate::{Result, Translator};
use super::value::Value;

impl Translator<'_> {
    /// Runs an operator of quantised graphs; `None` where it is none.
    pub(super) fn quantised(&mut self, node: &Node<'_>, inputs: Values<'_>) -> Option<Result<Vec<Value>>> {
        let get = |index: usize| inputs.get(index).and_then(Option::as_ref);
        let first = get(0)?;
        let one = |result: Result<Value>| Some(result.map(|value| vec![value]));
        match node.operator {
            // The value itself, with a scale of one and no offset.
            "DynamicQuantizeLinear" => {
                let scale = Value::Constant(Constant::floats(vec![], vec![1.0]));
                Some(Ok(vec![first.clone(), scale, Value::Constant(Constant::ints(vec![], vec![0]))]))
            }
            "MatMulInteger" => one(self.integer_product(first, [get(1), get(2), get(3)])),
            "ConvInteger" => one(self.integer_convolution(node, first, [get(1), get(2), get(3)])),
            "DequantizeLinear" => one(self.scaled(node, first, known(get(1)), get(2))),
            _ => None,
        }
    }

    fn integer_product(&mut self, value: &Value, [weights, zero, weights_zero]: [Option<&Value>; 3]) -> Result<Value> {
        is_unshifted(zero)?;
        let weights = known(weights).ok_or("its weights are not known in advance")?;
        let along = weights.shape.len().checked_sub(1).ok_or("its weights are no matrix")?;
        let weights = dequantised(weights, None, offset(weights_zero)?, along)?;
        self.matmul(value, &Value::Constant(weights))
    }

    fn integer_convolution(&mut self, node: &Node<'_>, value: &Value, [weights, zero, weights_zero]: [Option<&Value>; 3]) -> Result<Value> {
        is_unshifted(zero)?;
        let weights = known(weights).ok_or("its weights are not known in advance")?;
        let weights = dequantised(weights, None, offset(weights_zero)?, 0)?;
        self.convolution(node, value, &weights, None)
    }

    /// Rows of a table of 8 bits, or a product: less an offset, times a scale.
    fn scaled(&mut self, node: &Node<'_>, value: &Value, scale: Option<&Constant>, zero: Option<&Value>) -> Result<Value> {
        let scale = scale.ok_or("its scale is not known in advance")?;
        let rank = value.shape().len();
        if scale.len() > 1 && axis(node.int("axis").unwrap_or(1), rank)? + 1 != rank {
            return Err("its scale varies along positions".into());
        }
        let value = match offset(zero)? {
            Some(zero) => self.binary("Sub", value, &Value::Constant(zero.clone()))?,
            None => value.clone(),
        };
        self.binary("Mul", &value, &Value::Constant(scale.clone()))
    }
}

/// What stands for the offset of weights.
fn offset(zero: Option<&Value>) -> Result<Option<&Constant>> {
    match zero {
        None => Ok(None),
        Some(Value::Constant(constant)) => Ok(Some(constant)),
        Some(_) => Err("its offset is not known in advance".into()),
    }
}

/// Whether a value is what `DynamicQuantizeLinear` has given, which here has no offset.
fn is_unshifted(zero: Option<&Value>) -> Result<()> {
    let is_zero = offset(zero)?.is_none_or(|zero| zero.uniform() == Some(0.0));
    if is_zero { Ok(()) } else { Err("it reads values that were quantised with ranges found beforehand".into()) }
}
