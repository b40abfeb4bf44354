//! The default models against the shared reference: features of pictures, ids and vectors of texts.
//!
//! Model files are looked for in the folder that `GOTHAM_MODELS` names, by default `target/models`.

mod gpu;

use super::*;
use serde_json::Value;
use shaders::{CpuExecutor, Isa};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..")
}

/// The shared reference and the models' folder; says so when either is absent.
fn folders() -> Option<(PathBuf, PathBuf)> {
    let shared = std::env::var_os("GOTHAM_SHARED").map_or_else(|| root().join("..").join("shared"), PathBuf::from).join("reference");
    let models = std::env::var_os("GOTHAM_MODELS").map_or_else(|| root().join("target").join("models"), PathBuf::from);
    if !shared.is_dir() {
        eprintln!("SKIPPED: no shared data");
        return None;
    }
    if !models.is_dir() {
        eprintln!("SKIPPED: no models in {}", models.display());
        return None;
    }
    Some((shared, models))
}

fn bytes(path: PathBuf) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn mapped(path: PathBuf) -> WeightFile {
    WeightFile::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&bytes(path)).expect("the reference is JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// Worst cosine and greatest difference seen.
struct Worst {
    cosine: f64,
    difference: f32,
}

impl Worst {
    fn new() -> Worst {
        Worst { cosine: 1.0, difference: 0.0 }
    }

    fn compare(&mut self, got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let cosine = dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
        assert!(cosine.is_finite());
        self.cosine = self.cosine.min(cosine);
        self.difference = got.iter().zip(want).map(|(x, y)| (x - y).abs()).fold(self.difference, f32::max);
    }

    fn assert(&self, what: &str, cosine: f64, difference: f32) {
        eprintln!("{what}: worst cosine 1 - {:.1e}, greatest difference {:.1e}", 1.0 - self.cosine, self.difference);
        assert!(self.cosine >= cosine && self.difference <= difference, "{what}: {} {}", self.cosine, self.difference);
    }
}

/// Fewer for the scalar reference: it is slow.
fn items(isa: Isa, all: usize) -> usize {
    if isa == Isa::SCALAR { 1 } else { all }
}

#[test]
fn features_of_the_reference_pictures() {
    let Some((shared, models)) = folders() else { return };
    let weights = mapped(models.join("efficientnet-lite0").join("efficientnet-lite0-57934424.pth"));
    let reference = json(shared.join("image_reference.json"));
    let images = reference["images"].as_array().expect("a list");
    assert_eq!(images.len(), 12);
    let pixels: Vec<Vec<u8>> = images
        .iter()
        .map(|image| {
            let picture = bytes(shared.join(image["input224"].as_str().expect("a path")));
            image::load_from_memory(&picture).expect("a picture").into_rgb8().into_raw()
        })
        .collect();
    for isa in Isa::available() {
        let model = load_image_model_on(&CpuExecutor::with_isa(isa, 2), &weights).expect("the model loads");
        assert_eq!((model.dimensions(), model.input_side()), (1280, 224));
        let count = items(isa, images.len());
        let features = model.embed(&pixels[..count].concat(), count).expect("embeds");
        let mut worst = Worst::new();
        for (got, image) in features.chunks_exact(1280).zip(images) {
            worst.compare(got, &floats(&image["features"]));
        }
        assert_eq!(features.len(), count * 1280);
        worst.assert(&format!("pictures, {}", isa.name()), 0.999_99, 1e-3);
    }
}

#[test]
fn ids_and_vectors_of_the_reference_texts() {
    let Some((shared, models)) = folders() else { return };
    let folder = models.join("all-minilm-l6-v2");
    let (weights, tokenizer) = (mapped(folder.join("model.safetensors")), bytes(folder.join("tokenizer.json")));
    let reference = json(shared.join("text_reference.json"));
    let texts = reference["texts"].as_array().expect("a list");
    assert_eq!(texts.len(), 20);
    let titles: Vec<&str> = texts.iter().map(|text| text["text"].as_str().expect("a text")).collect();
    let ids: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| text["token_ids"].as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect())
        .collect();
    let slices: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    for isa in Isa::available() {
        let model = load_text_model_on(&CpuExecutor::with_isa(isa, 2), &weights, &tokenizer).expect("the model loads");
        assert_eq!((model.dimensions(), model.length_max()), (384, 256));
        for (title, ids) in titles.iter().zip(&ids) {
            assert_eq!(model.tokenize(title).expect("tokenizes"), *ids, "{title}");
        }
        let count = items(isa, texts.len());
        let mut worst = Worst::new();
        let together = model.embed_tokens(&slices[..count]).expect("embeds");
        for (got, text) in together.chunks_exact(384).zip(texts) {
            worst.compare(got, &floats(&text["embedding"]));
        }
        for (title, text) in titles[..count].iter().zip(texts) {
            worst.compare(&model.embed(&[title]).expect("embeds"), &floats(&text["embedding"]));
        }
        worst.assert(&format!("texts, {}", isa.name()), 0.999_99, 1e-4);
    }
}

