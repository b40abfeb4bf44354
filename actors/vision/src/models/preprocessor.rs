//! `preprocessor_config.json` as Hugging Face's image processors write it, and the same facts in timm's and OpenCLIP's configurations.

use super::ModelError;
use crate::logic::preprocessing::{Filter, Framing, Preprocessing};
use serde_json::Value;
use shaders::Normalisation;

/// Greatest side of an input, in pixels.
const SIDE_MAX: u64 = 1024;
/// The colours' means and deviations that CLIP was trained with, in shares of 1.
const CLIP: ([f64; 3], [f64; 3]) = ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]);

/// Reads `preprocessor_config.json`.
///
/// # Errors
/// When it asks for something that is not done here, or does not lead to a square.
pub(super) fn from_processor(json: &Value) -> Result<(Preprocessing, Normalisation), ModelError> {
    let is = |name: &str, other: bool| json[name].as_bool().unwrap_or(other);
    let side_of = |size: &Value| size.as_u64().or_else(|| size["height"].as_u64().filter(|height| size["width"].as_u64() == Some(*height)));
    let size = &json["size"];
    let (shorter, square) = (size["shortest_edge"].as_u64(), side_of(size));
    let kind = json["image_processor_type"].as_str().or_else(|| json["feature_extractor_type"].as_str()).unwrap_or_default();
    let crops = is("do_center_crop", kind.starts_with("CLIP"));
    let (side, framing) = match (shorter, square, json["crop_pct"].as_f64()) {
        (Some(shorter), _, Some(share)) if (0.1..=1.0).contains(&share) => {
            (shorter, Framing::ScaleThenCrop { shorter: (shorter as f64 / share) as usize })
        }
        (Some(shorter), _, _) if crops => {
            (side_of(&json["crop_size"]).unwrap_or(shorter), Framing::ScaleThenCrop { shorter: usize_of(shorter)? })
        }
        (Some(_), _, _) => return Err(refused("size.shortest_edge without a crop leads to no square".into())),
        (None, Some(square), _) if crops && (json["size"].is_u64() || side_of(&json["crop_size"]).is_some_and(|crop| crop != square)) => {
            let crop = side_of(&json["crop_size"]).unwrap_or(square);
            // A number alone meant the shorter side.
            if !json["size"].is_u64() {
                return Err(refused("a square that is cropped again is not done here".into()));
            }
            (crop, Framing::ScaleThenCrop { shorter: usize_of(square)? })
        }
        (None, Some(square), _) => (square, Framing::Squash),
        (None, None, _) => return Err(refused("it names no size, or one that is no square".into())),
    };
    if !is("do_resize", true) {
        return Err(refused("pictures that are not resized".into()));
    }
    let filter = match json["resample"].as_u64() {
        Some(1) => Filter::Lanczos,
        Some(2) => Filter::Bilinear,
        Some(3) => Filter::Bicubic,
        Some(code) => return Err(refused(format!("resample {code} is not known"))),
        None if kind.starts_with("CLIP") || kind.starts_with("Siglip") => Filter::Bicubic,
        None => Filter::Bilinear,
    };
    let scale = if is("do_rescale", true) { json["rescale_factor"].as_f64().unwrap_or(1.0 / 255.0) } else { 1.0 };
    let offset = if json["rescale_offset"].as_bool() == Some(true) { 1.0 } else { 0.0 };
    let (mean, deviation) =
        if is("do_normalize", true) { (colours(&json["image_mean"])?, colours(&json["image_std"])?) } else { ([0.0; 3], [1.0; 3]) };
    finish(side, framing, filter, mean.map(|mean| (mean + offset) / scale), deviation.map(|deviation| deviation / scale))
}

