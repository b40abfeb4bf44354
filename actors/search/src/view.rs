//! What lives as long as the process: the published snapshots, the search threads, and the writers' seats that a restarted actor
//! takes over. Made once; readers hold it as `Arc<dyn Searcher>`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use columns::Columns;
use kit::{Context, WorkError, Workers};
use protocol::releases::{IndexSettings, Rules};
use protocol::search::{AttributeInfo, IndexStats, QueryVector, SearchAnswer, SearchError, SearchQuery, Searcher, Searching, Suggestion};
use protocol::vision::{ModelInfo, Space};
use tokio::sync::watch;
use vectors::index::{Index, Maintainer, Reader};
use vectors::planner::Effort;
use words::{QueryLog, SuggestionKind};

use crate::config::Config;
use crate::indexer::columns::ColumnSeat;
use crate::indexer::follower::ASKED_MIN;
use crate::indexer::gpu::{Gpu, GpuKeeper};
use crate::searcher::{Snapshots, answer};

/// The vectors of one model, in an index of one shape.
pub(crate) struct SpaceIndex {
    pub(crate) space: Space,
    pub(crate) fingerprint: Arc<str>,
    /// What it is built by: [`IndexSettings::shape`].
    pub(crate) shape: [u32; 2],
    pub(crate) dimensions: usize,
    /// Whether it was what Nightwing's store says since the start.
    pub(crate) is_filled: AtomicBool,
    pub(crate) index: Index,
    pub(crate) reader: Reader,
    /// Folds and merges in the background for as long as the index is held.
    pub(crate) _maintainer: Maintainer,
}

impl SpaceIndex {
    /// Which one it is.
    pub(crate) fn key(&self) -> IndexKey {
        (self.space, self.fingerprint.to_string(), self.shape)
    }
}

/// Which index: the space, the model's fingerprint, the shape.
pub(crate) type IndexKey = (Space, String, [u32; 2]);

/// What the live release asks with and by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Live {
    pub(crate) models: Vec<ModelInfo>,
    pub(crate) index: IndexSettings,
    pub(crate) rules: Rules,
}

/// One committed state of the keyword index.
pub(crate) struct Keywords {
    pub(crate) words: words::Snapshot,
    /// Whether it holds the whole catalog; not while it is made anew.
    pub(crate) is_complete: bool,
}

/// What the indexer publishes and the search threads read.
pub(crate) struct Shared {
    /// One for each model whose vectors are kept and each shape that a release wants; a handful.
    spaces: ArcSwap<Vec<Arc<SpaceIndex>>>,
    live: ArcSwap<Live>,
    keywords: ArcSwapOption<Keywords>,
    columns: ArcSwap<columns::Snapshot>,
    version: watch::Sender<u64>,
    followed: watch::Sender<u64>,
    pub(crate) column_seat: ColumnSeat,
    /// The vectors' copies on a GPU.
    pub(crate) gpu: Arc<Gpu>,
    /// What shoppers asked for and found.
    query_log: Mutex<QueryLog>,
    /// Held by the thread that writes the keyword index, for as long as it lives.
    pub(crate) keyword_seat: Mutex<()>,
    /// Held by the thread that sets vectors, so that a job left over from an actor that was killed cannot overtake its successor.
    pub(crate) space_seat: Mutex<()>,
}

impl Shared {
    fn new() -> Self {
        let column_seat = ColumnSeat::default();
        let columns = ArcSwap::new(column_seat.take().columns().snapshot());
        Self {
            spaces: ArcSwap::default(),
            live: ArcSwap::default(),
            keywords: ArcSwapOption::empty(),
            columns,
            version: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            column_seat,
            gpu: Arc::default(),
            query_log: Mutex::new(QueryLog::new(ASKED_MIN)),
            keyword_seat: Mutex::new(()),
            space_seat: Mutex::new(()),
        }
    }

    /// The index of the live release's model of a space; while no model is known to be live, the one that there is.
    pub(crate) fn space(&self, space: Space) -> Option<Arc<SpaceIndex>> {
        let live = self.live.load();
        match live.models.iter().find(|model| model.space == space) {
            Some(model) => self.index(space, &model.fingerprint, live.index.shape()),
            None => self.indexes().iter().find(|index| index.space == space).cloned(),
        }
    }

