//! A pair of towers, if of random weights, from a folder as a user brings it to tags by words.

use std::collections::BTreeMap;
use std::path::Path;

use attributes::{Look, Source, TagSettings, Vocabulary, ZeroShot, tag};
use image::{Rgb, RgbImage};
use protocol::vision::{EMBED_BATCH_MAX, Space};
use serde_json::json;

use crate::logic::picture;
use crate::{Input, InstalledModels, ModelSource as _, embedder, packages};

/// A tokenizer that knows letters.
fn tokenizer() -> serde_json::Value {
    let letters = ('a'..='z').chain("-?".chars()).enumerate().map(|(at, letter)| (letter.to_string(), at + 6));
    let vocabulary: BTreeMap<String, usize> = letters.chain([("?".to_owned(), 3)]).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [],
        },
    })
}

#[test]
fn a_pair_of_towers_suggests_tags_by_words() {
    let (brought, models) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join("clip");
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        std::fs::copy(committed.join(file), brought.path().join(file)).expect("copied");
    }
    std::fs::write(brought.path().join("tokenizer.json"), tokenizer().to_string()).expect("written");
    let package = packages::add(brought.path(), "pair", models.path(), |_| {}).expect("added");
    assert!(package.reads_texts() && package.space == Some(Space::Image));
    let installed = InstalledModels::new(models.path()).choosing("pair", "");
    let info = installed.installed(Space::Image).expect("installed");
    let model = installed.load(&info).expect("loaded");

    let vocabulary = Vocabulary::compiled_in();
    let prompts = ZeroShot::prompts(&vocabulary);
    let vectors: Vec<Vec<f32>> = prompts
        .chunks(EMBED_BATCH_MAX)
        .flat_map(|batch| {
            let inputs: Vec<Input> = batch.iter().map(|prompt| Input::Text(prompt.text.clone())).collect();
            embedder::embed(model.as_ref(), &inputs).expect("embedded").into_iter().map(|vector| vector.to_vec())
        })
        .collect();
    let zero_shot = ZeroShot::new(&prompts, &vectors).expect("directions");
    assert_eq!(zero_shot.dimensions(), info.dimensions);
    let photo = RgbImage::from_fn(90, 60, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, 120]));
    let pixels = picture::prepare(&photo, &model.preprocessing()).expect("prepared");
    let vector = embedder::embed(model.as_ref(), &[Input::Picture(pixels)]).expect("embedded").remove(0);
    let look = Look { embedding: &vector, zero_shot: Some((&zero_shot, &vector)), ..Look::default() };
    let tags = tag(&vocabulary, None, &look, &TagSettings::default());
    assert!(!tags.is_empty() && tags.iter().all(|tag| tag.source == Source::ZeroShot && !tag.is_fact), "{tags:?}");
    let attributes = vocabulary.attributes().iter().filter(|attribute| tags.iter().any(|tag| tag.attribute == attribute.name)).count();
    assert!(attributes > vocabulary.attributes().len() / 2, "{attributes} attributes");
}
