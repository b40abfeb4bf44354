//! Two towers, one space for pictures and words: CLIP (Radford et al. 2021), OpenCLIP and SigLIP (Zhai et al. 2023) as plans. Sizes
//! are read off the tensors; only what they do not show comes from the configuration.

use super::ModelError;
use super::encoder::{Builder, Sizes, activation};
use super::tensors::{Tensors, transpose};
use serde_json::Value;
use shaders::{Activation, Around, Normalisation, Plan, Position, Shape, TensorId, Window};

/// What the tensors of a pair do not show.
#[derive(Clone, Debug)]
pub(super) struct Contract {
    kind: Kind,
    heads: [Option<usize>; 2],
    activations: [Activation; 2],
    epsilons: [f32; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clip,
    Siglip,
}

const PICTURE: usize = 0;
const TEXT: usize = 1;

impl Contract {
    /// From Hugging Face's `config.json`.
    pub(super) fn from_config(config: &Value) -> Result<Contract, ModelError> {
        let kind = match config["model_type"].as_str() {
            Some("clip") => Kind::Clip,
            Some("siglip") => Kind::Siglip,
            other => {
                return Err(ModelError::File {
                    name: "config.json".to_owned(),
                    reason: format!("model_type {other:?} is no pair of towers"),
                });
            }
        };
        let towers = [&config["vision_config"], &config["text_config"]];
        let (usual, epsilon) = if kind == Kind::Clip { ("quick_gelu", 1e-5) } else { ("gelu_pytorch_tanh", 1e-6) };
        let named = |tower: &Value| activation(tower["hidden_act"].as_str().unwrap_or(usual));
        Ok(Contract {
            kind,
            heads: towers.map(|tower| tower["num_attention_heads"].as_u64().and_then(|heads| usize::try_from(heads).ok())),
            activations: [named(towers[PICTURE])?, named(towers[TEXT])?],
            epsilons: towers.map(|tower| tower["layer_norm_eps"].as_f64().unwrap_or(epsilon) as f32),
        })
    }

    /// From OpenCLIP's `open_clip_config.json`.
    pub(super) fn from_open_clip(config: &Value) -> Contract {
        let model = &config["model_cfg"];
        let curve = if model["quick_gelu"].as_bool() == Some(true) { Activation::QuickGelu } else { Activation::Gelu };
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let vision = &model["vision_cfg"];
        let heads = number(&vision["width"]).zip(number(&vision["head_width"]).or(Some(64)));
        let heads = [heads.and_then(|(width, head)| width.checked_div(head)), number(&model["text_cfg"]["heads"])];
        Contract { kind: Kind::Clip, heads, activations: [curve; 2], epsilons: [1e-5; 2] }
    }

    /// Whether texts are filled up to the full length: SigLIP was trained to look at what fills them.
    pub(super) fn fills_texts(&self) -> bool {
        self.kind == Kind::Siglip
    }

