//! What a caller's picture shows: looked at by the model, measured here with the help of where it looked, the objects embedded by the
//! actor, tagged by what makes the catalog's tags.
//!
//! Without a caller's rectangle a main object that is found and small is embedded alone, too, and tagged by the mean of both embeddings:
//! a model that sees a street before a coat says less of the coat.

use std::sync::Arc;

use attributes::{Activations, Measurements, Region};
use bytes::Bytes;
use image::RgbImage;
use kit::{CallError, Context, WorkError};
use protocol::tags::{ObjectTags, PictureTags};
use protocol::vision::{ActivationMap, Crop, Embedding, PictureQuery, Sight, Space, VisionError, VisionMsg};
use tokio::sync::oneshot;

use super::objects::{Found, Objects};
use super::shared::{Maker, Shared};
use super::{Tagging, convert, measure};
use crate::config::Config;
use crate::logic::picture::{self, PictureError};

/// A main object that covers less of the picture is embedded without what surrounds it, too. On photos of single products the mean names
/// the kind of thing as often as the whole picture does; among clutter more often than the whole picture and than the object alone.
const SMALL: f32 = 0.5;

/// What was measured of a picture.
struct Measured {
    main: Measurements,
    /// Where each object is and what was measured there.
    objects: Vec<(Crop, Measurements)>,
}

impl Measured {
    /// What is embedded of the main object; `None` for the whole picture alone.
    fn main_crop(&self, asked: Option<Crop>) -> Option<Crop> {
        let Region { width, height, .. } = self.main.object;
        let is_small = !self.main.objects.is_empty() && width * height < SMALL;
        asked.or_else(|| is_small.then(|| convert::crop(&self.main.object)))
    }
}

/// Measures, embeds, tags.
pub(crate) async fn tagged(
    tagging: &Tagging,
    context: &Context,
    query: PictureQuery,
    each_object: bool,
) -> Result<PictureTags, VisionError> {
    let shared = &tagging.shared;
    let making = shared.making();
    if making.model.is_empty() {
        return Err(VisionError::NoModel(Space::Image));
    }
    let busy = |error: CallError| VisionError::Busy(error.to_string());
    let sight = match query.crop {
        // The caller has looked.
        Some(_) => None,
        None => {
            let (picture, asked) = (query.bytes.clone(), Some(making.model.as_str().into()));
            let sight = tagging.nightwing.call(context, |reply| VisionMsg::LookAt { picture, model: asked, reply }).await;
            Some(sight.map_err(busy)??)
        }
    };
    let (whole, activations) = sight.map_or((None, None), |Sight { embedding, activations }| (Some(embedding), activations));
    let measured = {
        let (shared, objects, config) = (Arc::clone(shared), Arc::clone(&tagging.objects), Arc::clone(&tagging.config));
        let (bytes, crop) = (query.bytes.clone(), query.crop);
        run(tagging, context, move || measure_all(&shared, &objects, &config, &bytes, crop, activations.as_ref(), each_object)).await??
    };
    let main_crop = measured.main_crop(query.crop);
    let crops = main_crop.into_iter().chain(measured.objects.iter().map(|(crop, _)| *crop));
    let images: Vec<PictureQuery> = crops.map(|crop| PictureQuery { bytes: query.bytes.clone(), crop: Some(crop) }).collect();
    let asked = Some(making.model.as_str().into());
    let mut answers = match images.is_empty() {
        true => Vec::new(),
        false => tagging.nightwing.call(context, |reply| VisionMsg::EmbedImages { images, model: asked, reply }).await.map_err(busy)?,
    }
    .into_iter();
    let alone = main_crop.and_then(|_| answers.next());
    let embedding = main_embedding(whole, alone)?;
    let mut maker = shared.maker.load_full();
    if maker.making != making {
        // Another release has just taken office: nothing was learned for it yet.
        let vocabulary = shared.vocabularies.get(&making.vocabulary);
        maker = Arc::new(Maker::new(making, vocabulary, None, None));
    }
    let shared = Arc::clone(shared);
    run(tagging, context, move || tag_all(&shared, &maker, &measured, &embedding, answers)).await
}