/// Reads a detector's `preprocessor_config.json`. One that keeps a picture's shape and names its shorter side gets a square of that side,
/// into which pictures are padded; one that names a square has them squashed, as it was trained.
///
/// # Errors
/// As [`from_processor`].
pub(super) fn from_detector(json: &Value) -> Result<(Preprocessing, Normalisation), ModelError> {
    let size = &json["size"];
    let shorter = size["shortest_edge"].as_u64().or_else(|| size.as_u64().filter(|_| json["max_size"].is_u64()));
    let Some(side) = shorter else { return from_processor(json) };
    let mut square = json.clone();
    square["size"] = serde_json::json!({"height": side, "width": side});
    let (preprocessing, normalisation) = from_processor(&square)?;
    Ok((Preprocessing { framing: Framing::Pad, ..preprocessing }, normalisation))
}

/// Reads timm's `pretrained_cfg`.
pub(super) fn from_timm(config: &Value) -> Result<(Preprocessing, Normalisation), ModelError> {
    let side = config["input_size"][1].as_u64().filter(|side| config["input_size"][2].as_u64() == Some(*side));
    let side = side.ok_or_else(|| refused("pretrained_cfg names no square".into()))?;
    let share = config["crop_pct"].as_f64().filter(|share| (0.1..=1.0).contains(share)).unwrap_or(0.875);
    let framing = match config["crop_mode"].as_str() {
        None | Some("center") => Framing::ScaleThenCrop { shorter: (side as f64 / share) as usize },
        Some("squash") if share == 1.0 => Framing::Squash,
        Some(mode) => return Err(refused(format!("crop_mode {mode:?} is not known"))),
    };
    let filter = match config["interpolation"].as_str() {
        Some("bicubic") => Filter::Bicubic,
        Some("bilinear") | None => Filter::Bilinear,
        Some("lanczos") => Filter::Lanczos,
        Some(name) => return Err(refused(format!("interpolation {name:?} is not known"))),
    };
    finish(
        side,
        framing,
        filter,
        colours(&config["mean"])?.map(|mean| mean * 255.0),
        colours(&config["std"])?.map(|deviation| deviation * 255.0),
    )
}

/// OpenCLIP's `open_clip_config.json`, or CLIP's own where it names nothing.
pub(super) fn from_open_clip(config: &Value, side: usize) -> Result<(Preprocessing, Normalisation), ModelError> {
    let given = &config["preprocess_cfg"];
    let list = |name: &str, other: [f64; 3]| if given[name].is_null() { Ok(other) } else { colours(&given[name]) };
    let (mean, deviation) = (list("mean", CLIP.0)?, list("std", CLIP.1)?);
    let framing = match given["resize_mode"].as_str() {
        None | Some("shortest") => Framing::ScaleThenCrop { shorter: side },
        Some("squash") => Framing::Squash,
        Some(mode) => return Err(refused(format!("resize_mode {mode:?} is not known"))),
    };
    let filter = if given["interpolation"].as_str() == Some("bilinear") { Filter::Bilinear } else { Filter::Bicubic };
    finish(side as u64, framing, filter, mean.map(|mean| mean * 255.0), deviation.map(|deviation| deviation * 255.0))
}

/// The colours that models of ImageNet were trained with.
pub(super) fn imagenet() -> Normalisation {
    let of = |shares: [f64; 3]| shares.map(|share| (share * 255.0) as f32);
    Normalisation { mean: of([0.485, 0.456, 0.406]), deviation: of([0.229, 0.224, 0.225]) }
}

fn finish(
    side: u64,
    framing: Framing,
    filter: Filter,
    mean: [f64; 3],
    deviation: [f64; 3],
) -> Result<(Preprocessing, Normalisation), ModelError> {
    let is_within = (1..=SIDE_MAX).contains(&side);
    let covers = !matches!(framing, Framing::ScaleThenCrop { shorter } if (shorter as u64) < side || shorter as u64 > 4 * SIDE_MAX);
    if !is_within || !covers {
        return Err(refused(format!("a crop of {side} pixels under {framing:?}")));
    }
    let is_sound = mean.iter().all(|mean| mean.is_finite()) && deviation.iter().all(|deviation| (*deviation as f32).is_normal());
    if !is_sound {
        return Err(refused("the colours' means and deviations make no sense".into()));
    }
    let normalisation = Normalisation { mean: mean.map(|mean| mean as f32), deviation: deviation.map(|deviation| deviation as f32) };
    Ok((Preprocessing { side: usize_of(side)?, framing, filter }, normalisation))
}

