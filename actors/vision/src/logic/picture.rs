//! From the bytes of a picture file to the model's input and a thumbnail, each bound checked before the work that it bounds.

use std::io::Cursor;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder as _, ImageError, ImageFormat, ImageReader, RgbImage};
use protocol::vision::Crop;

use super::preprocessing::{Framing, Preprocessing};

/// The least width and height of a crop, in pixels.
pub const CROP_SIDE_MIN: u32 = 16;
/// How many times longer than wide a picture is looked at.
const LENGTH_RATIO_MAX: u64 = 64;
/// Shares of a picture that were rounded may end this much behind its edge.
const CROP_SLACK: f32 = 1e-3;

/// Why bytes are no usable picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// No known picture format begins like this.
    #[error("{0}")]
    NotAPicture(String),
    /// A picture, but of a format that is not read.
    #[error("{0} pictures are not read, only JPEG, PNG, WebP and GIF")]
    UnsupportedFormat(String),
    /// Breaks off or does not decode.
    #[error("{0}")]
    Damaged(String),
    /// Wider times higher than the bound.
    #[error("{width} x {height} pixels are over the limit of {pixels_max}")]
    TooManyPixels {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The bound.
        pixels_max: u64,
    },
    /// The file is larger than the bound.
    #[error("more than {0} bytes")]
    TooManyBytes(u64),
    /// Not a rectangle within the picture.
    #[error("the box must lie within the picture: shares from 0 to 1 of its width and height")]
    CropOutside,
    /// Shows next to nothing.
    #[error("the box is {width} x {height} pixels, at least {CROP_SIDE_MIN} x {CROP_SIDE_MIN} are needed")]
    CropTooSmall {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
}

impl PictureError {
    /// Stable, snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAPicture(_) => "not_a_picture",
            Self::UnsupportedFormat(_) => "unsupported_format",
            Self::Damaged(_) => "damaged_picture",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooManyBytes(_) => "too_many_bytes",
            Self::CropOutside => "crop_outside_picture",
            Self::CropTooSmall { .. } => "crop_too_small",
        }
    }
}

/// The image model's input: `[side, side, 3]` bytes, RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels(pub Vec<u8>);

/// Decodes a JPEG, PNG, WebP or GIF (its first frame) to RGB, upright, alpha laid over white.
pub fn decode(bytes: &[u8], bytes_max: u64, pixels_max: u64) -> Result<RgbImage, PictureError> {
    if bytes.len() as u64 > bytes_max {
        return Err(PictureError::TooManyBytes(bytes_max));
    }
    let format = format_of(bytes)?;
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        // The decoder would fill what is missing with grey.
        return Err(PictureError::Damaged("the JPEG breaks off before its end".to_owned()));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    // The decoders' own buffers: wide enough for every picture within the pixel bound at 16 bits a channel.
    limits.max_alloc = Some(pixels_max.saturating_mul(16).saturating_add(16 << 20));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| refusal(&error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(PictureError::TooManyPixels { width, height, pixels_max });
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged("a picture without pixels".to_owned()));
    }
    // Metadata that cannot be read leaves the picture as it is stored.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| refusal(&error))?;
    picture.apply_orientation(orientation);
    Ok(if picture.color().has_alpha() { over_white(&picture.into_rgba8()) } else { picture.into_rgb8() })
}

