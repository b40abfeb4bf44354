//! A caller's picture without a rectangle: the model looks first, and a small main object is embedded alone, too.

use std::sync::Arc;
use std::time::Duration;

use attributes::Region;
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder};
use kit::{Context, Priority, Probe, Scene};
use protocol::tags::PictureTags;
use protocol::vision::{ActivationMap, Crop, Embedding, PictureQuery, Sight, VisionError, VisionMsg};

use super::house::House;
use crate::Finder;

const SIDE: u32 = 120;
const WHOLE: Crop = Crop { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

fn picture(paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    picture_of(SIDE, paint)
}

fn picture_of(width: u32, paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = RgbImage::from_fn(width, SIDE, |x, y| Rgb(paint(x, y)));
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&pixels).expect("a JPEG");
    bytes
}

/// A square from `from` to `to` of both sides before white.
fn square(from: u32, to: u32) -> Vec<u8> {
    let is_in = move |at: u32| (from..to).contains(&at);
    picture(move |x, y| if is_in(x) && is_in(y) { [200, 30, 40] } else { [250; 3] })
}

/// Colours without any order.
fn clutter() -> Vec<u8> {
    picture(|x, y| {
        let mixed = (x / 6 * 7919 + y / 6 * 104_729 + 13).wrapping_mul(2_654_435_761);
        [(mixed >> 8) as u8, (mixed >> 16) as u8, (mixed >> 24) as u8]
    })
}

/// Answers as a model that sees more red than blue in the whole picture and blue in any part of it; the parts that it was asked for.
async fn answer(house: &House, probe: &mut Probe<VisionMsg>, activations: Option<ActivationMap>, has_parts: bool) -> Vec<Crop> {
    let (_, message) = probe.next().await;
    let VisionMsg::LookAt { reply, model, .. } = message else { panic!("Nightwing is asked {message:?}") };
    assert_eq!(model.as_deref(), Some("first"));
    let (red, blue) = (house.embedding("p00"), house.embedding("p01"));
    let vector = red.vector.iter().zip(&*blue.vector).map(|(red, blue)| 0.75 * red + 0.6 * blue).collect();
    reply.send(Ok(Sight { embedding: Embedding { vector, ..red }, activations }));
    if !has_parts {
        return Vec::new();
    }
    let (_, message) = probe.next().await;
    let VisionMsg::EmbedImages { images, reply, .. } = message else { panic!("Nightwing is asked {message:?}") };
    reply.send(images.iter().map(|_| Ok(house.embedding("p01"))).collect());
    images.into_iter().map(|image| image.crop.expect("a part")).collect()
}

fn colour(told: &PictureTags) -> &str {
    told.main.tags.iter().find(|tag| tag.attribute == "colour").map_or("", |tag| tag.value.as_str())
}

#[tokio::test]
async fn a_small_object_is_looked_at_alone_and_a_large_one_with_its_surroundings() {
    let mut scene = Scene::new();
    let (nightwing, mut probe) = scene.probe::<VisionMsg>("nightwing").await;
    let house = tokio::task::spawn_blocking(|| {
        let mut house = House::with_nightwing(nightwing);
        house.shop(40);
        house.step();
        house
    });
    let house = house.await.expect("a house");
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    let hot = |at: usize| if matches!(at % 7, 4 | 5) && matches!(at / 7, 4 | 5) { 6.0 } else { 0.1 };
    let map = ActivationMap { height: 7, width: 7, values: (0..49).map(hot).collect(), seen: WHOLE };
    for (what, bytes, map, has_parts, expected, near) in [
        ("small", square(12, 48), None, true, "blue", Some([0.1, 0.4])),
        ("large", square(6, 110), None, false, "red", None),
        ("small among clutter", clutter(), Some(map), true, "blue", Some([0.5, 0.95])),
    ] {
        let asked = house.tagger().picture(&context, PictureQuery { bytes: bytes.into(), crop: None }, false);
        let (told, parts) = tokio::join!(asked, answer(&house, &mut probe, map, has_parts));
        let told = told.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(colour(&told), expected, "{what}");
        let Crop { x, y, width, height } = told.main.region;
        assert_eq!(parts, if has_parts { vec![told.main.region] } else { vec![] }, "{what}");
        if let Some([from, to]) = near {
            for (start, length) in [(x, width), (y, height)] {
                assert!((start - from).abs() < 0.12 && (start + length - to).abs() < 0.12, "{what}: {:?}", told.main.region);
            }
        }
    }
    let refused = house.tagger().picture(&context, PictureQuery { bytes: b"<html>".to_vec().into(), crop: None }, false);
    let refusing = async {
        let (_, message) = probe.next().await;
        let VisionMsg::LookAt { reply, .. } = message else { panic!("Nightwing is asked {message:?}") };
        reply.send(Err(VisionError::BadPicture { code: "not_a_picture", detail: String::new() }));
    };
    let (refused, ()) = tokio::join!(refused, refusing);
    assert!(matches!(refused, Err(VisionError::BadPicture { code: "not_a_picture", .. })), "{refused:?}");
    drop(tokio::task::spawn_blocking(move || drop(house)).await);
    scene.end().await;
}

/// Finds one box; of pictures of another width than [`SIDE`] nothing; fails and panics at some.
struct Knows {
    region: Region,
}

impl Finder for Knows {
    fn find(&self, picture: &RgbImage) -> Result<Vec<Region>, String> {
        match picture.width() - SIDE {
            0 => Ok(vec![self.region]),
            1 => Ok(Vec::new()),
            2 => Err("lost".to_owned()),
            _ => panic!("a detector that panics"),
        }
    }
}

#[tokio::test]
async fn a_detector_finds_the_object_and_saliency_stands_in_for_one_that_does_not() {
    let mut scene = Scene::new();
    let (nightwing, mut probe) = scene.probe::<VisionMsg>("nightwing").await;
    let region = Region { x: 0.5, y: 0.55, width: 0.25, height: 0.3, score: 0.9 };
    let house = tokio::task::spawn_blocking(move || {
        let mut house = House::with_detector(nightwing, Arc::new(Knows { region }));
        house.shop(40);
        house.step();
        house
    });
    let house = house.await.expect("a house");
    let context = Context::new(Priority::Serving, Duration::from_secs(60));
    let crop = Crop { x: region.x, y: region.y, width: region.width, height: region.height };
    for (what, wider) in [("found", 0), ("nothing found", 1), ("failing", 2), ("panicking", 3)] {
        let bytes = picture_of(SIDE + wider, |x, y| if x.max(y) < 48 && x.min(y) >= 12 { [200, 30, 40] } else { [250; 3] });
        let asked = house.tagger().picture(&context, PictureQuery { bytes: bytes.into(), crop: None }, false);
        let (told, parts) = tokio::join!(asked, answer(&house, &mut probe, None, true));
        let told = told.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((told.main.region == crop, &parts[..]), (wider == 0, &[told.main.region][..]), "{what}");
        assert!(wider == 0 || (told.main.region.x - 0.1).abs() < 0.05, "{what}: {:?}", told.main.region);
    }
    drop(tokio::task::spawn_blocking(move || drop(house)).await);
    scene.end().await;
}
