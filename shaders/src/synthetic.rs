//! Plans with pseudo-random weights: the shapes of the default models without their files, for measurements, and small plans
//! with every kernel, for tests of a device.

use crate::plan::{Around, ConstantId, Plan, PlanError, Shape, TensorId};
use crate::{Activation, Normalisation, Padding, Pairwise, Position, Window};

/// `count` reproducible numbers in -1..1.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A plan that grows with weights whose products keep the size of their factors.
struct Builder {
    plan: Plan,
    seed: u64,
}

impl Builder {
    fn constant(&mut self, shape: &[usize], scale: f32) -> Result<ConstantId, PlanError> {
        self.seed += 1;
        let values = numbers(self.seed, shape.iter().product()).into_iter().map(|value| value * scale).collect();
        self.plan.constant(format!("constant {}", self.seed), shape, values)
    }

    /// Weights whose sums run over all axes but the last, and a bias.
    fn weights(&mut self, shape: &[usize]) -> Result<[ConstantId; 2], PlanError> {
        let (summed, columns) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
        let fan_in: usize = summed.iter().product();
        Ok([self.constant(shape, (3.0 / fan_in as f32).sqrt())?, self.constant(&[columns], 0.1)?])
    }

    fn stem(&mut self, pixels: TensorId, channels: usize, window: Window, activation: Activation) -> Result<TensorId, PlanError> {
        let [weight, bias] = self.weights(&[window.kernel, window.kernel, 3, channels])?;
        self.plan.stem(pixels, weight, bias, window, Normalisation::grey(127.0, 128.0), activation)
    }

    fn gemm(&mut self, x: TensorId, columns: usize, activation: Activation, residual: Option<TensorId>) -> Result<TensorId, PlanError> {
        let depth = self.channels(x);
        let [weight, bias] = self.weights(&[depth, columns])?;
        self.plan.gemm(x, weight, bias, activation, residual)
    }

    fn depthwise(&mut self, x: TensorId, window: Window, activation: Activation) -> Result<TensorId, PlanError> {
        let channels = self.channels(x);
        let [weight, bias] = self.weights(&[window.kernel, window.kernel, channels])?;
        self.plan.depthwise(x, weight, bias, window, activation)
    }

    fn layernorm(&mut self, x: TensorId) -> Result<TensorId, PlanError> {
        let channels = self.channels(x);
        let (gain, shift) = (self.constant(&[channels], 1.0)?, self.constant(&[channels], 0.1)?);
        self.plan.layernorm(x, gain, shift, 1e-12)
    }

    fn embed(&mut self, tokens: TensorId, vocabulary: usize, places: usize, channels: usize) -> Result<TensorId, PlanError> {
        let (words, positions) = (self.constant(&[vocabulary, channels], 1.0)?, self.constant(&[places, channels], 0.5)?);
        self.plan.embed(tokens, words, positions)
    }

    fn conv(&mut self, x: TensorId, channels: usize, window: Window, activation: Activation) -> Result<TensorId, PlanError> {
        let from = self.channels(x);
        let [weight, bias] = self.weights(&[window.kernel, window.kernel, from, channels])?;
        self.plan.conv(x, weight, bias, window, activation)
    }

    /// The positions of a map in a row, between a class token and others, each plus its place.
    fn arrange(&mut self, x: TensorId, behind: usize) -> Result<TensorId, PlanError> {
        let (channels, rows) = (self.channels(x), self.plan.tensors()[x.index()].positions() + 1 + behind);
        let around = Around { rows: self.constant(&[1 + behind, channels], 1.0)?, front: 1 };
        let positions = self.constant(&[rows, channels], 0.5)?;
        self.plan.arrange(x, Some(around), Some(positions))
    }

    /// One layer of a vision transformer: normalised before, not after.
    fn layer_before(&mut self, x: TensorId, heads: usize, wide: usize) -> Result<TensorId, PlanError> {
        let width = self.channels(x);
        let normal = self.layernorm(x)?;
        let all = self.gemm(normal, 3 * width, Activation::None, None)?;
        let mixed = self.plan.attention(all, heads, false)?;
        let x = self.gemm(mixed, width, Activation::None, Some(x))?;
        let normal = self.layernorm(x)?;
        let hidden = self.gemm(normal, wide, Activation::QuickGelu, None)?;
        self.gemm(hidden, width, Activation::None, Some(x))
    }

    fn channels(&self, x: TensorId) -> usize {
        self.plan.tensors()[x.index()].channels()
    }

    /// One layer of BERT over an embedded text.
    fn layer(&mut self, x: TensorId, heads: usize, wide: usize, causal: bool) -> Result<TensorId, PlanError> {
        let width = self.channels(x);
        let all = self.gemm(x, 3 * width, Activation::None, None)?;
        let mixed = self.plan.attention(all, heads, causal)?;
        let mixed = self.gemm(mixed, width, Activation::None, Some(x))?;
        let x = self.layernorm(mixed)?;
        let hidden = self.gemm(x, wide, Activation::Gelu, None)?;
        let hidden = self.gemm(hidden, width, Activation::None, Some(x))?;
        self.layernorm(hidden)
    }
}

