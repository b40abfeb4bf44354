//! Follows the journal on a thread of its own: texts into the keyword index, everything that is filtered by into the columns, price
//! and stock into their atomics, deletions out of all of them. The keyword index is on disk: its offset stands inside the commit, so
//! that each change takes effect exactly once however often the thread is started again. The columns are made from the catalog at
//! every start.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use columns::OfferValues;
use domain::{Parts, Product, ProductId};
use protocol::catalog::CatalogReader;
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::search::NAME;
use store::{Journal, JournalEntry, Record, StoreError};
use tokio::sync::oneshot;
use words::{QueryLog, WordsError, Writer};

use crate::config::Config;
use crate::view::{Keywords, Shared};

/// Journal records that are read at a time.
const READ_RECORDS_MAX: usize = 1_024;
/// Journal bytes that are read at a time.
const READ_BYTES_MAX: usize = 4 << 20;
/// Products that are taken from the catalog at a time.
const REBUILD_PAGE: usize = 1_024;
/// A query completes others after it was asked so often: one person's words are nobody else's business.
pub(crate) const ASKED_MIN: u32 = 3;
/// How soon a deletion that the catalog does not show yet is looked at again.
const DELETION_INTERVAL: Duration = Duration::from_millis(100);
/// So many changes without an effect on the words may pass before the offset is committed for their sake.
const UNCOMMITTED_OFFSET_MAX: u64 = 20_000;

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error(transparent)]
    Words(#[from] WordsError),
    #[error("journal: {0}")]
    Journal(#[from] StoreError),
}

/// What the thread needs.
pub(crate) struct Sources {
    pub(crate) config: Config,
    pub(crate) dir: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) catalog: Arc<dyn CatalogReader>,
    pub(crate) shared: Arc<Shared>,
}

impl Sources {
    /// What shoppers asked for stands beside the keyword index's folder, which may be thrown away.
    fn query_log_path(&self) -> PathBuf {
        self.dir.with_extension("queries")
    }
}

/// The running thread; dropping it ends the thread after the batch it is at, without waiting.
pub(crate) struct Follower {
    nudges: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts the thread. The receiver learns when the index has been opened and what it holds is searchable.
    pub(crate) fn spawn(sources: Sources) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (nudges, nudged) = sync_channel(1);
        let (opened, is_open) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("{NAME}-keywords")).spawn(move || {
            if let Err(error) = run(sources, &nudged, opened) {
                tracing::error!(%error, "the keyword index stopped following the journal");
            }
        })?;
        Ok((Self { nudges, thread }, is_open))
    }

    /// There may be something new. `false` when the thread has ended.
    pub(crate) fn nudge(&self) -> bool {
        // A nudge that is still waiting stands for this one too.
        let _ = self.nudges.try_send(());
        !self.thread.is_finished()
    }

    /// Ends the thread and waits until it has closed the index. Blocks: not for async threads.
    pub(crate) fn stop(self) {
        drop(self.nudges);
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.join();
    }
}

fn run(sources: Sources, nudged: &Receiver<()>, opened: oneshot::Sender<()>) -> Result<(), FollowError> {
    let shared = Arc::clone(&sources.shared);
    // A predecessor that was killed may still be at its last batch; a panic of his has left nothing half-done behind the lock.
    let _seat = shared.keyword_seat.lock().unwrap_or_else(PoisonError::into_inner);
    let mut following = Following::open(sources)?;
    let _ = opened.send(());
    if !following.is_complete && !following.rebuild(nudged)? {
        return Ok(());
    }
    loop {
        let is_behind = following.read()?;
        following.settle_deletions();
        let due = following.commit_if_due(is_behind)?;
        let goes_on = match due {
            _ if is_behind => nudged.try_recv() != Err(TryRecvError::Disconnected),
            Some(due) => nudged.recv_timeout(due) != Err(RecvTimeoutError::Disconnected),
            None => nudged.recv().is_ok(),
        };
        if !goes_on {
            return Ok(());
        }
    }
}

struct Following {
    sources: Sources,
    writer: Writer,
    /// Every record before it has been read.
    offset: u64,
    /// Every record before it is in the keyword index, committed or not.
    word_offset: u64,
    /// Every record before it is in the columns.
    column_offset: u64,
    /// Whether the keyword index holds the whole catalog.
    is_complete: bool,
    /// Changes handed to the keyword writer since the last commit.
    uncommitted: usize,
    /// Whether the columns differ from those that searches see.
    is_unpublished: bool,
    committed_at: Option<Instant>,
    /// Deleted by the journal while the catalog still shows them: it follows in a moment, or they have come back since.
    deleted: HashSet<ProductId>,
}

