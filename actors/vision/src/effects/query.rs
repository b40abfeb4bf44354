//! Queries: a few pictures or texts. Prepared on the threads and handed to their model from there, ahead of any import unless they are
//! part of one.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::ContentHash;
use futures_util::future::join_all;
use image::RgbImage;
use kit::{Context, Priority, Reply, WorkError};
use protocol::vision::{Crop, EMBED_BATCH_MAX, Embedding, PictureQuery, Sight, Space, VisionError};
use tokio::sync::oneshot;

use super::pictures::stage;
use crate::actor::Args;
use crate::config::Config;
use crate::embedder::{Embedder, Input};
use crate::logic::overlay;
use crate::logic::picture::{self, PictureError};
use crate::logic::preprocessing::Preprocessing;
use crate::logic::schedule::{Effort, Lane};
use crate::scheduler::{self, Handle, Refusal, Turn};
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

    /// What is prepared together: all texts; the crops of one picture that stand side by side.
    fn parts(self) -> Vec<Ask> {
        match self {
            Self::Texts(..) => vec![self],
            Self::Images(images) => {
                images.chunk_by(|one, next| one.bytes == next.bytes).map(|images| Self::Images(images.to_vec())).collect()
            }
        }
    }
}

/// One answer an input.
pub(crate) type Answers = Vec<Result<Embedding, VisionError>>;

/// Answers a query. Returns at once; the answer comes from another task.
pub(crate) fn answer(args: &Args, model: Option<(Arc<dyn Embedder>, Arc<SpaceFile>)>, context: Context, ask: Ask, reply: Reply<Answers>) {
    let (count, space) = (ask.len(), ask.space());
    let refuse = |error: &VisionError| vec![Err(error.clone()); count];
    if count > EMBED_BATCH_MAX {
        return reply.send(refuse(&VisionError::TooMany(count)));
    }
    // A model of pictures alone gives words no place among them.
    let model = model.filter(|(embedder, _)| matches!(ask, Ask::Images(_)) || embedder.reads_texts());
    let Some((embedder, file)) = model else {
        return reply.send(refuse(&VisionError::NoModel(space)));
    };
    let query = Query::new(args, embedder, file, context);
    tokio::spawn(async move {
        let started = Instant::now();
        let answers = join_all(ask.parts().into_iter().map(|part| query.clone().answer(part))).await;
        stage("query", started);
        reply.send(answers.into_iter().flatten().collect());
    });
}

/// Says what a model sees in a picture. Returns at once; the answer comes from another task.
pub(crate) fn look(
    args: &Args,
    model: Option<(Arc<dyn Embedder>, Arc<SpaceFile>)>,
    context: Context,
    picture: Bytes,
    reply: Reply<Result<Sight, VisionError>>,
) {
    let Some((embedder, file)) = model else { return reply.send(Err(VisionError::NoModel(Space::Image))) };
    let query = Query::new(args, embedder, file, context);
    tokio::spawn(async move {
        let started = Instant::now();
        let sight = query.look(picture).await;
        stage("query", started);
        reply.send(sight);
    });
}

/// What all parts of a query need.
#[derive(Clone)]
struct Query {
    config: Arc<Config>,
    scheduler: Handle,
    lane: Lane,
    embedder: Arc<dyn Embedder>,
    file: Arc<SpaceFile>,
    context: Context,
}

/// An input on its way.
enum Prepared {
    Known(Result<Embedding, VisionError>),
    Waits(ContentHash, oneshot::Receiver<scheduler::Answer>),
}

impl Query {
    fn new(args: &Args, embedder: Arc<dyn Embedder>, file: Arc<SpaceFile>, context: Context) -> Self {
        // Nobody waits at a page for what is of the catalog's own making.
        let lane = if context.priority == Priority::Bulk { Lane::Import } else { Lane::Query };
        Self { config: Arc::clone(&args.config), scheduler: args.threads.scheduler().clone(), lane, embedder, file, context }
    }

