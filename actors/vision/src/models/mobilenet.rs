//! MobileNetV2 (Sandler et al. 2018) and MobileNetV3 (Howard et al. 2019) as plans, from tensors named as torchvision, timm or (V2)
//! Hugging Face name them. Widths, windows and gates are read off the tensors; strides and curves are those of the papers.

use super::ModelError;
use super::convnet::{Builder, Named};
use super::preprocessor;
use super::tensors::Tensors;
use crate::logic::preprocessing::{Filter, Framing, Preprocessing};
use serde_json::Value;
use shaders::{Activation, Normalisation, Plan, Shape, TensorId, Window};

/// What the papers say and the tensors do not.
struct Paper {
    blocks: usize,
    /// The blocks that stride.
    strides: &'static [usize],
    /// From this block on, and behind the last, the curve is hard swish; before it is ReLU. `None`: ReLU6 everywhere.
    swish_from: Option<usize>,
}

/// V2, V3 large, V3 small.
const PAPERS: [Paper; 3] = [
    Paper { blocks: 17, strides: &[1, 3, 6, 13], swish_from: None },
    Paper { blocks: 15, strides: &[1, 3, 6, 12], swish_from: Some(6) },
    Paper { blocks: 11, strides: &[0, 1, 3, 8], swish_from: Some(3) },
];

/// Prefixes under which Hugging Face's files have the network.
const PREFIXES: [&str; 2] = ["mobilenet_v2.", ""];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Torchvision,
    Timm,
    HuggingFace,
}

/// A model of the family, recognised by its tensors.
pub(super) struct Architecture {
    dialect: Dialect,
    paper: &'static Paper,
    stem: Named,
    blocks: Vec<Block>,
    last: Named,
    /// A product with hard swish behind the mean, where the model ends with one.
    head: Option<&'static str>,
    /// TensorFlow's padding and epsilon.
    is_tensorflow: bool,
}

/// One inverted bottleneck.
struct Block {
    expand: Option<Named>,
    filter: Named,
    /// Squeeze and excite.
    gate: Option<[String; 2]>,
    project: Named,
}

/// The model whose tensors these are; `config` is Hugging Face's or timm's `config.json`, where there is one.
pub(super) fn recognise(tensors: &Tensors, config: Option<&Value>) -> Option<Architecture> {
    let mut prefix = "";
    let (dialect, blocks) = if tensors.has("features.0.0.weight") {
        (Dialect::Torchvision, (1..).map_while(|at| torchvision(tensors, at)).collect::<Vec<_>>())
    } else if tensors.has("conv_stem.weight") {
        (
            Dialect::Timm,
            (0..)
                .map_while(|stage| tensors.has(&format!("blocks.{stage}.0.bn1.weight")).then_some(stage))
                .flat_map(|stage| timm(tensors, stage))
                .collect(),
        )
    } else {
        prefix = PREFIXES.into_iter().find(|prefix| tensors.has(&format!("{prefix}conv_stem.first_conv.convolution.weight")))?;
        (Dialect::HuggingFace, hugging_face(tensors, prefix))
    };
    let paper = PAPERS.iter().find(|paper| paper.blocks == blocks.len())?;
    let has_gates = blocks.iter().any(|block| block.gate.is_some());
    if has_gates == paper.swish_from.is_none() {
        return None;
    }
    let (stem, last) = match dialect {
        Dialect::Torchvision => {
            let last = format!("features.{}", blocks.len() + 1);
            (Named::new("features.0.0", "features.0.1"), Named::new(format!("{last}.0"), format!("{last}.1")))
        }
        Dialect::Timm => {
            // V3 has its last convolution in a stage of its own; what is called the head stands behind the mean.
            let stages = (0..).take_while(|stage| tensors.has(&format!("blocks.{stage}.0.bn1.weight"))).count();
            let stage = format!("blocks.{}.0", stages.saturating_sub(1));
            let last = if paper.swish_from.is_some() {
                Named::new(format!("{stage}.conv"), format!("{stage}.bn1"))
            } else {
                Named::new("conv_head", "bn2")
            };
            (Named::new("conv_stem", "bn1"), last)
        }
        Dialect::HuggingFace => (normalised(&format!("{prefix}conv_stem.first_conv")), normalised(&format!("{prefix}conv_1x1"))),
    };
    let head = (dialect == Dialect::Timm && paper.swish_from.is_some() && tensors.has("conv_head.bias")).then_some("conv_head");
    let named = config.and_then(|config| config["architecture"].as_str()).unwrap_or_default();
    let pads = |config: &Value| config["tf_padding"].as_bool().unwrap_or(true);
    let is_tensorflow = named.starts_with("tf_") || (dialect == Dialect::HuggingFace && config.is_none_or(pads));
    Some(Architecture { dialect, paper, stem, blocks, last, head, is_tensorflow })
}

