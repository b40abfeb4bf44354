//! What lives as long as the process: the published snapshots, the search threads, and the writer's seat that a restarted actor
//! takes over. Made once; readers hold it as `Arc<dyn Searcher>`.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use kit::{Context, WorkError, Workers};
use protocol::search::{IndexStats, SearchAnswer, SearchError, SearchQuery, Searcher, Searching};
use protocol::vision::Space;
use tokio::sync::watch;

use crate::config::Config;
use crate::indexer::vectors::Indexer;
use crate::logic::vectors::SpaceSnapshot;
use crate::searcher::keywords::KeywordSnapshot;
use crate::searcher::{Snapshots, answer};

/// What the indexer publishes and the search threads read.
pub(crate) struct Shared {
    spaces: [ArcSwapOption<SpaceSnapshot>; Space::ALL.len()],
    keywords: ArcSwapOption<KeywordSnapshot>,
    version: watch::Sender<u64>,
    followed: watch::Sender<u64>,
    /// The one writer of vectors. Behind a lock only so that a job left over from an actor that was killed cannot overtake its successor.
    indexer: Mutex<Indexer>,
    /// Held by the thread that writes the keyword index, for as long as it lives.
    pub(crate) keyword_seat: Mutex<()>,
}

impl Shared {
    /// The latest vectors of a space.
    pub(crate) fn space(&self, space: Space) -> Option<Arc<SpaceSnapshot>> {
        self.spaces[space as usize].load_full()
    }

    /// Makes a state of a space visible to searches.
    pub(crate) fn publish_space(&self, space: Space, snapshot: SpaceSnapshot) {
        metrics::gauge!("gotham_search_vector_bytes", "space" => space.as_str()).set(snapshot.bytes() as f64);
        metrics::gauge!("gotham_search_vector_products", "space" => space.as_str()).set(snapshot.products as f64);
        self.spaces[space as usize].store(Some(Arc::new(snapshot)));
        self.version.send_modify(|version| *version += 1);
    }

    /// Makes a state of the keyword index visible to searches.
    pub(crate) fn publish_keywords(&self, snapshot: KeywordSnapshot) {
        metrics::gauge!("gotham_search_keyword_products").set(snapshot.searcher.num_docs() as f64);
        self.keywords.store(Some(Arc::new(snapshot)));
        self.version.send_modify(|version| *version += 1);
    }

    /// Every change before `offset` has had its effect on searches.
    pub(crate) fn follow_to(&self, offset: u64) {
        self.followed.send_if_modified(|followed| std::mem::replace(followed, offset) != offset);
    }

    /// The writer of vectors. One that panicked half-way is put back to what searches see.
    pub(crate) fn indexer(&self) -> MutexGuard<'_, Indexer> {
        self.indexer.lock().unwrap_or_else(|poisoned| {
            self.indexer.clear_poison();
            let mut indexer = poisoned.into_inner();
            *indexer = Indexer::resume(self);
            indexer
        })
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots { spaces: Space::ALL.map(|space| self.space(space)), keywords: self.keywords.load_full() }
    }
}

/// Batman as readers see him.
pub struct View {
    shared: Arc<Shared>,
    workers: Workers<SearchQuery, Result<SearchAnswer, SearchError>>,
}

impl View {
    /// Starts the search threads over an empty index; the actor fills it.
    pub fn open(config: &Config) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            spaces: Default::default(),
            keywords: ArcSwapOption::empty(),
            version: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            indexer: Mutex::default(),
            keyword_seat: Mutex::default(),
        });
        let reads = Arc::clone(&shared);
        let workers = Workers::spawn("batman-search", config.threads(), config.search_queue_max, move |_| {
            let reads = Arc::clone(&reads);
            move |context: &Context, query: SearchQuery| answer(&reads.snapshots(), context, &query)
        })?;
        Ok(Arc::new(Self { shared, workers }))
    }

    /// Follows the index's version: changes whenever searches can see something new.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Follows the journal offset before which every change has had its effect on searches.
    pub fn followed(&self) -> watch::Receiver<u64> {
        self.shared.followed.subscribe()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Searcher for View {
    fn search<'a>(&'a self, context: &'a Context, query: SearchQuery) -> Searching<'a> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.workers.run(context, query).await;
            metrics::histogram!("gotham_search_seconds").record(started.elapsed().as_secs_f64());
            answer.unwrap_or_else(|error| match error {
                WorkError::Overloaded { .. } | WorkError::DeadlineExceeded { .. } => Err(SearchError::Busy(error.to_string())),
                WorkError::Panicked { .. } | WorkError::Stopped { .. } => Err(SearchError::Index(error.to_string())),
            })
        })
    }

    fn stats(&self) -> IndexStats {
        let snapshots = self.shared.snapshots();
        let products = |space: Space| snapshots.spaces[space as usize].as_ref().map_or(0, |snapshot| snapshot.products);
        let held = || snapshots.spaces.iter().flatten();
        IndexStats {
            image_products: products(Space::Image),
            text_products: products(Space::Text),
            keyword_products: snapshots.keywords.as_ref().map_or(0, |keywords| keywords.searcher.num_docs() as usize),
            tombstones: held().map(|snapshot| snapshot.dead).sum(),
            vector_bytes: held().map(|snapshot| snapshot.bytes()).sum(),
            version: *self.shared.version.borrow(),
            journal_offset: *self.shared.followed.borrow(),
        }
    }
}
