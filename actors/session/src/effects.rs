//! Following the event log: entries come from the store, are changed in memory, and go back in checkpoints.
//!
//! The store always is exactly what the log says up to the offset stored with it: a checkpoint is one commit of all entries that
//! changed and the offset, and only what a checkpoint has written leaves memory.

use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use events::{Entry as LogEntry, EventLog};
use kit::{Mail, send_to_self};
use protocol::journal::LogBody;
use protocol::session::{EVENTS_CONSUMER, NAME, SessionMsg, SessionReader};
use ractor::ActorRef;
use store::{Durability, Keyspace, StoreError, consumer};
use tokio::time::Instant;

use crate::config::Config;
use crate::logic::entry::Entry;
use crate::logic::ledger::{Key, Ledger, keys_of};
use crate::records;
use crate::table::Table;
use crate::view::View;

/// Events applied before the table is shown at start; what is more follows while readers see it grow.
const REPLAY_EVENTS_MAX: u64 = 200_000;
/// Bytes of changed entries that make a checkpoint due. One commit holds up other readers of the store for as long as it takes.
const CHECKPOINT_BYTES: usize = 1 << 20;
/// Bytes of changed entries above which following waits for the checkpoint.
const CHANGED_BYTES_MAX: usize = 8 * CHECKPOINT_BYTES;
/// How long a failed checkpoint is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A checkpoint on its way to the disk.
struct Writing {
    keys: HashSet<Key>,
    bytes: usize,
    offset: u64,
    is_erasure: bool,
    started: Instant,
}

/// The second tail.
pub(crate) struct Sessions {
    config: Config,
    log: EventLog,
    view: Arc<View>,
    table: Arc<Table>,
    incarnation: u64,
    offset: u64,
    /// Entries that differ from the store, those on their way to it excepted.
    changed: HashSet<Key>,
    changed_bytes: usize,
    writing: Option<Writing>,
    checkpoint_offset: u64,
    /// When a checkpoint is due whatever has changed, and before which time none is tried.
    due_at: Instant,
    not_before: Instant,
    has_erased: bool,
    /// Every key of the table once, with the generation in which it was seen used: the hand of a clock.
    clock: VecDeque<(Key, u32)>,
    memory_bytes: usize,
}

impl Sessions {
    /// Goes back to the last checkpoint and comes on from there; shows the table when it has caught up, or nearly.
    pub(crate) async fn start(
        config: Config,
        log: EventLog,
        view: Arc<View>,
        myself: &ActorRef<Mail<SessionMsg>>,
    ) -> Result<Self, StoreError> {
        let incarnation = view.next_incarnation();
        let store = Arc::clone(view.store());
        // The writer works in order: once this is through, whatever an earlier incarnation sent is in the store or never will be.
        // A store that has failed writes nothing any more, which serves as well.
        if let Err(error @ StoreError::Overloaded { .. }) = store.commit(Vec::new(), Durability::Applied).await {
            return Err(error);
        }
        let (offset, has_more) = tokio::task::spawn_blocking(move || {
            let first = store.range(Keyspace::Sessions, (Bound::Unbounded, Bound::Unbounded), 1)?;
            Ok::<_, StoreError>((consumer::load_offset(&*store, EVENTS_CONSUMER)?, !first.entries.is_empty()))
        })
        .await
        .map_err(|_| StoreError::Stopped)??;
        log.consumer_at(EVENTS_CONSUMER, offset);
        let now = Instant::now();
        let mut sessions = Self {
            due_at: now + Duration::from_millis(config.checkpoint_interval_ms_max),
            config,
            log,
            view,
            table: Arc::new(Table::new(has_more)),
            incarnation,
            offset,
            changed: HashSet::new(),
            changed_bytes: 0,
            writing: None,
            checkpoint_offset: offset,
            not_before: now,
            has_erased: false,
            clock: VecDeque::new(),
            memory_bytes: 0,
        };
        let until = sessions.log.end().min(offset + REPLAY_EVENTS_MAX);
        while sessions.offset < until && sessions.step().await? {
            sessions.checkpoint_if_due(myself);
        }
        sessions.view.show(Arc::clone(&sessions.table), sessions.offset);
        Ok(sessions)
    }

