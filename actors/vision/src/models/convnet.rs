//! Parts that convolutional networks share: convolutions with batch normalisation folded into them in f64 (Ioffe and Szegedy 2015).

use super::ModelError;
use super::tensors::{Tensors, transpose};
use shaders::{Activation, ConstantId, Normalisation, Plan, TensorId, Window};

/// A plan that grows, and the tensors that it takes.
pub(super) struct Builder {
    pub(super) plan: Plan,
    pub(super) tensors: Tensors,
    /// Of batch normalisation.
    pub(super) epsilon: f64,
}

/// A convolution without a bias of its own and the batch normalisation behind it: prefixes of their tensors' names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) convolution: String,
    pub(super) norm: String,
}

impl Named {
    pub(super) fn new(convolution: impl Into<String>, norm: impl Into<String>) -> Named {
        Named { convolution: convolution.into(), norm: norm.into() }
    }

    fn weight(&self) -> String {
        format!("{}.weight", self.convolution)
    }
}

impl Builder {
    /// The shape of a convolution's weights, `[to, from, kernel, kernel]`.
    pub(super) fn shape(&self, convolution: &str) -> Result<[usize; 4], ModelError> {
        let name = format!("{convolution}.weight");
        match self.tensors.shape(&name) {
            Some(&[to, from, kernel, width]) if kernel == width && to > 0 && from > 0 => Ok([to, from, kernel, width]),
            Some(other) => Err(ModelError::Tensor { name, reason: format!("{other:?} is no square convolution") }),
            None => Err(ModelError::Tensor { name, reason: "is not in the file".to_owned() }),
        }
    }

    /// First convolution, over pixels.
    pub(super) fn stem(
        &mut self,
        pixels: TensorId,
        named: &Named,
        window: Window,
        normalisation: Normalisation,
        activation: Activation,
    ) -> Result<TensorId, ModelError> {
        let [channels, ..] = self.shape(&named.convolution)?;
        let (name, colours, kernel) = (named.weight(), 3, window.kernel);
        let weight = self.tensors.take(&name, &[channels, colours, kernel, kernel])?;
        let (scale, bias) = self.batch_norm(&named.norm, channels)?;
        let mut folded = vec![0.0; weight.len()];
        for (index, value) in weight.iter().enumerate() {
            let (channel, rest) = (index / (colours * kernel * kernel), index % (colours * kernel * kernel));
            let (colour, tap) = (rest / (kernel * kernel), rest % (kernel * kernel));
            folded[(tap * colours + colour) * channels + channel] = (f64::from(*value) * scale[channel]) as f32;
        }
        let weight = self.plan.constant(name, &[kernel, kernel, colours, channels], folded)?;
        Ok(self.plan.stem(pixels, weight, bias, window, normalisation, activation)?)
    }

    /// A convolution of one position.
    pub(super) fn pointwise(
        &mut self,
        input: TensorId,
        named: &Named,
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, ModelError> {
        let name = named.weight();
        let ([to, ..], from) = (self.shape(&named.convolution)?, self.channels(input));
        let mut weight = self.tensors.take(&name, &[to, from, 1, 1])?;
        let (scale, bias) = self.batch_norm(&named.norm, to)?;
        for (row, scale) in weight.chunks_exact_mut(from).zip(&scale) {
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let weight = self.plan.constant(name, &[from, to], transpose(&weight, to, from))?;
        Ok(self.plan.gemm(input, weight, bias, activation, residual)?)
    }

    /// A convolution of each channel by itself.
    pub(super) fn depthwise(
        &mut self,
        input: TensorId,
        named: &Named,
        window: Window,
        activation: Activation,
    ) -> Result<TensorId, ModelError> {
        let (name, channels, taps) = (named.weight(), self.channels(input), window.kernel * window.kernel);
        let mut weight = self.tensors.take(&name, &[channels, 1, window.kernel, window.kernel])?;
        let (scale, bias) = self.batch_norm(&named.norm, channels)?;
        for (taps, scale) in weight.chunks_exact_mut(taps).zip(&scale) {
            taps.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let weight = self.plan.constant(name, &[window.kernel, window.kernel, channels], transpose(&weight, channels, taps))?;
        Ok(self.plan.depthwise(input, weight, bias, window, activation)?)
    }

    /// A convolution of one position with a bias and no batch normalisation.
    pub(super) fn biased(&mut self, input: TensorId, convolution: &str, activation: Activation) -> Result<TensorId, ModelError> {
        let ([to, ..], from) = (self.shape(convolution)?, self.channels(input));
        let name = format!("{convolution}.weight");
        let weight = self.tensors.take(&name, &[to, from, 1, 1])?;
        let weight = self.plan.constant(name, &[from, to], transpose(&weight, to, from))?;
        let name = format!("{convolution}.bias");
        let bias = self.tensors.take(&name, &[to])?;
        let bias = self.plan.constant(name, &[to], bias)?;
        Ok(self.plan.gemm(input, weight, bias, activation, None)?)
    }

    pub(super) fn channels(&self, tensor: TensorId) -> usize {
        self.plan.tensors()[tensor.index()].channels()
    }

    /// Batch normalisation as a factor for the weights and a bias.
    fn batch_norm(&mut self, name: &str, channels: usize) -> Result<(Vec<f64>, ConstantId), ModelError> {
        let mut take = |part: &str| self.tensors.take(&format!("{name}.{part}"), &[channels]);
        let (gain, shift) = (take("weight")?, take("bias")?);
        let (mean, variance) = (take("running_mean")?, take("running_var")?);
        let factor = |(gain, variance): (&f32, &f32)| f64::from(*gain) / (f64::from(*variance) + self.epsilon).sqrt();
        let scale: Vec<f64> = gain.iter().zip(&variance).map(factor).collect();
        if !scale.iter().all(|scale| scale.is_finite()) {
            return Err(ModelError::Tensor { name: format!("{name}.running_var"), reason: "holds negative numbers".into() });
        }
        let folded =
            shift.iter().zip(&mean).zip(&scale).map(|((shift, mean), scale)| (f64::from(*shift) - f64::from(*mean) * scale) as f32);
        let bias = self.plan.constant(format!("{name}.bias"), &[channels], folded.collect())?;
        Ok((scale, bias))
    }
}
