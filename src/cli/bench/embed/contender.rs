//! The two sides of the comparison: the house's own engine and onnxruntime, given the same batches.

use std::path::Path;

use shaders::Executor;
use vision::models::{ImageModel, TextModel, WeightFile, load_image_model_on, load_text_model_on};

use super::Kind;
use super::onnxruntime::{Runtime, Session, Tensor};
use crate::cli::Failure;

/// Titles as shops write them.
const TITLES: [&str; 12] = [
    "Puma Men Grey Racing T-shirt",
    "Women's Floral Print Maxi Dress with Long Sleeves",
    "Leather Chelsea boots, black",
    "Nike Air Zoom Pegasus 39 Running Shoes, size 44",
    "Slim fit jeans in washed blue denim",
    "Kids' waterproof rain jacket with hood, yellow",
    "Fossil Women White Dial Chronograph Watch",
    "Cotton socks",
    "Wool coat, double-breasted, camel",
    "Silver hoop earrings 925 sterling",
    "Vegan shopper bag made of recycled canvas with inner pocket and zip",
    "Striped linen shirt",
];
/// Token ids that stand for one title where no tokenizer is loaded: as long as those above.
const PLAIN_TITLE: [u32; 14] = [101, 16405, 2863, 2273, 4462, 3868, 1056, 1011, 3797, 2007, 2146, 20341, 2015, 102];
/// Sides of a picture where no model says so: the default model's.
const PLAIN_SIDE: usize = 224;

/// What every contender embeds.
pub(super) enum Batch {
    Pictures { pixels: Vec<u8>, count: usize, side: usize },
    Titles(Vec<Vec<u32>>),
}

impl Batch {
    pub(super) fn items(&self) -> usize {
        match self {
            Batch::Pictures { count, .. } => *count,
            Batch::Titles(titles) => titles.len(),
        }
    }
}

/// Pictures of many colours; the same in every run.
fn pictures(count: usize, side: usize) -> Batch {
    let byte = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) as u8 / 2 + (index / 97 % 128) as u8;
    Batch::Pictures { pixels: (0..count * side * side * 3).map(byte).collect(), count, side }
}

/// A batch that needs no model of the house.
pub(super) fn plain_batch(kind: Kind, size: usize) -> Batch {
    match kind {
        Kind::Image => pictures(size, PLAIN_SIDE),
        Kind::Text => Batch::Titles(vec![PLAIN_TITLE.to_vec(); size]),
    }
}

/// What gives the vectors of one batch's items, one after the other.
pub(super) type Run<'a> = Box<dyn FnMut() -> Result<Vec<f32>, Failure> + 'a>;

/// What embeds batches.
pub(super) trait Contender {
    /// Puts the batch into the form that this contender takes, which is no part of what is measured.
    fn prepare<'a>(&'a self, batch: &'a Batch) -> Run<'a>;
}

/// One of the default models on an executor of the house.
pub(super) enum Ours {
    Image(ImageModel),
    Text(Box<TextModel>),
}

impl Ours {
    pub(super) fn load(executor: &dyn Executor, kind: Kind, models: &Path) -> Result<Ours, Failure> {
        let missing = |path: &str| {
            let path = models.join(path);
            move |error: std::io::Error| Failure::new(Failure::MODEL, format!("{}: {error}", path.display()))
        };
        let weights = |path: &str| WeightFile::open(&models.join(path)).map_err(missing(path));
        let model = match kind {
            Kind::Image => load_image_model_on(executor, &weights("efficientnet-lite0/efficientnet-lite0-57934424.pth")?).map(Ours::Image),
            Kind::Text => {
                let weights = weights("all-minilm-l6-v2/model.safetensors")?;
                let path = "all-minilm-l6-v2/tokenizer.json";
                let tokenizer = std::fs::read(models.join(path)).map_err(missing(path))?;
                load_text_model_on(executor, &weights, &tokenizer).map(|model| Ours::Text(Box::new(model)))
            }
        };
        model.map_err(|error| Failure::new(Failure::MODEL, error))
    }

    /// A batch of so many items as this model wants them.
    pub(super) fn batch(&self, size: usize) -> Result<Batch, Failure> {
        match self {
            Ours::Image(model) => Ok(pictures(size, model.input_side())),
            Ours::Text(model) => {
                let titles = TITLES.iter().cycle().take(size).map(|title| model.tokenize(title)).collect::<Result<_, _>>()?;
                Ok(Batch::Titles(titles))
            }
        }
    }
}

