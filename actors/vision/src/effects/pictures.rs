//! From a picture's reference to its content, and to the model's input where the content is new.

use std::fs::{self, Metadata};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use domain::{ContentHash, ImageRef};
use fetch::{FetchError, Fetcher, Validators};
use kit::{Clock, Context, WorkError};
use store::{Keyspace, Op, Record as _, Store};

use super::archive::{self, Limits};
use crate::config::Config;
use crate::logic::jobs::Failure;
use crate::logic::picture::{self, PictureError, Pixels};
use crate::logic::place::Place;
use crate::logic::preprocessing::Preprocessing;
use crate::logic::schedule::{Effort, Lane};
use crate::records::PictureState;
use crate::threads::Threads;
use crate::view::SpaceFile;

use super::thumbnails::Thumbnails;

/// A picture that was read.
#[derive(Debug)]
pub(crate) struct Found {
    /// Of its bytes.
    pub(crate) content: ContentHash,
    /// The model's input, where the content has no vector yet.
    pub(crate) pixels: Option<Pixels>,
    /// What to remember of its place.
    pub(crate) remember: Option<Op>,
}

/// Reads pictures; clones share everything.
#[derive(Clone)]
pub(crate) struct Pictures {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetcher: Fetcher,
    pub(crate) threads: Arc<Threads>,
    pub(crate) thumbnails: Thumbnails,
    pub(crate) vectors: Arc<SpaceFile>,
    pub(crate) preprocessing: Preprocessing,
}

/// Bytes on their way, and how their place will be recognised.
struct Source {
    bytes: Bytes,
    validators: Validators,
}

impl Pictures {
    /// Reads one picture, unless its place shows that it is the one read before and nothing is missing of that.
    pub(crate) async fn find(&self, context: &Context, image: &ImageRef) -> Result<Found, Failure> {
        let place = Place::of(image).map_err(|problem| Failure::lasting("bad_reference", problem))?;
        let known = self.known(image);
        if let Place::Http(url) = place {
            return self.at_server(context, image, &url, known).await;
        }
        let (pictures, key) = (self.clone(), PictureState::key(image));
        let found = self.on_thread(context, move || pictures.on_disk(key, &place, known)).await;
        found.map_err(|error| work_failure(&error))?
    }

    async fn at_server(&self, context: &Context, image: &ImageRef, url: &str, known: Option<PictureState>) -> Result<Found, Failure> {
        let now_ms = self.clock.now_ms();
        let fresh_ms = i64::try_from(self.config.picture_fresh_seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        if let Some(known) = known.as_ref().filter(|known| (0..fresh_ms).contains(&now_ms.saturating_sub(known.fetched_at_ms))) {
            return Ok(Found { content: known.content, pixels: None, remember: None });
        }
        let validators = known.as_ref().map(|known| Validators { etag: known.etag.clone(), last_modified: known.last_modified.clone() });
        let validators = validators.unwrap_or_default();
        let started = Instant::now();
        let fetched = self.fetcher.get_if_changed(url, &validators, self.config.image_bytes_max).await;
        stage("fetch", started);
        let key = PictureState::key(image);
        match (fetched.map_err(|error| fetch_failure(&error))?, known) {
            (Some(fetched), _) => {
                let (pictures, source) = (self.clone(), Source { bytes: fetched.bytes, validators: fetched.validators });
                let found = self.on_thread(context, move || pictures.digest(key, source)).await;
                found.map_err(|error| work_failure(&error))?
            }
            (None, Some(known)) => {
                let content = known.content;
                Ok(Found { content, pixels: None, remember: remember(key, &PictureState { fetched_at_ms: now_ms, ..known }) })
            }
            (None, None) => Err(Failure::passing("http_status", "the server sent no picture")),
        }
    }

    async fn on_thread<T: Send + 'static>(&self, context: &Context, work: impl FnOnce() -> T + Send + 'static) -> Result<T, WorkError> {
        self.threads.scheduler().run(Lane::Import, Effort::Heavy, context, move |_| work()).await
    }