impl Following {
    fn open(sources: Sources) -> Result<Self, FollowError> {
        let column_offset = fill_columns(&sources);
        let mut writer = Writer::open(&sources.dir, sources.config.keyword_memory_bytes_max)?;
        writer.set_synonyms(Arc::new(sources.config.synonyms()));
        *sources.shared.query_log() = QueryLog::open(&sources.query_log_path(), ASKED_MIN);
        let reach = sources.journal.start()..=sources.journal.end();
        let committed = writer.committed().filter(|offset| reach.contains(offset));
        let word_offset = committed.unwrap_or(column_offset);
        let mut following = Self {
            sources,
            writer,
            offset: word_offset.min(column_offset),
            word_offset,
            column_offset,
            is_complete: committed.is_some(),
            uncommitted: 0,
            is_unpublished: false,
            committed_at: None,
            deleted: HashSet::new(),
        };
        following.sources.journal.consumer_at(NAME, following.offset);
        following.publish()?;
        if let Some(offset) = committed {
            following.sources.shared.follow_to(offset);
        }
        Ok(following)
    }

    /// Makes the keyword index anew from the catalog. `false` when the actor has ended meanwhile.
    fn rebuild(&mut self, nudged: &Receiver<()>) -> Result<bool, FollowError> {
        let started = Instant::now();
        let catalog = self.sources.catalog.snapshot();
        self.writer.clear()?;
        self.word_offset = catalog.version().clamp(self.sources.journal.start(), self.sources.journal.end());
        self.offset = self.word_offset.min(self.column_offset);
        self.sources.journal.consumer_at(NAME, self.offset);
        let mut after: Option<ProductId> = None;
        loop {
            let page = catalog.page(after.as_ref().map(ProductId::as_str), REBUILD_PAGE);
            let Some(last) = page.last() else { break };
            after = Some(last.product.id.clone());
            for known in &page {
                self.writer.put(&known.product)?;
            }
            if nudged.try_recv() == Err(TryRecvError::Disconnected) {
                return Ok(false);
            }
        }
        self.is_complete = true;
        self.commit()?;
        tracing::info!(products = catalog.len(), seconds = started.elapsed().as_secs_f64(), "the keyword index was made anew");
        Ok(true)
    }

    /// Hands the next records to the writers. `true` when there may be more.
    fn read(&mut self) -> Result<bool, FollowError> {
        let entries = self.sources.journal.read(self.offset, READ_RECORDS_MAX, READ_BYTES_MAX)?;
        for entry in &entries {
            self.apply(entry)?;
            self.offset = entry.offset + 1;
        }
        if std::mem::take(&mut self.is_unpublished) {
            let shared = &self.sources.shared;
            shared.publish_columns(shared.column_seat.take().columns());
        }
        Ok(self.offset < self.sources.journal.end())
    }

    fn apply(&mut self, entry: &JournalEntry) -> Result<(), FollowError> {
        if entry.kind != KIND_CATALOG_CHANGE {
            return Ok(());
        }
        let change = match CatalogChange::unseal(&[], &entry.body) {
            Ok(change) => change,
            Err(error) => {
                metrics::counter!("gotham_search_unreadable_changes_total").increment(1);
                tracing::error!(offset = entry.offset, %error, "a change in the journal cannot be read and is left out");
                return Ok(());
            }
        };
        let (is_for_words, is_for_columns) = (entry.offset >= self.word_offset, entry.offset >= self.column_offset);
        match &change.product {
            None => {
                if is_for_words {
                    self.writer.delete(change.id.as_str());
                    self.uncommitted += 1;
                }
                if is_for_columns {
                    self.deleted.insert(change.id);
                }
            }
            Some(product) => {
                self.deleted.remove(&change.id);
                if is_for_columns {
                    self.set_columns(product, change.parts);
                }
                if is_for_words && change.parts.intersects(Parts::TEXT) {
                    self.writer.put(product)?;
                    self.uncommitted += 1;
                }
            }
        }
        Ok(())
    }

