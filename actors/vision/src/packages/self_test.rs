//! Whether a model still makes of a picture and a text what it made when it was installed.

use std::path::Path;

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use super::{ModelPackage, PackageError};
use crate::devices::Devices;
use crate::embedder::{self, Embedder, Input};
use crate::finder;
use crate::logic::picture;
use crate::models::{Detections, ObjectModel};

/// The text that is embedded.
const TEXT: &str = "Red running shoes, size 42";
/// Width and height of the picture that is embedded.
const PICTURE: (u32, u32) = (320, 240);
/// Sums kept of a vector.
const SUMS: usize = 8;
/// Greatest difference of a sum. Sums of a unit vector under random signs are of the size of 1; numbers of half precision and
/// another order of additions move them by less than this.
const TOLERANCE: f32 = 0.02;

/// What a model makes of the built-in picture and text: a few sums of each vector's numbers, which no other vector has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Of the picture's vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<[f32; SUMS]>,
    /// Of the text's vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<[f32; SUMS]>,
}

impl SelfTest {
    /// Loads an installed model on the CPU: what it makes of both.
    pub(super) fn of(package: &ModelPackage, folder: &Path) -> Result<SelfTest, String> {
        let devices = Devices::cpu();
        match package.space {
            Some(_) => Self::of_embedder(embedder::open(devices.device(), package, folder)?.as_ref()),
            None => Self::of_detector(&finder::open(devices.device().as_ref(), package, folder)?),
        }
    }

    /// Of all that it says of the picture, as a vector of length 1.
    fn of_detector(model: &ObjectModel) -> Result<SelfTest, String> {
        let pixels = picture::prepare(&pattern(), &model.preprocessing()).map_err(|error| error.to_string())?;
        let Detections { logits, boxes } = model.detect(&pixels).map_err(|error| error.to_string())?;
        let said = [logits, boxes].concat();
        let length = said.iter().map(|number| number * number).sum::<f32>().sqrt();
        let unit: Vec<f32> = said.iter().map(|number| number / length).collect();
        Ok(SelfTest { picture: Some(sums(&unit)), text: None })
    }

    fn of_embedder(model: &dyn Embedder) -> Result<SelfTest, String> {
        let sums = |input: Input| {
            let vectors = embedder::embed(model, &[input]).map_err(|error| error.to_string())?;
            vectors.first().map(|vector| sums(vector)).ok_or_else(|| "the model gave no vector".to_owned())
        };
        let reads_pictures = model.info().space == protocol::vision::Space::Image;
        let picture = reads_pictures.then(|| {
            let pixels = picture::prepare(&pattern(), &model.preprocessing()).map_err(|error| error.to_string())?;
            sums(Input::Picture(pixels))
        });
        let text = model.reads_texts().then(|| sums(Input::Text(TEXT.to_owned())));
        Ok(SelfTest { picture: picture.transpose()?, text: text.transpose()? })
    }

    fn differs(&self, other: &SelfTest) -> bool {
        let differ = |one: Option<[f32; SUMS]>, other: Option<[f32; SUMS]>| match (one, other) {
            (Some(one), Some(other)) => one.iter().zip(other).any(|(one, other)| (one - other).abs() > TOLERANCE),
            (one, other) => one.is_some() != other.is_some(),
        };
        differ(self.picture, other.picture) || differ(self.text, other.text)
    }
}

/// The picture.
fn pattern() -> RgbImage {
    RgbImage::from_fn(PICTURE.0, PICTURE.1, |x, y| {
        let square = if (x / 40 + y / 30) % 2 == 0 { 200 } else { 30 };
        Rgb([(x * 255 / PICTURE.0) as u8, (y * 255 / PICTURE.1) as u8, square])
    })
}

/// Sums of a vector's numbers, each under other signs that follow from their places (splitmix64).
fn sums(vector: &[f32]) -> [f32; SUMS] {
    let bits = |place: u64| {
        let mut state = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    };
    std::array::from_fn(|sum| {
        let signed =
            |(place, number): (usize, &f32)| if bits(place as u64) >> sum & 1 == 0 { f64::from(*number) } else { -f64::from(*number) };
        vector.iter().enumerate().map(signed).sum::<f64>() as f32
    })
}

/// Loads an installed model on the CPU and compares what it makes of the built-in picture and text with what it should.
///
/// # Errors
/// When it cannot be loaded or run, or gives other vectors.
pub fn self_test(model: &ModelPackage, models_dir: &Path) -> Result<(), PackageError> {
    let unusable = |reason: String| PackageError::Unusable { model: model.name.clone(), reason };
    let found = SelfTest::of(model, &model.folder(models_dir)).map_err(unusable)?;
    if found.differs(&model.self_test) {
        return Err(unusable(format!("the self-test gives other vectors: {found:?}, recorded {:?}", model.self_test)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Model files are looked for in the folder that `GOTHAM_MODELS` names.
    #[test]
    fn installed_models_pass() {
        let Some(models) = std::env::var_os("GOTHAM_MODELS").map(std::path::PathBuf::from) else {
            eprintln!("SKIPPED: no models");
            return;
        };
        let manifest = crate::packages::Manifest::compiled_in();
        let present = manifest.models.iter().filter(|model| model.is_present(&models));
        let wrong: Vec<String> = present.filter_map(|model| Some(self_test(model, &models).err()?.to_string())).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn another_vector_has_other_sums() {
        let unit = |shift: usize| -> Vec<f32> {
            let numbers: Vec<f32> = (0..384).map(|place| (((place + shift) * 37) % 101) as f32 - 50.0).collect();
            let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
            numbers.iter().map(|number| number / length).collect()
        };
        let of = |vector: &[f32]| SelfTest { picture: None, text: Some(sums(vector)) };
        let (one, other) = (of(&unit(0)), of(&unit(1)));
        assert!(one.differs(&other) && one.differs(&SelfTest::default()));
        let nearly: Vec<f32> =
            unit(0).iter().enumerate().map(|(place, number)| number + if place % 2 == 0 { 1e-5 } else { -1e-5 }).collect();
        assert!(!one.differs(&of(&nearly)));
    }
}
