//! Users' ONNX files as plans: read within bounds, what is known computed in advance, the rest matched to fused kernels.
//!
//! An operator or a use of one that no kernel can do is an error that names it; nothing is approximated.

mod attention;
mod constant;
mod convolution;
mod curve;
mod emit;
mod file;
mod fold;
mod operators;
mod quantised;
mod shapes;
mod translate;
mod value;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use super::{ModelError, Pooling};
use constant::Constant;
use file::{File, Input};
use shaders::plan::Step;
use shaders::{Normalisation, Plan, Position, Shape};
use std::ops::Range;
use translate::{Feed, Translator};
use value::Value;

/// Numbers that a graph may compute in advance, beside its own weights some times over.
const ADVANCE_MAX: usize = 1 << 26;
/// A second, short length at which a text model must give the same plan: what depends on the length shows.
const SHORT: usize = 5;

/// The files of one model.
pub(super) struct Source<'a> {
    /// For messages.
    pub(super) name: &'a str,
    /// The graph.
    pub(super) bytes: &'a [u8],
    /// The bytes of a file beside it.
    pub(super) external: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// What follows the graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// How positions become one vector where the graph does not do it.
    pub(super) pooling: Pooling,
    /// Whether the vector is brought to length 1.
    pub(super) normalizes: bool,
    /// Whether the model's own pooled output goes before its states: so for towers of pictures and words, not for encoders
    /// whose pooled output was trained for something else.
    pub(super) prefers_pooled: bool,
}

/// Names of what a detector gives.
const HEADS: [&str; 2] = ["logits", "pred_boxes"];

/// What a detector's plan gives: its first output the classes' logits, its second the boxes, both `[positions, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    /// Positions of each output that stand for objects.
    pub(super) rows: [Range<usize>; 2],
    /// Numbers of a position: of the first one a logit for each class and one, the last, for none.
    pub(super) channels: [usize; 2],
}

/// Whether a graph gives boxes.
pub(super) fn is_detector(source: &Source<'_>) -> bool {
    read(source).is_ok_and(|file| file.outputs.contains(&HEADS[1]))
}

/// A detector over pictures of `side` x `side`.
pub(super) fn detector_plan(source: &Source<'_>, side: usize, normalisation: Normalisation) -> Result<(Plan, Heads), ModelError> {
    let file = read(source)?;
    if let Some(missing) = HEADS.into_iter().find(|name| !file.outputs.contains(name)) {
        return Err(graph_error(missing, "the graph has no such output".into()));
    }
    let mut translator = of_pictures(source, &file, side, normalisation)?;
    let values = translator.run(&file, HEADS)?;
    let (mut rows, mut channels) = ([0..0, 0..0], [0; 2]);
    for (at, (name, value)) in HEADS.into_iter().zip(values).enumerate() {
        let refused =
            |reason: translate::Reason| ModelError::Graph { operator: "output".to_owned(), node: name.to_owned(), reason: reason.0 };
        let Value::Signal(signal) = value else { return Err(refused("it is nothing that the model computes".into())) };
        channels[at] = signal.base.channels;
        let run = signal.view.run(channels[at]).filter(|_| matches!(signal.view.shape()[..], [1, _, _]));
        rows[at] = run.ok_or_else(|| refused("it is no run of positions".into()))?;
        let tensor = translator.emit(&signal).map_err(refused)?;
        translator.plan.output(tensor)?;
    }
    if rows[0].len() != rows[1].len() || channels[0] < 2 || channels[1] != 4 {
        let reason = format!("{} x {} logits and {} x {} edges are no objects", rows[0].len(), channels[0], rows[1].len(), channels[1]);
        return Err(ModelError::Graph { operator: "output".to_owned(), node: HEADS[1].to_owned(), reason });
    }
    Ok((translator.plan, Heads { rows, channels }))
}