    /// The index of a model in this shape. One of another shape holds the same vectors: it answers until this one is there.
    fn index(&self, space: Space, fingerprint: &str, shape: [u32; 2]) -> Option<Arc<SpaceIndex>> {
        let indexes = self.indexes();
        let mut own = indexes.iter().filter(|index| index.space == space && *index.fingerprint == *fingerprint);
        let built = own.clone().find(|index| index.shape == shape && index.is_filled.load(Ordering::Acquire));
        built.or_else(|| own.clone().find(|index| index.is_filled.load(Ordering::Acquire))).or_else(|| own.next()).cloned()
    }

    /// This index and no other.
    pub(crate) fn exactly(&self, (space, fingerprint, shape): &IndexKey) -> Option<Arc<SpaceIndex>> {
        let is_it = |index: &&Arc<SpaceIndex>| index.space == *space && *index.fingerprint == **fingerprint && index.shape == *shape;
        self.indexes().iter().find(is_it).cloned()
    }

    /// What the live release asks with and by.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Every index.
    pub(crate) fn indexes(&self) -> Arc<Vec<Arc<SpaceIndex>>> {
        self.spaces.load_full()
    }

    /// This is live.
    pub(crate) fn set_live(&self, live: Live) {
        if **self.live.load() != live {
            self.live.store(Arc::new(live));
            self.changed();
        }
    }

    /// The latest columns.
    pub(crate) fn columns(&self) -> Arc<columns::Snapshot> {
        self.columns.load_full()
    }

    /// Makes an index visible to searches in the place of the one of its model and shape, if there is one.
    pub(crate) fn publish_index(&self, index: &Arc<SpaceIndex>) {
        let key = index.key();
        self.spaces.rcu(|spaces| {
            let others = spaces.iter().filter(|other| other.key() != key);
            others.chain([index]).cloned().collect::<Vec<_>>()
        });
        self.changed();
    }

    /// Takes an index away from searches; it is closed when the last of them has ended.
    pub(crate) fn withdraw_index(&self, index: &Arc<SpaceIndex>) {
        self.spaces.rcu(|spaces| spaces.iter().filter(|other| !Arc::ptr_eq(other, index)).cloned().collect::<Vec<_>>());
        self.changed();
    }

    /// Tells the size of each space and the recall that its searches reach. Gives back those that lost vectors to a damaged file.
    pub(crate) fn report_spaces(&self) -> Vec<IndexKey> {
        let mut damaged = Vec::new();
        Space::ALL.into_iter().filter_map(|space| self.space(space)).for_each(|index| report(&index));
        for index in self.indexes().iter() {
            let space = index.space;
            let lost = index.index.take_lost();
            if !lost.files.is_empty() || !lost.owners.is_empty() {
                metrics::counter!("gotham_search_damaged_files_total").increment(lost.files.len() as u64);
                tracing::error!(space = space.as_str(), files = ?lost.files, products = lost.owners.len(), "a damaged file: its vectors are set again");
                index.is_filled.store(false, Ordering::Release);
                damaged.push(index.key());
            }
        }
        damaged
    }

    /// Puts what is only in memory into the folders. Blocks: not for async threads.
    pub(crate) fn flush_spaces(&self) {
        for index in self.indexes().iter() {
            if let Err(error) = index.index.flush() {
                tracing::warn!(space = index.space.as_str(), %error, "the vector index was not written; what is missing is set again at the next start");
            }
        }
    }

    /// Makes a state of the columns visible to searches.
    pub(crate) fn publish_columns(&self, columns: &Columns) {
        self.columns.store(columns.snapshot());
        self.changed();
    }

    /// Makes a state of the keyword index visible to searches.
    pub(crate) fn publish_keywords(&self, keywords: Keywords) {
        metrics::gauge!("gotham_search_keyword_products").set(keywords.words.products() as f64);
        self.keywords.store(Some(Arc::new(keywords)));
        self.changed();
    }

    /// Searches can see something new.
    pub(crate) fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Every change before `offset` has had its effect on searches.
    pub(crate) fn follow_to(&self, offset: u64) {
        self.followed.send_if_modified(|followed| std::mem::replace(followed, offset) != offset);
    }

    /// What shoppers asked for.
    pub(crate) fn query_log(&self) -> MutexGuard<'_, QueryLog> {
        self.query_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a query reads: in each space the index of the model that made its vectors; else the live one. In the shape and by the rules
    /// that it names; else the live release's.
    fn snapshots(&self, vectors: &[QueryVector], by: Option<(IndexSettings, Rules)>) -> Snapshots {
        let (index, rules) = by.unwrap_or_else(|| {
            let live = self.live.load();
            (live.index, live.rules)
        });
        let named = |space: Space| vectors.iter().find(|vector| vector.space == space).map(|vector| &vector.fingerprint);
        let of = |space| named(space).map_or_else(|| self.space(space), |fingerprint| self.index(space, fingerprint, index.shape()));
        Snapshots {
            columns: self.columns(),
            spaces: Space::ALL.map(of),
            effort: effort(index.recall_target),
            rules,
            keywords: self.keywords.load_full(),
            gpu: Arc::clone(&self.gpu),
        }
    }
}

