//! Tags of what pictures show, beside the way of embeddings: a thread of its own looks through the catalog, measures the pictures kept on
//! this box, learns from labelled products and from what people said, and writes what each product has. Readers and correctors ask the
//! store; what callers send is measured on threads of its own and embedded by the actor, as any query.
//!
//! - **Kept**: what was measured, by content; each product's tags, with a digest of all that they were made from; what people said; in files a
//!   teacher's state and the directions of words for each way of making tags, and each release's vocabulary. All but what people said, and
//!   the vocabularies, can be made again.
//! - Tags are made with the live release's image model, vocabulary and precision. An inspector that has others learns, too, and is asked
//!   about a sample of products, of which nothing is written.
//! - What people said is on disk before it is acknowledged, is laid over everything when tags are read, and teaches.
//! - A step that is interrupted, by kill -9 too, is taken up where its records end.
//! - An import has the machine to itself; work is followed by rest.

mod agreement;
mod config;
mod convert;
mod corrections;
mod follower;
mod keep;
mod lesson;
mod measure;
mod objects;
mod pace;
mod picture;
mod records;
mod report;
mod review;
mod shared;
#[cfg(test)]
mod tests;
mod vocabularies;
mod words;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::ProductId;
use kit::{Address, Clock, Context, TaskGuard, Workers};
use protocol::catalog::CatalogReader;
use protocol::releases::ReleaseReader;
use protocol::tags::{
    CORRECTIONS_MAX, FactIndex, FactReader, PictureTags, ProductTags, Review, TagAgreement, TagError, TagProgress, Tagger,
    Tagging as Answer, Verdict, VocabularyReport,
};
use protocol::vision::{NAME, PictureQuery, VisionError, VisionMsg, VisionReader};
use store::Store;

pub use config::TagConfig;
use follower::Follower;
use objects::Objects;
use shared::Shared;
use vocabularies::Refused;
pub use vocabularies::Vocabularies;

use crate::config::Config;
use crate::embedder::ModelSource;

/// After a step that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

type Work = Box<dyn FnOnce() + Send>;

/// What tagging stands on.
pub struct TagSources {
    /// Nightwing's settings.
    pub config: Arc<Config>,
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// The products.
    pub catalog: Arc<dyn CatalogReader>,
    /// Nightwing's vectors and thumbnails.
    pub vision: Arc<dyn VisionReader>,
    /// Whoever filters by facts.
    pub index: Arc<dyn FactIndex>,
    /// Nightwing, to embed what callers send.
    pub nightwing: Address<VisionMsg>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The folder of what was learned.
    pub dir: PathBuf,
    /// Whose image model, vocabulary and rules make tags.
    pub releases: Arc<dyn ReleaseReader>,
    /// Where their vocabularies are found.
    pub vocabularies: Arc<Vocabularies>,
    /// Where the detector comes from.
    pub models: Arc<dyn ModelSource>,
}

/// Tagging. Made once; it outlives every restart of the actor. Dropping it ends its threads.
pub struct Tagging {
    shared: Arc<Shared>,
    objects: Arc<Objects>,
    config: Arc<Config>,
    nightwing: Address<VisionMsg>,
    pictures: Workers<Work, ()>,
    nudges: Option<SyncSender<()>>,
    _words: Option<TaskGuard>,
    thread: Option<JoinHandle<()>>,
}