/// A convolution and its norm under one name, as Hugging Face has them.
fn normalised(name: &str) -> Named {
    Named::new(format!("{name}.convolution"), format!("{name}.normalization"))
}

/// The block `features.AT`: its parts are numbered, and what a model does not have is left out.
fn torchvision(tensors: &Tensors, at: usize) -> Option<Block> {
    let folder = ["conv", "block"].map(|part| format!("features.{at}.{part}"));
    let folder = folder.iter().find(|folder| tensors.has(&format!("{folder}.0.0.weight")))?;
    let mut parts = Vec::new();
    let mut gate = None;
    for part in 0..4 {
        let name = format!("{folder}.{part}");
        if tensors.has(&format!("{name}.fc1.weight")) {
            gate = Some(["fc1", "fc2"].map(|layer| format!("{name}.{layer}")));
        } else if tensors.has(&format!("{name}.0.weight")) {
            parts.push(Named::new(format!("{name}.0"), format!("{name}.1")));
        } else if tensors.shape(&format!("{name}.weight")).is_some_and(|shape| shape.len() == 4) {
            // V2's last convolution has no folder of its own.
            parts.push(Named::new(name, format!("{folder}.{}", part + 1)));
        }
    }
    let project = parts.pop()?;
    let filter = parts.pop()?;
    Some(Block { expand: parts.pop(), filter, gate, project })
}

/// The blocks of one stage.
fn timm(tensors: &Tensors, stage: usize) -> Vec<Block> {
    let block = |at: usize| {
        let named = |convolution: &str, norm: &str| {
            let [convolution, norm] = [convolution, norm].map(|part| format!("blocks.{stage}.{at}.{part}"));
            tensors.has(&format!("{convolution}.weight")).then(|| Named::new(convolution, norm))
        };
        let gate = ["conv_reduce", "conv_expand"].map(|part| format!("blocks.{stage}.{at}.se.{part}"));
        let gate = tensors.has(&format!("{}.weight", gate[0])).then_some(gate);
        if let Some(project) = named("conv_pwl", "bn3") {
            return Some(Block { expand: Some(named("conv_pw", "bn1")?), filter: named("conv_dw", "bn2")?, gate, project });
        }
        Some(Block { expand: None, filter: named("conv_dw", "bn1")?, gate, project: named("conv_pw", "bn2")? })
    };
    (0..).map_while(block).collect()
}

fn hugging_face(tensors: &Tensors, prefix: &str) -> Vec<Block> {
    let stem = format!("{prefix}conv_stem");
    let first = Block {
        expand: None,
        filter: normalised(&format!("{stem}.conv_3x3")),
        gate: None,
        project: normalised(&format!("{stem}.reduce_1x1")),
    };
    let others = (0..).map_while(|layer| {
        let [expand, filter, project] =
            ["expand_1x1", "conv_3x3", "reduce_1x1"].map(|part| normalised(&format!("{prefix}layer.{layer}.{part}")));
        let is_there = tensors.has(&format!("{}.weight", filter.convolution));
        is_there.then_some(Block { expand: Some(expand), filter, gate: None, project })
    });
    std::iter::once(first).chain(others).collect()
}

impl Architecture {
    /// How pictures are prepared where no file says so: 224 pixels out of 256, under ImageNet's colours; Hugging Face's models under
    /// -1 to 1.
    pub(super) fn preprocessing(&self) -> (Preprocessing, Normalisation) {
        let preprocessing = Preprocessing { side: 224, framing: Framing::ScaleThenCrop { shorter: 256 }, filter: Filter::Bilinear };
        let normalisation = if self.dialect == Dialect::HuggingFace { Normalisation::grey(127.5, 127.5) } else { preprocessor::imagenet() };
        (preprocessing, normalisation)
    }

    fn window(&self, kernel: usize, stride: usize) -> Window {
        if self.is_tensorflow { Window::same(kernel, stride) } else { Window::around(kernel, stride, kernel / 2) }
    }

    /// The curve in one block; behind the last one, in what follows.
    fn activation(&self, block: usize) -> Activation {
        match self.paper.swish_from {
            None => Activation::Relu6,
            Some(first) if block >= first => Activation::HardSwish,
            Some(_) => Activation::Relu,
        }
    }

