//! A round of catalog work: jobs are taken from one queue and done, batch after batch, until none is left.
//!
//! The order is the guarantee: vectors to disk, then the records that name them, then Batman, then the settlement. Whatever ends a
//! round early leaves jobs unsettled; they come back when their lease runs out and find the vectors that were already made.
//!
//! Stages overlap: while one picture is embedded the next ones are read, and while a batch's vectors are told to Batman the next batch is
//! read. Between reading and embedding stands a bounded number of pictures.

pub(crate) mod build;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::{ContentHash, ImageRef, ProductId};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, stream};
use kit::{Context, Priority};
use protocol::queue::{LeasedJob, QueueMsg, QueueName, Settlement};
use protocol::search::{SearchError, SearchMsg, UPSERT_VECTORS_MAX, VectorEntry};
use protocol::vision::Space;
use store::{Durability, Keyspace, Op, Record as _, StoreError};

use super::pictures::{Found, Pictures, stage};
use crate::actor::Args;
use crate::embedder::{Embedder, Input};
use crate::logic::jobs::{self, Failure, Keep};
use crate::logic::schedule::{Effort, Lane};
use crate::records::ProductVectors;
use crate::scheduler::Refusal;
use crate::view::SpaceFile;

/// For a neighbour that answers at once when it is there.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A neighbour that restarts is asked again this often, then the round ends.
const ATTEMPTS_MAX: u32 = 6;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(200);

/// Why a round ended before its queue was empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// A neighbour is not there: later.
    #[error("{0}")]
    Later(String),
    /// The disk failed: the actor restarts.
    #[error("storage: {0}")]
    Storage(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// The queue whose jobs make vectors of a space.
pub(crate) fn queue_of(space: Space) -> QueueName {
    match space {
        Space::Image => QueueName::EmbedImage,
        Space::Text => QueueName::EmbedText,
    }
}

/// What a job asks for, by the catalog as it is now.
enum Wish {
    /// The product is gone.
    Nothing,
    Pictures(Vec<ImageRef>),
    Text(ContentHash),
}

/// One round over one queue.
pub(crate) struct Round {
    pub(crate) args: Args,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) file: Arc<SpaceFile>,
    pub(crate) pictures: Pictures,
}

/// Everything that was found out about one batch of jobs.
#[derive(Default)]
struct Findings {
    pictures: HashMap<ImageRef, Result<ContentHash, Failure>>,
    texts: Vec<(ContentHash, Input)>,
    failed: HashMap<ContentHash, Failure>,
    ops: Vec<Op>,
}

/// A batch of jobs whose vectors are on disk.
struct Embedded {
    jobs: Vec<LeasedJob>,
    wishes: Vec<Wish>,
    findings: Findings,
}

impl Round {
    /// Works until the queue is empty, or another model is live.
    pub(crate) async fn run(&self) -> Result<(), Stop> {
        let mut behind = None;
        loop {
            let finish = async {
                match behind.take() {
                    Some(embedded) => self.finish(embedded).await,
                    None => Ok(()),
                }
            };
            // Whatever becomes of the next batch, this one is brought to its end.
            let (ahead, finished) = futures_util::join!(self.begin(), finish);
            finished?;
            match ahead? {
                Some(embedded) => behind = Some(embedded),
                None => return Ok(()),
            }
        }
    }

    /// Takes jobs and embeds what is new in them; `None` when there are none, or another model is live.
    async fn begin(&self) -> Result<Option<Embedded>, Stop> {
        let jobs = if self.args.view.is_live(&self.file.model) { self.lease().await? } else { Vec::new() };
        if jobs.is_empty() {
            return Ok(None);
        }
        let context = self.context();
        let (wishes, mut findings) = self.look_up(&jobs);
        let made = self.embed(&context, &wishes, &mut findings).await;
        self.keep(&context, made).await?;
        Ok(Some(Embedded { jobs, wishes, findings }))
    }

    /// Records, Batman, settlement.
    async fn finish(&self, embedded: Embedded) -> Result<(), Stop> {
        let Embedded { jobs, wishes, mut findings } = embedded;
        let (entries, settlements) = self.conclude(&jobs, &wishes, &mut findings);
        if !findings.ops.is_empty() {
            let started = Instant::now();
            self.args.store.commit(std::mem::take(&mut findings.ops), Durability::Flushed).await?;
            stage("commit", started);
        }
        self.args.view.touch_others(&self.file.model, jobs.iter().map(|job| job.spec.product.clone()));
        self.upsert(entries).await?;
        self.settle(settlements).await
    }

