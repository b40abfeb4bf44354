//! What a caller's picture shows: measured here, embedded by the actor, tagged by what makes the catalog's tags.

use std::sync::Arc;

use attributes::{Look, Measurements};
use bytes::Bytes;
use image::RgbImage;
use kit::{CallError, Context, WorkError};
use protocol::tags::{ObjectTags, PictureTags};
use protocol::vision::{Crop, Embedding, PictureQuery, Space, VisionError, VisionMsg};
use tokio::sync::oneshot;

use super::shared::{Maker, Shared};
use super::{Tagging, convert, measure};
use crate::config::Config;
use crate::logic::picture::{self, PictureError};

/// What was measured of a picture.
struct Measured {
    main: Measurements,
    /// Where each object is and what was measured there.
    objects: Vec<(Crop, Measurements)>,
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
    let measured = {
        let (shared, config, bytes, crop) = (Arc::clone(shared), Arc::clone(&tagging.config), query.bytes.clone(), query.crop);
        run(tagging, context, move || measure_all(&shared, &config, &bytes, crop, each_object)).await??
    };
    let cut = |crop: &Crop| PictureQuery { bytes: query.bytes.clone(), crop: Some(*crop) };
    let images: Vec<PictureQuery> = std::iter::once(query.clone()).chain(measured.objects.iter().map(|(crop, _)| cut(crop))).collect();
    let asked = Some(making.model.as_str().into());
    let answers = tagging.nightwing.call(context, |reply| VisionMsg::EmbedImages { images, model: asked, reply }).await;
    let answers = answers.map_err(|error: CallError| VisionError::Busy(error.to_string()))?;
    let mut maker = shared.maker.load_full();
    if maker.making != making {
        // Another release has just taken office: nothing was learned for it yet.
        let vocabulary = shared.vocabularies.get(&making.vocabulary);
        maker = Arc::new(Maker::new(making, vocabulary, None));
    }
    let shared = Arc::clone(shared);
    run(tagging, context, move || tag_all(&shared, &maker, measured, answers)).await?
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

fn measure_all(shared: &Shared, config: &Config, bytes: &Bytes, crop: Option<Crop>, each_object: bool) -> Result<Measured, VisionError> {
    let refusal = |error: PictureError| VisionError::BadPicture { code: error.code(), detail: error.to_string() };
    let damaged = |detail: String| VisionError::BadPicture { code: "damaged_picture", detail };
    let decoded = picture::decode(bytes, config.image_bytes_max, config.image_pixels_max).map_err(refusal)?;
    let pixels = scaled(config, &decoded).map_err(refusal)?;
    drop(decoded);
    let main = measure::of_pixels(shared, &pixels, crop.map(convert::region_of)).map_err(damaged)?;
    let mut objects = Vec::new();
    for region in main.objects.iter().filter(|_| each_object) {
        objects.push((convert::crop(region), measure::of_pixels(shared, &pixels, Some(*region)).map_err(damaged)?));
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
    measured: Measured,
    answers: Vec<Result<Embedding, VisionError>>,
) -> Result<PictureTags, VisionError> {
    let mut answers = answers.into_iter();
    let embedding = answers.next().ok_or_else(|| VisionError::Engine("the picture was not answered".to_owned()))??;
    let found = measured.main.objects.iter().map(|region| (convert::crop(region), region.score)).collect();
    let main = object(shared, maker, convert::crop(&measured.main.object), &measured.main, &embedding);
    // An object too small to be embedded is found and not tagged.
    let pairs = measured.objects.iter().zip(answers).filter_map(|(object, answer)| Some((object, answer.ok()?)));
    let objects = pairs.map(|((crop, measurements), embedding)| object(shared, maker, *crop, measurements, &embedding)).collect();
    Ok(PictureTags { model_version: maker.version.clone(), main, found, objects })
}

fn object(shared: &Shared, maker: &Maker, region: Crop, measurements: &Measurements, embedding: &Embedding) -> ObjectTags {
    let look = Look { embedding: &embedding.vector, measurements: Some(measurements), zero_shot: None, stated: &[] };
    let (colours, colour_names) = convert::colours(measurements);
    ObjectTags { region, score: measurements.object.score, tags: shared.tag(maker, &look), colours, colour_names }
}