    /// Follows the log's end.
    pub(crate) fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.log.watch()
    }

    /// Applies the next batch and shows it; whether to go on at once.
    pub(crate) async fn follow(&mut self) -> Result<bool, StoreError> {
        let goes_on = self.step().await?;
        self.view.progress().set(self.offset);
        metrics::gauge!("gotham_session_events_lag_records").set(self.log.end().saturating_sub(self.offset) as f64);
        Ok(goes_on)
    }

    async fn step(&mut self) -> Result<bool, StoreError> {
        if self.changed_bytes >= CHANGED_BYTES_MAX {
            return Ok(false);
        }
        let (log, from, events_max) = (self.log.clone(), self.offset, self.config.batch_events_max);
        // What is sealed comes from a disk, or from far away.
        let read = tokio::task::spawn_blocking(move || log.read(from, events_max)).await.map_err(|_| StoreError::Stopped)?;
        let batch = match read {
            Err(StoreError::Trimmed { offset, start }) => {
                tracing::error!(offset, start, "events are gone from the log before they were followed");
                self.offset = start;
                return Ok(true);
            }
            read => read?,
        };
        let Some(last) = batch.last() else { return Ok(false) };
        self.fetch(&batch).await?;
        self.apply(&batch);
        self.offset = last.offset + 1;
        Ok(self.offset < self.log.end())
    }

    /// Brings into memory what the batch will ask for.
    async fn fetch(&mut self, batch: &[LogEntry]) -> Result<(), StoreError> {
        if !self.table.has_more() {
            return Ok(());
        }
        let asked = batch.iter().filter_map(|entry| entry.body.as_ref()).flat_map(keys_of);
        let missing: HashSet<Key> = asked.filter(|key| !self.table.contains(key)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(self.view.store());
        let load = move || -> Result<Vec<(Key, Option<Entry>)>, StoreError> {
            missing.into_iter().map(|key| records::load(&*store, key.as_bytes()).map(|entry| (key, entry))).collect()
        };
        for (key, entry) in tokio::task::spawn_blocking(load).await.map_err(|_| StoreError::Stopped)?? {
            self.set(key, entry);
        }
        Ok(())
    }

    fn apply(&mut self, batch: &[LogEntry]) {
        let table = Arc::clone(&self.table);
        let before = |key: &Key| table.entry(key).flatten();
        let mut ledger = Ledger::new(&before);
        for LogEntry { offset, body, .. } in batch {
            if let Some(body) = body {
                ledger.apply(body, *offset);
                self.has_erased |= matches!(body, LogBody::Erasure(_));
            }
        }
        for (key, entry) in ledger.into_changed() {
            self.mark_changed(&key, entry.as_ref());
            self.set(key, entry);
        }
    }

    fn mark_changed(&mut self, key: &Key, entry: Option<&Entry>) {
        if self.changed.insert(key.clone()) {
            self.changed_bytes += key.len() + entry.map_or(0, Entry::stored_bytes);
        }
    }

    fn set(&mut self, key: Key, entry: Option<Entry>) {
        let (bytes, before) = self.table.set(&key, entry);
        self.memory_bytes = self.memory_bytes + bytes - before.unwrap_or(0);
        if before.is_none() {
            self.clock.push_back((key, self.table.generation()));
        }
    }

    /// Sends what has changed to the disk, if it is time and nothing is on its way; the actor hears of it.
    pub(crate) fn checkpoint_if_due(&mut self, myself: &ActorRef<Mail<SessionMsg>>) {
        let now = Instant::now();
        let is_due = self.has_erased || self.changed_bytes >= CHECKPOINT_BYTES || now >= self.due_at;
        if !is_due || self.writing.is_some() || now < self.not_before || self.offset == self.checkpoint_offset {
            return;
        }
        let keys = std::mem::take(&mut self.changed);
        let entries = keys.iter().map(|key| (key.clone(), self.table.entry(key).flatten())).collect();
        let (offset, is_erasure, bytes) = (self.offset, std::mem::take(&mut self.has_erased), std::mem::take(&mut self.changed_bytes));
        self.writing = Some(Writing { keys, bytes, offset, is_erasure, started: now });
        let (view, incarnation, myself) = (Arc::clone(&self.view), self.incarnation, myself.clone());
        tokio::spawn(async move {
            let commit = move || records::checkpoint(entries, EVENTS_CONSUMER, offset).map(|ops| view.commit(incarnation, ops));
            let written = match tokio::task::spawn_blocking(commit).await {
                Ok(Ok(ack)) => ack.await.map(|_| ()),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(StoreError::Stopped),
            };
            send_to_self(&myself, NAME, SessionMsg::Checkpointed(written));
        });
    }

    /// The checkpoint has been written, or its entries are to be written again.
    pub(crate) fn checkpointed(&mut self, written: Result<(), StoreError>) {
        let Some(Writing { keys, bytes, offset, is_erasure, started }) = self.writing.take() else { return };
        let now = Instant::now();
        self.due_at = now + Duration::from_millis(self.config.checkpoint_interval_ms_max);
        if let Err(error) = written {
            tracing::error!(%error, "sessions are not written");
            metrics::counter!("gotham_session_checkpoint_failed_total").increment(1);
            self.changed.extend(keys);
            self.changed_bytes += bytes;
            self.has_erased |= is_erasure;
            self.not_before = now + RETRY_INTERVAL;
            return;
        }
        self.checkpoint_offset = offset;
        self.log.consumer_at(EVENTS_CONSUMER, offset);
        metrics::histogram!("gotham_session_checkpoint_seconds").record(started.elapsed());
        self.evict();
        self.table.next_generation();
        metrics::gauge!("gotham_session_entries").set(self.table.len() as f64);
        metrics::gauge!("gotham_session_memory_bytes").set(self.memory_bytes as f64);
    }

    /// Takes entries that were not used for long out of memory until the rest has room; one that was used since the clock's hand
    /// passed it stays for another round. Nothing is on its way to the disk here: what is not in `changed` is in the store.
    fn evict(&mut self) {
        let memory_bytes_max = (self.config.memory_mib_max as usize) << 20;
        let mut steps_left = 2 * self.clock.len();
        while self.memory_bytes > memory_bytes_max && steps_left > 0 {
            steps_left -= 1;
            let Some((key, seen)) = self.clock.pop_front() else { return };
            let used = self.table.used(&key).unwrap_or(seen);
            if used != seen || self.changed.contains(&key) {
                self.clock.push_back((key, used));
            } else {
                self.memory_bytes -= self.table.evict(&key);
                metrics::counter!("gotham_session_evicted_total").increment(1);
            }
        }
    }
}