    fn space(&self) -> Space {
        self.file.model.space
    }

    /// For work that must be done before the jobs are given to somebody else.
    fn context(&self) -> Context {
        Context::new(Priority::Bulk, Duration::from_millis(self.args.config.visibility_timeout_ms))
    }

    async fn lease(&self) -> Result<Vec<LeasedJob>, Stop> {
        let context = Context::new(Priority::Bulk, CALL_TIMEOUT);
        let config = &self.args.config;
        let message = |reply| QueueMsg::Lease {
            queue: queue_of(self.space()),
            jobs_max: config.lease_jobs_max,
            visibility_timeout_ms: config.visibility_timeout_ms,
            reply,
        };
        let jobs = self.args.queue.call(&context, message).await.map_err(|error| Stop::Later(error.to_string()))?;
        jobs.map_err(|error| Stop::Later(error.to_string()))
    }

    /// What each job wants, and the texts that are new.
    fn look_up(&self, jobs: &[LeasedJob]) -> (Vec<Wish>, Findings) {
        let catalog = self.args.catalog.snapshot();
        let mut findings = Findings::default();
        let mut seen = HashSet::new();
        let mut wish = |job: &LeasedJob| {
            let Some(revision) = catalog.get(job.spec.product.as_str()) else { return Wish::Nothing };
            if self.space() == Space::Image {
                return Wish::Pictures(jobs::pictures_of(&revision.product, self.args.config.images_per_product_max));
            }
            let text = revision.product.embedding_text();
            let content = ContentHash::of(text.as_bytes());
            if self.file.file.contains(content) || !seen.insert(content) {
                self.count(&self.args.view.counters().reused, 1);
            } else {
                findings.texts.push((content, Input::Text(text)));
            }
            Wish::Text(content)
        };
        let wishes = jobs.iter().map(&mut wish).collect();
        // Texts of one length share a run.
        findings.texts.sort_by_key(|(_, input)| if let Input::Text(text) = input { text.len() } else { 0 });
        (wishes, findings)
    }

    /// Reads every picture that a job wants, each once and several at a time, and embeds what is new as it comes in.
    async fn embed(&self, context: &Context, wishes: &[Wish], findings: &mut Findings) -> Vec<(ContentHash, Arc<[f32]>)> {
        let config = &self.args.config;
        let wanted: HashSet<&ImageRef> = wishes.iter().filter_map(Wish::pictures).flatten().collect();
        // Owned, so that the futures borrow nothing of the set.
        let wanted: Vec<ImageRef> = wanted.into_iter().cloned().collect();
        let reading = stream::iter(wanted).map(|image| async move {
            let found = self.pictures.find(context, &image).await;
            (image, found)
        });
        let mut reading = reading.buffer_unordered(config.pictures_in_flight_max);
        let mut texts = std::mem::take(&mut findings.texts).into_iter();
        let (mut seen, mut embedding, mut made) = (HashSet::new(), FuturesUnordered::new(), Vec::new());
        loop {
            let has_room = embedding.len() < config.import_queue_max;
            let part: Vec<_> = texts.by_ref().take(config.import_queue_max - embedding.len()).collect();
            if !part.is_empty() {
                embedding.extend(self.hand_over(context, part));
            }
            tokio::select! {
                Some((image, found)) = reading.next(), if has_room => {
                    if let Some(new) = self.note(findings, &mut seen, image, found) {
                        embedding.extend(self.hand_over(context, vec![new]));
                    }
                }
                Some((content, answer)) = embedding.next(), if !embedding.is_empty() => match answer {
                    Ok(vector) => made.push((content, vector)),
                    Err(failure) => {
                        metrics::counter!("gotham_vision_failures_total", "code" => failure.code).increment(1);
                        findings.failed.insert(content, failure);
                    }
                },
                else => return made,
            }
        }
    }

