//! Measuring the pictures kept on this box, each once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use attributes::{Activations, Detector, Measurements, Picture, Region, Saliency};
use domain::ContentHash;
use image::RgbImage;
use protocol::vision::Thumbnail;
use store::{Keyspace, Op, Record as _, StoreError};

use super::convert;
use super::records::MeasuredPicture;
use super::shared::Shared;
use crate::logic::picture;

/// Names the way of measuring: a change of it measures every picture anew.
pub(crate) const MEASURING: &str = "measure-1";

/// Pictures of a product that are looked through for the one that was embedded first.
const IMAGES_MAX: usize = 8;
/// Bounds of a picture kept on this box: its longest side is at most 4096 pixels.
const KEPT_BYTES_MAX: u64 = 32 << 20;
const KEPT_PIXELS_MAX: u64 = 4096 * 4096;

/// What is known of a picture's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// It was measured.
    Yes,
    /// It cannot be read.
    Failed,
    /// It is not on this box (yet).
    Missing,
}

/// Measures a picture unless that has been done. The change to be written, where there is one.
pub(crate) fn ensure(shared: &Shared, product: &str, content: ContentHash) -> Result<(Measured, Option<Op>), StoreError> {
    let key = MeasuredPicture::key(content);
    let kept = shared.read::<MeasuredPicture>(&key)?.filter(|kept| kept.by == shared.measured_by());
    if let Some(kept) = kept {
        return Ok((if kept.found.is_some() { Measured::Yes } else { Measured::Failed }, None));
    }
    let Some(thumbnail) = thumbnail(shared, product, content) else { return Ok((Measured::Missing, None)) };
    // A picture that crashes a decoder fails alone.
    let found = catch_unwind(AssertUnwindSafe(|| of_jpeg(shared, &thumbnail.jpeg, None))).unwrap_or_else(|_| Err("it crashed".to_owned()));
    let found = match found {
        Ok(found) => Some(convert::keep_measurements(&found)),
        Err(error) => {
            tracing::warn!(product, error, "a picture cannot be measured");
            metrics::counter!("gotham_tags_failures_total").increment(1);
            None
        }
    };
    let measured = if found.is_some() { Measured::Yes } else { Measured::Failed };
    shared.counts.measured.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("gotham_tags_measured_total").increment(1);
    let value = match (MeasuredPicture { by: shared.measured_by(), found }).seal(&key) {
        Ok(value) => value,
        Err(error) => {
            tracing::error!(%error, "measurements cannot be written");
            return Ok((Measured::Failed, None));
        }
    };
    Ok((measured, Some(Op::Put { space: Keyspace::Embeddings, key, value })))
}

/// What was measured of a picture.
pub(crate) fn kept(shared: &Shared, content: ContentHash) -> Result<Option<Measurements>, StoreError> {
    let kept = shared.read::<MeasuredPicture>(&MeasuredPicture::key(content))?;
    Ok(kept.filter(|kept| kept.by == shared.measured_by()).and_then(|kept| kept.found).map(|found| convert::measurements(&found)))
}

fn thumbnail(shared: &Shared, product: &str, content: ContentHash) -> Option<Thumbnail> {
    (0..IMAGES_MAX).filter_map(|index| shared.vision.thumbnail(product, index)).find(|thumbnail| thumbnail.content == content)
}

/// Measures a picture as it is kept on this box; `object` is where the caller says that the product is.
pub(crate) fn of_jpeg(shared: &Shared, jpeg: &[u8], object: Option<Region>) -> Result<Measurements, String> {
    let pixels = picture::decode(jpeg, KEPT_BYTES_MAX, KEPT_PIXELS_MAX).map_err(|error| error.to_string())?;
    of_pixels(shared, &Saliency::default(), &pixels, None, object)
}

/// `activations` are of a model that has looked at the picture, where one has.
pub(crate) fn of_pixels(
    shared: &Shared,
    detector: &dyn Detector,
    pixels: &RgbImage,
    activations: Option<&Activations<'_>>,
    object: Option<Region>,
) -> Result<Measurements, String> {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let picture = Picture::new(width, height, pixels.as_raw()).ok_or_else(|| format!("a picture of {width} x {height} pixels"))?;
    Ok(attributes::measure_with(detector, &picture, activations, &shared.vocabulary().palette(), object))
}