/// A plan of the shape of EfficientNet-Lite0: 224 x 224 pixels to 1280 features.
///
/// # Errors
/// Never: the shapes are constants that fit.
pub fn lite0() -> Result<Plan, PlanError> {
    // Blocks, kernel, stride, expansion, channels.
    const STAGES: [[usize; 5]; 7] =
        [[1, 3, 1, 1, 16], [2, 3, 2, 6, 24], [2, 5, 2, 6, 40], [3, 3, 2, 6, 80], [3, 5, 1, 6, 112], [4, 5, 2, 6, 192], [1, 3, 1, 6, 320]];
    let (plan, pixels) = Plan::new("lite0 (synthetic)", Shape::Pixels { height: 224, width: 224 })?;
    let mut builder = Builder { plan, seed: 0 };
    let mut x = builder.stem(pixels, 32, Window::same(3, 2), Activation::Relu6)?;
    for [blocks, kernel, first_stride, expansion, channels] in STAGES {
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            let from = builder.channels(x);
            let wide = if expansion == 1 { x } else { builder.gemm(x, from * expansion, Activation::Relu6, None)? };
            let filtered = builder.depthwise(wide, Window::same(kernel, stride), Activation::Relu6)?;
            let residual = (stride == 1 && from == channels).then_some(x);
            x = builder.gemm(filtered, channels, Activation::None, residual)?;
        }
    }
    let x = builder.gemm(x, 1280, Activation::Relu6, None)?;
    let features = builder.plan.mean(x)?;
    builder.plan.output(features)?;
    Ok(builder.plan)
}

/// A plan of the shape of all-MiniLM-L6-v2: up to 256 tokens of 30,522 words to a unit vector of 384.
///
/// # Errors
/// Never: the shapes are constants that fit.
pub fn minilm() -> Result<Plan, PlanError> {
    let (plan, tokens) = Plan::new("minilm (synthetic)", Shape::Tokens { length_max: 256 })?;
    let mut builder = Builder { plan, seed: 0 };
    let x = builder.embed(tokens, 30_522, 512, 384)?;
    let mut x = builder.layernorm(x)?;
    for _ in 0..6 {
        x = builder.layer(x, 12, 1536, false)?;
    }
    let mean = builder.plan.mean(x)?;
    let unit = builder.plan.normalize(mean)?;
    builder.plan.output(unit)?;
    Ok(builder.plan)
}

/// A plan of the shape of CLIP's picture tower ViT-B/32: 224 x 224 pixels to a unit vector of 512.
///
/// # Errors
/// Never: the shapes are constants that fit.
pub fn vit_b32() -> Result<Plan, PlanError> {
    let (plan, pixels) = Plan::new("vit-b32 (synthetic)", Shape::Pixels { height: 224, width: 224 })?;
    let mut builder = Builder { plan, seed: 0 };
    let window = Window { kernel: 32, stride: 32, padding: Padding::Around(0) };
    let patches = builder.stem(pixels, 768, window, Activation::None)?;
    let x = builder.arrange(patches, 0)?;
    let mut x = builder.layernorm(x)?;
    for _ in 0..12 {
        x = builder.layer_before(x, 12, 3072)?;
    }
    let token = builder.plan.take(x, Position::First)?;
    let token = builder.layernorm(token)?;
    let token = builder.gemm(token, 512, Activation::None, None)?;
    let unit = builder.plan.normalize(token)?;
    builder.plan.output(unit)?;
    Ok(builder.plan)
}

/// A small plan over pictures of 9 x 13 with every kernel that pictures go through, in sizes that fill no tile.
pub(crate) fn small_image() -> Result<Plan, PlanError> {
    let (plan, pixels) = Plan::new("small image", Shape::Pixels { height: 9, width: 13 })?;
    let mut builder = Builder { plan, seed: 0 };
    // Windows side by side, whose lines begin at any byte.
    let window = Window { kernel: 8, stride: 4, padding: Padding::Around(0) };
    let patches = builder.stem(pixels, 12, window, Activation::Tanh)?;
    let stem = builder.stem(pixels, 20, Window::same(3, 2), Activation::Relu6)?;
    let deep = builder.depthwise(stem, Window::same(5, 1), Activation::HardSwish)?;
    let added = builder.gemm(deep, 20, Activation::None, Some(stem))?;
    let product = builder.plan.pairwise(added, stem, Pairwise::Multiply)?;
    let sum = builder.plan.pairwise(product, added, Pairwise::Add)?;
    let gate = builder.plan.mean(sum)?;
    let gate = builder.gemm(gate, 20, Activation::Sigmoid, None)?;
    let scaled = builder.plan.scale(sum, gate)?;
    let dense = builder.conv(scaled, 28, Window { kernel: 3, stride: 2, padding: Padding::Around(1) }, Activation::Silu)?;
    let small = builder.depthwise(dense, Window { kernel: 3, stride: 2, padding: Padding::Around(1) }, Activation::None)?;
    let mean = builder.plan.mean(small)?;
    let unit = builder.plan.normalize(mean)?;
    let row = builder.arrange(dense, 3)?;
    let row = builder.layer_before(row, 2, 50)?;
    let token = builder.plan.take(row, Position::First)?;
    let both = builder.gemm(row, 56, Activation::None, None)?;
    let query = builder.constant(&[28], 1.0)?;
    let pooled = builder.plan.attend(both, query, 4)?;
    for output in [mean, unit, dense, token, pooled, patches] {
        builder.plan.output(output)?;
    }
    Ok(builder.plan)
}

