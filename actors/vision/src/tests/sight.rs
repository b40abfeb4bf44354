//! Whether the default model's map helps to find products: catalog photos pasted before a wall of other photos, out of focus.

use std::path::{Path, PathBuf};

use attributes::{Activations, Picture, Region, measure};
use image::imageops::{self, FilterType, blur, crop_imm, resize};
use image::{RgbImage, RgbaImage};
use protocol::vision::Space;

use crate::logic::{overlay, picture};
use crate::{Embedder, Input, InstalledModels, ModelSource as _};

/// Pictures that are made.
const PICTURES: usize = 32;
const SIDE: u32 = 300;
/// Tiles of the wall, and their side.
const TILES: u32 = 5;
const TILE: u32 = SIDE / TILES;
/// How far out of focus the wall is, in pixels.
const BLUR: f32 = 3.0;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..")
}

/// Catalog photos and the default model, or the reason why the test cannot run.
fn found() -> Option<(Vec<RgbImage>, std::sync::Arc<dyn Embedder>)> {
    let shared = std::env::var_os("GOTHAM_SHARED").map_or_else(|| root().join("..").join("shared"), PathBuf::from);
    let models = std::env::var_os("GOTHAM_MODELS").map_or_else(|| root().join("target").join("models"), PathBuf::from);
    let models = InstalledModels::new(&models);
    let Some(model) = models.installed(Space::Image) else {
        eprintln!("SKIPPED: no models (GOTHAM_MODELS)");
        return None;
    };
    let Ok(entries) = std::fs::read_dir(shared.join("data").join("catalog").join("images")) else {
        eprintln!("SKIPPED: no shared data");
        return None;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: &PathBuf| picture::decode(&std::fs::read(path).expect("a photo"), 1 << 22, 1 << 24).ok();
    let photos = paths.iter().step_by(7).take(240).filter_map(read).collect();
    Some((photos, models.load(&model).expect("the model loads")))
}

/// A product without its white background, where the photo is one before white.
fn cut(photo: &RgbImage) -> Option<RgbaImage> {
    let is_product = |x: u32, y: u32| photo.get_pixel(x, y).0.iter().any(|channel| *channel < 236);
    let (width, height) = photo.dimensions();
    let is_open = (0..width).all(|x| !is_product(x, 0) && !is_product(x, height - 1))
        && (0..height).all(|y| !is_product(0, y) && !is_product(width - 1, y));
    let columns = |y: u32| Some(((0..width).find(|x| is_product(*x, y))?, (0..width).rev().find(|x| is_product(*x, y))?));
    let rows: Vec<(u32, (u32, u32))> = (0..height).filter_map(|y| Some((y, columns(y)?))).collect();
    let ((top, _), (bottom, _)) = (rows.first()?, rows.last()?);
    let left = rows.iter().map(|(_, (left, _))| *left).min()?;
    let right = rows.iter().map(|(_, (_, right))| *right).max()?;
    let mut product = RgbaImage::new(right - left + 1, bottom - top + 1);
    for (y, (from, to)) in &rows {
        for x in *from..=*to {
            let [red, green, blue] = photo.get_pixel(x, *y).0;
            product.put_pixel(x - left, y - top, image::Rgba([red, green, blue, 255]));
        }
    }
    let share = f64::from(product.width() * product.height()) / f64::from(width * height);
    (is_open && (0.1..0.8).contains(&share)).then_some(product)
}

/// A product before a wall of photos, about in the middle, and where it is.
fn composed(photos: &[RgbImage], product: &RgbaImage, number: usize) -> (RgbImage, Region) {
    let mut wall = RgbImage::new(SIDE, SIDE);
    for tile in 0..TILES * TILES {
        let photo = &photos[(number * 61 + tile as usize * 17) % photos.len()];
        let (width, height) = photo.dimensions();
        let part = crop_imm(photo, width / 4, height / 4, width / 2, height / 2).to_image();
        imageops::overlay(
            &mut wall,
            &resize(&part, TILE, TILE, FilterType::Triangle),
            i64::from(tile % TILES * TILE),
            i64::from(tile / TILES * TILE),
        );
    }
    let mut wall = blur(&wall, BLUR);
    let height = 120 + number as u32 % 5 * 15;
    let width = (product.width() * height / product.height()).clamp(8, SIDE - 20);
    let within = |room: u32, by: u32| room * (30 + number as u32 * by % 40) / 100;
    let (x, y) = (within(SIDE - width, 37), within(SIDE - height, 23));
    let small = resize(product, width, height, FilterType::Triangle);
    for (column, row, pixel) in small.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] > 127) {
        let [red, green, blue, _] = pixel.0;
        wall.put_pixel(x + column, y + row, image::Rgb([red, green, blue]));
    }
    let share = |pixels: u32| pixels as f32 / SIDE as f32;
    (wall, Region { x: share(x), y: share(y), width: share(width), height: share(height), score: 1.0 })
}

/// Shared area by that of both.
fn overlap(a: &Region, b: &Region) -> f32 {
    let along = |a: f32, a_length: f32, b: f32, b_length: f32| ((a + a_length).min(b + b_length) - a.max(b)).max(0.0);
    let shared = along(a.x, a.width, b.x, b.width) * along(a.y, a.height, b.y, b.height);
    shared / (a.width * a.height + b.width * b.height - shared)
}

#[test]
fn products_among_clutter_are_found_better_where_the_model_has_looked() {
    let Some((photos, model)) = found() else { return };
    let sight = model.sight().expect("the default model has a map");
    assert_eq!((sight.height, sight.width, sight.channels), (9, 9, 64));
    let products: Vec<RgbaImage> = photos.iter().filter_map(cut).take(PICTURES).collect();
    assert!(products.len() >= PICTURES / 2, "{} photos of products before white", products.len());
    let dimensions = model.info().dimensions;
    let (mut without, mut with) = (0.0, 0.0);
    for (number, product) in products.iter().enumerate() {
        let (picture, truth) = composed(&photos, product, number);
        let pixels = picture::prepare(&picture, &model.preprocessing()).expect("prepared");
        let answers = model.embed(&[Input::Picture(pixels.clone()), Input::Scene(pixels)]).expect("embedded");
        assert_eq!(answers[0], answers[1][..dimensions], "looking changes no vector");
        let map = overlay::over(&answers[1][dimensions..], sight, picture.dimensions(), &model.preprocessing());
        let seen = Region { x: map.seen.x, y: map.seen.y, width: map.seen.width, height: map.seen.height, score: 0.0 };
        let activations = Activations::new(map.height, map.width, &map.values, seen).expect("a map");
        let view = Picture::new(SIDE as usize, SIDE as usize, picture.as_raw()).expect("a picture");
        without += overlap(&measure(&view, None, &[], None).object, &truth);
        with += overlap(&measure(&view, Some(&activations), &[], None).object, &truth);
    }
    let (without, with) = (without / products.len() as f32, with / products.len() as f32);
    eprintln!("mean overlap with the product's box: {without:.3} without the model's map, {with:.3} with it");
    assert!(with > without + 0.05, "{without} without, {with} with");
}