/// The model's input: what its contract keeps of a picture, scaled as its contract says.
pub fn prepare(picture: &RgbImage, preprocessing: &Preprocessing) -> Result<Pixels, PictureError> {
    let (width, height) = picture.dimensions();
    let side = preprocessing.side as u32;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(preprocessing.filter.kernel()));
    let shorter = u64::from(width.min(height));
    match preprocessing.framing {
        Framing::CropThenScale { margin } => {
            let kept = ((shorter * u64::from(side) / (u64::from(side) + margin as u64)) as u32).max(1);
            let (left, top) = ((width - kept).div_ceil(2), (height - kept).div_ceil(2));
            resize(picture, side, side, &options.crop(f64::from(left), f64::from(top), f64::from(kept), f64::from(kept)))
        }
        Framing::Squash => resize(picture, side, side, &options),
        Framing::Pad => padded(picture, side, &options),
        Framing::ScaleThenCrop { shorter: to } => {
            // A picture that is many times longer than wide is cut before it is scaled: what lies beyond is cropped anyway.
            let bound = shorter.saturating_mul(LENGTH_RATIO_MAX) as u32;
            let cut = (width > bound || height > bound).then(|| centre(picture, width.min(bound), height.min(bound)));
            let picture = cut.as_ref().unwrap_or(picture);
            let (width, height) = picture.dimensions();
            let scaled = |length: u32| (u64::from(length) * to as u64 / shorter).max(u64::from(side)) as u32;
            let (small_width, small_height) = (scaled(width), scaled(height));
            let pixels = resize(picture, small_width, small_height, &options)?;
            let scaled = RgbImage::from_raw(small_width, small_height, pixels);
            let scaled = scaled.ok_or_else(|| PictureError::Damaged("cannot be scaled".to_owned()))?;
            Ok(centre(&scaled, side, side).into_raw())
        }
    }
    .map(Pixels)
}

/// The middle of a picture.
fn centre(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (left, top) = ((picture.width() - width) / 2, (picture.height() - height) / 2);
    image::imageops::crop_imm(picture, left, top, width, height).to_image()
}

/// The model's input for a rectangle of the picture: all of it and nothing else, whatever its shape, in the middle of a white square
/// as product pictures are.
pub fn prepare_crop(picture: &RgbImage, crop: Crop, preprocessing: &Preprocessing) -> Result<Pixels, PictureError> {
    let (left, top, width, height) = rectangle(picture, crop)?;
    // Cut out first: the filter would reach beyond the edges of a rectangle within the picture.
    let part = image::imageops::crop_imm(picture, left, top, width, height).to_image();
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(preprocessing.filter.kernel()));
    padded(&part, preprocessing.side as u32, &options).map(Pixels)
}

/// Where a picture lies in a square that it was padded to, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A picture of `width` x `height` in its own shape, in the middle of a square of `side` pixels.
pub(crate) fn fit((width, height): (u32, u32), side: u32) -> Fit {
    let longest = u64::from(width.max(height)).max(1);
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) + longest / 2) / longest).max(1) as u32;
    let (width, height) = (scaled(width), scaled(height));
    Fit { left: side.saturating_sub(width) / 2, top: side.saturating_sub(height) / 2, width, height }
}

/// A picture in its own shape, in the middle of a white square of `side` pixels: `[side, side, 3]`.
fn padded(picture: &RgbImage, side: u32, options: &ResizeOptions) -> Result<Vec<u8>, PictureError> {
    let Fit { left, top, width, height } = fit(picture.dimensions(), side);
    let part = resize(picture, width, height, options)?;
    if (width, height) == (side, side) {
        return Ok(part);
    }
    let line = side as usize * 3;
    let mut pixels = vec![255; side as usize * line];
    let (row, indent) = (width as usize * 3, left as usize * 3);
    let rows = pixels.chunks_exact_mut(line).skip(top as usize);
    rows.zip(part.chunks_exact(row)).for_each(|(to, from)| to[indent..indent + row].copy_from_slice(from));
    Ok(pixels)
}

/// Left, top, width and height in pixels.
fn rectangle(picture: &RgbImage, crop: Crop) -> Result<(u32, u32, u32, u32), PictureError> {
    let edges = [crop.x, crop.y, crop.width, crop.height, crop.x + crop.width, crop.y + crop.height];
    if edges.iter().any(|edge| !(0.0..=1.0 + CROP_SLACK).contains(edge)) {
        return Err(PictureError::CropOutside);
    }
    let pixels = |from: f32, length: f32, side: u32| {
        let at = |share: f32| ((f64::from(share) * f64::from(side)).round() as u32).min(side);
        (at(from), at(from + length).saturating_sub(at(from)))
    };
    let (left, width) = pixels(crop.x, crop.width, picture.width());
    let (top, height) = pixels(crop.y, crop.height, picture.height());
    if width.min(height) < CROP_SIDE_MIN {
        return Err(PictureError::CropTooSmall { width, height });
    }
    Ok((left, top, width, height))
}

