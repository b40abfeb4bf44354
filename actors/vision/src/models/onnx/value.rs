//! What a name of the graph stands for while it is translated.

use super::constant::Constant;
use super::curve::{Curve, PositiveCurve};
use super::view::View;
use shaders::{TensorId, Window};
use std::cell::Cell;
use std::rc::Rc;

/// A value of the graph.
#[derive(Clone)]
pub(super) enum Value {
    /// Known in advance.
    Constant(Constant),
    /// The ids of the text's tokens, `[1, length]`.
    Tokens(Vec<usize>),
    /// Which of the tokens are a certain one.
    Marks(Vec<usize>),
    /// Numbers that the model computes.
    Signal(Signal),
    /// A map with zeros around it: above, left, below, right.
    Padded(Signal, [usize; 4]),
    /// A mean, variance or squared length of each position.
    Statistic(Statistic),
    /// The products of queries and keys.
    Scores(Scores),
}

impl Value {
    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Value::Constant(constant) => constant.shape.clone(),
            Value::Tokens(shape) | Value::Marks(shape) => shape.clone(),
            Value::Signal(signal) => signal.view.shape(),
            Value::Padded(signal, [above, left, below, right]) => {
                let mut shape = signal.view.shape();
                if let [.., height, width] = &mut shape[..] {
                    *height += above + below;
                    *width += left + right;
                }
                shape
            }
            Value::Statistic(statistic) => statistic.shape.clone(),
            Value::Scores(scores) => scores.shape.clone(),
        }
    }
}

/// `curve(factor * base + summand)`, seen through a view. Nothing of it need have been computed: a bias or an activation that
/// follows a product becomes part of the product.
#[derive(Clone)]
pub(super) struct Signal {
    pub(super) base: Rc<Base>,
    pub(super) affine: Option<Rc<Affine>>,
    pub(super) curve: Curve,
    /// The tensor of the plan that holds it with its curve, once there is one.
    pub(super) made: Rc<Cell<Option<TensorId>>>,
    pub(super) view: View,
}

/// A factor and a summand for each channel.
pub(super) struct Affine {
    pub(super) factors: Vec<f64>,
    pub(super) summands: Vec<f64>,
    /// The tensor of the plan that holds the base with them and nothing more, once there is one.
    pub(super) made: Cell<Option<TensorId>>,
}

/// Something that one kernel computes: `[positions, channels]`.
pub(super) struct Base {
    pub(super) kind: Kind,
    pub(super) positions: usize,
    pub(super) channels: usize,
    /// The tensor of the plan that holds it as it is, once there is one.
    pub(super) made: Cell<Option<TensorId>>,
}

/// Weights in the order of the plan.
pub(super) enum Kind {
    /// Computed already.
    Tensor(TensorId),
    /// The picture, as the preprocessing gives it.
    Pixels,
    /// A row of `words` (`[vocabulary, channels]`) for each token, and a row for its place.
    Embedding { words: Rc<[f32]>, places: Option<Vec<f32>> },
    /// `[kernel, kernel, 3, channels]`, with what turns a byte into a number.
    Stem { weight: Vec<f32>, window: Window, mean: [f32; 3], deviation: [f32; 3] },
    /// `[kernel, kernel, from, channels]`.
    Convolution { input: TensorId, weight: Vec<f32>, window: Window },
    /// `[kernel, kernel, channels]`.
    Depthwise { input: TensorId, weight: Vec<f32>, window: Window },
    /// `[depth, channels]`.
    Product { input: TensorId, weight: Rc<[f32]> },
    /// Without gain and shift.
    Norm { input: TensorId, epsilon: f64 },
    /// Less its own mean: part of a layer norm that was taken apart.
    Centred { of: TensorId },
    /// Rows in front of the positions and behind them, a row for each place.
    Arranged { input: TensorId, around: [Vec<f32>; 2], places: Option<Vec<f32>> },
}

impl Signal {
    /// The base as it is.
    pub(super) fn of(kind: Kind, positions: usize, channels: usize, view: View) -> Signal {
        let made = Cell::new(if let Kind::Tensor(tensor) = kind { Some(tensor) } else { None });
        let base = Rc::new(Base { kind, positions, channels, made });
        Signal { base, affine: None, curve: Curve::identity(), made: Rc::default(), view }
    }

    /// Under another view.
    pub(super) fn seen(&self, view: View) -> Signal {
        Signal { view, ..self.clone() }
    }

    /// With a function behind it.
    pub(super) fn curved(&self, curve: Curve) -> Signal {
        Signal { curve, made: Rc::default(), ..self.clone() }
    }

    /// Whether both are functions of the same numbers, place by place.
    pub(super) fn is_of_same(&self, other: &Signal) -> bool {
        let same_affine = match (&self.affine, &other.affine) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            _ => false,
        };
        Rc::ptr_eq(&self.base, &other.base) && same_affine
    }

    /// Where the tensor of the plan that holds it is noted: what is the same numbers has one place.
    pub(super) fn place(&self) -> &Cell<Option<TensorId>> {
        match &self.affine {
            _ if !self.curve.is_identity() => &self.made,
            Some(affine) => &affine.made,
            None => &self.base.made,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.affine.is_none() && self.curve.is_identity()
    }

    /// The base with a factor and a summand for each channel, if that is all there is: the straight line of the curve is
    /// taken into them.
    pub(super) fn line(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let (factor, summand) = self.curve.line()?;
        let channels = self.base.channels;
        Some(match &self.affine {
            None => (vec![factor; channels], vec![summand; channels]),
            Some(affine) => (
                affine.factors.iter().map(|own| own * factor).collect(),
                affine.summands.iter().map(|own| own * factor + summand).collect(),
            ),
        })
    }

    /// Axes of the view that run over channels, and those that run over positions.
    pub(super) fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let axes = self.view.axes();
        (0..axes.len()).filter(|axis| axes[*axis].size > 1).partition(|axis| axes[*axis].stride < self.base.channels)
    }
}

/// A number for each position.
#[derive(Clone)]
pub(super) struct Statistic {
    pub(super) kind: StatisticKind,
    pub(super) of: TensorId,
    pub(super) curve: PositiveCurve,
    pub(super) shape: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatisticKind {
    /// Of the channels.
    Mean,
    /// Of the channels, around their mean.
    Variance,
    /// The sum of the channels' squares.
    Squares,
}

/// Queries times keys, perhaps scaled, masked, and made shares of 1.
#[derive(Clone)]
pub(super) struct Scores {
    pub(super) queries: Queries,
    pub(super) keys: Signal,
    pub(super) scale: f64,
    pub(super) is_causal: bool,
    pub(super) are_shares: bool,
    /// `[.., queries, keys]`.
    pub(super) shape: Vec<usize>,
}

#[derive(Clone)]
pub(super) enum Queries {
    Signal(Signal),
    /// The same for every picture or text.
    Known(Constant),
}
