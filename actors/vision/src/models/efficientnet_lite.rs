//! EfficientNet-Lite as a plan: inverted bottlenecks with ReLU6, no squeeze-and-excite, TensorFlow's "SAME" padding.
//!
//! The architecture is that of the TensorFlow release (Liu, 2020); tensor names are those of the PyTorch port
//! `efficientnet-lite-pytorch`.

use super::ModelError;
use super::convnet::{Builder, Named};
use super::tensors::Tensors;
use crate::logic::preprocessing::Preprocessing;
use shaders::{Activation, Normalisation, Plan, Shape, TensorId, Window};

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
    let mut builder = Builder { plan, tensors, epsilon: EPSILON };
    let stem = Named::new("_conv_stem", "_bn0");
    let mut x = builder.stem(pixels, &stem, Window::same(3, 2), NORMALISATION, Activation::Relu6)?;
    let mut block = 0;
    for stage in architecture.stages() {
        for index in 0..stage.blocks {
            let stride = if index == 0 { stage.stride } else { 1 };
            x = bottleneck(&mut builder, x, block, &stage, stride)?;
            block += 1;
        }
    }
    let x = builder.pointwise(x, &Named::new("_conv_head", "_bn1"), Activation::Relu6, None)?;
    let features = builder.plan.mean(x)?;
    builder.plan.output(features)?;
    Ok(builder.plan)
}

/// Expand, filter each channel, project; with the input added where the shape stays.
fn bottleneck(builder: &mut Builder, input: TensorId, block: usize, stage: &Stage, stride: usize) -> Result<TensorId, ModelError> {
    let named = |convolution: &str, norm: &str| Named::new(format!("_blocks.{block}.{convolution}"), format!("_blocks.{block}.{norm}"));
    let mut x = input;
    if stage.expansion != 1 {
        x = builder.pointwise(x, &named("_expand_conv", "_bn0"), Activation::Relu6, None)?;
    }
    x = builder.depthwise(x, &named("_depthwise_conv", "_bn1"), Window::same(stage.kernel, stride), Activation::Relu6)?;
    let residual = (stride == 1 && builder.channels(input) == stage.channels).then_some(input);
    builder.pointwise(x, &named("_project_conv", "_bn2"), Activation::None, residual)
}