/// A JPEG whose longest side is at most `side_max`; a smaller picture keeps its size.
pub fn thumbnail(picture: &RgbImage, side_max: u32, quality: u8) -> Result<Vec<u8>, PictureError> {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    let scaled = |side: u32| ((u64::from(side) * u64::from(side_max) + u64::from(longest) / 2) / u64::from(longest)).max(1) as u32;
    let (small_width, small_height) = if longest > side_max { (scaled(width), scaled(height)) } else { (width, height) };
    let pixels = if longest > side_max {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        resize(picture, small_width, small_height, &options)?
    } else {
        picture.as_raw().clone()
    };
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
    encoder
        .write_image(&pixels, small_width, small_height, ExtendedColorType::Rgb8)
        .map_err(|error| PictureError::Damaged(error.to_string()))?;
    Ok(jpeg)
}

fn resize(picture: &RgbImage, width: u32, height: u32, options: &ResizeOptions) -> Result<Vec<u8>, PictureError> {
    let failed = |error: &dyn std::fmt::Display| PictureError::Damaged(format!("cannot be scaled: {error}"));
    let source = ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3).map_err(|error| failed(&error))?;
    let mut scaled = Image::new(width, height, PixelType::U8x3);
    Resizer::new().resize(&source, &mut scaled, options).map_err(|error| failed(&error))?;
    Ok(scaled.into_vec())
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    let Ok(format) = image::guess_format(bytes) else {
        return Err(PictureError::NotAPicture(format!("no picture begins like this: {}", beginning(bytes))));
    };
    match format {
        ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif => Ok(format),
        other => Err(PictureError::UnsupportedFormat(format!("{other:?}"))),
    }
}

/// The first bytes as text: an error page shows itself.
fn beginning(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 24;
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]))
}

fn refusal(error: &ImageError) -> PictureError {
    match error {
        ImageError::Unsupported(unsupported) => PictureError::UnsupportedFormat(unsupported.to_string()),
        other => PictureError::Damaged(other.to_string()),
    }
}

/// Whether an end-of-image marker stands behind the first scan (ITU-T T.81, B.1): inside a scan, 0xFF is followed by 0 or a
/// restart marker, so the two bytes mean nothing else there.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some([0xff, marker]) = bytes.get(at..at + 2) {
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            0xda => return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
}

