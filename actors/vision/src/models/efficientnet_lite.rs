//! EfficientNet-Lite as a plan: inverted bottlenecks with ReLU6, no squeeze-and-excite, TensorFlow's "SAME" padding.
//!
//! The architecture is that of the TensorFlow release (Liu, 2020); tensor names are those of the PyTorch port
//! `efficientnet-lite-pytorch`. Batch normalisation is folded into the convolutions in f64.

use super::ModelError;
use super::tensors::{Tensors, transpose};
use crate::logic::preprocessing::Preprocessing;
use shaders::{Activation, ConstantId, Normalisation, Plan, Shape, TensorId, Window};

/// One member of the family.
pub(super) struct Architecture {
    pub(super) name: &'static str,
    /// Of the square input, in pixels.
    side: usize,
    /// Factors of the channels and of the blocks of a stage, in tenths.
    width: usize,
    depth: usize,
}

/// What a byte means to every member: `(byte - 127) / 128`.
const NORMALISATION: Normalisation = Normalisation::grey(127.0, 128.0);
const STEM_CHANNELS: usize = 32;
const FEATURES: usize = 1280;
/// Of batch normalisation.
const EPSILON: f64 = 1e-3;

/// Blocks of one shape; only the first of them strides and changes the number of channels.
#[derive(Clone, Copy)]
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

const fn stage(blocks: usize, kernel: usize, stride: usize, expansion: usize, channels: usize) -> Stage {
    Stage { blocks, kernel, stride, expansion, channels }
}

/// Lite0's stages; the others widen and deepen them, all but the first and the last.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// The family, in the order of its names: sizes of the TensorFlow release.
pub(super) const FAMILY: [Architecture; 5] = [
    Architecture { name: "efficientnet-lite0", side: 224, width: 10, depth: 10 },
    Architecture { name: "efficientnet-lite1", side: 240, width: 10, depth: 11 },
    Architecture { name: "efficientnet-lite2", side: 260, width: 11, depth: 12 },
    Architecture { name: "efficientnet-lite3", side: 280, width: 12, depth: 14 },
    Architecture { name: "efficientnet-lite4", side: 300, width: 14, depth: 18 },
];

impl Architecture {
    pub(super) const fn preprocessing(&self) -> Preprocessing {
        Preprocessing::lite(self.side)
    }

    /// Channels widened, to the nearest multiple of 8 that is not less than nine tenths of them.
    fn channels(&self, channels: usize) -> usize {
        let scaled = channels * self.width;
        let rounded = ((scaled + 40) / 80 * 8).max(8);
        if rounded * 100 < scaled * 9 { rounded + 8 } else { rounded }
    }

    /// The stages of this member.
    fn stages(&self) -> impl Iterator<Item = Stage> {
        STAGES.into_iter().enumerate().map(|(index, stage)| {
            let is_edge = index == 0 || index + 1 == STAGES.len();
            let blocks = if is_edge { stage.blocks } else { (stage.blocks * self.depth).div_ceil(10) };
            Stage { blocks, channels: self.channels(stage.channels), ..stage }
        })
    }
}

/// The member whose tensors these are.
pub(super) fn recognise(tensors: &Tensors) -> Option<&'static Architecture> {
    let blocks = (0..).take_while(|block| tensors.has(&format!("_blocks.{block}._project_conv.weight"))).count();
    let last = tensors.shape("_conv_head.weight")?.get(1).copied()?;
    FAMILY.iter().find(|member| {
        let (count, channels) = member.stages().fold((0, 0), |(count, _), stage| (count + stage.blocks, stage.channels));
        (count, channels) == (blocks, last)
    })
}

/// Builds the plan: `[side, side, 3]` pixels to pooled features, before the classifier.
pub(super) fn plan(architecture: &Architecture, side: usize, tensors: Tensors) -> Result<Plan, ModelError> {
    let (plan, pixels) = Plan::new(architecture.name, Shape::Pixels { height: side, width: side })?;
    let mut builder = Builder { plan, tensors };
    let mut x = builder.stem(pixels)?;
    let mut channels = STEM_CHANNELS;
    let mut block = 0;
    for stage in architecture.stages() {
        for index in 0..stage.blocks {
            let stride = if index == 0 { stage.stride } else { 1 };
            x = builder.bottleneck(x, block, channels, &stage, stride)?;
            channels = stage.channels;
            block += 1;
        }
    }
    let x = builder.pointwise(x, "_conv_head", "_bn1", [channels, FEATURES], Activation::Relu6, None)?;
    let features = builder.plan.mean(x)?;
    builder.plan.output(features)?;
    Ok(builder.plan)
}