    fn epsilon(&self) -> f64 {
        // torchvision's V3 was trained with the papers' epsilon, too.
        let is_v3_of_torchvision = self.dialect == Dialect::Torchvision && self.paper.swish_from.is_some();
        if self.is_tensorflow || is_v3_of_torchvision || self.dialect == Dialect::HuggingFace { 1e-3 } else { 1e-5 }
    }
}

/// Builds the plan: pictures of `side` x `side` to pooled features, before the classifier.
pub(super) fn plan(architecture: &Architecture, tensors: Tensors, side: usize, normalisation: Normalisation) -> Result<Plan, ModelError> {
    let (plan, pixels) = Plan::new("mobilenet", Shape::Pixels { height: side, width: side })?;
    let mut builder = Builder { plan, tensors, epsilon: architecture.epsilon() };
    let curve = architecture.paper.swish_from.map_or(Activation::Relu6, |_| Activation::HardSwish);
    let [_, _, kernel, _] = builder.shape(&architecture.stem.convolution)?;
    let mut x = builder.stem(pixels, &architecture.stem, architecture.window(kernel, 2), normalisation, curve)?;
    for (at, block) in architecture.blocks.iter().enumerate() {
        x = bottleneck(&mut builder, architecture, x, at, block)?;
    }
    let x = builder.pointwise(x, &architecture.last, curve, None)?;
    let mut features = builder.plan.mean(x)?;
    if let Some(head) = architecture.head {
        features = builder.biased(features, head, Activation::HardSwish)?;
    }
    builder.plan.output(features)?;
    Ok(builder.plan)
}

/// Expand, filter each channel, gate the channels, project; with the input added where the shape stays.
fn bottleneck(
    builder: &mut Builder,
    architecture: &Architecture,
    input: TensorId,
    at: usize,
    block: &Block,
) -> Result<TensorId, ModelError> {
    let activation = architecture.activation(at);
    let stride = if architecture.paper.strides.contains(&at) { 2 } else { 1 };
    let mut x = input;
    if let Some(expand) = &block.expand {
        x = builder.pointwise(x, expand, activation, None)?;
    }
    let [_, _, kernel, _] = builder.shape(&block.filter.convolution)?;
    x = builder.depthwise(x, &block.filter, architecture.window(kernel, stride), activation)?;
    if let Some([reduce, expand]) = &block.gate {
        let mean = builder.plan.mean(x)?;
        let squeezed = builder.biased(mean, reduce, Activation::Relu)?;
        let gate = builder.biased(squeezed, expand, Activation::HardSigmoid)?;
        x = builder.plan.scale(x, gate)?;
    }
    let [to, ..] = builder.shape(&block.project.convolution)?;
    let residual = (stride == 1 && to == builder.channels(input)).then_some(input);
    builder.pointwise(x, &block.project, Activation::None, residual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{ModelFiles, load};
    use shaders::CpuExecutor;
    use std::path::Path;

    /// What a folder with these files of a test model makes: how pictures are prepared, and the files that were read.
    fn loaded(model: &str, files: &[&str]) -> (Preprocessing, Vec<String>) {
        let (from, folder) =
            (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join(model), tempfile::tempdir().expect("a folder"));
        for file in files {
            std::fs::copy(from.join(file), folder.path().join(file)).expect("copied");
        }
        let files = ModelFiles::new(folder.path());
        let image = load(&files, &CpuExecutor::new(1)).expect("a model").image.expect("of pictures");
        (image.preprocessing(), files.read())
    }

    #[test]
    fn weights_alone_are_a_model_with_the_familys_preparation() {
        let usual = Preprocessing { side: 224, framing: Framing::ScaleThenCrop { shorter: 256 }, filter: Filter::Bilinear };
        assert_eq!(loaded("mobilenet-large-torchvision", &["model.safetensors"]), (usual, vec!["model.safetensors".to_owned()]));
        let (given, _) = loaded("mobilenet-v2-transformers", &["model.safetensors", "config.json", "preprocessor_config.json"]);
        assert_eq!(given, Preprocessing { side: 45, framing: Framing::Squash, filter: Filter::Bilinear });
        let (given, _) = loaded("mobilenet-small-timm", &["model.safetensors", "config.json", "preprocessor_config.json"]);
        assert_eq!(given.side, 45);
    }

    #[test]
    fn a_quantised_graph_stands_in_for_the_exact_one() {
        let (_, read) = loaded("mobilenet-v3-quantised", &["model_quantized.onnx", "preprocessor_config.json"]);
        assert!(read.contains(&"model_quantized.onnx".to_owned()), "{read:?}");
    }
}