/// A small plan over texts of up to 70 of 50 words with every kernel that texts go through, in sizes that fill no tile.
pub(crate) fn small_text() -> Result<Plan, PlanError> {
    let (plan, tokens) = Plan::new("small text", Shape::Tokens { length_max: 70 })?;
    let mut builder = Builder { plan, seed: 100 };
    let x = builder.embed(tokens, 50, 70, 24)?;
    let x = builder.layer(x, 3, 100, false)?;
    let places = builder.constant(&[72, 24], 0.5)?;
    let x = builder.plan.arrange(x, None, Some(places))?;
    let x = builder.layer(x, 4, 36, true)?;
    let last = builder.plan.take(x, Position::Last)?;
    let both = builder.gemm(x, 48, Activation::GeluTanh, None)?;
    let query = builder.constant(&[24], 1.0)?;
    let pooled = builder.plan.attend(both, query, 2)?;
    let mean = builder.plan.mean(x)?;
    let unit = builder.plan.normalize(mean)?;
    for output in [mean, unit, last, pooled] {
        builder.plan.output(output)?;
    }
    Ok(builder.plan)
}

/// Texts for [`small_text`]: of one word, of many, and over the edge of every tile.
pub(crate) fn small_texts(count: usize) -> Vec<Vec<u32>> {
    (0..count).map(|text| (0..1 + text * 7 % 70).map(|i| (text * 13 + i * 5) as u32 % 50).collect()).collect()
}

/// Attention of heads of one width over texts of up to 70 of 50 words: its mean and its last row.
pub(crate) fn heads(heads: usize, head_width: usize, causal: bool) -> Result<Plan, PlanError> {
    let (plan, tokens) = Plan::new("heads", Shape::Tokens { length_max: 70 })?;
    let mut builder = Builder { plan, seed: 300 };
    let all = builder.embed(tokens, 50, 70, 3 * heads * head_width)?;
    let mixed = builder.plan.attention(all, heads, causal)?;
    let (mean, last) = (builder.plan.mean(mixed)?, builder.plan.take(mixed, Position::Last)?);
    builder.plan.output(mean)?;
    builder.plan.output(last)?;
    Ok(builder.plan)
}

/// Products of a text's tokens, `[depth]` to `[wide]` and back with a residual: for texts of one token the outputs are the
/// rows of the second product.
pub(crate) fn products(depth: usize, wide: usize) -> Result<Plan, PlanError> {
    let (plan, tokens) = Plan::new("products", Shape::Tokens { length_max: 4 })?;
    let mut builder = Builder { plan, seed: 200 };
    let x = builder.embed(tokens, 97, 4, depth)?;
    let hidden = builder.gemm(x, wide, Activation::Gelu, None)?;
    let back = builder.gemm(hidden, depth, Activation::None, Some(x))?;
    let mean = builder.plan.mean(back)?;
    builder.plan.output(mean)?;
    Ok(builder.plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuExecutor, Executor, Input, Isa};

    #[test]
    fn the_plans_have_the_shapes_of_the_models() {
        let (image, text) = (lite0().expect("fits"), minilm().expect("fits"));
        assert_eq!(image.tensors()[image.outputs()[0].index()], Shape::Vector { channels: 1280 });
        assert_eq!(text.tensors()[text.outputs()[0].index()], Shape::Vector { channels: 384 });
        let floats = |plan: &Plan| plan.constants().iter().map(|constant| constant.data.len()).sum::<usize>();
        // 4,652,008 parameters without the classifier (1,281,000) and with batch normalisation folded.
        assert_eq!((image.steps().len(), floats(&image)), (50, 3_350_000));
        assert!(floats(&text) > 22_000_000);
    }

    #[test]
    fn numbers_stay_of_one_size() {
        let program = CpuExecutor::with_isa(Isa::best(), 1).prepare(lite0().expect("fits")).expect("has outputs");
        let pixels: Vec<u8> = numbers(5, 224 * 224 * 3).into_iter().map(|value| (value * 127.0 + 128.0) as u8).collect();
        let features = program.run(Input::Pixels(&pixels)).expect("runs").remove(0);
        let mean = features.iter().sum::<f32>() / features.len() as f32;
        assert!((0.01..6.0).contains(&mean), "{mean}");
    }
}