    /// Notes what became of a picture; gives the model's input where its content is new.
    fn note(
        &self,
        findings: &mut Findings,
        seen: &mut HashSet<ContentHash>,
        image: ImageRef,
        found: Result<Found, Failure>,
    ) -> Option<(ContentHash, Input)> {
        let mut new = None;
        let outcome = found.map(|Found { content, pixels, remember }| {
            findings.ops.extend(remember);
            match pixels {
                Some(pixels) if seen.insert(content) => new = Some((content, Input::Picture(pixels))),
                _ => self.count(&self.args.view.counters().reused, 1),
            }
            content
        });
        if let Err(failure) = &outcome {
            metrics::counter!("gotham_vision_failures_total", "code" => failure.code).increment(1);
            if !failure.is_transient {
                self.count(&self.args.view.counters().rejected, 1);
            }
        }
        findings.pictures.insert(image, outcome);
        new
    }

    /// Hands inputs to the model, side by side with what is there already.
    fn hand_over(
        &self,
        context: &Context,
        part: Vec<(ContentHash, Input)>,
    ) -> impl Iterator<Item = impl Future<Output = (ContentHash, Result<Arc<[f32]>, Failure>)> + use<>> + use<> {
        let (contents, inputs): (Vec<_>, Vec<_>) = part.into_iter().unzip();
        let answers = self.args.threads.scheduler().submit(&self.embedder, Lane::Import, context, inputs, None);
        let deadline = context.deadline;
        contents.into_iter().zip(answers).map(move |(content, answer)| async move {
            let answer = match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answer.map_err(Failure::from),
                Ok(Err(_)) => Err(Failure::passing("busy", "the threads have stopped")),
                Err(_) => Err(Failure::passing("busy", "not done in time")),
            };
            (content, answer)
        })
    }

    /// Writes new vectors to disk.
    async fn keep(&self, context: &Context, made: Vec<(ContentHash, Arc<[f32]>)>) -> Result<(), Stop> {
        if made.is_empty() {
            return Ok(());
        }
        let count = made.len() as u64;
        let file = Arc::clone(&self.file);
        let work = move || {
            let started = Instant::now();
            let written = file.file.append(&made);
            stage("store", started);
            written
        };
        let written = self
            .args
            .threads
            .scheduler()
            .run(Lane::Import, Effort::Heavy, context, move |_| work())
            .await
            .map_err(|error| Stop::Later(error.to_string()))?;
        written.map_err(|error| Stop::Storage(error.to_string()))?;
        let counters = self.args.view.counters();
        self.count(if self.space() == Space::Image { &counters.images_embedded } else { &counters.texts_embedded }, count);
        metrics::counter!("gotham_vision_embedded_total", "space" => self.space().as_str()).increment(count);
        Ok(())
    }

    /// Each product's record, its entry for Batman and its job's end.
    fn conclude(&self, jobs: &[LeasedJob], wishes: &[Wish], findings: &mut Findings) -> (Vec<VectorEntry>, Vec<Ended>) {
        let catalog = self.args.catalog.snapshot();
        let (mut entries, mut ended) = (Vec::new(), Vec::new());
        for (job, wish) in jobs.iter().zip(wishes) {
            let product = &job.spec.product;
            // Deleted meanwhile: what was made stays in no index.
            let is_gone = catalog.get(product.as_str()).is_none();
            let outcomes = if is_gone { Vec::new() } else { findings.outcomes(wish) };
            let (keep, settlement) = jobs::conclude(&outcomes);
            if let Some(entry) = self.record(product, keep, &mut findings.ops) {
                entries.push(entry);
            }
            ended.push((job.id, job.lease, settlement));
        }
        (entries, ended)
    }

    fn record(&self, product: &ProductId, keep: Keep, ops: &mut Vec<Op>) -> Option<VectorEntry> {
        let key = ProductVectors::key(self.space(), product.as_str());
        match keep {
            Keep::AsItWas => None,
            Keep::Remove => {
                ops.push(Op::Delete { space: Keyspace::Embeddings, key });
                Some(VectorEntry { product: product.clone(), vectors: Vec::new() })
            }
            Keep::Set(contents) => {
                let vectors = self.file.read(contents.iter().flatten().copied()).into_iter().map(|embedding| embedding.vector).collect();
                let record = ProductVectors { fingerprint: self.file.model.fingerprint.clone(), contents };
                match record.seal(&key) {
                    Ok(value) => ops.push(Op::Put { space: Keyspace::Embeddings, key, value }),
                    Err(error) => tracing::error!(%error, "a record of vectors cannot be written"),
                }
                Some(VectorEntry { product: product.clone(), vectors })
            }
        }
    }

    /// Tells Batman, in messages within its bound.
    async fn upsert(&self, entries: Vec<VectorEntry>) -> Result<(), Stop> {
        let started = Instant::now();
        for entries in within_bound(entries) {
            let ask = || async {
                let context = Context::new(Priority::Bulk, CALL_TIMEOUT);
                let (space, fingerprint) = (self.space(), self.file.model.fingerprint.clone());
                let answer =
                    self.args.search.call(&context, |reply| SearchMsg::Upsert { space, fingerprint, entries: entries.clone(), reply });
                match answer.await.map_err(|error| error.to_string())? {
                    // Asking again would bring the same answer; the index takes the vectors when it is filled anew.
                    Err(error @ (SearchError::Dimensions { .. } | SearchError::NotFinite | SearchError::TooMany(_))) => {
                        tracing::error!(%error, "Batman refuses vectors");
                        Ok(())
                    }
                    other => other.map_err(|error| error.to_string()),
                }
            };
            patiently(ask).await?;
        }
        stage("upsert", started);
        Ok(())
    }

    async fn settle(&self, ended: Vec<Ended>) -> Result<(), Stop> {
        let ask = || async {
            let context = Context::new(Priority::Bulk, CALL_TIMEOUT);
            let answer = self.args.queue.call(&context, |reply| QueueMsg::Settle { jobs: ended.clone(), reply });
            answer.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        };
        patiently(ask).await
    }

    fn count(&self, counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// None of them is the input's own fault for certain.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy(detail) => Self::passing("busy", detail),
            Refusal::Engine(detail) => Self::passing("engine_failed", detail),
            Refusal::Crashed(detail) => Self::passing("engine_crashed", detail),
        }
    }
}

