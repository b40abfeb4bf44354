//! The default models on a software graphics device, in both precisions, against the shared reference: a handful of inputs,
//! since such a device is slow.

use super::*;
use shaders::gpu::{AdapterChoice, Budget, GpuError, GpuExecutor, GpuOptions, Precision};

/// Least cosine, and greatest differences of features and of text vectors.
const TOLERANCES: [(Precision, f64, f32, f32); 2] = [(Precision::F32, 0.999_99, 1e-3, 1e-4), (Precision::F16, 0.9998, 0.1, 5e-3)];
const PICTURES: usize = 2;
const TITLES: usize = 3;

/// An executor of the software driver; `None`, said aloud, where there is none and the environment does not demand it.
fn software(precision: Precision) -> Option<GpuExecutor> {
    let budget = Budget { pictures_max: PICTURES, ..Budget::default() };
    let options = GpuOptions {
        adapter: AdapterChoice::Software,
        precision: Some(precision),
        measure_seconds_max: 0.0,
        budget,
        ..GpuOptions::default()
    };
    match GpuExecutor::open(options) {
        Ok(executor) => Some(executor),
        Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("SKIPPED: no software Vulkan driver");
            None
        }
        Err(error) => panic!("the software driver is needed: {error}"),
    }
}

#[test]
fn features_of_reference_pictures_on_a_graphics_device() {
    let Some((shared, models)) = folders() else { return };
    let weights = mapped(models.join("efficientnet-lite0").join("efficientnet-lite0-57934424.pth"));
    let reference = json(shared.join("image_reference.json"));
    let images = &reference["images"].as_array().expect("a list")[..PICTURES];
    let pixels: Vec<u8> = images
        .iter()
        .flat_map(|image| {
            let picture = bytes(shared.join(image["input224"].as_str().expect("a path")));
            image::load_from_memory(&picture).expect("a picture").into_rgb8().into_raw()
        })
        .collect();
    for (precision, cosine, difference, _) in TOLERANCES {
        let Some(executor) = software(precision) else { return };
        let model = load_image_model_on(&executor, &weights).expect("the model loads");
        let features = model.embed(&pixels, PICTURES).expect("embeds");
        let mut worst = Worst::new();
        for (got, image) in features.chunks_exact(1280).zip(images) {
            worst.compare(got, &floats(&image["features"]));
        }
        assert_eq!(features.len(), PICTURES * 1280);
        worst.assert(&format!("pictures, {}", precision.name()), cosine, difference);
    }
}

#[test]
fn vectors_of_reference_titles_on_a_graphics_device() {
    let Some((shared, models)) = folders() else { return };
    let folder = models.join("all-minilm-l6-v2");
    let (weights, tokenizer) = (mapped(folder.join("model.safetensors")), bytes(folder.join("tokenizer.json")));
    let reference = json(shared.join("text_reference.json"));
    let texts = &reference["texts"].as_array().expect("a list")[..TITLES];
    let titles: Vec<&str> = texts.iter().map(|text| text["text"].as_str().expect("a text")).collect();
    for (precision, cosine, _, difference) in TOLERANCES {
        let Some(executor) = software(precision) else { return };
        let model = load_text_model_on(&executor, &weights, &tokenizer).expect("the model loads");
        let vectors = model.embed(&titles).expect("embeds");
        let mut worst = Worst::new();
        for (got, text) in vectors.chunks_exact(384).zip(texts) {
            worst.compare(got, &floats(&text["embedding"]));
        }
        assert_eq!(vectors.len(), TITLES * 384);
        worst.assert(&format!("titles, {}", precision.name()), cosine, difference);
    }
}