    async fn look(self, picture: Bytes) -> Result<Sight, VisionError> {
        let (scheduler, lane, context) = (self.scheduler.clone(), self.lane, self.context.clone());
        let (deadline, fingerprint) = (context.deadline, Arc::clone(&self.file.fingerprint));
        let (sight, dimensions, content) = (self.embedder.sight(), self.file.model.dimensions, ContentHash::of(&picture));
        let prepare = move |turn: Turn| {
            let decoded = decode(&self.config, &picture)?;
            let preprocessing = self.embedder.preprocessing();
            let size = decoded.dimensions();
            let pixels = picture::prepare(&decoded, &preprocessing).map_err(|error| refusal(&error))?;
            let waiting = self.scheduler.submit(&self.embedder, self.lane, &self.context, vec![Input::Scene(pixels)], Some(turn)).pop();
            waiting.map(|waiting| (size, preprocessing, waiting)).ok_or_else(|| VisionError::Engine("the input was lost".to_owned()))
        };
        let (size, preprocessing, waiting) = scheduler.run(lane, Effort::Heavy, &context, prepare).await.map_err(not_prepared)??;
        let numbers = awaited(waiting, deadline).await?;
        let (vector, map) = numbers.split_at_checked(dimensions).ok_or_else(|| VisionError::Engine("a short vector".to_owned()))?;
        let activations = sight.filter(|sight| sight.numbers() == map.len());
        let activations = activations.map(|sight| overlay::over(map, sight, size, &preprocessing));
        Ok(Sight { embedding: Embedding { vector: vector.into(), content, fingerprint }, activations })
    }

    async fn answer(self, part: Ask) -> Answers {
        let (count, deadline, fingerprint) = (part.len(), self.context.deadline, Arc::clone(&self.file.fingerprint));
        let effort = if matches!(part, Ask::Texts(..)) { Effort::Glance } else { Effort::Heavy };
        let (scheduler, lane, context) = (self.scheduler.clone(), self.lane, self.context.clone());
        let prepared = scheduler.run(lane, effort, &context, move |turn| self.prepare(&part, turn)).await;
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return vec![Err(not_prepared(error)); count],
        };
        let mut answers = Vec::with_capacity(count);
        for one in prepared {
            answers.push(match one {
                Prepared::Known(answer) => answer,
                Prepared::Waits(content, answer) => {
                    awaited(answer, deadline).await.map(|vector| Embedding { vector, content, fingerprint: Arc::clone(&fingerprint) })
                }
            });
        }
        answers
    }

    /// Looks up what is known, and hands what is not to the model.
    fn prepare(&self, part: &Ask, turn: Turn) -> Vec<Prepared> {
        let mut inputs = Vec::new();
        let mut prepared: Vec<Result<Prepared, ContentHash>> = Vec::new();
        let mut sort_in = |content: ContentHash, input: &mut dyn FnMut() -> Result<Input, VisionError>| {
            if let Ok(Some(vector)) = self.file.file.get(content) {
                return prepared.push(Ok(Prepared::Known(Ok(Embedding {
                    vector,
                    content,
                    fingerprint: Arc::clone(&self.file.fingerprint),
                }))));
            }
            prepared.push(match input() {
                Ok(input) => {
                    inputs.push(input);
                    Err(content)
                }
                Err(error) => Ok(Prepared::Known(Err(error))),
            });
        };
        match part {
            Ask::Texts(texts, _) => {
                texts.iter().for_each(|text| sort_in(ContentHash::of(text.as_bytes()), &mut || Ok(Input::Text(text.clone()))));
            }
            Ask::Images(images) => {
                let mut decoder = Decoder { config: &self.config, preprocessing: self.embedder.preprocessing(), last: None };
                for query in images {
                    let whole = ContentHash::of(&query.bytes);
                    let content = query.crop.map_or(whole, |crop| cropped_content(whole, crop));
                    sort_in(content, &mut || decoder.input(whole, query));
                }
            }
        }
        let mut waiting = self.scheduler.submit(&self.embedder, self.lane, &self.context, inputs, Some(turn)).into_iter();
        let lost = || Prepared::Known(Err(VisionError::Engine("the input was lost".to_owned())));
        let mut waits = |content| waiting.next().map_or_else(lost, |answer| Prepared::Waits(content, answer));
        prepared.into_iter().map(|one| one.unwrap_or_else(&mut waits)).collect()
    }
}

/// What a model answers, by the deadline.
async fn awaited(answer: oneshot::Receiver<scheduler::Answer>, deadline: tokio::time::Instant) -> Result<Arc<[f32]>, VisionError> {
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(Ok(vector))) => Ok(vector),
        Ok(Ok(Err(refusal))) => Err(refusal.into()),
        Ok(Err(_)) => Err(VisionError::Busy("the threads have stopped".to_owned())),
        Err(_) => Err(VisionError::Busy("not done in time".to_owned())),
    }
}

fn not_prepared(error: WorkError) -> VisionError {
    match error {
        WorkError::Panicked { .. } => VisionError::Engine(error.to_string()),
        error => VisionError::Busy(error.to_string()),
    }
}

impl From<Refusal> for VisionError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy(detail) => Self::Busy(detail),
            Refusal::Engine(detail) => Self::Engine(detail),
            Refusal::Crashed(detail) => Self::Engine(format!("it crashed: {detail}")),
        }
    }
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