type Ended = (protocol::queue::JobId, u64, Settlement);

impl Wish {
    fn pictures(&self) -> Option<&Vec<ImageRef>> {
        if let Self::Pictures(pictures) = self { Some(pictures) } else { None }
    }
}

impl Findings {
    /// What became of each picture of a job, or of its text.
    fn outcomes(&self, wish: &Wish) -> Vec<Result<ContentHash, Failure>> {
        let embedded = |content: ContentHash| self.failed.get(&content).map_or(Ok(content), |failure| Err(failure.clone()));
        let unread = || Err(Failure::passing("not_read", "the picture was not read"));
        match wish {
            Wish::Nothing => Vec::new(),
            Wish::Text(content) => vec![embedded(*content)],
            Wish::Pictures(images) => {
                images.iter().map(|image| self.pictures.get(image).cloned().unwrap_or_else(unread).and_then(embedded)).collect()
            }
        }
    }
}

/// Cuts entries into messages of at most [`UPSERT_VECTORS_MAX`] entries and vectors.
fn within_bound(entries: Vec<VectorEntry>) -> Vec<Vec<VectorEntry>> {
    let mut messages: Vec<Vec<VectorEntry>> = Vec::new();
    let mut weight = 0;
    for entry in entries {
        let adds = entry.vectors.len().max(1);
        match messages.last_mut() {
            Some(message) if weight + adds <= UPSERT_VECTORS_MAX => {
                weight += adds;
                message.push(entry);
            }
            _ => {
                weight = adds;
                messages.push(vec![entry]);
            }
        }
    }
    messages
}

/// Asks until it is answered, or often enough.
async fn patiently<F: Future<Output = Result<(), String>>>(mut ask: impl FnMut() -> F) -> Result<(), Stop> {
    let mut pause = ATTEMPT_PAUSE;
    for attempt in 1.. {
        match ask().await {
            Ok(()) => return Ok(()),
            Err(error) if attempt == ATTEMPTS_MAX => return Err(Stop::Later(error)),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_within_their_bound() {
        let entry = |vectors: usize| VectorEntry { product: "p".parse().expect("an id"), vectors: vec![Arc::from([1.0]); vectors] };
        assert!(within_bound(vec![]).is_empty());
        let sizes = |entries: Vec<VectorEntry>| within_bound(entries).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![entry(4); 128]), [64, 64]);
        assert_eq!(sizes(vec![entry(0); 257]), [256, 1]);
        assert_eq!(sizes(vec![entry(100), entry(100), entry(100), entry(1)]), [2, 2]);
    }
}
