//! The steps that a plan can grow by; each method checks its shapes and gives the new tensor.

use super::check::Check;
use super::{Around, ConstantId, Plan, PlanError, Shape, Step, TensorId};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Pairwise;
use crate::kernels::stem::{COLOURS, Normalisation};
use crate::kernels::take::Position;
use crate::kernels::window::Window;

/// Rows that one step lays around the positions of a map, at most.
const POSITIONS_AROUND_MAX: usize = 4096;

impl Plan {
    /// First convolution over pixels: `activation(window(normalise(input)) + bias)`; `weight` `[kernel, kernel, 3, channels]`,
    /// `bias` `[channels]`. Gives a map.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn stem(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        normalisation: Normalisation,
        activation: Activation,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "stem" };
        let Shape::Pixels { height, width } = check.tensor(input)? else { return Err(check.error("reads pixels only")) };
        check.that(normalisation.is_valid(), || "normalisation must be finite".into())?;
        let channels = check.vector(bias)?;
        let shape = check.window(window, [height, width], channels)?;
        check.constant(weight, &[window.kernel, window.kernel, COLOURS, channels])?;
        self.push(shape, |output| Step::Stem { input, weight, bias, window, normalisation, activation, output })
    }

    /// At each position `activation(input * weight + bias) + residual`; `weight` `[depth, columns]`, `bias` `[columns]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn gemm(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "gemm" };
        let from = check.numbers(input)?;
        let columns = check.vector(bias)?;
        check.constant(weight, &[from.channels(), columns])?;
        let shape = from.with_channels(columns);
        if let Some(residual) = residual {
            check.that(check.tensor(residual)? == shape, || format!("the residual is not {shape:?}"))?;
            check.that(residual != input, || "the residual is the input".into())?;
        }
        self.push(shape, |output| Step::Gemm { input, weight, bias, activation, residual, output })
    }

    /// Dense convolution of a map: `activation(window(input) + bias)`; `weight` `[kernel, kernel, channels, output channels]`,
    /// `bias` `[output channels]`. Gives a map. With a window of one position and a step of one, [`Plan::gemm`] is the same.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn conv(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        activation: Activation,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "conv" };
        let Shape::Map { height, width, channels } = check.tensor(input)? else { return Err(check.error("reads a map only")) };
        let columns = check.vector(bias)?;
        let shape = check.window(window, [height, width], columns)?;
        check.constant(weight, &[window.kernel, window.kernel, channels, columns])?;
        self.push(shape, |output| Step::Conv { input, weight, bias, window, activation, output })
    }

    /// Each channel of a map under its own window: `activation(window(input) + bias)`; `weight` `[kernel, kernel, channels]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn depthwise(
        &mut self,
        input: TensorId,
        weight: ConstantId,
        bias: ConstantId,
        window: Window,
        activation: Activation,
    ) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "depthwise" };
        let Shape::Map { height, width, channels } = check.tensor(input)? else { return Err(check.error("reads a map only")) };
        let shape = check.window(window, [height, width], channels)?;
        check.constant(weight, &[window.kernel, window.kernel, channels])?;
        check.constant(bias, &[channels])?;
        self.push(shape, |output| Step::Depthwise { input, weight, bias, window, activation, output })
    }

    /// At each position `(x - mean) / sqrt(variance + epsilon) * gain + shift`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn layernorm(&mut self, input: TensorId, gain: ConstantId, shift: ConstantId, epsilon: f32) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "layernorm" };
        let shape = check.numbers(input)?;
        check.that(epsilon.is_finite() && epsilon >= 0.0, || format!("epsilon {epsilon} is out of range"))?;
        check.constant(gain, &[shape.channels()])?;
        check.constant(shift, &[shape.channels()])?;
        self.push(shape, |output| Step::LayerNorm { input, gain, shift, epsilon, output })
    }

    /// Self-attention within each item, `heads` heads of any width; the input, a map (one sequence of its positions, row by row)
    /// or a sequence, holds queries, keys and values side by side (`[positions, 3 * channels]`). With `causal`, a position
    /// sees itself and those before it.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn attention(&mut self, input: TensorId, heads: usize, causal: bool) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "attention" };
        let channels = check.positioned(input)?;
        let whole = heads > 0 && channels.is_multiple_of(heads.saturating_mul(3));
        check.that(whole, || format!("{channels} channels are not queries, keys and values of {heads} heads"))?;
        let shape = check.tensor(input)?.with_channels(channels / 3);
        self.push(shape, |output| Step::Attention { input, heads, causal, output })
    }

    /// Attention pooling: one constant query, already projected (`[channels]`), looks at all positions of an item; the input, a
    /// map or a sequence, holds keys and values side by side (`[positions, 2 * channels]`). Gives a vector.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn attend(&mut self, input: TensorId, query: ConstantId, heads: usize) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "attend" };
        let (both, channels) = (check.positioned(input)?, check.vector(query)?);
        check.that(both == 2 * channels, || format!("{both} channels are not keys and values for a query of {channels}"))?;
        check.that(heads > 0 && channels.is_multiple_of(heads), || format!("{channels} channels are not {heads} heads"))?;
        self.push(Shape::Vector { channels }, |output| Step::Attend { input, query, heads, output })
    }

    /// Lays out positions for a transformer. A map becomes one row of positions, learned ones `around` them where they are given,
    /// `positions` (`[rows, channels]`, exactly as many rows as the result has) added. To a sequence only `positions` can be added
    /// (`[length_max or more, channels]`), and must be.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn arrange(&mut self, input: TensorId, around: Option<Around>, positions: Option<ConstantId>) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "arrange" };
        let channels = check.positioned(input)?;
        let from = check.tensor(input)?;
        let rows = match around {
            None => 0,
            Some(Around { rows, front }) => {
                let count = check.shape(rows)?.first().copied().unwrap_or(0);
                check.constant(rows, &[count, channels])?;
                check.that(front <= count && count <= POSITIONS_AROUND_MAX, || format!("{front} of {count} rows in front"))?;
                count
            }
        };
        let shape = match (from, check.plan.input()) {
            (Shape::Sequence { .. }, Shape::Tokens { length_max }) => {
                check.that(around.is_none(), || "a sequence cannot take rows around it".into())?;
                let Some(positions) = positions else { return Err(check.error("a sequence needs positions")) };
                check.positions(positions, length_max, channels)?;
                from
            }
            _ => {
                let width = from.positions() + rows;
                if let Some(positions) = positions {
                    check.constant(positions, &[width, channels])?;
                }
                Shape::Map { height: 1, width, channels }
            }
        };
        self.push(shape, |output| Step::Arrange { input, around, positions, output })
    }

    /// For each token its row of `words` (`[vocabulary, channels]`) plus the row of its place (`positions`,
    /// `[length_max or more, channels]`).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn embed(&mut self, input: TensorId, words: ConstantId, positions: ConstantId) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "embed" };
        let Shape::Tokens { length_max } = check.tensor(input)? else { return Err(check.error("reads tokens only")) };
        let [vocabulary, channels] = check.shape(words)?[..] else { return Err(check.error("words is not a matrix")) };
        check.that(vocabulary <= u32::MAX as usize, || "the vocabulary is too large".into())?;
        check.positions(positions, length_max, channels)?;
        self.push(Shape::Sequence { channels }, |output| Step::Embed { input, words, positions, output })
    }

    /// The mean over all positions of a map, or over the tokens of a text. Gives a vector.
    ///
    /// # Errors
    /// When the input has no positions.
    pub fn mean(&mut self, input: TensorId) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "mean" };
        let shape = check.numbers(input)?;
        check.that(!matches!(shape, Shape::Vector { .. }), || "a vector has no positions".into())?;
        self.push(Shape::Vector { channels: shape.channels() }, |output| Step::Mean { input, output })
    }

    /// One position of each item, of a map or a sequence. Gives a vector.
    ///
    /// # Errors
    /// When the input has no positions.
    pub fn take(&mut self, input: TensorId, position: Position) -> Result<TensorId, PlanError> {
        let channels = Check { plan: self, kernel: "take" }.positioned(input)?;
        self.push(Shape::Vector { channels }, |output| Step::Take { input, position, output })
    }

    /// Scales each position to length 1 (L2).
    ///
    /// # Errors
    /// When the input is pixels or tokens.
    pub fn normalize(&mut self, input: TensorId) -> Result<TensorId, PlanError> {
        let shape = Check { plan: self, kernel: "normalize" }.numbers(input)?;
        self.push(shape, |output| Step::Normalize { input, output })
    }

    /// Two tensors of one shape, number by number.
    ///
    /// # Errors
    /// When the shapes differ, or both are the same tensor.
    pub fn pairwise(&mut self, left: TensorId, right: TensorId, function: Pairwise) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "pairwise" };
        let shape = check.numbers(left)?;
        check.that(check.tensor(right)? == shape && left != right, || "needs two tensors of one shape".into())?;
        self.push(shape, |output| Step::Pairwise { left, right, function, output })
    }

    /// Each channel of a map times the same channel of a vector (the gate of squeeze-and-excitation).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn scale(&mut self, input: TensorId, factors: TensorId) -> Result<TensorId, PlanError> {
        let check = Check { plan: self, kernel: "scale" };
        let shape = check.tensor(input)?;
        let Shape::Map { channels, .. } = shape else { return Err(check.error("reads a map only")) };
        check.that(check.tensor(factors)? == Shape::Vector { channels }, || format!("the factors are not {channels} numbers"))?;
        self.push(shape, |output| Step::Scale { input, factors, output })
    }

    /// Names a vector, or a map, as what a run gives back; outputs come in the order in which they are named.
    ///
    /// # Errors
    /// When the tensor is of another kind.
    pub fn output(&mut self, tensor: TensorId) -> Result<(), PlanError> {
        let check = Check { plan: self, kernel: "output" };
        let fits = matches!(check.tensor(tensor)?, Shape::Vector { .. } | Shape::Map { .. });
        check.that(fits, || "only a vector or a map can be given back".into())?;
        self.outputs.push(tensor);
        Ok(())
    }
}