    fn sizes(&self, tower: usize, hidden: usize, tensors: &Tensors, prefix: &str) -> Result<Sizes, ModelError> {
        let layers = (0..).take_while(|layer| tensors.has(&format!("{prefix}.encoder.layers.{layer}.layer_norm1.weight"))).count();
        let inner = tensors.shape(&format!("{prefix}.encoder.layers.0.mlp.fc1.weight")).and_then(|shape| shape.first().copied());
        let sizes = Sizes {
            hidden,
            inner: inner.unwrap_or(0),
            layers,
            // Both families were published with heads of 64 channels unless their configuration says otherwise.
            heads: self.heads[tower].unwrap_or(hidden / 64),
            activation: self.activations[tower],
            epsilon: self.epsilons[tower],
            causal: tower == TEXT && self.kind == Kind::Clip,
        };
        sizes.checked()
    }
}

/// OpenCLIP's names as Hugging Face's.
pub(super) fn named_as_usual(tensors: Tensors) -> Tensors {
    if !tensors.has("visual.conv1.weight") {
        return tensors;
    }
    const NAMES: [(&str, &str); 11] = [
        ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
        ("transformer.resblocks.", "text_model.encoder.layers."),
        ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
        ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
        ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        ("visual.ln_pre.", "vision_model.pre_layrnorm."),
        ("visual.ln_post.", "vision_model.post_layernorm."),
        ("token_embedding.", "text_model.embeddings.token_embedding."),
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("ln_final.", "text_model.final_layer_norm."),
        ("attn_mask", "attn_mask"),
    ];
    tensors.renamed(|name| {
        let begins = NAMES.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
        let parts = [
            (".ln_1.", ".layer_norm1."),
            (".ln_2.", ".layer_norm2."),
            (".attn.", ".self_attn."),
            (".c_fc.", ".fc1."),
            (".c_proj.", ".fc2."),
        ];
        parts.iter().fold(begins.unwrap_or_else(|| name.to_owned()), |name, (from, to)| name.replace(from, to))
    })
}

/// Builds the plan of pictures of `side` x `side`. The tensors left over are given back.
pub(super) fn picture_plan(
    contract: &Contract,
    tensors: Tensors,
    side: usize,
    normalisation: Normalisation,
) -> Result<(Plan, Tensors), ModelError> {
    let shape = |name: &str| {
        let missing = || ModelError::Tensor { name: name.to_owned(), reason: "is not in the file".to_owned() };
        tensors.shape(name).map(<[usize]>::to_vec).ok_or_else(missing)
    };
    let (patches, places) = ("vision_model.embeddings.patch_embedding.weight", "vision_model.embeddings.position_embedding.weight");
    let class = "vision_model.embeddings.class_embedding";
    let (&[hidden, 3, patch, width], &[rows, _]) = (&shape(patches)?[..], &shape(places)?[..]) else {
        return Err(ModelError::Tensor { name: patches.to_owned(), reason: "is no window over pictures".to_owned() });
    };
    let sizes = contract.sizes(PICTURE, hidden, &tensors, "vision_model")?;
    // What is left at the edge of a picture that is no multiple of the window is not looked at.
    let across = side.checked_div(patch).unwrap_or(0);
    if patch != width || across * across + usize::from(tensors.has(class)) != rows {
        let reason = format!("has {rows} places, pictures of {side} pixels have {across} x {across} windows of {patch}");
        return Err(ModelError::Tensor { name: places.to_owned(), reason });
    }
    let (plan, pixels) = Plan::new("picture tower", Shape::Pixels { height: side, width: side })?;
    let mut builder = Builder { plan, tensors };
    // [channels, colours, taps] to [taps, colours, channels].
    let taps = patch * patch;
    let weight = builder.tensors.take(patches, &[hidden, 3, patch, patch])?;
    let by_tap = weight.chunks_exact(3 * taps).flat_map(|channel| transpose(channel, 3, taps)).collect::<Vec<_>>();
    let weight = builder.plan.constant(patches, &[patch, patch, 3, hidden], transpose(&by_tap, hidden, 3 * taps))?;
    let bias = builder.vector("vision_model.embeddings.patch_embedding.bias", hidden, 0.0)?;
    let x = builder.plan.stem(pixels, weight, bias, Window::around(patch, patch, 0), normalisation, Activation::None)?;
    let mut around = None;
    if builder.tensors.has(class) {
        let token = builder.tensors.take(class, &[hidden])?;
        around = Some(Around { rows: builder.plan.constant(class, &[1, hidden], token)?, front: 1 });
    }
    let rows_of = builder.tensors.take(places, &[rows, hidden])?;
    let rows_of = builder.plan.constant(places, &[rows, hidden], rows_of)?;
    let mut x = builder.plan.arrange(x, around, Some(rows_of))?;
    if builder.tensors.has("vision_model.pre_layrnorm.weight") {
        x = builder.layernorm(x, "vision_model.pre_layrnorm", &sizes)?;
    }
    for layer in 0..sizes.layers {
        x = block(&mut builder, x, &format!("vision_model.encoder.layers.{layer}"), &sizes)?;
    }
    let x = match contract.kind {
        Kind::Clip => {
            let x = builder.plan.take(x, Position::First)?;
            let x = builder.layernorm(x, "vision_model.post_layernorm", &sizes)?;
            projection(&mut builder, x, ["visual_projection.weight", "visual.proj"], hidden)?
        }
        Kind::Siglip => {
            let x = builder.layernorm(x, "vision_model.post_layernorm", &sizes)?;
            attention_head(&mut builder, x, &sizes)?
        }
    };
    builder.plan.output(x)?;
    Ok((builder.plan, builder.tensors))
}

/// Builds the plan of texts: vectors of length 1. Gives the greatest length.
pub(super) fn text_plan(contract: &Contract, tensors: Tensors) -> Result<(Plan, usize), ModelError> {
    let (words, places) = ("text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight");
    let shape = |name: &str| match tensors.shape(name) {
        Some(&[rows, columns]) => Ok([rows, columns]),
        _ => Err(ModelError::Tensor { name: name.to_owned(), reason: "is no table".to_owned() }),
    };
    let ([vocabulary, hidden], [length_max, _]) = (shape(words)?, shape(places)?);
    let sizes = contract.sizes(TEXT, hidden, &tensors, "text_model")?;
    let (plan, tokens) = Plan::new("text tower", Shape::Tokens { length_max })?;
    let mut builder = Builder { plan, tensors };
    let table = builder.tensors.take_table(words, &[vocabulary, hidden])?;
    let table = builder.plan.table(words, &[vocabulary, hidden], table)?;
    let rows = builder.tensors.take(places, &[length_max, hidden])?;
    let rows = builder.plan.constant(places, &[length_max, hidden], rows)?;
    let mut x = builder.plan.embed(tokens, table, rows)?;
    for layer in 0..sizes.layers {
        x = block(&mut builder, x, &format!("text_model.encoder.layers.{layer}"), &sizes)?;
    }
    // The norm looks at each token alone, so that the others need none.
    let x = builder.plan.take(x, Position::Last)?;
    let x = builder.layernorm(x, "text_model.final_layer_norm", &sizes)?;
    let x = match contract.kind {
        Kind::Clip => projection(&mut builder, x, ["text_projection.weight", "text_projection"], hidden)?,
        Kind::Siglip => {
            let to = builder.tensors.shape("text_model.head.weight").and_then(|shape| shape.first().copied()).unwrap_or(hidden);
            builder.linear(x, "text_model.head", [hidden, to], Activation::None, None)?
        }
    };
    let x = builder.plan.normalize(x)?;
    builder.plan.output(x)?;
    Ok((builder.plan, length_max))
}

/// A block with its norms in front.
fn block(builder: &mut Builder, x: TensorId, prefix: &str, sizes: &Sizes) -> Result<TensorId, ModelError> {
    let name = |part: &str| format!("{prefix}.{part}");
    let normed = builder.layernorm(x, &name("layer_norm1"), sizes)?;
    let mixed = builder.attention(normed, &name("self_attn"), ["q_proj", "k_proj", "v_proj"], sizes)?;
    let x = builder.linear(mixed, &name("self_attn.out_proj"), [sizes.hidden; 2], Activation::None, Some(x))?;
    let normed = builder.layernorm(x, &name("layer_norm2"), sizes)?;
    let wide = builder.linear(normed, &name("mlp.fc1"), [sizes.hidden, sizes.inner], sizes.activation, None)?;
    builder.linear(wide, &name("mlp.fc2"), [sizes.inner, sizes.hidden], Activation::None, Some(x))
}

/// Into the common space: a linear layer's weight (`[to, from]`), or a matrix as OpenCLIP has it (`[from, to]`).
fn projection(builder: &mut Builder, x: TensorId, [linear, matrix]: [&str; 2], from: usize) -> Result<TensorId, ModelError> {
    let (weight, to) = if let Some(&[from, to]) = builder.tensors.shape(matrix) {
        (builder.tensors.take(matrix, &[from, to])?, to)
    } else {
        let to = builder.tensors.shape(linear).and_then(|shape| shape.first().copied()).unwrap_or(0);
        (transpose(&builder.tensors.take(linear, &[to, from])?, to, from), to)
    };
    let weight = builder.plan.constant(linear, &[from, to], weight)?;
    let bias = builder.plan.constant(format!("{linear} bias"), &[to], vec![0.0; to])?;
    Ok(builder.plan.gemm(x, weight, bias, Activation::None, None)?)
}

/// SigLIP's pooling: one learned query looks at all windows, and a small network follows.
fn attention_head(builder: &mut Builder, x: TensorId, sizes: &Sizes) -> Result<TensorId, ModelError> {
    let (hidden, prefix) = (sizes.hidden, "vision_model.head");
    let name = |part: &str| format!("{prefix}.{part}");
    let probe = builder.tensors.take(&name("probe"), &[1, 1, hidden])?;
    let (weights, biases) = builder.projections(&name("attention"), &["q_proj", "k_proj", "v_proj"], hidden)?;
    let (queries, rest) = weights.split_at(hidden * hidden);
    let dot = |row: &[f32]| row.iter().zip(&probe).map(|(weight, number)| f64::from(*weight) * f64::from(*number)).sum::<f64>();
    let query = queries.chunks_exact(hidden).zip(&biases).map(|(row, bias)| (dot(row) + f64::from(*bias)) as f32).collect();
    let query = builder.plan.constant(name("probe"), &[hidden], query)?;
    let weight = builder.plan.constant(name("attention.weight"), &[hidden, 2 * hidden], transpose(rest, 2 * hidden, hidden))?;
    let bias = builder.plan.constant(name("attention.bias"), &[2 * hidden], biases[hidden..].to_vec())?;
    let keys_values = builder.plan.gemm(x, weight, bias, Activation::None, None)?;
    let mixed = builder.plan.attend(keys_values, query, sizes.heads)?;
    let x = builder.linear(mixed, &name("attention.out_proj"), [hidden; 2], Activation::None, None)?;
    let normed = builder.layernorm(x, &name("layernorm"), sizes)?;
    let inner = builder.tensors.shape(&name("mlp.fc1.weight")).and_then(|shape| shape.first().copied()).unwrap_or(0);
    let wide = builder.linear(normed, &name("mlp.fc1"), [hidden, inner], sizes.activation, None)?;
    builder.linear(wide, &name("mlp.fc2"), [inner, hidden], Activation::None, Some(x))
}
