//! The log's side of forgetting: who a user was known as, which erasures wait, and carrying one out.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use domain::{Erasure, Shopper};
use protocol::journal::LogBody;
use store::StoreError;

use crate::forget::{Erased, ForgetError, Forgotten};
use crate::log::{EventLog, Parts};
use crate::warehouse::{Named, Sealed};

/// Records read at once.
const READ_RECORDS_MAX: usize = 4096;
/// The most names that one user is known by.
const NAMES_MAX: usize = 10_000;
/// Erasures that wait at once; later ones are found when one of these is carried out.
const WAITING_MAX: usize = 10_000;

/// Erasures that wait, as far as the log has been looked through.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Behind the last record that was looked at; `None` before the first look.
    next: Option<u64>,
    erasures: Vec<(u64, Arc<Erasure>)>,
}

impl EventLog {
    /// The user and everything else that is known to be them: visitors that occurred with the user, and sessions of theirs in which
    /// nobody was named. Reads the whole log, some columns of it, and again where somebody is forgotten meanwhile: blocks.
    pub fn known_as(&self, user: &str) -> Result<Vec<Shopper>, StoreError> {
        self.parts().warehouse.unrewritten(|_| self.known_at_once(user))
    }

    fn known_at_once(&self, user: &str) -> Result<Vec<Shopper>, StoreError> {
        let (mut visitors, mut sessions, mut nameless) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let add = |names: &mut BTreeSet<String>, name: Option<&str>| {
            if let Some(name) = name
                && names.len() < NAMES_MAX
            {
                names.insert(name.to_owned());
            }
        };
        self.each_name(|named| {
            if named.user == Some(user) {
                add(&mut visitors, named.visitor);
                add(&mut sessions, named.session);
            }
        })?;
        self.each_name(|named| {
            if named.user.is_none() && named.visitor.is_some_and(|visitor| visitors.contains(visitor)) {
                add(&mut sessions, named.session);
            }
        })?;
        self.each_name(|named| {
            if named.user.is_none() && named.visitor.is_none() && named.session.is_some_and(|session| sessions.contains(session)) {
                add(&mut nameless, named.session);
            }
        })?;
        let visitors = visitors.iter().map(|visitor| Shopper::visitor(visitor));
        let nameless = nameless.iter().map(|session| Shopper::session(session));
        Ok([Shopper::user(user)].into_iter().chain(visitors).chain(nameless).collect())
    }

    /// Erasures that are in the log and not carried out, with their offsets, oldest first: after a start, those that an interruption
    /// has left. Looks at what was appended since it was called last, and at all that is not sealed after a forgetting: blocks.
    pub fn pending_erasures(&self) -> Result<Vec<(u64, Arc<Erasure>)>, StoreError> {
        let warehouse = &self.parts().warehouse;
        let mut waiting = self.waiting();
        let mut next = match waiting.next {
            Some(next) => next,
            None => {
                let sealed = self.sealed();
                let found = warehouse.unrewritten(|_| warehouse.erasures(true))?.into_iter();
                let found = found.filter(|(offset, ..)| *offset < sealed).map(|(offset, erasure, _)| (offset, erasure));
                waiting.erasures = found.take(WAITING_MAX).collect();
                sealed
            }
        };
        let end = self.end();
        while next < end && waiting.erasures.len() < WAITING_MAX {
            let records_max = READ_RECORDS_MAX.min(WAITING_MAX - waiting.erasures.len());
            for entry in self.read(next, records_max)? {
                next = entry.offset + 1;
                waiting.next = Some(next);
                if let Some(LogBody::Erasure(erasure)) = entry.body {
                    waiting.erasures.push((entry.offset, erasure));
                }
            }
        }
        waiting.next = Some(next);
        Ok(waiting.erasures.clone())
    }

