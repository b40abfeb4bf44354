//! Follows the journal on a thread of its own: texts into the keyword index, deletions out of both indexes. The offset stands
//! inside the commit, so that each change takes effect exactly once however often the thread is started again.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::{Parts, ProductId};
use protocol::catalog::CatalogReader;
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use protocol::search::NAME;
use store::{Journal, JournalEntry, Record, StoreError};
use tokio::sync::oneshot;

use super::keywords::KeywordWriter;
use super::vectors;
use crate::config::Config;
use crate::view::Shared;

/// Journal records that are read at a time.
const READ_RECORDS_MAX: usize = 1_024;
/// Journal bytes that are read at a time.
const READ_BYTES_MAX: usize = 4 << 20;
/// Products that are taken from the catalog at a time when the index is made anew.
const REBUILD_PAGE: usize = 1_024;
/// How soon a deletion that the catalog does not show yet is looked at again.
const DELETION_INTERVAL: Duration = Duration::from_millis(100);
/// So many changes without an effect on the words may pass before the offset is committed for their sake.
const UNCOMMITTED_OFFSET_MAX: u64 = 20_000;

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("keyword index: {0}")]
    Keywords(#[from] tantivy::TantivyError),
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
    if following.writer.committed.is_none() && !following.rebuild(nudged)? {
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
    writer: KeywordWriter,
    /// Every record before it has been handed to the writer.
    offset: u64,
    /// Changes handed to the writer since the last commit.
    uncommitted: usize,
    committed_at: Option<Instant>,
    /// Deleted by the journal while the catalog still shows them: it follows in a moment, or they have come back since.
    deleted: HashSet<ProductId>,
}

impl Following {
    fn open(sources: Sources) -> Result<Self, FollowError> {
        let mut writer = KeywordWriter::open(&sources.dir, sources.config.keyword_memory_bytes_max)?;
        let reach = sources.journal.start()..=sources.journal.end();
        writer.committed = writer.committed.filter(|offset| reach.contains(offset));
        let offset = writer.committed.unwrap_or(0);
        match writer.committed {
            Some(offset) => {
                sources.journal.consumer_at(NAME, offset);
                sources.shared.follow_to(offset);
                sources.shared.publish_keywords(writer.snapshot(true));
            }
            None => sources.shared.publish_keywords(writer.snapshot(false)),
        }
        Ok(Self { sources, writer, offset, uncommitted: 0, committed_at: None, deleted: HashSet::new() })
    }

    /// Makes the index anew from the catalog. `false` when the actor has ended meanwhile.
    fn rebuild(&mut self, nudged: &Receiver<()>) -> Result<bool, FollowError> {
        let started = Instant::now();
        // The end first, the catalog behind it: what comes between is read from the journal again, which does no harm.
        self.offset = self.sources.journal.end();
        self.sources.journal.consumer_at(NAME, self.offset);
        let catalog = self.sources.catalog.snapshot();
        self.writer.clear()?;
        let mut after: Option<ProductId> = None;
        loop {
            let page = catalog.page(after.as_ref().map(ProductId::as_str), REBUILD_PAGE);
            let Some(last) = page.last() else { break };
            after = Some(last.product.id.clone());
            for known in &page {
                self.writer.add(&known.product)?;
            }
            if nudged.try_recv() == Err(TryRecvError::Disconnected) {
                return Ok(false);
            }
        }
        self.commit()?;
        tracing::info!(products = catalog.len(), seconds = started.elapsed().as_secs_f64(), "the keyword index was made anew");
        Ok(true)
    }

    /// Hands the next records to the writer. `true` when there may be more.
    fn read(&mut self) -> Result<bool, FollowError> {
        let entries = self.sources.journal.read(self.offset, READ_RECORDS_MAX, READ_BYTES_MAX)?;
        for entry in &entries {
            self.apply(entry)?;
            self.offset = entry.offset + 1;
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
        match &change.product {
            None => {
                self.writer.delete(change.id.as_str());
                self.deleted.insert(change.id);
            }
            Some(product) => {
                self.deleted.remove(&change.id);
                if !change.parts.intersects(Parts::TEXT) {
                    return Ok(());
                }
                self.writer.put(product)?;
            }
        }
        self.uncommitted += 1;
        Ok(())
    }

    /// Takes the vectors of deleted products away, once the catalog too says that they are gone.
    fn settle_deletions(&mut self) {
        if self.deleted.is_empty() {
            return;
        }
        let catalog = self.sources.catalog.snapshot();
        let gone: Vec<_> = self.deleted.extract_if(|product| catalog.get(product.as_str()).is_none()).collect();
        vectors::remove(&self.sources.shared, &gone, self.sources.config.dead_ratio_max);
    }

    /// Commits: in big groups while there is more to read, else when the last commit is long enough ago. The time after which to
    /// look again, if there is something to wait for.
    fn commit_if_due(&mut self, is_behind: bool) -> Result<Option<Duration>, FollowError> {
        let committed = self.writer.committed.unwrap_or(0);
        if self.uncommitted == 0 {
            if self.offset - committed >= UNCOMMITTED_OFFSET_MAX {
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
        self.writer.commit(self.offset)?;
        metrics::histogram!("gotham_search_commit_seconds").record(started.elapsed().as_secs_f64());
        self.committed_at = Some(Instant::now());
        self.uncommitted = 0;
        self.sources.journal.consumer_at(NAME, self.offset);
        self.sources.shared.publish_keywords(self.writer.snapshot(true));
        self.sources.shared.follow_to(self.offset);
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.sources.config.commit_interval_ms_max)
    }
}