    /// Price and stock alone are seen by the very next search; the rest when the columns are published.
    fn set_columns(&mut self, product: &Product, parts: Parts) {
        let mut seat = self.sources.shared.column_seat.take();
        let slot = seat.columns().current().slot(product.id.as_str());
        match slot {
            Some(slot) if !parts.intersects(Parts::TEXT.with(Parts::IMAGE)) => {
                seat.columns().set_offer(slot, &OfferValues::of(product));
            }
            _ => {
                seat.set(product);
                self.is_unpublished = true;
            }
        }
    }

    /// Takes deleted products out of columns and vectors, once the catalog too says that they are gone.
    fn settle_deletions(&mut self) {
        if self.deleted.is_empty() {
            return;
        }
        let catalog = self.sources.catalog.snapshot();
        let gone: Vec<_> = self.deleted.extract_if(|product| catalog.get(product.as_str()).is_none()).collect();
        if gone.is_empty() {
            return;
        }
        let shared = &self.sources.shared;
        let mut seat = shared.column_seat.take();
        for product in gone {
            if let Some(slot) = seat.columns().current().slot(product.as_str()) {
                shared.indexes().iter().for_each(|index| {
                    index.index.remove(slot);
                });
            }
            seat.remove(product.as_str());
        }
        shared.publish_columns(seat.columns());
    }

    /// Commits: in big groups while there is more to read, else when the last commit is long enough ago. The time after which to
    /// look again, if there is something to wait for.
    fn commit_if_due(&mut self, is_behind: bool) -> Result<Option<Duration>, FollowError> {
        let committed = self.writer.committed().unwrap_or(0);
        if self.uncommitted == 0 {
            if self.offset.saturating_sub(committed) >= UNCOMMITTED_OFFSET_MAX {
                self.writer.commit(self.offset)?;
                self.sources.journal.consumer_at(NAME, self.offset);
            }
            self.sources.shared.follow_to(self.offset);
            return Ok((!self.deleted.is_empty()).then_some(DELETION_INTERVAL));
        }
        let waited = self.committed_at.map_or(Duration::MAX, |at| at.elapsed());
        let is_due = if is_behind { self.uncommitted >= self.sources.config.commit_changes_max } else { waited >= self.interval() };
        if is_due {
            self.commit()?;
            return Ok((!self.deleted.is_empty()).then_some(DELETION_INTERVAL));
        }
        Ok(Some(self.interval().saturating_sub(waited)))
    }

    fn commit(&mut self) -> Result<(), FollowError> {
        let started = Instant::now();
        let offset = self.offset.max(self.word_offset);
        self.writer.commit(offset)?;
        metrics::histogram!("gotham_search_commit_seconds").record(started.elapsed().as_secs_f64());
        self.committed_at = Some(Instant::now());
        self.uncommitted = 0;
        self.sources.journal.consumer_at(NAME, offset);
        self.publish()?;
        self.sources.shared.follow_to(self.offset);
        if let Err(error) = self.sources.shared.query_log().save(&self.sources.query_log_path()) {
            tracing::warn!(%error, "what was asked for could not be written");
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), FollowError> {
        let columns = self.sources.shared.columns();
        let words = self.writer.snapshot(&|id| columns.slot(id))?;
        self.sources.shared.publish_keywords(Keywords { words, is_complete: self.is_complete });
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.sources.config.commit_interval_ms_max)
    }
}

/// Makes the columns from the catalog: the journal offset that they then stand for. After a restart of the actor they are there, and
/// only what has changed meanwhile is set.
fn fill_columns(sources: &Sources) -> u64 {
    let started = Instant::now();
    let catalog = sources.catalog.snapshot();
    let mut seat = sources.shared.column_seat.take();
    let mut surplus: HashSet<ProductId> = seat.columns().current().ids().cloned().collect();
    let mut after: Option<ProductId> = None;
    loop {
        let page = catalog.page(after.as_ref().map(ProductId::as_str), REBUILD_PAGE);
        let Some(last) = page.last() else { break };
        after = Some(last.product.id.clone());
        for known in &page {
            seat.set(&known.product);
            surplus.remove(&known.product.id);
        }
    }
    for product in &surplus {
        seat.remove(product.as_str());
    }
    sources.shared.publish_columns(seat.columns());
    tracing::info!(products = catalog.len(), seconds = started.elapsed().as_secs_f64(), "the columns were made");
    catalog.version().clamp(sources.journal.start(), sources.journal.end())
}