#[test]
fn inputs_at_the_edge() {
    let Some((_, models)) = folders() else { return };
    let folder = models.join("all-minilm-l6-v2");
    let model = load_text_model_on(&CpuExecutor::new(1), &mapped(folder.join("model.safetensors")), &bytes(folder.join("tokenizer.json")))
        .expect("the model loads");
    assert_eq!(model.tokenize("").expect("tokenizes"), [101, 102]);
    assert_eq!(model.tokenize(&"wörd ".repeat(100_000)).expect("tokenizes").len(), 256);
    assert!(model.embed::<&str>(&[]).expect("embeds").is_empty());
    let length: f32 = model.embed(&["", "a"]).expect("embeds").iter().map(|x| x * x).sum();
    assert!((length - 2.0).abs() < 1e-5, "two vectors of length one");
    assert!(matches!(model.embed_tokens(&[&[30_522]]), Err(ModelError::Run(RunError::Token { token: 30_522, .. }))));

    let weights = mapped(models.join("efficientnet-lite0").join("efficientnet-lite0-57934424.pth"));
    let model = load_image_model_on(&CpuExecutor::new(1), &weights).expect("the model loads");
    assert!(matches!(model.embed(&[0; 100], 1), Err(ModelError::Run(RunError::Pixels { .. }))));
    assert!(model.embed(&[], 0).expect("embeds").is_empty());
    assert!(matches!(
        load_image_model_on(&CpuExecutor::new(1), &weights.bytes()[..weights.bytes().len() - 1].to_vec().into()),
        Err(ModelError::Format { .. })
    ));
    assert!(matches!(load_text_model_on(&CpuExecutor::new(1), &weights, b"{}"), Err(ModelError::Format { format: "tokenizer.json", .. })));
}

#[test]
fn features_for_comparing_are_roots_and_their_pictures_may_be_larger() {
    let Some((_, models)) = folders() else { return };
    let weights = mapped(models.join("efficientnet-lite0").join("efficientnet-lite0-57934424.pth"));
    let executor = CpuExecutor::new(2);
    let embed = |retrieval: Option<Retrieval>| {
        let model = load_image_model_for(&executor, &weights, retrieval).expect("the model loads");
        let side = model.input_side();
        let pixels: Vec<u8> = (0..side * side).flat_map(|at| [(at % side) as u8, (at / side) as u8, at as u8]).collect();
        (side, model.embed(&pixels, 1).expect("embeds"))
    };
    let (side, published) = embed(None);
    let (same_side, rooted) = embed(Some(Retrieval { side, rooted: true }));
    assert_eq!((side, same_side), (224, 224));
    assert!(published.iter().zip(&rooted).all(|(feature, root)| (root * root - feature).abs() <= 1e-5 * feature.max(1.0)));
    let (side, larger) = embed(Some(Retrieval { side: 288, rooted: true }));
    assert_eq!((side, larger.len()), (288, 1280));
}

#[test]
fn models_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ImageModel>();
    shared::<TextModel>();
}