fn usize_of(number: u64) -> Result<usize, ModelError> {
    usize::try_from(number).map_err(|_| refused(format!("{number} is too large")))
}

/// One number for each colour, or one for all.
fn colours(list: &Value) -> Result<[f64; 3], ModelError> {
    if let Some(number) = list.as_f64() {
        return Ok([number; 3]);
    }
    let numbers = [0, 1, 2].map(|colour| list[colour].as_f64());
    match numbers {
        [Some(red), Some(green), Some(blue)] => Ok([red, green, blue]),
        _ => Err(refused("it names no mean or deviation for each colour".into())),
    }
}

fn refused(reason: String) -> ModelError {
    ModelError::File { name: "preprocessor_config.json".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn processors_by_table() {
        let mean = json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]});
        let cases = [
            (
                json!({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}),
                "shorter-side-224/catmull-rom/224",
            ),
            (
                json!({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3, "do_center_crop": true}),
                "shorter-side-224/catmull-rom/224",
            ),
            (
                json!({"image_processor_type": "SiglipImageProcessor", "size": {"height": 384, "width": 384}, "resample": 3}),
                "squash/catmull-rom/384",
            ),
            (
                json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2}),
                "squash/bilinear/224",
            ),
            (
                json!({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": {"height": 224, "width": 224}, "resample": 3}),
                "shorter-side-256/catmull-rom/224",
            ),
            (
                json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 1}),
                "shorter-side-256/lanczos/224",
            ),
        ];
        for (mut config, want) in cases {
            config.as_object_mut().expect("an object").extend(mean.as_object().expect("an object").clone());
            let (preprocessing, normalisation) = from_processor(&config).unwrap_or_else(|error| panic!("{config}: {error}"));
            assert_eq!(preprocessing.describe(), want);
            assert_eq!(normalisation, Normalisation { mean: [127.5; 3], deviation: [127.5; 3] });
        }
    }

    #[test]
    fn detectors_by_table() {
        for (size, longest, want) in [
            (json!({"shortest_edge": 512, "longest_edge": 1333}), json!(null), "pad/bilinear/512"),
            (json!(800), json!(1333), "pad/bilinear/800"),
            (json!({"height": 640, "width": 640}), json!(null), "squash/bilinear/640"),
        ] {
            let config = json!({"size": size, "max_size": longest, "image_mean": 0.5, "image_std": 0.5});
            assert_eq!(from_detector(&config).map(|found| found.0.describe()).ok().as_deref(), Some(want), "{config}");
        }
        let large = from_detector(&json!({"size": {"shortest_edge": 4000}, "image_mean": 0.5, "image_std": 0.5}));
        assert!(large.is_err_and(|error| error.to_string().contains("4000 pixels")));
    }

    #[test]
    fn what_leads_to_no_square_is_refused() {
        let base = json!({"size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]});
        assert!(from_processor(&base).is_ok());
        for (name, value) in [
            ("size", json!({"shortest_edge": 224})),
            ("size", json!({"height": 224, "width": 112})),
            ("size", json!({"height": 1 << 20, "width": 1 << 20})),
            ("size", json!(null)),
            ("resample", json!(0)),
            ("image_std", json!([0.0, 0.5, 0.5])),
            ("image_mean", json!("grey")),
            ("do_resize", json!(false)),
        ] {
            let mut config = base.clone();
            config[name] = value;
            assert!(from_processor(&config).is_err(), "{config}");
        }
    }

    #[test]
    fn timm_and_open_clip() {
        let timm = json!({"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]});
        let (preprocessing, normalisation) = from_timm(&timm).expect("sound");
        assert_eq!((preprocessing.describe().as_str(), normalisation.deviation), ("shorter-side-256/catmull-rom/224", [255.0; 3]));
        let (preprocessing, _) = from_open_clip(&json!({}), 224).expect("sound");
        assert_eq!(preprocessing.describe(), "shorter-side-224/catmull-rom/224");
    }
}
