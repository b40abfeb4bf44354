//! Encoders of texts as plans: BERT (Devlin et al. 2018) and what follows it, RoBERTa, XLM-RoBERTa and DistilBERT; sentence vectors as
//! Reimers and Gurevych (2019).

use super::encoder::{Builder, Sizes, activation};
use super::tensors::Tensors;
use super::{ModelError, Pooling};
use serde_json::Value;
use shaders::{Activation, Plan, Position, Shape, TensorId};

/// The sizes of one encoder, and how its file names things.
pub(super) struct Architecture {
    name: String,
    dialect: Dialect,
    sizes: Sizes,
    /// Row of the table of places that the first token has.
    first_place: usize,
    pub(super) pooling: Pooling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Bert,
    DistilBert,
}

/// Prefixes under which a file may hold an encoder.
const PREFIXES: [&str; 6] = ["", "bert.", "roberta.", "distilbert.", "model.", "0.auto_model."];

impl Architecture {
    /// all-MiniLM-L6-v2: 384 numbers a text.
    pub(super) fn mini_lm_l6() -> Architecture {
        let sizes = Sizes { hidden: 384, inner: 1536, layers: 6, heads: 12, activation: Activation::Gelu, epsilon: 1e-12, causal: false };
        Architecture { name: "all-minilm-l6-v2".to_owned(), dialect: Dialect::Bert, sizes, first_place: 0, pooling: Pooling::Mean }
    }

    /// From Hugging Face's `config.json`.
    pub(super) fn from_config(config: &Value, pooling: Pooling) -> Result<Architecture, ModelError> {
        let refused = |reason: String| ModelError::File { name: "config.json".to_owned(), reason };
        let kind = config["model_type"].as_str().unwrap_or_default();
        let dialect = match kind {
            "bert" | "roberta" | "xlm-roberta" | "camembert" => Dialect::Bert,
            "distilbert" => Dialect::DistilBert,
            "mpnet" => return Err(refused("MPNet adds a bias by distance to its attention, which no kernel does".into())),
            other => return Err(refused(format!("model_type {other:?} is not known"))),
        };
        let number = |name: &str, other: &str| {
            let found = config[name].as_u64().or_else(|| config[other].as_u64()).and_then(|number| usize::try_from(number).ok());
            found.filter(|number| (1..=1 << 20).contains(number)).ok_or_else(|| refused(format!("{name} is missing")))
        };
        if config["position_embedding_type"].as_str().is_some_and(|kind| kind != "absolute") {
            return Err(refused("only absolute positions are known".into()));
        }
        let sizes = Sizes {
            hidden: number("hidden_size", "dim")?,
            inner: number("intermediate_size", "hidden_dim")?,
            layers: number("num_hidden_layers", "n_layers")?,
            heads: number("num_attention_heads", "n_heads")?,
            activation: activation(config["hidden_act"].as_str().or_else(|| config["activation"].as_str()).unwrap_or("gelu"))?,
            epsilon: config["layer_norm_eps"].as_f64().unwrap_or(1e-12) as f32,
            causal: false,
        };
        let first_place =
            if kind.contains("roberta") || kind == "camembert" { config["pad_token_id"].as_u64().unwrap_or(1) as usize + 1 } else { 0 };
        Ok(Architecture { name: kind.to_owned(), dialect, sizes: sizes.checked()?, first_place, pooling })
    }
}

/// Builds the plan: texts of at most `length_max` tokens to vectors of length 1. Gives the length too: a file may hold fewer places.
pub(super) fn plan(architecture: &Architecture, tensors: Tensors, length_max: usize) -> Result<(Plan, usize), ModelError> {
    let prefixed = |prefix: &&str| tensors.has(&format!("{prefix}embeddings.word_embeddings.weight"));
    let prefix = PREFIXES.into_iter().find(prefixed).unwrap_or("");
    let tensors = tensors.renamed(|name| name.strip_prefix(prefix).unwrap_or(name).to_owned());
    let rows = tensors.shape("embeddings.position_embeddings.weight").and_then(|shape| shape.first().copied()).unwrap_or(0);
    let length_max = rows.saturating_sub(architecture.first_place).min(length_max);
    if length_max == 0 {
        return Err(ModelError::Tensor { name: "embeddings.position_embeddings.weight".to_owned(), reason: "holds no places".to_owned() });
    }
    let (plan, tokens) = Plan::new(architecture.name.clone(), Shape::Tokens { length_max })?;
    let mut builder = Builder { plan, tensors };
    let mut x = embeddings(&mut builder, architecture, tokens, rows)?;
    for layer in 0..architecture.sizes.layers {
        x = block(&mut builder, architecture, x, layer)?;
    }
    let pooled = match architecture.pooling {
        Pooling::Mean => builder.plan.mean(x)?,
        Pooling::First => builder.plan.take(x, Position::First)?,
        Pooling::Last => builder.plan.take(x, Position::Last)?,
    };
    let unit = builder.plan.normalize(pooled)?;
    builder.plan.output(unit)?;
    Ok((builder.plan, length_max))
}

/// Words, places and the type of the first sentence, which is the same for every token and so part of the places.
fn embeddings(builder: &mut Builder, architecture: &Architecture, tokens: TensorId, rows: usize) -> Result<TensorId, ModelError> {
    let hidden = architecture.sizes.hidden;
    let name = "embeddings.word_embeddings.weight";
    let vocabulary = builder.tensors.shape(name).and_then(|shape| shape.first().copied()).unwrap_or(0);
    let words = builder.tensors.take_table(name, &[vocabulary, hidden])?;
    let words = builder.plan.table(name, &[vocabulary, hidden], words)?;
    let mut places =
        builder.tensors.take("embeddings.position_embeddings.weight", &[rows, hidden])?.split_off(architecture.first_place * hidden);
    let types = "embeddings.token_type_embeddings.weight";
    if let Some([kinds, _]) = builder.tensors.shape(types) {
        let kinds = [*kinds, hidden];
        let types = builder.tensors.take(types, &kinds)?;
        for row in places.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(place, kind)| *place += kind);
        }
    }
    let places = builder.plan.constant("embeddings.position_embeddings.weight", &[places.len() / hidden, hidden], places)?;
    let x = builder.plan.embed(tokens, words, places)?;
    builder.layernorm(x, "embeddings.LayerNorm", &architecture.sizes)
}

fn block(builder: &mut Builder, architecture: &Architecture, x: TensorId, layer: usize) -> Result<TensorId, ModelError> {
    let sizes = &architecture.sizes;
    let (hidden, inner) = (sizes.hidden, sizes.inner);
    let (folder, attention, parts, names) = match architecture.dialect {
        Dialect::Bert => (
            "encoder.layer",
            "attention.self",
            ["query", "key", "value"],
            ["attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"],
        ),
        Dialect::DistilBert => (
            "transformer.layer",
            "attention",
            ["q_lin", "k_lin", "v_lin"],
            ["attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"],
        ),
    };
    let name = |part: &str| format!("{folder}.{layer}.{part}");
    let [out, attention_norm, widen, narrow, norm] = names.map(name);
    let mixed = builder.attention(x, &name(attention), parts, sizes)?;
    let mixed = builder.linear(mixed, &out, [hidden, hidden], Activation::None, Some(x))?;
    let x = builder.layernorm(mixed, &attention_norm, sizes)?;
    let wide = builder.linear(x, &widen, [hidden, inner], sizes.activation, None)?;
    let narrow = builder.linear(wide, &narrow, [inner, hidden], Activation::None, Some(x))?;
    builder.layernorm(narrow, &norm, sizes)
}