/// What the main object is tagged by: its own embedding, that of the whole picture, or their mean.
fn main_embedding(whole: Option<Embedding>, alone: Option<Result<Embedding, VisionError>>) -> Result<Embedding, VisionError> {
    match (whole, alone) {
        (Some(whole), Some(Ok(alone))) => {
            let sum: Vec<f32> = whole.vector.iter().zip(&*alone.vector).map(|(whole, alone)| whole + alone).collect();
            let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            Ok(Embedding { vector: sum.into_iter().map(|number| number / length).collect(), ..whole })
        }
        // An object too small to be embedded is seen in its surroundings.
        (Some(whole), None | Some(Err(VisionError::BadPicture { .. }))) => Ok(whole),
        (_, Some(alone)) => alone,
        (None, None) => Err(VisionError::Engine("the picture was not answered".to_owned())),
    }
}

/// Runs work on the threads for pictures and waits for it, by the deadline.
async fn run<T: Send + 'static>(tagging: &Tagging, context: &Context, work: impl FnOnce() -> T + Send + 'static) -> Result<T, VisionError> {
    let (answer, mut answered) = oneshot::channel();
    let work = move || {
        let _ = answer.send(work());
    };
    match tagging.pictures.run(context, Box::new(work)).await {
        Ok(()) => answered.try_recv().map_err(|_| VisionError::Engine("measuring gave no answer".to_owned())),
        // A picture that crashes a decoder is the picture's fault.
        Err(WorkError::Panicked { message, .. }) => Err(VisionError::BadPicture { code: "damaged_picture", detail: message }),
        Err(error) => Err(VisionError::Busy(error.to_string())),
    }
}

fn measure_all(
    shared: &Shared,
    objects: &Objects,
    config: &Config,
    bytes: &Bytes,
    crop: Option<Crop>,
    map: Option<&ActivationMap>,
    each_object: bool,
) -> Result<Measured, VisionError> {
    let refusal = |error: PictureError| VisionError::BadPicture { code: error.code(), detail: error.to_string() };
    let damaged = |detail: String| VisionError::BadPicture { code: "damaged_picture", detail };
    let decoded = picture::decode(bytes, config.image_bytes_max, config.image_pixels_max).map_err(refusal)?;
    let pixels = scaled(config, &decoded).map_err(refusal)?;
    // A caller's rectangle needs nobody to look.
    let found = if crop.is_none() { objects.find(&decoded) } else { Found::default() };
    drop(decoded);
    let activations = map.and_then(|map| Activations::new(map.height, map.width, &map.values, convert::region_of(map.seen)));
    let main = measure::of_pixels(shared, &found, &pixels, activations.as_ref(), crop.map(convert::region_of)).map_err(damaged)?;
    let mut objects = Vec::new();
    for region in main.objects.iter().filter(|_| each_object) {
        let measured = measure::of_pixels(shared, &found, &pixels, activations.as_ref(), Some(*region));
        objects.push((convert::crop(region), measured.map_err(damaged)?));
    }
    Ok(Measured { main, objects })
}

/// As it would be kept on this box: what is measured is then the same as of the catalog's pictures.
fn scaled(config: &Config, picture: &RgbImage) -> Result<RgbImage, PictureError> {
    let jpeg = picture::thumbnail(picture, config.thumbnail_side_max, config.thumbnail_quality)?;
    picture::decode(&jpeg, u64::MAX, u64::MAX)
}

fn tag_all(
    shared: &Shared,
    maker: &Maker,
    measured: &Measured,
    embedding: &Embedding,
    answers: impl Iterator<Item = Result<Embedding, VisionError>>,
) -> PictureTags {
    let found = measured.main.objects.iter().map(|region| (convert::crop(region), region.score)).collect();
    let main = object(shared, maker, convert::crop(&measured.main.object), &measured.main, embedding);
    // An object too small to be embedded is found and not tagged.
    let pairs = measured.objects.iter().zip(answers).filter_map(|(object, answer)| Some((object, answer.ok()?)));
    let objects = pairs.map(|((crop, measurements), embedding)| object(shared, maker, *crop, measurements, &embedding)).collect();
    PictureTags { model_version: maker.version.clone(), main, found, objects }
}

fn object(shared: &Shared, maker: &Maker, region: Crop, measurements: &Measurements, embedding: &Embedding) -> ObjectTags {
    let look = maker.look(&embedding.vector, Some(measurements), &[]);
    let (colours, colour_names) = convert::colours(measurements);
    ObjectTags { region, score: measurements.object.score, tags: shared.tag(maker, &look), colours, colour_names }
}