/// The calibrated effort that reaches the recall aimed at.
fn effort(recall_target: f32) -> Effort {
    let reaches = |effort: &Effort| effort.recall() >= f64::from(recall_target) - 1e-6;
    Effort::CALIBRATED.into_iter().find(reaches).unwrap_or(Effort::Exact)
}

fn report(index: &SpaceIndex) {
    let space = index.space;
    let stats = index.index.stats();
    metrics::gauge!("gotham_search_vector_bytes", "space" => space.as_str()).set(stats.hot_bytes as f64);
    metrics::gauge!("gotham_search_vector_products", "space" => space.as_str()).set(stats.owners as f64);
    let recall = index.reader.recall();
    if recall.checked > 0 {
        metrics::gauge!("gotham_search_recall_ratio", "space" => space.as_str()).set(recall.ratio);
    }
}

/// Batman as readers see him.
pub struct View {
    shared: Arc<Shared>,
    workers: Workers<SearchQuery, Result<SearchAnswer, SearchError>>,
    _gpu: GpuKeeper,
}

impl View {
    /// Starts the search threads over an empty index; the actor fills it.
    pub fn open(config: &Config) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::new());
        let reads = Arc::clone(&shared);
        let workers = Workers::spawn("batman-search", config.threads(), config.search_queue_max, move |_| {
            let reads = Arc::clone(&reads);
            move |context: &Context, query: SearchQuery| {
                let answer = answer(&reads.snapshots(&query.vectors, query.by), context, &query)?;
                if let Some(words) = query.words.as_deref().filter(|_| answer.total > 0 && answer.corrected.is_none()) {
                    reads.query_log().record(words, now_seconds());
                }
                Ok(answer)
            }
        })?;
        let keeper = GpuKeeper::spawn(config, &shared)?;
        Ok(Arc::new(Self { shared, workers, _gpu: keeper }))
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

/// The wall clock, for the age of what was asked.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn kind(kind: SuggestionKind) -> &'static str {
    match kind {
        SuggestionKind::Query => "query",
        SuggestionKind::Brand => "brand",
        SuggestionKind::Category => "category",
        SuggestionKind::Words => "title",
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

    fn suggest(&self, prefix: &str, limit: usize) -> Vec<Suggestion> {
        let Some(keywords) = self.shared.keywords.load_full() else { return Vec::new() };
        let found = keywords.words.suggest(&self.shared.query_log(), prefix, limit, now_seconds());
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "no completions");
            Vec::new()
        });
        found.into_iter().map(|found| Suggestion { text: found.text, kind: kind(found.kind), count: found.count }).collect()
    }

    fn attributes(&self) -> Vec<AttributeInfo> {
        let info = |info: columns::AttributeInfo| AttributeInfo {
            name: info.name,
            kinds: vec![info.kind],
            products: info.products as u64,
            values: info.values as u64,
            examples: info.examples,
        };
        self.shared.columns().attributes().into_iter().map(info).collect()
    }

    fn stats(&self) -> IndexStats {
        let snapshots = self.shared.snapshots(&[], None);
        let stats = |space: Space| snapshots.spaces[space as usize].as_ref().map(|space| space.index.stats()).unwrap_or_default();
        let spaces = Space::ALL.map(stats);
        IndexStats {
            image_products: spaces[Space::Image as usize].owners,
            text_products: spaces[Space::Text as usize].owners,
            keyword_products: snapshots.keywords.as_ref().map_or(0, |keywords| keywords.words.products() as usize),
            tombstones: spaces.iter().map(|stats| stats.dead_rows).sum(),
            vector_bytes: self.shared.indexes().iter().map(|index| index.index.stats().hot_bytes).sum(),
            column_bytes: snapshots.columns.bytes(),
            version: *self.shared.version.borrow(),
            journal_offset: *self.shared.followed.borrow(),
        }
    }

    fn is_indexed(&self, model: &ModelInfo, settings: &IndexSettings) -> bool {
        let key = (model.space, model.fingerprint.clone(), settings.shape());
        self.shared.exactly(&key).is_some_and(|index| index.is_filled.load(Ordering::Acquire))
    }
}
