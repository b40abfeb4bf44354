//! Queries: a few pictures or texts, embedded on threads of their own, so that they never stand behind an import.

use std::sync::Arc;
use std::time::Instant;

use domain::ContentHash;
use image::RgbImage;
use kit::{Context, Reply};
use protocol::vision::{Crop, EMBED_BATCH_MAX, Embedding, PictureQuery, Space, VisionError};

use super::pictures::stage;
use crate::actor::Args;
use crate::config::Config;
use crate::embedder::{self, Embedder, Input};
use crate::logic::picture::{self, PictureError};
use crate::logic::preprocessing::Preprocessing;
use crate::view::SpaceFile;

/// What a query is made of.
pub(crate) enum Ask {
    /// Texts, into a space.
    Texts(Vec<String>, Space),
    Images(Vec<PictureQuery>),
}

impl Ask {
    pub(crate) fn space(&self) -> Space {
        match self {
            Self::Texts(_, space) => *space,
            Self::Images(_) => Space::Image,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(texts, _) => texts.len(),
            Self::Images(images) => images.len(),
        }
    }
}

/// One answer an input.
pub(crate) type Answers = Vec<Result<Embedding, VisionError>>;

/// Answers a query. Returns at once; the answer comes from another task.
pub(crate) fn answer(args: &Args, embedder: Option<Arc<dyn Embedder>>, context: Context, ask: Ask, reply: Reply<Answers>) {
    let (count, space) = (ask.len(), ask.space());
    let refuse = |error: &VisionError| vec![Err(error.clone()); count];
    if count > EMBED_BATCH_MAX {
        return reply.send(refuse(&VisionError::TooMany(count)));
    }
    // A model of pictures alone gives words no place among them.
    let embedder = embedder.filter(|embedder| matches!(ask, Ask::Images(_)) || embedder.reads_texts());
    let Some((embedder, file)) = embedder.zip(args.view.space(space)) else {
        return reply.send(refuse(&VisionError::NoModel(space)));
    };
    let (threads, config) = (Arc::clone(&args.threads), Arc::clone(&args.config));
    tokio::spawn(async move {
        let work = move || embed(&config, embedder.as_ref(), &file, ask);
        let answers = threads.query.run(&context, work).await;
        reply.send(answers.unwrap_or_else(|error| vec![Err(VisionError::Busy(error.to_string())); count]));
    });
}

fn embed(config: &Config, embedder: &dyn Embedder, file: &SpaceFile, ask: Ask) -> Answers {
    let started = Instant::now();
    let batch_max = if matches!(ask, Ask::Images(_)) { config.image_batch_max } else { config.text_batch_max };
    let mut answers: Vec<Option<Result<Embedding, VisionError>>> = Vec::new();
    let mut inputs = Vec::new();
    let mut waiting = Vec::new();
    let mut sort_in = |content: ContentHash, input: &mut dyn FnMut() -> Result<Input, VisionError>| {
        if let Ok(Some(vector)) = file.file.get(content) {
            return answers.push(Some(Ok(Embedding { vector, content })));
        }
        match input() {
            Ok(input) => {
                waiting.push((answers.len(), content));
                inputs.push(input);
                answers.push(None);
            }
            Err(error) => answers.push(Some(Err(error))),
        }
    };
    match &ask {
        Ask::Texts(texts, _) => {
            texts.iter().for_each(|text| sort_in(ContentHash::of(text.as_bytes()), &mut || Ok(Input::Text(text.clone()))));
        }
        Ask::Images(images) => {
            let mut decoder = Decoder { config, preprocessing: embedder.preprocessing(), last: None };
            for query in images {
                let whole = ContentHash::of(&query.bytes);
                let content = query.crop.map_or(whole, |crop| cropped_content(whole, crop));
                sort_in(content, &mut || decoder.input(whole, query));
            }
        }
    }
    for (inputs, waiting) in inputs.chunks(batch_max).zip(waiting.chunks(batch_max)) {
        match embedder::embed(embedder, inputs) {
            Ok(vectors) => waiting
                .iter()
                .zip(vectors)
                .for_each(|((at, content), vector)| answers[*at] = Some(Ok(Embedding { vector, content: *content }))),
            Err(error) => waiting.iter().for_each(|(at, _)| answers[*at] = Some(Err(error.clone()))),
        }
    }
    stage("query", started);
    let unanswered = || Err(VisionError::Engine("the model gave no vector".to_owned()));
    answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
}

/// Names what a crop shows: the same for the same picture and rectangle, never the name of the whole picture.
fn cropped_content(whole: ContentHash, crop: Crop) -> ContentHash {
    let edges = [crop.x, crop.y, crop.width, crop.height];
    let bytes: Vec<u8> = whole.0.into_iter().chain(edges.into_iter().flat_map(f32::to_le_bytes)).collect();
    ContentHash::of(&bytes)
}

/// Keeps the picture decoded last, for the next crop of it.
struct Decoder<'a> {
    config: &'a Config,
    preprocessing: Preprocessing,
    last: Option<(ContentHash, RgbImage)>,
}

impl Decoder<'_> {
    /// What the image model takes.
    fn input(&mut self, whole: ContentHash, query: &PictureQuery) -> Result<Input, VisionError> {
        let picture = match self.last.take() {
            Some((content, picture)) if content == whole => picture,
            _ => decode(self.config, &query.bytes)?,
        };
        let (_, picture) = self.last.insert((whole, picture));
        let pixels = match query.crop {
            Some(crop) => picture::prepare_crop(picture, crop, &self.preprocessing),
            None => picture::prepare(picture, &self.preprocessing),
        };
        pixels.map(Input::Picture).map_err(|error| refusal(&error))
    }
}

/// A picture's bytes as the image model takes them.
pub(crate) fn picture_input(config: &Config, preprocessing: &Preprocessing, bytes: &[u8]) -> Result<Input, VisionError> {
    picture::prepare(&decode(config, bytes)?, preprocessing).map(Input::Picture).map_err(|error| refusal(&error))
}

fn decode(config: &Config, bytes: &[u8]) -> Result<RgbImage, VisionError> {
    picture::decode(bytes, config.image_bytes_max, config.image_pixels_max).map_err(|error| refusal(&error))
}

fn refusal(error: &PictureError) -> VisionError {
    VisionError::BadPicture { code: error.code(), detail: error.to_string() }
}