impl Tagging {
    /// Starts the threads, and a task of the runtime that it is called in.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(sources: TagSources) -> io::Result<Self> {
        let index = Arc::clone(&sources.index);
        let mut tagging = Self::unfollowed(sources)?;
        let (nudges, nudged) = sync_channel(1);
        let shared = Arc::clone(&tagging.shared);
        let thread = std::thread::Builder::new().name(format!("{NAME}-tags")).spawn(move || run(&shared, &index, &nudged))?;
        (tagging.nudges, tagging.thread) = (Some(nudges), Some(thread));
        let words = words::follow(Arc::clone(&tagging.shared), tagging.nightwing.clone());
        tagging._words = Some(TaskGuard::new(tokio::spawn(words)));
        Ok(tagging)
    }

    /// Everything but what works by itself: the thread that follows the catalog, the task that asks for words.
    fn unfollowed(sources: TagSources) -> io::Result<Self> {
        let (config, nightwing) = (Arc::clone(&sources.config), sources.nightwing.clone());
        let pictures = Workers::spawn("nightwing-tag-pictures", config.tags.picture_threads, config.tags.picture_queue_max, |_| {
            |_: &Context, work: Work| work()
        })?;
        let objects = Arc::new(Objects::new(Arc::clone(&sources.models), config.detector.clone()));
        let shared = Arc::new(Shared::new(sources));
        shared.vocabularies.prune(&shared.used_vocabularies());
        Ok(Self { shared, objects, config, nightwing, pictures, nudges: None, _words: None, thread: None })
    }

    /// What is known for sure, for whoever filters by it.
    pub fn facts(&self) -> Arc<dyn FactReader> {
        Arc::clone(&self.shared) as _
    }

    fn nudge(&self) {
        if let Some(nudges) = &self.nudges {
            // A nudge that is still waiting stands for this one too.
            let _ = nudges.try_send(());
        }
    }
}

impl Drop for Tagging {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.nudges = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Arc<Shared>, index: &Arc<dyn FactIndex>, nudged: &Receiver<()>) {
    let tick = Duration::from_millis(shared.config.tick_interval_ms);
    let mut follower = Follower::new(Arc::clone(shared), Arc::clone(index));
    loop {
        let pause = match catch_unwind(AssertUnwindSafe(|| follower.step())) {
            Ok(Ok(())) => tick,
            Ok(Err(error)) => {
                tracing::error!(%error, "tagging pauses");
                PAUSE_AFTER_FAILURE
            }
            Err(_) => {
                tracing::error!("a step of tagging panicked; it begins again from what is on disk");
                follower = Follower::new(Arc::clone(shared), Arc::clone(index));
                PAUSE_AFTER_FAILURE
            }
        };
        if nudged.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

impl Tagger for Tagging {
    fn product(&self, product: &str) -> Option<ProductTags> {
        self.shared.product(product).inspect_err(|error| tracing::error!(%error, "tags were not read")).ok()?
    }

    fn vocabulary(&self) -> VocabularyReport {
        report::vocabulary(&self.shared)
    }

    fn review(&self, attribute: Option<&str>, offset: usize, limit: usize) -> Review {
        let page = review::page(&self.shared, attribute, offset, limit);
        page.inspect_err(|error| tracing::error!(%error, "the review list was not read")).unwrap_or_default()
    }

    fn progress(&self) -> TagProgress {
        report::progress(&self.shared)
    }

    fn agreement(&self) -> Option<Arc<TagAgreement>> {
        self.shared.agreement.load_full()
    }

    fn correct<'a>(
        &'a self,
        product: &'a ProductId,
        verdicts: Vec<(String, Verdict)>,
        by: String,
    ) -> Answer<'a, Result<ProductTags, TagError>> {
        Box::pin(async move {
            if verdicts.is_empty() || verdicts.len() > CORRECTIONS_MAX {
                return Err(TagError::Count(verdicts.len()));
            }
            let (shared, product) = (Arc::clone(&self.shared), product.clone());
            let write = tokio::task::spawn_blocking(move || shared.correct(&product, &verdicts, &by));
            let answer = write.await.map_err(|error| TagError::Storage(error.to_string()))?;
            self.nudge();
            answer
        })
    }

    fn keep_vocabulary(&self, own: String) -> Answer<'_, Result<String, TagError>> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            let keep = move || shared.vocabularies.keep(&own, &shared.used_vocabularies());
            let kept = tokio::task::spawn_blocking(keep).await.map_err(|error| TagError::Storage(error.to_string()))?;
            kept.map_err(|refused| match refused {
                Refused::Text(detail) => TagError::Vocabulary(detail),
                Refused::Disk(error) => TagError::Storage(error.to_string()),
            })
        })
    }

    fn picture<'a>(
        &'a self,
        context: &'a Context,
        picture: PictureQuery,
        each_object: bool,
    ) -> Answer<'a, Result<PictureTags, VisionError>> {
        Box::pin(picture::tagged(self, context, picture, each_object))
    }
}
