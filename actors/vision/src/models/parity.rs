//! Models of random weights against what onnxruntime makes of them: `tests/make_models.py` writes both. `GOTHAM_TEST_MODELS` names a
//! folder with more of them. `tests/make_mobilenets.py` and `make_quantised.py` make the rest.

use super::folder::read_tensors;
use super::onnx::{Ending, Source, picture_plan, text_plan};
use super::*;
use serde_json::Value;
use shaders::CpuExecutor;
use std::path::{Path, PathBuf};

const COSINE_MIN: f64 = 0.9999;
/// Where the reference rounds what it computes to 8 bits.
const QUANTISED_COSINE_MIN: f64 = 0.99;
const TOKENS_MAX: usize = 24;

fn folders() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models");
    let roots = std::env::var_os("GOTHAM_TEST_MODELS").map(PathBuf::from).into_iter().chain([committed]);
    let mut folders: Vec<PathBuf> = roots
        .flat_map(|root| std::fs::read_dir(&root).into_iter().flatten())
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("expected.json").is_file())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "the test models are committed");
    folders
}

pub(super) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

pub(super) fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// The pictures of `make_models.py`.
pub(super) fn pictures(side: usize, count: usize) -> Vec<u8> {
    let byte = |picture: u64, at: u64| ((at.wrapping_mul(2_654_435_761).wrapping_add(12_345 + picture) & 0xffff_ffff) >> 24) as u8;
    (0..count as u64).flat_map(|picture| (0..(side * side * 3) as u64).map(move |at| byte(picture, at))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    assert!(cosine.is_finite(), "a vector of zeros or worse");
    cosine
}

fn contract(folder: &Path) -> Result<towers::Contract, ModelError> {
    let open_clip = folder.join("open_clip_config.json");
    if open_clip.is_file() {
        return Ok(towers::Contract::from_open_clip(&json(&open_clip)));
    }
    towers::Contract::from_config(&json(&folder.join("config.json")))
}

fn config_of(folder: &Path) -> Option<Value> {
    let path = folder.join("config.json");
    path.is_file().then(|| json(&path))
}

/// The vectors that a case's file gives for its inputs.
fn run(folder: &Path, case: &Value) -> Result<Vec<Vec<f32>>, ModelError> {
    let name = case["file"].as_str().expect("a file");
    let file = WeightFile::open(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let processor = folder.join("preprocessor_config.json");
    let processed = || preprocessor::from_processor(&json(&processor));
    let config = folder.join("config.json");
    let is_native = !name.ends_with(".onnx");
    let executor = CpuExecutor::new(1);
    let (plan, width);
    if let Some(side) = case["side"].as_u64() {
        let (preprocessing, normalisation) = processed()?;
        assert_eq!(preprocessing.side as u64, side);
        let lite = if is_native { Some(read_tensors(name, &file)?) } else { None }
            .filter(|tensors| efficientnet_lite::recognise(tensors).is_some());
        let mobile = if is_native { Some(read_tensors(name, &file)?) } else { None };
        let mobile = mobile.and_then(|tensors| Some((mobilenet::recognise(&tensors, config_of(folder).as_ref())?, tensors)));
        plan = if let Some((member, tensors)) = mobile {
            mobilenet::plan(&member, tensors, side as usize, normalisation)?
        } else if let Some(tensors) = lite {
            let member = efficientnet_lite::recognise(&tensors).expect("recognised");
            assert_eq!(member.preprocessing().side as u64, side);
            efficientnet_lite::plan(member, member.preprocessing().side, tensors)?
        } else if is_native {
            let contract = contract(folder)?;
            towers::picture_plan(&contract, towers::named_as_usual(read_tensors(name, &file)?), side as usize, normalisation)?.0
        } else {
            let ending = Ending { pooling: Pooling::First, normalizes: false, prefers_pooled: true };
            picture_plan(&Source { name, bytes: file.bytes(), external: &|_| None }, side as usize, normalisation, ending)?
        };
        width = output_width(&plan);
        let count = case["vectors"].as_array().expect("a list").len();
        let vectors = executor.prepare(plan)?.run(Input::Pixels(&pictures(side as usize, count)))?.swap_remove(0);
        return Ok(vectors.chunks_exact(width).map(<[f32]>::to_vec).collect());
    }
    plan = if is_native && processor.is_file() {
        towers::text_plan(&contract(folder)?, towers::named_as_usual(read_tensors(name, &file)?))?.0
    } else if is_native {
        let architecture = bert::Architecture::from_config(&json(&config), Pooling::Mean)?;
        bert::plan(&architecture, tensors::from_safetensors(&file)?, TOKENS_MAX)?.0
    } else {
        let ending = Ending { pooling: Pooling::Mean, normalizes: true, prefers_pooled: processor.is_file() };
        let limit = json(&config)["text_config"]["max_position_embeddings"].as_u64().map_or(TOKENS_MAX, |limit| limit as usize);
        text_plan(&Source { name, bytes: file.bytes(), external: &|_| None }, limit, ending)?.0
    };
    width = output_width(&plan);
    let tokens: Vec<Vec<u32>> = serde_json::from_value(case["tokens"].clone()).expect("tokens");
    let vectors = executor.prepare(plan)?.run(Input::Tokens(&tokens.iter().map(Vec::as_slice).collect::<Vec<_>>()))?.swap_remove(0);
    Ok(vectors.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

#[test]
fn random_models_give_the_reference_vectors() {
    let mut wrong = Vec::new();
    for folder in folders() {
        let cases = json(&folder.join("expected.json"));
        for case in cases.as_array().expect("a list") {
            let name =
                format!("{}/{}", folder.file_name().unwrap_or_default().to_string_lossy(), case["file"].as_str().unwrap_or_default());
            match run(&folder, case) {
                Err(error) => wrong.push(format!("{name}: {error}")),
                Ok(vectors) => {
                    let wanted: Vec<Vec<f32>> = case["vectors"].as_array().expect("a list").iter().map(floats).collect();
                    let worst = vectors.iter().zip(&wanted).map(|(got, want)| cosine(got, want)).fold(1.0, f64::min);
                    let quantised = case["quantised"].as_array().into_iter().flatten().map(floats);
                    let noisy = vectors.iter().zip(quantised).map(|(got, want)| cosine(got, &want)).fold(1.0, f64::min);
                    eprintln!("{name}: worst cosine 1 - {:.1e}", 1.0 - worst);
                    if vectors.len() != wanted.len() || worst < COSINE_MIN || noisy < QUANTISED_COSINE_MIN {
                        wrong.push(format!("{name}: {} vectors, worst cosine {worst}, {noisy} with the quantised graph", vectors.len()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pillow's pixels, which the models were trained with, for each filter and each way to a square.
#[test]
fn pictures_are_prepared_as_pillow_does() {
    let cases = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join("pictures.json"));
    for case in cases.as_array().expect("a list") {
        let [width, height] = ["width", "height"].map(|name| case[name].as_u64().expect("a number"));
        // Enlarged: one rounding more on the way, under weights of either sign.
        let is_soft = case["soft"].as_bool().expect("a flag");
        let noise = |at: u64| ((at.wrapping_mul(2_654_435_761).wrapping_add(12_345) & 0xffff_ffff) >> 24) as u8;
        let byte = |at: u64| if is_soft { noise(at) / 4 + 96 } else { noise(at) };
        let picture = image::RgbImage::from_raw(width as u32, height as u32, (0..width * height * 3).map(byte).collect()).expect("fits");
        let (preprocessing, _) = preprocessor::from_processor(&case["processor"]).expect("sound");
        let got = crate::logic::picture::prepare(&picture, &preprocessing).expect("prepared").0;
        let hex = case["pixels"].as_str().expect("hexadecimal");
        let want = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("a byte"));
        let worst = got.iter().zip(want).map(|(got, want)| got.abs_diff(want)).max();
        assert!(
            got.len() * 2 == hex.len() && worst <= Some(if is_soft { 2 } else { 1 }),
            "{width} x {height}, {}: {worst:?}",
            preprocessing.describe()
        );
    }
}
