//! The whole way from a photo's bytes to its vector, and from a text to its vector, against reference vectors computed elsewhere.

use std::path::{Path, PathBuf};

use protocol::vision::Space;
use serde::Deserialize;

use crate::logic::picture::{self, Pixels};
use crate::logic::preprocessing::{Filter, Preprocessing};
use crate::{Embedder, Input, InstalledModels, ModelSource as _, OneShot};

/// Our own decoder and resizer against the reference's, worst photo.
const PIPELINE_COSINE_MIN: f32 = 0.998;
const TEXT_COSINE_MIN: f32 = 0.99999;

#[derive(Deserialize)]
struct Photos {
    images: Vec<Photo>,
}

#[derive(Deserialize)]
struct Photo {
    photo: String,
    features: Vec<f32>,
}

#[derive(Deserialize)]
struct Texts {
    texts: Vec<Title>,
}

#[derive(Deserialize)]
struct Title {
    text: String,
    embedding: Vec<f32>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..")
}

/// The reference folder and the models, or the reason why the test cannot run.
fn found() -> Option<(PathBuf, PathBuf)> {
    let shared = std::env::var_os("GOTHAM_SHARED").map_or_else(|| root().join("..").join("shared"), PathBuf::from).join("reference");
    let models = std::env::var_os("GOTHAM_MODELS").map_or_else(|| root().join("target").join("models"), PathBuf::from);
    let installed = InstalledModels::new(&models);
    if !shared.is_dir() {
        eprintln!("SKIPPED: no shared data");
        return None;
    }
    if Space::ALL.into_iter().any(|space| installed.installed(space).is_none()) {
        eprintln!("SKIPPED: no models (GOTHAM_MODELS)");
        return None;
    }
    Some((shared, models))
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("the reference file")).expect("its JSON")
}

/// The smallest cosine over all photos, with a way of preparing them.
fn worst(shared: &Path, model: &dyn Embedder, prepare: impl Fn(&image::RgbImage) -> Pixels) -> f32 {
    let photos: Photos = read(&shared.join("image_reference.json"));
    let one = |photo: &Photo| {
        let bytes = std::fs::read(shared.join(&photo.photo)).expect("a photo");
        let picture = picture::decode(&bytes, 1 << 20, 1 << 24).expect("decoded");
        let vectors = model.embed(&[Input::Picture(prepare(&picture))]).expect("embedded");
        cosine(&vectors[0], &photo.features)
    };
    photos.images.iter().map(one).fold(1.0, f32::min)
}

#[test]
fn photos_give_the_reference_vectors_and_the_wrong_filter_does_not() {
    let Some((shared, models)) = found() else { return };
    let models = InstalledModels::new(&models).as_published();
    let model = models.load(&models.installed(Space::Image).expect("found above")).expect("the model loads");
    let right = worst(&shared, model.as_ref(), |picture| picture::prepare(picture, &Preprocessing::LITE0).expect("prepared"));
    assert!(right >= PIPELINE_COSINE_MIN, "worst cosine {right}");
    let bilinear = worst(&shared, model.as_ref(), |picture| {
        picture::prepare(picture, &Preprocessing { filter: Filter::Bilinear, ..Preprocessing::LITE0 }).expect("prepared")
    });
    assert!(bilinear < PIPELINE_COSINE_MIN, "a bilinear resize passes with {bilinear}: the test would not notice a wrong filter");
}

#[test]
fn texts_give_the_reference_vectors() {
    let Some((shared, models)) = found() else { return };
    let texts: Texts = read(&shared.join("text_reference.json"));
    let mut oneshot = OneShot::new(InstalledModels::new(&models));
    for title in &texts.texts {
        let made = oneshot.embed_text(&title.text).expect("embedded");
        assert!(cosine(&made.embedding, &title.embedding) >= TEXT_COSINE_MIN, "{:?}", title.text);
    }
}