impl Contender for Ours {
    fn prepare<'a>(&'a self, batch: &'a Batch) -> Run<'a> {
        match (self, batch) {
            (Ours::Image(model), Batch::Pictures { pixels, count, .. }) => Box::new(move || Ok(model.embed(pixels, *count)?)),
            (Ours::Text(model), Batch::Titles(titles)) => {
                let titles: Vec<&[u32]> = titles.iter().map(Vec::as_slice).collect();
                Box::new(move || Ok(model.embed_tokens(&titles)?))
            }
            _ => Box::new(|| Err(Failure::new(Failure::FAILED, "a batch of the other kind"))),
        }
    }
}

/// The same model under onnxruntime.
pub(super) struct Theirs<'r> {
    session: Session<'r>,
}

impl<'r> Theirs<'r> {
    pub(super) fn load(runtime: &'r Runtime, kind: Kind, model: &Path, threads: usize) -> Result<Theirs<'r>, Failure> {
        let output = if kind == Kind::Image { "features" } else { "sentence_embedding" };
        let session = runtime.session(model, threads, output);
        let session = session.map_err(|error| Failure::new(Failure::USAGE, format!("{}: {error}", model.display())))?;
        Ok(Theirs { session })
    }
}

impl Contender for Theirs<'_> {
    fn prepare<'a>(&'a self, batch: &'a Batch) -> Run<'a> {
        let mut tensors: Vec<Tensor> = match batch {
            Batch::Pictures { pixels, count, side } => vec![planes(pixels, *count, *side)],
            Batch::Titles(titles) => self.session.inputs().map(|name| padded(titles, name)).collect(),
        };
        Box::new(move || self.session.run(&mut tensors).map_err(|error| Failure::new(Failure::FAILED, format!("onnxruntime: {error}"))))
    }
}

/// `(value - 127) / 128`, one plane for each colour, as the default model wants it.
fn planes(pixels: &[u8], count: usize, side: usize) -> Tensor {
    let mut data = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(side * side * 3) {
        for colour in 0..3 {
            data.extend(picture.iter().skip(colour).step_by(3).map(|value| (f32::from(*value) - 127.0) / 128.0));
        }
    }
    let side = side as i64;
    Tensor::Floats(vec![count as i64, 3, side, side], data)
}

/// Titles padded to the longest: ids, or for other inputs what their names say.
fn padded(titles: &[Vec<u32>], name: &str) -> Tensor {
    let length = titles.iter().map(Vec::len).max().unwrap_or(0);
    let mut data = vec![0; titles.len() * length];
    for (title, row) in titles.iter().zip(data.chunks_exact_mut(length.max(1))) {
        for (token, value) in title.iter().zip(row) {
            *value = match name {
                name if name.contains("mask") => 1,
                name if name.contains("type") => 0,
                _ => i64::from(*token),
            };
        }
    }
    Tensor::Integers(vec![titles.len() as i64, length as i64], data)
}

/// The least cosine between vectors of both sides.
pub(super) fn cosine_min(ours: &[f32], theirs: &[f32], items: usize) -> Result<f64, Failure> {
    if ours.len() != theirs.len() || items == 0 || !ours.len().is_multiple_of(items) {
        return Err(Failure::new(Failure::FAILED, format!("{} numbers here, {} from onnxruntime", ours.len(), theirs.len())));
    }
    let width = ours.len() / items;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    Ok(ours.chunks_exact(width).zip(theirs.chunks_exact(width)).map(cosine).fold(1.0, f64::min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_become_planes() {
        let Tensor::Floats(shape, data) = planes(&[127, 255, 0, 127, 255, 0, 127, 255, 0, 127, 255, 0], 1, 2) else { panic!("floats") };
        assert_eq!(shape, [1, 3, 2, 2]);
        assert_eq!(data, [[0.0; 4], [1.0; 4], [-127.0 / 128.0; 4]].concat());
    }

    #[test]
    fn titles_are_padded_and_masked() {
        let titles = [vec![5, 6, 7], vec![8]];
        for (name, want) in [("input_ids", [5, 6, 7, 8, 0, 0]), ("attention_mask", [1, 1, 1, 1, 0, 0]), ("token_type_ids", [0; 6])] {
            let Tensor::Integers(shape, data) = padded(&titles, name) else { panic!("integers") };
            assert_eq!((shape, data), (vec![2, 3], want.to_vec()), "{name}");
        }
    }

    #[test]
    fn the_least_cosine_counts() {
        assert_eq!(cosine_min(&[1.0, 0.0, 0.0, 2.0], &[3.0, 0.0, 4.0, 0.0], 2).ok(), Some(0.0));
        assert!(cosine_min(&[1.0], &[1.0, 2.0], 1).is_err());
    }
}