/// A model of pictures of `side` x `side`.
pub(super) fn picture_plan(source: &Source<'_>, side: usize, normalisation: Normalisation, ending: Ending) -> Result<Plan, ModelError> {
    let file = read(source)?;
    let translator = of_pictures(source, &file, side, normalisation)?;
    let names = [
        "image_embeds",
        "image_features",
        "sentence_embedding",
        "embedding",
        "embeddings",
        "features",
        "pooler_output",
        "last_hidden_state",
    ];
    finish(translator, &file, output(&file, &names), ending)
}

/// The walk through a graph over pictures of `side` x `side`.
fn of_pictures<'a>(source: &Source<'a>, file: &File<'a>, side: usize, normalisation: Normalisation) -> Result<Translator<'a>, ModelError> {
    let (plan, pixels) = Plan::new(source.name, Shape::Pixels { height: side, width: side })?;
    let mut translator = Translator::new(plan, pixels, 1, file, source.external, advance(source));
    for input in &file.inputs {
        let is_last = match input.shape[..] {
            [_, Some(3), ..] => false,
            [_, _, _, Some(3)] => true,
            [_, None, _, _] => false,
            _ => continue,
        };
        let sides = if is_last { &input.shape[1..3] } else { &input.shape[2..] };
        if sides.len() != 2 || sides.iter().flatten().any(|given| *given != side) {
            return Err(graph_error(input.name, format!("the graph takes {sides:?}, the preprocessing gives {side} x {side} pixels")));
        }
        let Normalisation { mean, deviation } = normalisation;
        translator.feed(input.name, Feed::Pixels { height: side, width: side, mean, deviation, is_last });
    }
    Ok(translator)
}

/// A model of texts of up to `length` tokens; gives the length that every text must be padded to, where the graph has one.
pub(super) fn text_plan(source: &Source<'_>, length: usize, ending: Ending) -> Result<(Plan, Option<usize>), ModelError> {
    let file = read(source)?;
    let ids =
        file.inputs.iter().find(|input| is_ids(input)).ok_or_else(|| graph_error("input_ids", "the graph has no such input".into()))?;
    if let Some(fixed) = ids.shape.get(1).copied().flatten() {
        let masks = file.inputs.iter().any(|input| input.name.contains("mask"));
        if masks {
            return Err(graph_error(
                ids.name,
                format!("every text must have {fixed} tokens, padded under a mask: export it with a free length"),
            ));
        }
        return Ok((text_plan_of(source, &file, fixed, ending)?, Some(fixed)));
    }
    let short = Outline::of(&text_plan_of(source, &file, SHORT.min(length), ending)?);
    let plan = text_plan_of(source, &file, length, ending)?;
    if length > SHORT && !short.fits(&plan, length) {
        return Err(graph_error(ids.name, "the model depends on the length of a text in a way that is not known".into()));
    }
    Ok((plan, None))
}

fn text_plan_of<'a>(source: &Source<'a>, file: &File<'a>, length: usize, ending: Ending) -> Result<Plan, ModelError> {
    let (plan, tokens) = Plan::new(source.name, Shape::Tokens { length_max: length })?;
    let mut translator = Translator::new(plan, tokens, length, file, source.external, advance(source));
    for input in &file.inputs {
        let known = |number: fn(usize) -> i64| Feed::Known(Constant::ints(vec![1, length], (0..length).map(number).collect()));
        match input.name {
            name if name.contains("mask") => translator.feed(name, known(|_| 1)),
            name if name.contains("token_type") => translator.feed(name, known(|_| 0)),
            name if name.contains("position") => translator.feed(name, known(|place| place as i64)),
            name if is_ids(input) => translator.feed(name, Feed::Tokens),
            _ => {}
        }
    }
    let names = ["text_embeds", "text_features", "sentence_embedding", "embedding", "embeddings"];
    let states = ["last_hidden_state", "token_embeddings", "pooler_output"];
    let ends = if ending.prefers_pooled { ["pooler_output", states[0], states[1]] } else { states };
    finish(translator, file, output(file, &[&names[..], &ends[..]].concat()), ending)
}