struct Builder {
    plan: Plan,
    tensors: Tensors,
}

impl Builder {
    fn stem(&mut self, pixels: TensorId) -> Result<TensorId, ModelError> {
        let (kernel, colours, channels) = (3, 3, STEM_CHANNELS);
        let weight = self.tensors.take("_conv_stem.weight", &[channels, colours, kernel, kernel])?;
        let (scale, bias) = self.batch_norm("_bn0", channels)?;
        let mut folded = vec![0.0; weight.len()];
        for (index, value) in weight.iter().enumerate() {
            let (channel, rest) = (index / (colours * kernel * kernel), index % (colours * kernel * kernel));
            let (colour, tap) = (rest / (kernel * kernel), rest % (kernel * kernel));
            folded[(tap * colours + colour) * channels + channel] = (f64::from(*value) * scale[channel]) as f32;
        }
        let weight = self.plan.constant("_conv_stem.weight", &[kernel, kernel, colours, channels], folded)?;
        let window = Window::same(kernel, 2);
        Ok(self.plan.stem(pixels, weight, bias, window, NORMALISATION, Activation::Relu6)?)
    }

    /// Expand, filter each channel, project; with the input added where the shape stays.
    fn bottleneck(&mut self, input: TensorId, block: usize, channels: usize, stage: &Stage, stride: usize) -> Result<TensorId, ModelError> {
        let name = |part: &str| format!("_blocks.{block}.{part}");
        let wide = channels * stage.expansion;
        let mut x = input;
        if stage.expansion != 1 {
            x = self.pointwise(x, &name("_expand_conv"), &name("_bn0"), [channels, wide], Activation::Relu6, None)?;
        }
        x = self.depthwise(x, &name("_depthwise_conv"), &name("_bn1"), wide, Window::same(stage.kernel, stride))?;
        let residual = (stride == 1 && channels == stage.channels).then_some(input);
        self.pointwise(x, &name("_project_conv"), &name("_bn2"), [wide, stage.channels], Activation::None, residual)
    }

    fn pointwise(
        &mut self,
        input: TensorId,
        convolution: &str,
        norm: &str,
        [from, to]: [usize; 2],
        activation: Activation,
        residual: Option<TensorId>,
    ) -> Result<TensorId, ModelError> {
        let name = format!("{convolution}.weight");
        let mut weight = self.tensors.take(&name, &[to, from, 1, 1])?;
        let (scale, bias) = self.batch_norm(norm, to)?;
        for (row, scale) in weight.chunks_exact_mut(from).zip(&scale) {
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let weight = self.plan.constant(name, &[from, to], transpose(&weight, to, from))?;
        Ok(self.plan.gemm(input, weight, bias, activation, residual)?)
    }

    fn depthwise(
        &mut self,
        input: TensorId,
        convolution: &str,
        norm: &str,
        channels: usize,
        window: Window,
    ) -> Result<TensorId, ModelError> {
        let name = format!("{convolution}.weight");
        let taps = window.kernel * window.kernel;
        let mut weight = self.tensors.take(&name, &[channels, 1, window.kernel, window.kernel])?;
        let (scale, bias) = self.batch_norm(norm, channels)?;
        for (taps, scale) in weight.chunks_exact_mut(taps).zip(&scale) {
            taps.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let weight = self.plan.constant(name, &[window.kernel, window.kernel, channels], transpose(&weight, channels, taps))?;
        Ok(self.plan.depthwise(input, weight, bias, window, Activation::Relu6)?)
    }

    /// Batch normalisation as a factor for the weights and a bias.
    fn batch_norm(&mut self, name: &str, channels: usize) -> Result<(Vec<f64>, ConstantId), ModelError> {
        let mut take = |part: &str| self.tensors.take(&format!("{name}.{part}"), &[channels]);
        let (gain, shift) = (take("weight")?, take("bias")?);
        let (mean, variance) = (take("running_mean")?, take("running_var")?);
        let scale: Vec<f64> =
            gain.iter().zip(&variance).map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + EPSILON).sqrt()).collect();
        if !scale.iter().all(|scale| scale.is_finite()) {
            return Err(ModelError::Tensor { name: format!("{name}.running_var"), reason: "holds negative numbers".into() });
        }
        let folded =
            shift.iter().zip(&mean).zip(&scale).map(|((shift, mean), scale)| (f64::from(*shift) - f64::from(*mean) * scale) as f32);
        let bias = self.plan.constant(format!("{name}.bias"), &[channels], folded.collect())?;
        Ok((scale, bias))
    }
}