    /// Removes every trace of the shoppers of an erasure that stands in the log: whatever is told of them before it, in the journal,
    /// in the files and in memory. Their names become pseudonyms, in the erasure too; raw events, queries, requests and event ids go.
    /// All consumers must have passed the erasure. Blocks while all files that name them are rewritten; interrupted, it has not
    /// happened and is done again. Records are found by their fields: a name that another shopper's record hides in its raw text is not.
    pub fn forget(&self, erasure: &Erasure) -> Result<Forgotten, ForgetError> {
        let Parts { journal, warehouse, .. } = self.parts();
        let Some((offset, is_done)) = self.find(erasure)? else { return Err(ForgetError::Unknown(erasure.receipt.clone())) };
        if is_done {
            self.finish_forgetting()?;
            return Ok(Forgotten { offset, ..Forgotten::default() });
        }
        if let Some((consumer, at)) = journal.consumers().into_iter().find(|(_, at)| *at <= offset) {
            return Err(ForgetError::Behind { consumer, at, needed: offset + 1 });
        }
        let _work = warehouse.work();
        let closed = journal.close_segment()?;
        warehouse.seal_without_trimming(journal, closed)?;
        let rewritten = warehouse.rewrite(&mut Erased::new(erasure, offset), closed);
        // Others that wait may have named the shopper too.
        *self.waiting() = Waiting::default();
        let rewritten = rewritten?;
        let trimmed_bytes = self.finish()?;
        Ok(Forgotten { offset, records: rewritten.records, files: rewritten.files, trimmed_bytes })
    }

    /// Does what a forgetting has left to do that came into force and then failed: names leave memory, the journal and replaced files.
    /// Cheap where nothing is left.
    pub fn finish_forgetting(&self) -> Result<(), StoreError> {
        let _work = self.parts().warehouse.work();
        self.finish().map(drop)
    }

    /// For whoever holds the warehouse's work: gives the bytes that the journal let go.
    fn finish(&self) -> Result<u64, StoreError> {
        let Parts { journal, warehouse, tail, .. } = self.parts();
        let purge_before = warehouse.purge_before();
        tail.clear_before(purge_before);
        let purged = if journal.start() < purge_before { journal.purge(&Sealed(purge_before)) } else { Ok(0) };
        warehouse.sweep()?;
        purged
    }

    /// Where an erasure stands, and whether it is carried out.
    fn find(&self, erasure: &Erasure) -> Result<Option<(u64, bool)>, StoreError> {
        let is_it = |found: &Erasure| (&found.receipt, found.at_ms) == (&erasure.receipt, erasure.at_ms);
        if let Some((offset, _)) = self.pending_erasures()?.into_iter().find(|(_, found)| is_it(found)) {
            return Ok(Some((offset, false)));
        }
        let (warehouse, sealed) = (&self.parts().warehouse, self.sealed());
        let in_files = warehouse.unrewritten(|_| warehouse.erasures(false))?.into_iter();
        let mut found = in_files.filter(|(offset, ..)| *offset < sealed).find(|(_, found, _)| is_it(found));
        self.each_unsealed(sealed, |offset, body| {
            if let LogBody::Erasure(erasure) = body
                && found.is_none()
                && is_it(erasure)
            {
                found = Some((offset, erasure.clone(), false));
            }
        })?;
        Ok(found.map(|(offset, _, is_done)| (offset, is_done)))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.parts().waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names in every record of the log that has some.
    fn each_name(&self, mut tell: impl FnMut(Named<'_>)) -> Result<(), StoreError> {
        let warehouse = &self.parts().warehouse;
        let sealed = self.sealed();
        for file in warehouse.sealed_files().iter().filter(|file| file.first < sealed) {
            warehouse.names(file, &mut tell)?;
        }
        self.each_unsealed(sealed, |offset, body| match body {
            LogBody::Event(event) => {
                tell(Named { offset, user: event.user.as_deref(), visitor: event.visitor.as_deref(), session: event.session.as_deref() })
            }
            LogBody::Served(served) => {
                tell(Named::of_served(offset, served.shopper.as_ref().map(Shopper::as_str), served.session.as_deref()));
            }
            LogBody::Erasure(_) => {}
        })
    }

    fn each_unsealed(&self, from: u64, mut tell: impl FnMut(u64, &LogBody)) -> Result<(), StoreError> {
        let (mut next, end) = (from, self.end());
        while next < end {
            for entry in self.read(next, READ_RECORDS_MAX)? {
                next = entry.offset + 1;
                if let Some(body) = &entry.body {
                    tell(entry.offset, body);
                }
            }
        }
        Ok(())
    }
}
