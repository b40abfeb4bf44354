//! The tables that readers look up, without locks and on their own threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use domain::{ProductId, Shopper};
use kit::Progress;
use papaya::{Compute, HashMap, Operation};
use protocol::session::{OfferReader, OfferState, SessionReader, SessionState};
use store::{Ack, Durability, Op, Store, StoreError};

use crate::logic::ledger::Name;
use crate::records;
use crate::table::Table;

/// What is known of one product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offer {
    revision: u64,
    /// `None` when that revision deleted it.
    state: Option<OfferState>,
}

/// Price and stock of every product; sessions and carts. It outlives the actor: while that is restarted, readers see the tables as
/// they were.
pub struct View {
    offers: HashMap<ProductId, Offer>,
    journal_offset: AtomicU64,
    version: AtomicU64,
    sessions: ArcSwap<Table>,
    progress: Progress,
    store: Arc<dyn Store>,
    /// Which start of the actor may write.
    incarnation: Mutex<u64>,
}

impl View {
    /// Empty tables, until the actor has started. `store` is where entries are read that are not in memory.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (offers, journal_offset, version) = Default::default();
        let (sessions, progress, incarnation) = Default::default();
        Self { offers, journal_offset, version, sessions, progress, store, incarnation }
    }

    /// Sets a product's offer (`None`: it was deleted), unless this revision or a newer one is known. Whether it was set.
    pub(crate) fn set(&self, id: &ProductId, revision: u64, state: Option<OfferState>) -> bool {
        let offers = self.offers.pin();
        let decide = |known: Option<(&ProductId, &Offer)>| match known {
            Some((_, known)) if known.revision >= revision => Operation::Abort(()),
            _ => Operation::Insert::<Offer, ()>(Offer { revision, state }),
        };
        match offers.compute(id.clone(), decide) {
            Compute::Aborted(()) => return false,
            Compute::Updated { old: (_, old), .. } if old.state == state => {}
            // After the change: who reads the version first and the offer then may have newer offers than the version says, never
            // older ones.
            _ => {
                self.version.fetch_add(1, Ordering::Release);
            }
        }
        true
    }

    /// Forgets every product that `keep` does not know.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.offers.pin().retain(|id, _| keep(id.as_str()));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes up to this journal offset are visible.
    pub(crate) fn set_journal_offset(&self, offset: u64) {
        self.journal_offset.store(offset, Ordering::Release);
    }

    /// Shows another table of sessions, which stands for the event log before `offset`.
    pub(crate) fn show(&self, table: Arc<Table>, offset: u64) {
        self.sessions.store(table);
        self.progress.set(offset);
    }

    /// Where entries are kept.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A start of the actor: from now on those before write nothing more.
    pub(crate) fn next_incarnation(&self) -> u64 {
        let mut incarnation = self.incarnation.lock().unwrap_or_else(PoisonError::into_inner);
        *incarnation += 1;
        *incarnation
    }

    /// Commits on behalf of a start of the actor, unless there has been another since.
    pub(crate) fn commit(&self, incarnation: u64, ops: Vec<Op>) -> Ack<u64> {
        let current = self.incarnation.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == incarnation { self.store.commit(ops, Durability::Flushed) } else { Ack::ready(Err(StoreError::Stopped)) }
    }

    fn known(&self, name: Name<'_>) -> Option<Arc<SessionState>> {
        let table = self.sessions.load();
        match table.read(name) {
            Some(known) => known,
            None if table.has_more() => self.read_back(name),
            None => None,
        }
    }

    #[cold]
    fn read_back(&self, name: Name<'_>) -> Option<Arc<SessionState>> {
        metrics::counter!("gotham_session_read_back_total").increment(1);
        match records::load(&*self.store, &name.to_vec()) {
            Ok(entry) => entry.map(|entry| entry.state),
            Err(error) => {
                tracing::error!(%error, "a session is not readable");
                None
            }
        }
    }
}

impl OfferReader for View {
    fn offer(&self, id: &str) -> Option<OfferState> {
        self.offers.pin().get(id).and_then(|offer| offer.state)
    }

    fn journal_offset(&self) -> u64 {
        self.journal_offset.load(Ordering::Acquire)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl SessionReader for View {
    fn session(&self, id: &str) -> Option<Arc<SessionState>> {
        self.known(Name::session(id))
    }

    fn shopper(&self, shopper: &Shopper) -> Option<Arc<SessionState>> {
        self.known(Name::shopper(shopper))
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