fn is_ids(input: &Input<'_>) -> bool {
    matches!(input.name, "input_ids" | "tokens" | "text" | "ids") && input.shape.len() == 2
}

fn read<'a>(source: &Source<'a>) -> Result<File<'a>, ModelError> {
    File::read(source.bytes).map_err(|reason| ModelError::Format { format: "ONNX", reason: reason.to_owned() })
}

fn advance(source: &Source<'_>) -> usize {
    ADVANCE_MAX.saturating_add(source.bytes.len().saturating_mul(2))
}

fn graph_error(node: &str, reason: String) -> ModelError {
    ModelError::Graph { operator: "input".to_owned(), node: node.to_owned(), reason }
}

/// The first of `names` that the graph gives, or what it gives first.
fn output<'a>(file: &File<'a>, names: &[&str]) -> &'a str {
    let named = names.iter().find_map(|name| file.outputs.iter().find(|output| *output == name));
    named.or(file.outputs.first()).copied().unwrap_or_default()
}

fn finish<'a>(mut translator: Translator<'a>, file: &File<'a>, output: &'a str, ending: Ending) -> Result<Plan, ModelError> {
    let [value] = translator.run(file, [output])?;
    let refused =
        |reason: translate::Reason| ModelError::Graph { operator: "output".to_owned(), node: output.to_owned(), reason: reason.0 };
    let Value::Signal(signal) = value else { return Err(refused("it is nothing that the model computes".into())) };
    let signal = translator.whole(&signal).map_err(refused)?;
    let mut tensor = translator.emit(&signal).map_err(refused)?;
    let mut plan = translator.plan;
    if !matches!(plan.tensors()[tensor.index()], Shape::Vector { .. }) {
        tensor = match ending.pooling {
            Pooling::Mean => plan.mean(tensor)?,
            Pooling::First => plan.take(tensor, Position::First)?,
            Pooling::Last => plan.take(tensor, Position::Last)?,
        };
    }
    if ending.normalizes {
        tensor = plan.normalize(tensor)?;
    }
    plan.output(tensor)?;
    Ok(plan)
}

/// What is left of a plan to compare another length's with.
struct Outline {
    tensors: Vec<Shape>,
    steps: Vec<Step>,
    outputs: Vec<shaders::TensorId>,
    constants: Vec<(Vec<usize>, blake3::Hash)>,
}

impl Outline {
    fn of(plan: &Plan) -> Outline {
        let constants = plan.constants().iter().map(|constant| (constant.shape.clone(), hash(&constant.data.numbers())));
        Outline {
            tensors: plan.tensors()[1..].to_vec(),
            steps: plan.steps().to_vec(),
            outputs: plan.outputs().to_vec(),
            constants: constants.collect(),
        }
    }

    /// Whether `plan` is the same, but for tables of places that go on further.
    fn fits(&self, plan: &Plan, length: usize) -> bool {
        let same = |(short, long): (&(Vec<usize>, blake3::Hash), &shaders::plan::Constant)| {
            let begins = match (&short.0[..], &long.shape[..]) {
                ([rows, columns], [all, wanted]) if *all == length && rows < all && columns == wanted => {
                    hash(&long.data.numbers()[..rows * columns]) == short.1
                }
                _ => false,
            };
            begins || (short.0 == long.shape && short.1 == hash(&long.data.numbers()))
        };
        self.tensors == plan.tensors()[1..]
            && self.steps == plan.steps()
            && self.outputs == plan.outputs()
            && self.constants.len() == plan.constants().len()
            && self.constants.iter().zip(plan.constants()).all(same)
    }
}

fn hash(numbers: &[f32]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for numbers in numbers.chunks(1 << 14) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize()
}