    fn on_disk(&self, key: Vec<u8>, place: &Place, known: Option<PictureState>) -> Result<Found, Failure> {
        let started = Instant::now();
        let path = match place {
            Place::File(path) | Place::Archive { archive: path, .. } => path,
            Place::Http(_) => return Err(Failure::lasting("bad_reference", "not on this machine")),
        };
        let metadata = regular_file(path)?;
        let etag = Some(file_tag(&metadata));
        if let Some(known) = known.filter(|known| known.etag == etag) {
            return Ok(Found { content: known.content, pixels: None, remember: None });
        }
        let bytes_max = self.config.image_bytes_max;
        let bytes = match place {
            Place::Archive { archive, entry, format } => {
                let limits = Limits { entry_bytes_max: bytes_max, archive_bytes_max: self.config.archive_bytes_max };
                archive::read_entry(archive, entry, *format, limits)?
            }
            _ => archive::read_bounded(fs::File::open(path).map_err(|error| archive::io_failure(&error))?, bytes_max)?,
        };
        stage("read", started);
        self.digest(key, Source { bytes: bytes.into(), validators: Validators { etag, last_modified: None } })
    }

    /// What the bytes are: known content, or a picture to decode, keep a thumbnail of and embed.
    fn digest(&self, key: Vec<u8>, source: Source) -> Result<Found, Failure> {
        let content = ContentHash::of(&source.bytes);
        let Validators { etag, last_modified } = source.validators;
        let remember = remember(key, &PictureState { content, etag, last_modified, fetched_at_ms: self.clock.now_ms() });
        let (has_vector, has_thumbnail) = (self.vectors.file.contains(content), self.thumbnails.contains(content));
        if has_vector && has_thumbnail {
            return Ok(Found { content, pixels: None, remember });
        }
        let started = Instant::now();
        let picture = picture::decode(&source.bytes, self.config.image_bytes_max, self.config.image_pixels_max)?;
        drop(source.bytes);
        stage("decode", started);
        let started = Instant::now();
        let pixels = if has_vector { None } else { Some(picture::prepare(&picture, &self.preprocessing)?) };
        stage("prepare", started);
        if !has_thumbnail {
            let started = Instant::now();
            let jpeg = picture::thumbnail(&picture, self.config.thumbnail_side_max, self.config.thumbnail_quality)?;
            let written = self.thumbnails.write(content, &jpeg);
            written.map_err(|error| Failure::passing("thumbnail_not_written", error.to_string()))?;
            stage("thumbnail", started);
        }
        Ok(Found { content, pixels, remember })
    }

    /// What the place held, if all that was made of it is still there.
    fn known(&self, image: &ImageRef) -> Option<PictureState> {
        let key = PictureState::key(image);
        let bytes = self.store.get(Keyspace::Pictures, &key).ok()??;
        let state = PictureState::unseal(&key, &bytes).ok()?;
        (self.vectors.file.contains(state.content) && self.thumbnails.contains(state.content)).then_some(state)
    }
}

fn remember(key: Vec<u8>, state: &PictureState) -> Option<Op> {
    let value = state.seal(&key).ok()?;
    Some(Op::Put { space: Keyspace::Pictures, key, value })
}

/// Refuses folders, devices and pipes, which may never end.
fn regular_file(path: &Path) -> Result<Metadata, Failure> {
    let metadata = fs::metadata(path).map_err(|error| archive::io_failure(&error))?;
    if metadata.is_file() { Ok(metadata) } else { Err(Failure::lasting("not_a_file", "not a regular file")) }
}

/// A file with the same size and time of change is taken as the same.
fn file_tag(metadata: &Metadata) -> String {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}-{}", metadata.len(), changed.map_or(0, |time| time.as_nanos()))
}

/// Records how long a stage took.
pub(crate) fn stage(stage: &'static str, started: Instant) {
    metrics::histogram!("gotham_vision_stage_seconds", "stage" => stage).record(started.elapsed().as_secs_f64());
}

fn fetch_failure(error: &FetchError) -> Failure {
    Failure { code: error.code(), detail: error.to_string(), is_transient: error.is_transient() }
}

/// A picture that crashes its decoder is no better the next time, but a full queue is.
pub(crate) fn work_failure(error: &WorkError) -> Failure {
    match error {
        WorkError::Panicked { .. } => Failure::lasting("decoder_crashed", error.to_string()),
        _ => Failure::passing("busy", error.to_string()),
    }
}

impl From<PictureError> for Failure {
    fn from(error: PictureError) -> Self {
        Self::lasting(error.code(), error.to_string())
    }
}
