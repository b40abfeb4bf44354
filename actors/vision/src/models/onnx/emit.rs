//! Signals to steps of the plan: everything that can be part of a kernel becomes part of it.

use super::translate::{Result, Translator};
use super::value::{Affine, Kind, Signal};
use super::view::View;
use shaders::{Activation, Around, ConstantId, Normalisation, Pairwise, Position, TensorId, Window};
use std::cell::Cell;
use std::rc::Rc;

/// Greatest number of channels for which a function without a kernel of its own is computed by one that multiplies by 1.
const IDENTITY_CHANNELS_MAX: usize = 4096;

impl Translator<'_> {
    /// The tensor of the plan that holds a signal, whatever the view.
    pub(super) fn emit(&mut self, signal: &Signal) -> Result<TensorId> {
        if let Some(tensor) = signal.place().get() {
            return Ok(tensor);
        }
        let tensor = self.emit_with(signal, None)?;
        signal.place().set(Some(tensor));
        Ok(tensor)
    }

    /// The sum of two signals of one shape: the second becomes part of the first's product, or the other way round.
    pub(super) fn emit_sum(&mut self, left: &Signal, right: &Signal) -> Result<TensorId> {
        let is_open = |signal: &Signal| signal.place().get().is_none() && matches!(signal.base.kind, Kind::Product { .. });
        let (product, other) = match (is_open(left), is_open(right)) {
            (true, _) => (left, right),
            (false, true) => (right, left),
            (false, false) => {
                let (left, right) = (self.emit(left)?, self.emit(right)?);
                return if left == right {
                    self.apply(left, Some((&[2.0], &[0.0])), Activation::None)
                } else {
                    Ok(self.plan.pairwise(left, right, Pairwise::Add)?)
                };
            }
        };
        let residual = self.emit(other)?;
        if matches!(product.base.kind, Kind::Product { input, .. } if input == residual) {
            let product = self.emit(product)?;
            return Ok(self.plan.pairwise(product, residual, Pairwise::Add)?);
        }
        self.emit_with(product, Some(residual))
    }

    fn emit_with(&mut self, signal: &Signal, residual: Option<TensorId>) -> Result<TensorId> {
        let (line, activation) = match signal.line() {
            Some(line) => (Some(line), Activation::None),
            None => {
                let activation = signal.curve.activation().ok_or("what is computed here is no known activation")?;
                (signal.affine.as_ref().map(|affine| (affine.factors.clone(), affine.summands.clone())), activation)
            }
        };
        let channels = signal.base.channels;
        let (factors, summands) = line.unwrap_or_else(|| (vec![1.0; channels], vec![0.0; channels]));
        let is_plain = factors.iter().all(|factor| *factor == 1.0) && summands.iter().all(|summand| *summand == 0.0);
        let scaled = |weight: &[f32]| -> Vec<f32> {
            weight.iter().enumerate().map(|(at, weight)| (f64::from(*weight) * factors[at % channels]) as f32).collect()
        };
        let bias: Vec<f32> = summands.iter().map(|summand| *summand as f32).collect();
        let tensor = match &signal.base.kind {
            Kind::Product { input, weight } => {
                let weight = self.constant(&[weight.len() / channels, channels], scaled(weight))?;
                let bias = self.constant(&[channels], bias)?;
                return Ok(self.plan.gemm(*input, weight, bias, activation, residual)?);
            }
            Kind::Stem { weight, window, mean, deviation } => {
                let weight = self.constant(&[window.kernel, window.kernel, 3, channels], scaled(weight))?;
                let bias = self.constant(&[channels], bias)?;
                let normalisation = Normalisation { mean: *mean, deviation: *deviation };
                return Ok(self.plan.stem(self.input, weight, bias, *window, normalisation, activation)?);
            }
            Kind::Convolution { input, weight, window } => {
                let from = weight.len() / (window.kernel * window.kernel * channels);
                let weight = self.constant(&[window.kernel, window.kernel, from, channels], scaled(weight))?;
                let bias = self.constant(&[channels], bias)?;
                return Ok(self.plan.conv(*input, weight, bias, *window, activation)?);
            }
            Kind::Depthwise { input, weight, window } => {
                let weight = self.constant(&[window.kernel, window.kernel, channels], scaled(weight))?;
                let bias = self.constant(&[channels], bias)?;
                return Ok(self.plan.depthwise(*input, weight, bias, *window, activation)?);
            }
            Kind::Norm { input, epsilon } => {
                let gain = self.constant(&[channels], factors.iter().map(|factor| *factor as f32).collect())?;
                let shift = self.constant(&[channels], bias)?;
                let tensor = self.plan.layernorm(*input, gain, shift, *epsilon as f32)?;
                return self.apply(tensor, None, activation);
            }
            Kind::Embedding { words, places } => {
                let words = self.constant(&[words.len() / channels, channels], scaled(words))?;
                let mut rows = places.as_ref().map_or_else(|| vec![0.0; self.length * channels], |places| scaled(places));
                rows.iter_mut().enumerate().for_each(|(at, row)| *row += bias[at % channels]);
                let places = self.constant(&[self.length, channels], rows)?;
                let tensor = self.plan.embed(self.input, words, places)?;
                return self.apply(tensor, None, activation);
            }
            Kind::Tensor(tensor) => *tensor,
            Kind::Arranged { input, around: [front, behind], places } => {
                let (count, front, around) =
                    ((front.len() + behind.len()) / channels, front.len() / channels, [&front[..], behind].concat());
                let around = (count > 0).then(|| self.constant(&[count, channels], around)).transpose()?;
                let around = around.map(|rows| Around { rows, front });
                let rows = signal.base.positions;
                let places = places.as_ref().map(|places| self.constant(&[rows, channels], places.clone())).transpose()?;
                self.plan.arrange(*input, around, places)?
            }
            Kind::Pixels => return Err("a picture goes into a convolution only".into()),
            Kind::Centred { .. } => return Err("a difference from the mean is only known as part of a layer norm".into()),
        };
        self.apply(tensor, (!is_plain).then_some((&factors[..], &summands[..])), activation)
    }

    /// `activation(factor * tensor + summand)` where no kernel before could take it in.
    fn apply(&mut self, tensor: TensorId, line: Option<(&[f64], &[f64])>, activation: Activation) -> Result<TensorId> {
        if line.is_none() && activation == Activation::None {
            return Ok(tensor);
        }
        let shape = self.plan.tensors()[tensor.index()];
        let channels = shape.channels();
        let number = |list: Option<&[f64]>, at: usize, other: f64| list.map_or(other, |list| list[at % list.len()]) as f32;
        let factors: Vec<f32> = (0..channels).map(|at| number(line.map(|line| line.0), at, 1.0)).collect();
        let bias = (0..channels).map(|at| number(line.map(|line| line.1), at, 0.0)).collect();
        let bias = self.constant(&[channels], bias)?;
        if matches!(shape, shaders::Shape::Map { .. }) {
            let weight = self.constant(&[1, 1, channels], factors)?;
            return Ok(self.plan.depthwise(tensor, weight, bias, Window::around(1, 1, 0), activation)?);
        }
        if channels > IDENTITY_CHANNELS_MAX {
            return Err("no kernel can take in what is computed here".into());
        }
        let mut weight = vec![0.0; channels * channels];
        factors.iter().enumerate().for_each(|(at, factor)| weight[at * channels + at] = *factor);
        let weight = self.constant(&[channels, channels], weight)?;
        Ok(self.plan.gemm(tensor, weight, bias, activation, None)?)
    }

    /// A constant of the plan, named by its number.
    pub(super) fn constant(&mut self, shape: &[usize], numbers: Vec<f32>) -> Result<ConstantId> {
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err("a weight is not finite".into());
        }
        let name = format!("constant {}", self.plan.constants().len());
        Ok(self.plan.constant(name, shape, numbers)?)
    }

    /// A tensor of the plan as a signal, seen through a view.
    pub(super) fn signal(&self, tensor: TensorId, view: View) -> Signal {
        let shape = self.plan.tensors()[tensor.index()];
        let positions = match shape {
            shaders::Shape::Map { height, width, .. } => height * width,
            shaders::Shape::Sequence { .. } => self.length,
            _ => 1,
        };
        Signal::of(Kind::Tensor(tensor), positions, shape.channels(), view)
    }

    /// A signal whose view shows all of its base: one that shows a single position is taken out.
    pub(super) fn whole(&mut self, signal: &Signal) -> Result<Signal> {
        let (positions, channels) = (signal.base.positions, signal.base.channels);
        if signal.view.covers(positions * channels) {
            return Ok(signal.clone());
        }
        let at = signal.view.offset() / channels;
        let view = signal
            .view
            .moved(at * channels)
            .filter(|view| view.covers(channels))
            .ok_or("only whole positions can be taken out of a tensor")?;
        let position = match at {
            0 => Position::First,
            _ if at + 1 == positions => Position::Last,
            _ => return Err(format!("position {at} is neither the first nor the last").into()),
        };
        let tensor = self.emit(signal)?;
        // Taken once, however often it is looked at.
        let key = (tensor, position == Position::First);
        let taken = match self.taken.get(&key) {
            Some(taken) => *taken,
            None => self.plan.take(tensor, position)?,
        };
        self.taken.insert(key, taken);
        Ok(self.signal(taken, view))
    }

    /// A factor and a summand for each channel behind a signal.
    pub(super) fn with_affine(&mut self, signal: &Signal, factors: &[f64], summands: &[f64]) -> Result<Signal> {
        let (own, own_summands, signal) = match signal.line() {
            Some((own, own_summands)) => (own, own_summands, signal.clone()),
            None => {
                let tensor = self.emit(signal)?;
                let channels = signal.base.channels;
                (vec![1.0; channels], vec![0.0; channels], self.signal(tensor, signal.view.clone()))
            }
        };
        let summands = own_summands.iter().zip(factors).zip(summands).map(|((own, factor), summand)| own * factor + summand).collect();
        let affine =
            Affine { factors: own.iter().zip(factors).map(|(own, factor)| own * factor).collect(), summands, made: Cell::default() };
        Ok(Signal { affine: Some(Rc::new(affine)), curve: super::curve::Curve::identity(), made: Rc::default(), ..signal })
    }
}