fn over_white(picture: &image::RgbaImage) -> RgbImage {
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (to, from) in flat.pixels_mut().zip(picture.pixels()) {
        let alpha = u32::from(from[3]);
        to.0 = [0, 1, 2].map(|channel| ((u32::from(from[channel]) * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    flat
}

#[cfg(test)]
pub(crate) mod tests {
    use image::{ImageEncoder as _, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    use super::super::preprocessing::Filter;
    use super::*;

    const LITE0: Preprocessing = Preprocessing::LITE0;
    const SIDE: usize = LITE0.side;

    /// A picture file of `width` x `height` that no other seed has.
    pub(crate) fn jpeg(width: u32, height: u32, seed: u8) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8 ^ seed, (y * 5) as u8, seed]));
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).expect("a JPEG");
        bytes
    }

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("a PNG");
        bytes
    }

    fn code(bytes: &[u8]) -> &'static str {
        decode(bytes, 1 << 20, 10_000).map_or_else(|error| error.code(), |_| "decoded")
    }

    /// A PNG's head that announces 7745 x 7747 pixels, 60 million of them.
    fn png_of_60_megapixels() -> Vec<u8> {
        let mut bytes = png(&RgbImage::new(1, 1).into());
        bytes[16..20].copy_from_slice(&7745_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&7747_u32.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bytes
    }

    #[test]
    fn refusals_by_table() {
        let whole = jpeg(64, 64, 1);
        let picture: DynamicImage = RgbImage::from_fn(60, 60, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])).into();
        let whole_png = png(&picture);
        let cases: [(&str, &[u8], &str); 11] = [
            ("a JPEG", &whole, "decoded"),
            ("a PNG", &whole_png, "decoded"),
            ("a JPEG that breaks off", &whole[..whole.len() / 2], "damaged_picture"),
            ("a JPEG without its last byte", &whole[..whole.len() - 1], "damaged_picture"),
            ("a JPEG of its first bytes", &whole[..12], "damaged_picture"),
            ("a PNG that breaks off", &whole_png[..whole_png.len() / 2], "damaged_picture"),
            ("an HTML page", b"<!doctype html><title>404</title>", "not_a_picture"),
            ("nothing", b"", "not_a_picture"),
            ("a BMP", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "unsupported_format"),
            ("60 megapixels", &png_of_60_megapixels(), "too_many_pixels"),
            ("too many pixels in a JPEG", &jpeg(101, 100, 0), "too_many_pixels"),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(code(bytes), expected, "{name}");
        }
        assert_eq!(decode(&whole, 100, 10_000).map_err(|error| error.code()), Err("too_many_bytes"));
        assert_eq!(
            decode(&png_of_60_megapixels(), 1 << 20, 40_000_000).map_err(|error| error.code()),
            Err("too_many_pixels"),
            "the default bound"
        );
    }

    #[test]
    fn a_jpeg_with_something_behind_its_end_is_whole() {
        let bytes = [jpeg(8, 8, 3), b"trailing maker notes".to_vec()].concat();
        assert_eq!(code(&bytes), "decoded");
    }

    #[test]
    fn gif_and_webp_are_read() {
        let picture: DynamicImage = RgbaImage::from_pixel(20, 10, Rgba([255, 0, 0, 255])).into();
        for format in [ImageFormat::Gif, ImageFormat::WebP] {
            let mut bytes = Vec::new();
            picture.write_to(&mut Cursor::new(&mut bytes), format).expect("encoded");
            let decoded = decode(&bytes, 1 << 20, 10_000).expect("decoded");
            assert_eq!((decoded.dimensions(), decoded.get_pixel(3, 3).0), ((20, 10), [255, 0, 0]), "{format:?}");
        }
    }

    #[test]
    fn alpha_is_laid_over_white() {
        let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 100, 200, [0, 128, 255][x as usize]]));
        let decoded = decode(&png(&picture.into()), 1 << 20, 10_000).expect("decoded");
        let pixels: Vec<_> = decoded.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(pixels, [[255, 255, 255], [127, 177, 227], [0, 100, 200]]);
    }

    #[test]
    fn a_picture_lying_on_its_side_is_set_upright() {
        let picture = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
        let mut bytes = Vec::new();
        // TIFF, little-endian, one entry: orientation (0x0112) = 6, turn by 90 degrees clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).expect("EXIF");
        encoder.encode_image(&picture).expect("a JPEG");
        let decoded = decode(&bytes, 1 << 20, 10_000).expect("decoded");
        assert_eq!(decoded.dimensions(), (16, 32));
        assert!(decoded.get_pixel(8, 4).0[0] > 200 && decoded.get_pixel(8, 28).0[2] > 200, "left has become top");
    }

    #[test]
    fn a_thumbnail_keeps_its_shape_and_never_grows() {
        for (width, height, expected) in [(960, 480, (480, 240)), (100, 50, (100, 50)), (2000, 1, (480, 1)), (481, 480, (480, 479))] {
            let jpeg = thumbnail(&RgbImage::new(width, height), 480, 80).expect("a thumbnail");
            let small = decode(&jpeg, 1 << 20, 1 << 20).expect("decoded");
            assert_eq!(small.dimensions(), expected, "{width} x {height}");
        }
    }

    #[test]
    fn the_wrong_filter_gives_another_input() {
        let picture = RgbImage::from_fn(300, 260, |x, y| Rgb([(x * y % 251) as u8, (x * 3) as u8, y as u8]));
        let bilinear = Preprocessing { filter: Filter::Bilinear, ..LITE0 };
        assert_ne!(prepare(&picture, &LITE0), prepare(&picture, &bilinear));
    }

    fn part(x: f32, y: f32, width: f32, height: f32) -> Crop {
        Crop { x, y, width, height }
    }

    /// Blue, with a red rectangle from (100, 40) to (140, 120).
    fn scene() -> RgbImage {
        RgbImage::from_fn(200, 160, |x, y| Rgb(if (100..140).contains(&x) && (40..120).contains(&y) { [255, 0, 0] } else { [0, 0, 255] }))
    }

    #[test]
    fn crops_by_table() {
        for (crop, expected) in [
            (part(0.0, 0.0, 1.0, 1.0), "prepared"),
            (part(0.5, 0.25, 0.2, 0.5), "prepared"),
            (part(0.9, 0.0, 0.1004, 1.0), "prepared"),
            (part(0.9, 0.0, 0.2, 1.0), "crop_outside_picture"),
            (part(0.0, 0.6, 1.0, 0.5), "crop_outside_picture"),
            (part(-0.1, 0.0, 0.5, 0.5), "crop_outside_picture"),
            (part(0.0, 0.0, -0.5, 0.5), "crop_outside_picture"),
            (part(f32::NAN, 0.0, 0.5, 0.5), "crop_outside_picture"),
            (part(0.0, 0.0, f32::INFINITY, 0.5), "crop_outside_picture"),
            (part(0.1, 0.1, 0.0, 0.5), "crop_too_small"),
            (part(0.1, 0.1, 0.5, 0.05), "crop_too_small"),
        ] {
            let found = prepare_crop(&scene(), crop, &LITE0).map_or_else(|error| error.code(), |_| "prepared");
            assert_eq!(found, expected, "{crop:?}");
        }
    }

    #[test]
    fn a_crop_shows_its_rectangle_whole_and_nothing_else() {
        let Pixels(pixels) = prepare_crop(&scene(), part(0.5, 0.25, 0.2, 0.5), &LITE0).expect("prepared");
        let colours: std::collections::BTreeSet<&[u8]> = pixels.chunks_exact(3).collect();
        assert_eq!(colours.into_iter().collect::<Vec<_>>(), [&[255, 0, 0][..], &[255, 255, 255]], "red on white, none of the blue");
        let red = pixels.chunks_exact(3).filter(|pixel| pixel[1] == 0).count();
        assert_eq!(red, SIDE * SIDE / 2, "half as wide as high");
        let row = &pixels[..SIDE * 3];
        assert!(row[..56 * 3].iter().all(|channel| *channel == 255) && row[56 * 3..][..3] == [255, 0, 0], "in the middle");
    }

    #[test]
    fn a_padded_picture_is_the_crop_of_all_of_it_and_of_a_square_nothing_is_lost() {
        let [pad, squash] = [Framing::Pad, Framing::Squash].map(|framing| Preprocessing { framing, ..LITE0 });
        let padded = prepare(&scene(), &pad).expect("prepared");
        assert_eq!(padded, prepare_crop(&scene(), part(0.0, 0.0, 1.0, 1.0), &LITE0).expect("prepared"));
        assert!(padded.0[..SIDE * 3 * 22].iter().all(|channel| *channel == 255), "white above, for it is wider than high");
        let square = image::imageops::crop_imm(&scene(), 20, 0, 160, 160).to_image();
        assert_eq!(prepare(&square, &pad), prepare(&square, &squash));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_crop_of_any_shape_is_prepared_or_refused(
            width in 1_u32..400, height in 1_u32..400, x in -0.1_f32..1.1, y in -0.1_f32..1.1, w in -0.1_f32..1.1, h in -0.1_f32..1.1,
        ) {
            if let Ok(prepared) = prepare_crop(&RgbImage::new(width, height), part(x, y, w, h), &LITE0) {
                prop_assert_eq!(prepared.0.len(), SIDE * SIDE * 3);
            }
        }

        #[test]
        fn any_shape_gives_an_input_of_the_same_size(width in 1_u32..400, height in 1_u32..400) {
            for preprocessing in [LITE0, Preprocessing { framing: Framing::Pad, ..LITE0 }] {
                let prepared = prepare(&RgbImage::new(width, height), &preprocessing).expect("prepared");
                prop_assert_eq!(prepared.0.len(), SIDE * SIDE * 3);
            }
        }

        #[test]
        fn damaged_bytes_are_refused_or_decoded_and_never_more(at in 0_usize..600, to: u8, length in 0_usize..700) {
            let mut bytes = jpeg(24, 24, 5);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(length);
            let _ = decode(&bytes, 1 << 20, 10_000);
        }
    }
}
